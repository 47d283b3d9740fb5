package origination

import (
	"context"
	"strconv"
	"strings"

	"surety/api/event"
	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
	"surety/lending"
	"surety/lending/population"
	"surety/lending/settlement"
	"surety/lending/store"
)

func (f *file) subject() settlement.Subject {
	return settlement.Subject{Trace: f.row.Trace, Application: f.row.ID, Customer: f.row.Customer,
		Product: f.row.Product, Currency: f.row.Currency}
}

// receive is the first commit: the application with all that it is decided from, and what reserves
// the limit where the policy approves.
func (d *Desk) receive(ctx context.Context, f *file) error {
	subject := f.subject()
	now := d.deps.Clock.Now()
	received := subject.NewEvent(event.ApplicationReceived,
		ident.Derive("event", event.ApplicationReceived, f.row.ID.String(), ""), now, f.row.BusinessDate)
	received.Amounts = map[string]money.Amount{"requested": money.Minor(uint64(f.row.Requested))}
	received.Facts = map[string]string{"digest": lending.DigestOf(f.row.SealedForm).String(),
		"key": f.row.Key, "origin": f.row.Origin, "term": strconv.Itoa(f.row.Term)}
	events, writes := []*event.Event{received}, []store.Write{store.InsertApplication(&f.row)}
	if f.decision.Outcome == lending.Approve {
		events = append(events, d.reservation(f)...)
	}
	writes = append(writes, store.Emit(events...))
	for i := range f.limits {
		writes = append(writes, store.Instruct(&f.limits[i]))
	}
	return d.deps.Store.Commit(ctx, writes...)
}

// reservation draws up what raises the customer's limit to what was decided, where it is lower, and
// reserves this loan's part of it, and returns the events of both. With the reservation go the
// accounts that the payment will need, so that they are opened in one batch with its own.
func (d *Desk) reservation(f *file) (events []*event.Event) {
	product := f.programme.Product.ID()
	if more, less := f.decision.Limit.Sub(f.granted); !less && !more.IsZero() {
		events = append(events, d.instruct(f, lending.LimitGranted, "limit", more,
			lending.GrantLimit(product, f.row.Customer, more)))
	}
	events = append(events, d.instruct(f, lending.LimitReserved, "principal", f.decision.Amount,
		lending.ReserveLimit(product, f.row.Customer, f.decision.Amount, reserveSeconds)))
	last := len(f.orders) - 1
	f.orders[last].Accounts = append(f.orders[last].Accounts, f.paymentAccounts()...)
	f.limits[last].Body = f.orders[last].Encode()
	return events
}

// paymentAccounts are the accounts that a disbursement touches beside those of the limit.
func (f *file) paymentAccounts() []ledger.Account {
	product := f.programme.Product.ID()
	refs := [...]lending.AccountRef{{Class: lending.ClassPrincipal, Owner: loanID(f.row.ID)},
		{Class: lending.ClassDisbursing, Owner: product},
		{Class: lending.ClassDeposit, Owner: f.row.Customer},
		{Class: lending.ClassDeferredFee, Owner: product}}
	accounts := make([]ledger.Account, len(refs))
	for i := range refs {
		accounts[i] = refs[i].Record(f.programme.Currency)
	}
	return accounts
}

func (d *Desk) instruct(f *file, kind lending.EventKind, name string, amount money.Amount,
	legs []lending.Posting) *event.Event {
	subject := f.subject()
	id := lending.EventID(kind, f.row.ID, "")
	e := subject.NewEvent(kind.String(), id, d.deps.Clock.Now(), f.row.BusinessDate)
	e.Amounts = map[string]money.Amount{name: amount}
	if kind == lending.LimitReserved {
		e.Facts = map[string]string{"timeout_seconds": strconv.Itoa(int(reserveSeconds))}
	}
	order := settlement.NewOrder(id, f.row.BusinessDate, f.programme.Currency, legs)
	f.orders = append(f.orders, order)
	f.limits = append(f.limits, store.Instruction{Event: id, Kind: e.Kind, Application: f.row.ID,
		Body: order.Encode()})
	return e
}

// conclude takes a received application to its end, under a context that does not end.
func (d *Desk) conclude(ctx context.Context, f *file) (Answer, error) {
	var settled []store.Write
	if f.decision.Outcome == lending.Approve {
		var err error
		if settled, err = d.reserve(ctx, f); err != nil {
			return Answer{}, err
		}
	}
	return d.decided(ctx, f, settled)
}

