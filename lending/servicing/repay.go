package servicing

import (
	"context"
	"encoding/json"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/lending"
	"surety/lending/store"
)

// Repaid is the answer to a repayment.
type Repaid struct {
	Event    ident.ID     `json:"event"`
	Penalty  money.Amount `json:"penalty"`
	Interest money.Amount `json:"interest"`
	Returned money.Amount `json:"principal"` // of the principal
	Overpaid money.Amount `json:"overpaid"`
	Repeated bool         `json:"-"` // the reference was used before: nothing has moved
}

func answerOf(act *lending.Act) Repaid {
	return Repaid{Event: act.Event, Penalty: act.Penalty, Interest: act.Interest,
		Returned: act.Principal, Overpaid: act.Overpaid}
}

// Repay takes money for a loan, today. The reference names the payment in its channel, 1 to 64
// bytes: again with the same loan and amount it gives the same answer, with others it is of kind
// Exists. A loan that was written off, or must be today, takes it as recovery. Kinds: NotFound,
// Invalid, Refused where the loan or the ledger says no; then the reference is free again. After any
// other error nothing is known: repay again under the same reference.
func (d *Desk) Repay(ctx context.Context, id ident.ID, amount money.Amount, reference string) (
	Repaid, error) {
	if len(reference) == 0 || len(reference) > referenceMax {
		return Repaid{}, errs.New(errs.Invalid,
			"servicing.repay: the reference has %d bytes, must have 1 to %d", len(reference), referenceMax)
	}
	defer d.lock(id)()
	if err := d.clear(ctx, id); err != nil {
		return Repaid{}, err
	}
	answer, found, err := d.answered(ctx, id, amount, reference)
	if err != nil || found {
		return answer, err
	}
	f, err := d.open(ctx, id)
	if err != nil {
		return Repaid{}, err
	}
	on := max(d.deps.Today(), f.loan.On)
	if err := d.prepare(ctx, f, amount, on); err != nil {
		return Repaid{}, err
	}
	if answer, err = d.take(ctx, f, reference, amount, on); err != nil {
		return Repaid{}, err
	}
	d.follow(ctx, f, on)
	return answer, nil
}

// answered returns what was answered to a reference before.
func (d *Desk) answered(ctx context.Context, id ident.ID, amount money.Amount, reference string) (
	answer Repaid, found bool, _ error) {
	earlier, found, err := d.deps.Store.Repayment(ctx, reference)
	if err != nil || !found {
		return Repaid{}, false, err
	}
	if earlier.Loan != id || money.Minor(uint64(earlier.Amount)) != amount {
		return Repaid{}, true, taken(reference)
	}
	if err := json.Unmarshal(earlier.Result, &answer); err != nil {
		return Repaid{}, true, errs.As(errs.Corrupt, err, "servicing.repay: reference %q", reference)
	}
	answer.Repeated = true
	return answer, true, nil
}

// taken is the answer to a reference that another payment has. It does not say whose.
func taken(reference string) error {
	return errs.New(errs.Exists, "servicing.repay: reference %q was used for another payment", reference)
}

// prepare enters all that must stand before a repayment on the date: instalments that fell due,
// penalties, and interest where the payment changes what bears it.
func (d *Desk) prepare(ctx context.Context, f *file, amount money.Amount, on clock.Date) error {
	if err := d.catchUp(ctx, f, on); err != nil {
		return err
	}
	charge := move{kind: lending.PenaltyCharged, on: on, do: (*lending.Loan).ChargePenalty}
	for range stepsMax {
		_, _, result := f.loan.ChargePenalty(lending.Event{ID: f.row.ID, On: on})
		if result != lending.Applied {
			break
		}
		if _, err := d.perform(ctx, f, charge); err != nil {
			return err
		}
	}
	if !f.loan.NeedsAccrual(on, amount) {
		return nil
	}
	_, err := d.perform(ctx, f, move{kind: lending.InterestAccrued, on: on, do: (*lending.Loan).Accrue})
	return err
}

// take performs a payment on a loan that is prepared for it, as a repayment or, of a loan that was
// written off, as a recovery, and stores its answer under the reference in the same commit.
func (d *Desk) take(ctx context.Context, f *file, reference string, amount money.Amount, on clock.Date) (
	Repaid, error) {
	minor, fits := amount.Uint64()
	if !fits || minor > paymentMax {
		return Repaid{}, errs.New(errs.Invalid, "servicing.repay: %s is beyond any loan", amount)
	}
	m := move{kind: lending.LoanRepaid, on: on, facts: map[string]string{"reference": reference},
		payment: &store.Repayment{Reference: reference, Loan: f.row.ID, Amount: int64(minor)},
		do: func(l *lending.Loan, e lending.Event) (lending.Loan, lending.Act, lending.Result) {
			return l.Repay(e, amount)
		}}
	if f.loan.Status == lending.WrittenOff {
		m.kind = lending.LoanRecovered
		m.do = func(l *lending.Loan, e lending.Event) (lending.Loan, lending.Act, lending.Result) {
			return l.Recover(e, amount)
		}
	}
	act, err := d.perform(ctx, f, m)
	if errs.Is(err, errs.Exists) {
		return Repaid{}, taken(reference)
	}
	if err != nil {
		return Repaid{}, err
	}
	return answerOf(&act), nil
}
