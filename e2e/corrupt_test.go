//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	ledgerv1 "surety/api/ledger/v1"
)

// book makes a data directory with some loans in it and returns it, the node killed or stopped, and
// the number of its loans.
func book(t *testing.T, stopped bool) (dir string, loans int) {
	t.Helper()
	n := startNode(t, t.TempDir(), "--rate", "0")
	const count = 5
	for i := range count {
		lend(t, n, fmt.Sprintf("book-%d", i))
	}
	until(t, 10*time.Second, "the log has them", func() (bool, string) {
		size := checkpoint(t, n).Size
		return size >= count*6, fmt.Sprint(size)
	})
	if stopped {
		n.stop(t)
	} else {
		n.kill(t)
	}
	return n.dir, count
}

// segment returns the ledger's first journal segment and how many bytes of it are written: it is
// zeros from there on.
func segment(t *testing.T, dir string) (path string, written int64) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "ledger", "*.segment"))
	if err != nil || len(found) != 1 {
		t.Fatalf("segments %v, %v", found, err)
	}
	data, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return found[0], int64(len(bytes.TrimRight(data, "\x00")))
}

// TestCorruptJournal changes one bit of the ledger's journal, here and there: the start is refused
// and names the segment and the byte, `ledger verify` too, and with the bit put back all is there.
// After a clean stop the start goes on from a snapshot and does not read what is older: `ledger
// verify` does.
func TestCorruptJournal(t *testing.T) {
	t.Parallel()
	for _, stopped := range []bool{false, true} {
		dir, loans := book(t, stopped)
		path, written := segment(t, dir)
		for _, part := range []int64{1, 2, 3} {
			at := content(t, path, written*part/4)
			restore := flip(t, path, at)
			named(t, refused(t, dir, 1, []string{"recovery.md"}, "ledger", "verify"), at)
			if !stopped {
				named(t, refused(t, dir, 1, []string{"recovery.md"}, append(upArgs(), "--rate", "0")...), at)
			}
			restore()
		}
		intact(t, dir, loans)
	}
}

// content returns the place of the first byte from one on that is not zero: between records there
// are zeros up to the next page, which nothing reads.
func content(t *testing.T, path string, from int64) int64 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := from; at < int64(len(data)); at++ {
		if data[at] != 0 {
			return at
		}
	}
	t.Fatalf("%s holds nothing from byte %d on", path, from)
	return 0
}

// named wants a complaint to name the segment and the byte of the record that a byte is in.
func named(t *testing.T, complaint string, at int64) {
	t.Helper()
	found := regexp.MustCompile(`segment 0*1\.segment at byte (\d+)`).FindStringSubmatch(complaint)
	if found == nil {
		t.Errorf("a bit is changed at byte %d, and no segment and byte are named:\n%s", at, complaint)
		return
	}
	const record = 8 << 10 // more than one of the test's is long
	if place, err := strconv.ParseInt(found[1], 10, 64); err != nil || place > at || at-place > record {
		t.Errorf("a bit is changed at byte %d, and named is\n%s", at, complaint)
	}
}

// intact starts a node on the directory and counts its loans.
func intact(t *testing.T, dir string, loans int) {
	t.Helper()
	n := startNode(t, dir, "--rate", "0")
	totals := balanced(t, n)
	if got := totals[account{156, 200}].GetAccounts(); got != uint64(loans) {
		t.Errorf("%d loans are in the ledger, want %d", got, loans)
	}
	if got := board(t, n).LoansActive; got != uint64(loans) {
		t.Errorf("%d loans are on the board, want %d", got, loans)
	}
	unbreached(t, n)
	lend(t, n, "after-repair")
	n.stop(t)
	run(t, dir, 0, "ledger", "verify")
	run(t, dir, 0, "evidence", "check")
}

