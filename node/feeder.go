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
	place   uint64 // applications released so far

	population *population.Population
	borrowers  bool // simulated borrowers repay
	file       *os.File
	fileName   string
	fileDigest string
	rows       *intake.Reader
	broken     atomic.Uint64
	refused    atomic.Uint64
	ended      atomic.Bool
}

func newFeeder(ctx context.Context, n *Node) (*feeder, error) {
	f := &feeder{desk: n.originating, records: n.records, clock: n.deps.Clock, log: n.log,
		rate: n.config.Lending.RatePerSecond, borrowers: n.config.Lending.SimulateBorrowers}
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
	if f.place, err = strconv.ParseUint(text, 10, 64); err != nil {
		return f, errs.As(errs.Corrupt, err, "node.feeder: %s", f.setting)
	}
	return f, f.skip()
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
func (f *feeder) skip() error {
	if f.rows == nil {
		return nil
	}
	for range f.place {
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
	switch {
	case f.rows != nil:
		return fmt.Sprintf("applications from %s from row %d on, %d a second", f.fileName,
			f.place+1, f.rate)
	case f.population != nil:
		return fmt.Sprintf("SYNTHETIC applications from number %d on, %d a second", f.place+1,
			f.rate)
	}
	return "applications by the API alone"
}

// run releases applications until ctx ends or the input does.
func (f *feeder) run(ctx context.Context) {
	if f.setting == "" || f.rate == 0 {
		return
	}
	var group sync.WaitGroup
	defer group.Wait()
	slots := make(chan struct{}, feedersMax)
	began := f.clock.Now()
	for released := int64(0); ; {
		due := int64(f.clock.Now().Sub(began)) * f.rate / int64(clock.Second)
		for ; released < due; released++ {
			s, more := f.next()
			if !more {
				group.Wait()
				f.finish()
				return
			}
			if s == nil {
				continue // a broken row, which has been told
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			group.Go(func() {
				f.submit(ctx, s)
				<-slots
			})
		}
		if !f.pause(ctx) {
			return
		}
	}
}

func (f *feeder) pause(ctx context.Context) bool {
	timer := f.clock.NewTimer(feedTick)
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
		timer.Stop()
		return false
	}
}

// next returns the next application; nil with more set for a row that is broken.
func (f *feeder) next() (s *origination.Submission, more bool) {
	defer f.note()
	if f.population != nil {
		a := f.population.At(f.place)
		f.place++
		return f.submission(a.Key, "synthetic", a.Form, a.Features, a.TruePD), true
	}
	if f.ended.Load() {
		return nil, false
	}
	row, err := f.rows.Next()
	if errors.Is(err, io.EOF) {
		return nil, false
	}
	f.place++
	if err == nil {
		return f.submission("file-"+f.fileDigest+"-"+strconv.Itoa(row.Number), "file", row.Form,
			row.Features, -1), true
	}
	var broken *intake.RowError
	if !errors.As(err, &broken) {
		f.log.Error("the applications cannot be read on", "file", f.fileName, "error", err)
		return nil, false
	}
	f.tell(broken.Row, err)
	return nil, true
}

// tell shows a row that did not become an application.
func (f *feeder) tell(row int, err error) {
	if n := f.broken.Add(1); n <= rowErrorsShown {
		f.log.Warn("a row is not an application", "file", f.fileName, "row", row, "reason",
			err.Error())
	}
}

// submission turns a form into a submission; nil where its amounts are no numbers.
func (f *feeder) submission(key, origin string, form *lendingv1.Form, features map[string]string,
	truePD int64) *origination.Submission {
	s, err := api.Submission(&lendingv1.SubmitRequest{IdempotencyKey: key, Product: f.product,
		Form: form, Features: features})
	if err != nil {
		f.tell(int(f.place), err)
		return nil
	}
	s.Origin, s.TruePD = origin, -1
	if f.borrowers {
		s.TruePD = truePD
	}
	return &s
}

func (f *feeder) submit(ctx context.Context, s *origination.Submission) {
	_, err := f.desk.Submit(ctx, *s)
	var form *origination.FormError
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.As(err, &form):
		if n := f.broken.Add(1); n <= rowErrorsShown {
			f.log.Warn("a form is out of its limits", "key", s.Key, "reason", err.Error())
		}
	default:
		if n := f.refused.Add(1); n <= rowErrorsShown {
			f.log.Error("an application was not taken", "key", s.Key, "error", err)
		}
	}
}

// note keeps the place in the input.
func (f *feeder) note() {
	if f.place%positionEvery == 0 {
		f.save()
	}
}

func (f *feeder) save() {
	err := f.records.Commit(context.Background(),
		store.PutSetting(f.setting, strconv.FormatUint(f.place, 10)))
	if err != nil {
		f.log.Error("the place in the applications is not kept", "error", err)
	}
}

// finish tells that the input has ended.
func (f *feeder) finish() {
	f.ended.Store(true)
	f.save()
	f.log.Info("all applications are taken", "input", f.describe(), "rows", f.place,
		"broken", f.broken.Load(), "not_taken", f.refused.Load())
}
