package drill

import (
	"container/heap"
	"math/rand/v2"
	"strconv"

	"surety/api/event"
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
)

// Lender is a lending service that does everything right: a stream of business acts in calendar
// order, from application to the last refund. It is the clean traffic that a drill mixes faults
// into, and stands in for nothing else.
type Lender struct {
	rng      *rand.Rand
	seed     uint64
	today    clock.Date
	loans    loanHeap
	queue    []Act
	started  int
	perDay   int
	left     int // applications still to come today
	name     string
	single   bool // lends to one borrower only, of a given habit, without refusals
	habit    habit
	currency string
	returned []returning // customers who may borrow again
}

// returning is a customer whose loan is closed, with the limit that is free again.
type returning struct {
	id   ident.ID
	free uint64
}

// NewLender returns a lender whose acts follow from the seed. perDay applications come on each
// business day, from the start date on.
func NewLender(seed uint64, name string, start clock.Date, perDay int) *Lender {
	return &Lender{rng: rand.New(rand.NewPCG(seed, 0x5eed)), seed: seed, today: start,
		perDay: perDay, left: perDay, name: name, currency: "CNY"}
}

// Next returns the next act.
func (l *Lender) Next() Act {
	for len(l.queue) == 0 {
		switch {
		case len(l.loans) > 0 && l.loans[0].wake <= l.today:
			l.advance()
		case l.left > 0:
			l.left--
			l.apply()
		default:
			l.today, l.left = l.today.AddDays(1), l.perDay
		}
	}
	act := l.queue[0]
	l.queue = l.queue[1:]
	return act
}

// Day returns all acts of a business day, with so many applications; days must not go back.
func (l *Lender) Day(on clock.Date, applications int) []Act {
	l.today = on
	for range applications {
		l.apply()
	}
	for len(l.loans) > 0 && l.loans[0].wake <= on {
		l.advance()
	}
	acts := l.queue
	l.queue = nil
	return acts
}

func (l *Lender) advance() {
	b := l.loans[0]
	if !l.single && l.rng.IntN(40) == 0 && !b.written { // the service was down, and makes good later
		b.wake = l.today.AddDays(1 + l.rng.IntN(9))
		heap.Fix(&l.loans, 0)
		return
	}
	l.push(b.step(l.today)...)
	if b.ended {
		heap.Pop(&l.loans)
		if !b.written {
			l.returned = append(l.returned, returning{b.subject.customer, b.lent})
		}
		return
	}
	b.wake = max(b.wake, l.today.AddDays(1))
	heap.Fix(&l.loans, 0)
}

// push queues acts; now and then the ledger is imagined to refuse one, which is then withdrawn and
// done again under a new id.
func (l *Lender) push(acts ...Act) {
	for _, a := range acts {
		if !l.single && a.Event.Kind == event.LoanRepaid && l.rng.IntN(50) == 0 {
			l.refuse(a)
		}
		l.queue = append(l.queue, a)
	}
}

// refuse queues an act that the ledger refused and its withdrawal.
func (l *Lender) refuse(a Act) {
	refused := a
	refused.Event.ID = ident.Derive("event", a.Event.ID.String(), "refused")
	refused.Accounts, refused.Transfers = nil, nil
	l.queue = append(l.queue, refused, withdrawal(&refused.Event))
}

func withdrawal(e *event.Event) Act {
	c := *e
	c.ID = ident.Derive("event", event.EventCancelled, e.ID.String(), "")
	c.Kind, c.Cause = event.EventCancelled, e.ID
	c.Amounts, c.Flows = nil, nil
	c.Facts = map[string]string{"reason": "exceeds_credits"}
	return Act{Event: c}
}

// apply queues the events of one application: received and decided, and where it is approved the
// limit, the reservation, the contract and the pay-out.
func (l *Lender) apply() {
	l.started++
	number := l.name + "/" + strconv.FormatUint(l.seed, 10) + "/" + strconv.Itoa(l.started)
	s := subject{
		application: ident.Derive("drill", "application", number),
		customer:    ident.Derive("drill", "customer", number),
		trace:       ident.Derive("drill", "trace", number),
		product:     l.name, currency: l.currency,
	}
	var free uint64
	if n := len(l.returned); n > 0 && !l.single && l.rng.IntN(4) == 0 {
		s.customer, free = l.returned[n-1].id, l.returned[n-1].free
		l.returned = l.returned[:n-1]
	}
	principal := uint64(1000_00 + 100_00*l.rng.IntN(2900))
	received := s.event(event.ApplicationReceived, "", l.today)
	received.Amounts["requested"] = minor(principal)
	received.Facts["key"], received.Facts["origin"] = number, "synthetic"
	l.queue = append(l.queue, Act{Event: received})
	if !l.single && l.rng.IntN(10) == 0 {
		l.decide(&s, "decline", "", 0)
		return
	}
	if !l.single && l.rng.IntN(25) == 0 {
		l.decide(&s, "refer", "person", 0)
	}
	b := l.contract(&s, principal, number)
	var decided ident.ID
	if l.single || l.rng.IntN(2) == 0 { // some services decide first, and some reserve first
		decided = l.decide(&s, "approve", "", principal)
		l.limits(&s, b, free)
	} else {
		l.limits(&s, b, free)
		decided = l.decide(&s, "approve", "", principal)
	}
	l.sign(b, decided)
	heap.Push(&l.loans, b)
}

