package lending

import (
	"math/bits"

	"surety/base/errs"
	"surety/base/invariant"
	"surety/base/money"
)

// Rounding says which minor unit an exact amount becomes. It is a product parameter, because
// lenders differ: there is no rule that fits all. The numbers are stored: never renumber.
type Rounding uint8

// The rounding rules.
const (
	RoundHalfEven Rounding = 1 // to the nearest, a tie to the even one
	RoundHalfUp   Rounding = 2 // to the nearest, a tie to the greater
	RoundDown     Rounding = 3 // to the unit below
	RoundUp       Rounding = 4 // to the unit above
)

var roundingNames = [...]string{1: "half_even", 2: "half_up", 3: "down", 4: "up"}

// String returns the name used in configuration.
func (r Rounding) String() string { return enumText(roundingNames[:], int(r)) }

// MarshalText encodes the name; an unknown rule is an error of kind Invalid.
func (r Rounding) MarshalText() ([]byte, error) {
	return enumMarshal("rounding", roundingNames[:], int(r))
}

// UnmarshalText accepts what MarshalText gives.
func (r *Rounding) UnmarshalText(text []byte) error {
	n, err := enumParse("rounding", roundingNames[:], string(text))
	*r = Rounding(n)
	return err
}

// up reports whether a quotient with the given remainder goes to the unit above. half is the
// remainder compared with half the divisor: -1, 0 or 1.
func (r Rounding) up(odd, exact bool, half int) bool {
	if exact {
		return false
	}
	switch r {
	case RoundHalfEven:
		return half > 0 || half == 0 && odd
	case RoundHalfUp:
		return half >= 0
	case RoundUp:
		return true
	case RoundDown:
		return false
	}
	invariant.Fail("lending: rounding rule %d is not one of four", uint8(r))
	return false
}

// product3 is an unsigned 192-bit integer, most significant word first.
type product3 [3]uint64

// times returns a x b x c, exactly.
func times(a, b, c uint64) product3 {
	abHi, abLo := bits.Mul64(a, b)
	carry, lo := bits.Mul64(abLo, c)
	hi, mid := bits.Mul64(abHi, c)
	mid, over := bits.Add64(mid, carry, 0)
	return product3{hi + over, mid, lo}
}

// divide returns p/d rounded by the rule, and whether it fits 64 bits. d is not zero.
func (p product3) divide(d uint64, rule Rounding) (quotient uint64, fits bool) {
	if p[0] != 0 || p[1] >= d {
		return 0, false
	}
	quotient, rest := bits.Div64(p[1], p[2], d)
	half := 0
	switch other := d - rest; {
	case rest < other:
		half = -1
	case rest > other:
		half = 1
	}
	if rule.up(quotient&1 == 1, rest == 0, half) {
		quotient++
		return quotient, quotient != 0
	}
	return quotient, true
}

// interestOn returns balance x rate x years, rounded once. It fails where the result does not fit
// 63 bits; inside the limits of a product and 100 years it always does.
func interestOn(balance money.Amount, rate Rate, years Fraction, rule Rounding) (money.Amount, error) {
	minor, fits := balance.Uint64()
	if fits {
		interest, small := times(minor, uint64(rate), years.Num).divide(rateOne*years.Den, rule)
		if small && interest < 1<<63 {
			return money.Minor(interest), nil
		}
	}
	return money.Amount{}, errs.New(errs.Invalid,
		"lending.interest: %s at %s percent for %d/%d years does not fit 63 bits", balance, rate,
		years.Num, years.Den)
}

// mustInterest is interestOn inside the limits that a contract has been checked for.
func mustInterest(balance money.Amount, rate Rate, years Fraction, rule Rounding) money.Amount {
	interest, err := interestOn(balance, rate, years, rule)
	if err != nil {
		invariant.Fail("lending: interest out of range: %v", err)
	}
	return interest
}

// plus returns a+b of amounts within the limits of this package.
func plus(a, b money.Amount) money.Amount {
	sum, overflow := a.Add(b)
	invariant.Check(!overflow, "lending: sum of two amounts overflows 128 bits")
	return sum
}

// minus returns a-b where b is at most a.
func minus(a, b money.Amount) money.Amount {
	rest, underflow := a.Sub(b)
	invariant.Check(!underflow, "lending: an amount is taken from a smaller one")
	return rest
}

// less returns a-b, or zero where b is greater.
func less(a, b money.Amount) money.Amount {
	rest, underflow := a.Sub(b)
	if underflow {
		return money.Amount{}
	}
	return rest
}
