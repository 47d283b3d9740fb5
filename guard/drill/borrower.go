package drill

import (
	"math/big"
	"math/rand/v2"
	"strconv"

	"surety/api/event"
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
)

// habit is how a borrower pays.
type habit uint8

const (
	punctual  habit = iota // each instalment on its day
	early                  // all at once, in the middle of a month
	ahead                  // now and then more than is due
	partial                // two part payments a month
	late                   // some instalments late, with a penalty
	defaulter              // stops, is written off, pays a little in the end
	over                   // pays too much at the end and is refunded
	habits
)

// unpaid is an instalment that is due and not paid in full.
type unpaid struct {
	number              int
	on                  clock.Date
	interest, principal uint64
	penaltyTo           clock.Date
}

// borrower is one loan as a correct service keeps it.
type borrower struct {
	rng      *rand.Rand
	subject  subject
	habit    habit
	count    string
	rate     uint64 // 1e-9 percent
	stops    bool   // overdue principal bears no interest
	next     bool   // what is paid early counts toward the next instalments
	start    clock.Date
	term     int
	payment  uint64
	fee      uint64
	feeParts []uint64
	reserve  ident.ID

	lent, outstanding, interest, penalty, deferred, overpaid, lost uint64

	ahead     uint64
	dues      []unpaid
	fallen    int
	accruedTo clock.Date
	last      clock.Date
	wake      clock.Date // when something happens next
	pays      clock.Date // when the borrower pays next
	payments  int
	ended     bool
	written   bool
}

// subject is what the events of one loan have in common.
type subject struct {
	application, loan, customer, trace ident.ID
	product, currency                  string
}

func (s *subject) event(kind, discriminator string, on clock.Date) event.Event {
	about := s.loan
	if about.IsZero() {
		about = s.application
	}
	return event.Event{
		ID: ident.Derive("event", kind, about.String(), discriminator), Kind: kind, Date: on,
		Trace: s.trace, Application: s.application, Loan: s.loan, Customer: s.customer,
		Product: s.product, Currency: s.currency,
		Amounts: map[string]money.Amount{}, Facts: map[string]string{},
	}
}

func minor(n uint64) money.Amount { return money.Minor(n) }

func (b *borrower) dueDate(n int) clock.Date {
	_, _, day := b.start.Civil()
	return b.start.AddMonths(n, day)
}

func (b *borrower) overdue() (interest, principal uint64) {
	for _, d := range b.dues {
		interest, principal = interest+d.interest, principal+d.principal
	}
	return interest, principal
}

func (b *borrower) unbilled() uint64 {
	_, principal := b.overdue()
	return b.outstanding - principal
}

func (b *borrower) base() uint64 {
	if b.stops {
		return b.unbilled()
	}
	return b.outstanding
}

func (b *borrower) owed() uint64 { return b.outstanding + b.interest + b.penalty }

func (b *borrower) owing(to clock.Date) uint64 {
	begin, due := b.dueDate(b.fallen), b.dueDate(b.fallen+1)
	return interestOn(b.base(), b.rate, yearsBetween(b.count, b.accruedTo, to, begin, due))
}

// falls reports whether another instalment is to come.
func (b *borrower) falls() bool {
	interest, _ := b.overdue()
	return b.base() > 0 || b.interest > interest || b.unbilled() > 0
}

// accrue charges interest up to a day; on a due date the instalment falls due.
func (b *borrower) accrue(on clock.Date) Act {
	e := b.subject.event(event.InterestAccrued, on.String(), on)
	interest := b.owing(on)
	fallsDue := on == b.dueDate(b.fallen+1)
	var fee uint64
	if fallsDue && b.fallen < len(b.feeParts) {
		fee = min(b.feeParts[b.fallen], b.deferred)
	}
	e.Amounts["interest"], e.Amounts["fee_amortised"] = minor(interest), minor(fee)
	e.Amounts["balance"] = minor(b.base())
	b.interestFacts(&e, b.accruedTo, on)
	b.interest += interest
	b.deferred -= fee
	b.accruedTo = on
	if fallsDue {
		b.fall(on)
	}
	return b.act(e)
}

func (b *borrower) interestFacts(e *event.Event, from, to clock.Date) {
	e.Facts["from"], e.Facts["to"] = from.String(), to.String()
	e.Facts["annual_rate_percent"] = percent(b.rate)
	e.Facts["day_count"] = b.count
	e.Facts["number"] = strconv.Itoa(b.fallen + 1)
}

func (b *borrower) fall(on clock.Date) {
	due, _ := b.overdue()
	d := unpaid{number: b.fallen + 1, on: on, interest: b.interest - due, principal: b.unbilled(),
		penaltyTo: on}
	if b.fallen+1 < b.term {
		asked := b.payment - min(b.payment, b.ahead)
		if b.ahead > 0 {
			d.interest = min(d.interest, asked)
		}
		d.principal = min(d.principal, asked-min(asked, d.interest))
		b.ahead -= min(b.ahead, b.payment)
	} else {
		b.ahead = 0
	}
	b.fallen++
	if d.interest+d.principal > 0 {
		b.dues = append(b.dues, d)
	}
}

