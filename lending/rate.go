package lending

import (
	"surety/base/errs"
)

// Rate is an annual rate as a count of 1e-9 percent: 14.07 percent is 14,070,000,000. It is never
// negative; the greatest is one million percent.
type Rate uint64

// ratePerPercent is the Rate of one percent, and rateOne that of 100 percent: interest is
// balance x rate x years / rateOne.
const (
	ratePerPercent Rate = 1_000_000_000
	rateOne             = 100 * uint64(ratePerPercent)
	rateDecimals        = 9
)

// Percent returns the rate of n percent; n is at most a million, else it panics.
func Percent(n uint64) Rate {
	if n > uint64(rateMax/ratePerPercent) {
		panic("lending: rate is above a million percent")
	}
	return Rate(n) * ratePerPercent
}

// ParseRate reads a percentage: digits, and at most nine decimals after one point. Signs,
// exponents, a percent sign and rates above a million percent are refused; kind Invalid.
func ParseRate(text string) (Rate, error) {
	if len(text) == 0 || len(text) > 24 {
		return 0, errs.New(errs.Invalid, "lending.rate: %d characters, want 1 to 24", len(text))
	}
	var whole, fraction uint64
	decimals, digits := -1, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '.' && decimals < 0 && digits > 0:
			decimals = 0
		case c < '0' || c > '9':
			return 0, errs.New(errs.Invalid, "lending.rate: %q is not a percentage", text)
		case decimals >= rateDecimals:
			return 0, errs.New(errs.Invalid, "lending.rate: %q has more than %d decimals", text,
				rateDecimals)
		case decimals >= 0:
			fraction, decimals = fraction*10+uint64(c-'0'), decimals+1
		default:
			whole, digits = whole*10+uint64(c-'0'), digits+1
			if whole > uint64(rateMax/ratePerPercent) {
				return 0, errs.New(errs.Invalid, "lending.rate: %q is above %s percent", text, rateMax)
			}
		}
	}
	if decimals == 0 {
		return 0, errs.New(errs.Invalid, "lending.rate: %q is not a percentage", text)
	}
	for ; decimals >= 0 && decimals < rateDecimals; decimals++ {
		fraction *= 10
	}
	r := Rate(whole)*ratePerPercent + Rate(fraction)
	if r > rateMax {
		return 0, errs.New(errs.Invalid, "lending.rate: %q is above %s percent", text, rateMax)
	}
	return r, nil
}

// MustRate is ParseRate for constants; it panics where the text is not a rate.
func MustRate(text string) Rate {
	r, err := ParseRate(text)
	if err != nil {
		panic(err)
	}
	return r
}

// String returns the percentage in its one canonical form: no trailing zero after the point, no
// point without a decimal.
func (r Rate) String() string {
	var b [32]byte
	i := len(b)
	whole, fraction := uint64(r/ratePerPercent), uint64(r%ratePerPercent)
	if fraction > 0 {
		for d := 0; d < rateDecimals; d++ {
			digit := byte('0' + fraction%10)
			fraction /= 10
			if digit != '0' || i < len(b) {
				i--
				b[i] = digit
			}
		}
		i--
		b[i] = '.'
	}
	for {
		i--
		b[i] = byte('0' + whole%10)
		whole /= 10
		if whole == 0 {
			return string(b[i:])
		}
	}
}

// Text returns the percentage rounded half up to the given number of decimals, 0 to 9, all of them
// written: what is shown to a person.
func (r Rate) Text(decimals int) string {
	decimals = max(0, min(decimals, rateDecimals))
	unit := Rate(1)
	for d := decimals; d < rateDecimals; d++ {
		unit *= 10
	}
	rounded := (r + unit/2) / unit * unit
	text := rounded.String()
	point := -1
	for i := range text {
		if text[i] == '.' {
			point = i
		}
	}
	if decimals == 0 {
		return text
	}
	if point < 0 {
		point = len(text)
		text += "."
	}
	for len(text)-point-1 < decimals {
		text += "0"
	}
	return text
}

// MicroPercent returns the rate in millionths of a percent, rounded half up.
func (r Rate) MicroPercent() uint64 { return (uint64(r) + 500) / 1000 }

// MarshalText encodes the rate as String does.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText accepts what ParseRate accepts.
func (r *Rate) UnmarshalText(text []byte) error {
	parsed, err := ParseRate(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}
