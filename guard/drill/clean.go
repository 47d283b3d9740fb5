package drill

import (
	"container/heap"
	"context"
	"fmt"
	"io"
	"math/rand/v2"

	"surety/base/clock"
	"surety/base/errs"
	"surety/guard"
	"surety/guard/source"
	"surety/ledger"
)

// CleanConfig says how much clean traffic to check, and how badly it is delivered.
type CleanConfig struct {
	Seed   uint64
	Events int // business events; zero means 50,000
	// PerSecond is how many events a second of simulated time has; zero means 500. With the
	// reordering it decides how many entries wait at a time.
	PerSecond int
	// Reorder is the most that a delivery is late; zero means a minute. One in five is.
	Reorder clock.Duration
}

// CleanReport is what came of a clean run.
type CleanReport struct {
	Seed        uint64       `json:"seed"`
	Events      uint64       `json:"events"` // checked
	Postings    uint64       `json:"postings"`
	Late        uint64       `json:"late"`    // deliveries held back, by up to a minute
	Repeats     uint64       `json:"repeats"` // deliveries that came again
	Checked     uint64       `json:"checked"` // events with the verdict that all is well
	FalseAlarms int          `json:"false_alarms"`
	False       []FalseAlarm `json:"false,omitempty"`
}

// WriteTable writes the report for a terminal.
func (r *CleanReport) WriteTable(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%d clean events with %d postings, %d deliveries late and %d repeated: "+
		"%d false alarms (seed %d)\n", r.Events, r.Postings, r.Late, r.Repeats, r.FalseAlarms, r.Seed)
	for _, f := range r.False {
		if err == nil {
			_, err = fmt.Fprintf(w, "false alarm: %s\n", &f)
		}
	}
	return err
}

// alarmsKept bounds the alarms a report keeps in full: one is too many.
const alarmsKept = 20

// Clean runs clean traffic through a real ledger core and a checker, in simulated time: deliveries
// of both streams are reordered by up to a minute and repeated, services are down for days and make
// good, payments are refused and withdrawn. Every alarm is a false one.
func Clean(ctx context.Context, cfg CleanConfig) (*CleanReport, error) {
	r := newCleanRun(cfg)
	for n := 0; n < r.cfg.Events; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return nil, errs.As(errs.Canceled, ctx.Err(), "drill.clean: after %d events", n)
		}
		act := r.lender.Next()
		if err := r.perform(&act); err != nil {
			return nil, err
		}
		r.now = r.now.Add(clock.Second / clock.Duration(r.cfg.PerSecond))
		r.watch()
		r.deliver(r.now)
	}
	r.drain()
	return r.report, nil
}

// cleanRun is one run in simulated time.
type cleanRun struct {
	cfg     CleanConfig
	rng     *rand.Rand
	lender  *Lender
	state   *ledger.State
	checker *guard.Checker
	report  *CleanReport
	now     clock.Instant
	seq     uint64 // of the outbox
	fed     uint64 // entries of the feed that are on their way
	pending deliveries
	order   uint64
	marked  clock.Instant
	swept   clock.Instant
	account int
}

func newCleanRun(cfg CleanConfig) *cleanRun {
	if cfg.Events == 0 {
		cfg.Events = 50_000
	}
	if cfg.PerSecond == 0 {
		cfg.PerSecond = 500
	}
	if cfg.Reorder == 0 {
		cfg.Reorder = clock.Minute
	}
	// Two leap days lie within the first two years of a run of fifty thousand events.
	start := clock.MustDate(2023, 12, 20)
	return &cleanRun{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0xc1ea)),
		lender: NewLender(cfg.Seed, "clean", start, 4), state: ledger.NewState(ledger.Limits{}),
		checker: guard.New(guard.Limits{}), report: &CleanReport{Seed: cfg.Seed},
		now: clock.MustDate(2026, 1, 1).Instant()}
}

// perform writes an act's event and carries out its order.
func (r *cleanRun) perform(a *Act) error {
	r.seq++
	a.Event.Seq, a.Event.At = r.seq, r.now
	e := source.Parse(&a.Event)
	r.send(delivery{kind: guard.InputEvent, event: &e})
	if err := apply(r.state, a, r.now); err != nil {
		return err
	}
	for ; r.fed < r.state.EventsLen(); r.fed++ {
		entry := r.state.Event(r.fed)
		r.send(delivery{kind: guard.InputEntry, entry: &entry})
	}
	return nil
}

