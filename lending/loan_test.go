package lending

import (
	"testing"

	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"

	"pgregory.net/rapid"
)

// books sums the postings of one loan by class, in both directions, as a ledger would.
type books map[Class]int64

func (b books) post(t tester, legs []Posting) {
	for _, p := range legs {
		minor, fits := p.Amount.Uint64()
		if !fits || minor == 0 {
			t.Fatalf("leg %d moves %s", p.Leg, p.Amount)
		}
		if p.Mode == Pending || p.Mode == VoidPending {
			continue
		}
		b[p.Debit.Class] += int64(minor)
		b[p.Credit.Class] -= int64(minor)
	}
}

// hold compares a loan's balances with the books.
func (b books) hold(t tester, l *Loan) {
	drawn := money.Amount{}
	if l.Status == Active || l.Status == WrittenOff {
		drawn = l.Contract.Offer.Principal
	}
	for _, row := range []struct {
		class Class
		want  money.Amount
		sign  int64
	}{
		{ClassPrincipal, l.Principal, 1}, {ClassInterest, l.Interest, 1}, {ClassPenalty, l.Penalty, 1},
		{ClassOverpaid, l.Overpaid, -1}, {ClassDeferredFee, l.DeferredFee, -1},
		{ClassDisbursing, money.Amount{}, 1}, {ClassRepaying, money.Amount{}, 1},
		{ClassBadDebt, l.WrittenOff, 1}, {ClassRecovery, l.Recovered, -1}, {ClassDrawn, drawn, -1},
	} {
		if got := b[row.class] * row.sign; got != int64(row.want.Lo) {
			info, _ := row.class.Info()
			t.Fatalf("the books have %d in %s, the loan %s", got, info.Name, row.want)
		}
	}
	var sum int64
	for class, balance := range b {
		sum += balance
		_ = class
	}
	if sum != 0 {
		t.Fatalf("debits exceed credits by %d", sum)
	}
}

// borrower drives a loan and keeps its books.
type borrower struct {
	tester
	loan  Loan
	books books
	count uint64
	acts  []Act
	to    clock.Date // up to which interest was accrued
}

func (b *borrower) event(on clock.Date) Event {
	b.count++
	return Event{ID: ident.ID{Hi: 7, Lo: b.count}, On: on}
}

// done takes over a transition that must have been applied.
func (b *borrower) done(next Loan, act Act, result Result) {
	b.Helper()
	if result != Applied {
		b.Fatalf("%s", result)
	}
	b.loan = next
	b.books.post(b, act.Legs)
	b.books.hold(b, &b.loan)
	b.acts = append(b.acts, act)
	switch act.Kind {
	case LoanDisbursed:
		b.to = act.On
	case InterestAccrued: // no day twice, none left out
		if act.From != b.to || act.To < act.From {
			b.Fatalf("interest for [%s, %s) after %s", act.From, act.To, b.to)
		}
		b.to = act.To
	}
}

func (b *borrower) on(text string) clock.Date { return date(b, text) }

// pass applies every step that time asks for up to the date.
func (b *borrower) pass(to clock.Date) {
	b.Helper()
	for range 2_000 {
		step, more := b.loan.Step(to)
		if !more {
			return
		}
		b.done(b.loan.Take(step, step.Event(b.loan.Contract.Loan)))
	}
	b.Fatal("time asks for steps without end")
}

// pay repays on a date, with what has to be entered before.
func (b *borrower) pay(on clock.Date, amount money.Amount) {
	b.Helper()
	b.pass(on)
	for {
		next, act, result := b.loan.ChargePenalty(b.event(on))
		if result == NothingToDo {
			break
		}
		b.done(next, act, result)
	}
	if b.loan.NeedsAccrual(on, amount) {
		b.done(b.loan.Accrue(b.event(on)))
	}
	b.done(b.loan.Repay(b.event(on), amount))
}

var (
	testLoan     = ident.ID{Hi: 1, Lo: 1}
	testReserve  = ident.ID{Hi: 1, Lo: 2}
	testCustomer = ident.ID{Hi: 1, Lo: 3}
)

// lend makes a contract and disburses it.
func lend(t tester, p Product, o Offer) *borrower {
	t.Helper()
	c, err := NewContract(Parties{Loan: testLoan, Application: ident.ID{Lo: 5}, Customer: testCustomer}, p, o)
	if err != nil {
		t.Fatal(err)
	}
	b := &borrower{tester: t, loan: NewLoan(&c), books: books{}}
	b.done(b.loan.Disburse(b.event(o.Start), testReserve))
	return b
}

// fineractLoan is 100 at 7 percent in 6 months from 2024-01-01, by twelfths of a year, half even.
func fineractLoan(t tester, edit func(*Product)) *borrower {
	p := Merchant310()
	p.AmountMin, p.AmountStep, p.FeePermille = money.Minor(100_00), money.Minor(1), 0
	p.TermMax, p.InstalmentRounding = 12, RoundHalfEven
	p.PenaltyRate, p.OverdueInterest = 0, OverdueAccrues
	if edit != nil {
		edit(&p)
	}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	return lend(t, p, Offer{minor(t, "100"), MustRate("7"), 6, date(t, "2024-01-01")})
}

