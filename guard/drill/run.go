// Package drill plants faults and measures what becomes of them.
//
// A drill runs a real ledger and a real guard that freezes, and sends clean traffic through both: a
// lender that does everything right. Into that it mixes faults, each in a loan of its own at a random
// turn of its life: code that posts wrongly, a service whose rules are wrong, a ledger whose answers
// are. For each class of loss it counts what the ledger refused at once, what the guard
// found, how soon, what got away before the stop, and what was missed. An alarm that belongs to no
// fault is a false one.
//
// Clean is the other half: traffic without faults, delivered late, twice and out of order, in which
// every alarm is false.
//
// # Invariants
//
// What a drill plants follows from its seed; when things happen does not, since they really happen.
// The traffic shares no arithmetic and no table with the guard.
//
// # Boundaries
//
// A drill writes to a directory of its own and to nothing else. It is not a load test: the figures
// of latency are those of this machine under the drill's own load.
package drill

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
	"surety/guard"
)

// Config says what to plant.
type Config struct {
	Seed      uint64
	Instances int           // of each class; zero means 10
	Classes   []guard.Class // empty means all that can be planted
	// Dir is where the drill's guard lives; empty makes a directory and removes it.
	Dir string
	// Ledger is where the faults are posted; nil is the ledger's core in memory, without a disk.
	Ledger Ledger
	// PerDay is how many loans of clean traffic begin on each business day; zero means 3.
	PerDay int
	// Blind are rules of the guard switched off: then the drill must miss.
	Blind []guard.Rule
	// Progress, where given, is told how many of how many instances have been planted.
	Progress func(planted, total int)
	Log      *slog.Logger // nil is silence

	patience clock.Duration // the wait for the last alarms; zero means lastWait
}

// Limits.
const (
	// instancesMax bounds the instances of one class: an hour's drill.
	instancesMax = 10_000
	// workers is how many loans act at once; they share the ledger's syncs.
	workers = 32
	// daysMax bounds the business days of a drill: every borrower has ended by then.
	daysMax = 1500
	// aloneWait bounds the wait for a fault that keeps all else waiting.
	aloneWait = 5 * clock.Second
	// lastWait bounds the wait for the alarms of the last faults, beyond the deadlines.
	lastWait = 10 * clock.Second
)

// Run runs a drill. The error is the world's: what the guard missed is in the report. Kind Invalid
// for a class that cannot be planted.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	chosen, err := choose(&cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Dir == "" {
		if cfg.Dir, err = os.MkdirTemp("", "surety-drill-"); err != nil {
			return nil, errs.As(errs.Internal, err, "drill.run")
		}
		defer os.RemoveAll(cfg.Dir)
	}
	w, err := openWorld(ctx, &cfg, cfg.Log)
	if err != nil {
		return nil, err
	}
	d := newDrill(&cfg, w, chosen)
	err = d.run(ctx)
	if closed := w.close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, errs.Wrap(err, "drill.run")
	}
	return d.report(), nil
}