// apply carries out an order on a ledger core.
func apply(s *ledger.State, a *Act, now clock.Instant) error {
	if due := s.PulseDue(); due != 0 && due <= now {
		s.Pulse(s.NextTimestamp(now, 1))
	}
	if len(a.Transfers) == 0 {
		return nil
	}
	accounts := s.CreateAccounts(a.Accounts, s.NextTimestamp(now, len(a.Accounts)), nil)
	for i, result := range accounts {
		if result != ledger.AccountOK && result != ledger.AccountExists {
			return errs.New(errs.Internal, "drill.apply: %s: account %d: %s", a.Event.Kind, i, result)
		}
	}
	results := s.CreateTransfers(a.Transfers, s.NextTimestamp(now, len(a.Transfers)), nil)
	for i, result := range results {
		if result != ledger.TransferOK {
			return errs.New(errs.Internal, "drill.apply: %s: leg %d: %s", a.Event.Kind, i+1, result)
		}
	}
	return nil
}

// watch sends what a reader notices besides entries, and what the sweeps read.
func (r *cleanRun) watch() {
	if r.now.Sub(r.marked) >= 20*clock.Millisecond {
		r.marked = r.now
		r.send(delivery{kind: guard.InputRead, stream: guard.StreamOutbox, last: r.seq, began: r.now})
		r.send(delivery{kind: guard.InputRead, stream: guard.StreamFeed, last: r.fed, began: r.now})
	}
	if r.now.Sub(r.swept) >= clock.Second {
		r.swept = r.now
		r.step(&guard.Input{Kind: guard.InputTick, Now: r.now})
		r.step(&guard.Input{Kind: guard.InputTotals, Now: r.now, Totals: r.state.ClassTotals()})
		if r.checker.Watching() == 0 {
			page := r.state.Accounts(nil, r.account, 64)
			r.account += len(page)
			if len(page) == 0 {
				r.account = 0
			}
			r.step(&guard.Input{Kind: guard.InputBalances, Now: r.now, Accounts: page})
		}
	}
}

// send puts a delivery on its way: one in five late, one in thirty twice.
func (r *cleanRun) send(d delivery) {
	d.at = r.now.Add(clock.Duration(r.rng.IntN(int(3 * clock.Millisecond))))
	if r.rng.IntN(5) == 0 {
		d.at = r.now.Add(clock.Duration(r.rng.Int64N(int64(r.cfg.Reorder))))
		r.report.Late++
	}
	r.push(d)
	if r.rng.IntN(30) == 0 {
		d.at = d.at.Add(clock.Duration(r.rng.Int64N(int64(r.cfg.Reorder))))
		r.push(d)
	}
}

func (r *cleanRun) push(d delivery) {
	r.order++
	d.order = r.order
	heap.Push(&r.pending, d)
}

// deliver hands the checker what has arrived by an instant.
func (r *cleanRun) deliver(by clock.Instant) {
	for len(r.pending) > 0 && r.pending[0].at <= by {
		d := heap.Pop(&r.pending).(delivery)
		r.step(&guard.Input{Kind: d.kind, Now: d.at, Event: d.event, Entry: d.entry,
			Stream: d.stream, Last: d.last, Began: d.began})
	}
}

// drain delivers what is on its way, lets every deadline pass, and looks once more.
func (r *cleanRun) drain() {
	for len(r.pending) > 0 {
		r.deliver(r.pending[0].at)
	}
	for range 3 {
		r.now = max(r.now, r.now.Add(clock.Minute))
		r.step(&guard.Input{Kind: guard.InputRead, Now: r.now, Stream: guard.StreamOutbox, Last: r.seq,
			Began: r.now})
		r.step(&guard.Input{Kind: guard.InputRead, Now: r.now, Stream: guard.StreamFeed, Last: r.fed,
			Began: r.now})
		r.step(&guard.Input{Kind: guard.InputTotals, Now: r.now, Totals: r.state.ClassTotals()})
	}
	r.report.Events = r.checker.Position(guard.StreamOutbox)
	r.report.Postings = uint64(r.state.TransfersLen())
	r.report.Repeats = r.checker.Repeats()
}

func (r *cleanRun) step(in *guard.Input) {
	for _, v := range r.checker.Step(in) {
		switch v.Kind {
		case guard.Checked:
			r.report.Checked++
		case guard.Breached:
			r.report.FalseAlarms++
			if len(r.report.False) < alarmsKept {
				r.report.False = append(r.report.False, falseAlarm(v.Breach))
			}
		}
	}
}

// delivery is an input on its way.
type delivery struct {
	at     clock.Instant
	order  uint64
	kind   guard.InputKind
	event  *guard.Event
	entry  *ledger.Event
	stream guard.Stream
	last   uint64
	began  clock.Instant
}

// deliveries is a heap, the earliest first.
type deliveries []delivery

func (d deliveries) Len() int { return len(d) }
func (d deliveries) Less(i, j int) bool {
	return d[i].at < d[j].at || d[i].at == d[j].at && d[i].order < d[j].order
}
func (d deliveries) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *deliveries) Push(x any)   { *d = append(*d, x.(delivery)) }
func (d *deliveries) Pop() any {
	last := (*d)[len(*d)-1]
	(*d)[len(*d)-1] = delivery{}
	*d = (*d)[:len(*d)-1]
	return last
}
