// Package servicing takes loans through their life after the money is out: repayments, accruals at
// due dates, penalties, write-offs, recovery and close.
//
// Each act goes the same way. The loan's next state comes from package lending, together with the
// postings. One commit stores the state, the business event and the instruction to post; then the
// ledger carries the instruction out; then, later, the instruction is noted as settled. If the
// ledger refuses, a second commit puts the old state back and withdraws the event. A crash anywhere
// leaves an instruction behind, which Resume takes up again.
//
// # Invariants
//
// Acts on one loan happen one after another, each on the state the one before left. What a caller
// was told has happened is in the ledger and in the records.
//
// # Concurrency
//
// A loan is locked by a stripe of its id for the length of an act, the ledger's answer included.
//
// # Boundaries
//
// What an act is stands in package lending. This package decides when, and keeps records.
package servicing

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/lending"
	"surety/lending/settlement"
	"surety/lending/store"
	"surety/sys/wallclock"
)

// Deps are what a desk works with.
type Deps struct {
	Store    *store.Store
	Ledger   settlement.Ledger
	Finisher *settlement.Finisher
	Clock    wallclock.Clock
	// Today is the business date.
	Today func() clock.Date
	Log   *slog.Logger
}

// Desk services the loans of one store.
type Desk struct {
	deps  Deps
	locks [stripes]sync.Mutex
}

const (
	// stripes is how many loans can be worked on at once without meeting by chance too often.
	stripes = 1_024
	// attemptsMax bounds how often one act may be refused and tried again: a loan whose account
	// stays frozen is asked about once a day.
	attemptsMax = 1_000
	// stepsMax bounds the acts of one loan on one day: every instalment of the longest term falling
	// due at once, with its penalty.
	stepsMax = 2_000
	// referenceMax bounds a channel's reference in characters.
	referenceMax = 64
)

// New returns a desk.
func New(deps Deps) *Desk { return &Desk{deps: deps} }

// file is a loan on the desk: its row, its state, and what its events have in common.
type file struct {
	row      store.Loan
	contract lending.Contract
	loan     lending.Loan
}