func (l *Lender) decide(s *subject, outcome, discriminator string, offered uint64) ident.ID {
	e := s.event(event.ApplicationDecided, discriminator, l.today)
	e.Facts["outcome"] = outcome
	e.Amounts["offered"], e.Amounts["limit"] = minor(offered), minor(offered)
	l.queue = append(l.queue, Act{Event: e})
	return e.ID
}

// limits queues the grant of what the customer's limit lacks, and the reservation.
func (l *Lender) limits(s *subject, b *borrower, free uint64) {
	if free < b.lent {
		granted := s.event(event.LimitGranted, "", l.today)
		granted.Amounts["limit"] = minor(b.lent - free)
		l.pushPosted(granted)
	}
	if !l.single && l.rng.IntN(60) == 0 { // a reservation that lapses, and another one
		lapsed := s.event(event.LimitReserved, "lapsed", l.today)
		lapsed.Amounts["principal"] = minor(b.lent)
		lapsed.Facts["timeout_seconds"] = "1"
		refused := Act{Event: lapsed}
		l.queue = append(l.queue, refused, withdrawal(&lapsed))
	}
	reserved := s.event(event.LimitReserved, "", l.today)
	reserved.Amounts["principal"] = minor(b.lent)
	reserved.Facts["timeout_seconds"] = "86400"
	b.reserve = transferID(reserved.ID, 1)
	l.pushPosted(reserved)
}

func (l *Lender) pushPosted(e event.Event) {
	a := Act{Event: e}
	a.post()
	l.queue = append(l.queue, a)
}

// contract draws up a loan.
func (l *Lender) contract(s *subject, principal uint64, number string) *borrower {
	b := &borrower{rng: l.rng, subject: *s, habit: habit(l.rng.IntN(int(habits))),
		count: dayCounts[l.rng.IntN(len(dayCounts))], stops: l.rng.IntN(2) == 0,
		next: l.rng.IntN(2) == 0, start: l.today, accruedTo: l.today,
		term: 3 + l.rng.IntN(10), lent: principal}
	if l.single {
		b.habit = l.habit
	}
	b.subject.loan = ident.Derive("drill", "loan", number)
	b.rate = uint64(l.rng.IntN(2400)) * 10_000_000
	if l.single {
		b.rate = max(b.rate, 3_000_000_000) // so that a fault in interest shows in minor units
	}
	b.payment = annuity(principal, b.rate, b.term)
	b.fee = principal * uint64(l.rng.IntN(3)) * 5 / 1000
	for i := range b.term {
		b.feeParts = append(b.feeParts, b.fee*uint64(i+1)/uint64(b.term)-b.fee*uint64(i)/uint64(b.term))
	}
	b.wake = b.dueDate(1)
	return b
}

// sign queues the contract and the pay-out.
func (l *Lender) sign(b *borrower, decision ident.ID) {
	e := b.subject.event(event.ContractSigned, "", l.today)
	e.Cause = decision
	left, from := b.lent, b.start
	var interest, total uint64
	var payments []uint64
	for i := range b.term {
		due := b.dueDate(i + 1)
		f := event.Flow{Due: due}
		part := interestOn(left, b.rate, yearsBetween(b.count, from, due, from, due))
		principal := left
		if i+1 < b.term {
			principal = min(left, b.payment-min(b.payment, part))
		}
		f.Interest, f.Principal, f.Payment = minor(part), minor(principal), minor(part+principal)
		e.Flows = append(e.Flows, f)
		interest, total = interest+part, total+part+principal
		payments = append(payments, part+principal)
		left, from = left-principal, due
	}
	effective, nominal := annualRates(payments, b.lent-b.fee)
	e.Amounts = map[string]money.Amount{"principal": minor(b.lent), "fee": minor(b.fee),
		"total_interest": minor(interest), "total_payable": minor(total)}
	e.Facts = b.terms(effective, nominal)
	l.queue = append(l.queue, Act{Event: e})
	paid := b.subject.event(event.LoanDisbursed, "", l.today)
	paid.Cause = e.ID
	paid.Amounts["principal"], paid.Amounts["fee"] = minor(b.lent), minor(b.fee)
	paid.Facts["reserve"] = b.reserve.String()
	b.outstanding, b.deferred = b.lent, b.fee
	l.queue = append(l.queue, b.act(paid))
}

// terms are the facts of a contract.
func (b *borrower) terms(effective, nominal uint64) map[string]string {
	overdue, sooner := "accrues", "shorten"
	if b.stops {
		overdue = "stops"
	}
	if b.next {
		sooner = "next"
	}
	return map[string]string{
		"annual_rate_percent": percent(b.rate), "term": strconv.Itoa(b.term), "day_count": b.count,
		"apr_eu_micro_percent": strconv.FormatUint(effective, 10),
		"apr_us_micro_percent": strconv.FormatUint(nominal, 10),
		"first_due":            b.dueDate(1).String(), "disbursed_on": b.start.String(),
		"rounding": "half_even", "overdue_interest": overdue, "early_repayment": sooner,
		"allocation":           "penalty,interest,principal",
		"penalty_rate_percent": percent(penaltyRate), "penalty_day_count": "act_360",
	}
}

// loanHeap orders loans by the day on which something happens next.
type loanHeap []*borrower

func (h loanHeap) Len() int { return len(h) }
func (h loanHeap) Less(i, j int) bool {
	if h[i].wake != h[j].wake {
		return h[i].wake < h[j].wake
	}
	return h[i].subject.loan.Less(h[j].subject.loan)
}
func (h loanHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *loanHeap) Push(x any)   { *h = append(*h, x.(*borrower)) }
func (h *loanHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
