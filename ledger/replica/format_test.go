package replica

import (
	"bytes"
	"context"
	"encoding/hex"
	"flag"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"surety/ledger"
	"surety/ledger/client"
	"surety/ledger/journal"
	"surety/sys/vfs"
)

var rewrite = flag.Bool("rewrite", false, "write testdata anew: only with a new version of a format")

// firstFormat holds a ledger as the first version of the formats wrote it. It is never changed: every
// later program reads it. firstDigest is its state.
const (
	firstFormat = "testdata/format1"
	firstDigest = "67ba72c16644ba1beda9e734b251c8a16958020c4165ecfae3dc08d0d2026247"
)

// written makes the ledger of the test data.
func written(t *testing.T) *world {
	w := newWorld(t)
	w.config.Journal = journal.Options{FirstSegmentBytes: 32 << 10, SegmentBytes: 32 << 10, GroupBytes: 8 << 10}
	w.mustOpen()
	w.accounts(4)
	pending := transfer(3, 1, 3, 7)
	pending.Flags, pending.Timeout = ledger.TransferPending, 1
	w.send(transfer(1, 1, 2, 100), transfer(2, 2, 3, 1000), pending, transfer(1, 1, 2, 100))
	ctx := context.Background()
	freeze := ledger.Freeze{ID: id(1), AccountID: id(4), Actor: id(9), Reason: 3,
		Scope: ledger.FreezeAccount, Sides: ledger.FreezeDebits}
	if _, err := w.r.ApplyFreezes(ctx, []ledger.Freeze{freeze}); err != nil {
		t.Fatal(err)
	}
	named := client.Name{AccountID: id(2), Name: "zwei", Metadata: map[string]string{"b": "2", "a": "1"}}
	if err := w.r.SetNames(ctx, []client.Name{named}); err != nil {
		t.Fatal(err)
	}
	events := w.r.state.EventsLen()
	w.clock.Advance(2 * second)
	if err := w.r.WaitEvents(ctx, events); err != nil { // a pulse lets the pending one expire
		t.Fatal(err)
	}
	return w
}

func TestFirstFormat(t *testing.T) {
	w := written(t)
	w.mustClose()
	if *rewrite {
		for _, name := range w.memory.Names(testDir + "/") {
			if strings.HasSuffix(name, "00000002.segment") || strings.HasSuffix(name, draftSuffix) {
				continue // zeros, prepared or half prepared
			}
			content := readFile(t, w.memory, name)
			if err := os.WriteFile(filepath.Join(firstFormat, path.Base(name)), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	now := readFile(t, w.memory, testDir+"/00000001.segment")

	old := newWorld(t)
	files, err := os.ReadDir(firstFormat)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.memory.MakeDir(testDir); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(firstFormat, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if file.Name() == "00000001.segment" && !bytes.Equal(content, now) {
			t.Error("the same ledger is written in other bytes: that is another version of the format")
		}
		f, err := old.memory.Open(path.Join(testDir, file.Name()), vfs.Create)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(content, 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if err := old.memory.SyncDir(testDir); err != nil {
		t.Fatal(err)
	}
	report, err := old.verify()
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(report.Digest[:]); got != firstDigest || report.LastSeq != 5 {
		t.Errorf("record %d, state %s, want 5 and %s", report.LastSeq, got, firstDigest)
	}
	old.mustOpen()
	if got := old.send(transfer(50, 2, 3, 5)); got[0] != ledger.TransferOK {
		t.Errorf("a transfer on it: %s", got[0])
	}
	old.mustClose()
}

func readFile(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name, 0)
	if err != nil {
		t.Fatal(err)
	}
	content := make([]byte, fileSize(t, fs, name))
	if err := vfs.ReadFull(f, content, 0); err != nil {
		t.Fatal(err)
	}
	return content
}
