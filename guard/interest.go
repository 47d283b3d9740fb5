package guard

import (
	"math/bits"

	"surety/base/clock"
)

// wide is an unsigned 256-bit integer, least significant word first: room for an amount (63 bits)
// times a rate (60) times a fraction of a year (64) without loss.
type wide [4]uint64

// times returns w x n; what exceeds 256 bits is lost, which the bounds above rule out.
func (w wide) times(n uint64) wide {
	var out wide
	var carry uint64
	for i := range w {
		hi, lo := bits.Mul64(w[i], n)
		sum, c := bits.Add64(lo, carry, 0)
		out[i], carry = sum, hi+c
	}
	return out
}

func (w wide) less(v wide) bool {
	for i := len(w) - 1; i >= 0; i-- {
		if w[i] != v[i] {
			return w[i] < v[i]
		}
	}
	return false
}

// minus returns w-v, where v is at most w.
func (w wide) minus(v wide) wide {
	var out wide
	var borrow uint64
	for i := range w {
		out[i], borrow = bits.Sub64(w[i], v[i], borrow)
	}
	return out
}

func multiply(factors ...uint64) wide {
	out := wide{1}
	for _, f := range factors {
		out = out.times(f)
	}
	return out
}

// rateUnit is the rate of 100 percent in units of 1e-9 percent.
const rateUnit = 100_000_000_000

// rateMax bounds an annual rate, a million percent.
const rateMax = 10_000 * rateUnit

// rounds reports whether stated, in minor units, is balance x rate x years rounded by the rule; where
// the rule is not known, whether it lies within one unit. The amounts are compared as integers: both
// times 2 x unit x den, so that half a unit is unit x den.
func (r Rounding) rounds(stated, balance, rate uint64, years ratio) bool {
	exact := multiply(2, balance, rate, years.num)
	claimed := multiply(2, stated, rateUnit, years.den)
	half := multiply(rateUnit, years.den)
	unit := half.times(2)
	above := exact.less(claimed) // stated lies above the exact amount
	gap := exact.minus(claimed)
	if above {
		gap = claimed.minus(exact)
	}
	switch r {
	case RoundingHalfEven:
		return gap.less(half) || gap == half && stated%2 == 0
	case RoundingHalfUp:
		return gap.less(half) || gap == half && above
	case RoundingDown:
		return !above && gap.less(unit)
	case RoundingUp:
		return gap == wide{} || above && gap.less(unit)
	}
	return !unit.less(gap)
}

// of returns balance x rate x years rounded by the rule: what a breach record shows as expected.
func (r Rounding) of(balance, rate uint64, years ratio) uint64 {
	near := interest(balance, rate, years)
	for _, n := range [...]uint64{near, less(near, 1), near + 1} {
		if r.rounds(n, balance, rate, years) {
			return n
		}
	}
	return near
}

// interest returns balance x rate x years in minor units, rounded half up. It saturates at the
// greatest int64.
func interest(balance, rate uint64, years ratio) uint64 {
	target := multiply(2, balance, rate, years.num)
	unit := multiply(2, rateUnit, years.den)
	half := multiply(rateUnit, years.den)
	var low, high uint64 = 0, 1<<63 - 1
	for low < high { // the greatest n with n x unit <= target + half
		middle := low + (high-low+1)/2
		if n := unit.times(middle); n.less(half) || !target.less(n.minus(half)) {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return low
}

// yearsOf measures a part of a loan's life by its day count. A convention that counts months cannot
// measure a part of one: such a part takes the period's length pro rata by actual days.
func (l *loan) yearsOf(from, to clock.Date) ratio {
	if l.dayCount != Monthly && l.dayCount != YearsEU {
		return l.dayCount.years(from, to)
	}
	begin, due := l.periodOf(from)
	if from == begin && to == due || to > due {
		return l.dayCount.years(from, to)
	}
	whole := l.dayCount.years(begin, due)
	return ratio{whole.num * uint64(to.Sub(from)), whole.den * uint64(due.Sub(begin))}
}

// periodOf returns the instalment period that the day lies in; after the last due date, periods go
// on month by month.
func (l *loan) periodOf(day clock.Date) (begin, due clock.Date) {
	if day < l.firstDue {
		return l.disbursedOn, l.firstDue
	}
	months, _, _ := span(l.firstDue, day)
	for k := max(0, months-1); ; k++ {
		begin, due = l.dueDate(k), l.dueDate(k+1)
		if day < due {
			return begin, due
		}
	}
}

// dueDate returns the due date of instalment k, counted from zero.
func (l *loan) dueDate(k int) clock.Date { return l.firstDue.AddMonths(k, int(l.anchorDay)) }
