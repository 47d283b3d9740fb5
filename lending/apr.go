package lending

import (
	"surety/base/clock"
	"surety/base/errs"
	"surety/base/money"
)

// Payment is an amount paid on a day.
type Payment struct {
	On     clock.Date
	Amount money.Amount
}

// TimedPayment is an amount paid so many years after the advance.
type TimedPayment struct {
	Years  Fraction
	Amount money.Amount
}

// UnitPayment is an amount paid so many whole unit-periods, and the odd part of one, after the
// advance. Odd is below one.
type UnitPayment struct {
	Periods uint32
	Odd     Fraction
	Amount  money.Amount
}

// UnitPeriod is the most frequent interval between payments: so many months, or where Months is
// zero so many days.
type UnitPeriod struct {
	Months, Days int
}

// USActuarial returns the nominal annual percentage rate of 12 CFR 1026 Appendix J for one advance:
// the rate per unit-period times the unit-periods in a year. Payments need no order. It is
// zero where the payments sum to the advance. The result is the exact rate rounded to the nearest
// 1e-9 percent. Errors are of kind Invalid: no payment, one on or before the day of the advance, a
// sum below the advance or above a hundred times it, a rate above a million percent.
func USActuarial(advance money.Amount, on clock.Date, payments []Payment, unit UnitPeriod) (
	Rate, error) {
	perYear, err := unit.perYear()
	if err != nil {
		return 0, err
	}
	list := make([]UnitPayment, len(payments))
	for i, p := range payments {
		if p.On <= on {
			return 0, errNotAfter(i, p.On, on)
		}
		list[i] = unit.measure(on, p)
	}
	return UnitRate(advance, list, perYear)
}

// UnitRate is USActuarial for payments whose times are already measured: perYear is the number of
// unit-periods in a year. Payments must not go back in time. With one unit-period a year it is the
// internal rate of return per period.
func UnitRate(advance money.Amount, payments []UnitPayment, perYear Fraction) (Rate, error) {
	list, level, err := shares(advance, len(payments), func(i int) money.Amount {
		return payments[i].Amount
	})
	if err != nil || level {
		return 0, err
	}
	for i, p := range payments {
		if p.Odd.Den == 0 || p.Odd.Num >= p.Odd.Den || p.Periods > unitPeriodsMax ||
			i > 0 && p.Periods < payments[i-1].Periods {
			return 0, errs.New(errs.Invalid,
				"lending.rate: payment %d after %d unit-periods and %d/%d is out of order or range",
				i+1, p.Periods, p.Odd.Num, p.Odd.Den)
		}
	}
	if perYear.Num == 0 || perYear.Den == 0 || perYear.Num > unitPeriodsMax {
		return 0, errs.New(errs.Invalid, "lending.rate: %d/%d unit-periods a year", perYear.Num,
			perYear.Den)
	}
	x, err := solve(unitCurve{list, payments})
	if err != nil {
		return 0, err
	}
	annual, ok := x.mulDiv(perYear.Num, perYear.Den)
	if !ok {
		return 0, errs.New(errs.Invalid, "lending.rate: the rate is above %s percent", rateMax)
	}
	return asRate(annual)
}

// EUEffective returns the effective annual percentage rate of Directive 2008/48/EC Annex I for one
// advance, with intervals of whole months as twelfths of a year and odd days as parts of 365 or
// 366. Otherwise it is as USActuarial.
func EUEffective(advance money.Amount, on clock.Date, payments []Payment) (Rate, error) {
	return effective(advance, on, payments, EUYears)
}

// XIRR returns the effective annual rate with time in days over 365, as spreadsheets compute it.
// Otherwise it is as USActuarial: a negative rate is refused.
func XIRR(advance money.Amount, on clock.Date, payments []Payment) (Rate, error) {
	return effective(advance, on, payments, Act365F)
}

func effective(advance money.Amount, on clock.Date, payments []Payment, count DayCount) (
	Rate, error) {
	list := make([]TimedPayment, len(payments))
	for i, p := range payments {
		if p.On <= on {
			return 0, errNotAfter(i, p.On, on)
		}
		list[i] = TimedPayment{Years: count.Years(on, p.On), Amount: p.Amount}
	}
	return EffectiveRate(advance, list)
}