// open reads a loan. The caller holds its lock.
func (d *Desk) open(ctx context.Context, id ident.ID) (*file, error) {
	row, err := d.deps.Store.Loan(ctx, id)
	if err != nil {
		return nil, err
	}
	if row.Status == store.LoanApproved {
		// The ledger has answered and the note of it is on its way, or it never will be.
		if err := d.deps.Finisher.Flush(ctx); err != nil {
			return nil, err
		}
		if row, err = d.deps.Store.Loan(ctx, id); err != nil {
			return nil, err
		}
	}
	return fileOf(row)
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

func (f *file) subject() settlement.Subject {
	return settlement.Subject{Trace: f.row.Trace, Application: f.row.Application, Loan: f.row.ID,
		Customer: f.row.Customer, Product: f.row.Product, Currency: f.row.Currency}
}

func (d *Desk) lock(loan ident.ID) *sync.Mutex { return &d.locks[loan.Lo%stripes] }

// transition is an act that package lending performs: it gets the event and returns the next state.
type transition func(l *lending.Loan, e lending.Event) (lending.Loan, lending.Act, lending.Result)

// move is one act on its way.
type move struct {
	kind  lending.EventKind
	on    clock.Date
	do    transition
	facts map[string]string // added to the event's
	// writes go with the act, and undone is the repayment to delete where the ledger refuses.
	writes func(act *lending.Act) []store.Write
	undone string
}

// perform carries out one act on a loan whose lock is held. A refusal of the loan's own rules is of
// kind Refused with nothing changed; one of the ledger likewise, with the event withdrawn.
func (d *Desk) perform(ctx context.Context, f *file, m move) (lending.Act, error) {
	for attempt := range attemptsMax {
		act, err := d.performOnce(ctx, f, m, attempt)
		if errs.Is(err, errs.Exists) {
			continue // an earlier attempt was refused by the ledger and withdrawn
		}
		return act, err
	}
	return lending.Act{}, errs.New(errs.Refused, "loan %s: %s was refused %d times", f.row.ID, m.kind,
		attemptsMax)
}

// performOnce is perform under the event id of one attempt; kind Exists where that id is spent.
func (d *Desk) performOnce(ctx context.Context, f *file, m move, attempt int) (lending.Act, error) {
	e := lending.Event{ID: eventID(&f.loan, m.kind, attempt), On: m.on}
	next, act, result := m.do(&f.loan, e)
	if result != lending.Applied {
		return act, errs.New(errs.Refused, "loan %s: %s", f.row.ID, result.Sentence())
	}
	if err := d.record(ctx, f, &next, &act, m); err != nil {
		return act, err
	}
	return act, d.carry(ctx, f, &next, &act, m)
}

// eventID names an act by its place in the loan's life, so that the same act has the same id after
// a crash; an act that was withdrawn and is tried again gets another.
func eventID(l *lending.Loan, kind lending.EventKind, attempt int) ident.ID {
	discriminator := strconv.Itoa(len(l.Events))
	if attempt > 0 {
		discriminator += "/" + strconv.Itoa(attempt)
	}
	return lending.EventID(kind, l.Contract.Loan, discriminator)
}

// undo is what takes an act back.
type undo struct {
	Status     string     `json:"status"`
	State      []byte     `json:"state"`
	NextAction clock.Date `json:"next_action"`
	OldestDue  clock.Date `json:"oldest_due"`
	Reference  string     `json:"reference,omitempty"`
}

// record commits an act before the ledger hears of it.
func (d *Desk) record(ctx context.Context, f *file, next *lending.Loan, act *lending.Act, m move) error {
	subject := f.subject()
	e := subject.ActEvent(act, &f.contract, d.deps.Clock.Now())
	for name, fact := range m.facts {
		e.Facts[name] = fact
	}
	back, err := json.Marshal(undo{Status: f.row.Status, State: f.row.State,
		NextAction: f.row.NextAction, OldestDue: f.row.OldestDue, Reference: m.undone})
	if err != nil {
		return errs.As(errs.Internal, err, "servicing.record")
	}
	order := f.order(act)
	row := f.after(next)
	writes := []store.Write{
		store.Emit(e),
		store.UpdateLoan(&row),
		store.Instruct(&store.Instruction{Event: act.Event, Kind: e.Kind, Application: f.row.Application,
			Loan: f.row.ID, Body: order.Encode(), Undo: back}),
	}
	if m.writes != nil {
		writes = append(writes, m.writes(act)...)
	}
	return d.deps.Store.Commit(ctx, writes...)
}

func (f *file) order(act *lending.Act) settlement.Order {
	return settlement.NewOrder(act.Event, act.On, f.contract.Currency(), act.Legs)
}

// after returns the loan's row with the next state.
func (f *file) after(next *lending.Loan) store.Loan {
	row := f.row
	row.State, row.Status = next.Encode(), next.Status.String()
	row.NextAction = nextAction(&row, next)
	row.OldestDue = 0
	if len(next.Dues) > 0 {
		row.OldestDue = next.Dues[0].On
	}
	return row
}

// carry takes a recorded act to the ledger and brings the file to where the ledger says it is.
func (d *Desk) carry(ctx context.Context, f *file, next *lending.Loan, act *lending.Act, m move) error {
	outcomes, err := settlement.Carry(ctx, d.deps.Ledger, []settlement.Order{f.order(act)})
	if err != nil {
		return err // not known: the instruction stays and Resume settles it
	}
	if !outcomes[0].Refused {
		f.row, f.loan = f.after(next), *next
		d.deps.Finisher.Later(store.Settle(act.Event))
		return nil
	}
	err = d.withdraw(ctx, f.row, f.subject(), act.Event, act.On, m.undone, outcomes[0].Reason())
	if err != nil {
		return err
	}
	return errs.New(errs.Refused, "loan %s: the ledger refused leg %d of %s: %s", f.row.ID,
		outcomes[0].Leg, m.kind, outcomes[0].Reason())
}

// withdraw puts the state before an act back and says so to those who read events.
func (d *Desk) withdraw(ctx context.Context, before store.Loan, subject settlement.Subject,
	event ident.ID, on clock.Date, reference, reason string) error {
	writes := []store.Write{
		store.UpdateLoan(&before),
		store.Emit(subject.CancelEvent(event, reason, d.deps.Clock.Now(), on)),
		store.Settle(event),
	}
	if reference != "" {
		writes = append(writes, store.DeleteRepayment(reference))
	}
	return d.deps.Store.Commit(ctx, writes...)
}

// Resume settles an instruction of this package that a crash left behind.
func (d *Desk) Resume(ctx context.Context, i *store.Instruction) error {
	order, err := settlement.DecodeOrder(i.Body)
	if err != nil {
		return errs.Wrap(err, "servicing.resume: event %s", i.Event)
	}
	outcomes, err := settlement.Carry(ctx, d.deps.Ledger, []settlement.Order{order})
	if err != nil {
		return errs.Wrap(err, "servicing.resume: event %s", i.Event)
	}
	if !outcomes[0].Refused {
		return d.deps.Store.Commit(ctx, store.Settle(i.Event))
	}
	var back undo
	if err := json.Unmarshal(i.Undo, &back); err != nil {
		return errs.As(errs.Corrupt, err, "servicing.resume: event %s", i.Event)
	}
	row, err := d.deps.Store.Loan(ctx, i.Loan)
	if err != nil {
		return errs.Wrap(err, "servicing.resume: event %s", i.Event)
	}
	f, err := fileOf(row)
	if err != nil {
		return err
	}
	row.Status, row.State = back.Status, back.State
	row.NextAction, row.OldestDue = back.NextAction, back.OldestDue
	return d.withdraw(ctx, row, f.subject(), i.Event, f.loan.On, back.Reference, outcomes[0].Reason())
}

// Quote is what closes a loan today.
func (d *Desk) Quote(ctx context.Context, id ident.ID) (lending.Quote, error) {
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

// catchUp performs what time asks for up to a date, the earliest first.
func (d *Desk) catchUp(ctx context.Context, f *file, on clock.Date) error {
	for range stepsMax {
		step, more := f.loan.Step(on)
		if !more {
			return nil
		}
		_, err := d.perform(ctx, f, move{kind: step.Kind, on: step.On,
			do: func(l *lending.Loan, e lending.Event) (lending.Loan, lending.Act, lending.Result) {
				return l.Take(step, e)
			}})
		if err != nil {
			return err
		}
	}
	return errs.New(errs.Internal, "servicing: loan %s asks for more than %d steps on %s", f.row.ID,
		stepsMax, on)
}

// Repaid is the answer to a repayment.
type Repaid struct {
	Event    ident.ID     `json:"event"`
	Penalty  money.Amount `json:"penalty"`
	Interest money.Amount `json:"interest"`
	Returned money.Amount `json:"principal"` // of the principal
	Overpaid money.Amount `json:"overpaid"`
	Repeated bool         `json:"-"` // the reference was used before: nothing has moved
}

// Repay takes money for a loan, today. The reference names the payment in its channel, 1 to 64
// characters: again with the same loan and amount it gives the same answer, with others it is of
// kind Exists. A loan that was written off takes it as recovery. Kinds: NotFound, Invalid, Refused
// where the loan or the ledger says no; then the reference is free again.
func (d *Desk) Repay(ctx context.Context, id ident.ID, amount money.Amount, reference string) (Repaid, error) {
	return d.repayOn(ctx, id, amount, reference, d.deps.Today())
}

func (d *Desk) repayOn(ctx context.Context, id ident.ID, amount money.Amount, reference string,
	on clock.Date) (Repaid, error) {
	if len(reference) == 0 || len(reference) > referenceMax {
		return Repaid{}, errs.New(errs.Invalid,
			"servicing.repay: the reference has %d characters, must have 1 to %d", len(reference), referenceMax)
	}
	lock := d.lock(id)
	lock.Lock()
	defer lock.Unlock()
	answer, found, err := d.answered(ctx, id, amount, reference)
	if err != nil || found {
		return answer, err
	}
	f, err := d.open(ctx, id)
	if err != nil {
		return Repaid{}, err
	}
	on = max(on, f.loan.On)
	if f.loan.Status == lending.WrittenOff {
		return d.recover(ctx, f, amount, reference, on)
	}
	if err := d.prepare(ctx, f, amount, on); err != nil {
		return Repaid{}, err
	}
	answer, err = d.take(ctx, f, reference, amount, move{kind: lending.LoanRepaid, on: on,
		do: func(l *lending.Loan, e lending.Event) (lending.Loan, lending.Act, lending.Result) {
			return l.Repay(e, amount)
		}})
	if err != nil {
		return Repaid{}, err
	}
	return answer, d.catchUp(ctx, f, on) // the fee's rest and the close, where nothing is owed
}

// answered returns what was answered to a reference before.
func (d *Desk) answered(ctx context.Context, id ident.ID, amount money.Amount, reference string) (
	answer Repaid, found bool, _ error) {
	earlier, found, err := d.deps.Store.Repayment(ctx, reference)
	if err != nil || !found {
		return Repaid{}, false, err
	}
	if earlier.Loan != id || money.Minor(uint64(earlier.Amount)) != amount {
		return Repaid{}, true, errs.New(errs.Exists,
			"servicing.repay: reference %q was used for loan %s and another payment", reference, earlier.Loan)
	}
	if err := json.Unmarshal(earlier.Result, &answer); err != nil {
		return Repaid{}, true, errs.As(errs.Corrupt, err, "servicing.repay: reference %q", reference)
	}
	answer.Repeated = true
	return answer, true, nil
}

// prepare enters all that must stand before a repayment on the date: instalments that fell due,
// penalties, and interest where the payment changes what bears it.
func (d *Desk) prepare(ctx context.Context, f *file, amount money.Amount, on clock.Date) error {
	if err := d.catchUp(ctx, f, on); err != nil {
		return err
	}
	charge := move{kind: lending.PenaltyCharged, on: on, do: (*lending.Loan).ChargePenalty}
	for range stepsMax {
		if _, _, result := f.loan.ChargePenalty(lending.Event{ID: f.row.ID, On: on}); result != lending.Applied {
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

// take performs a payment and stores its answer under the reference in the same commit.
func (d *Desk) take(ctx context.Context, f *file, reference string, amount money.Amount, m move) (Repaid, error) {
	minor, fits := amount.Uint64()
	if !fits || minor > 1<<62 {
		return Repaid{}, errs.New(errs.Invalid, "servicing.repay: %s is beyond any loan", amount)
	}
	m.undone = reference
	m.facts = map[string]string{"reference": reference}
	m.writes = func(act *lending.Act) []store.Write {
		result, err := json.Marshal(answerOf(act))
		if err != nil {
			result = nil // a struct of strings always encodes
		}
		return []store.Write{store.InsertRepayment(&store.Repayment{Reference: reference,
			Loan: f.row.ID, Amount: int64(minor), Event: act.Event, Result: result})}
	}
	for attempt := 0; ; attempt++ {
		act, err := d.performOnce(ctx, f, m, attempt)
		if errs.Is(err, errs.Exists) && attempt < attemptsMax {
			if _, used, lookup := d.deps.Store.Repayment(ctx, reference); lookup != nil || used {
				return Repaid{}, err
			}
			continue // the event's id was spent on a payment that the ledger refused
		}
		if err != nil {
			return Repaid{}, err
		}
		return answerOf(&act), nil
	}
}

func answerOf(act *lending.Act) Repaid {
	return Repaid{Event: act.Event, Penalty: act.Penalty, Interest: act.Interest,
		Returned: act.Principal, Overpaid: act.Overpaid}
}

// recover takes money for a loan that was written off.
func (d *Desk) recover(ctx context.Context, f *file, amount money.Amount, reference string,
	on clock.Date) (Repaid, error) {
	return d.take(ctx, f, reference, amount, move{kind: lending.LoanRecovered, on: on,
		do: func(l *lending.Loan, e lending.Event) (lending.Loan, lending.Act, lending.Result) {
			return l.Recover(e, amount)
		}})
}

// WriteOff gives a loan up that is as late as its product asks for.
func (d *Desk) WriteOff(ctx context.Context, id ident.ID) error {
	lock := d.lock(id)
	lock.Lock()
	defer lock.Unlock()
	f, err := d.open(ctx, id)
	if err != nil {
		return err
	}
	on := max(d.deps.Today(), f.loan.On)
	if err := d.catchUp(ctx, f, on); err != nil {
		return err
	}
	if f.loan.Status == lending.WrittenOff {
		return nil // time had asked for it
	}
	_, err = d.perform(ctx, f, move{kind: lending.LoanWrittenOff, on: on, do: (*lending.Loan).WriteOff})
	return err
}
