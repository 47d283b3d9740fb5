package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
	"surety/ledger/client"
	"surety/sys/wallclock"
)

// LedgerConfig is a load of transfers among accounts that are drawn evenly.
type LedgerConfig struct {
	Accounts  int // made beforehand, for this run alone; at least 2
	Batch     int // transfers in a call, 1 to ledger.BatchMax
	Callers   int // that call at the same time, each waiting for its answer: a closed loop
	Transfers int // in all, rounded up to whole batches for each caller
	// PendingPercent of the transfers are two-phase: they reserve, or post or void what was
	// reserved. LinkedPercent of the rest are chains of two. Both 0 to 100.
	PendingPercent, LinkedPercent int
	Seed                          uint64
	// DiskDir is where the disk is measured, in turns with the load; empty: it is not.
	DiskDir string
}

// LedgerReport is what came of it.
type LedgerReport struct {
	Transfers, Calls int
	Refused          map[string]int `json:",omitempty"` // by result; the load itself asks for none
	Elapsed          clock.Duration
	Call             Quantiles // from a call to its durable answer
	// Disk is what the disk did in between with the same writes a single transfer needs.
	Disk DiskReport
}

// Rate returns transfers a second, refused ones left out.
func (r *LedgerReport) Rate() float64 {
	refused := 0
	for _, n := range r.Refused {
		refused += n
	}
	return float64(r.Transfers-refused) * float64(clock.Second) / float64(max(r.Elapsed, 1))
}

// Write writes the report for people.
func (r *LedgerReport) Write(w io.Writer) error {
	_, err := fmt.Fprintf(w, "transfers     %d in %d calls, %s\n"+
		"rate          %.0f transfers a second\n"+
		"call          p50 %s, p99 %s, p99.9 %s, max %s\n", r.Transfers, r.Calls, text(r.Elapsed),
		r.Rate(), text(r.Call.P50), text(r.Call.P99), text(r.Call.P999), text(r.Call.Max))
	if err == nil && r.Disk.Syncs > 0 {
		_, err = fmt.Fprintf(w, "disk          %.0f syncs a second of one page; calls are %.2f of that\n",
			r.Disk.Rate(), float64(r.Calls)*float64(clock.Second)/float64(max(r.Elapsed, 1))/r.Disk.Rate())
	}
	if err == nil && len(r.Refused) > 0 {
		_, err = fmt.Fprintf(w, "refused       %v\n", strings.Trim(fmt.Sprint(r.Refused), "map[]"))
	}
	return err
}

func (c *LedgerConfig) check() error {
	share := func(n int) bool { return n >= 0 && n <= 100 }
	if c.Accounts < 2 || c.Batch < 1 || c.Batch > ledger.BatchMax || c.Callers < 1 ||
		c.Transfers < 1 || !share(c.PendingPercent) || !share(c.LinkedPercent) {
		return errs.New(errs.Invalid, "bench.ledger: accounts %d (2 or more), batch %d (1 to %d), "+
			"callers %d, transfers %d, pending %d%%, linked %d%%", c.Accounts, c.Batch, ledger.BatchMax,
			c.Callers, c.Transfers, c.PendingPercent, c.LinkedPercent)
	}
	return nil
}

// Ledger sends the load to a ledger. Ids are new in each run, so one ledger takes many.
func Ledger(ctx context.Context, to client.Ledger, config LedgerConfig) (LedgerReport, error) {
	if err := config.check(); err != nil {
		return LedgerReport{}, err
	}
	clock := wallclock.System()
	run := &ledgerRun{config: config, to: to, clock: clock, high: uint64(clock.Now())}
	if err := run.open(ctx); err != nil {
		return LedgerReport{}, err
	}
	return run.measure(ctx)
}

// ledgerRun is one run of the load. Ids have the run's instant in their upper half.
type ledgerRun struct {
	config LedgerConfig
	to     client.Ledger
	clock  wallclock.Clock
	high   uint64
}

// currencyNumber is the ledger of the accounts: the euro's.
const currencyNumber = 978

// open makes the accounts.
func (r *ledgerRun) open(ctx context.Context) error {
	for made := 0; made < r.config.Accounts; {
		batch := make([]ledger.Account, min(r.config.Accounts-made, ledger.BatchMax))
		for i := range batch {
			batch[i] = ledger.Account{ID: r.account(uint64(made + i)), Ledger: currencyNumber, Code: 1}
		}
		results, err := r.to.CreateAccounts(ctx, batch)
		if err != nil {
			return errs.Wrap(err, "bench.ledger: accounts")
		}
		for _, result := range results {
			if result != ledger.AccountOK {
				return errs.New(errs.Refused, "bench.ledger: an account was refused: %s", result)
			}
		}
		made += len(batch)
	}
	return nil
}

func (r *ledgerRun) account(n uint64) ident.ID { return ident.ID{Hi: r.high, Lo: n + 1} }

