package lending

import (
	"surety/base/clock"
	"surety/base/errs"
	"surety/base/invariant"
	"surety/base/money"
)

// Offer is what a schedule is made of besides the product: how much, at what rate, in how many
// monthly instalments, from which day of disbursement.
type Offer struct {
	Principal money.Amount
	Rate      Rate
	Months    int
	Start     clock.Date
}

// Schedule is the plan of a loan that is paid on every due date.
type Schedule struct {
	// Instalment is what every row but the last pays; the last pays what remains.
	Instalment money.Amount
	// Fee is the origination fee; its amortisation over the rows sums to it.
	Fee money.Amount
	// EffectiveRate is the annual rate, by the product's day count, at which the payments are
	// worth the principal less the fee. It spreads the fee over the rows (IFRS 9 section 5.4.1).
	EffectiveRate Rate
	// DueDay is the day of the month the due dates are anchored on.
	DueDay int
	Rows   []Row
}

// Row is one instalment. Payment = Interest + Principal; Balance is the principal still owed
// after it; Fee is the part of the deferred fee that becomes income with it, which nobody pays.
type Row struct {
	Number    int // from 1
	Due       clock.Date
	Days      int // actual days since the due date before, or since the start
	Interest  money.Amount
	Principal money.Amount
	Fee       money.Amount
	Payment   money.Amount
	Balance   money.Amount
}

// Interest returns the sum of the rows' interest.
func (s *Schedule) Interest() money.Amount {
	var sum money.Amount
	for i := range s.Rows {
		sum = plus(sum, s.Rows[i].Interest)
	}
	return sum
}

// Payments returns what the borrower pays and when.
func (s *Schedule) Payments() []Payment {
	list := make([]Payment, len(s.Rows))
	for i := range s.Rows {
		list[i] = Payment{On: s.Rows[i].Due, Amount: s.Rows[i].Payment}
	}
	return list
}

// Schedule returns the schedule of an offer under a valid product. The rows' principal sums to the
// offer's exactly, their fee to the fee. Errors are of kind Invalid: an amount, rate or term
// outside the product's, a start outside 1970 to 2400.
func (p *Product) Schedule(o Offer) (Schedule, error) {
	if err := p.admits(o); err != nil {
		return Schedule{}, err
	}
	first, day := p.firstDue(o.Start)
	years := make([]Fraction, o.Months)
	rows := make([]Row, o.Months)
	from := o.Start
	for i := range rows {
		due := first.AddMonths(i, day)
		years[i] = p.DayCount.Years(from, due)
		rows[i] = Row{Number: i + 1, Due: due, Days: due.Sub(from)}
		from = due
	}
	instalment, err := p.annuity(o.Principal, o.Rate, years).Instalment()
	if err != nil {
		return Schedule{}, err
	}
	if err := amortise(rows, o.Principal, o.Rate, years, instalment, p.Rounding); err != nil {
		return Schedule{}, err
	}
	s := Schedule{Instalment: instalment, EffectiveRate: o.Rate, DueDay: day, Rows: rows,
		Fee: p.feeOn(o.Principal)}
	if err := s.spreadFee(o.Principal, years); err != nil {
		return Schedule{}, err
	}
	s.check(o.Principal)
	return s, nil
}

// Instalment returns what every row but the last of the offer's schedule pays, without computing
// the rows. Errors are those of Schedule.
func (p *Product) Instalment(o Offer) (money.Amount, error) {
	if err := p.admits(o); err != nil {
		return money.Amount{}, err
	}
	first, day := p.firstDue(o.Start)
	years := make([]Fraction, o.Months)
	from := o.Start
	for i := range years {
		due := first.AddMonths(i, day)
		years[i] = p.DayCount.Years(from, due)
		from = due
	}
	return p.annuity(o.Principal, o.Rate, years).Instalment()
}

func (p *Product) annuity(principal money.Amount, rate Rate, years []Fraction) Annuity {
	return Annuity{Principal: principal, Rate: rate, Years: years, Step: p.InstalmentStep,
		Rounding: p.InstalmentRounding}
}

// admits reports why the product cannot make the offer.
func (p *Product) admits(o Offer) error {
	switch {
	case o.Principal.Less(p.AmountMin) || p.AmountMax.Less(o.Principal):
		return errs.New(errs.Invalid, "lending.schedule: amount is %s, %s lends %s to %s", o.Principal,
			p.Name, p.AmountMin, p.AmountMax)
	case !multipleOf(o.Principal, p.AmountStep):
		return errs.New(errs.Invalid, "lending.schedule: amount is %s, %s lends multiples of %s",
			o.Principal, p.Name, p.AmountStep)
	case o.Rate > p.RateMax:
		return errs.New(errs.Invalid, "lending.schedule: rate is %s percent, the limit of %s is %s",
			o.Rate, p.Name, p.RateMax)
	case o.Months < p.TermMin || o.Months > p.TermMax:
		return errs.New(errs.Invalid, "lending.schedule: term is %d months, %s lends for %d to %d",
			o.Months, p.Name, p.TermMin, p.TermMax)
	case o.Start < dateMin || o.Start > dateMax:
		return errs.New(errs.Invalid, "lending.schedule: start is %s, want %s to %s", o.Start, dateMin,
			dateMax)
	}
	return nil
}

