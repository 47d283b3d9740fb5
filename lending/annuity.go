package lending

import (
	"math/big"
	"math/bits"

	"surety/base/errs"
	"surety/base/money"
)

// Annuity is a debt repaid in equal instalments, one at the end of each period.
type Annuity struct {
	Principal money.Amount
	Rate      Rate       // a year
	Years     []Fraction // the length of each period in years
	Step      uint64     // instalments are multiples of this many minor units; zero means one
	Rounding  Rounding   // of the exact instalment to a multiple of Step
}

// Instalment returns the amount which, paid at the end of each period, repays the principal with
// interest on what is outstanding: principal / sum of the periods' discount factors, where period k
// has the factor 1/((1 + rate x years 1) ... (1 + rate x years k)). The exact amount is rounded
// once; the result is what rounding the exact rational number gives, also where that is a tie. At a
// rate of zero it is the principal divided by the periods. The error is of kind Invalid where
// there is no period, more than 600, or a number beyond the limits.
func (a Annuity) Instalment() (money.Amount, error) {
	principal, fits := a.Principal.Uint64()
	if !fits || principal > principalMax || len(a.Years) == 0 || len(a.Years) > termMax {
		return money.Amount{}, errs.New(errs.Invalid,
			"lending.instalment: %s in %d periods, want at most %d in 1 to %d periods",
			a.Principal, len(a.Years), uint64(principalMax), termMax)
	}
	low, err := a.factor()
	if err != nil {
		return money.Amount{}, err
	}
	// Each discount factor is cut off by at most its number in steps of 2^-108, so the exact sum
	// lies between low and high. Where both round alike so does what lies between.
	periods := uint64(len(a.Years))
	high := low.add(fixed{lo: periods * (periods + 1) / 2})
	scaled := new(big.Int).Lsh(new(big.Int).SetUint64(principal), fractionBits)
	least := a.round(scaled, high.big())
	greatest := a.round(new(big.Int).Set(scaled), low.big())
	if least != greatest {
		least = a.exact(principal)
	}
	return money.Minor(least), nil
}

// factor returns the sum of the discount factors, from below.
func (a Annuity) factor() (fixed, error) {
	sum, discount := fixedZero, fixedOne
	for i, years := range a.Years {
		over, under, ok := growth(a.Rate, years)
		if !ok {
			return fixed{}, errs.New(errs.Invalid,
				"lending.instalment: period %d: %s percent for %d/%d years is beyond 64 bits",
				i+1, a.Rate, years.Num, years.Den)
		}
		discount, _ = discount.mulDiv(under, over) // under <= over
		sum = sum.add(discount)
	}
	if sum.isZero() {
		return fixed{}, errs.New(errs.Invalid, "lending.instalment: the rate is beyond all bounds")
	}
	return sum, nil
}

// growth returns 1 + rate x years as over/under and whether both fit 64 bits.
func growth(rate Rate, years Fraction) (over, under uint64, ok bool) {
	hi, gain := bits.Mul64(uint64(rate), years.Num)
	top, under := bits.Mul64(rateOne, years.Den)
	over, carry := bits.Add64(under, gain, 0)
	return over, under, hi|top|carry == 0 && under != 0
}

// exact computes the instalment as a quotient of integers: with g = (d+n)/d it is principal x
// product(g) / sum over k of the product of g after k. It is the slow way, for the ties.
func (a Annuity) exact(principal uint64) uint64 {
	grown, sum, scale := big.NewInt(1), new(big.Int), big.NewInt(1)
	var o, u big.Int
	for _, years := range a.Years {
		over, under, _ := growth(a.Rate, years)
		o.SetUint64(over)
		u.SetUint64(under)
		grown.Mul(grown, &o)
		scale.Mul(scale, &u)
		sum.Mul(sum, &o)
		sum.Add(sum, scale)
	}
	return a.round(grown.Mul(grown, new(big.Int).SetUint64(principal)), sum)
}

// round returns n/d rounded to a multiple of the step; it overwrites both.
func (a Annuity) round(n, d *big.Int) uint64 {
	step := max(a.Step, 1)
	d.Mul(d, new(big.Int).SetUint64(step))
	quotient, rest := new(big.Int).QuoRem(n, d, n)
	half := rest.Lsh(rest, 1).Cmp(d)
	units := quotient.Uint64()
	if a.Rounding.up(units&1 == 1, rest.Sign() == 0, half) {
		units++
	}
	return units * step
}

// big returns the number's 128 bits as an integer.
func (a fixed) big() *big.Int {
	n := new(big.Int).SetUint64(a.hi)
	return n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(a.lo))
}
