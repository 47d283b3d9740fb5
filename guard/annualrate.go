package guard

import (
	"math/bits"

	"surety/base/clock"
)

// A disclosed annual rate is not computed here and compared: it is put to the test. The present
// value of the instalments falls as the rate rises, so the rate is right exactly where a rate one
// step lower values them at no less than the advance and one step higher at no more. That needs
// powers of a number below one, and no logarithm: share holds such a number as a 64-bit fraction.
type share uint64

// one is the share nearest to 1 from below; its error of 2^-64 is far below a micro-percent.
const one share = ^share(0)

// quotient returns num/den as a share, cut off; num must not exceed den.
func quotient(num, den uint64) share {
	if num >= den {
		return one
	}
	q, _ := bits.Div64(num, 0, den)
	return share(q)
}

func (s share) times(t share) share {
	hi, _ := bits.Mul64(uint64(s), uint64(t))
	return share(hi)
}

// power returns s to the n, cut off at each step.
func (s share) power(n uint64) share {
	out := one
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			out = out.times(s)
		}
		s = s.times(s)
	}
	return out
}

// root returns the greatest share whose n-th power is at most s, bit by bit.
func (s share) root(n uint64) share {
	var r share
	for bit := share(1) << 63; bit > 0; bit >>= 1 {
		if (r | bit).power(n) <= s {
			r |= bit
		}
	}
	return r
}

// valuation gives the present value, at a trial rate, of one unit paid on a day.
type valuation interface {
	at(day clock.Date) share
}

// rateStep is what a disclosed rate counts: 1e-6 percent, of which 100 percent has 1e8.
const rateStep = 100_000_000

// effectiveEU values by 2008/48/EC Annex I: whole months are twelfths of a year, odd days parts of
// 365 or 366.
type effectiveEU struct {
	advance        clock.Date
	month          share // 1/(1+X) to the power 1/12
	day365, day366 share // filled when needed
	year           share
}

func newEffectiveEU(advance clock.Date, rate uint64) *effectiveEU {
	year := quotient(rateStep, rateStep+rate)
	return &effectiveEU{advance: advance, year: year, month: year.root(12)}
}

func (v *effectiveEU) at(day clock.Date) share {
	months, odd, anchor := span(v.advance, day)
	value := v.month.power(uint64(months))
	if odd == 0 {
		return value
	}
	perDay := &v.day365
	length := uint64(365)
	if anchor.Sub(anchor.AddMonths(-12, 0)) == 366 {
		perDay, length = &v.day366, 366
	}
	if *perDay == 0 {
		*perDay = v.year.root(length)
	}
	return value.times(perDay.power(uint64(odd)))
}

// nominalUS values by 12 CFR 1026 Appendix J with the month as unit-period: compound by whole
// months, simple for the odd days over 30.
type nominalUS struct {
	advance clock.Date
	rate    uint64
	month   share
}

func newNominalUS(advance clock.Date, rate uint64) *nominalUS {
	return &nominalUS{advance, rate, quotient(12*rateStep, 12*rateStep+rate)}
}

func (v *nominalUS) at(day clock.Date) share {
	months, odd, _ := span(v.advance, day)
	if odd >= 30 {
		months, odd = months+1, 0
	}
	const unit = 30 * 12 * rateStep
	return v.month.power(uint64(months)).times(quotient(unit, unit+uint64(odd)*v.rate))
}

// worth compares the flows' present value with the advance: -1 where they are worth less, 0 where
// equal to the minor unit's 2^-64, 1 where more.
func worth(flows []Flow, advance uint64, v valuation) int {
	var whole, part uint64
	for i := range flows {
		hi, lo := bits.Mul64(flows[i].Payment, uint64(v.at(flows[i].Due)))
		var carry uint64
		part, carry = bits.Add64(part, lo, 0)
		whole, _ = bits.Add64(whole, hi, carry)
	}
	switch {
	case whole < advance:
		return -1
	case whole > advance || part > 0:
		return 1
	}
	return 0
}

// rateTolerance is how far a disclosed rate may lie from the exact one, in 1e-6 percent: one half
// for its rounding, and the rest for the cut-offs above.
const rateTolerance = 1

// rateHolds reports whether a disclosed rate discounts the flows to the advance. value makes the
// valuation at a trial rate.
func rateHolds(flows []Flow, advance, disclosed uint64, value func(rate uint64) valuation) bool {
	if disclosed > rateMax/1000 {
		return false
	}
	if disclosed <= rateTolerance {
		if total(flows) < advance {
			return false
		}
	} else if worth(flows, advance, value(disclosed-rateTolerance)) < 0 {
		return false
	}
	return worth(flows, advance, value(disclosed+rateTolerance)) <= 0
}

// total returns the sum of the payments; each is below 2^56 and there are few, so it fits.
func total(flows []Flow) uint64 {
	var sum uint64
	for i := range flows {
		sum += flows[i].Payment
	}
	return sum
}

// rateOf returns the rate that rateHolds would accept, by bisection: what a breach record shows as
// expected. It is zero where the flows do not exceed the advance.
func rateOf(flows []Flow, advance uint64, value func(rate uint64) valuation) uint64 {
	var low, high uint64 = 0, rateMax / 1000
	for low < high {
		middle := low + (high-low)/2
		if worth(flows, advance, value(middle)) > 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// rateText shows an annual rate, in 1e-9 percent, as a percentage.
func rateText(rate uint64) string {
	const unit = rateUnit / 100
	text := decimal(rate / unit)
	if rest := rate % unit; rest != 0 {
		digits := decimal(rest + unit)[1:]
		for digits[len(digits)-1] == '0' {
			digits = digits[:len(digits)-1]
		}
		text += "." + digits
	}
	return text + "%"
}