// TestTornJournal cuts the power in the middle of the journal's last write, which nobody was told
// had happened: a sector of it is missing, or all from somewhere on. The start removes the rest, and
// everything from before is there.
func TestTornJournal(t *testing.T) {
	t.Parallel()
	dir, loans := book(t, false)
	path, before := segment(t, dir)
	saved := copied(t, dir)
	// The write that will be cut: one batch of some kilobytes, as the journal has it when whole.
	n := startNode(t, dir, "--rate", "0")
	run(t, dir, 0, "ledger", "create", "70a1", "--ledger", "978", "--code", "1")
	batch := &ledgerv1.CreateAccountsRequest{}
	for i := range 100 {
		batch.Accounts = append(batch.Accounts, &ledgerv1.Account{Id: fmt.Sprintf("70b%d", i), Ledger: 978, Code: 1})
	}
	if _, err := n.ledger().CreateAccounts(t.Context(), connect.NewRequest(batch)); err != nil {
		t.Fatal(err)
	}
	n.kill(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, after := segment(t, dir)
	const sector = 512
	for _, torn := range []struct {
		name string
		cut  func(data []byte) []byte
	}{
		{"a sector in the middle", func(d []byte) []byte {
			at := after/sector*sector - 8*sector
			clear(d[at : at+sector])
			return d
		}},
		{"the end", func(d []byte) []byte { clear(d[after/sector*sector-6*sector:]); return d }},
	} {
		torso := copied(t, saved)
		name := filepath.Join(torso, "ledger", filepath.Base(path))
		if err := os.WriteFile(name, torn.cut(bytes.Clone(whole)), 0o600); err != nil {
			t.Fatal(err)
		}
		n := startNode(t, torso, "--rate", "0")
		var found ledgerv1.LookupAccountsResponse
		ask(t, torso, &found, "ledger", "lookup", "70b0", "70b99")
		if len(found.Accounts) != 0 {
			t.Errorf("%s: half a batch is there: %v", torn.name, &found)
		}
		n.kill(t) // and once more: what was removed does not come back
		intact(t, torso, loans)
	}
	if after <= before {
		t.Errorf("the batch was not written: %d and %d bytes", before, after)
	}
	// A power cut does not shorten a segment, which had its length before: that is damage.
	if err := os.Truncate(path, after); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, 1, []string{"00000001.segment", strconv.FormatInt(after, 10), "recovery.md"},
		append(upArgs(), "--rate", "0")...)
	if err := os.Truncate(path, int64(len(whole))); err != nil {
		t.Fatal(err)
	}
	intact(t, dir, loans)
}

// copied returns a copy of a data directory, with its files' modes.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("cp", "-a", dir, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	return to
}

// TestCorruptFiles damages the other files that a start reads; each is named.
func TestCorruptFiles(t *testing.T) {
	t.Parallel()
	dir, loans := book(t, true)
	up := append(upArgs(), "--rate", "0")
	for _, row := range []struct {
		name   string
		file   string
		damage func(data []byte) []byte
	}{
		{"no database", "lending/lending.db", func(d []byte) []byte { copy(d, "not a database!!"); return d }},
		{"half a database", "lending/lending.db", func(d []byte) []byte { return d[:len(d)/2&^4095] }},
		{"a page of noise", "lending/lending.db", func(d []byte) []byte {
			copy(d[4096:8192], bytes.Repeat([]byte{0xa5}, 4096))
			return d
		}},
		{"half an identity", "lending/identity.key", func(d []byte) []byte { return d[:16] }},
		{"no vault", "vault/vault.db", func(d []byte) []byte { copy(d, "not a database!!"); return d }},
		{"another master key", "vault/master.key", func(d []byte) []byte { d[3] ^= 1; return d }},
		{"half a log key", "evidence/log.key", func(d []byte) []byte { return d[:len(d)/2] }},
		{"no checkpoint", "evidence/log/checkpoint", func(d []byte) []byte { return d[:len(d)/2] }},
		{"no superblock", "ledger/superblock", func(d []byte) []byte { clear(d); return d }},
		{"broken tokens", "access/tokens.json", func(d []byte) []byte { return d[:len(d)/2] }},
	} {
		path := filepath.Join(dir, row.file)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, row.damage(bytes.Clone(whole)), 0o600); err != nil {
			t.Fatal(err)
		}
		before := listing(t, dir)
		complaint := refused(t, dir, 1, []string{filepath.Base(row.file)}, up...)
		if strings.Contains(complaint, "goroutine") || strings.Contains(complaint, "panic") {
			t.Errorf("%s: the start panics:\n%s", row.name, complaint)
		}
		if after := listing(t, dir); after != before {
			t.Errorf("%s: a refused start has changed the files from\n%s\nto\n%s", row.name, before, after)
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What can be derived is made again.
	if err := os.Remove(filepath.Join(dir, "evidence", "index.db")); err != nil {
		t.Fatal(err)
	}
	intact(t, dir, loans)
}

// listing names the files of a directory with their sizes, but for those that a start always makes.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var list strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, dir)
		if strings.HasSuffix(name, "-lock") || strings.HasSuffix(name, ".lock") ||
			strings.HasSuffix(name, "-shm") || strings.HasSuffix(name, "-wal") || strings.HasSuffix(name, "LOCK") {
			return nil
		}
		info, err := entry.Info()
		fmt.Fprintf(&list, "%s %d\n", name, info.Size())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list.String()
}
