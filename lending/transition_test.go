package lending

import (
	"testing"

	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
)

// attempt is a transition under test: its loan and everything about the call that can be wrong.
type attempt struct {
	loan   Loan
	event  Event
	amount money.Amount
}

// refusals starts with every defect and mends one a row: the answers must come in the order of the
// results' numbers.
func refusals(t *testing.T, name string, a attempt, do func(a *attempt) (Loan, Act, Result),
	mend []func(a *attempt), want []Result) {
	t.Helper()
	for i := 0; ; i++ {
		before := string(a.loan.Encode())
		next, act, result := do(&a)
		if result != want[i] {
			t.Fatalf("%s: after %d repairs %s, want %s", name, i, result, want[i])
		}
		if i > 0 && want[i] != Applied && want[i] <= want[i-1] {
			t.Fatalf("%s: %s does not follow %s", name, want[i], want[i-1])
		}
		if result == Applied {
			return
		}
		if len(act.Legs) != 0 || string(next.Encode()) != before || string(a.loan.Encode()) != before {
			t.Fatalf("%s: %s, yet something changed", name, result)
		}
		mend[i](&a)
	}
}

// full gives a loan as many events as one can have.
func full(l Loan) Loan {
	l.Events = nil
	for i := range uint64(eventsMax) {
		l.Events = append(l.Events, ident.ID{Hi: 99, Lo: i + 1})
	}
	return l
}

func TestRefusalsInOrder(t *testing.T) {
	p := Merchant310()
	p.OverdueInterest = OverdueAccrues
	b := lend(t, p, Offer{minor(t, "10000"), MustRate("12"), 12, date(t, "2026-01-15")})
	active := b.loan
	approved := NewLoan(active.Contract)
	fresh := ident.ID{Hi: 50, Lo: 1}
	b.pass(date(t, "2026-02-15"))
	billed := b.loan
	late := date(t, "2026-03-10")

	giveID := func(a *attempt) { a.event.ID = ident.ID{Hi: 99, Lo: 1} }
	newID := func(a *attempt) { a.event.ID = fresh }
	become := func(l Loan) func(*attempt) { return func(a *attempt) { a.loan = l } }
	at := func(on clock.Date) func(*attempt) { return func(a *attempt) { a.event.On = on } }
	pay := func(minor uint64) func(*attempt) { return func(a *attempt) { a.amount = money.Minor(minor) } }
	charge := func(a *attempt) {
		next, _, result := a.loan.ChargePenalty(Event{ident.ID{Hi: 51}, a.event.On})
		if result != Applied {
			t.Fatal(result)
		}
		a.loan = next
	}
	accrue := func(a *attempt) {
		next, _, result := a.loan.Accrue(Event{ident.ID{Hi: 52}, a.event.On})
		if result != Applied {
			t.Fatal(result)
		}
		a.loan = next
	}
	start := attempt{loan: full(approved), event: Event{On: date(t, "2026-01-01")}}

	refusals(t, "repay", start, func(a *attempt) (Loan, Act, Result) { return a.loan.Repay(a.event, a.amount) },
		[]func(*attempt){giveID, newID, become(approved), become(active), at(date(t, "2026-02-20")),
			pay(1 << 62), pay(2_000_00), become(billed), charge, accrue},
		[]Result{EventIDMissing, EventRepeated, EventsFull, StatusWrong, DateEarlier, AmountMissing,
			AmountTooGreat, InstalmentNotDue, PenaltyNotCharged, InterestNotAccrued, Applied})

	refusals(t, "accrue", start, func(a *attempt) (Loan, Act, Result) { return a.loan.Accrue(a.event) },
		[]func(*attempt){giveID, newID, become(approved), become(active), at(late),
			at(date(t, "2026-01-15")), at(date(t, "2026-02-15"))},
		[]Result{EventIDMissing, EventRepeated, EventsFull, StatusWrong, DateEarlier, InstalmentNotDue,
			NothingToDo, Applied})

	refusals(t, "penalty", start, func(a *attempt) (Loan, Act, Result) { return a.loan.ChargePenalty(a.event) },
		[]func(*attempt){giveID, newID, become(approved), become(billed), at(date(t, "2026-03-15")),
			at(date(t, "2026-02-18")), at(date(t, "2026-02-19"))},
		[]Result{EventIDMissing, EventRepeated, EventsFull, StatusWrong, DateEarlier, InstalmentNotDue,
			NothingToDo, Applied})

	refusals(t, "disburse", start, func(a *attempt) (Loan, Act, Result) { return a.loan.Disburse(a.event, fresh) },
		[]func(*attempt){giveID, newID, become(active), become(approved), at(date(t, "2026-01-15"))},
		[]Result{EventIDMissing, EventRepeated, EventsFull, StatusWrong, DateEarlier, Applied})
	if _, _, result := approved.Disburse(Event{fresh, date(t, "2026-01-15")}, ident.ID{}); result != EventIDMissing {
		t.Errorf("disbursing without a reservation: %s", result)
	}
	refusals(t, "cancel", start, func(a *attempt) (Loan, Act, Result) { return a.loan.Cancel(a.event, fresh) },
		[]func(*attempt){giveID, newID, become(active), become(approved), at(late)},
		[]Result{EventIDMissing, EventRepeated, EventsFull, StatusWrong, DateEarlier, Applied})
	testRefusalsAtTheEnd(t, start, b, fresh)
}