// penaltyRate is 21.6 percent, by actual days over 360, on overdue principal.
const penaltyRate = 21_600_000_000

func (b *borrower) penaltyOn(d *unpaid, on clock.Date) uint64 {
	if on.Sub(d.on) <= 3 {
		return 0
	}
	return interestOn(d.principal, penaltyRate, yearsBetween("act_360", d.penaltyTo, on, 0, 0))
}

// charge charges the penalties up to a day.
func (b *borrower) charge(on clock.Date) (acts []Act) {
	for i := range b.dues {
		d := &b.dues[i]
		penalty := b.penaltyOn(d, on)
		if penalty == 0 {
			continue
		}
		e := b.subject.event(event.PenaltyCharged, on.String()+"/"+strconv.Itoa(d.number), on)
		e.Amounts["penalty"], e.Amounts["overdue"] = minor(penalty), minor(d.principal)
		e.Facts["from"], e.Facts["to"] = d.penaltyTo.String(), on.String()
		e.Facts["annual_rate_percent"], e.Facts["day_count"] = percent(penaltyRate), "act_360"
		e.Facts["number"] = strconv.Itoa(d.number)
		b.penalty += penalty
		d.penaltyTo = on
		acts = append(acts, b.act(e))
	}
	return acts
}

// repay enters a payment, after the penalties and, where it reduces what bears interest, the
// interest up to the day.
func (b *borrower) repay(on clock.Date, amount uint64) []Act {
	acts := b.charge(on)
	trial := *b
	trial.dues = append([]unpaid(nil), b.dues...)
	trial.allocate(amount)
	if trial.base() != b.base() && on > b.accruedTo && b.owing(on) > 0 {
		acts = append(acts, b.accrue(on))
	}
	b.payments++
	e := b.subject.event(event.LoanRepaid, strconv.Itoa(b.payments), on)
	e.Amounts["total"], e.Amounts["due_penalty"] = minor(amount), minor(b.penalty)
	e.Amounts["outstanding"] = minor(b.outstanding)
	paid := b.allocate(amount)
	e.Amounts["penalty"], e.Amounts["interest"] = minor(paid.penalty), minor(paid.interest)
	e.Amounts["principal"], e.Amounts["overpaid"] = minor(paid.principal), minor(paid.overpaid)
	e.Amounts["due_interest"] = minor(paid.ranking)
	e.Facts["reference"] = "pay-" + b.subject.loan.String()[:16] + "-" + strconv.Itoa(b.payments)
	return append(acts, b.act(e))
}

type parts struct{ penalty, interest, principal, overpaid, ranking uint64 }

// allocate pays penalty, then due interest, then due principal, the oldest first, then what is not
// yet due.
func (b *borrower) allocate(rest uint64) (p parts) {
	take := func(from *uint64) uint64 {
		part := min(rest, *from)
		rest -= part
		*from -= part
		return part
	}
	due, _ := b.overdue()
	notYet := b.interest - due
	p.ranking = due
	p.penalty = take(&b.penalty)
	for i := range b.dues {
		p.interest += take(&b.dues[i].interest)
	}
	for i := range b.dues {
		p.principal += take(&b.dues[i].principal)
	}
	open := b.dues[:0]
	for _, d := range b.dues {
		if d.interest+d.principal > 0 {
			open = append(open, d)
		}
	}
	b.dues = open
	early := take(&notYet)
	p.ranking += early
	p.interest += early
	b.interest -= p.interest
	b.outstanding -= p.principal
	sooner := take(&b.outstanding)
	p.principal += sooner
	p.overpaid = rest
	b.overpaid += rest
	switch {
	case b.outstanding == 0:
		b.ahead = 0
	case b.next:
		b.ahead += early + sooner
	}
	return p
}

// finish earns the rest of the fee, closes the loan and refunds what is too much.
func (b *borrower) finish(on clock.Date) (acts []Act) {
	if b.deferred > 0 {
		e := b.subject.event(event.InterestAccrued, "fee", on)
		e.Amounts["interest"], e.Amounts["balance"] = minor(0), minor(0)
		e.Amounts["fee_amortised"] = minor(b.deferred)
		b.interestFacts(&e, b.accruedTo, b.accruedTo)
		b.deferred = 0
		acts = append(acts, b.act(e))
	}
	if b.written {
		return acts
	}
	e := b.subject.event(event.LoanClosed, "", on)
	e.Amounts["limit"] = minor(b.lent)
	acts = append(acts, b.act(e))
	b.ended = true
	if b.overpaid > 0 {
		r := b.subject.event(event.OverpaymentRefunded, "1", on)
		r.Amounts["amount"] = minor(b.overpaid)
		r.Facts["reference"] = "refund-" + b.subject.loan.String()[:16]
		b.overpaid = 0
		acts = append(acts, b.act(r))
	}
	return acts
}