// EffectiveRate returns the rate X for which the sum of Amount / (1+X)^Years over the payments is
// the advance. Otherwise it is as USActuarial; a payment has at most 100 years.
func EffectiveRate(advance money.Amount, payments []TimedPayment) (Rate, error) {
	list, level, err := shares(advance, len(payments), func(i int) money.Amount {
		return payments[i].Amount
	})
	if err != nil || level {
		return 0, err
	}
	for i, p := range payments {
		if p.Years.Num == 0 || p.Years.Den == 0 || p.Years.Num/yearsMax > p.Years.Den {
			return 0, errs.New(errs.Invalid, "lending.rate: payment %d after %d/%d years", i+1,
				p.Years.Num, p.Years.Den)
		}
	}
	x, err := solve(yearsCurve{list, payments})
	if err != nil {
		return 0, err
	}
	growth, ok := fixedOne.div(expNeg(x))
	if !ok {
		return 0, errs.New(errs.Invalid, "lending.rate: the rate is above %s percent", rateMax)
	}
	return asRate(growth.sub(fixedOne))
}

// IRR returns the rate per period at which payments at the end of each period are worth the
// advance. Otherwise it is as USActuarial.
func IRR(advance money.Amount, payments []money.Amount) (Rate, error) {
	list := make([]UnitPayment, len(payments))
	for i, amount := range payments {
		list[i] = UnitPayment{Periods: uint32(i + 1), Odd: Fraction{0, 1}, Amount: amount}
	}
	return UnitRate(advance, list, Fraction{1, 1})
}

// Effective returns the effective annual rate of a nominal one compounded perYear times a year, 1
// to 366, rounded to the nearest 1e-9 percent; kind Invalid beyond a million percent.
func Effective(nominal Rate, perYear int) (Rate, error) {
	if perYear < 1 || perYear > 366 {
		return 0, errPerYear(perYear)
	}
	step := fixedRatio(uint64(nominal), rateOne).divInt(uint64(perYear))
	growth, ok := fixedOne, true
	for range perYear {
		if growth, ok = growth.mul(fixedOne.add(step)); !ok {
			return 0, errs.New(errs.Invalid, "lending.rate: the rate is above %s percent", rateMax)
		}
	}
	return asRate(growth.sub(fixedOne))
}

// Nominal is the inverse of Effective: the nominal rate that compounds to the effective one.
func Nominal(effective Rate, perYear int) (Rate, error) {
	if perYear < 1 || perYear > 366 {
		return 0, errPerYear(perYear)
	}
	if effective == 0 || effective > rateMax {
		return 0, nil
	}
	share := fixedOne.add(fixedRatio(uint64(effective), rateOne))
	last := []UnitPayment{{Periods: uint32(perYear), Odd: Fraction{0, 1}}}
	x, err := solve(unitCurve{[]fixed{share}, last})
	if err != nil {
		return 0, err
	}
	annual, _ := x.mulInt(uint64(perYear))
	return asRate(annual)
}

// perYear returns the number of unit-periods in a year (Appendix J (b)(5)).
func (u UnitPeriod) perYear() (Fraction, error) {
	switch {
	case u.Months >= 1 && u.Months <= 12 && u.Days == 0:
		return Fraction{12, uint64(u.Months)}, nil
	case u.Months == 0 && u.Days >= 1 && u.Days <= 366 && u.Days%7 == 0:
		return Fraction{52 * 7, uint64(u.Days)}, nil
	case u.Months == 0 && u.Days >= 1 && u.Days <= 366:
		return Fraction{365, uint64(u.Days)}, nil
	}
	return Fraction{}, errs.New(errs.Invalid,
		"lending.rate: a unit-period of %d months and %d days, want 1 to 12 months or 1 to 366 days",
		u.Months, u.Days)
}

// measure counts the unit-periods from the advance to a payment, back from the payment; what
// remains is in days over those of the unit-period, where whole months have 30, and is one whole
// unit-period where that many remain.
func (u UnitPeriod) measure(on clock.Date, p Payment) UnitPayment {
	whole, odd, unit := 0, p.On.Sub(on), u.Days
	if u.Months > 0 {
		months, days, _ := monthsAndDays(on, p.On)
		whole, odd, unit = months/u.Months, days, 30*u.Months
		odd += 30 * (months % u.Months)
	} else {
		whole, odd = odd/unit, odd%unit
	}
	if odd >= unit {
		whole, odd = whole+1, 0
	}
	return UnitPayment{uint32(whole), Fraction{uint64(odd), uint64(unit)}, p.Amount}
}

func errPerYear(n int) error {
	return errs.New(errs.Invalid, "lending.rate: compounded %d times a year, want 1 to 366", n)
}

func errNotAfter(i int, paid, on clock.Date) error {
	return errs.New(errs.Invalid, "lending.rate: payment %d on %s is not after the advance on %s", i+1,
		paid, on)
}