func multipleOf(a, step money.Amount) bool {
	n, fitsN := a.Uint64()
	s, fitsS := step.Uint64()
	return fitsN && fitsS && s != 0 && n%s == 0
}

// feeOn returns the origination fee on the principal.
func (p *Product) feeOn(principal money.Amount) money.Amount {
	minor, _ := principal.Uint64() // at most principalMax
	fee, _ := times(minor, uint64(p.FeePermille), 1).divide(1000, p.Rounding)
	return money.Minor(fee)
}

// firstDue returns the first due date and the day of the month that all due dates are anchored on.
// With a DueDay it is the first such day at least FirstPeriodDaysMin days after the start, and
// never the start itself.
func (p *Product) firstDue(start clock.Date) (first clock.Date, day int) {
	if p.DueDay == 0 {
		_, _, day = start.Civil()
		return start.AddMonths(1, day), day
	}
	earliest := start.AddDays(max(1, p.FirstPeriodDaysMin))
	first = earliest.AddMonths(0, p.DueDay)
	if first < earliest {
		first = earliest.AddMonths(1, p.DueDay)
	}
	return first, p.DueDay
}

// amortise fills in the rows: each pays the interest on the balance and, of what the instalment
// leaves, principal; the last pays all that is left.
func amortise(rows []Row, balance money.Amount, rate Rate, years []Fraction, instalment money.Amount,
	rule Rounding) error {
	for i := range rows {
		row := &rows[i]
		interest, err := interestOn(balance, rate, years[i], rule)
		if err != nil {
			return err
		}
		row.Interest = interest
		if i == len(rows)-1 {
			row.Principal = balance
		} else {
			row.Principal = less(instalment, interest)
			if row.Principal.IsZero() || !row.Principal.Less(balance) {
				return errs.New(errs.Invalid,
					"lending.schedule: instalment %d of %d, %s, with interest of %s on %s is no plan",
					i+1, len(rows), instalment, interest, balance)
			}
		}
		balance = minus(balance, row.Principal)
		row.Payment, row.Balance = plus(row.Interest, row.Principal), balance
	}
	return nil
}

// spreadFee gives each row its part of the fee: the fall, over the row's period, of the difference
// between the balance and the payments still to come discounted at the effective rate. The
// differences are rounded to the nearest minor unit, the parts are what lies between them, so
// their sum is the fee.
func (s *Schedule) spreadFee(principal money.Amount, years []Fraction) error {
	if s.Fee.IsZero() {
		return nil
	}
	list, level, err := shares(minus(principal, s.Fee), len(s.Rows), func(i int) money.Amount {
		return s.Rows[i].Payment
	})
	if err != nil {
		return err
	}
	invariant.Check(!level, "lending: with a fee the payments exceed what was lent")
	x, err := solve(scheduleCurve{list, years})
	if err != nil {
		return err
	}
	if s.EffectiveRate, err = asRate(x); err != nil {
		return err
	}
	// carried is the discounted value after row i in minor units, with 64 bits after the point.
	carried, deferred := fixedZero, money.Amount{}
	for i := len(s.Rows) - 1; i >= 0; i-- {
		row := &s.Rows[i]
		payment, _ := row.Payment.Uint64()
		gain, _ := x.mulDiv(years[i].Num, years[i].Den)
		carried, _ = carried.add(fixed{hi: payment}).div(fixedOne.add(gain))
		before := less(plus(row.Balance, row.Principal), money.Minor(carried.hi+carried.lo>>63))
		if i == 0 || s.Fee.Less(before) {
			before = s.Fee
		}
		row.Fee = less(before, deferred)
		deferred = plus(deferred, row.Fee)
	}
	return nil
}

// check stops the program where the schedule contradicts itself.
func (s *Schedule) check(lent money.Amount) {
	var principal, fee money.Amount
	balance := lent
	for i := range s.Rows {
		row := &s.Rows[i]
		principal, fee = plus(principal, row.Principal), plus(fee, row.Fee)
		balance = minus(balance, row.Principal)
		invariant.Check(balance == row.Balance, "lending: a row's balance is not what is left")
		invariant.Check(row.Payment == plus(row.Interest, row.Principal),
			"lending: a row's payment is not interest and principal")
	}
	invariant.Check(principal == lent, "lending: the rows do not sum to the principal")
	invariant.Check(fee == s.Fee, "lending: the rows do not sum to the fee")
}
