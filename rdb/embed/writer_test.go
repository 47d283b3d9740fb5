package embed

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	sqlite3 "modernc.org/sqlite/lib"

	"surety/base/errs"
)

// gate holds the writer inside a closure until released, so that what is written meanwhile queues.
type gate struct {
	entered, release chan struct{}
	done             chan error
}

func hold(db *DB) *gate {
	g := &gate{make(chan struct{}), make(chan struct{}), make(chan error, 1)}
	go func() {
		g.done <- db.Write(context.Background(), func(*sql.Tx) error {
			close(g.entered)
			<-g.release
			return nil
		})
	}()
	<-g.entered
	return g
}

// awaitQueued blocks until n changes wait, by watching the queue itself.
func awaitQueued(db *DB, n int) {
	for db.Stats().Queued < uint64(n) {
		db.writer.signal() // yields without a timer: the writer is held, so this changes nothing
	}
}

// writeAll runs the closures concurrently, all in one batch, and returns their errors.
func writeAll(t *testing.T, db *DB, closures ...func(*sql.Tx) error) []error {
	t.Helper()
	g := hold(db)
	failures := make([]error, len(closures))
	var wg sync.WaitGroup
	for i, change := range closures {
		wg.Go(func() { failures[i] = db.Write(context.Background(), change) })
		awaitQueued(db, i+1)
	}
	close(g.release)
	wg.Wait()
	if err := <-g.done; err != nil {
		t.Fatal(err)
	}
	return failures
}

func add(word string) func(*sql.Tx) error {
	return func(tx *sql.Tx) error { return insert(tx, word, nil) }
}

func TestConcurrentChangesShareATransaction(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "w.db"), Options{})
	var closures []func(*sql.Tx) error
	for i := range 100 {
		closures = append(closures, add(fmt.Sprint("word", i)))
	}
	for i, err := range writeAll(t, db, closures...) {
		if err != nil {
			t.Errorf("change %d: %v", i, err)
		}
	}
	if got := count(t, db); got != 100 {
		t.Errorf("got %d words, want 100", got)
	}
	want := Stats{Batches: 2, Closures: 101, Largest: 100}
	if got := db.Stats(); got != want {
		t.Errorf("got %+v, want %+v: the gate's batch and one more", got, want)
	}
}

func TestOneOfManyFailsAlone(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "w.db"), Options{})
	mine := errors.New("mine")
	got := writeAll(t, db,
		add("a"),
		add("a"), // taken by the one before it, in the same transaction
		func(tx *sql.Tx) error {
			if err := insert(tx, "half done", nil); err != nil {
				return err
			}
			return mine
		},
		add("b"),
	)
	if got[0] != nil || !errs.Is(got[1], errs.Exists) || got[2] != mine || got[3] != nil {
		t.Fatalf("got %v", got)
	}
	if n := count(t, db); n != 2 {
		t.Fatalf("got %d words, want a and b", n)
	}
}

func TestPanicReachesItsCallerAlone(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "w.db"), Options{})
	panicking := func() (value any) {
		defer func() { value = recover() }()
		return db.Write(context.Background(), func(tx *sql.Tx) error {
			if err := insert(tx, "gone", nil); err != nil {
				return err
			}
			panic("planted")
		})
	}
	if got := panicking(); got != "planted" {
		t.Fatalf("got %v, want the planted panic", got)
	}
	if err := db.Write(context.Background(), add("after")); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db); n != 1 {
		t.Fatalf("got %d words, want 1", n)
	}
}

func TestDiskFullFailsTheWholeBatch(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "w.db"), Options{MaxBytes: 128 << 10})
	got := writeAll(t, db,
		add("small"),
		func(tx *sql.Tx) error { return insert(tx, "big", make([]byte, 1<<20)) },
		add("after"),
	)
	for i, err := range got {
		if !errs.Is(err, errs.NoSpace) {
			t.Errorf("change %d: got %v, want no_space", i, err)
		}
	}
	if n := count(t, db); n != 0 {
		t.Fatalf("got %d words of a batch that failed", n)
	}
	if err := db.Write(context.Background(), add("small")); err != nil {
		t.Fatalf("a change that fits: %v", err)
	}
}

