// Package clock holds instants and civil dates as plain numbers.
//
// Cores never read a clock: a time is an argument like any other. An Instant is a point on the
// machine's time line; a Date is a day of the business calendar, which in a time-lapse run moves
// faster than the machine's. The two are never converted silently.
package clock

import (
	"surety/base/errs"
)

// Instant is a count of nanoseconds since 1970-01-01T00:00:00Z; zero means absent.
type Instant uint64

// Duration is a span between two instants, in nanoseconds.
type Duration int64

// Spans of time.
const (
	Microsecond Duration = 1_000
	Millisecond Duration = 1_000 * Microsecond
	Second      Duration = 1_000 * Millisecond
	Minute      Duration = 60 * Second
	Hour        Duration = 60 * Minute
	Day         Duration = 24 * Hour
)

// Add returns the instant d later; an instant never goes below zero.
func (t Instant) Add(d Duration) Instant {
	if d < 0 && uint64(-d) > uint64(t) {
		return 0
	}
	return Instant(uint64(t) + uint64(d))
}

// Sub returns the span from earlier to t, negative where t is before it.
func (t Instant) Sub(earlier Instant) Duration { return Duration(uint64(t) - uint64(earlier)) }

// Date returns the UTC day the instant falls in.
func (t Instant) Date() Date { return Date(uint64(t) / uint64(Day)) }

// Date is a count of days since 1970-01-01 in the proleptic Gregorian calendar.
type Date int32

// MaxYear bounds the calendar: four digits.
const MaxYear = 9999

// DateOf returns the date of a civil year, month (1 to 12) and day. The day must exist: kind
// Invalid otherwise.
func DateOf(year, month, day int) (Date, error) {
	if year < 1 || year > MaxYear || month < 1 || month > 12 || day < 1 || day > DaysIn(year, month) {
		return 0, errs.New(errs.Invalid, "clock: %04d-%02d-%02d is not a day", year, month, day)
	}
	return fromCivil(year, month, day), nil
}

// MustDate is DateOf for constants; it panics where the day does not exist.
func MustDate(year, month, day int) Date {
	d, err := DateOf(year, month, day)
	if err != nil {
		panic(err)
	}
	return d
}

// ParseDate reads YYYY-MM-DD; kind Invalid otherwise.
func ParseDate(text string) (Date, error) {
	if len(text) != 10 || text[4] != '-' || text[7] != '-' {
		return 0, errs.New(errs.Invalid, "clock: date %q is not YYYY-MM-DD", clip(text))
	}
	year, ok1 := number(text[:4])
	month, ok2 := number(text[5:7])
	day, ok3 := number(text[8:])
	if !ok1 || !ok2 || !ok3 {
		return 0, errs.New(errs.Invalid, "clock: date %q is not YYYY-MM-DD", clip(text))
	}
	return DateOf(year, month, day)
}

// Civil returns the year, month (1 to 12) and day of the month. The algorithm is the usual
// era-based one: days are counted from 1 March of year 0, so that a leap day ends its year.
func (d Date) Civil() (year, month, day int) {
	z := int(d) + 719468
	era := z / 146097
	if z < 0 {
		era = (z - 146096) / 146097
	}
	dayOfEra := z - era*146097
	yearOfEra := (dayOfEra - dayOfEra/1460 + dayOfEra/36524 - dayOfEra/146096) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	shifted := (5*dayOfYear + 2) / 153
	day = dayOfYear - (153*shifted+2)/5 + 1
	month = shifted + 3
	year = yearOfEra + era*400
	if month > 12 {
		month -= 12
		year++
	}
	return year, month, day
}

// AddDays returns the date n days later.
func (d Date) AddDays(n int) Date { return d + Date(n) }

// AddMonths returns the date n months later on the given day of the month, or on the month's last
// day where that month is shorter: anchored on 31, January is followed by 28 or 29 February and
// then by 31 March. An anchor of 0 takes d's own day.
func (d Date) AddMonths(n, anchorDay int) Date {
	year, month, day := d.Civil()
	if anchorDay == 0 {
		anchorDay = day
	}
	months := year*12 + month - 1 + n
	year, month = months/12, months%12+1
	return fromCivil(year, month, min(anchorDay, DaysIn(year, month)))
}

// Sub returns the number of days from earlier to d.
func (d Date) Sub(earlier Date) int { return int(d) - int(earlier) }

// Instant returns the first instant of the day in UTC; dates before 1970 give zero.
func (d Date) Instant() Instant {
	if d < 0 {
		return 0
	}
	return Instant(uint64(d) * uint64(Day))
}

// String returns YYYY-MM-DD.
func (d Date) String() string {
	year, month, day := d.Civil()
	b := [10]byte{4: '-', 7: '-'}
	digits(b[0:4], year)
	digits(b[5:7], month)
	digits(b[8:10], day)
	return string(b[:])
}

// MarshalText encodes the date as String does.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText accepts what ParseDate accepts.
func (d *Date) UnmarshalText(text []byte) error {
	parsed, err := ParseDate(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// IsLeap reports whether the year has 366 days.
func IsLeap(year int) bool { return year%4 == 0 && (year%100 != 0 || year%400 == 0) }

// DaysIn returns the number of days of the month (1 to 12).
func DaysIn(year, month int) int {
	if month == 2 && IsLeap(year) {
		return 29
	}
	return [...]int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}[month-1]
}

func fromCivil(year, month, day int) Date {
	if month <= 2 {
		year--
	}
	era := year / 400
	if year < 0 {
		era = (year - 399) / 400
	}
	yearOfEra := year - era*400
	shifted := (month + 9) % 12
	dayOfYear := (153*shifted+2)/5 + day - 1
	dayOfEra := yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear
	return Date(era*146097 + dayOfEra - 719468)
}

func number(text string) (int, bool) {
	n := 0
	for i := 0; i < len(text); i++ {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
		n = n*10 + int(text[i]-'0')
	}
	return n, true
}

func digits(into []byte, n int) {
	for i := len(into) - 1; i >= 0; i-- {
		into[i] = byte('0' + n%10)
		n /= 10
	}
}

func clip(text string) string {
	if len(text) > 40 {
		return text[:40] + "..."
	}
	return text
}
