package guard

import (
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
)

// shadow is a small world beside the real one in which a canary's fault is planted: a checker of its
// own, with the live checker's limits and blind spots, and a loan of a shadow customer that is
// sound up to the fault. Nothing of it touches the live streams, their numbering or any account.
type shadow struct {
	c      *Checker
	now    clock.Instant
	seq    uint64 // of the shadow outbox
	fed    uint64 // of the shadow feed
	stamp  clock.Instant
	opened map[ident.ID]bool
	last   Event // the event sent last
	today  clock.Date
	flows  []Flow
	found  []*Breach
}

// The shadow loan: twelve hundred for three months at twelve percent, with a fee of six.
const (
	shadowPrincipal = 1200_00
	shadowFee       = 6_00
	shadowRate      = 12_000_000_000
	shadowTerm      = 3
	shadowLedger    = 156
)

func newShadow(limits Limits, blind [ruleMax]bool) *shadow {
	s := &shadow{c: New(limits), now: clock.Instant(clock.Day) * 20_000, opened: map[ident.ID]bool{},
		today: clock.MustDate(2024, 1, 31)}
	s.c.blind = blind
	s.stamp = s.now
	s.flows = shadowFlows()
	return s
}

// shadowFlows is the schedule of the shadow loan.
func shadowFlows() []Flow {
	start := clock.MustDate(2024, 1, 31)
	var flows []Flow
	left := uint64(shadowPrincipal)
	for i := range shadowTerm {
		f := Flow{Due: start.AddMonths(i+1, 31), Principal: 400_00}
		f.Interest = interest(left, shadowRate, ratio{30, 360})
		f.Payment = f.Interest + f.Principal
		left -= f.Principal
		flows = append(flows, f)
	}
	return flows
}

func (s *shadow) step(in Input) {
	s.now = s.now.Add(clock.Millisecond)
	in.Now = s.now
	for _, v := range s.c.Step(&in) {
		if v.Kind == Breached {
			s.found = append(s.found, v.Breach)
		}
	}
}

// event returns an event of the shadow loan.
func (s *shadow) event(kind Kind, discriminator string) Event {
	e := Event{ID: ident.Derive("canary", kind.String(), discriminator), Kind: kind, At: s.now,
		Date: s.today, Application: ident.Derive("canary", "application"),
		Customer: ident.Derive("canary", "customer"), Trace: ident.Derive("canary", "trace"),
		Product: "canary", Currency: "CNY", Ledger: shadowLedger}
	if kind >= ContractSigned {
		e.Loan = ident.Derive("canary", "loan")
	}
	return e
}

// send writes an event into the shadow outbox.
func (s *shadow) send(e Event) {
	s.seq++
	e.Seq = s.seq
	s.last = e
	s.step(Input{Kind: InputEvent, Event: &e})
}

// legs returns the postings of an event, and creates the accounts they need.
func (s *shadow) legs(e *Event) []ledger.Transfer {
	p := newProduct(e.Product, e.Currency, e.Ledger)
	var list []ledger.Transfer
	for i, leg := range p.legs(nil, e) {
		s.open(leg.Debit, leg.From)
		s.open(leg.Credit, leg.To)
		list = append(list, ledger.Transfer{ID: leg.ID, DebitAccountID: leg.Debit,
			CreditAccountID: leg.Credit, Amount: money.Minor(leg.Amount), PendingID: leg.Pending,
			UserData128: e.ID, UserData64: uint64(i + 1), UserData32: uint32(e.Date),
			Timeout: leg.Timeout, Ledger: leg.Ledger, Code: leg.Code, Flags: leg.mode.flags()})
	}
	return list
}

// open creates an account in the shadow feed, as its class demands.
func (s *shadow) open(id ident.ID, class uint16) {
	if s.opened[id] {
		return
	}
	s.opened[id] = true
	s.create(ledger.Account{ID: id, Ledger: shadowLedger, Code: class, Flags: chartOf(class).limit})
}

func (s *shadow) create(a ledger.Account) {
	s.entry(ledger.Event{Kind: ledger.EventAccountCreated, Account: a})
}

// entry adds an entry to the shadow feed.
func (s *shadow) entry(e ledger.Event) {
	s.stamp++
	e.Seq, e.Timestamp = s.fed, s.stamp
	s.fed++
	s.step(Input{Kind: InputEntry, Entry: &e})
}

// post adds postings to the shadow feed.
func (s *shadow) post(list ...ledger.Transfer) {
	for _, t := range list {
		t.Timestamp = s.stamp + 1
		s.entry(ledger.Event{Kind: ledger.EventTransferCreated, Transfer: t})
	}
}

// act sends an event and posts what it asks for.
func (s *shadow) act(e Event) {
	s.send(e)
	s.post(s.legs(&e)...)
}

// wait lets time pass and reads both streams to their ends.
func (s *shadow) wait(d clock.Duration) {
	s.now = s.now.Add(d)
	s.step(Input{Kind: InputTick})
	s.step(Input{Kind: InputRead, Stream: StreamOutbox, Last: s.seq, Began: s.now})
	s.step(Input{Kind: InputRead, Stream: StreamFeed, Last: s.fed, Began: s.now})
}

func (s *shadow) received() Event {
	e := s.event(ApplicationReceived, "")
	e.Facts.Key = "canary"
	return e
}

