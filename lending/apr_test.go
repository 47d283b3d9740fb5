package lending

import (
	"math/big"
	"strings"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/money"

	"pgregory.net/rapid"
)

// minor reads an amount with two decimals.
func minor(t tester, text string) money.Amount {
	t.Helper()
	usd, err := money.CurrencyOf("USD")
	if err != nil {
		t.Fatal(err)
	}
	a, err := usd.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// near fails unless got is within tolerance of want, all in percent.
func near(t *testing.T, name string, got Rate, want, tolerance string) {
	t.Helper()
	w, slack := MustRate(want), MustRate(tolerance)
	if got+slack < w || got > w+slack {
		t.Errorf("%s: %s percent, want %s within %s", name, got, want, tolerance)
	}
}

// series is a run of equal payments.
type series struct {
	n      int
	amount string
	first  string
	months int
	days   int
}

func (s series) payments(t tester) []Payment {
	first := date(t, s.first)
	var list []Payment
	for i := range s.n {
		on := first.AddMonths(i*s.months, 0).AddDays(i * s.days)
		list = append(list, Payment{on, minor(t, s.amount)})
	}
	return list
}

// The examples of 12 CFR Part 1026 (Regulation Z) Appendix J (c), as transcribed in
// FSharp.Finance.Personal tests/AprUsActuarialTests.fs; the numbers are federal regulation text.
func TestUSActuarialVectors(t *testing.T) {
	month := UnitPeriod{Months: 1}
	for _, row := range []struct {
		name, advance, on string
		unit              UnitPeriod
		series            []series
		want              string
	}{
		{"(c)(1)(i) monthly, regular first period", "5000.00", "1978-01-10", month,
			[]series{{24, "230.00", "1978-02-10", 1, 0}}, "9.69"},
		{"(c)(2)(i) irregular first payment", "5000.00", "1978-01-10", month,
			[]series{{1, "250.00", "1978-02-10", 0, 0}, {23, "230.00", "1978-03-10", 1, 0}}, "10.08"},
		{"(c)(2)(ii) every 4 weeks, long first period", "400.00", "1978-03-18", UnitPeriod{Days: 28},
			[]series{{1, "39.50", "1978-04-20", 0, 0}, {11, "38.31", "1978-05-18", 0, 28}}, "28.50"},
		{"(c)(3)(i) irregular final payment", "5000.00", "1978-01-10", month,
			[]series{{23, "230.00", "1978-02-10", 1, 0}, {1, "280.00", "1980-01-10", 0, 0}}, "10.50"},
		{"(c)(4)(i) irregular first and final payment", "5000.00", "1978-01-10", month,
			[]series{{1, "250.00", "1978-02-10", 0, 0}, {22, "230.00", "1978-03-10", 1, 0},
				{1, "280.00", "1980-01-10", 0, 0}}, "10.90"},
		{"(c)(4)(ii) every 2 months, short first period", "8000.00", "1978-01-10", UnitPeriod{Months: 2},
			[]series{{1, "449.36", "1978-03-01", 0, 0}, {18, "465.00", "1978-05-01", 2, 0},
				{1, "200.00", "1981-05-01", 0, 0}}, "7.30"},
		{"(c)(5)(i) single payment after 255 days", "1000.00", "1978-01-03", UnitPeriod{Days: 255},
			[]series{{1, "1080.00", "1978-09-15", 0, 0}}, "11.45"},
	} {
		var payments []Payment
		for _, s := range row.series {
			payments = append(payments, s.payments(t)...)
		}
		got, err := USActuarial(minor(t, row.advance), date(t, row.on), payments, row.unit)
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		near(t, row.name, got, row.want, "0.005")
	}
}

// timed builds payments at begin + k/perYear years, k from 0, where begin is a fraction.
func timed(n int, amount uint64, begin Fraction, perYear uint64) []TimedPayment {
	var list []TimedPayment
	for k := range uint64(n) {
		list = append(list, TimedPayment{
			Fraction{begin.Num*perYear + k*begin.Den, begin.Den * perYear}, money.Minor(amount)})
	}
	return list
}

// Examples of the European Commission, DG FISMA, "Examples for the calculation of the Annual
// Percentage Rate of Charge" (G. M. Soto, January 2015); the fee of two percent is held back from
// the drawdown. Amounts are in millionths of a cent, so that rules without rounding stay exact.
func TestEUVectors(t *testing.T) {
	const cent, m = 1_000_000, 12
	month := Fraction{1, 12}
	for _, row := range []struct {
		name       string
		net        uint64 // cents
		payments   []TimedPayment
		want, slop string
	}{
		{"1: 240 x 1432.86", 19_600_000, timed(240, 1432_86*cent, month, m), "6.434412", "0.000002"},
		{"2a: 3/365 odd days", 19_600_000, timed(240, 1433_57*cent,
			Fraction{3*12 + 365, 365 * 12}, m), "6.434185", "0.000002"},
		{"2b: 3/366 odd days", 19_600_000, timed(240, 1433_56*cent,
			Fraction{3*12 + 366, 366 * 12}, m), "6.434111", "0.000002"},
		{"2c: yearly after 34/365", 19_600_000, timed(20, 16541_86*cent, Fraction{34, 365}, 1),
			"6.282070", "0.000002"},
		{"7: balloon", 19_600_000, append(timed(180, 1199_10*cent, month, m),
			TimedPayment{Fraction{15, 1}, money.Minor(142097_69 * cent)}), "6.409523", "0.000002"},
		{"8a: interest only and bullet", 19_600_000, append(timed(240, 1166_67*cent, month, m),
			TimedPayment{Fraction{20, 1}, money.Minor(200000_00 * cent)}), "7.430479", "0.000002"},
		{"12: interest and 900 a month", 19_600_000, ruled(223, func(balance uint64) uint64 {
			return min(balance, 900_00*cent)
		}), "6.492533", "0.000002"},
		{"13: equal principal", 19_600_000, ruled(240, func(uint64) uint64 {
			return 200000_00 * cent / 240
		}), "6.476009", "0.000002"},
		{"15: 2% of balance with interest, at least 300", 19_600_000, ruled(228,
			func(balance uint64) uint64 {
				owed := balance + balance/200
				return min(balance, max(owed/50, 300_00*cent)-balance/200)
			}), "6.695965", "0.000002"},
		{"39: overdraft", 294_000, timed(1, 3132_09*cent, Fraction{6, 12}, m), "13.494231", "0.00001"},
		{"40: capitalised bridging", 19_600_000, timed(1, 207618_17*cent, Fraction{6, 12}, m),
			"12.206644", "0.000002"},
		{"42: bridging, interest only", 19_600_000, append(timed(12, 1250_00*cent, month, m),
			TimedPayment{Fraction{1, 1}, money.Minor(200000_00 * cent)}), "10.039962", "0.000002"},
		// php-apr-calculator spec/CalculatorSpec.php (MIT), from the UK CFA's own tests.
		{"uk-31d", 100_00, timed(1, 125_00*cent, Fraction{31 * 4, 1461}, m), "1286.2", "0.05"},
		// FSharp.Finance.Personal tests/AprEuropeanUnionTests.fs: 2012-10-10 to 11-10 and 12-10.
		{"eu-2m", 500_00, []TimedPayment{{Fraction{31 * 4, 1461}, money.Minor(270_00 * cent)},
			{Fraction{61 * 4, 1461}, money.Minor(270_00 * cent)}}, "84.63", "0.1"},
		{"uk-cfa-short", 200_00, timed(1, 250_00*cent, month, m), "1355.2", "0.05"},
	} {
		got, err := EffectiveRate(money.Minor(row.net*cent), row.payments)
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		near(t, row.name, got, row.want, row.slop)
	}
}

// ruled is 200,000 at half a percent a month, repaid by a rule for the principal of a month.
func ruled(n int, principal func(balance uint64) uint64) []TimedPayment {
	var list []TimedPayment
	balance := uint64(200000_00_000000)
	for k := range uint64(n) {
		part := principal(balance)
		list = append(list, TimedPayment{Fraction{k + 1, 12}, money.Minor(part + balance/200)})
		balance -= part
	}
	return list
}

// The EC's example 2a by its calendar.
func TestEUEffectiveByDate(t *testing.T) {
	long := series{240, "1433.57", "2012-02-15", 1, 0}.payments(t)
	got, err := EUEffective(minor(t, "196000"), date(t, "2012-01-12"), long)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "ec-apr-02a", got, "6.434185", "0.000002")
}

