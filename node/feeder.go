package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	lendingv1 "surety/api/lending/v1"
	"surety/base/clock"
	"surety/base/errs"
	"surety/lending/api"
	"surety/lending/intake"
	"surety/lending/origination"
	"surety/lending/population"
	"surety/lending/store"
	"surety/sys/wallclock"
)

const (
	// feedTick is how often applications are released: often enough that the rate looks steady.
	feedTick = 20 * clock.Millisecond
	// feedersMax is how many applications of the feeder are under way at once.
	feedersMax = 64
	// positionEvery is after how many applications the place in the input is noted. What is sent
	// again after a crash has the key it had before, and changes nothing.
	positionEvery = 64
	// feedRetry is how long an application waits where the node cannot take it now: the guard is
	// not awake yet, or the disk is full.
	feedRetry = 250 * clock.Millisecond
	// rowErrorsShown is how many broken rows are told one by one; the rest are counted.
	rowErrorsShown = 20
)

// feeder brings applications in, from a file or from the synthetic population, at a steady rate.
type feeder struct {
	desk    *origination.Desk
	records *store.Store
	clock   wallclock.Clock
	log     *slog.Logger
	rate    int64 // a second; zero feeds nothing
	product string
	setting string // where the place in the input is kept
	place   *place // how far the input is through

	population *population.Population
	borrowers  bool // simulated borrowers repay
	file       *os.File
	fileName   string
	fileDigest string
	rows       *intake.Reader
	broken     atomic.Uint64
	refused    atomic.Uint64
	waiting    atomic.Bool // the log has said that applications wait
	ended      atomic.Bool
	cut        bool // the file could not be read to its end; belongs to run
}

func newFeeder(ctx context.Context, n *Node) (*feeder, error) {
	f := &feeder{desk: n.originating, records: n.records, clock: n.deps.Clock, log: n.log,
		place: newPlace(0), rate: n.config.Lending.RatePerSecond,
		borrowers: n.config.Lending.SimulateBorrowers}
	var err error
	if n.config.Lending.Applications != "" {
		err = f.openFile(n)
	} else if f.rate > 0 {
		err = f.openPopulation(n)
	}
	if err != nil || f.setting == "" {
		return f, err
	}
	text, err := n.records.Setting(ctx, f.setting)
	if err != nil || text == "" {
		return f, err
	}
	taken, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return f, errs.As(errs.Corrupt, err, "node.feeder: %s", f.setting)
	}
	f.place = newPlace(taken)
	return f, f.skip(taken)
}

func (f *feeder) openPopulation(n *Node) (err error) {
	var names []string
	for _, feature := range n.catalogue[0].Card.Features() {
		names = append(names, feature.Name)
	}
	seed := uint64(n.config.Lending.Seed)
	f.setting = "feed.synthetic." + strconv.FormatUint(seed, 10)
	f.population, err = population.New(seed, names)
	return err
}

// openFile opens the file and takes its digest, which is part of every row's key: the same file
// again is the same applications.
func (f *feeder) openFile(n *Node) (err error) {
	f.fileName = n.config.Lending.Applications
	mapping, err := n.mapping()
	if err != nil {
		return err
	}
	f.product = mapping.Product
	if f.file, err = os.Open(f.fileName); err != nil {
		return errs.As(errs.NotFound, err, "applications")
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f.file); err != nil {
		return errs.As(errs.Internal, err, "applications %s", f.fileName)
	}
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return errs.As(errs.Internal, err, "applications %s", f.fileName)
	}
	f.fileDigest = hex.EncodeToString(sum.Sum(nil))[:16]
	f.setting = "feed.file." + f.fileDigest
	f.rows, err = intake.NewReader(f.file, mapping)
	return errs.Wrap(err, "applications %s", f.fileName)
}

// skip passes over the rows that were taken before.
func (f *feeder) skip(taken uint64) error {
	if f.rows == nil {
		return nil
	}
	for range taken {
		_, err := f.rows.Next()
		var broken *intake.RowError
		if errors.Is(err, io.EOF) {
			f.ended.Store(true)
			return nil
		}
		if err != nil && !errors.As(err, &broken) {
			return err
		}
	}
	return nil
}

// describe says what feeds the node.
func (f *feeder) describe() string {
	next := f.place.reached() + 1
	switch {
	case f.rows != nil:
		return fmt.Sprintf("applications from %s from row %d on, %d a second", f.fileName, next, f.rate)
	case f.population != nil:
		return fmt.Sprintf("SYNTHETIC applications from number %d on, %d a second", next, f.rate)
	}
	return "applications by the API alone"
}

