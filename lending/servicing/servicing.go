// Package servicing takes loans through their life after the money is out: repayments, accruals at
// due dates, penalties, write-offs, recovery and close.
//
// Each act goes the same way. The loan's next state comes from package lending, together with the
// postings. One commit stores the state, the business event and the instruction to post; then the
// ledger carries the instruction out; then, later, the instruction is noted as settled. If the
// ledger refuses, a second commit puts the old state back and withdraws the event. A crash or an
// error anywhere leaves an instruction behind, which Conclude takes up again.
//
// # Invariants
//
// Acts on one loan happen one after another, each on the state the one before left. A loan on which
// it is not known whether the last act stands is in doubt: nothing is done on it, and no answer
// about it is given, before that is known. What a caller was told has happened is in the ledger and
// in the records; an act that was recorded goes on though its caller went away.
//
// # Concurrency
//
// A loan is locked by a stripe of its id for the length of an act, the ledger's answer included.
// Desk.mu is taken under it, for a moment.
//
// # Boundaries
//
// What an act is stands in package lending. This package decides when, and keeps records.
package servicing

import (
	"context"
	"log/slog"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/lending"
	"surety/lending/settlement"
	"surety/lending/store"
	"surety/sys/wallclock"
)

// Records is what servicing needs of the lending records; *store.Store is it.
type Records interface {
	settlement.Records
	Loan(ctx context.Context, id ident.ID) (store.Loan, error)
	DueLoans(ctx context.Context, by clock.Date, after *store.Loan) ([]store.Loan, error)
	Repayment(ctx context.Context, reference string) (r store.Repayment, found bool, err error)
	ApplicationInstructions(ctx context.Context, application ident.ID) ([]store.Instruction, error)
	HasEvent(ctx context.Context, id ident.ID) (bool, error)
}

// Deps are what a desk works with.
type Deps struct {
	Store    Records
	Ledger   settlement.Ledger
	Finisher *settlement.Finisher
	Clock    wallclock.Clock
	// Today is the business date.
	Today func() clock.Date
	Log   *slog.Logger
}

// Desk services the loans of one store.
type Desk struct {
	deps    Deps
	settler *settlement.Settler
	locks   [stripes]sync.Mutex

	mu       sync.Mutex            // guards doubtful
	doubtful map[ident.ID]struct{} // loans with an act of which it is not known whether it stands
}

// New returns a desk.
func New(deps Deps) *Desk {
	return &Desk{deps: deps, settler: settlement.New(deps.Ledger),
		doubtful: make(map[ident.ID]struct{})}
}

// file is a loan on the desk: its row, its terms and its state.
type file struct {
	row      store.Loan
	contract lending.Contract
	loan     lending.Loan
}

// open reads a loan whose lock is held. Kinds: NotFound; Unavailable where the money of it is not
// out yet; Corrupt.
func (d *Desk) open(ctx context.Context, id ident.ID) (*file, error) {
	if err := d.clear(ctx, id); err != nil {
		return nil, err
	}
	row, err := d.deps.Store.Loan(ctx, id)
	if err == nil && row.Status == store.LoanApproved {
		row, err = d.disbursed(ctx, id)
	}
	if err != nil {
		return nil, err
	}
	return fileOf(row)
}

// disbursed returns a loan that stood as approved, once it is active. The note that its money is out
// follows the answer to the customer, who may be quick; where the note does not come, an error left
// the payment open, which is not for this package to settle.
func (d *Desk) disbursed(ctx context.Context, id ident.ID) (store.Loan, error) {
	if err := d.deps.Finisher.Flush(ctx); err != nil {
		return store.Loan{}, err
	}
	row, err := d.deps.Store.Loan(ctx, id)
	if err == nil && row.Status == store.LoanApproved {
		err = errs.New(errs.Unavailable, "servicing.open: loan %s is being paid out", id)
	}
	return row, err
}

func fileOf(row store.Loan) (*file, error) {
	f := &file{row: row}
	var err error
	if f.contract, err = lending.DecodeContract(row.Contract); err != nil {
		return nil, errs.Wrap(err, "servicing.open: loan %s", row.ID)
	}
	if f.loan, err = lending.DecodeLoan(row.State, &f.contract); err != nil {
		return nil, errs.Wrap(err, "servicing.open: loan %s", row.ID)
	}
	return f, nil
}

// subject is what the events of the loan have in common.
func (f *file) subject() settlement.Subject {
	return settlement.Subject{Trace: f.row.Trace, Application: f.row.Application, Loan: f.row.ID,
		Customer: f.row.Customer, Product: f.row.Product, Currency: f.row.Currency}
}

// lock locks a loan; calling what it returns unlocks it.
func (d *Desk) lock(loan ident.ID) (unlock func()) {
	lock := &d.locks[loan.Lo%stripes]
	lock.Lock()
	return lock.Unlock
}

// Quote is what closes a loan today. Kinds: NotFound; Refused where the loan is not active;
// Unavailable where its money is not out yet.
func (d *Desk) Quote(ctx context.Context, id ident.ID) (lending.Quote, error) {
	defer d.lock(id)()
	f, err := d.open(ctx, id)
	if err != nil {
		return lending.Quote{}, err
	}
	if f.loan.Status != lending.Active {
		return lending.Quote{}, errs.New(errs.Refused, "servicing.quote: loan %s is %s, not active", id,
			f.loan.Status)
	}
	return f.loan.Payoff(max(d.deps.Today(), f.loan.On)), nil
}

// WriteOff gives a loan up that is as late as its product asks for; one that was given up before
// stays so. Kinds: NotFound; Refused where the loan or the ledger says no.
func (d *Desk) WriteOff(ctx context.Context, id ident.ID) error {
	defer d.lock(id)()
	f, err := d.open(ctx, id)
	if err != nil {
		return err
	}
	on := max(d.deps.Today(), f.loan.On)
	if err := d.catchUp(ctx, f, on); err != nil || f.loan.Status == lending.WrittenOff {
		return err // time had asked for it
	}
	_, err = d.perform(ctx, f, move{kind: lending.LoanWrittenOff, on: on, do: (*lending.Loan).WriteOff})
	if err != nil {
		return err
	}
	d.follow(ctx, f, on)
	return nil
}
