package score

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"surety/base/errs"
)

func TestParseDecimal(t *testing.T) {
	for _, c := range []struct {
		text     string
		decimals int
		want     int64
	}{
		{"0", 0, 0}, {"-0", 2, 0}, {"7", 0, 7}, {"-7", 0, -7}, {"+7", 0, 7},
		{"13.99", 2, 1399}, {"13.9", 2, 1390}, {"13.999", 2, 1400}, {"13.985", 2, 1398},
		{"13.995", 2, 1400}, {"-13.995", 2, -1400}, {"13.9850000001", 2, 1399},
		{"5e+05", 0, 500_000}, {"5E5", 0, 500_000}, {"1.5e-3", 3, 2}, {"1.5e-3", 4, 15},
		{".5", 0, 0}, {".5", 1, 5}, {"1.5", 0, 2}, {"2.5", 0, 2}, {"5.", 0, 5},
		{"0.04", 0, 0}, {"0.004", 1, 0}, {"0.06", 1, 1}, {"00012", 0, 12}, {"0.0000000001e10", 0, 1},
		{"9223372036854775807", 0, math.MaxInt64}, {"-9223372036854775807", 0, -math.MaxInt64},
		{"9223372036854775.807", 3, math.MaxInt64}, {"1e-900", 9, 0}, {"0e900", 9, 0},
	} {
		got, err := ParseDecimal(c.text, c.decimals)
		if err != nil || got != c.want {
			t.Errorf("ParseDecimal(%q, %d) = %d, %v, want %d", c.text, c.decimals, got, err, c.want)
		}
	}
}

func TestParseDecimalRefuses(t *testing.T) {
	for _, text := range []string{
		"", " 1", "1 ", "-", "+", ".", "e5", "1e", "1e1.5", "1e1001", "1e-1001", "--1", "1,5", "0x10",
		"NaN", "Inf", "1_000", "9223372036854775808", "-9223372036854775808",
		"9223372036854775807.5", "1e19", "1e900", "1.2.3", "１",
	} {
		if got, err := ParseDecimal(text, 0); !errs.Is(err, errs.Invalid) {
			t.Errorf("ParseDecimal(%q) = %d, %v, want invalid", text, got, err)
		}
	}
}

// FuzzParseDecimal holds ParseDecimal to exact rational arithmetic.
func FuzzParseDecimal(f *testing.F) {
	f.Add("13.985", 2)
	f.Add("-5e+05", 0)
	f.Add("9223372036854775807.49", 0)
	f.Add("0.00000000000000000005", 9)
	f.Fuzz(func(t *testing.T, text string, decimals int) {
		if decimals < 0 || decimals > MaxDecimals || len(text) > 100 {
			return
		}
		got, err := ParseDecimal(text, decimals)
		if err != nil {
			return
		}
		exact, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("ParseDecimal(%q) = %d, and it is no number", text, got)
		}
		scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(decimals)), nil)
		exact.Mul(exact, new(big.Rat).SetInt(scale))
		off := new(big.Rat).Sub(exact, new(big.Rat).SetInt64(got))
		half := big.NewRat(1, 2)
		if cmp := off.Abs(off).Cmp(half); cmp > 0 || cmp == 0 && got%2 != 0 {
			t.Fatalf("ParseDecimal(%q, %d) = %d, which is %v off", text, decimals, got, off)
		}
		feature := Feature{Kind: Numeric, Decimals: decimals}
		if again, err := ParseDecimal(feature.Text(got), decimals); err != nil || again != got {
			t.Fatalf("%d is written %q and read %d, %v", got, feature.Text(got), again, err)
		}
	})
}

func TestFeatureText(t *testing.T) {
	amount := Feature{Name: "amount", Kind: Numeric, Decimals: 2}
	colour := Feature{Name: "colour", Kind: Categorical, Levels: []string{"blue", "red"}}
	for _, c := range []struct {
		feature Feature
		value   int64
		want    string
	}{
		{amount, 1399, "13.99"}, {amount, -1399, "-13.99"}, {amount, 5, "0.05"}, {amount, -5, "-0.05"},
		{amount, 0, "0.00"}, {amount, Missing, "missing"}, {colour, 1, "red"},
		{colour, 2, "unknown level 2"}, {colour, -1, "unknown level -1"}, {colour, Missing, "missing"},
	} {
		if got := c.feature.Text(c.value); got != c.want {
			t.Errorf("%s: Text(%d) = %q, want %q", c.feature.Name, c.value, got, c.want)
		}
	}
	for text, want := range map[string]int64{"blue": 0, "red": 1, "green": Missing, "": Missing} {
		if got, err := colour.Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	if got, err := amount.Parse(""); err != nil || got != Missing {
		t.Errorf("the empty text is %d, %v, want missing", got, err)
	}
	if _, err := amount.Parse(strings.Repeat("9", 5000)); !errs.Is(err, errs.Invalid) {
		t.Errorf("a number of 5,000 digits: %v, want invalid", err)
	} else if len(err.Error()) > 200 {
		t.Errorf("the error repeats %d bytes of the input", len(err.Error()))
	}
}