// A closure that swallows the error of a full disk must not go on outside the transaction.
func TestSwallowedErrorCommitsNothing(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "w.db"), Options{MaxBytes: 128 << 10})
	err := db.Write(context.Background(), func(tx *sql.Tx) error {
		_ = insert(tx, "big", make([]byte, 1<<20))
		_ = insert(tx, "small", nil)
		return nil
	})
	wantKind(t, err, errs.Internal, "rolled back by an earlier error")
	if n := count(t, db); n != 0 {
		t.Fatalf("got %d words, want none", n)
	}
}

func TestClosuresThatEndTheTransaction(t *testing.T) {
	for _, text := range []string{"COMMIT", "ROLLBACK"} {
		t.Run(text, func(t *testing.T) {
			db := open(t, filepath.Join(t.TempDir(), "w.db"), Options{})
			got := writeAll(t, db, add("before"), func(tx *sql.Tx) error {
				_, err := tx.Exec(text)
				return err
			}, add("after"))
			for i, err := range got {
				if err == nil {
					t.Errorf("change %d was acknowledged", i)
				}
			}
			if n := count(t, db); n != 0 {
				t.Errorf("got %d words, want none", n)
			}
			if err := db.Write(context.Background(), add("next")); err != nil {
				t.Errorf("next batch: %v", err)
			}
		})
	}
}

func TestCanceledWhileWaiting(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "w.db"), Options{})
	g := hold(db)
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- db.Write(ctx, add("never")) }()
	awaitQueued(db, 1)
	cancel()
	wantKind(t, <-result, errs.Canceled, "embed.write")
	close(g.release)
	if err := <-g.done; err != nil {
		t.Fatal(err)
	}
	if err := db.Write(context.Background(), add("later")); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db); n != 1 {
		t.Fatalf("got %d words, want 1: an abandoned change ran", n)
	}
}

// A caller that goes away while its change runs must not interrupt its neighbours.
func TestCanceledWhileRunning(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "w.db"), Options{})
	ctx, cancel := context.WithCancel(context.Background())
	err := db.Write(ctx, func(tx *sql.Tx) error {
		if err := insert(tx, "kept", nil); err != nil {
			return err
		}
		cancel()
		return insert(tx, "kept too", nil)
	})
	if err != nil {
		t.Fatalf("got %v: a change that has begun is finished", err)
	}
	if n := count(t, db); n != 2 {
		t.Fatalf("got %d words, want 2", n)
	}
}

func TestQueueIsBounded(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "w.db"), Options{Synchronous: Normal})
	g := hold(db)
	var wg sync.WaitGroup
	for i := range MaxQueue {
		wg.Go(func() {
			if err := db.Write(context.Background(), add(fmt.Sprint(i))); err != nil {
				t.Error(err)
			}
		})
	}
	awaitQueued(db, MaxQueue)
	wantKind(t, db.Write(context.Background(), add("x")), errs.Busy, "the limit is 4096")
	close(g.release)
	wg.Wait()
	if err := <-g.done; err != nil {
		t.Fatal(err)
	}
	if got := db.Stats().Largest; got != MaxBatch {
		t.Fatalf("largest batch was %d, want %d", got, MaxBatch)
	}
}

func TestCloseRunsWhatIsQueued(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	db, err := Open(context.Background(), path, Options{Migrations: wordsSchema()})
	if err != nil {
		t.Fatal(err)
	}
	g := hold(db)
	queued := make(chan error, 1)
	go func() { queued <- db.Write(context.Background(), add("queued")) }()
	awaitQueued(db, 1)
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	close(g.release)
	for _, ch := range []chan error{g.done, queued, closed} {
		if err := <-ch; err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, open(t, path, Options{})); n != 1 {
		t.Fatalf("got %d words, want 1", n)
	}
}