func (b *borrower) writeOff(on clock.Date) []Act {
	acts := b.charge(on)
	e := b.subject.event(event.LoanWrittenOff, "", on)
	e.Amounts["principal"], e.Amounts["interest"] = minor(b.outstanding), minor(b.interest)
	e.Amounts["penalty"] = minor(b.penalty)
	e.Facts["days_past_due"] = strconv.Itoa(on.Sub(b.dues[0].on))
	b.lost = b.owed()
	b.outstanding, b.interest, b.penalty, b.dues, b.written = 0, 0, 0, nil, true
	return append(append(acts, b.act(e)), b.finish(on)...)
}

func (b *borrower) recover(on clock.Date) []Act {
	e := b.subject.event(event.LoanRecovered, "1", on)
	e.Amounts["amount"] = minor(b.lost / 3)
	e.Facts["reference"] = "recovery-" + b.subject.loan.String()[:16]
	b.ended = true
	if b.lost/3 == 0 {
		return nil
	}
	return []Act{b.act(e)}
}

// writeOffDays is how late a defaulter is written off.
const writeOffDays = 90

// step does what the day asks of the loan: it was due on b.wake, and may be done some days later.
func (b *borrower) step(today clock.Date) (acts []Act) {
	if b.written {
		return b.recover(today)
	}
	for b.falls() && b.dueDate(b.fallen+1) <= today {
		acts = append(acts, b.accrue(b.dueDate(b.fallen+1)))
		b.planPayment()
	}
	switch {
	case b.habit == defaulter && len(b.dues) > 0 && today.Sub(b.dues[0].on) >= writeOffDays:
		acts = append(acts, b.writeOff(today)...)
		b.wake = today.AddDays(30)
		return acts
	case b.pays <= today && b.pays > 0:
		if amount := b.amount(); amount > 0 {
			acts = append(acts, b.repay(today, amount)...)
		}
		b.pays = 0
		if b.habit == partial && b.owed() > 0 {
			b.pays = today.AddDays(9)
		}
	}
	if b.owed() == 0 {
		return append(acts, b.finish(today)...)
	}
	b.wake = b.dueDate(b.fallen + 1)
	if !b.falls() || b.pays > 0 && b.pays < b.wake {
		b.wake = max(b.pays, today.AddDays(1))
	}
	if b.habit == defaulter && len(b.dues) > 0 {
		b.wake = min(b.wake, max(today.AddDays(1), b.dues[0].on.AddDays(writeOffDays)))
	}
	return acts
}

// planPayment decides when the borrower pays what has just fallen due.
func (b *borrower) planPayment() {
	due := b.dueDate(b.fallen)
	b.pays = due
	switch b.habit {
	case early:
		if b.fallen > b.term/2 {
			b.pays = due.AddDays(3 + b.rng.IntN(20))
		}
	case late:
		if b.rng.IntN(3) == 0 {
			b.pays = due.AddDays(1 + b.rng.IntN(70))
		}
	case defaulter:
		if b.fallen > 2 {
			b.pays = 0
		}
	}
	if b.fallen >= b.term && b.pays < due {
		b.pays = due
	}
}

// amount decides how much the borrower pays.
func (b *borrower) amount() uint64 {
	interest, principal := b.overdue()
	due := b.penalty + interest + principal
	for i := range b.dues {
		due += b.penaltyOn(&b.dues[i], b.pays)
	}
	switch {
	case b.habit == early && b.fallen > b.term/2:
		return b.payoff()
	case b.habit == ahead && b.rng.IntN(3) == 0:
		return due + uint64(b.rng.IntN(50_000))
	case b.habit == partial:
		return max(due/2, min(due, 1000))
	case b.habit == over && b.fallen >= b.term:
		return due + 1 + uint64(b.rng.IntN(9999))
	}
	return due
}

// payoff is more than enough: what is too much is refunded.
func (b *borrower) payoff() uint64 {
	return b.owed() + b.outstanding/20 + uint64(b.rng.IntN(100))
}

func (b *borrower) act(e event.Event) Act {
	b.last = e.Date
	a := Act{Event: e}
	a.post()
	return a
}

// percent shows a rate of 1e-9 percent as a percentage.
func percent(rate uint64) string {
	r := new(big.Rat).SetFrac(new(big.Int).SetUint64(rate), big.NewInt(1_000_000_000))
	text := r.FloatString(9)
	for text[len(text)-1] == '0' {
		text = text[:len(text)-1]
	}
	if text[len(text)-1] == '.' {
		text = text[:len(text)-1]
	}
	return text
}
