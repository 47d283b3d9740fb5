package servicing

import (
	"context"
	"encoding/json"
	"strconv"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/lending"
	"surety/lending/settlement"
	"surety/lending/store"
)

// transition is an act that package lending performs: it gets the event and returns the next state.
type transition func(l *lending.Loan, e lending.Event) (lending.Loan, lending.Act, lending.Result)

// move is one act on its way.
type move struct {
	kind  lending.EventKind
	on    clock.Date
	do    transition
	facts map[string]string // added to the event's
	// payment is what the act answers to, nil where it answers to nobody.
	payment *store.Repayment
}

// reference returns the payment's, empty where there is none.
func (m *move) reference() string {
	if m.payment == nil {
		return ""
	}
	return m.payment.Reference
}

// perform carries out one act on a loan whose lock is held. A refusal of the loan's own rules is of
// kind Refused with nothing changed; one of the ledger likewise, with the event withdrawn. Kind
// Exists where the payment's reference is taken. After any other error the loan may be in doubt.
func (d *Desk) perform(ctx context.Context, f *file, m move) (lending.Act, error) {
	act, err := d.performOnce(ctx, f, m, 0)
	if !errs.Is(err, errs.Exists) {
		return act, err
	}
	// The reference is taken, or the event's id was spent on an act that the ledger refused.
	if m.payment != nil {
		_, taken, lookup := d.deps.Store.Repayment(ctx, m.reference())
		if lookup != nil {
			return act, lookup
		}
		if taken {
			return act, err
		}
	}
	attempt, err := d.unspent(ctx, &f.loan, m.kind)
	if err != nil {
		return act, err
	}
	return d.performOnce(ctx, f, m, attempt)
}

// unspent returns the first attempt at an act whose event was never written. Those before it all
// were, so that it is found by doubling and then halving.
func (d *Desk) unspent(ctx context.Context, l *lending.Loan, kind lending.EventKind) (int, error) {
	spent, free := 0, 1
	for free <= attemptsMax {
		has, err := d.deps.Store.HasEvent(ctx, eventID(l, kind, free))
		if err != nil {
			return 0, err
		}
		if !has {
			return d.halve(ctx, l, kind, spent, free)
		}
		spent, free = free, 2*free
	}
	return 0, errs.New(errs.Refused, "loan %s: the ledger refused %s %d times", l.Contract.Loan, kind,
		attemptsMax)
}

// halve returns the first attempt after spent, which was written, up to free, which was not.
func (d *Desk) halve(ctx context.Context, l *lending.Loan, kind lending.EventKind, spent, free int) (
	int, error) {
	for free-spent > 1 {
		middle := spent + (free-spent)/2
		has, err := d.deps.Store.HasEvent(ctx, eventID(l, kind, middle))
		if err != nil {
			return 0, err
		}
		if has {
			spent = middle
		} else {
			free = middle
		}
	}
	return free, nil
}

