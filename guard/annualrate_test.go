package guard

import (
	"testing"

	"surety/base/clock"
)

// monthly returns n equal payments, the first on a date, in minor units.
func monthly(n int, first string, payment uint64) []Flow {
	var flows []Flow
	start := day(first)
	_, _, anchor := start.Civil()
	for i := range n {
		flows = append(flows, Flow{Due: start.AddMonths(i, anchor), Payment: payment})
	}
	return flows
}

// The rows are the European Commission's examples for the calculation of the annual percentage rate
// of charge (DG FISMA, January 2015), whose rates have six decimals: 200,000 with a fee of 4,000.
func TestEuropeanRates(t *testing.T) {
	for _, row := range []struct {
		name    string
		on      string
		flows   []Flow
		rate    uint64 // 1e-6 percent
		advance uint64
	}{
		{"example 1", "2014-01-01", monthly(240, "2014-02-01", 1432_86), 6_434_412, 196_000_00},
		{"example 2a, odd days of 365", "2012-01-12", monthly(240, "2012-02-15", 1433_57), 6_434_185,
			196_000_00},
		{"example 2b, odd days of 366", "2013-01-12", monthly(240, "2013-02-15", 1433_56), 6_434_111,
			196_000_00},
		{"example 7, balloon", "2014-01-01", append(monthly(180, "2014-02-01", 1199_10),
			Flow{Due: day("2029-01-01"), Payment: 142_097_69}), 6_409_523, 196_000_00},
		{"example 8a, bullet", "2014-01-01", append(monthly(240, "2014-02-01", 1166_67),
			Flow{Due: day("2034-01-01"), Payment: 200_000_00}), 7_430_479, 196_000_00},
		{"example 42, bridging", "2014-01-01", append(monthly(12, "2014-02-01", 1250_00),
			Flow{Due: day("2015-01-01"), Payment: 200_000_00}), 10_039_962, 196_000_00},
	} {
		value := func(rate uint64) valuation { return newEffectiveEU(day(row.on), rate) }
		exact := rateOf(row.flows, row.advance, value)
		if gap := int64(exact) - int64(row.rate); gap < -2 || gap > 2 {
			t.Errorf("%s: %d, want %d", row.name, exact, row.rate)
		}
		holds(t, row.name, row.flows, row.advance, exact, value)
	}
}

// The rows are examples (c)(1)(i), (c)(2)(i), (c)(3)(i) and (c)(4)(i) of 12 CFR 1026 Appendix J, whose rates
// have two decimals.
func TestUnitedStatesRates(t *testing.T) {
	last := func(flows []Flow, due string, payment uint64) []Flow {
		return append(flows, Flow{Due: day(due), Payment: payment})
	}
	for _, row := range []struct {
		name    string
		on      string
		flows   []Flow
		percent uint64 // of a percent
		advance uint64
	}{
		{"c1i", "1978-01-10", monthly(24, "1978-02-10", 230_00), 969, 5000_00},
		{"c2i", "1978-01-10", last(monthly(23, "1978-03-10", 230_00), "1978-02-10", 250_00), 1008, 5000_00},
		{"c4i", "1978-01-10", last(last(monthly(22, "1978-03-10", 230_00), "1978-02-10", 250_00),
			"1980-01-10", 280_00), 1090, 5000_00},
		{"c3i", "1978-01-10", last(monthly(23, "1978-02-10", 230_00), "1980-01-10", 280_00), 1050, 5000_00},
	} {
		value := func(rate uint64) valuation { return newNominalUS(day(row.on), rate) }
		exact := rateOf(row.flows, row.advance, value)
		if got := (exact + 5000) / 10_000; got != row.percent {
			t.Errorf("%s: %d hundredths of a percent, want %d", row.name, got, row.percent)
		}
		holds(t, row.name, row.flows, row.advance, exact, value)
	}
}

// holds checks that the exact rate and its rounding are accepted, and what lies further is not.
func holds(t *testing.T, name string, flows []Flow, advance, exact uint64,
	value func(uint64) valuation) {
	t.Helper()
	for _, row := range []struct {
		rate uint64
		want bool
	}{{exact, true}, {exact + 3, false}, {exact - 3, false}, {exact * 100, false}, {exact / 100, false},
		{0, false}, {1 << 63, false}} {
		if got := rateHolds(flows, advance, row.rate, value); got != row.want {
			t.Errorf("%s: a disclosed rate of %d beside %d is %v, want %v", name, row.rate, exact, got,
				row.want)
		}
	}
}

func TestRateOfAFreeLoanIsZero(t *testing.T) {
	flows := monthly(10, "2024-02-29", 100_00)
	value := func(rate uint64) valuation { return newEffectiveEU(day("2024-01-31"), rate) }
	if !rateHolds(flows, 1000_00, 0, value) {
		t.Error("a rate of zero is refused for a loan that costs nothing")
	}
	if rateHolds(flows, 1000_00, 5, value) {
		t.Error("a rate above zero is accepted for a loan that costs nothing")
	}
	if rateHolds(flows, 999_00, 0, value) {
		t.Error("a rate of zero is accepted for a loan that costs something")
	}
}

func BenchmarkCheckRates(b *testing.B) {
	on := clock.MustDate(2024, 1, 31)
	flows := monthly(24, "2024-02-29", 50_00)
	value := func(rate uint64) valuation { return newEffectiveEU(on, rate) }
	exact := rateOf(flows, 1000_00, value)
	for b.Loop() {
		rateHolds(flows, 1000_00, exact, value)
	}
}