// reserve has the ledger carry out the limit instructions. Where it refuses the reservation, the
// limit counts as used up and the policy decides again. Where it refuses the grant and the limit
// that the customer had before is enough, the loan goes on.
func (d *Desk) reserve(ctx context.Context, f *file) (settled []store.Write, _ error) {
	outcomes, err := d.settler.Carry(ctx, f.orders...)
	if err != nil {
		return nil, err
	}
	subject := f.subject()
	reserved := false
	for i := range outcomes {
		settled = append(settled, store.Settle(f.limits[i].Event))
		if outcomes[i].Refused {
			settled = append(settled, store.Emit(subject.CancelEvent(f.limits[i].Event,
				outcomes[i].Reason(), d.deps.Clock.Now(), f.row.BusinessDate)))
		} else if f.limits[i].Kind == lending.LimitReserved.String() {
			reserved = true
		}
	}
	if reserved {
		return settled, nil
	}
	f.in.Exposure = f.decision.Limit
	if err := f.decide(); err != nil {
		return nil, err
	}
	if f.decision.Outcome == lending.Approve {
		return nil, errs.New(errs.Internal, "origination.reserve: application %s is approved with a limit "+
			"that is used up", f.row.ID)
	}
	return settled, nil
}

// decided is the second commit, and for an approval what follows from it.
func (d *Desk) decided(ctx context.Context, f *file, writes []store.Write) (Answer, error) {
	now := d.deps.Clock.Now()
	f.row.Outcome, f.row.Decision = f.decision.Outcome.String(), f.decision.Encode()
	f.row.DecidedAt, f.row.Micros = now, int64(now.Sub(f.began))/1_000
	f.row.Status = statusOf(f.decision.Outcome)
	decision := d.decisionEvent(f)
	if f.decision.Outcome != lending.Approve {
		writes = append(writes, store.DecideApplication(&f.row), store.Emit(decision))
		if err := d.deps.Store.Commit(ctx, writes...); err != nil {
			return Answer{}, err
		}
		d.deps.Decided(d.deps.Clock.Now().Sub(f.began))
		return Answer{Application: f.row}, nil
	}
	p, err := d.prepare(f, decision)
	if err != nil {
		return Answer{}, err
	}
	f.row.Loan = p.row.ID
	writes = append(writes, store.DecideApplication(&f.row), store.InsertLoan(&p.row),
		store.Emit(decision, p.contract, p.disbursed), store.Instruct(&p.instruction))
	if err := d.deps.Store.Commit(ctx, writes...); err != nil {
		return Answer{}, err
	}
	d.deps.Decided(d.deps.Clock.Now().Sub(f.began))
	return d.pay(ctx, f, p)
}

// statusOf returns the status that a decision leads to.
func statusOf(outcome lending.Outcome) string {
	switch outcome {
	case lending.Approve:
		return store.StatusApproved
	case lending.Refer:
		return store.StatusReferred
	}
	return store.StatusDeclined
}

func (d *Desk) decisionEvent(f *file) *event.Event {
	subject := f.subject()
	e := subject.NewEvent(event.ApplicationDecided, decisionID(f.row.ID), f.row.DecidedAt,
		f.row.BusinessDate)
	e.Amounts = map[string]money.Amount{"offered": f.decision.Amount, "limit": f.decision.Limit}
	var reasons []string
	for _, r := range f.decision.Reasons {
		info, _ := r.Code.Info()
		reasons = append(reasons, info.Name)
	}
	e.Facts = map[string]string{
		"outcome":         f.row.Outcome,
		"features_digest": f.in.Scores.Features.String(),
		"inputs_digest":   f.decision.Inputs.String(),
		"card_digest":     f.in.Scores.Card.String(),
		"gbdt_digest":     f.in.Scores.Model.String(),
		"policy_digest":   f.decision.Policy.String(),
		"product_digest":  f.decision.Product.String(),
		"decision_digest": f.decision.Digest().String(),
		"points":          strconv.Itoa(int(f.in.Scores.Points)),
		"pd_ppm":          strconv.Itoa(int(f.decision.PDMicro)),
		"reasons":         strings.Join(reasons, ","),
	}
	if by := f.stored.Scorer; by != nil {
		e.Facts[event.FactScorer] = by.Sandbox
		e.Facts[event.FactScorerSeq] = strconv.FormatUint(by.Seq, 10)
	}
	return e
}

func decisionID(application ident.ID) ident.ID {
	return ident.Derive("event", event.ApplicationDecided, application.String(), "")
}

// payment is what an approval leads to.
type payment struct {
	row         store.Loan
	contract    *event.Event
	disbursed   *event.Event
	order       settlement.Order
	instruction store.Instruction
	terms       lending.Contract
}

// loanID returns the id of the loan that an application may lead to.
func loanID(application ident.ID) ident.ID { return ident.Derive("loan", application.String()) }