// choose returns the faults to plant, in order of class.
func choose(cfg *Config) ([]fault, error) {
	if cfg.Instances <= 0 {
		cfg.Instances = 10
	}
	if cfg.Instances > instancesMax {
		return nil, errs.New(errs.Invalid, "drill.run: %d instances, the limit is %d",
			cfg.Instances, instancesMax)
	}
	if cfg.PerDay <= 0 {
		cfg.PerDay = 3
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	all := faults()
	if len(cfg.Classes) == 0 {
		return all, nil
	}
	var chosen []fault
	for _, class := range cfg.Classes {
		n := len(chosen)
		for _, f := range all {
			if f.class == class {
				chosen = append(chosen, f)
			}
		}
		if len(chosen) == n {
			return nil, errs.New(errs.Invalid, "drill.run: class %s cannot be planted", class)
		}
	}
	return chosen, nil
}

// Classes returns the classes that a drill can plant, in order.
func Classes() []guard.Class {
	var list []guard.Class
	for _, f := range faults() {
		if !slices.Contains(list, f.class) {
			list = append(list, f.class)
		}
	}
	return list
}

// drill is a run.
type drill struct {
	cfg       *Config
	world     *world
	instances []*instance
	crowd     *Lender // the clean traffic
	began     clock.Instant
	ended     clock.Instant
	today     clock.Date
	alarms    int // looked at
	false     []*guard.Breach
	clean     int // acts of the clean traffic
}

// startDay is the first business day: before a leap day.
var startDay = clock.MustDate(2024, 1, 15)

func newDrill(cfg *Config, w *world, chosen []fault) *drill {
	rng := rand.New(rand.NewPCG(cfg.Seed, 0xd5111))
	d := &drill{cfg: cfg, world: w, crowd: NewLender(cfg.Seed, "crowd", startDay, 0), today: startDay}
	byClass := map[guard.Class][]*fault{}
	var order []guard.Class
	for k := range chosen {
		f := &chosen[k]
		if byClass[f.class] == nil {
			order = append(order, f.class)
		}
		byClass[f.class] = append(byClass[f.class], f)
	}
	for _, class := range order {
		variants := byClass[class]
		for n := range cfg.Instances {
			start := startDay.AddDays(rng.IntN(60))
			d.instances = append(d.instances,
				newInstance(variants[n%len(variants)], w, cfg.Seed, n, start))
		}
	}
	return d
}

// run goes through the business days until every fault is planted, and then waits for the alarms.
func (d *drill) run(ctx context.Context) error {
	d.began = d.world.clock.Now()
	for day := 0; day < daysMax && d.planted() < len(d.instances); day++ {
		if err := d.day(ctx); err != nil {
			return err
		}
		d.today = d.today.AddDays(1)
		d.listen()
		if d.cfg.Progress != nil {
			d.cfg.Progress(d.planted(), len(d.instances))
		}
	}
	if n := d.planted(); n < len(d.instances) {
		return errs.New(errs.Internal, "%d of %d faults were planted in %d days", n, len(d.instances), daysMax)
	}
	d.waitAll(ctx)
	d.ended = d.world.clock.Now()
	return ctx.Err()
}

func (d *drill) planted() int {
	n := 0
	for _, i := range d.instances {
		if i.planted {
			n++
		}
	}
	return n
}

// day performs one business day: the crowd and the instances side by side, and then, one by one,
// the faults that need the world to themselves.
func (d *drill) day(ctx context.Context) error {
	var tasks []func() error
	for _, acts := range bySubject(d.crowd.Day(d.today, d.cfg.PerDay)) {
		d.clean += len(acts)
		tasks = append(tasks, func() error {
			for k := range acts {
				if err := d.world.clean(ctx, &acts[k]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	var mu sync.Mutex
	var alone []*instance
	for _, i := range d.instances {
		if i.planted {
			continue
		}
		tasks = append(tasks, func() error {
			wants, err := i.day(ctx, d.today)
			if wants {
				mu.Lock()
				defer mu.Unlock()
				alone = append(alone, i)
			}
			return err
		})
	}
	if err := together(tasks); err != nil {
		return err
	}
	slices.SortFunc(alone, func(a, b *instance) int { return a.number - b.number })
	for _, i := range alone {
		if err := d.plantAlone(ctx, i); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// bySubject parts acts by application, each part in order.
func bySubject(acts []Act) [][]Act {
	var parts [][]Act
	for _, a := range acts {
		at := slices.IndexFunc(parts, func(p []Act) bool {
			return p[0].Event.Application == a.Event.Application || p[0].Event.Customer == a.Event.Customer
		})
		if at < 0 {
			parts = append(parts, []Act{a})
		} else {
			parts[at] = append(parts[at], a)
		}
	}
	return parts
}

// together runs tasks side by side and returns the first error.
func together(tasks []func() error) error {
	var group sync.WaitGroup
	var mu sync.Mutex
	var failed error
	queue := make(chan func() error)
	for range min(workers, len(tasks)) {
		group.Go(func() {
			for task := range queue {
				if err := task(); err != nil {
					mu.Lock()
					if failed == nil {
						failed = err
					}
					mu.Unlock()
				}
			}
		})
	}
	for _, task := range tasks {
		queue <- task
	}
	close(queue)
	group.Wait()
	return failed
}

// plantAlone plants a fault while nothing else happens, waits until it is found and stopped, mends
// the world and lifts the stop.
func (d *drill) plantAlone(ctx context.Context, i *instance) error {
	if err := i.plant(ctx); err != nil {
		return err
	}
	d.waitFor(ctx, aloneWait, func() bool { return i.caught != nil || i.prevented })
	if i.caught != nil && len(i.caught.Stops) > 0 {
		i.noteStop(ctx)
	}
	if i.fault.mend != nil {
		i.fault.mend(i)
		d.world.swept(ctx)
		i.global = false
	}
	d.listen()
	return d.world.thaw(ctx)
}

// listen gives the alarms that were heard to whom they belong.
func (d *drill) listen() <-chan struct{} {
	list, news := d.world.after(d.alarms)
	d.alarms += len(list)
	for _, h := range list {
		if i := d.claimant(h.breach); i != nil {
			i.take(h)
		} else {
			d.false = append(d.false, h.breach)
		}
	}
	return news
}

func (d *drill) claimant(b *guard.Breach) *instance {
	for _, i := range d.instances {
		if i.planted && i.claims(b) {
			return i
		}
	}
	return nil
}

// waitFor listens until a condition holds, at most for a while.
func (d *drill) waitFor(ctx context.Context, most clock.Duration, holds func() bool) {
	timer := d.world.clock.NewTimer(most)
	defer timer.Stop()
	for {
		news := d.listen()
		if holds() {
			return
		}
		select {
		case <-news:
		case <-timer.C():
			return
		case <-ctx.Done():
			return
		}
	}
}

// waitAll waits for the alarms of all faults, mends what is left, and waits for false ones.
func (d *drill) waitAll(ctx context.Context) {
	patience := d.cfg.patience
	if patience == 0 {
		patience = lastWait
	}
	d.waitFor(ctx, drillDeadline+patience, func() bool {
		for _, i := range d.instances {
			if i.caught == nil && !i.prevented {
				return false
			}
		}
		return true
	})
	for _, i := range d.instances {
		if i.fault.mend != nil {
			i.fault.mend(i)
		}
		if i.caught != nil && len(i.caught.Stops) > 0 && !i.fault.alone {
			i.noteStop(ctx)
		}
	}
	d.waitFor(ctx, drillDeadline+clock.Second, func() bool { return false })
}

// noteStop waits for the stop of a caught fault and notes when it came into force.
func (i *instance) noteStop(ctx context.Context) {
	at, why := i.world.frozen(ctx, i.caught.ID)
	i.unstopped = why
	i.hasStop, i.stopped = at != 0, at.Sub(i.heard)
}

// missed reports whether the fault was neither refused nor found.
func (i *instance) missed() bool { return i.caught == nil && !i.prevented }