func TestCheckpointRunsBetweenBatches(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "w.db"), Options{})
	g := hold(db)
	var wg sync.WaitGroup
	failures := make([]error, 3)
	wg.Go(func() { failures[0] = db.Write(context.Background(), add("a")) })
	awaitQueued(db, 1)
	wg.Go(func() { failures[1] = db.Checkpoint(context.Background()) })
	awaitQueued(db, 2)
	wg.Go(func() { failures[2] = db.Write(context.Background(), add("b")) })
	awaitQueued(db, 3)
	close(g.release)
	wg.Wait()
	if err := errors.Join(append(failures, <-g.done)...); err != nil {
		t.Fatal(err)
	}
	if got := db.Stats().Batches; got != 3 {
		t.Fatalf("got %d batches, want 3: the gate, a, b", got)
	}
}

// resultCode stands for an error of the driver, which cannot be made to fail a sync here.
type resultCode int

func (c resultCode) Error() string { return fmt.Sprint("result code ", int(c)) }
func (c resultCode) Code() int     { return int(c) }

// After a lost sync nothing is written, whatever a later sync says.
func TestLostSyncStopsTheWriter(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "w.db"), Options{})
	lost := func(*sql.DB) error { return classify(resultCode(sqlite3.SQLITE_IOERR_FSYNC)) }
	err := db.writer.run(context.Background(), &job{ctx: context.Background(), alone: lost})
	wantKind(t, err, errs.Internal, "")
	for range 2 {
		wantKind(t, db.Write(context.Background(), add("x")), errs.Unavailable, "opened again")
	}
	if n := count(t, db); n != 0 {
		t.Fatalf("got %d words, want none", n)
	}
}

func TestSameTextInsideItsOwnRows(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "w.db"), Options{})
	err := db.Write(context.Background(), func(tx *sql.Tx) error {
		for i := range 10 {
			if err := insert(tx, fmt.Sprint(i), nil); err != nil {
				return err
			}
		}
		return pairs(tx, 2)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// pairs reads all words inside the reading of all words, to the given depth.
func pairs(tx *sql.Tx, depth int) error {
	if depth == 0 {
		return nil
	}
	rows, err := tx.Query("SELECT id FROM words ORDER BY id")
	if err != nil {
		return err
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		if err := pairs(tx, depth-1); err != nil {
			return err
		}
	}
	if n != 10 {
		return fmt.Errorf("read %d rows at depth %d, want 10", n, depth)
	}
	return rows.Err()
}

func TestMoreTextsThanTheCacheHolds(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "w.db"), Options{Readers: 1})
	for range 2 {
		for i := range statementCache * 2 {
			var got int
			text := fmt.Sprintf("SELECT %d", i)
			if err := db.Reader().QueryRow(text).Scan(&got); err != nil || got != i {
				t.Fatalf("%s: got %d, %v", text, got, err)
			}
		}
	}
}

func BenchmarkWriteAlone(b *testing.B) {
	db := open(b, filepath.Join(b.TempDir(), "w.db"), Options{})
	body := make([]byte, 300)
	i := 0
	for b.Loop() {
		i++
		err := db.Write(context.Background(), func(tx *sql.Tx) error {
			return insert(tx, fmt.Sprint(i), body)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}

func BenchmarkWriteShared(b *testing.B) {
	db := open(b, filepath.Join(b.TempDir(), "w.db"), Options{})
	body := make([]byte, 300)
	var mu sync.Mutex
	next := 0
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			mu.Lock()
			next++
			i := next
			mu.Unlock()
			err := db.Write(context.Background(), func(tx *sql.Tx) error {
				return insert(tx, fmt.Sprint(i), body)
			})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
	stats := db.Stats()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
	b.ReportMetric(float64(stats.Closures)/float64(stats.Batches), "writes/commit")
}
