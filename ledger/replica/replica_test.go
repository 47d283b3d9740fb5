package replica

import (
	"context"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	"surety/base/errs"
	"surety/base/ident"
	"surety/ledger"
	"surety/ledger/client"
	"surety/ledger/wire"
	"surety/sys/vfs"
)

func TestCloseAndOpen(t *testing.T) {
	w := newWorld(t)
	w.mustOpen()
	w.accounts(3)
	got := w.send(transfer(1, 1, 2, 100), transfer(2, 2, 3, 101), transfer(3, 2, 3, 40), transfer(3, 2, 3, 40))
	want := []ledger.TransferResult{0, ledger.TransferExceedsCredits, 0, ledger.TransferExists}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("results %v, want %v", got, want)
	}
	digest := w.digest()
	w.mustClose()
	w.mustOpen()
	if w.digest() != digest {
		t.Error("another state came back")
	}
	if got := w.send(transfer(2, 2, 3, 1)); got[0] != ledger.TransferIDAlreadyFailed {
		t.Errorf("a failed id came back as %s", got[0])
	}
	accounts, err := w.r.LookupAccounts(context.Background(), []ident.ID{id(2), id(99), id(1)})
	if err != nil || len(accounts) != 2 || accounts[0].ID != id(2) || accounts[0].CreditsPosted.Lo != 100 ||
		accounts[0].DebitsPosted.Lo != 40 || accounts[1].DebitsPosted.Lo != 100 {
		t.Errorf("accounts %+v, %v", accounts, err)
	}
	w.mustClose()
}

// TestLikeTheCore sends random batches through the replica, with restarts and crashes, and to a
// bare core with the timestamps the replica chose: the answers are the same.
func TestLikeTheCore(t *testing.T) {
	w := newWorld(t)
	w.mustOpen()
	twin := ledger.NewState(ledger.Limits{})
	load := newLoad(7, 0)
	for i := range 120 {
		switch batch := load.next(); {
		case batch.accounts != nil:
			got, err := w.r.CreateAccounts(context.Background(), batch.accounts)
			if err != nil {
				t.Fatal(err)
			}
			at := w.r.state.Now()
			if want := twin.CreateAccounts(batch.accounts, at, nil); !reflect.DeepEqual(got, want) {
				t.Fatalf("batch %d: %v, want %v", i, got, want)
			}
		case batch.freezes != nil:
			got, err := w.r.ApplyFreezes(context.Background(), batch.freezes)
			if err != nil {
				t.Fatal(err)
			}
			if want := twin.ApplyFreezes(batch.freezes, w.r.state.Now(), nil); !reflect.DeepEqual(got, want) {
				t.Fatalf("batch %d: %v, want %v", i, got, want)
			}
		default:
			got := w.send(batch.transfers...)
			if want := twin.CreateTransfers(batch.transfers, w.r.state.Now(), nil); !reflect.DeepEqual(got, want) {
				t.Fatalf("batch %d: %v, want %v", i, got, want)
			}
		}
		if i%17 == 16 {
			w.mustClose()
			w.mustOpen()
		}
		if i%23 == 22 {
			w.crash(uint64(i))
			w.mustOpen()
		}
		if w.r.state.Digest() != twin.Digest() {
			t.Fatalf("batch %d: another state", i)
		}
	}
	w.mustClose()
}

func TestLimitsAndEnds(t *testing.T) {
	w := newWorld(t)
	w.mustOpen()
	ctx := context.Background()
	_, err := w.r.CreateTransfers(ctx, make([]ledger.Transfer, ledger.BatchMax+1))
	wantKind(t, err, errs.TooLarge)
	if results, err := w.r.CreateTransfers(ctx, nil); err != nil || len(results) != 0 {
		t.Errorf("an empty batch gave %v, %v", results, err)
	}
	_, err = w.r.LookupAccounts(ctx, make([]ident.ID, LookupMax+1))
	wantKind(t, err, errs.TooLarge)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err = w.r.CreateTransfers(ended, []ledger.Transfer{{}})
	wantKind(t, err, errs.Canceled)
	w.mustCloseAnd(func(r *Replica) {
		_, err = r.CreateTransfers(ctx, []ledger.Transfer{{}})
		wantKind(t, err, errs.Unavailable)
		_, err = r.LookupAccounts(ctx, []ident.ID{id(1)})
		wantKind(t, err, errs.Unavailable)
		_, err = r.Events(ctx, 0, 1)
		wantKind(t, err, errs.Unavailable)
		wantKind(t, r.WaitEvents(ctx, 0), errs.Unavailable)
		if status, err := r.Status(ctx); err != nil || status.Stopped == "" {
			t.Errorf("status %+v, %v", status, err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("a second close: %v", err)
		}
	})
}

func (w *world) mustCloseAnd(then func(*Replica)) {
	w.t.Helper()
	r := w.r
	w.mustClose()
	then(r)
}

// gate holds syncs of segments back until it is opened.
type gate struct {
	mu      sync.Mutex
	closed  chan struct{} // nil while open
	waiting chan struct{} // receives one for each sync held back
	err     error         // what held syncs answer
}

func newGate() *gate { return &gate{waiting: make(chan struct{}, 100)} }

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = make(chan struct{})
}

