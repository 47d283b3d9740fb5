package drill

import (
	"math/big"

	"surety/base/clock"
)

// The clean traffic's arithmetic is written a third time, the slow and obvious way, in rational
// numbers: traffic that took its sums from the guard would prove nothing about it.

// dayCounts are the conventions that contracts of the traffic use.
var dayCounts = [...]string{"monthly", "act_360", "act_365f", "30e_360", "30_360_us", "act_act_isda"}

// yearsBetween returns the length of [from, to) in years. A part of the period [begin, due) under
// "monthly" is pro rata by days.
func yearsBetween(count string, from, to, begin, due clock.Date) *big.Rat {
	days := int64(to.Sub(from))
	switch count {
	case "act_360":
		return big.NewRat(days, 360)
	case "act_365f":
		return big.NewRat(days, 365)
	case "30e_360", "30_360_us":
		return big.NewRat(days360(from, to, count == "30_360_us"), 360)
	case "act_act_isda":
		sum := new(big.Rat)
		for d := from; d < to; d++ {
			year, _, _ := d.Civil()
			length := int64(365)
			if clock.IsLeap(year) {
				length = 366
			}
			sum.Add(sum, big.NewRat(1, length))
		}
		return sum
	}
	return big.NewRat(days, 12*int64(due.Sub(begin))) // one month, or its part
}

func days360(from, to clock.Date, us bool) int64 {
	y1, m1, d1 := from.Civil()
	y2, m2, d2 := to.Civil()
	endOfFebruary := func(y, m, d int) bool { return m == 2 && d == clock.DaysIn(y, 2) }
	if us && endOfFebruary(y1, m1, d1) {
		if endOfFebruary(y2, m2, d2) {
			d2 = 30
		}
		d1 = 30
	}
	if d1 == 31 {
		d1 = 30
	}
	if d2 == 31 && (!us || d1 == 30) {
		d2 = 30
	}
	return int64(360*(y2-y1) + 30*(m2-m1) + d2 - d1)
}

// interestOn returns balance x rate x years, rounded half to even; rate counts 1e-9 percent.
func interestOn(balance, rate uint64, years *big.Rat) uint64 {
	exact := new(big.Rat).SetFrac(
		new(big.Int).Mul(new(big.Int).SetUint64(balance), new(big.Int).SetUint64(rate)),
		new(big.Int).SetUint64(100_000_000_000))
	exact.Mul(exact, years)
	return roundEven(exact)
}

func roundEven(r *big.Rat) uint64 {
	quotient, rest := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	half := new(big.Int).Lsh(rest, 1).Cmp(r.Denom())
	if half > 0 || half == 0 && quotient.Bit(0) == 1 {
		quotient.Add(quotient, big.NewInt(1))
	}
	return quotient.Uint64()
}

// annuity returns the instalment that repays the principal in so many months, rounded up.
func annuity(principal, rate uint64, months int) uint64 {
	if rate == 0 {
		return (principal + uint64(months) - 1) / uint64(months)
	}
	i := new(big.Rat).SetFrac(new(big.Int).SetUint64(rate), big.NewInt(1_200_000_000_000))
	growth := big.NewRat(1, 1)
	for range months {
		growth.Mul(growth, new(big.Rat).Add(big.NewRat(1, 1), i))
		growth = shorten(growth)
	}
	due := new(big.Rat).SetInt(new(big.Int).SetUint64(principal))
	due.Mul(due, i).Mul(due, growth).Quo(due, growth.Sub(growth, big.NewRat(1, 1)))
	quotient, rest := new(big.Int).QuoRem(due.Num(), due.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		quotient.Add(quotient, big.NewInt(1))
	}
	return quotient.Uint64()
}

// scaleBits is the precision to which a long rational is cut, far finer than a minor unit.
const scaleBits = 128

func shorten(r *big.Rat) *big.Rat {
	n := new(big.Int).Lsh(r.Num(), scaleBits)
	return new(big.Rat).SetFrac(n.Quo(n, r.Denom()), new(big.Int).Lsh(big.NewInt(1), scaleBits))
}

// annualRates returns the effective and the nominal annual rate, in 1e-6 percent, at which payments
// at the end of each month are worth the advance. The monthly discount factor is found by bisection.
func annualRates(payments []uint64, advance uint64) (effective, nominal uint64) {
	one := new(big.Int).Lsh(big.NewInt(1), scaleBits)
	target := new(big.Int).Lsh(new(big.Int).SetUint64(advance), scaleBits)
	low, high := new(big.Int), new(big.Int).Set(one)
	value, power, middle := new(big.Int), new(big.Int), new(big.Int)
	for range scaleBits {
		middle.Add(low, high).Rsh(middle, 1)
		value.SetInt64(0)
		power.Set(one)
		for _, p := range payments {
			power.Mul(power, middle).Rsh(power, scaleBits)
			value.Add(value, new(big.Int).Mul(power, new(big.Int).SetUint64(p)))
		}
		if value.Cmp(target) < 0 {
			low.Set(middle)
		} else {
			high.Set(middle)
		}
	}
	month := new(big.Rat).SetFrac(one, high) // 1 + i
	year := big.NewRat(1, 1)
	for range 12 {
		year = shorten(year.Mul(year, month))
	}
	return ratePart(year, 1), ratePart(month, 12)
}

// ratePart returns (growth - 1) x times in 1e-6 percent.
func ratePart(growth *big.Rat, times int64) uint64 {
	r := new(big.Rat).Sub(growth, big.NewRat(1, 1))
	return roundEven(r.Mul(r, big.NewRat(100_000_000*times, 1)))
}
