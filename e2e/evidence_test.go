//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	evidencev1 "surety/api/evidence/v1"
	lendingv1 "surety/api/lending/v1"
)

// TestEvidence takes a proof out of a node, checks it without the node, and sees every damage to it
// refused.
func TestEvidence(t *testing.T) {
	t.Parallel()
	n := startNode(t, t.TempDir(), "--rate", "0")
	loan := lend(t, n, "evidence-1")
	for range 3 {
		lend(t, n, "evidence-of-others")
	}
	traced := trace(t, n, loan.Id) // waits until the log has it
	elsewhere := t.TempDir()
	bundle := filepath.Join(elsewhere, "loan.bundle")
	if out := run(t, n.dir, 0, "evidence", "export", loan.Id, "--out", bundle); out != "" {
		t.Errorf("export wrote to standard output:\n%s", out)
	}
	var signed evidencev1.CheckpointResponse
	ask(t, n.dir, &signed, "evidence", "checkpoint")
	n.stop(t)

	// Offline: with the key of the directory, then elsewhere with nothing but the key.
	if out := run(t, n.dir, 0, "evidence", "verify", bundle); !strings.Contains(out, "verified") {
		t.Errorf("verify says:\n%s", out)
	}
	var proved struct {
		Origin                   string
		Size                     uint64
		Records, Payloads, Inner int
	}
	out := run(t, elsewhere, 0, "evidence", "verify", bundle, "--key", signed.Key, "-o", "json")
	if err := json.Unmarshal([]byte(out), &proved); err != nil {
		t.Fatal(err)
	}
	if proved.Records < len(traced.Steps) || proved.Payloads < len(traced.Steps) || proved.Inner < 4 ||
		proved.Origin != "surety.local/log" {
		t.Errorf("the bundle proves %+v, the trace had %d steps", proved, len(traced.Steps))
	}
	refused(t, elsewhere, 1, nil, "evidence", "verify", bundle) // no key here
	refused(t, n.dir, 1, nil, "evidence", "verify", filepath.Join(elsewhere, "absent"))
	damaged(t, n.dir, bundle)
	foreignKey(t, bundle)

	var audit struct{ Checkpoint struct{ Size uint64 } }
	if err := json.Unmarshal([]byte(run(t, n.dir, 0, "evidence", "check", "-o", "json")), &audit); err != nil {
		t.Fatal(err)
	}
	if audit.Checkpoint.Size < signed.Size {
		t.Errorf("the log on disk has %d records, %d were signed", audit.Checkpoint.Size, signed.Size)
	}
	damagedLog(t, n.dir)
}

// trace returns the steps of a loan, once the log has them.
func trace(t *testing.T, n *node, id string) *evidencev1.TraceResponse {
	t.Helper()
	var response evidencev1.TraceResponse
	ask(t, n.dir, &response, "trace", id)
	return &response
}

// damaged flips bits all over a bundle and cuts it short: no change may pass.
func damaged(t *testing.T, dir, bundle string) {
	t.Helper()
	whole, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "damaged.bundle")
	try := func(what string, at int, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, complaint, status := execute(t, dir, "", "evidence", "verify", path); status != 1 {
			t.Errorf("a bundle %s at byte %d: exit status %d, want 1\n%s", what, at, status, complaint)
		}
	}
	const places = 24
	for i := range places {
		at := i * (len(whole) - 1) / (places - 1)
		changed := bytes.Clone(whole)
		changed[at] ^= 0x04
		try("changed", at, changed)
	}
	for _, length := range []int{0, 1, len(whole) / 2, len(whole) - 2} {
		try("cut", length, whole[:length])
	}
	try("grown", len(whole), append(bytes.Clone(whole), 0))
}

// foreignKey wants a bundle refused under the key of another log.
func foreignKey(t *testing.T, bundle string) {
	t.Helper()
	other := startNode(t, t.TempDir(), "--rate", "0")
	var signed evidencev1.CheckpointResponse
	ask(t, other.dir, &signed, "evidence", "checkpoint")
	refused(t, other.dir, 1, nil, "evidence", "verify", bundle)
	refused(t, other.dir, 1, nil, "evidence", "verify", bundle, "--key", signed.Key)
	refused(t, other.dir, 2, []string{"key"}, "evidence", "verify", bundle, "--key", "nonsense")
}

