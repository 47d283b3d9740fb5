package lending

import "surety/base/clock"

// Fraction is an exact count of years, or of another unit where a function says so. Den is not
// zero; the two are not reduced.
type Fraction struct {
	Num, Den uint64
}

// DayCount says how long an interval is as a fraction of a year. The numbers are stored: never
// renumber.
type DayCount uint8

// The day counts. Every interval is half open, [from, to): the day money is lent counts, the day it
// comes back does not.
const (
	Act360  DayCount = 1 // actual days / 360
	Act365F DayCount = 2 // actual days / 365, also in a leap year
	US30360 DayCount = 3 // months of 30 days, SIA rules for the 31st and the end of February
	E30360  DayCount = 4 // months of 30 days, the 31st is the 30th
	ActAct  DayCount = 5 // ISDA: days in leap years / 366 + other days / 365
	Monthly DayCount = 6 // whole months are 1/12, odd days 1/360; a part of a period pro rata
	EUYears DayCount = 7 // whole months are 1/12, odd days 1/365 or 1/366 (Annex I remark c)
)

var dayCountNames = [...]string{1: "act_360", 2: "act_365f", 3: "30_360_us", 4: "30e_360",
	5: "act_act_isda", 6: "monthly", 7: "eu_years"}

// String returns the name used in configuration.
func (d DayCount) String() string { return enumText(dayCountNames[:], int(d)) }

// MarshalText encodes the name; an unknown day count is an error of kind Invalid.
func (d DayCount) MarshalText() ([]byte, error) {
	return enumMarshal("day_count", dayCountNames[:], int(d))
}

// UnmarshalText accepts what MarshalText gives.
func (d *DayCount) UnmarshalText(text []byte) error {
	n, err := enumParse("day_count", dayCountNames[:], string(text))
	*d = DayCount(n)
	return err
}

// Years returns the length of [from, to) in years; nothing where to is not after from. The day
// count is one of those above.
func (d DayCount) Years(from, to clock.Date) Fraction {
	if to <= from {
		return Fraction{0, 1}
	}
	days := uint64(to.Sub(from))
	switch d {
	case Act360:
		return Fraction{days, 360}
	case Act365F:
		return Fraction{days, 365}
	case US30360:
		return Fraction{days30US(from, to), 360}
	case E30360:
		return Fraction{days30E(from, to), 360}
	case ActAct:
		return actActISDA(from, to)
	case EUYears:
		return yearsEU(from, to)
	}
	months, odd, _ := monthsAndDays(from, to)
	return Fraction{uint64(months)*30 + uint64(odd), 360}
}

// period is the time between two due dates.
type period struct{ from, due clock.Date }

// part returns the length of [from, to), which lies inside the period. Conventions that count
// months cannot measure a part of a month: they take the period's length pro rata by actual days,
// so that the parts of a period sum to the whole.
func (d DayCount) part(p period, from, to clock.Date) Fraction {
	whole := from == p.from && to == p.due
	if whole || d != Monthly && d != EUYears {
		return d.Years(from, to)
	}
	if to <= from {
		return Fraction{0, 1}
	}
	all := d.Years(p.from, p.due)
	return Fraction{all.Num * uint64(to.Sub(from)), all.Den * uint64(p.due.Sub(p.from))}
}

// days30US counts by the SIA's rules: the end of February counts as the 30th where the interval
// begins on it, and where it also ends on one.
func days30US(from, to clock.Date) uint64 {
	y1, m1, d1 := from.Civil()
	y2, m2, d2 := to.Civil()
	if m1 == 2 && d1 == clock.DaysIn(y1, 2) {
		if m2 == 2 && d2 == clock.DaysIn(y2, 2) {
			d2 = 30
		}
		d1 = 30
	}
	if d2 == 31 && d1 >= 30 {
		d2 = 30
	}
	return days30(y2-y1, m2-m1, d2-min(d1, 30))
}

func days30E(from, to clock.Date) uint64 {
	y1, m1, d1 := from.Civil()
	y2, m2, d2 := to.Civil()
	return days30(y2-y1, m2-m1, min(d2, 30)-min(d1, 30))
}

func days30(years, months, days int) uint64 {
	return uint64(max(0, 360*years+30*months+days))
}

// actActISDA splits the interval at each new year. Both denominators are kept in their product.
func actActISDA(from, to clock.Date) Fraction {
	first, _, _ := from.Civil()
	last, _, _ := to.Civil()
	var leap, common uint64
	for year := first; year <= last; year++ {
		begin := max(from, clock.MustDate(year, 1, 1))
		end := to
		if year < last {
			end = clock.MustDate(year+1, 1, 1)
		}
		if days := uint64(end.Sub(begin)); clock.IsLeap(year) {
			leap += days
		} else {
			common += days
		}
	}
	switch {
	case leap == 0:
		return Fraction{common, 365}
	case common == 0:
		return Fraction{leap, 366}
	}
	return Fraction{leap*365 + common*366, 365 * 366}
}

// yearsEU counts whole months back from the later date and the remaining days as a part of the
// year that ends where they end (2014/17/EU Annex I, remark c).
func yearsEU(from, to clock.Date) Fraction {
	months, odd, mark := monthsAndDays(from, to)
	if odd == 0 {
		return Fraction{uint64(months), 12}
	}
	year := uint64(mark.Sub(mark.AddMonths(-12, 0)))
	return Fraction{uint64(months)*year + 12*uint64(odd), 12 * year}
}

// monthsAndDays measures [from, to) in whole months and odd days. The months are counted back from
// the later date, on its day of the month or the last day of a shorter month; mark is where they
// end and the odd days begin. An interval that is whole months when counted forward, from the 31st
// to the last day of a shorter month, has no odd days.
func monthsAndDays(from, to clock.Date) (months, odd int, mark clock.Date) {
	y1, m1, _ := from.Civil()
	y2, m2, _ := to.Civil()
	months = (y2-y1)*12 + m2 - m1
	if from.AddMonths(months, 0) == to {
		return months, 0, from
	}
	mark = to.AddMonths(-months, 0)
	if mark < from {
		months--
		mark = to.AddMonths(-months, 0)
	}
	return months, mark.Sub(from), mark
}