// apache/fineract @4198b0bcf9a94e1c7aa0f386317ba71f40ceb1d9 (Apache-2.0), fineract-e2e-tests-runner
// features/Loan.feature "Early pay-off loan with interest, TILL_PRECLOSE product": 17.01 on
// 2024-02-01, then closed on 2024-02-15 with interest for 14 of 29 days.
func TestFineractEarlyPayoff(t *testing.T) {
	b := fineractLoan(t, nil)
	b.pay(b.on("2024-02-01"), minor(t, "17.01"))
	on := b.on("2024-02-15")
	q := b.loan.Payoff(on)
	if q.Total != minor(t, "83.81") || q.Principal != minor(t, "83.57") || q.Interest != minor(t, "0.24") {
		t.Fatalf("payoff is %+v", q)
	}
	b.pay(on, q.Total)
	b.pass(on)
	if b.loan.Status != Closed || !b.loan.Overpaid.IsZero() {
		t.Errorf("the loan is %s, overpaid %s", b.loan.Status, b.loan.Overpaid)
	}
}

// The same source, "Interest recalculation - S1 daily for overdue loan" and "S2 2 overdue":
// interest runs on all unpaid principal and the last instalment takes what is left.
func TestFineractOverdue(t *testing.T) {
	b := fineractLoan(t, nil)
	compareRows(t, "S1", b.loan.Outlook(b.on("2024-07-15"))[:6], []rowText{
		{"17.01", "0.58", "16.43", "83.57"}, {"17.01", "0.58", "16.43", "67.14"},
		{"17.01", "0.58", "16.43", "50.71"}, {"17.01", "0.58", "16.43", "34.28"},
		{"17.01", "0.58", "16.43", "17.85"}, {"18.43", "0.58", "17.85", "0.00"}})
	compareRows(t, "S2", b.loan.Outlook(b.on("2024-03-10")), []rowText{
		{"17.01", "0.58", "16.43", "83.57"}, {"17.01", "0.58", "16.43", "67.14"},
		{"17.01", "0.45", "16.56", "50.58"}, {"17.01", "0.30", "16.71", "33.87"},
		{"17.01", "0.20", "16.81", "17.06"}, {"17.16", "0.10", "17.06", "0.00"}})
	b.pass(b.on("2024-07-15"))
	if days := b.loan.DaysPastDue(b.on("2024-07-15")); days != 165 || b.loan.Bucket(b.loan.On+14) != BucketOver90 {
		t.Errorf("%d days past due", days)
	}
}

// A loan paid on its days follows its schedule to the last minor unit, whatever the product.
func TestLoanFollowsSchedule(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p, o := offers(rt)
		c, err := NewContract(Parties{testLoan, testLoan, testCustomer, Digest{}}, p, o)
		if err != nil {
			return // TestScheduleModel looks at those
		}
		b := &borrower{tester: rt, loan: NewLoan(&c), books: books{}}
		b.done(b.loan.Disburse(b.event(o.Start), testReserve))
		for _, row := range c.Schedule.Rows {
			before := b.loan.DeferredFee
			b.pass(row.Due)
			if len(b.loan.Dues) != 1 || b.loan.Dues[0].Interest != row.Interest ||
				b.loan.Dues[0].Principal != row.Principal || minus(before, b.loan.DeferredFee) != row.Fee {
				rt.Fatalf("due on %s is %+v, the schedule has %+v", row.Due, b.loan.Dues, row)
			}
			b.pay(row.Due, row.Payment)
			if b.loan.Principal != row.Balance {
				rt.Fatalf("after row %d %s is left, the schedule has %s", row.Number, b.loan.Principal,
					row.Balance)
			}
		}
		b.pass(c.Maturity())
		if b.loan.Status != Closed || b.loan.Paid != c.TotalPayable {
			rt.Fatalf("the loan is %s after paying %s of %s", b.loan.Status, b.loan.Paid, c.TotalPayable)
		}
	})
}