func TestReturnFunctions(t *testing.T) {
	whole := func(n uint64) money.Amount { return money.Minor(n * 100) }
	// formulajs test/financial.js (MIT), the values of Excel's documentation.
	irr, err := IRR(whole(75000), []money.Amount{whole(12000), whole(15000), whole(18000), whole(21000),
		whole(24000)})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "IRR", irr, "5.715142887", "0.0000001")
	// alpeb/go-finance fin/*_test.go (MIT), Excel documentation values.
	xirr, err := XIRR(whole(10000), date(t, "2008-01-01"), []Payment{
		{date(t, "2008-03-01"), whole(2750)}, {date(t, "2008-10-30"), whole(4250)},
		{date(t, "2009-02-15"), whole(3250)}, {date(t, "2009-04-01"), whole(2750)}})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "XIRR", xirr, "37.3362535", "0.00001")
	effect, err := Effective(MustRate("0.9"), 4)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "EFFECT", effect, "0.903042", "0.00001")
	nominal, err := Nominal(MustRate("34"), 4)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "NOMINAL", nominal, "30.3643", "0.0001")
}

func TestRatesRefuse(t *testing.T) {
	day := clock.MustDate(2024, 1, 1)
	one := []Payment{{day + 30, money.Minor(100)}}
	month := UnitPeriod{Months: 1}
	for _, row := range []struct {
		name     string
		advance  uint64
		payments []Payment
		unit     UnitPeriod
		want     string
	}{
		{"unit", 100, one, UnitPeriod{}, "unit-period of 0 months"},
		{"both units", 100, one, UnitPeriod{1, 1}, "unit-period of 1 months"},
		{"same day", 100, []Payment{{day, money.Minor(1)}}, month, "not after the advance"},
		{"nothing lent", 0, one, month, "advance is 0"},
		{"too much lent", principalMax + 1, one, month, "advance is"},
		{"no payment", 100, nil, month, "0 payments"},
		{"too many", 100, make([]Payment, flowsMax+1), month, "not after"},
		{"less than lent", 101, one, month, "less than the advance"},
		{"too much paid", 1, []Payment{{day + 1, money.Minor(101)}}, month, "more than 100 times"},
		{"too late", 100, []Payment{{day + 365*500, money.Minor(200)}}, month, "out of order or range"},
		{"too high", 100, []Payment{{day + 1, money.Minor(9900)}}, UnitPeriod{Days: 1}, "above"},
	} {
		_, err := USActuarial(money.Minor(row.advance), day, row.payments, row.unit)
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
	if _, err := EUEffective(money.Minor(1), day, []Payment{{day + 1, money.Minor(99)}}); err == nil {
		t.Error("a rate of 99^365 is not refused")
	}
	for _, perYear := range []int{0, 367} {
		if _, err := Effective(0, perYear); err == nil {
			t.Error("Effective accepts", perYear)
		}
		if _, err := Nominal(0, perYear); err == nil {
			t.Error("Nominal accepts", perYear)
		}
	}
	if _, err := Effective(rateMax, 366); err == nil {
		t.Error("an effective rate beyond all bounds is not refused")
	}
	level, err := EUEffective(money.Minor(100), day, one)
	if err != nil || level != 0 {
		t.Errorf("what is lent comes back: rate %s, %v, want 0", level, err)
	}
}

// The rate found is the root: discounting at it in exact rationals brackets the advance one step of
// 1e-9 percent to either side.
func TestUnitRateIsTheRoot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "n")
		advance := rapid.Uint64Range(1, 1e12).Draw(t, "advance")
		payments := make([]UnitPayment, n)
		for i := range payments {
			share := rapid.Uint64Range(100, 300).Draw(t, "share")
			odd := uint64(rapid.IntRange(0, 29).Draw(t, "odd"))
			payments[i] = UnitPayment{uint32(i), Fraction{odd, 30},
				money.Minor(advance*share/100/uint64(n) + 1)}
		}
		payments[0].Odd.Num = max(1, payments[0].Odd.Num)
		rate, err := UnitRate(money.Minor(advance), payments, Fraction{1, 1})
		if err != nil {
			t.Fatal(err)
		}
		if below := worth(payments, rate-min(rate, 1)); below.Cmp(big.NewRat(int64(advance), 1)) < 0 {
			t.Fatalf("%s is above the root", rate)
		}
		if above := worth(payments, rate+1); above.Cmp(big.NewRat(int64(advance), 1)) > 0 {
			t.Fatalf("%s is below the root", rate)
		}
	})
}

// worth discounts in exact rationals.
func worth(payments []UnitPayment, rate Rate) *big.Rat {
	i := new(big.Rat).SetFrac(new(big.Int).SetUint64(uint64(rate)), new(big.Int).SetUint64(rateOne))
	growth := new(big.Rat).Add(big.NewRat(1, 1), i)
	sum, compound, passed := new(big.Rat), big.NewRat(1, 1), uint32(0)
	for _, p := range payments {
		for ; passed < p.Periods; passed++ {
			compound.Mul(compound, growth)
		}
		odd := new(big.Rat).Mul(i, big.NewRat(int64(p.Odd.Num), int64(p.Odd.Den)))
		odd.Add(odd, big.NewRat(1, 1)).Mul(odd, compound)
		amount := new(big.Rat).SetInt(p.Amount.Big())
		sum.Add(sum, amount.Quo(amount, odd))
	}
	return sum
}
