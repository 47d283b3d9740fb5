package settlement_test

import (
	"bytes"
	"context"
	"database/sql"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"surety/base/errs"
	"surety/base/money"
	"surety/lending/settlement"
	"surety/lending/store"
)

func yuanOf(n uint64) money.Amount { return money.Minor(n * 100) }

// notes are records that keep what is written in order. A write is known by the number it notes.
type notes struct {
	mu      sync.Mutex
	commits [][]int // each successful one
	tries   int
	fail    map[int]error // by number noted
	busy    int           // how many commits are still refused for want of room
	gate    chan struct{} // where not nil, a commit waits for a token
}

type noted struct{ number int }

func (n noted) Error() string { return "noted" }

// note is a write that says which it is: without a transaction it returns its number.
func note(number int) store.Write {
	return func(context.Context, *sql.Tx) error { return noted{number} }
}

func (n *notes) Commit(ctx context.Context, writes ...store.Write) error {
	if n.gate != nil {
		<-n.gate
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tries++
	if n.busy > 0 {
		n.busy--
		return errs.New(errs.Busy, "a full queue")
	}
	var numbers []int
	for _, write := range writes {
		number := write(ctx, nil).(noted).number
		if err := n.fail[number]; err != nil {
			return err
		}
		numbers = append(numbers, number)
	}
	n.commits = append(n.commits, numbers)
	return nil
}

func (n *notes) all() (list []int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, commit := range n.commits {
		list = append(list, commit...)
	}
	return list
}

func finisher(t *testing.T, n *notes) (*settlement.Finisher, *bytes.Buffer) {
	var log bytes.Buffer
	f := settlement.NewFinisher(n, slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(f.Close)
	return f, &log
}

func flush(t *testing.T, f *settlement.Finisher) {
	t.Helper()
	if err := f.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestFinisherGathers holds a commit up, and finds what came meanwhile in the next, in order.
func TestFinisherGathers(t *testing.T) {
	n := &notes{gate: make(chan struct{})}
	f, _ := finisher(t, n)
	f.Later(note(0))
	n.gate <- struct{}{} // the first is on its way alone, or with what came before this
	for i := 1; i < 700; i++ {
		f.Later(note(i), note(i))
	}
	close(n.gate)
	flush(t, f)
	var want []int
	for i := range 700 {
		want = append(want, i)
		if i > 0 {
			want = append(want, i)
		}
	}
	if got := n.all(); !slices.Equal(got, want) {
		t.Errorf("noted %v", got)
	}
	if len(n.commits) > 10 {
		t.Errorf("%d commits", len(n.commits))
	}
	for _, commit := range n.commits {
		if len(commit) > 256+1 {
			t.Errorf("a commit of %d writes", len(commit))
		}
	}
}

// TestFinisherFallsBack has one note that can never be written: it keeps no other from it.
func TestFinisherFallsBack(t *testing.T) {
	n := &notes{gate: make(chan struct{}), fail: map[int]error{2: errs.New(errs.NotFound, "gone")}}
	f, log := finisher(t, n)
	f.Later(note(0))
	n.gate <- struct{}{}
	for i := 1; i < 5; i++ {
		f.Later(note(i))
	}
	close(n.gate)
	flush(t, f)
	f.Later(note(5))
	f.Close()
	if got := n.all(); !slices.Equal(got, []int{0, 1, 3, 4, 5}) {
		t.Errorf("noted %v", got)
	}
	if strings.Count(log.String(), "could not be noted") != 1 {
		t.Errorf("log:\n%s", log)
	}
}

// TestFinisherHolds meets records that are full for a while: nothing is lost, the order stays, and
// they are not asked once for each note.
func TestFinisherHolds(t *testing.T) {
	n := &notes{busy: 3}
	f, log := finisher(t, n)
	for i := range 3 {
		f.Later(note(i))
		flush(t, f)
		if got := n.all(); len(got) != 0 {
			t.Fatalf("noted %v", got)
		}
	}
	f.Later(note(3))
	flush(t, f)
	if got := n.all(); !slices.Equal(got, []int{0, 1, 2, 3}) {
		t.Errorf("noted %v", got)
	}
	if n.tries > 8 {
		t.Errorf("%d tries", n.tries)
	}
	if log.Len() != 0 {
		t.Errorf("log:\n%s", log)
	}
}

// TestFinisherCloses sees what is left at the end told, and what comes after it dropped.
func TestFinisherCloses(t *testing.T) {
	n := &notes{}
	f, log := finisher(t, n)
	f.Later(note(1))
	f.Close()
	if got := n.all(); !slices.Equal(got, []int{1}) {
		t.Errorf("noted %v", got)
	}
	f.Later(note(2))
	if err := f.Flush(t.Context()); !errs.Is(err, errs.Unavailable) {
		t.Errorf("flush after close: %v", err)
	}
	f.Close()
	if got := n.all(); !slices.Equal(got, []int{1}) || log.Len() != 0 {
		t.Errorf("noted %v, log:\n%s", got, log)
	}
	full := &notes{busy: 1 << 30}
	f, log = finisher(t, full)
	f.Later(note(1))
	f.Later(note(2))
	f.Close()
	if !strings.Contains(log.String(), "left to the next start") {
		t.Errorf("log:\n%s", log)
	}
}

// TestFlushEndsWithContext gives up waiting for a commit that does not come.
func TestFlushEndsWithContext(t *testing.T) {
	n := &notes{gate: make(chan struct{})}
	f, _ := finisher(t, n)
	f.Later(note(1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Flush(ctx); !errs.Is(err, errs.Canceled) {
		t.Errorf("flush: %v", err)
	}
	close(n.gate)
}
