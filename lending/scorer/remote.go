package scorer

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/lending/score"
	"surety/sys/wallclock"
)

// Process is a scorer that was started.
type Process interface {
	// Read and Write are its output and input. Both end with an error once Kill was called.
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	// Trace tells which work the asks written next belong to; zero where they belong to several.
	Trace(id ident.ID)
	// Held reports whether it finds the models where it runs: it says which it has loaded, and is
	// sent none.
	Held() bool
	// Mark says which sandbox it runs in and how far its audit trail is known to have come.
	Mark() Mark
	// Kill ends it and returns once it is gone.
	Kill()
}

// Launcher starts a scorer. It is called again whenever the one before has ended; ctx ends where
// it is not wanted any more.
type Launcher func(ctx context.Context) (Process, error)

// Deps are what a Remote works with.
type Deps struct {
	Launch Launcher
	Models []*score.Model // all that will ever be asked for
	Clock  wallclock.Clock
	Log    *slog.Logger
}

// Remote asks a child process.
type Remote struct {
	deps   Deps
	models map[[32]byte]bool

	wake chan struct{} // to the writer: there is work; holds one

	mu       sync.Mutex
	number   uint64           // of the last ask
	waiting  []*call          // not with the child, the lowest number first
	sent     map[uint64]*call // with the child
	answered bool             // this child has answered something
	closed   bool
	state    State
	changed  chan struct{} // closed and made anew when state changes
}

// State is how the child stands.
type State struct {
	Serving  bool   // it has the models and takes asks
	Restarts uint64 // starts after the first
	Tries    uint64 // attempts to start it, good and bad
	Last     string // why the last one ended or could not be started; empty before that
}

// call is an ask on its way.
type call struct {
	number   uint64
	ask      Ask
	sentAt   clock.Instant
	attempts int  // children it was written to
	left     bool // nobody waits for it any more; Remote.mu guards it
	done     chan outcome
}

type outcome struct {
	answer Answer
	err    error
}

// New returns a Remote; it asks nobody before Run.
func New(deps Deps) *Remote {
	r := &Remote{deps: deps, models: make(map[[32]byte]bool), wake: make(chan struct{}, 1),
		sent: make(map[uint64]*call), changed: make(chan struct{})}
	for _, m := range deps.Models {
		r.models[m.Digest()] = true
	}
	return r
}

// Score implements Scorer. Where no child serves now it waits for the next one.
func (r *Remote) Score(ctx context.Context, ask Ask) (Answer, error) {
	c, err := r.begin(ask)
	if err != nil {
		return Answer{}, err
	}
	timer := r.deps.Clock.NewTimer(askDeadline)
	defer timer.Stop()
	select {
	case o := <-c.done:
		return o.answer, o.err
	case <-timer.C():
		r.forget(c)
		return Answer{}, errs.New(errs.Unavailable, "scorer: no answer within %d s%s",
			askDeadline/clock.Second, r.because())
	case <-ctx.Done():
		r.forget(c)
		return Answer{}, errs.As(errs.Canceled, ctx.Err(), "scorer")
	}
}

// begin checks an ask and queues it.
func (r *Remote) begin(ask Ask) (*call, error) {
	for _, m := range []*score.Model{ask.Card, ask.Forest} {
		if !r.models[m.Digest()] {
			return nil, errs.New(errs.Invalid, "scorer: model %s is none of this scorer's", m.Name())
		}
		if n := len(m.Features()); n != len(ask.Values) {
			return nil, errs.New(errs.Invalid, "scorer: %d values for the %d features of model %s",
				len(ask.Values), n, m.Name())
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errs.New(errs.Unavailable, "scorer: it was stopped")
	}
	if n := len(r.waiting) + len(r.sent); n >= askMax {
		return nil, errs.New(errs.Busy, "scorer: %d asks are under way, the limit is %d", n, askMax)
	}
	r.number++
	c := &call{number: r.number, ask: ask, done: make(chan outcome, 1)}
	r.waiting = append(r.waiting, c)
	r.signal()
	return c, nil
}

// signal wakes the writer.
func (r *Remote) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// forget drops a call that nobody waits for. Its answer may still come, and is then ignored.
func (r *Remote) forget(c *call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.left = true
	r.waiting = slices.DeleteFunc(r.waiting, func(w *call) bool { return w == c })
}

// because says why there may be no answer.
func (r *Remote) because() string {
	if last := r.State().Last; last != "" {
		return ": " + last
	}
	return ""
}

// State returns how the child stands.
func (r *Remote) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// change changes the state and tells those who wait for that.
func (r *Remote) change(change func(*State)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.state)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Ready returns nil once a child serves, and why not where the first attempt to start one came to
// nothing or ctx ended.
func (r *Remote) Ready(ctx context.Context) error {
	for {
		r.mu.Lock()
		state, changed := r.state, r.changed
		r.mu.Unlock()
		if state.Serving {
			return nil
		}
		if state.Last != "" {
			return errs.New(errs.Unavailable, "%s", state.Last)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errs.As(errs.Canceled, ctx.Err(), "scorer: not ready")
		}
	}
}

// Run keeps a child until ctx ends, and then ends it. Whoever still waits is told so.
func (r *Remote) Run(ctx context.Context) {
	pause := backoffLeast
	for ctx.Err() == nil {
		err := r.serve(ctx)
		if ctx.Err() != nil {
			break
		}
		r.recall(err)
		r.change(func(s *State) { s.Serving, s.Last = false, err.Error() })
		if r.lived() {
			pause = backoffLeast
		}
		r.deps.Log.Warn("the scorer is started again", "after_ms", int64(pause/clock.Millisecond),
			"error", err)
		timer := r.deps.Clock.NewTimer(pause)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
		}
		pause = min(2*pause, backoffMost)
	}
	r.close()
}

// lived reports whether the last child answered anything, and forgets it.
func (r *Remote) lived() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	lived := r.answered
	r.answered = false
	return lived
}

// recall takes back what a dead child had: it is put to the next one, in the old order, unless it
// has seen too many die.
func (r *Remote) recall(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for number, c := range r.sent {
		delete(r.sent, number)
		if c.left {
			continue
		}
		if c.attempts >= attemptsMax {
			c.done <- outcome{err: errs.As(errs.Unavailable, cause,
				"scorer: %d processes ended over it", c.attempts)}
			continue
		}
		r.waiting = append(r.waiting, c)
	}
	slices.SortFunc(r.waiting, func(a, b *call) int { return int(int64(a.number - b.number)) })
}

// close answers everybody and takes nothing more.
func (r *Remote) close() {
	r.recall(errs.New(errs.Unavailable, "it was stopped"))
	r.change(func(s *State) { s.Serving = false })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, c := range r.waiting {
		c.done <- outcome{err: errs.New(errs.Unavailable, "scorer: it was stopped")}
	}
	r.waiting = nil
}
