package replica

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/base/ident"
	"surety/ledger"
	"surety/sys/vfs"
)

// history is what a client knows: the batches it sent, in order, and those that were answered.
type history struct {
	load    *load
	sent    []loadBatch
	results [][]ledger.TransferResult // of the transfers of each answered batch; nil for other kinds
	acked   int                       // batches answered: all but perhaps the last sent
}

// step sends one batch and notes the answer.
func (h *history) step(r *Replica) error {
	batch := h.load.next()
	h.sent = append(h.sent, batch)
	var results []ledger.TransferResult
	var err error
	ctx := context.Background()
	switch {
	case batch.accounts != nil:
		_, err = r.CreateAccounts(ctx, batch.accounts)
	case batch.freezes != nil:
		_, err = r.ApplyFreezes(ctx, batch.freezes)
	default:
		results, err = r.CreateTransfers(ctx, batch.transfers)
	}
	if err != nil {
		return err
	}
	h.results = append(h.results, results)
	h.acked++
	return nil
}

// check holds a ledger to what the client knows: every acknowledged transfer is there as it was
// answered, and what was refused is not.
func (h *history) check(r *Replica) error {
	for i := range h.acked {
		for n, result := range h.results[i] {
			want := &h.sent[i].transfers[n]
			got, found := r.state.Transfer(want.ID)
			if found != (result == ledger.TransferOK) {
				return fmt.Errorf("batch %d: transfer %s was answered %s, and found is %v",
					i, want.ID, result, found)
			}
			if found && (got.Flags != want.Flags || got.PendingID != want.PendingID) {
				return fmt.Errorf("batch %d: transfer %s is another", i, want.ID)
			}
			if !found && result.Transient() != r.state.Failed(want.ID) {
				return fmt.Errorf("batch %d: transfer %s was answered %s, and its id is failed: %v",
					i, want.ID, result, r.state.Failed(want.ID))
			}
		}
	}
	return r.state.CheckInvariants()
}

// TestPowerCuts cuts the power before each changing operation of a run with small segments and many
// snapshots, and again while it recovers.
func TestPowerCuts(t *testing.T) {
	step := int64(1)
	if testing.Short() {
		step = 17
	}
	for cut := int64(0); ; cut += step {
		w := newWorld(t)
		w.memory.SetFault(vfs.PowerOffAt(cut, nil))
		h := &history{load: newLoad(uint64(cut), 0)}
		finished := w.run(h, 40)
		random := rand.New(rand.NewPCG(uint64(cut), 2))
		for again := range uint64(2) {
			w.crash(uint64(cut)*3 + again)
			w.memory.SetFault(vfs.PowerOffAt(random.Int64N(12), nil))
			if w.open() == nil {
				if err := h.check(w.r); err != nil {
					t.Fatalf("cut %d, again %d: %v", cut, again, err)
				}
			}
		}
		w.crash(uint64(cut))
		w.mustOpen()
		if err := h.check(w.r); err != nil {
			t.Fatalf("cut %d: %v", cut, err)
		}
		w.goOn(h)
		if finished {
			t.Logf("%d points", cut)
			if cut < 80 {
				t.Errorf("the run has only %d points", cut)
			}
			return
		}
	}
}

// run sends batches until the power is cut, and reports whether it came to its end.
func (w *world) run(h *history, batches int) bool {
	if w.open() != nil {
		return false
	}
	for range batches {
		if err := h.step(w.r); err != nil {
			return false
		}
	}
	r := w.r
	w.r = nil
	return r.Close() == nil
}

// goOn shows that a recovered ledger works: the last batch, sent again, is answered as a repeat.
func (w *world) goOn(h *history) {
	w.t.Helper()
	if h.acked < len(h.sent) { // the answer was lost: ask again, as a client does
		batch := h.sent[h.acked]
		if batch.transfers != nil {
			first := w.send(batch.transfers...)
			second := w.send(batch.transfers...)
			for i := range first {
				repeat := second[i] == ledger.TransferExists || second[i] == ledger.TransferIDAlreadyFailed
				if linked := batch.transfers[i].Flags&ledger.TransferLinked != 0 || i > 0 &&
					batch.transfers[i-1].Flags&ledger.TransferLinked != 0; linked {
					continue
				}
				if (first[i] == ledger.TransferOK || first[i].Transient()) && !repeat {
					w.t.Fatalf("%s, sent again, is answered %s after %s", batch.transfers[i].ID, second[i], first[i])
				}
			}
		}
	}
	digest := w.digest()
	w.mustClose()
	w.mustOpen()
	if w.digest() != digest {
		w.t.Fatal("another state came back")
	}
	w.mustClose()
}