func (s *shadow) decided() Event {
	e := s.event(ApplicationDecided, "")
	e.Facts.Outcome = OutcomeApprove
	e.Amounts[AmountOffered], e.Amounts[AmountLimit] = shadowPrincipal, shadowPrincipal
	return e
}

func (s *shadow) granted() Event {
	e := s.event(LimitGranted, "")
	e.Amounts[AmountLimit] = shadowPrincipal
	return e
}

func (s *shadow) reserved() Event {
	e := s.event(LimitReserved, "")
	e.Amounts[AmountPrincipal], e.Facts.Timeout = shadowPrincipal, 600
	return e
}

func (s *shadow) signed() Event {
	e := s.event(ContractSigned, "")
	e.Cause = s.decided().ID
	e.Flows = append([]Flow(nil), s.flows...)
	for _, f := range e.Flows {
		e.Amounts[AmountTotalInterest] += f.Interest
		e.Amounts[AmountTotalPayable] += f.Payment
	}
	e.Amounts[AmountPrincipal], e.Amounts[AmountFee] = shadowPrincipal, shadowFee
	on := s.today
	e.Facts = Facts{Rate: shadowRate, DayCount: Monthly, Term: shadowTerm, FirstDue: e.Flows[0].Due,
		DisbursedOn: on,
		RateEU: rateOf(e.Flows, shadowPrincipal-shadowFee,
			func(rate uint64) valuation { return newEffectiveEU(on, rate) }),
		RateUS: rateOf(e.Flows, shadowPrincipal-shadowFee,
			func(rate uint64) valuation { return newNominalUS(on, rate) }),
		Terms: Terms{Rounding: RoundingHalfEven, Overdue: OverdueStops, Early: EarlyNext,
			Allocation:  Allocation{PartPenalty, PartInterest, PartPrincipal},
			PenaltyRate: 2 * shadowRate, PenaltyDayCount: Actual360},
	}
	return e
}

func (s *shadow) disbursed() Event {
	e := s.event(LoanDisbursed, "")
	e.Cause = s.signed().ID
	e.Amounts[AmountPrincipal], e.Amounts[AmountFee] = shadowPrincipal, shadowFee
	e.Facts.Reserve = TransferID(s.reserved().ID, 1)
	return e
}

// accrued is the interest of period n, from 0, charged on its due date on a balance.
func (s *shadow) accrued(n int, balance uint64) Event {
	from, to := clock.MustDate(2024, 1, 31), s.flows[n].Due
	if n > 0 {
		from = s.flows[n-1].Due
	}
	s.today = to
	e := s.event(InterestAccrued, to.String())
	e.Amounts[AmountInterest] = interest(balance, shadowRate, ratio{30, 360})
	e.Amounts[AmountBalance] = balance
	e.Facts.From, e.Facts.To, e.Facts.Rate, e.Facts.DayCount = from, to, shadowRate, Monthly
	return e
}

// repaid is the payment of the first instalment, as due.
func (s *shadow) repaid() Event {
	e := s.event(LoanRepaid, "1")
	f := s.flows[0]
	e.Amounts[AmountTotal], e.Amounts[AmountInterest] = f.Payment, f.Interest
	e.Amounts[AmountPrincipal], e.Amounts[AmountDueInterest] = f.Principal, f.Interest
	e.Amounts[AmountOutstanding] = shadowPrincipal
	e.Facts.Reference = "canary-1"
	return e
}

// paidOff is a payment of all that is owed after the first due date, and something beyond.
func (s *shadow) paidOff() Event {
	e := s.repaid()
	over := uint64(5_00)
	e.Amounts[AmountPrincipal] = shadowPrincipal
	e.Amounts[AmountOverpaid] = over
	e.Amounts[AmountTotal] = e.Amounts[AmountInterest] + shadowPrincipal + over
	return e
}

// penalty is what is charged when the first instalment is ten days late.
func (s *shadow) penalty() Event {
	s.today = s.flows[0].Due.AddDays(10)
	e := s.event(PenaltyCharged, "1")
	e.Facts.From, e.Facts.To, e.Facts.Number = s.flows[0].Due, s.today, 1
	e.Facts.Rate, e.Facts.DayCount = 2*shadowRate, Actual360
	e.Amounts[AmountOverdue] = s.flows[0].Principal
	e.Amounts[AmountPenalty] = interest(s.flows[0].Principal, 2*shadowRate, ratio{10, 360})
	return e
}

func (s *shadow) closed() Event {
	e := s.event(LoanClosed, "")
	e.Amounts[AmountLimit] = shadowPrincipal
	return e
}

func (s *shadow) refunded(amount uint64) Event {
	e := s.event(OverpaymentRefunded, "")
	e.Amounts[AmountPaid], e.Facts.Reference = amount, "canary-refund"
	return e
}

// lend brings the shadow loan to the point before its pay-out.
func (s *shadow) lend() {
	s.act(s.received())
	s.act(s.decided())
	s.act(s.granted())
	s.act(s.reserved())
	s.act(s.signed())
}

// run brings the shadow loan to its first due date, with the interest charged.
func (s *shadow) run() {
	s.lend()
	s.act(s.disbursed())
	s.act(s.accrued(0, shadowPrincipal))
}