// performOnce is perform under the event id of one attempt; kind Exists where that id is spent.
func (d *Desk) performOnce(ctx context.Context, f *file, m move, attempt int) (lending.Act, error) {
	e := lending.Event{ID: eventID(&f.loan, m.kind, attempt), On: m.on}
	next, act, result := m.do(&f.loan, e)
	if result != lending.Applied {
		return act, errs.New(errs.Refused, "loan %s: %s", f.row.ID, result.Sentence())
	}
	after := f.after(&next)
	if err := d.record(ctx, f, &after, &act, m); err != nil {
		if !errs.Is(err, errs.Exists) {
			d.doubt(f.row.ID) // where the answer to the commit was lost, it is recorded
		}
		return act, err
	}
	// It is recorded: from here on nobody can call it off but the ledger.
	if err := d.carry(context.WithoutCancel(ctx), f, &act, m); err != nil {
		return act, err
	}
	f.row, f.loan = after, next
	return act, nil
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
func (d *Desk) record(ctx context.Context, f *file, after *store.Loan, act *lending.Act, m move) error {
	subject := f.subject()
	e := subject.ActEvent(act, &f.contract, d.deps.Clock.Now())
	for name, fact := range m.facts {
		e.Facts[name] = fact
	}
	back, err := json.Marshal(undo{Status: f.row.Status, State: f.row.State,
		NextAction: f.row.NextAction, OldestDue: f.row.OldestDue, Reference: m.reference()})
	if err != nil {
		return errs.As(errs.Internal, err, "servicing.record")
	}
	order := f.order(act)
	writes := []store.Write{
		store.Emit(e),
		store.UpdateLoan(after),
		store.Instruct(&store.Instruction{Event: act.Event, Kind: e.Kind, Application: f.row.Application,
			Loan: f.row.ID, Body: order.Encode(), Undo: back}),
	}
	if m.payment != nil {
		if m.payment.Result, err = json.Marshal(answerOf(act)); err != nil {
			return errs.As(errs.Internal, err, "servicing.record")
		}
		m.payment.Event = act.Event
		writes = append(writes, store.InsertRepayment(m.payment))
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

// carry takes a recorded act to the ledger. Where the ledger refuses it is withdrawn, with kind
// Refused; after any other error the loan is in doubt.
func (d *Desk) carry(ctx context.Context, f *file, act *lending.Act, m move) error {
	outcomes, err := d.settler.Carry(ctx, f.order(act))
	if err != nil {
		d.doubt(f.row.ID)
		return err
	}
	if !outcomes[0].Refused {
		d.deps.Finisher.Later(store.Settle(act.Event))
		return nil
	}
	err = d.withdraw(ctx, f.row, withdrawal{subject: f.subject(), event: act.Event, on: act.On,
		reference: m.reference(), reason: outcomes[0].Reason()})
	if err != nil {
		d.doubt(f.row.ID)
		return err
	}
	return errs.New(errs.Refused, "loan %s: the ledger refused leg %d of %s: %s", f.row.ID,
		outcomes[0].Leg, m.kind, outcomes[0].Reason())
}

// withdrawal is an act that the ledger refused.
type withdrawal struct {
	subject   settlement.Subject
	event     ident.ID
	on        clock.Date
	reference string // of the payment, empty for none
	reason    string
}

// withdraw puts the state before an act back and says so to those who read events.
func (d *Desk) withdraw(ctx context.Context, before store.Loan, w withdrawal) error {
	writes := []store.Write{
		store.UpdateLoan(&before),
		store.Emit(w.subject.CancelEvent(w.event, w.reason, d.deps.Clock.Now(), w.on)),
		store.Settle(w.event),
	}
	if w.reference != "" {
		writes = append(writes, store.DeleteRepayment(w.reference))
	}
	return d.deps.Store.Commit(ctx, writes...)
}

// doubt remembers that it is not known whether the last act on a loan stands.
func (d *Desk) doubt(loan ident.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.doubtful[loan] = struct{}{}
}

// clear settles a loan in doubt, whose lock is held; for others it does nothing.
func (d *Desk) clear(ctx context.Context, loan ident.ID) error {
	d.mu.Lock()
	_, doubtful := d.doubtful[loan]
	d.mu.Unlock()
	if !doubtful {
		return nil
	}
	return d.settle(context.WithoutCancel(ctx), loan)
}

// Conclude settles what was recorded of a loan and not carried out, or not noted as such. It may be
// called at any time and for any loan. Kind NotFound for an unknown loan; after any other error
// the loan is in doubt: call it again.
func (d *Desk) Conclude(ctx context.Context, loan ident.ID) error {
	defer d.lock(loan)()
	return d.settle(context.WithoutCancel(ctx), loan)
}

// settle takes the loan's instructions to the ledger once more, in their order.
func (d *Desk) settle(ctx context.Context, loan ident.ID) error {
	if err := d.settleAll(ctx, loan); err != nil {
		d.doubt(loan)
		return errs.Wrap(err, "servicing.settle: loan %s", loan)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.doubtful, loan)
	return nil
}

func (d *Desk) settleAll(ctx context.Context, loan ident.ID) error {
	if err := d.deps.Finisher.Flush(ctx); err != nil {
		return err
	}
	row, err := d.deps.Store.Loan(ctx, loan)
	if err != nil {
		return err
	}
	instructions, err := d.deps.Store.ApplicationInstructions(ctx, row.Application)
	if err != nil {
		return err
	}
	for i := range instructions {
		disbursement := instructions[i].Kind == lending.LoanDisbursed.String()
		if instructions[i].Loan != loan || disbursement { // which package origination settles
			continue
		}
		if err := d.settleOne(ctx, &instructions[i]); err != nil {
			return errs.Wrap(err, "event %s", instructions[i].Event)
		}
	}
	return nil
}

// settleOne carries out one instruction, and where the ledger refuses it withdraws the act.
func (d *Desk) settleOne(ctx context.Context, i *store.Instruction) error {
	order, err := settlement.DecodeOrder(i.Body)
	if err != nil {
		return err
	}
	outcomes, err := d.settler.Carry(ctx, order)
	if err != nil {
		return err
	}
	if !outcomes[0].Refused {
		return d.deps.Store.Commit(ctx, store.Settle(i.Event))
	}
	var back undo
	if err := json.Unmarshal(i.Undo, &back); err != nil {
		return errs.As(errs.Corrupt, err, "undo")
	}
	row, err := d.deps.Store.Loan(ctx, i.Loan)
	if err != nil {
		return err
	}
	f, err := fileOf(row)
	if err != nil {
		return err
	}
	row.Status, row.State = back.Status, back.State
	row.NextAction, row.OldestDue = back.NextAction, back.OldestDue
	return d.withdraw(ctx, row, withdrawal{subject: f.subject(), event: i.Event, on: f.loan.On,
		reference: back.Reference, reason: outcomes[0].Reason()})
}