// testRefusalsAtTheEnd goes through the transitions that end a loan.
func testRefusalsAtTheEnd(t *testing.T, start attempt, b *borrower, fresh ident.ID) {
	giveID := func(a *attempt) { a.event.ID = ident.ID{Hi: 99, Lo: 1} }
	newID := func(a *attempt) { a.event.ID = fresh }
	become := func(l Loan) func(*attempt) { return func(a *attempt) { a.loan = l } }
	at := func(on clock.Date) func(*attempt) { return func(a *attempt) { a.event.On = on } }
	pay := func(minor uint64) func(*attempt) { return func(a *attempt) { a.amount = money.Minor(minor) } }
	approved, active := NewLoan(b.loan.Contract), b.loan
	b.pay(date(t, "2026-02-20"), plus(b.loan.Payoff(date(t, "2026-02-20")).Total, money.Minor(500)))
	repaid := b.loan
	amortised, _, result := repaid.AmortiseFee(Event{ident.ID{Hi: 60}, repaid.On})
	if result != Applied {
		t.Fatal(result)
	}
	refusals(t, "close", start, func(a *attempt) (Loan, Act, Result) { return a.loan.Close(a.event) },
		[]func(*attempt){giveID, newID, become(approved), become(active), at(repaid.On), become(repaid),
			become(amortised)},
		[]Result{EventIDMissing, EventRepeated, EventsFull, StatusWrong, DateEarlier, StillOwed,
			FeeDeferred, Applied})
	refusals(t, "amortise", start, func(a *attempt) (Loan, Act, Result) { return a.loan.AmortiseFee(a.event) },
		[]func(*attempt){giveID, newID, become(approved), become(amortised), at(repaid.On), become(active),
			become(repaid)},
		[]Result{EventIDMissing, EventRepeated, EventsFull, StatusWrong, DateEarlier, NothingToDo,
			StillOwed, Applied})
	refusals(t, "refund", start, func(a *attempt) (Loan, Act, Result) { return a.loan.Refund(a.event, a.amount) },
		[]func(*attempt){giveID, newID, become(approved), become(repaid), at(repaid.On), pay(501), pay(500)},
		[]Result{EventIDMissing, EventRepeated, EventsFull, StatusWrong, DateEarlier, AmountMissing,
			MoreThanOverpaid, Applied})

	b.loan = active
	lost := active
	for lost.Status == Active {
		next, more := lost.NextAction(lost.On)
		if !more {
			t.Fatal("nothing to come")
		}
		for step, more := lost.Step(next); more && lost.Status == Active; step, more = lost.Step(next) {
			before := lost
			if lost, _, result = lost.Take(step, step.Event(testLoan)); result != Applied {
				t.Fatal(result)
			}
			if lost.Status == WrittenOff {
				active = before
			}
		}
	}
	end := lost.On
	refusals(t, "write off", start, func(a *attempt) (Loan, Act, Result) { return a.loan.WriteOff(a.event) },
		[]func(*attempt){giveID, newID, become(approved), become(active), at(end + 40), at(active.On), at(end)},
		[]Result{EventIDMissing, EventRepeated, EventsFull, StatusWrong, DateEarlier, InstalmentNotDue,
			NotLateEnough, Applied})
	refusals(t, "recover", start, func(a *attempt) (Loan, Act, Result) { return a.loan.Recover(a.event, a.amount) },
		[]func(*attempt){giveID, newID, become(active), become(lost), at(end), pay(1 << 62),
			pay(lost.WrittenOff.Lo + 1), pay(lost.WrittenOff.Lo)},
		[]Result{EventIDMissing, EventRepeated, EventsFull, StatusWrong, DateEarlier, AmountMissing,
			AmountTooGreat, MoreThanLost, Applied})
}

// 100 at 7 percent in 6 months: 50.00 is paid on the first due date, of which 17.01 is due. What
// each rule makes of the other 32.99, worked out by hand: 83.57 - 32.99 = 50.58 is left.
func TestEarlyRepaymentRules(t *testing.T) {
	for _, row := range []struct {
		rule EarlyRepayment
		want []rowText
	}{
		// One instalment is prepaid in full and 15.98 of the next, where two months' interest waits.
		{EarlyNext, []rowText{{"1.03", "0.60", "0.43", "50.15"}, {"17.01", "0.29", "16.72", "33.43"},
			{"17.01", "0.20", "16.81", "16.62"}, {"16.72", "0.10", "16.62", "0.00"}}},
		{EarlyShorten, []rowText{{"17.01", "0.30", "16.71", "33.87"}, {"17.01", "0.20", "16.81", "17.06"},
			{"17.01", "0.10", "16.91", "0.15"}, {"0.15", "0.00", "0.15", "0.00"}}},
		// 50.58 in five instalments is 10.29 each.
		{EarlyReamortise, []rowText{{"10.29", "0.30", "9.99", "40.59"}, {"10.29", "0.24", "10.05", "30.54"},
			{"10.29", "0.18", "10.11", "20.43"}, {"10.29", "0.12", "10.17", "10.26"},
			{"10.32", "0.06", "10.26", "0.00"}}},
	} {
		b := fineractLoan(t, func(p *Product) { p.EarlyRepayment = row.rule })
		b.pay(date(t, "2024-02-01"), minor(t, "50.00"))
		if b.loan.Principal != minor(t, "50.58") {
			t.Fatalf("%s leaves %s", row.rule, b.loan.Principal)
		}
		compareRows(t, row.rule.String(), b.loan.Outlook(b.loan.On), row.want)
	}
}