func (g *gate) open(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err = err
	close(g.closed)
	g.closed = nil
}

// gatedFS passes everything on and holds syncs at the gate.
type gatedFS struct {
	vfs.FS
	gate *gate
}

type gatedFile struct {
	vfs.File
	gate *gate
}

func (f gatedFS) Open(name string, mode vfs.Mode) (vfs.File, error) {
	file, err := f.FS.Open(name, mode)
	if err != nil || !strings.HasSuffix(name, ".segment") {
		return file, err
	}
	return gatedFile{file, f.gate}, nil
}

func (f gatedFile) Sync() error {
	f.gate.mu.Lock()
	closed := f.gate.closed
	f.gate.mu.Unlock()
	if closed != nil {
		f.gate.waiting <- struct{}{}
		<-closed
		f.gate.mu.Lock()
		defer f.gate.mu.Unlock()
		if f.gate.err != nil {
			return f.gate.err
		}
	}
	return f.File.Sync()
}

// gatedWorld is a world whose first segment is reopened, so that its syncs pass the gate.
func gatedWorld(t *testing.T) (*world, *gate) {
	w := newWorld(t)
	w.mustOpen()
	w.accounts(3)
	w.mustClose()
	g := newGate()
	w.fs = gatedFS{w.memory, g}
	w.mustOpen()
	return w, g
}

// TestReadsWaitForTheDisk shows that nothing is answered or shown before it is durable.
func TestReadsWaitForTheDisk(t *testing.T) {
	for _, fails := range []bool{false, true} {
		w, g := gatedWorld(t)
		events := w.r.state.EventsLen()
		g.shut()
		ctx := context.Background()
		written, read, waited := make(chan error, 1), make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := w.r.CreateTransfers(ctx, []ledger.Transfer{transfer(1, 1, 2, 5)})
			written <- err
		}()
		<-g.waiting // applied, and on its way to the disk
		go func() {
			found, err := w.r.LookupTransfers(ctx, []ident.ID{id(1)})
			if err == nil && len(found) != 1 {
				t.Error("the read waited and did not see what it waited for")
			}
			read <- err
		}()
		go func() { waited <- w.r.WaitEvents(ctx, events) }()
		if seen, err := w.r.Events(ctx, events, 10); err != nil || len(seen) != 0 {
			t.Errorf("the feed shows %d events that are not durable: %v", len(seen), err)
		}
		if batches, err := w.r.Batches(ctx, 2, 10); err != nil || len(batches) != 0 {
			t.Errorf("%d batches that are not durable: %v", len(batches), err)
		}
		gone, cancel := context.WithCancel(ctx)
		cancel()
		_, err := w.r.LookupTransfers(gone, []ident.ID{id(1)})
		wantKind(t, err, errs.Canceled)
		for _, c := range []chan error{written, read, waited} {
			if len(c) > 0 {
				t.Error("something was answered before the disk did")
			}
		}
		if fails {
			failure := errs.New(errs.Internal, "input/output error")
			g.open(failure)
			for _, c := range []chan error{written, read, waited} {
				if err := <-c; err == nil || !strings.Contains(err.Error(), "stopped for good") {
					t.Errorf("after a failed sync: %v", err)
				}
			}
			_, err := w.r.CreateTransfers(ctx, []ledger.Transfer{transfer(2, 1, 2, 5)})
			wantKind(t, err, errs.Internal)
			if status, _ := w.r.Status(ctx); !strings.Contains(status.Stopped, "input/output error") {
				t.Errorf("status says %q", status.Stopped)
			}
			if err := w.r.Close(); err == nil {
				t.Error("closed as if all were well")
			}
			continue
		}
		g.open(nil)
		for _, c := range []chan error{written, read, waited} {
			if err := <-c; err != nil {
				t.Error(err)
			}
		}
		w.mustClose()
	}
}

