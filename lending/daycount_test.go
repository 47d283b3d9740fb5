package lending

import (
	"testing"

	"surety/base/clock"
	"surety/base/money"

	"pgregory.net/rapid"
)

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func date(t tester, text string) clock.Date {
	t.Helper()
	d, err := clock.ParseDate(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestYearsVectors(t *testing.T) {
	for _, row := range []struct {
		name     string
		count    DayCount
		from, to string
		want     Fraction
	}{
		// curo (MIT), test/daycounts/*.dart
		{"dc-01", Act360, "2020-01-28", "2020-02-28", Fraction{31, 360}},
		{"dc-03", Act360, "2019-06-30", "2021-06-30", Fraction{731, 360}},
		{"dc-05", Act365F, "2017-12-31", "2019-12-31", Fraction{730, 365}},
		{"dc-07", ActAct, "2020-01-28", "2020-02-28", Fraction{31, 366}},
		{"dc-11", US30360, "2019-01-28", "2019-02-28", Fraction{30, 360}},
		{"dc-12", US30360, "2020-01-31", "2020-03-31", Fraction{60, 360}},
		{"dc-13", US30360, "2020-02-28", "2020-03-31", Fraction{33, 360}},
		{"dc-14", E30360, "2020-01-31", "2020-03-31", Fraction{60, 360}},
		{"dc-15", E30360, "2019-06-30", "2021-06-30", Fraction{720, 360}},
		{"dc-16", EUYears, "2019-01-31", "2019-02-28", Fraction{1, 12}},
		{"dc-18", Monthly, "2026-01-10", "2027-03-15", Fraction{14*30 + 5, 360}},
		// 2014/17/EU Annex I by the EC's examples 2a and 2b (DG FISMA, January 2015): the odd days
		// are a part of the year that ends with them.
		{"ec-2a", EUYears, "2012-01-12", "2012-02-15", Fraction{365 + 3*12, 365 * 12}},
		{"ec-2b", EUYears, "2013-01-12", "2013-02-15", Fraction{366 + 3*12, 366 * 12}},
		// ISDA 2006 section 4.16(b): 20 days in 2023, 11 in 2024.
		{"isda", ActAct, "2023-12-12", "2024-01-12", Fraction{20*366 + 11*365, 365 * 366}},
		// Half open: nothing from a day to itself, nor backwards.
		{"empty", Act360, "2024-01-01", "2024-01-01", Fraction{0, 1}},
		{"backwards", ActAct, "2024-01-02", "2024-01-01", Fraction{0, 1}},
		// End of month, forward and back.
		{"anchor", Monthly, "2023-02-28", "2023-03-31", Fraction{30, 360}},
		{"leap", Monthly, "2024-01-30", "2024-02-29", Fraction{30, 360}},
		{"february", US30360, "2023-02-28", "2024-02-29", Fraction{360, 360}},
		{"odd", Monthly, "2024-01-31", "2024-03-30", Fraction{30 + 29, 360}},
	} {
		got := row.count.Years(date(t, row.from), date(t, row.to))
		if got.Num*row.want.Den != row.want.Num*got.Den {
			t.Errorf("%s: %s of [%s, %s) = %d/%d, want %d/%d", row.name, row.count, row.from, row.to,
				got.Num, got.Den, row.want.Num, row.want.Den)
		}
	}
}

// A later end never makes an interval shorter, and counts of actual days add up.
func TestYearsGrow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := clock.Date(rapid.IntRange(0, 40_000).Draw(t, "from"))
		a := from + clock.Date(rapid.IntRange(0, 800).Draw(t, "first"))
		b := a + clock.Date(rapid.IntRange(0, 800).Draw(t, "second"))
		for d := Act360; d <= EUYears; d++ {
			short, long := d.Years(from, a), d.Years(from, b)
			// Months and odd days over a year's own length can step back by less than a day.
			slack := short.Den * long.Den / 300
			if d != EUYears && d != Monthly {
				slack = 0
			}
			if short.Num*long.Den > long.Num*short.Den+slack {
				t.Fatalf("%s: [%s, %s) is longer than [.., %s)", d, from, a, b)
			}
			if d == Act360 || d == Act365F || d == ActAct {
				rest := d.Years(a, b)
				const million = 1_000_000_000
				sum := short.Num*million/short.Den + rest.Num*million/rest.Den
				if all := long.Num * million / long.Den; all < sum || all > sum+2 {
					t.Fatalf("%s: parts of [%s, %s, %s) do not add up", d, from, a, b)
				}
			}
		}
	})
}

