package money

import (
	"strings"

	"surety/base/errs"
)

// Currency is an ISO 4217 currency. Its number is also the number of its ledger, so that no
// transfer can mix two currencies.
type Currency struct {
	Code     string // three capital letters
	Number   uint32 // ISO 4217 numeric code, never zero
	Exponent int    // decimal digits of the minor unit, 0 to 3
}

// currencies holds those the platform knows, by ISO 4217:2015 with amendment 178.
var currencies = [...]Currency{
	{"AUD", 36, 2}, {"BDT", 50, 2}, {"BRL", 986, 2}, {"CAD", 124, 2}, {"CHF", 756, 2},
	{"CNY", 156, 2}, {"EUR", 978, 2}, {"GBP", 826, 2}, {"HKD", 344, 2}, {"IDR", 360, 2},
	{"INR", 356, 2}, {"JPY", 392, 0}, {"KES", 404, 2}, {"KRW", 410, 0}, {"KWD", 414, 3},
	{"MYR", 458, 2}, {"NGN", 566, 2}, {"PHP", 608, 2}, {"PKR", 586, 2}, {"SGD", 702, 2},
	{"THB", 764, 2}, {"TWD", 901, 2}, {"USD", 840, 2}, {"VND", 704, 0}, {"ZAR", 710, 2},
}

// CurrencyOf returns the currency with the code, in either case; kind Invalid where unknown.
func CurrencyOf(code string) (Currency, error) {
	for _, c := range currencies {
		if strings.EqualFold(c.Code, code) {
			return c, nil
		}
	}
	return Currency{}, errs.New(errs.Invalid, "money: currency %q is not known", code)
}

// CurrencyByNumber returns the currency with the ISO number; kind Invalid where unknown.
func CurrencyByNumber(number uint32) (Currency, error) {
	for _, c := range currencies {
		if c.Number == number {
			return c, nil
		}
	}
	return Currency{}, errs.New(errs.Invalid, "money: currency number %d is not known", number)
}

// Format returns the amount in major units with the currency's decimals: "1234.50".
func (c Currency) Format(a Amount) string {
	digits := a.String()
	if c.Exponent == 0 {
		return digits
	}
	if pad := c.Exponent + 1 - len(digits); pad > 0 {
		digits = strings.Repeat("0", pad) + digits
	}
	point := len(digits) - c.Exponent
	return digits[:point] + "." + digits[point:]
}

// Parse reads an amount in major units: digits, and at most the currency's decimals after one
// point. Signs, separators and exponents are refused; kind Invalid.
func (c Currency) Parse(text string) (Amount, error) {
	whole, fraction, pointed := strings.Cut(text, ".")
	if whole == "" || (pointed && fraction == "") {
		return Amount{}, errs.New(errs.Invalid, "money: amount %q is not a decimal number", clip(text))
	}
	if len(fraction) > c.Exponent {
		return Amount{}, errs.New(errs.Invalid, "money: amount %q has %d decimals, %s has %d",
			clip(text), len(fraction), c.Code, c.Exponent)
	}
	a, err := ParseMinor(whole + fraction + strings.Repeat("0", c.Exponent-len(fraction)))
	if err != nil {
		return Amount{}, errs.Wrap(err, "money: amount %q", clip(text))
	}
	return a, nil
}

func clip(text string) string {
	if len(text) > 40 {
		return text[:40] + "..."
	}
	return text
}