// damagedLog flips one bit in each kind of file of the log on disk; the check must name what it is.
func damagedLog(t *testing.T, dir string) {
	t.Helper()
	root := filepath.Join(dir, "evidence")
	for _, damage := range []struct {
		path  string
		at    int64
		names []string
	}{
		{newest(t, filepath.Join(root, "log/tile/0/000.p")), -1, []string{"tile/0/000"}},
		{newest(t, filepath.Join(root, "log/tile/entries/000.p")), -1, []string{"tile/entries/000"}},
		{filepath.Join(root, "log/checkpoint"), -1, []string{"checkpoint"}},
		{filepath.Join(root, "payloads.db"), find(t, filepath.Join(root, "payloads.db"), "loan.disbursed"),
			[]string{"payload"}},
	} {
		restore := flip(t, damage.path, damage.at)
		t.Log(refused(t, dir, 1, damage.names, "evidence", "check"))
		restore()
		run(t, dir, 0, "evidence", "check")
	}
}

// newest returns the partial tile in a folder that is in force: the one of the highest number.
func newest(t *testing.T, folder string) string {
	t.Helper()
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	highest := -1
	for _, file := range files {
		number, err := strconv.Atoi(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		highest = max(highest, number)
	}
	return filepath.Join(folder, strconv.Itoa(highest))
}

// find returns where a text last stands in a file.
func find(t *testing.T, path, text string) int64 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(data, []byte(text))
	if at < 0 {
		t.Fatalf("%s has no %q", path, text)
	}
	return int64(at)
}

// flip changes one bit of a file, in its middle where at is negative; the function it returns
// changes it back.
func flip(t *testing.T, path string, at int64) (restore func()) {
	t.Helper()
	change := func() {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if at < 0 {
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			at = info.Size() / 2
		}
		var b [1]byte
		if _, err := f.ReadAt(b[:], at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 0x10
		if _, err := f.WriteAt(b[:], at); err != nil {
			t.Fatal(err)
		}
	}
	change()
	return change
}

// TestErase destroys a customer's key: the form can never be read again, and every proof still
// holds. Before that, too, the form is nowhere on the disk in clear text.
func TestErase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := startNode(t, dir, "--rate", "0")
	token := n.adminToken(t)
	const subject = "ERASE-ME-20480017"
	loan, other := lend(t, n, subject), lend(t, n, "erase-not-me")
	trace(t, n, loan.Id)
	bundle := filepath.Join(t.TempDir(), "loan.bundle")
	run(t, dir, 0, "evidence", "export", loan.Id, "--out", bundle)
	form := func(loan *lendingv1.Loan) (*lendingv1.Form, bool) {
		t.Helper()
		var a lendingv1.Application
		ask(t, dir, &a, "lend", "application", loan.Application)
		return a.Form, a.Erased
	}
	if f, erased := form(loan); f.GetIdNumber() != subject || erased {
		t.Errorf("before: %v, %t", f, erased)
	}
	sealed(t, dir, subject)
	sealed(t, filepath.Dir(bundle), subject)

	erase := []string{"evidence", "erase", loan.Customer, "--reason", "asked by the customer"}
	refused(t, dir, 1, []string{"risk"}, erase...)
	run(t, dir, 0, append(erase, "--token", token)...)
	for range 2 { // now, and after a start
		if f, erased := form(loan); f != nil || !erased {
			t.Errorf("after: %v, %t", f, erased)
		}
		if f, erased := form(other); f.GetIdNumber() != "erase-not-me" || erased {
			t.Errorf("another customer: %v, %t", f, erased)
		}
		for _, step := range trace(t, n, loan.Id).Steps {
			if !step.Proved {
				t.Errorf("step %d, %s, is not proved any more", step.Index, step.Kind)
			}
		}
		n.stop(t)
		run(t, dir, 0, "evidence", "verify", bundle)
		run(t, dir, 0, "evidence", "check")
		n = startNode(t, dir, "--rate", "0")
	}
	run(t, dir, 0, "evidence", "export", loan.Id, "--out", bundle)
	run(t, dir, 0, "evidence", "verify", bundle)
	var replay lendingv1.ReplayResponse
	ask(t, dir, &replay, "lend", "replay", loan.Application)
	if !replay.Equal {
		t.Errorf("the decision of an erased applicant replays as %v", &replay)
	}
}

// sealed wants a text in no file below a directory.
func sealed(t *testing.T, dir, text string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.Contains(data, []byte(text)) {
			t.Errorf("%s holds %q in clear text", path, text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