// aged is a ledger with two snapshots and a tail of journal behind them, closed or crashed.
func aged(t *testing.T, closed bool) (*world, string) {
	w := newWorld(t)
	w.mustOpen()
	h := &history{load: newLoad(3, 0)}
	for i := range 90 {
		if err := h.step(w.r); err != nil {
			t.Fatal(err)
		}
		if i == 30 || i == 60 {
			w.mustClose()
			w.mustOpen()
		}
	}
	digest := w.digest()
	if closed {
		w.mustClose()
	} else {
		w.crash(1)
	}
	return w, digest
}

// TestBitFlips flips bits all over the directory: a start refuses, or has exactly the state.
func TestBitFlips(t *testing.T) {
	flips := int64(40)
	if testing.Short() {
		flips = 15
	}
	for _, closed := range []bool{true, false} {
		pristine, digest := aged(t, closed)
		random := rand.New(rand.NewPCG(5, 6))
		refused, exact, byKind := 0, 0, map[string]int{}
		for _, name := range pristine.memory.Names(testDir + "/") {
			size := fileSize(t, pristine.memory, name)
			for range min(flips, size) {
				w := newWorld(silent{t})
				w.memory = pristine.memory.Clone()
				w.fs = w.memory
				w.memory.Flip(name, random.Int64N(size*8))
				if err := w.open(); err != nil {
					wantKind(t, err, errs.Corrupt)
					refused++
					byKind[name[len(name)-8:]]++
					continue
				}
				exact++
				if w.digest() != digest {
					t.Fatalf("closed %v, %s: silently different", closed, name)
				}
				w.mustClose()
			}
		}
		t.Logf("closed %v: %d refused %v, %d exact", closed, refused, byKind, exact)
		if exact == 0 || !closed && refused == 0 {
			t.Error("the flips do not reach both outcomes")
		}
	}
}

// silent keeps the warnings of hundreds of starts out of the test's log.
type silent struct{ *testing.T }

func (silent) Log(...any) {}

