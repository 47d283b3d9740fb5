package scorer_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"reflect"
	"sync"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/lending/score"
	"surety/lending/score/merchant"
	"surety/lending/score/taiwan"
	"surety/lending/scorer"
	"surety/sys/wallclock"
)

// TestMain is the scorer where a test started this binary as one.
func TestMain(m *testing.M) {
	if scorer.IsScorer(os.Args) {
		os.Exit(scorer.Main(os.Args))
	}
	os.Exit(m.Run())
}

func models(t testing.TB) (pairs [][2]*score.Model, all []*score.Model) {
	t.Helper()
	for _, shipped := range []func(score.Kind) (*score.Model, error){merchant.Shipped,
		taiwan.Shipped} {
		card, err := shipped(score.KindCard)
		if err != nil {
			t.Fatal(err)
		}
		forest, err := shipped(score.KindForest)
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, [2]*score.Model{card, forest})
		all = append(all, card, forest)
	}
	return pairs, all
}

// world is a Remote that runs.
type world struct {
	*scorer.Remote
	clock *wallclock.Manual
	pairs [][2]*score.Model
}

func open(t testing.TB, launch scorer.Launcher) *world {
	t.Helper()
	pairs, all := models(t)
	w := &world{clock: wallclock.NewManual(0), pairs: pairs}
	w.Remote = scorer.New(scorer.Deps{Launch: launch, Models: all, Clock: w.clock,
		Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return w
}

func self(t testing.TB) scorer.Launcher {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return scorer.Program(path, nil)
}

func (w *world) ask(values []int64) scorer.Ask {
	return scorer.Ask{Card: w.pairs[0][0], Forest: w.pairs[0][1], Values: values}
}

// some is a row that both of the merchants' models take.
func (w *world) some() []int64 {
	values := make([]int64, len(w.pairs[0][0].Features()))
	for i := range values {
		values[i] = int64(i * 100)
	}
	return values
}

// equal compares what is told of two results, not what they keep for their next use.
func equal(a, b scorer.Answer) bool {
	told := func(r *score.Result) []any {
		return []any{r.Kind, r.ScorePoints, r.PDMicro, r.Score, r.Base, r.Contributions,
			append([]score.Reason{}, r.Reasons...)}
	}
	return reflect.DeepEqual(told(&a.Card), told(&b.Card)) &&
		reflect.DeepEqual(told(&a.Forest), told(&b.Forest))
}

// TestSameAnswer holds the child process to what the models say in this one, for any row.
func TestSameAnswer(t *testing.T) {
	w := open(t, self(t))
	value := rapid.OneOf(rapid.Int64Range(-10, 1000), rapid.Int64Range(0, 1<<40), rapid.Int64(),
		rapid.SampledFrom([]int64{score.Missing, math.MaxInt64, 0}))
	rapid.Check(t, func(t *rapid.T) {
		pair := rapid.SampledFrom(w.pairs).Draw(t, "models")
		n := len(pair[0].Features())
		ask := scorer.Ask{Card: pair[0], Forest: pair[1],
			Values: rapid.SliceOfN(value, n, n).Draw(t, "values")}
		want, err := scorer.Local{}.Score(context.Background(), ask)
		if err != nil {
			t.Fatal(err)
		}
		got, err := w.Score(context.Background(), ask)
		if err != nil {
			t.Fatal(err)
		}
		if !equal(got, want) {
			t.Fatalf("got %+v\nwant %+v", got, want)
		}
	})
}

// TestManyAtOnce sees every one of many callers get the answer to his own ask.
func TestManyAtOnce(t *testing.T) {
	w := open(t, self(t))
	var callers sync.WaitGroup
	for i := range 500 {
		callers.Go(func() {
			values := w.some()
			values[i%len(values)] = int64(i * i)
			want, _ := scorer.Local{}.Score(context.Background(), w.ask(values))
			got, err := w.Score(context.Background(), w.ask(values))
			if err != nil || !equal(got, want) {
				t.Errorf("ask %d: %v", i, err)
			}
		})
	}
	callers.Wait()
}

// stage is a launcher of children that run in this process: each plays the next of some parts.
type stage struct {
	mu    sync.Mutex
	parts []func(in io.Reader, out io.Writer) error
	began int
	trace []ident.ID
	held  fs.FS // where children find the models; nil: they are sent
}

func (s *stage) launch(context.Context) (scorer.Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	part := func(in io.Reader, out io.Writer) error { return scorer.Serve(in, out, s.held) }
	if s.began < len(s.parts) {
		part = s.parts[s.began]
	}
	s.began++
	if part == nil {
		return nil, errs.New(errs.Unavailable, "no stage")
	}
	p := &actor{stage: s, ended: make(chan struct{})}
	var in io.Reader
	var out io.WriteCloser
	in, p.in = io.Pipe()
	p.out, out = io.Pipe()
	go func() {
		defer close(p.ended)
		if err := part(in, out); err != nil {
			_ = in.(io.Closer).Close() // a pipe in memory
		}
		_ = out.Close()
	}()
	return p, nil
}

type actor struct {
	stage *stage
	in    io.WriteCloser
	out   io.ReadCloser
	ended chan struct{}
}

func (a *actor) Read(b []byte) (int, error)  { return a.out.Read(b) }
func (a *actor) Write(b []byte) (int, error) { return a.in.Write(b) }
func (a *actor) Held() bool                  { return a.stage.held != nil }
func (a *actor) Mark() scorer.Mark           { return scorer.Mark{Sandbox: "stage", Seq: 7} }
func (a *actor) Trace(id ident.ID) {
	a.stage.mu.Lock()
	defer a.stage.mu.Unlock()
	a.stage.trace = append(a.stage.trace, id)
}

func (a *actor) Kill() {
	_ = a.in.Close()
	_ = a.out.Close()
	<-a.ended
}

// spoilt plays a true scorer whose answers, after the models', go through spoil.
func spoilt(spoil func(answer []byte) ([]byte, error)) func(io.Reader, io.Writer) error {
	return func(in io.Reader, out io.Writer) error {
		return scorer.Serve(in, writer(func(p []byte) (int, error) {
			sent := p
			if p[4] != 2 {
				var err error
				if sent, err = spoil(bytes.Clone(p)); err != nil {
					return 0, err
				}
			}
			_, err := out.Write(sent)
			return len(p), err
		}), nil)
	}
}

// TestHeldModels lets a child find its models where it runs. One with other models than those that
// will be asked for, or with them in another order, never serves.
func TestHeldModels(t *testing.T) {
	_, all := models(t)
	files := fstest.MapFS{}
	for i, m := range all {
		files[fmt.Sprintf("%02d", i)] = &fstest.MapFile{Data: m.Bytes()}
	}
	w := open(t, (&stage{held: files}).launch)
	want, _ := scorer.Local{}.Score(context.Background(), w.ask(w.some()))
	got, err := w.Score(context.Background(), w.ask(w.some()))
	if err != nil || !equal(got, want) {
		t.Fatalf("got %+v, %v", got, err)
	}
	swapped := fstest.MapFS{"00": files["01"], "01": files["00"]}
	spoiled := fstest.MapFS{"00": &fstest.MapFile{Data: all[0].Bytes()[1:]}}
	for name, held := range map[string]fs.FS{"swapped": swapped, "spoiled": spoiled,
		"none": fstest.MapFS{}} {
		w := open(t, (&stage{held: held}).launch)
		done := advance(w.clock)
		if _, err := w.Score(context.Background(), w.ask(w.some())); !errs.Is(err, errs.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
		if w.State().Serving {
			t.Errorf("%s: it serves", name)
		}
		done()
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// TestBadChildren gives the first ask to children that die or lie. The answer is the true one from
// the next child, and the bad one is not used again.
func TestBadChildren(t *testing.T) {
	broken := errors.New("broken")
	flip := func(at int) func([]byte) ([]byte, error) {
		return func(p []byte) ([]byte, error) { p[at]++; return p, nil }
	}
	for name, part := range map[string]func(io.Reader, io.Writer) error{
		"cannot be started":     nil,
		"ends at once":          func(io.Reader, io.Writer) error { return broken },
		"ends over an ask":      spoilt(func([]byte) ([]byte, error) { return nil, broken }),
		"half an answer":        spoilt(func(p []byte) ([]byte, error) { return p[:len(p)/2], nil }),
		"noise":                 spoilt(func(p []byte) ([]byte, error) { return bytes.Repeat(p[:1], 64), nil }),
		"too long":              spoilt(flip(3)),
		"unknown kind":          spoilt(flip(4)),
		"another's number":      spoilt(flip(5)),
		"kind of model":         spoilt(flip(13)),
		"points":                spoilt(flip(14)),
		"probability":           spoilt(flip(18)),
		"score":                 spoilt(flip(26)),
		"base":                  spoilt(flip(34)),
		"number of features":    spoilt(flip(42)),
		"number of reasons":     spoilt(flip(44)),
		"a contribution":        spoilt(flip(45)),
		"a longer answer":       spoilt(longer),
		"an answer given twice": spoilt(func(p []byte) ([]byte, error) { return append(p, p...), nil }),
	} {
		t.Run(name, func(t *testing.T) {
			s := &stage{parts: []func(io.Reader, io.Writer) error{part}}
			w := open(t, s.launch)
			stop := advance(w.clock)
			defer stop()
			for range 2 { // the second shows that the next child stays
				want, _ := scorer.Local{}.Score(context.Background(), w.ask(w.some()))
				got, err := w.Score(context.Background(), w.ask(w.some()))
				if err != nil || !equal(got, want) {
					t.Fatalf("got %+v %v", got, err)
				}
				if got.By != (scorer.Mark{Sandbox: "stage", Seq: 7}) {
					t.Errorf("by %+v", got.By)
				}
			}
			if state := w.State(); state.Last == "" || state.Restarts != 1 {
				t.Errorf("state %+v", state)
			}
		})
	}
}

// longer appends a byte inside the frame.
func longer(p []byte) ([]byte, error) {
	binary.LittleEndian.PutUint32(p, binary.LittleEndian.Uint32(p)+1)
	return append(p, 0), nil
}

// advance moves a clock on while there are timers, until it is stopped.
func advance(c *wallclock.Manual) (stop func()) {
	done := make(chan struct{})
	var moving sync.WaitGroup
	moving.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if c.Waiting() > 1 { // more than the caller's own deadline
					c.Advance(5 * clock.Millisecond)
				}
			}
		}
	})
	return func() { close(done); moving.Wait() }
}

// TestHungChild ends a child that takes an ask and says nothing.
func TestHungChild(t *testing.T) {
	hang := func(in io.Reader, out io.Writer) error {
		return scorer.Serve(in, writer(func(p []byte) (int, error) {
			if p[4] == 2 {
				return out.Write(p)
			}
			_, err := io.Copy(io.Discard, in)
			return len(p), errors.Join(err, io.ErrClosedPipe)
		}), nil)
	}
	s := &stage{parts: []func(io.Reader, io.Writer) error{hang}}
	w := open(t, s.launch)
	defer advance(w.clock)()
	if _, err := w.Score(context.Background(), w.ask(w.some())); err != nil {
		t.Fatal(err)
	}
	if w.State().Restarts != 1 {
		t.Errorf("state %+v", w.State())
	}
}

// TestPoison takes an ask over which every child ends for the cause, and says so.
func TestPoison(t *testing.T) {
	die := spoilt(func([]byte) ([]byte, error) { return nil, io.ErrClosedPipe })
	s := &stage{parts: []func(io.Reader, io.Writer) error{die, die, die}}
	w := open(t, s.launch)
	defer advance(w.clock)()
	if _, err := w.Score(context.Background(), w.ask(w.some())); !errs.Is(err, errs.Unavailable) {
		t.Fatalf("got %v", err)
	}
	if _, err := w.Score(context.Background(), w.ask(w.some())); err != nil {
		t.Fatal(err)
	}
}

// TestNobodyAnswers sees an ask end at its deadline where no child can be started.
func TestNobodyAnswers(t *testing.T) {
	s := &stage{parts: make([]func(io.Reader, io.Writer) error, 10_000)}
	w := open(t, s.launch)
	if err := w.Ready(context.Background()); !errs.Is(err, errs.Unavailable) {
		t.Errorf("ready: %v", err)
	}
	defer advance(w.clock)()
	_, err := w.Score(context.Background(), w.ask(w.some()))
	if !errs.Is(err, errs.Unavailable) || err.Error() != "scorer: no answer within 10 s: start: no stage" {
		t.Errorf("got %v", err)
	}
}

// TestRefusals are what is never asked.
func TestRefusals(t *testing.T) {
	s := &stage{}
	w := open(t, s.launch)
	ctx := context.Background()
	if err := w.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Score(ctx, w.ask(w.some()[1:])); !errs.Is(err, errs.Invalid) {
		t.Errorf("a value short: %v", err)
	}
	strange := *w.pairs[0][0].Spec()
	strange.Name = "strange"
	m, err := score.New(&strange)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Score(ctx, scorer.Ask{Card: m, Forest: m, Values: w.some()}); !errs.Is(err,
		errs.Invalid) {
		t.Errorf("another model: %v", err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := w.Score(over, w.ask(w.some())); err != nil && !errs.Is(err, errs.Canceled) {
		t.Errorf("a caller who left: %v", err)
	}
}

// TestTrace tells the process whom a single ask is for.
func TestTrace(t *testing.T) {
	s := &stage{}
	w := open(t, s.launch)
	ask := w.ask(w.some())
	ask.Trace = ident.Derive("trace")
	if _, err := w.Score(context.Background(), ask); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !reflect.DeepEqual(s.trace, []ident.ID{ask.Trace}) {
		t.Errorf("got %v", s.trace)
	}
}

// FuzzServe feeds a child bytes that its parent never would.
func FuzzServe(f *testing.F) {
	f.Add([]byte{5, 0, 0, 0, 3, 1, 2, 3, 4})
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{255, 255, 255, 255, 1})
	f.Fuzz(func(_ *testing.T, data []byte) {
		_ = scorer.Serve(bytes.NewReader(data), io.Discard, nil) // must return
	})
}

// BenchmarkRemote is one caller with a plain child process.
func BenchmarkRemote(b *testing.B) {
	w := open(b, self(b))
	ask := w.ask(w.some())
	for b.Loop() {
		if _, err := w.Score(context.Background(), ask); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLocal is the same in this process.
func BenchmarkLocal(b *testing.B) {
	w := open(b, self(b))
	ask := w.ask(w.some())
	for b.Loop() {
		if _, err := (scorer.Local{}).Score(context.Background(), ask); err != nil {
			b.Fatal(err)
		}
	}
}
