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
		stated := got + uint64(rapid.IntRange(0, 3).Draw(t, "off"))
		gap := new(big.Rat).Sub(new(big.Rat).SetInt(new(big.Int).SetUint64(stated)), exact)
		gap.Abs(gap)
		for halves := uint64(1); halves <= 2; halves++ {
			want := gap.Cmp(big.NewRat(int64(halves), 2)) <= 0
			if within(stated, balance, rate, years, halves) != want {
				t.Fatalf("%d for exactly %s within %d halves: not %v", stated, exact.FloatString(6),
					halves, want)
			}
		}
	})
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
