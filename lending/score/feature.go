package score

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"surety/base/errs"
)

// Missing is the value of a feature that is not known. Models give it a bin or a direction of its
// own; it is never confused with zero.
const Missing int64 = math.MinInt64

// FeatureKind says what a feature's integer means. The texts stand in model files.
type FeatureKind string

// The kinds of feature.
const (
	Numeric     FeatureKind = "numeric"     // a quantity in units of 10^-Decimals: order matters
	Categorical FeatureKind = "categorical" // an index into Levels: order means nothing
)

// Feature describes one input of a model.
type Feature struct {
	Name     string      `json:"name"`
	Kind     FeatureKind `json:"kind"`
	Decimals int         `json:"decimals,omitempty"` // numeric: 13.99 with 2 decimals is 1399
	Levels   []string    `json:"levels,omitempty"`   // categorical: ascending and distinct
	Reason   string      `json:"reason"`             // the code under which it is a reason
}

// Parse returns the integer that a text stands for: the decimal number scaled and rounded half to
// even, or the index of the level. An empty text, and a level the feature does not have, are
// Missing: a model has no opinion about what it never saw. A numeric text that is no number or does
// not fit is errs.Invalid.
func (f *Feature) Parse(text string) (int64, error) {
	if text == "" {
		return Missing, nil
	}
	if f.Kind == Categorical {
		if i, found := slices.BinarySearch(f.Levels, text); found {
			return int64(i), nil
		}
		return Missing, nil
	}
	return ParseDecimal(text, f.Decimals)
}

// Text returns a value as a person reads it, the inverse of Parse; Missing is "missing".
func (f *Feature) Text(value int64) string {
	switch {
	case value == Missing:
		return "missing"
	case f.Kind == Categorical:
		if value < 0 || value >= int64(len(f.Levels)) {
			return "unknown level " + strconv.FormatInt(value, 10)
		}
		return f.Levels[value]
	}
	return formatDecimal(value, f.Decimals)
}

// ParseDecimal returns a decimal number, such as "-12.5" or "5e+05", in units of 10^-decimals, and
// rounds half to even what lies below one unit. The number of digits is not limited, the exponent
// is to ±1000. It is errs.Invalid where the text is no such number or the result does not fit an
// int64 (Missing itself does not fit).
func ParseDecimal(text string, decimals int) (int64, error) {
	negative, digits, point, ok := splitDecimal(text)
	if !ok {
		return 0, errs.New(errs.Invalid, "score.parse: %.40q is not a decimal number", text)
	}
	// The value is 0.digits * 10^point; whole is how many of the digits lie above one unit.
	value, ok := roundDigits(digits, point+decimals)
	if !ok {
		return 0, errs.New(errs.Invalid, "score.parse: %.40q does not fit 64 bits at %d decimals",
			text, decimals)
	}
	if negative {
		value = -value
	}
	return value, nil
}

// splitDecimal takes "[sign]digits[.digits][e[sign]digits]" apart: the digits without point and
// leading zeros, and where the point stands, counted from their front.
func splitDecimal(text string) (negative bool, digits string, point int, ok bool) {
	mantissa, exponentText, hasExponent := strings.Cut(text, "e")
	if !hasExponent {
		mantissa, exponentText, hasExponent = strings.Cut(text, "E")
	}
	exponent := 0
	if hasExponent {
		var err error
		if exponent, err = strconv.Atoi(exponentText); err != nil || max(exponent, -exponent) > 1000 {
			return false, "", 0, false
		}
	}
	if strings.HasPrefix(mantissa, "-") || strings.HasPrefix(mantissa, "+") {
		negative, mantissa = mantissa[0] == '-', mantissa[1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits = whole + fraction
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return false, "", 0, false
	}
	stripped := strings.TrimLeft(digits, "0")
	return negative, stripped, len(whole) - (len(digits) - len(stripped)) + exponent, true
}

// roundDigits returns 0.digits * 10^whole as a whole number, half to even.
func roundDigits(digits string, whole int) (int64, bool) {
	if digits == "" || whole < 0 {
		return 0, true
	}
	if whole > 19 {
		return 0, false
	}
	value := uint64(0)
	for i := range whole {
		digit := uint64(0)
		if i < len(digits) {
			digit = uint64(digits[i] - '0')
		}
		if value > (math.MaxInt64-digit)/10 {
			return 0, false
		}
		value = value*10 + digit
	}
	if whole < len(digits) && roundsUp(digits[whole:], value%2 == 1) {
		value++
	}
	if value > math.MaxInt64 {
		return 0, false
	}
	return int64(value), true
}

// roundsUp reports whether a cut-off tail of digits raises the digit before it, half to even.
func roundsUp(tail string, odd bool) bool {
	if tail[0] != '5' {
		return tail[0] > '5'
	}
	return odd || strings.Trim(tail[1:], "0") != ""
}

// formatDecimal writes a value in units of 10^-decimals, with exactly that many decimals.
func formatDecimal(value int64, decimals int) string {
	text := strconv.FormatInt(value, 10)
	if decimals <= 0 {
		return text
	}
	sign := ""
	if value < 0 {
		sign, text = "-", text[1:]
	}
	if missing := decimals + 1 - len(text); missing > 0 {
		text = strings.Repeat("0", missing) + text
	}
	point := len(text) - decimals
	return sign + text[:point] + "." + text[point:]
}
