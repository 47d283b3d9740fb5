package guard

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"surety/base/clock"
)

func day(text string) clock.Date {
	d, err := clock.ParseDate(text)
	if err != nil {
		panic(err)
	}
	return d
}

// The rows are those of the day-count tests of andrewmurphy353/curo (MIT), test/daycounts, and for
// the EU that of 2008/48/EC Annex I remark c.
func TestDayCounts(t *testing.T) {
	for _, row := range []struct {
		count    DayCount
		from, to string
		num, den uint64
	}{
		{Actual360, "2020-01-28", "2020-02-28", 31, 360},
		{Actual360, "2019-06-30", "2021-06-30", 731, 360},
		{Actual365, "2017-12-31", "2019-12-31", 730, 365},
		{Actual365, "2020-01-28", "2020-02-28", 31, 365},
		{ActualActual, "2020-01-28", "2020-02-28", 31, 366},
		{ActualActual, "2019-12-31", "2020-01-31", 1*366 + 30*365, 365 * 366},
		{Thirty360US, "2019-01-28", "2019-02-28", 30, 360},
		{Thirty360US, "2020-01-31", "2020-03-31", 60, 360},
		{Thirty360US, "2020-02-28", "2020-03-31", 33, 360},
		{Thirty360E, "2020-01-31", "2020-03-31", 60, 360},
		{Thirty360E, "2019-06-30", "2021-06-30", 720, 360},
		{YearsEU, "2019-01-31", "2019-02-28", 1, 12},
		{YearsEU, "2012-01-12", "2012-02-15", 365 + 12*3, 12 * 365},
		{YearsEU, "2013-01-12", "2013-02-15", 366 + 12*3, 12 * 366},
		{Monthly, "2026-01-10", "2027-03-15", 14*30 + 5, 360},
		{Monthly, "2024-01-31", "2024-02-29", 30, 360},
		{Actual360, "2024-03-01", "2024-03-01", 0, 1},
		{Actual360, "2024-03-02", "2024-03-01", 0, 1},
	} {
		got := row.count.years(day(row.from), day(row.to))
		want := new(big.Rat).SetFrac64(int64(row.num), int64(row.den))
		if rat(got).Cmp(want) != 0 {
			t.Errorf("%s from %s to %s: %d/%d, want %d/%d", row.count, row.from, row.to, got.num,
				got.den, row.num, row.den)
		}
	}
}

func rat(r ratio) *big.Rat {
	return new(big.Rat).SetFrac(new(big.Int).SetUint64(r.num), new(big.Int).SetUint64(r.den))
}

// TestActualActual compares with counting the days one by one.
func TestActualActual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := clock.Date(rapid.IntRange(0, 40_000).Draw(t, "from"))
		to := from.AddDays(rapid.IntRange(0, 2000).Draw(t, "days"))
		want := new(big.Rat)
		for d := from; d < to; d++ {
			year, _, _ := d.Civil()
			length := int64(365)
			if clock.IsLeap(year) {
				length = 366
			}
			want.Add(want, big.NewRat(1, length))
		}
		if got := rat(ActualActual.years(from, to)); got.Cmp(want) != 0 {
			t.Fatalf("from %s to %s: %s, want %s", from, to, got, want)
		}
	})
}

// TestSpan: going back the months from the later day, or forward from the earlier, meets the anchor.
func TestSpan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := clock.Date(rapid.IntRange(0, 40_000).Draw(t, "from"))
		to := from.AddDays(rapid.IntRange(0, 4000).Draw(t, "days"))
		months, odd, anchor := span(from, to)
		if months < 0 || odd < 0 || odd > 31 {
			t.Fatalf("from %s to %s: %d months and %d days", from, to, months, odd)
		}
		back := to.AddMonths(-months, 0)
		if forward := from.AddMonths(months, 0); forward != to && back != anchor {
			t.Fatalf("from %s to %s: %d months back is %s, anchor is %s", from, to, months, back, anchor)
		}
		if anchor.Sub(from) != odd {
			t.Fatalf("from %s to %s: %d odd days, the anchor is %s", from, to, odd, anchor)
		}
	})
}
