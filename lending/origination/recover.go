package origination

import (
	"context"
	"encoding/json"

	"surety/base/errs"
	"surety/base/ident"
	"surety/lending"
	"surety/lending/settlement"
	"surety/lending/store"
)

// Conclude takes an application that an error or a crash left on its way to its end; one that is at
// its end stays as it is. It may be called at any time and for any application: it waits for one
// that is being worked on. It does not ask whether money-out is stopped: what was recorded before is
// stopped by the ledger's freezes. Kind NotFound for an unknown application; after any other error
// call it again.
func (d *Desk) Conclude(ctx context.Context, id ident.ID) error {
	row, err := d.deps.Store.Application(ctx, id)
	if err != nil || !underWay(&row) {
		return err
	}
	defer d.lock(&row)()
	ctx = context.WithoutCancel(ctx)
	if row, err = d.settled(ctx, id); err == nil && underWay(&row) {
		if _, err = d.goOn(ctx, &row); err == nil {
			err = d.deps.Finisher.Flush(ctx) // so that it is at its end in the records, too
		}
	}
	return errs.Wrap(err, "origination.conclude: application %s", id)
}

// underWay reports whether there is more to come of an application by itself.
func underWay(row *store.Application) bool {
	return row.Status == store.StatusReceived || row.Status == store.StatusApproved
}

// settled returns an application, whose lock is held, as it is once what follows an answer has been
// noted. If it is still under way then, an error left it there.
func (d *Desk) settled(ctx context.Context, id ident.ID) (store.Application, error) {
	if err := d.deps.Finisher.Flush(ctx); err != nil {
		return store.Application{}, err
	}
	return d.deps.Store.Application(ctx, id)
}

// finish returns the answer to an application that was sent before, whose lock is held. It takes it
// to its end where an error left it under way, and is of kind Unavailable where that needs money to
// move and money-out is stopped.
func (d *Desk) finish(ctx context.Context, id ident.ID) (Answer, error) {
	row, err := d.settled(ctx, id)
	if err != nil {
		return Answer{}, err
	}
	if !underWay(&row) {
		return d.answer(ctx, row)
	}
	if err := d.deps.MoneyOut(); err != nil {
		return Answer{}, errs.As(errs.Unavailable, err, "money-out is stopped")
	}
	return d.goOn(context.WithoutCancel(ctx), &row)
}

// goOn carries on an application that is under way, from what is stored.
func (d *Desk) goOn(ctx context.Context, row *store.Application) (Answer, error) {
	if row.Outcome == "" {
		return d.decideStored(ctx, row)
	}
	return d.payStored(ctx, row)
}

// decideStored decides again from the stored inputs, which gives the same decision, and concludes.
func (d *Desk) decideStored(ctx context.Context, row *store.Application) (Answer, error) {
	f := &file{row: *row, began: row.ReceivedAt}
	if err := json.Unmarshal(row.Inputs, &f.stored); err != nil {
		return Answer{}, errs.As(errs.Corrupt, err, "stored inputs")
	}
	f.truePD = f.stored.TruePD
	var err error
	if f.in, err = lending.DecodeInputs([]byte(f.stored.Inputs)); err != nil {
		return Answer{}, err
	}
	if f.programme, err = d.programmeOf(ctx, &f.stored, &f.in); err != nil {
		return Answer{}, err
	}
	f.decision = lending.Decide(&f.programme.Policy, &f.programme.Product, &f.in)
	if f.limits, err = d.deps.Store.ApplicationInstructions(ctx, row.ID); err != nil {
		return Answer{}, err
	}
	f.orders = make([]settlement.Order, len(f.limits))
	for i := range f.limits {
		if f.orders[i], err = settlement.DecodeOrder(f.limits[i].Body); err != nil {
			return Answer{}, err
		}
	}
	return d.conclude(ctx, f)
}

// payStored carries out the payment that the second commit instructed.
func (d *Desk) payStored(ctx context.Context, row *store.Application) (Answer, error) {
	f, p := &file{row: *row, began: row.ReceivedAt}, &payment{}
	instructions, err := d.deps.Store.ApplicationInstructions(ctx, row.ID)
	if err != nil {
		return Answer{}, err
	}
	found := false
	for i := range instructions {
		if instructions[i].Kind == lending.LoanDisbursed.String() {
			p.instruction, found = instructions[i], true
		}
	}
	if !found {
		return Answer{}, errs.New(errs.Internal, "an approved application without its payment")
	}
	if p.order, err = settlement.DecodeOrder(p.instruction.Body); err != nil {
		return Answer{}, err
	}
	if p.row, err = d.deps.Store.Loan(ctx, row.Loan); err != nil {
		return Answer{}, err
	}
	if p.terms, err = lending.DecodeContract(p.row.Contract); err != nil {
		return Answer{}, err
	}
	return d.pay(ctx, f, p)
}
