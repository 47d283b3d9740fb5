package guard

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

// exactInterest is balance x rate x years as a rational.
func exactInterest(balance, rate uint64, years ratio) *big.Rat {
	n := new(big.Int).Mul(new(big.Int).SetUint64(balance), new(big.Int).SetUint64(rate))
	r := new(big.Rat).SetFrac(n, new(big.Int).SetUint64(rateUnit))
	return r.Mul(r, rat(years))
}

func TestInterestAgainstRationals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		balance := rapid.Uint64Range(0, MinorMax).Draw(t, "balance")
		rate := rapid.Uint64Range(0, 100*rateUnit).Draw(t, "rate")
		years := ratio{rapid.Uint64Range(0, 40_000).Draw(t, "num"),
			rapid.SampledFrom([]uint64{1, 12, 360, 365, 366, 365 * 366}).Draw(t, "den")}
		exact := exactInterest(balance, rate, years)
		if exact.Cmp(new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), 62))) > 0 {
			t.Skip("beyond any amount")
		}
		got := interest(balance, rate, years)
		half := new(big.Rat).Sub(new(big.Rat).SetInt(new(big.Int).SetUint64(got)), exact)
		half.Abs(half)
		if half.Cmp(big.NewRat(1, 2)) > 0 {
			t.Fatalf("%d at %d for %d/%d: %d, exactly %s", balance, rate, years.num, years.den, got,
				exact.FloatString(3))
		}
		for rule := RoundingHalfEven; rule <= RoundingUp; rule++ {
			want := roundedBy(rule, exact)
			if of := rule.of(balance, rate, years); of != want {
				t.Fatalf("%s rounded %s is %d, want %d", exact.FloatString(6), roundingNames[rule], of, want)
			}
			for stated := less(want, 2); stated <= want+2; stated++ {
				if rule.rounds(stated, balance, rate, years) != (stated == want) {
					t.Fatalf("%d for %s rounded %s: not %v", stated, exact.FloatString(6),
						roundingNames[rule], stated == want)
				}
			}
		}
		for stated := less(got, 3); stated <= got+3; stated++ {
			gap := new(big.Rat).Sub(new(big.Rat).SetInt(new(big.Int).SetUint64(stated)), exact)
			want := gap.Abs(gap).Cmp(big.NewRat(1, 1)) <= 0
			if RoundingNone.rounds(stated, balance, rate, years) != want {
				t.Fatalf("%d for %s within a unit: not %v", stated, exact.FloatString(6), want)
			}
		}
	})
}

// roundedBy rounds a rational, the plain way.
func roundedBy(rule Rounding, exact *big.Rat) uint64 {
	down := new(big.Int).Quo(exact.Num(), exact.Denom())
	rest := new(big.Rat).Sub(exact, new(big.Rat).SetInt(down))
	half := rest.Cmp(big.NewRat(1, 2))
	n := down.Uint64()
	up := rule == RoundingUp && rest.Sign() > 0 || rule == RoundingHalfUp && half >= 0 ||
		rule == RoundingHalfEven && (half > 0 || half == 0 && n%2 == 1)
	if up {
		n++
	}
	return n
}

func TestTies(t *testing.T) {
	// 50 at 1 percent for a year is exactly half a unit; 150 is one and a half.
	const percent = rateUnit / 100
	for _, row := range []struct {
		balance uint64
		rule    Rounding
		want    uint64
	}{
		{50, RoundingHalfEven, 0}, {50, RoundingHalfUp, 1}, {50, RoundingDown, 0}, {50, RoundingUp, 1},
		{150, RoundingHalfEven, 2}, {150, RoundingHalfUp, 2}, {150, RoundingDown, 1}, {150, RoundingUp, 2},
		{100, RoundingDown, 1}, {100, RoundingUp, 1},
	} {
		for stated := range uint64(4) {
			got := row.rule.rounds(stated, row.balance, percent, ratio{1, 1})
			if got != (stated == row.want) {
				t.Errorf("%d for 1 percent of %d rounded %s: %v, want %d", stated, row.balance,
					roundingNames[row.rule], got, row.want)
			}
		}
	}
}

func TestPeriods(t *testing.T) {
	l := loan{disbursedOn: day("2023-12-31"), firstDue: day("2024-01-31"), anchorDay: 31,
		dayCount: Monthly}
	for _, row := range []struct {
		from, to string
		num, den uint64
	}{
		{"2023-12-31", "2024-01-31", 1, 12},
		{"2024-01-31", "2024-02-29", 1, 12},
		{"2024-02-29", "2024-03-31", 1, 12},
		{"2024-02-29", "2024-03-15", 15, 31 * 12}, // part of a month: pro rata by days
		{"2024-03-15", "2024-03-31", 16, 31 * 12},
		{"2024-01-31", "2024-03-31", 2, 12},
	} {
		got := rat(l.yearsOf(day(row.from), day(row.to)))
		if want := big.NewRat(int64(row.num), int64(row.den)); got.Cmp(want) != 0 {
			t.Errorf("from %s to %s: %s years, want %s", row.from, row.to, got, want)
		}
	}
}