// The parts of a period sum to the period under the conventions that count months.
func TestPartsOfAPeriod(t *testing.T) {
	p := period{clock.MustDate(2024, 2, 1), clock.MustDate(2024, 3, 1)}
	for d := clock.Date(0); d <= 29; d++ {
		got := Monthly.part(p, p.from, p.from+d)
		if got.Num*12*29 != uint64(d)*got.Den {
			t.Errorf("%d days of February 2024 are %d/%d years", d, got.Num, got.Den)
		}
	}
	if got := Act360.part(p, p.from, p.from+14); got != (Fraction{14, 360}) {
		t.Errorf("14 days ACT/360 are %v", got)
	}
}

func TestInterestRounding(t *testing.T) {
	for _, row := range []struct {
		balance uint64
		rate    string
		years   Fraction
		want    [4]uint64 // half even, half up, down, up
	}{
		{100_00, "12", Fraction{1, 12}, [4]uint64{100, 100, 100, 100}}, // exact
		{50, "1", Fraction{1, 1}, [4]uint64{0, 1, 0, 1}},               // 0.5: a tie
		{150, "1", Fraction{1, 1}, [4]uint64{2, 2, 1, 2}},              // 1.5: a tie
		{149, "1", Fraction{1, 1}, [4]uint64{1, 1, 1, 2}},              // 1.49
		{151, "1", Fraction{1, 1}, [4]uint64{2, 2, 1, 2}},              // 1.51
		{0, "1000", Fraction{100, 1}, [4]uint64{0, 0, 0, 0}},
		{100, "0", Fraction{1, 12}, [4]uint64{0, 0, 0, 0}},
		{principalMax, "1000", Fraction{36525 * 366, 365 * 366},
			[4]uint64{1_000_684_931_506_849_315, 1_000_684_931_506_849_315, 1_000_684_931_506_849_315,
				1_000_684_931_506_849_316}},
	} {
		for i, want := range row.want {
			got, err := interestOn(money.Minor(row.balance), MustRate(row.rate), row.years, Rounding(i+1))
			if err != nil || got != money.Minor(want) {
				t.Errorf("%d at %s for %v, %s: %s, %v, want %d", row.balance, row.rate, row.years,
					Rounding(i+1), got, err, want)
			}
		}
	}
	if _, err := interestOn(money.Minor(1<<62), rateMax, Fraction{1, 1}, RoundUp); err == nil {
		t.Error("interest beyond 63 bits is not refused")
	}
}

func TestRateText(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"14.07", "14.07"}, {"7", "7"}, {"0", "0"}, {"0.0", "0"}, {"007.50", "7.5"},
		{"0.000000001", "0.000000001"}, {"1000000", "1000000"}, {"9.482200000", "9.4822"},
	} {
		r, err := ParseRate(row.in)
		if err != nil || r.String() != row.want {
			t.Errorf("ParseRate(%q) = %q, %v, want %q", row.in, r, err, row.want)
		}
	}
	for _, bad := range []string{"", "-1", "+1", "1e3", ".5", "5.", "1.2.3", "14,07", "1000000.1", "1000001",
		"0.0000000001", "99999999999999999999", " 1", "1%", "1000000000000000000000000000"} {
		if r, err := ParseRate(bad); err == nil {
			t.Errorf("ParseRate(%q) = %s, want an error", bad, r)
		}
	}
	for _, row := range []struct {
		decimals int
		want     string
	}{{0, "7"}, {1, "6.7"}, {2, "6.67"}, {4, "6.6666"}, {9, "6.666600000"}} {
		if got := MustRate("6.6666").Text(row.decimals); got != row.want {
			t.Errorf("Text(%d) = %q, want %q", row.decimals, got, row.want)
		}
	}
	if got := MustRate("6.666666666").MicroPercent(); got != 6_666_667 {
		t.Errorf("MicroPercent = %d", got)
	}
}

func FuzzParseRate(f *testing.F) {
	f.Add("14.07")
	f.Add("1000000.000000000")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRate(text)
		if err != nil {
			return
		}
		if again, err := ParseRate(r.String()); err != nil || again != r || r > rateMax {
			t.Fatalf("%q reads as %s, which reads as %s, %v", text, r, again, err)
		}
	})
}