// TestQueue fills the queue while the disk is held: the next one is told to come back, one that
// went away is left out, and the rest go into few groups.
func TestQueue(t *testing.T) {
	w, g := gatedWorld(t)
	w.mustClose()
	w.config.QueueMax = 20
	w.mustOpen()
	g.shut()
	ctx := context.Background()
	done := make(chan error, 100)
	send := func(ctx context.Context, n uint64) {
		_, err := w.r.CreateTransfers(ctx, []ledger.Transfer{transfer(n, 1, 2, 1)})
		done <- err
	}
	go send(ctx, 1)
	<-g.waiting // the writer commits this one itself and sees no queue
	for n := range uint64(20) {
		queued := w.r.queueLen()
		leaver, cancel := context.WithCancel(ctx)
		if n == 7 {
			go send(leaver, 100+n)
		} else {
			go send(ctx, 100+n)
		}
		for w.r.queueLen() == queued {
			runtime.Gosched()
		}
		if n == 7 {
			cancel()
			wantKind(t, <-done, errs.Canceled)
		}
		cancel()
	}
	_, err := w.r.CreateTransfers(ctx, []ledger.Transfer{transfer(200, 1, 2, 1)})
	wantKind(t, err, errs.Busy)
	if err != nil && !strings.Contains(err.Error(), "20 requests are waiting, the limit is 20") {
		t.Errorf("message %q", err)
	}
	before, _, _, _ := w.r.durable.get()
	g.open(nil)
	for range 20 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if after, _, _, _ := w.r.durable.get(); after != before+20 {
		t.Errorf("%d batches became durable, want 20", after-before)
	}
	found, err := w.r.LookupTransfers(ctx, []ident.ID{id(106), id(107), id(108)})
	if err != nil || len(found) != 2 {
		t.Errorf("found %d, %v", len(found), err)
	}
	w.mustClose()
}

func (r *Replica) queueLen() int { return len(r.queue) }

func TestExpiry(t *testing.T) {
	w := newWorld(t)
	w.mustOpen()
	w.accounts(3)
	pending := transfer(1, 1, 2, 10)
	pending.Flags, pending.Timeout = ledger.TransferPending, 5
	w.send(pending)
	ctx := context.Background()
	status := func() ledger.PendingStatus {
		got, err := w.r.PendingStatuses(ctx, []ident.ID{id(1)})
		if err != nil {
			t.Fatal(err)
		}
		return got[0]
	}
	events := w.r.state.EventsLen()
	if got := status(); got != ledger.PendingOpen {
		t.Fatalf("status %d", got)
	}
	w.clock.Advance(6 * second)
	if err := w.r.WaitEvents(ctx, events); err != nil { // nobody sends anything: a pulse does it
		t.Fatal(err)
	}
	seen, err := w.r.Events(ctx, events, 5)
	if err != nil || len(seen) != 1 || seen[0].Kind != ledger.EventPendingExpired {
		t.Errorf("events %+v, %v", seen, err)
	}
	if got := status(); got != ledger.PendingExpired {
		t.Errorf("status %d", got)
	}
	digest := w.digest()
	w.crash(3)
	w.mustOpen()
	if w.digest() != digest {
		t.Error("another state came back")
	}
	w.mustClose()
}

