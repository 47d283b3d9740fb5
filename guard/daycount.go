package guard

import "surety/base/clock"

// DayCount says how long an interval is as a fraction of a year, by the names of the contract. The
// numbers are stored in snapshots: never renumber.
type DayCount uint8

// The day counts.
const (
	DayCountNone DayCount = 0
	Actual360    DayCount = 1
	Actual365    DayCount = 2
	Thirty360US  DayCount = 3
	Thirty360E   DayCount = 4
	ActualActual DayCount = 5
	Monthly      DayCount = 6
	YearsEU      DayCount = 7
)

var dayCountNames = [...]string{"", "act_360", "act_365f", "30_360_us", "30e_360", "act_act_isda",
	"monthly", "eu_years"}

// ParseDayCount returns the day count with the name, DayCountNone for any other text.
func ParseDayCount(name string) DayCount {
	for i := 1; i < len(dayCountNames); i++ {
		if dayCountNames[i] == name {
			return DayCount(i)
		}
	}
	return DayCountNone
}

// String returns the name in the contract.
func (d DayCount) String() string { return dayCountNames[d] }

// ratio is an exact fraction; den is not zero.
type ratio struct{ num, den uint64 }

// years returns the length of [from, to) in years. An interval that is not positive has none.
func (d DayCount) years(from, to clock.Date) ratio {
	if to <= from {
		return ratio{0, 1}
	}
	days := uint64(to.Sub(from))
	switch d {
	case Actual360:
		return ratio{days, 360}
	case Actual365:
		return ratio{days, 365}
	case Thirty360US, Thirty360E:
		return ratio{thirties(from, to, d == Thirty360US), 360}
	case ActualActual:
		leap := leapDaysBefore(to) - leapDaysBefore(from)
		return ratio{leap*365 + (days-leap)*366, 365 * 366}
	case YearsEU:
		months, odd, anchor := span(from, to)
		year := uint64(anchor.Sub(anchor.AddMonths(-12, 0)))
		return ratio{uint64(months)*year + 12*uint64(odd), 12 * year}
	}
	months, odd, _ := span(from, to)
	return ratio{uint64(30*months + odd), 360}
}

// thirties counts days in months of 30, by serial numbers in such a calendar. The US rule takes the
// end of February for a 30th where the interval begins on it, and a final 31st as it is unless the
// interval begins on a 30th or later; the European rule takes every 31st for a 30th.
func thirties(from, to clock.Date, us bool) uint64 {
	y1, m1, d1 := from.Civil()
	y2, m2, d2 := to.Civil()
	if us {
		if lastOfFebruary(from) {
			if lastOfFebruary(to) {
				d2 = 30
			}
			d1 = 30
		}
		if d2 == 31 && d1 < 30 {
			d2 = 31
		} else {
			d2 = min(d2, 30)
		}
	} else {
		d2 = min(d2, 30)
	}
	d1 = min(d1, 30)
	serial := func(y, m, d int) int { return (y*12+m)*30 + d }
	return uint64(max(0, serial(y2, m2, d2)-serial(y1, m1, d1)))
}

func lastOfFebruary(d clock.Date) bool {
	_, month, _ := d.Civil()
	_, next, _ := d.AddDays(1).Civil()
	return month == 2 && next == 3
}

// leapDaysBefore returns how many days before d, since year 1, lie in leap years: whole leap years
// have 366 of them, and the year of d the days it has had.
func leapDaysBefore(d clock.Date) uint64 {
	year, _, _ := d.Civil()
	past := year - 1
	days := uint64(past/4-past/100+past/400) * 366
	if clock.IsLeap(year) {
		days += uint64(d.Sub(clock.MustDate(year, 1, 1)))
	}
	return days
}

// span measures [from, to) in whole months and odd days. Months are counted back from the later
// date and the odd days lie before anchor, where the months begin. From the last day of a month to
// the last day of a shorter one are whole months.
func span(from, to clock.Date) (months, odd int, anchor clock.Date) {
	y1, m1, d1 := from.Civil()
	y2, m2, d2 := to.Civil()
	months = 12*(y2-y1) + m2 - m1
	if d2 == min(d1, clock.DaysIn(y2, m2)) {
		return months, 0, from
	}
	anchor = to.AddMonths(-months, 0)
	for anchor < from {
		months--
		anchor = to.AddMonths(-months, 0)
	}
	return months, anchor.Sub(from), anchor
}