func fileSize(t *testing.T, fs vfs.FS, name string) int64 {
	t.Helper()
	f, err := fs.Open(name, 0)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// TestBrokenSnapshots breaks one snapshot, then both, then loses the files: the state comes back
// from an older one and more of the journal.
func TestBrokenSnapshots(t *testing.T) {
	w, digest := aged(t, true)
	pristine := w.memory
	snapshots := 0
	for _, name := range pristine.Names(testDir + "/") {
		if strings.HasSuffix(name, snapshotSuffix) {
			snapshots++
		}
	}
	if snapshots != 2 {
		t.Fatalf("%d snapshots are kept, want 2", snapshots)
	}
	for _, how := range []string{"flip newest", "cut newest", "lose newest", "flip both", "lose both"} {
		w := newWorld(t)
		w.memory = pristine.Clone()
		w.fs = w.memory
		names := w.memory.Names(testDir + "/")
		var files []string
		for _, name := range names {
			if strings.HasSuffix(name, snapshotSuffix) {
				files = append(files, name)
			}
		}
		if !strings.HasSuffix(how, "both") {
			files = files[1:]
		}
		for _, name := range files {
			switch how[:3] {
			case "fli":
				w.memory.Flip(name, 8*1000)
			case "cut":
				w.memory.Cut(name, 500)
			default:
				if err := w.memory.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.mustOpen()
		if w.digest() != digest {
			t.Errorf("%s: another state", how)
		}
		w.mustClose()
		w.mustOpen() // and it is whole again
		if w.digest() != digest {
			t.Errorf("%s: another state after another start", how)
		}
		w.mustClose()
	}
}

// TestFullDisk fills the disk: batches are refused before anything is changed, reads go on, and
// when there is room again so do batches.
func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	w.config.SnapshotBytes = 1 << 40
	w.memory.SetCapacity(48<<10 + 8192 + 40<<10)
	w.mustOpen()
	w.accounts(3)
	ctx := context.Background()
	n := uint64(0)
	var err error
	for err == nil {
		n++
		_, err = w.r.CreateTransfers(ctx, []ledger.Transfer{transfer(n, 1, 2, 1)})
	}
	wantKind(t, err, errs.NoSpace)
	_, err = w.r.CreateTransfers(ctx, []ledger.Transfer{transfer(n, 1, 2, 1)})
	wantKind(t, err, errs.NoSpace)
	found, err := w.r.LookupTransfers(ctx, []ident.ID{id(n), id(n - 1)})
	if err != nil || len(found) != 1 || found[0].ID != id(n-1) {
		t.Errorf("found %v, %v: a refused batch left a trace", found, err)
	}
	status, err := w.r.Status(ctx)
	if err != nil || !strings.Contains(status.ReadOnly, "no space left") || status.Stopped != "" {
		t.Errorf("status %+v, %v", status, err)
	}
	w.memory.SetCapacity(0)
	if got := w.send(transfer(n, 1, 2, 1)); got[0] != ledger.TransferOK {
		t.Errorf("with room again: %s", got[0])
	}
	if status, _ := w.r.Status(ctx); status.ReadOnly != "" {
		t.Errorf("still refusing: %q", status.ReadOnly)
	}
	digest := w.digest()
	w.crash(2)
	w.mustOpen()
	if w.digest() != digest {
		t.Error("another state came back")
	}
	w.mustClose()
}

// TestFullDiskAtClose: no last snapshot can be written. That is said, and nothing is lost.
func TestFullDiskAtClose(t *testing.T) {
	w := newWorld(t)
	w.mustOpen()
	w.accounts(3)
	w.send(transfer(1, 1, 2, 1))
	digest := w.digest()
	w.memory.SetCapacity(1)
	wantKind(t, w.r.Close(), errs.NoSpace)
	w.memory.SetCapacity(0)
	w.mustOpen()
	if w.digest() != digest {
		t.Error("another state came back")
	}
	w.mustClose()
}

func TestLimitOfTransfers(t *testing.T) {
	w := newWorld(t)
	w.config.Limits.Transfers = 5
	w.mustOpen()
	w.accounts(3)
	ctx := context.Background()
	w.send(transfer(1, 1, 2, 1), transfer(2, 1, 2, 1), transfer(3, 1, 2, 1))
	_, err := w.r.CreateTransfers(ctx, []ledger.Transfer{transfer(4, 1, 2, 1), transfer(5, 1, 2, 1),
		transfer(6, 1, 2, 1)})
	wantKind(t, err, errs.NoSpace)
	w.send(transfer(4, 1, 2, 1), transfer(5, 1, 2, 1))
	if status, err := w.r.Status(ctx); err != nil || status.Transfers != 5 {
		t.Errorf("status %+v, %v", status, err)
	}
	w.mustClose()
	w.config.Limits.Transfers = 4
	wantKind(t, w.open(), errs.NoSpace)
}

func TestReadOnlyDirectory(t *testing.T) {
	w, digest := aged(t, false)
	w.memory.SetReadOnly(true)
	wantKind(t, w.open(), errs.Forbidden)
	w.config.Journal.ReadOnly = true
	w.mustOpen()
	if w.digest() != digest {
		t.Error("another state")
	}
	_, err := w.r.CreateTransfers(context.Background(), []ledger.Transfer{transfer(1, 1, 2, 1)})
	wantKind(t, err, errs.Forbidden)
	w.mustClose()
}

func TestSecondOpener(t *testing.T) {
	w := newWorld(t)
	w.mustOpen()
	other := *w
	err := other.open()
	wantKind(t, err, errs.Locked)
	if err != nil && !strings.Contains(err.Error(), "ledger.open: ledger: ") {
		t.Errorf("message %q", err)
	}
	w.mustClose()
}

func TestRealDirectory(t *testing.T) {
	w := newWorld(t)
	w.fs = vfs.OS{}
	w.config.Dir = t.TempDir() + "/a/b"
	w.mustOpen()
	h := &history{load: newLoad(9, 0)}
	for range 60 {
		if err := h.step(w.r); err != nil {
			t.Fatal(err)
		}
	}
	digest := w.digest()
	w.mustClose()
	w.mustOpen()
	if w.digest() != digest {
		t.Error("another state came back")
	}
	w.mustClose()
}