// Whatever a borrower does, the balances equal the sums of the postings, nothing is negative, what
// is encoded is decoded to the same, a repeated event changes nothing, and in the end the loan is
// closed or written off with nothing left.
func TestLoanModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p, o := offers(rt)
		p.GraceDays = rapid.IntRange(0, 5).Draw(rt, "days of grace")
		p.PenaltyEveryDays = rapid.IntRange(1, 31).Draw(rt, "penalty every")
		p.WriteOffDays = rapid.IntRange(30, 200).Draw(rt, "write off")
		p.Allocation = rapid.SampledFrom([][4]Component{{Penalty, Fee, Interest, Principal},
			{Principal, Interest, Penalty, Fee}, {Interest, Fee, Principal, Penalty}}).Draw(rt, "order")
		o.Months = min(o.Months, 24)
		c, err := NewContract(Parties{testLoan, testLoan, testCustomer, Digest{}}, p, o)
		if err != nil {
			return
		}
		b := &borrower{tester: rt, loan: NewLoan(&c), books: books{}}
		b.done(b.loan.Disburse(b.event(o.Start), testReserve))
		on := o.Start
		for range rapid.IntRange(1, 60).Draw(rt, "acts") {
			if b.loan.Status != Active {
				break
			}
			on += clock.Date(rapid.IntRange(0, 40).Draw(rt, "days"))
			b.act(rt, on)
			b.roundTrip(rt)
		}
		b.finish(rt, on)
	})
}

// act is one of the things a borrower, or a careless caller, does.
func (b *borrower) act(rt *rapid.T, on clock.Date) {
	switch rapid.IntRange(0, 7).Draw(rt, "act") {
	case 0: // nothing is paid
		b.pass(on)
	case 1, 2: // what is due
		b.pass(on)
		if due := b.loan.DueNow(); b.loan.Status == Active && !due.IsZero() {
			b.pay(on, due)
		}
	case 3, 4: // any amount
		b.pass(on)
		if b.loan.Status == Active {
			limit := max(2*b.loan.Instalment.Lo, 2)
			b.pay(on, money.Minor(rapid.Uint64Range(1, limit).Draw(rt, "amount")))
		}
	case 5: // all of it
		b.pass(on)
		if q := b.loan.Payoff(on); b.loan.Status == Active && !q.Total.IsZero() {
			b.pay(on, q.Total)
			if !b.loan.Owed().IsZero() || !b.loan.Overpaid.IsZero() {
				rt.Fatalf("%s was to close the loan, %s is owed, %s overpaid", q.Total, b.loan.Owed(),
					b.loan.Overpaid)
			}
		}
	case 6: // an accrual between due dates
		b.pass(on)
		if next, act, result := b.loan.Accrue(b.event(on)); result == Applied {
			b.done(next, act, result)
		}
	case 7: // out of order: refused, and nothing changes
		next, act, result := b.loan.Repay(b.event(on), money.Minor(1))
		switch {
		case result == Applied:
			b.done(next, act, result)
		case len(act.Legs) != 0 || string(next.Encode()) != string(b.loan.Encode()):
			rt.Fatalf("%s, yet something changed", result)
		}
	}
}

// roundTrip encodes, decodes, and repeats the last event.
func (b *borrower) roundTrip(rt *rapid.T) {
	data := b.loan.Encode()
	again, err := DecodeLoan(data, b.loan.Contract)
	if err != nil || string(again.Encode()) != string(data) {
		rt.Fatalf("decoded: %v", err)
	}
	last := Event{ID: b.loan.Events[len(b.loan.Events)-1], On: b.loan.On}
	if next, act, result := b.loan.Repay(last, money.Minor(1)); result != EventRepeated ||
		len(act.Legs) != 0 || string(next.Encode()) != string(data) {
		rt.Fatalf("a repeated event: %s", result)
	}
}

// finish lets the loan end: refunds what is overpaid, and otherwise waits for the write-off.
func (b *borrower) finish(rt *rapid.T, on clock.Date) {
	for range 2_000 {
		b.pass(on)
		if b.loan.Status != Active {
			break
		}
		next, more := b.loan.NextAction(on)
		if !more {
			rt.Fatalf("nothing is to come, yet the loan is %s and owes %s", b.loan.Status, b.loan.Owed())
		}
		on = next
	}
	if !b.loan.Overpaid.IsZero() {
		b.done(b.loan.Refund(b.event(b.loan.On), b.loan.Overpaid))
	}
	if b.loan.Status == WrittenOff && !b.loan.WrittenOff.IsZero() {
		b.done(b.loan.Recover(b.event(b.loan.On), b.loan.WrittenOff))
	}
	if ended := b.loan.Status == Closed || b.loan.Status == WrittenOff; !ended ||
		!b.loan.DeferredFee.IsZero() || !b.loan.Owed().IsZero() {
		rt.Fatalf("the loan ends %s, owes %s, fee %s", b.loan.Status, b.loan.Owed(), b.loan.DeferredFee)
	}
	in := plus(b.loan.Paid, b.loan.Recovered)
	cash := money.Minor(uint64(b.books[ClassBank]))
	income := -b.books[ClassInterestIncome] - b.books[ClassPenaltyIncome] - b.books[ClassRecovery] -
		b.books[ClassBadDebt]
	lent := b.loan.Contract.Offer.Principal
	if in.Less(cash) || int64(cash.Lo)+int64(b.loan.Contract.Schedule.Fee.Lo) != int64(lent.Lo)+income {
		rt.Fatalf("received %s net, earned %d on %s", cash, income, lent)
	}
}