// caller is one of those who call, and what it measured.
type caller struct {
	run     *ledgerRun
	random  *rand.Rand
	next    uint64     // number of its next transfer
	open    []ident.ID // reserved in earlier batches
	batch   []ledger.Transfer
	times   []clock.Duration
	refused map[string]int
}

// The turns in which load and disk are measured, and the syncs of one turn: a disk's rate changes
// from minute to minute on a shared machine, and only what was taken together can be compared.
const (
	turns     = 5
	turnSyncs = 400
)

// measure lets the callers call, in turns with the disk where that is asked for.
func (r *ledgerRun) measure(ctx context.Context) (report LedgerReport, err error) {
	rounds := 1
	var beside *disk
	if r.config.DiskDir != "" {
		rounds = turns
		if beside, err = openDisk(r.config.DiskDir); err != nil {
			return report, err
		}
		defer func() { err = errors.Join(err, beside.close()) }()
	}
	callers := r.callers()
	each := r.config.Batch * r.config.Callers * rounds
	calls := (r.config.Transfers + each - 1) / each
	for range rounds {
		if beside != nil {
			if err := beside.measure(ctx, turnSyncs); err != nil {
				return report, err
			}
			report.Disk = beside.report
		}
		began := r.clock.Now()
		if err := together(ctx, callers, calls); err != nil {
			return report, err
		}
		report.Elapsed += r.clock.Now().Sub(began)
	}
	report.add(callers, r.config.Batch)
	return report, nil
}

func (r *ledgerRun) callers() []*caller {
	callers := make([]*caller, r.config.Callers)
	for i := range callers {
		callers[i] = &caller{run: r, random: rand.New(rand.NewPCG(r.config.Seed, uint64(i))),
			next:    uint64(i+1) << 40, // above the accounts' numbers, and apart from other callers'
			batch:   make([]ledger.Transfer, r.config.Batch),
			refused: map[string]int{}}
	}
	return callers
}

// together lets each caller make so many calls, and returns when all have.
func together(ctx context.Context, callers []*caller, calls int) error {
	failures := make([]error, len(callers))
	var all sync.WaitGroup
	for i, c := range callers {
		all.Go(func() { failures[i] = c.call(ctx, calls) })
	}
	all.Wait()
	return errs.Wrap(errors.Join(failures...), "bench.ledger")
}

// add sums up what the callers measured.
func (r *LedgerReport) add(callers []*caller, batch int) {
	var times []clock.Duration
	r.Refused = map[string]int{}
	for _, c := range callers {
		times = append(times, c.times...)
		for result, n := range c.refused {
			r.Refused[result] += n
		}
	}
	r.Calls = len(times)
	r.Transfers = r.Calls * batch
	r.Call = quantiles(times)
}

// call sends so many batches, one after the other.
func (c *caller) call(ctx context.Context, calls int) error {
	for range calls {
		c.fill()
		began := c.run.clock.Now()
		results, err := c.run.to.CreateTransfers(ctx, c.batch)
		if err != nil {
			return err
		}
		c.times = append(c.times, c.run.clock.Now().Sub(began))
		for i, result := range results {
			if result != ledger.TransferOK {
				c.refused[result.String()]++
			} else if c.batch[i].Flags&ledger.TransferPending != 0 {
				c.open = append(c.open, c.batch[i].ID)
			}
		}
	}
	return nil
}

// fill makes the next batch.
func (c *caller) fill() {
	config := &c.run.config
	for i := 0; i < len(c.batch); i++ {
		c.batch[i] = c.transfer()
		switch {
		case c.random.IntN(100) < config.PendingPercent:
			c.phase(&c.batch[i])
		case c.random.IntN(100) < config.LinkedPercent && i+1 < len(c.batch):
			c.batch[i].Flags = ledger.TransferLinked
			i++
			c.batch[i] = c.transfer()
		}
	}
}

// transfer is one of 1 minor unit between two accounts.
func (c *caller) transfer() ledger.Transfer {
	accounts := uint64(c.run.config.Accounts)
	debit := c.random.Uint64N(accounts)
	credit := (debit + 1 + c.random.Uint64N(accounts-1)) % accounts
	c.next++
	return ledger.Transfer{ID: ident.ID{Hi: c.run.high, Lo: c.next}, Amount: money.Minor(1),
		DebitAccountID: c.run.account(debit), CreditAccountID: c.run.account(credit),
		Ledger: currencyNumber, Code: 1}
}

// phase makes the transfer reserve, or settle what was reserved: three of four are posted.
func (c *caller) phase(t *ledger.Transfer) {
	n := len(c.open)
	if n == 0 || c.random.IntN(2) == 0 {
		t.Flags, t.Timeout = ledger.TransferPending, 3600
		return
	}
	settled := ledger.Transfer{ID: t.ID, PendingID: c.open[n-1], Amount: money.Max,
		Flags: ledger.TransferPostPending}
	if c.random.IntN(4) == 0 {
		settled.Amount, settled.Flags = money.Amount{}, ledger.TransferVoidPending
	}
	c.open = c.open[:n-1]
	*t = settled
}