// run releases applications until ctx ends or the input does. Those that are under way when ctx
// ends are released again at the next start.
func (f *feeder) run(ctx context.Context) {
	if f.setting == "" || f.rate == 0 {
		return
	}
	var group sync.WaitGroup
	defer f.save()
	defer group.Wait()
	slots := make(chan struct{}, feedersMax)
	began := f.clock.Now()
	for released := int64(0); ; {
		due := int64(f.clock.Now().Sub(began)) * f.rate / int64(clock.Second)
		for ; released < due; released++ {
			e, more := f.next()
			if !more {
				group.Wait()
				f.finish(ctx)
				return
			}
			if e == nil {
				continue // a broken row, which has been told
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			group.Go(func() {
				f.submit(ctx, e)
				<-slots
			})
		}
		if !f.pause(ctx, feedTick) {
			return
		}
	}
}

// pause waits, and reports whether it did so to the end.
func (f *feeder) pause(ctx context.Context, d clock.Duration) bool {
	timer := f.clock.NewTimer(d)
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
		timer.Stop()
		return false
	}
}

// entry is an application that is under way.
type entry struct {
	number     uint64 // its place in the input
	submission origination.Submission
}

// next returns the next application; nil with more set for a row that is broken.
func (f *feeder) next() (e *entry, more bool) {
	if f.ended.Load() {
		return nil, false
	}
	if f.population != nil {
		number := f.begin()
		a := f.population.At(number)
		return f.enter(number, a.Key, "synthetic", a.Form, a.Features, a.TruePD), true
	}
	row, err := f.rows.Next()
	if errors.Is(err, io.EOF) {
		return nil, false
	}
	var broken *intake.RowError
	if err != nil && !errors.As(err, &broken) {
		f.log.Error("the applications cannot be read on", "file", f.fileName, "error", err)
		f.cut = true
		return nil, false
	}
	number := f.begin()
	if err != nil {
		f.tell(broken.Row, err)
		f.place.through(number)
		return nil, true
	}
	return f.enter(number, "file-"+f.fileDigest+"-"+strconv.Itoa(row.Number), "file", row.Form,
		row.Features, -1), true
}

// begin numbers the next entry, and notes every so often how far the input is through.
func (f *feeder) begin() uint64 {
	number := f.place.begin()
	if number%positionEvery == 0 {
		f.save()
	}
	return number
}

// tell shows a row that did not become an application.
func (f *feeder) tell(row int, err error) {
	if n := f.broken.Add(1); n <= rowErrorsShown {
		f.log.Warn("a row is not an application", "file", f.fileName, "row", row, "reason",
			err.Error())
	}
}

// enter turns a form into an entry; nil where its amounts are no numbers.
func (f *feeder) enter(number uint64, key, origin string, form *lendingv1.Form,
	features map[string]string, truePD int64) *entry {
	s, err := api.Submission(&lendingv1.SubmitRequest{IdempotencyKey: key, Product: f.product,
		Form: form, Features: features})
	if err != nil {
		f.tell(int(number)+1, err)
		f.place.through(number)
		return nil
	}
	s.Origin, s.TruePD = origin, -1
	if f.borrowers {
		s.TruePD = truePD
	}
	return &entry{number: number, submission: s}
}

// submit takes an entry to its end. While the node cannot take it, it waits and tries again: an
// applicant must not be lost because the guard was not awake yet or the disk was full.
func (f *feeder) submit(ctx context.Context, e *entry) {
	for {
		_, err := f.desk.Submit(ctx, e.submission)
		if ctx.Err() != nil && err != nil {
			return // not through: it is released again at the next start
		}
		if !passing(err) {
			f.settle(e, err)
			return
		}
		if !f.waiting.Swap(true) {
			f.log.Warn("applications wait: the node takes none now", "error", err)
		}
		if !f.pause(ctx, feedRetry) {
			return
		}
	}
}

// passing reports whether an error is one that time may mend.
func passing(err error) bool {
	return errs.Is(err, errs.Unavailable) || errs.Is(err, errs.NoSpace) || errs.Is(err, errs.Busy)
}

// settle notes that an entry is through, and tells where it came to nothing.
func (f *feeder) settle(e *entry, err error) {
	f.place.through(e.number)
	var form *origination.FormError
	switch {
	case err == nil:
		if f.waiting.Swap(false) {
			f.log.Info("applications are taken")
		}
	case errors.As(err, &form):
		f.tell(int(e.number)+1, err)
	default:
		if n := f.refused.Add(1); n <= rowErrorsShown {
			f.log.Error("an application was not taken", "key", e.submission.Key, "error", err)
		}
	}
}

// save keeps the place in the input.
func (f *feeder) save() {
	err := f.records.Commit(context.Background(),
		store.PutSetting(f.setting, strconv.FormatUint(f.place.reached(), 10)))
	if err != nil {
		f.log.Error("the place in the applications is not kept", "error", err)
	}
}

// finish tells that the input has ended, unless it was cut short.
func (f *feeder) finish(ctx context.Context) {
	f.ended.Store(true)
	if f.cut || ctx.Err() != nil {
		return
	}
	f.log.Info("all applications are taken", "input", f.fileName, "rows", f.place.reached(),
		"broken", f.broken.Load(), "not_taken", f.refused.Load())
}
