package lending

import (
	"surety/base/errs"
	"surety/base/money"
)

// curve is the present value, as a multiple of the advance, of a set of payments at the rate x. It
// falls as x grows and is convex, being a sum of falling convex terms.
type curve interface {
	// at returns the value and how steeply it falls, both from below, and whether they stay
	// within the fixed-point range.
	at(x fixed) (value, slope fixed, ok bool)
}

// solve returns the x at which the value is one, by Newton's method from zero. On a falling convex
// curve each step from the left ends left of the root, so the search cannot overshoot and needs no
// bracket; it stops where the value reaches one or a step no longer moves 2^-80.
func solve(c curve) (fixed, error) {
	const tiny = 1 << (fractionBits - 80)
	x := fixedZero
	for range solveStepsMax {
		value, slope, ok := c.at(x)
		if !ok || slope.isZero() {
			return fixed{}, errs.New(errs.Invalid, "lending.rate: the search left its range")
		}
		if !fixedOne.less(value) {
			return x, nil
		}
		step, ok := value.sub(fixedOne).div(slope)
		if !ok {
			return fixed{}, errs.New(errs.Invalid, "lending.rate: the rate is beyond all bounds")
		}
		x = x.add(step)
		if step.less(fixed{lo: tiny}) {
			return x, nil
		}
		if fixedInt(uint64(rateMax) / rateOne).less(x) {
			return fixed{}, errs.New(errs.Invalid, "lending.rate: the rate is above %s percent", rateMax)
		}
	}
	return fixed{}, errs.New(errs.Internal, "lending.rate: no root after %d steps", solveStepsMax)
}

// asRate returns a growth per year, 0.07 for seven percent, as a rate rounded to the nearest.
func asRate(x fixed) (Rate, error) {
	// The count of 1e-9 percent goes up to 2^50: hold it divided by 2^30, round, shift back.
	const held = 30
	scaled, ok := x.mulDiv(rateOne, 1<<held)
	const drop = fractionBits - 64 - held
	rate := Rate(scaled.add(fixed{hi: 1 << (drop - 1)}).hi >> drop)
	if !ok || rate > rateMax {
		return 0, errs.New(errs.Invalid, "lending.rate: the rate is above %s percent", rateMax)
	}
	return rate, nil
}

// shares returns each payment as a multiple of the advance, after checking them: at least one
// payment and at most flowsMax; their sum neither below the advance nor above paidTimesMax times
// it. level reports that the sum equals the advance, where the rate is zero.
func shares(advance money.Amount, n int, payment func(i int) money.Amount) (list []fixed, level bool,
	err error) {
	lent, fits := advance.Uint64()
	if !fits || lent == 0 || lent > principalMax {
		return nil, false, errs.New(errs.Invalid, "lending.rate: advance is %s, want 1 to %d", advance,
			uint64(principalMax))
	}
	if n == 0 || n > flowsMax {
		return nil, false, errs.New(errs.Invalid, "lending.rate: %d payments, want 1 to %d", n, flowsMax)
	}
	var total money.Amount
	for i := range n {
		total = plus(total, money.Least(payment(i), money.Minor(1<<62)))
	}
	if total.Less(advance) {
		return nil, false, errs.New(errs.Invalid,
			"lending.rate: payments of %s are less than the advance of %s: there is no rate of zero or more",
			total, advance)
	}
	if money.Minor(lent * paidTimesMax).Less(total) {
		return nil, false, errs.New(errs.Invalid,
			"lending.rate: payments of %s are more than %d times the advance of %s", total, paidTimesMax,
			advance)
	}
	list = make([]fixed, n)
	for i := range list {
		minor, _ := payment(i).Uint64()
		list[i] = fixedRatio(minor, lent)
	}
	return list, total == advance, nil
}

// unitCurve discounts by compound interest over whole periods and simple interest over the part of
// a period (Appendix J (b)(8)). Payments are in order of time.
type unitCurve struct {
	share    []fixed
	payments []UnitPayment
}

func (c unitCurve) at(rate fixed) (value, slope fixed, ok bool) {
	one, ok := fixedOne.div(fixedOne.add(rate))
	compound, passed := fixedOne, uint32(0)
	for i, p := range c.payments {
		for ; passed < p.Periods; passed++ {
			compound, _ = compound.mul(one)
		}
		simple, ok1 := rate.mulDiv(p.Odd.Num, p.Odd.Den)
		simple = fixedOne.add(simple)
		discount, ok2 := compound.div(simple)
		term, ok3 := c.share[i].mul(discount)
		whole, ok4 := one.mulInt(uint64(p.Periods))
		odd, ok5 := fixedRatio(p.Odd.Num, p.Odd.Den).div(simple)
		fall, ok6 := term.mul(whole.add(odd))
		value, slope = value.add(term), slope.add(fall)
		ok = ok && ok1 && ok2 && ok3 && ok4 && ok5 && ok6
	}
	return value, slope, ok
}

// yearsCurve discounts continuously: x is the logarithm of one plus the effective annual rate.
type yearsCurve struct {
	share    []fixed
	payments []TimedPayment
}

func (c yearsCurve) at(x fixed) (value, slope fixed, ok bool) {
	ok = true
	for i, p := range c.payments {
		exponent, ok1 := x.mulDiv(p.Years.Num, p.Years.Den)
		term, ok2 := c.share[i].mul(expNeg(exponent))
		fall, ok3 := term.mul(fixedRatio(p.Years.Num, p.Years.Den))
		value, slope = value.add(term), slope.add(fall)
		ok = ok && ok1 && ok2 && ok3
	}
	return value, slope, ok
}

// scheduleCurve discounts as a schedule charges: simple interest in each period, compounded from
// one to the next. x is the annual rate.
type scheduleCurve struct {
	share []fixed
	years []Fraction
}

func (c scheduleCurve) at(x fixed) (value, slope fixed, ok bool) {
	ok = true
	discount, steepness := fixedOne, fixedZero
	for i, years := range c.years {
		gain, ok1 := x.mulDiv(years.Num, years.Den)
		gain = fixedOne.add(gain)
		discount, _ = discount.div(gain)
		part, ok2 := fixedRatio(years.Num, years.Den).div(gain)
		steepness = steepness.add(part)
		term, ok3 := c.share[i].mul(discount)
		fall, ok4 := term.mul(steepness)
		value, slope = value.add(term), slope.add(fall)
		ok = ok && ok1 && ok2 && ok3 && ok4
	}
	return value, slope, ok
}
