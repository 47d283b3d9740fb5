// Package money holds exact amounts: unsigned 128-bit counts of a currency's minor unit.
//
// There is no float and no sign. What is owed and by whom is said by which account is debited;
// a difference is taken with Sub, which refuses to go below zero. A rounding happens only where a
// rate meets an amount, once per posting, by a rule the caller names.
//
// # Boundaries
//
// Currencies and decimal text stand here; interest and schedules do not (package lending).
package money

import (
	"math/big"
	"math/bits"

	"surety/base/errs"
)

// Amount is a count of minor units (cents, fen); Hi holds the most significant half.
type Amount struct {
	Lo, Hi uint64
}

// Max is the greatest amount. In a balancing transfer it asks for as much as there is.
var Max = Amount{Lo: ^uint64(0), Hi: ^uint64(0)}

// Minor returns the amount of n minor units.
func Minor(n uint64) Amount { return Amount{Lo: n} }

// IsZero reports whether the amount is nothing.
func (a Amount) IsZero() bool { return a == Amount{} }

// Add returns a+b and whether it overflowed 128 bits.
func (a Amount) Add(b Amount) (sum Amount, overflow bool) {
	var carry uint64
	sum.Lo, carry = bits.Add64(a.Lo, b.Lo, 0)
	sum.Hi, carry = bits.Add64(a.Hi, b.Hi, carry)
	return sum, carry != 0
}

// Sub returns a-b and whether b was greater than a.
func (a Amount) Sub(b Amount) (difference Amount, underflow bool) {
	var borrow uint64
	difference.Lo, borrow = bits.Sub64(a.Lo, b.Lo, 0)
	difference.Hi, borrow = bits.Sub64(a.Hi, b.Hi, borrow)
	return difference, borrow != 0
}

// Less reports whether a is smaller than b.
func (a Amount) Less(b Amount) bool {
	_, borrow := bits.Sub64(a.Lo, b.Lo, 0)
	_, borrow = bits.Sub64(a.Hi, b.Hi, borrow)
	return borrow != 0
}

// Compare returns -1, 0 or 1 as a is less than, equal to or greater than b.
func (a Amount) Compare(b Amount) int {
	if a == b {
		return 0
	}
	if a.Less(b) {
		return -1
	}
	return 1
}

// Least returns the smaller of two amounts.
func Least(a, b Amount) Amount {
	if a.Less(b) {
		return a
	}
	return b
}

// Uint64 returns the amount as 64 bits and whether it fits.
func (a Amount) Uint64() (n uint64, fits bool) { return a.Lo, a.Hi == 0 }

// Big returns the amount as a new big integer.
func (a Amount) Big() *big.Int {
	n := new(big.Int).SetUint64(a.Hi)
	n.Lsh(n, 64)
	return n.Or(n, new(big.Int).SetUint64(a.Lo))
}

// FromBig returns n as an Amount; n below zero or above 128 bits is an error of kind Invalid.
func FromBig(n *big.Int) (Amount, error) {
	if n.Sign() < 0 {
		return Amount{}, errs.New(errs.Invalid, "money: amount %s is negative", n)
	}
	if n.BitLen() > 128 {
		return Amount{}, errs.New(errs.Invalid, "money: amount has %d bits, the limit is 128", n.BitLen())
	}
	low := new(big.Int).And(n, new(big.Int).SetUint64(^uint64(0)))
	return Amount{Lo: low.Uint64(), Hi: new(big.Int).Rsh(n, 64).Uint64()}, nil
}

// String returns the amount in minor units, as decimal digits.
func (a Amount) String() string {
	if a.Hi == 0 {
		return formatUint(a.Lo)
	}
	return a.Big().String()
}

// MarshalText encodes the amount as decimal digits of minor units: JSON carries money as strings.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText accepts decimal digits of minor units; kind Invalid otherwise.
func (a *Amount) UnmarshalText(text []byte) error {
	parsed, err := ParseMinor(string(text))
	if err != nil {
		return err
	}
	*a = parsed
	return nil
}

// ParseMinor reads decimal digits of minor units, with no sign, point or space; kind Invalid
// otherwise.
func ParseMinor(text string) (Amount, error) {
	if text == "" {
		return Amount{}, errs.New(errs.Invalid, "money: empty amount")
	}
	if len(text) > maxDigits {
		return Amount{}, errs.New(errs.Invalid, "money: amount has %d digits, the limit is %d",
			len(text), maxDigits)
	}
	var a Amount
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c < '0' || c > '9' {
			return Amount{}, errs.New(errs.Invalid, "money: amount %q has %q at position %d, want digits only",
				text, c, i+1)
		}
		next, overflow := a.timesTenPlus(uint64(c - '0'))
		if overflow {
			return Amount{}, errs.New(errs.Invalid, "money: amount %q is above 2^128-1", text)
		}
		a = next
	}
	return a, nil
}

// maxDigits is the number of decimal digits in 2^128-1.
const maxDigits = 39

func (a Amount) timesTenPlus(digit uint64) (Amount, bool) {
	carry, lo := bits.Mul64(a.Lo, 10)
	over, hi := bits.Mul64(a.Hi, 10)
	hi, c1 := bits.Add64(hi, carry, 0)
	lo, c2 := bits.Add64(lo, digit, 0)
	hi, c3 := bits.Add64(hi, 0, c2)
	return Amount{Lo: lo, Hi: hi}, over != 0 || c1 != 0 || c3 != 0
}

func formatUint(n uint64) string {
	var buffer [20]byte
	i := len(buffer)
	for {
		i--
		buffer[i] = byte('0' + n%10)
		n /= 10
		if n == 0 {
			return string(buffer[i:])
		}
	}
}