func TestNames(t *testing.T) {
	w := newWorld(t)
	w.mustOpen()
	w.accounts(3)
	ctx := context.Background()
	set := func(names ...client.Name) error { return w.r.SetNames(ctx, names) }
	name := func(n uint64, text string) client.Name { return client.Name{AccountID: id(n), Name: text} }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	alice := client.Name{AccountID: id(1), Name: "alice", Metadata: map[string]string{"city": "Ulm"}}
	must(set(alice, name(2, "bob")))
	must(set(alice)) // again
	wantKind(t, set(name(3, "bob")), errs.Exists)
	wantKind(t, set(name(3, "x"), name(2, "x")), errs.Exists)
	wantKind(t, set(name(3, "a\x00")), errs.Invalid)
	must(set(name(1, "bob2"), name(2, "alice"), name(1, "bob"))) // change places through a third
	must(set(client.Name{AccountID: id(9), Metadata: map[string]string{"reason": "why"}}))
	check := func() {
		t.Helper()
		for text, want := range map[string]uint64{"bob": 1, "alice": 2} {
			if got, err := w.r.ResolveName(ctx, text); err != nil || got != id(want) {
				t.Errorf("%s is %v, %v", text, got, err)
			}
		}
		_, err := w.r.ResolveName(ctx, "bob2")
		wantKind(t, err, errs.NotFound)
		if got, err := w.r.NameOf(ctx, id(9)); err != nil || got.Metadata["reason"] != "why" || got.Name != "" {
			t.Errorf("name of 9: %+v, %v", got, err)
		}
		_, err = w.r.NameOf(ctx, id(3))
		wantKind(t, err, errs.NotFound)
	}
	check()
	w.mustClose() // through a snapshot
	w.mustOpen()
	check()
	must(set(client.Name{AccountID: id(2)})) // neither name nor metadata: gone
	must(set(name(3, "alice")))
	w.crash(1) // through the journal
	w.mustOpen()
	if got, err := w.r.ResolveName(ctx, "alice"); err != nil || got != id(3) {
		t.Errorf("alice is %v, %v", got, err)
	}
	_, err := w.r.NameOf(ctx, id(2))
	wantKind(t, err, errs.NotFound)
	var listed []string
	for cursor, more := uint64(0), true; more; more = cursor != 0 {
		var page []client.Name
		if page, cursor, err = w.r.ListNames(ctx, cursor, 1); err != nil || len(page) > 1 {
			t.Fatal(page, err)
		}
		for _, n := range page {
			listed = append(listed, n.Name)
		}
	}
	if !reflect.DeepEqual(listed, []string{"bob", "", "alice"}) {
		t.Errorf("the names are %q", listed)
	}
	if page, next, err := w.r.ListNames(ctx, 5<<32|7, 1); len(page) != 0 || next != 0 || err != nil {
		t.Errorf("from nowhere: %v, %d, %v", page, next, err)
	}
	big := make([]client.Name, 1000)
	for i := range big {
		big[i] = client.Name{AccountID: id(uint64(i + 1)), Metadata: map[string]string{
			"k": strings.Repeat("v", wire.ValueMax), "l": strings.Repeat("v", 100)}}
	}
	wantKind(t, set(big...), errs.TooLarge)
	if status, err := w.r.Status(ctx); err != nil || status.Names != 3 {
		t.Errorf("status %+v, %v", status, err)
	}
	w.mustClose()
}

func TestQueries(t *testing.T) {
	w := newWorld(t)
	w.mustOpen()
	w.accounts(4)
	ctx := context.Background()
	for i := range uint64(10) {
		tr := transfer(i+1, 1, 2+i%2, 7)
		tr.UserData128 = id(50 + i%3)
		w.send(tr)
	}
	page, err := w.r.QueryTransfers(ctx, ledger.TransferFilter{UserData128: id(51)})
	if err != nil || len(page.Transfers) != 3 {
		t.Errorf("query: %+v, %v", page, err)
	}
	page, err = w.r.AccountTransfers(ctx, id(3), ledger.AccountFilter{Reversed: true, Limit: 2})
	if err != nil || len(page.Transfers) != 2 || page.Transfers[0].ID != id(10) {
		t.Errorf("of the account: %+v, %v", page, err)
	}
	_, err = w.r.AccountTransfers(ctx, id(99), ledger.AccountFilter{})
	wantKind(t, err, errs.NotFound)
	_, err = w.r.AccountBalances(ctx, id(99), ledger.AccountFilter{})
	wantKind(t, err, errs.NotFound)
	accounts, err := w.r.ListAccounts(ctx, 1, 2)
	if err != nil || len(accounts) != 2 || accounts[0].ID != id(2) {
		t.Errorf("list: %+v, %v", accounts, err)
	}
	totals, err := w.r.ClassTotals(ctx)
	if err != nil || len(totals) != 1 || totals[0].Accounts != 4 || totals[0].DebitsPosted.Lo != 70 {
		t.Errorf("totals: %+v, %v", totals, err)
	}
	freeze := ledger.Freeze{ID: id(70), AccountID: id(2), Actor: id(1), Reason: 1,
		Scope: ledger.FreezeAccount, Sides: ledger.FreezeBoth}
	if got, err := w.r.ApplyFreezes(ctx, []ledger.Freeze{freeze}); err != nil || got[0] != ledger.FreezeOK {
		t.Errorf("freeze: %v, %v", got, err)
	}
	if open, err := w.r.Freezes(ctx); err != nil || len(open) != 1 || open[0].ID != id(70) {
		t.Errorf("freezes: %+v, %v", open, err)
	}
	events, err := w.r.Events(ctx, 12, 0)
	if err != nil || len(events) != 3 || events[2].Kind != ledger.EventFreezeApplied || events[0].Seq != 12 {
		t.Errorf("events: %+v, %v", events, err)
	}
	w.mustClose()
}