// prepare draws up the contract and the payment of an approved application.
func (d *Desk) prepare(f *file, decision *event.Event) (*payment, error) {
	id := loanID(f.row.ID)
	terms, err := lending.NewContract(lending.Parties{Loan: id, Application: f.row.ID,
		Customer: f.row.Customer, Decision: f.decision.Digest()}, f.programme.Product,
		lending.Offer{Principal: f.decision.Amount, Rate: f.decision.Rate, Months: f.decision.TermMonths,
			Start: f.row.BusinessDate})
	if err != nil {
		return nil, err
	}
	p := &payment{terms: terms}
	approved := lending.NewLoan(&p.terms)
	reservation := lending.TransferID(lending.EventID(lending.LimitReserved, f.row.ID, ""), 1)
	paid, act, result := approved.Disburse(lending.Event{
		ID: lending.EventID(lending.LoanDisbursed, id, ""), On: f.row.BusinessDate}, reservation)
	if result != lending.Applied {
		return nil, errs.New(errs.Internal, "origination.prepare: loan %s: %s", id, result.Sentence())
	}
	subject := f.subject()
	subject.Loan = id
	now := d.deps.Clock.Now()
	p.contract = subject.ContractEvent(&p.terms, decision.ID, now)
	p.disbursed = subject.ActEvent(&act, &p.terms, now)
	p.disbursed.Cause = p.contract.ID
	p.disbursed.Facts["reserve"] = reservation.String()
	p.order = settlement.NewOrder(act.Event, act.On, f.programme.Currency, act.Legs)
	p.instruction = store.Instruction{Event: act.Event, Kind: p.disbursed.Kind,
		Application: f.row.ID, Loan: id, Body: p.order.Encode()}
	p.row = store.Loan{ID: id, Application: f.row.ID, Customer: f.row.Customer, Trace: f.row.Trace,
		Product: f.row.Product, Currency: f.row.Currency, Origin: f.row.Origin,
		Status: store.LoanApproved, Contract: p.terms.Encode(), ContractDigest: p.terms.Digest(),
		ContractEvent: p.contract.ID, State: paid.Encode(), TruePD: f.truePD}
	if p.row.NextAction, _ = paid.NextDue(); f.truePD >= 0 {
		p.row.NextAction = p.row.NextAction.AddDays(-population.EarlyDaysMax)
	}
	return p, nil
}

// pay has the ledger carry out the payment and answers.
func (d *Desk) pay(ctx context.Context, f *file, p *payment) (Answer, error) {
	outcomes, err := d.settler.Carry(ctx, p.order)
	if err != nil {
		return Answer{}, err
	}
	now := d.deps.Clock.Now()
	if outcomes[0].Refused {
		return d.unpaid(ctx, f, p, outcomes[0].Reason())
	}
	d.deps.Paid(now.Sub(f.began))
	f.row.Status, p.row.Status, p.row.DisbursedAt = store.StatusDisbursed, store.LoanActive, now
	d.deps.Finisher.Later(paidWrites(p.instruction.Event, &f.row, now)...)
	return Answer{Application: f.row, Loan: &p.row}, nil
}

// paidWrites note that the money of an application is out.
func paidWrites(paid ident.ID, row *store.Application, at clock.Instant) []store.Write {
	return []store.Write{store.Settle(paid), store.ActivateLoan(row.Loan, at),
		store.SetApplicationStatus(row.ID, store.StatusDisbursed, "")}
}

// unpaid withdraws an approval whose money the ledger refused. The reservation lapses by itself.
func (d *Desk) unpaid(ctx context.Context, f *file, p *payment, reason string) (Answer, error) {
	approved := lending.NewLoan(&p.terms)
	subject := f.subject()
	subject.Loan = p.row.ID
	cancel := subject.CancelEvent(p.instruction.Event, reason, d.deps.Clock.Now(), f.row.BusinessDate)
	cancelled, _, result := approved.Cancel(
		lending.Event{ID: cancel.ID, On: f.row.BusinessDate}, ident.ID{})
	if result != lending.Applied {
		return Answer{}, errs.New(errs.Internal, "origination.unpaid: loan %s: %s", p.row.ID,
			result.Sentence())
	}
	p.row.Status, p.row.State = store.LoanCancelled, cancelled.Encode()
	f.row.Status, f.row.CancelledReason = store.StatusCancelled, reason
	err := d.deps.Store.Commit(ctx, store.Settle(p.instruction.Event), store.UpdateLoan(&p.row),
		store.SetApplicationStatus(f.row.ID, store.StatusCancelled, reason), store.Emit(cancel))
	return Answer{Application: f.row, Loan: &p.row}, err
}