// Paying the coming instalment three days early settles it under EarlyNext: nothing is due on the
// day, and the interest of the three days waits for the next.
func TestPaidAhead(t *testing.T) {
	b := fineractLoan(t, func(p *Product) { p.EarlyRepayment = EarlyNext })
	b.pay(date(t, "2024-01-29"), minor(t, "17.01"))
	b.pass(date(t, "2024-02-01"))
	if due := b.loan.DueNow(); !due.IsZero() || b.loan.DaysPastDue(date(t, "2024-02-20")) != 0 {
		t.Errorf("%s is due", due)
	}
	b.pass(date(t, "2024-03-01"))
	if due := b.loan.DueNow(); due != minor(t, "17.01") {
		t.Errorf("%s is due in March", due)
	}
}

// Where overdue principal bears no ordinary interest, a month's interest is that of the schedule
// however late the borrower is, and the penalty is by day from the due date once the days of grace
// are over.
func TestPenaltyAndGrace(t *testing.T) {
	b := fineractLoan(t, func(p *Product) {
		p.OverdueInterest, p.PenaltyRate, p.GraceDays = OverdueStops, MustRate("360"), 3
	})
	on := date(t, "2024-02-01")
	b.pass(on)
	for _, row := range []struct {
		days int
		want string
	}{{0, "0"}, {3, "0"}, {4, "0.66"}, {10, "1.64"}, {28, "4.60"}} { // 16.43 at 1 percent a day
		if q := b.loan.Payoff(on.AddDays(row.days)); q.Penalty != minor(t, row.want) {
			t.Errorf("after %d days a penalty of %s, want %s", row.days, q.Penalty, row.want)
		}
	}
	b.pass(date(t, "2024-03-01"))
	if got := b.loan.Dues[1].Interest; got != minor(t, "0.49") {
		t.Errorf("interest of the second month is %s, the schedule has 0.49", got)
	}
	// A part payment pays the penalty first, 4.76 of 1 March and 0.16 of the day after, then the
	// oldest interest.
	b.pay(date(t, "2024-03-02"), minor(t, "5.50"))
	act := b.acts[len(b.acts)-1]
	if act.Penalty != minor(t, "4.92") || act.Interest != minor(t, "0.58") || !act.Principal.IsZero() {
		t.Errorf("5.50 pays %s, %s, %s", act.Penalty, act.Interest, act.Principal)
	}
	if act.DuePenalty != minor(t, "4.92") || act.DueInterest != minor(t, "1.07") {
		t.Errorf("before it %s and %s were due", act.DuePenalty, act.DueInterest)
	}
}

// The bucket changes on the 1st, 31st, 61st and 91st day.
func TestBuckets(t *testing.T) {
	for _, row := range []struct {
		days int
		want string
	}{{-1, "current"}, {0, "current"}, {1, "1-30"}, {30, "1-30"}, {31, "31-60"}, {60, "31-60"},
		{61, "61-90"}, {90, "61-90"}, {91, "90+"}, {4000, "90+"}} {
		if got := BucketOf(row.days).String(); got != row.want {
			t.Errorf("%d days: %s, want %s", row.days, got, row.want)
		}
	}
}

// A payoff quoted for a later day counts the instalments that fall due and the penalties until
// then, and paying it on that day closes the loan.
func TestPayoffAhead(t *testing.T) {
	b := lend(t, Merchant310(), Offer{minor(t, "10000"), MustRate("12"), 12, date(t, "2026-01-31")})
	on := date(t, "2026-05-07")
	q := b.loan.Payoff(on)
	if q.Penalty.IsZero() || q.Principal != minor(t, "10000") || q.Total != plus(q.Principal,
		plus(q.Interest, q.Penalty)) {
		t.Fatalf("quote %+v", q)
	}
	if early := b.loan.Payoff(b.loan.On - 1); !early.Total.IsZero() {
		t.Errorf("a quote for the past: %+v", early)
	}
	// Charged once at the end, as the quote does, not every week.
	for due, more := b.loan.NextDue(); more && due <= on; due, more = b.loan.NextDue() {
		b.done(b.loan.Accrue(b.event(due)))
	}
	b.pay(on, q.Total)
	b.pass(on)
	if b.loan.Status != Closed || !b.loan.Overpaid.IsZero() {
		t.Errorf("the loan is %s, overpaid %s", b.loan.Status, b.loan.Overpaid)
	}
}
