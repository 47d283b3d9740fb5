package lending

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"

	"pgregory.net/rapid"
)

func testContract(t tester) Contract {
	o := Offer{minor(t, "50000"), MustRate("12.6"), 12, date(t, "2026-01-31")}
	c, err := NewContract(Parties{testLoan, ident.ID{Lo: 5}, testCustomer, Digest{1}}, Merchant310(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The encoding is stored and hashed: this text may only change together with its version.
func TestContractText(t *testing.T) {
	c := testContract(t)
	golden, err := os.ReadFile("testdata/contract.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(c.Encode()); got != string(golden) {
		t.Errorf("the contract reads\n%s\nwant\n%s", got, golden)
	}
	again, err := DecodeContract(golden)
	if err != nil || again.Digest() != c.Digest() {
		t.Errorf("decoded: %v", err)
	}
	if err := again.Verify(); err != nil {
		t.Errorf("verified: %v", err)
	}
	if sum := plus(c.TotalPayable, c.Schedule.Fee); sum != plus(c.Offer.Principal, c.TotalCost) {
		t.Errorf("pays %s, with the fee %s", c.TotalPayable, sum)
	}
}

func TestNewContractRefuses(t *testing.T) {
	c := testContract(t)
	for _, p := range []Parties{{}, {Loan: testLoan}, {Loan: testLoan, Application: testLoan}} {
		if _, err := NewContract(p, c.Product, c.Offer); !errs.Is(err, errs.Invalid) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	o := c.Offer
	o.Months = 99
	if _, err := NewContract(Parties{testLoan, testLoan, testLoan, Digest{}}, c.Product, o); !errs.Is(err, errs.Invalid) {
		t.Errorf("a term of 99: %v", err)
	}
}

// One changed digit anywhere is refused by the decoder, or by Verify.
func TestTamperedContract(t *testing.T) {
	c := testContract(t)
	data := c.Encode()
	for i, b := range data {
		if b < '0' || b > '9' {
			continue
		}
		changed := append([]byte(nil), data...)
		changed[i] = '0' + (b-'0'+1)%10
		again, err := DecodeContract(changed)
		if err == nil {
			err = again.Verify()
		}
		line := string(data[:i])
		line = line[strings.LastIndexByte(line, '\n')+1:]
		free := strings.HasPrefix(line, "loan") || strings.HasPrefix(line, "application") ||
			strings.HasPrefix(line, "customer") || strings.HasPrefix(line, "decision") ||
			strings.HasPrefix(line, "product") || isTerm(line)
		if err == nil && !free || err != nil && !errs.Is(err, errs.Corrupt) {
			t.Errorf("byte %d in %q: %v", i, line, err)
		}
	}
}

// isTerm reports whether the line is a term that the schedule does not depend on.
func isTerm(line string) bool {
	for _, key := range []string{"base_rate_percent", "rate_max_percent", "first_period_days_min",
		"amount_min", "amount_max", "amount_step", "term_min", "term_max", "penalty_rate_percent",
		"penalty_day_count", "grace_days", "penalty_every_days", "write_off_days", "product_version"} {
		if strings.HasPrefix(line, key) {
			return true
		}
	}
	return false
}

func TestDecodersRefuse(t *testing.T) {
	c := testContract(t)
	text := string(c.Encode())
	for name, bad := range map[string]string{
		"empty":       "",
		"other":       "surety.contract 2\n",
		"cut":         text[:len(text)-1],
		"short":       text[:len(text)/2],
		"longer":      text + "x 1\n",
		"key":         strings.Replace(text, "fee_permille", "fee_promille", 1),
		"zero ahead":  strings.Replace(text, "fee 25000", "fee 025000", 1),
		"upper case":  strings.Replace(text, "loan 0000000000000001", "loan 000000000000000A", 1),
		"sign":        strings.Replace(text, "principal 5", "principal -5", 1),
		"space":       strings.Replace(text, "currency CNY", "currency  CNY", 1),
		"no months":   strings.Replace(text, "term_months 12", "term_months 0", 1),
		"row words":   strings.Replace(text, "row 1 ", "row 1 1 ", 1),
		"long line":   strings.Replace(text, "loan ", "loan "+strings.Repeat("0", lineMax), 1),
		"bad product": strings.Replace(text, "rounding half_even", "rounding half_odd", 1),
	} {
		if bad == text {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := DecodeContract([]byte(bad)); !errs.Is(err, errs.Corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := DecodeContract(make([]byte, encodedMax+1)); !errs.Is(err, errs.TooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func TestProductText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, _ := offers(t)
		again, err := DecodeProduct(p.Encode())
		if err != nil || again != p {
			t.Fatalf("%+v reads as %+v, %v", p, again, err)
		}
		data, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var through Product
		if err := json.Unmarshal(data, &through); err != nil || through != p {
			t.Fatalf("through JSON %s: %v", data, err)
		}
	})
}

func TestProductValidate(t *testing.T) {
	good := Merchant310()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		want string
		edit func(*Product)
	}{
		{"currency is \"cny\"", func(p *Product) { p.Currency = "cny" }},
		{"currency is \"XXX\"", func(p *Product) { p.Currency = "XXX" }},
		{"name is \"\"", func(p *Product) { p.Name = "" }},
		{"name is \"A\"", func(p *Product) { p.Name = "A" }},
		{"version is 0", func(p *Product) { p.Version = 0 }},
		{"rate_max is 1001 percent, want at most 1000", func(p *Product) { p.RateMax = Percent(1001) }},
		{"rate is 25 percent, want at most rate_max, 24", func(p *Product) { p.Rate = Percent(25) }},
		{"day_count is unknown, want one of act_360", func(p *Product) { p.DayCount = 0 }},
		{"rounding is unknown, want one of half_even", func(p *Product) { p.Rounding = 9 }},
		{"instalment_rounding is unknown", func(p *Product) { p.InstalmentRounding = 0 }},
		{"instalment_step is 0, want 1 to 1000000", func(p *Product) { p.InstalmentStep = 0 }},
		{"fee_permille is 201, want 0 to 200", func(p *Product) { p.FeePermille = 201 }},
		{"due_day is 32, want 0 to 31", func(p *Product) { p.DueDay = 32 }},
		{"first_period_days_min is 63", func(p *Product) { p.FirstPeriodDaysMin = 63 }},
		{"term_min is 0 months", func(p *Product) { p.TermMin = 0 }},
		{"term_max is 2 months, want term_min, 3, to 600", func(p *Product) { p.TermMax = 2 }},
		{"amount_step is 0", func(p *Product) { p.AmountStep = money.Amount{} }},
		{"amount_min is 2399, want at least 2400", func(p *Product) { p.AmountMin = money.Minor(2399) }},
		{"amount_max is 10000000000001", func(p *Product) { p.AmountMax = money.Minor(lentMax + 1) }},
		{"first_period_days_min is 62: a first period of 93 days", func(p *Product) {
			p.DueDay, p.FirstPeriodDaysMin, p.TermMax = 1, 62, 24
		}},
		{"penalty_rate is 1001 percent", func(p *Product) { p.PenaltyRate = Percent(1001) }},
		{"penalty_base is unknown", func(p *Product) { p.PenaltyBase = 0 }},
		{"penalty_day_count is monthly, want act_360", func(p *Product) { p.PenaltyDayCount = Monthly }},
		{"grace_days is 32, want 0 to 31", func(p *Product) { p.GraceDays = 32 }},
		{"penalty_every_days is 0, want 1 to 31", func(p *Product) { p.PenaltyEveryDays = 0 }},
		{"overdue_interest is unknown", func(p *Product) { p.OverdueInterest = 3 }},
		{"write_off_days is 3, want more than grace_days, 3", func(p *Product) { p.WriteOffDays = 3 }},
		{"allocation is penalty in place 2, want each of", func(p *Product) { p.Allocation[1] = Penalty }},
		{"allocation is unknown(0) in place 4", func(p *Product) { p.Allocation[3] = 0 }},
		{"early_repayment is unknown", func(p *Product) { p.EarlyRepayment = 0 }},
	} {
		p := good
		row.edit(&p)
		if err := p.Validate(); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v, want %q", err, row.want)
		}
	}
}

// Every enumeration reads back what it writes, and refuses a stranger.
func TestEnumerations(t *testing.T) {
	type text interface {
		MarshalText() ([]byte, error)
		UnmarshalText([]byte) error
	}
	for _, v := range []struct {
		make func(n uint8) text
		last uint8
	}{
		{func(n uint8) text { v := DayCount(n); return &v }, 7},
		{func(n uint8) text { v := Rounding(n); return &v }, 4},
		{func(n uint8) text { v := Component(n); return &v }, 4},
		{func(n uint8) text { v := PenaltyBase(n); return &v }, 2},
		{func(n uint8) text { v := OverdueInterest(n); return &v }, 2},
		{func(n uint8) text { v := EarlyRepayment(n); return &v }, 3},
	} {
		for n := uint8(1); n <= v.last; n++ {
			one := v.make(n)
			data, err := one.MarshalText()
			if err != nil {
				t.Fatal(err)
			}
			other := v.make(0)
			if err := other.UnmarshalText(data); err != nil {
				t.Errorf("%s: %v", data, err)
			}
			if again, err := other.MarshalText(); err != nil || string(again) != string(data) {
				t.Errorf("%s reads as %s, %v", data, again, err)
			}
		}
		if _, err := v.make(v.last + 1).MarshalText(); !errs.Is(err, errs.Invalid) {
			t.Errorf("number %d: %v", v.last+1, err)
		}
		if err := v.make(0).UnmarshalText([]byte("none")); !errs.Is(err, errs.Invalid) {
			t.Errorf("none: %v", err)
		}
	}
}

func FuzzDecodeContract(f *testing.F) {
	c := testContract(f)
	f.Add(c.Encode())
	f.Add([]byte(contractFormat + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := DecodeContract(data)
		if err != nil {
			if !errs.Is(err, errs.Corrupt) && !errs.Is(err, errs.TooLarge) {
				t.Fatal(err)
			}
			return
		}
		if string(c.Encode()) != string(data) {
			t.Fatal("another encoding of the same contract")
		}
		// A contract that was accepted can be lived with.
		l := NewLoan(&c)
		l, _, result := l.Disburse(Event{ident.ID{Lo: 1}, c.Offer.Start}, testReserve)
		if result != Applied {
			t.Fatal(result)
		}
		l.Payoff(c.Maturity())
		l.Outlook(c.Maturity())
	})
}

func FuzzDecodeLoan(f *testing.F) {
	c := testContract(f)
	l := NewLoan(&c)
	f.Add(l.Encode())
	l, _, _ = l.Disburse(Event{ident.ID{Lo: 1}, c.Offer.Start}, testReserve)
	due, _ := l.NextDue()
	l, _, _ = l.Accrue(Event{ident.ID{Lo: 2}, due})
	l, _, _ = l.ChargePenalty(Event{ident.ID{Lo: 3}, due + 9})
	f.Add(l.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := DecodeLoan(data, &c)
		if err != nil {
			if !errs.Is(err, errs.Corrupt) && !errs.Is(err, errs.TooLarge) {
				t.Fatal(err)
			}
			return
		}
		if string(l.Encode()) != string(data) {
			t.Fatal("another encoding of the same state")
		}
		l.Payoff(l.On + 400)
		l.Outlook(l.On + 40)
		if step, more := l.Step(l.On + 40); more {
			l.Take(step, Event{ident.ID{Hi: 77}, step.On})
		}
		l.Repay(Event{ident.ID{Hi: 78}, l.On}, money.Minor(repaymentMax))
	})
}

// A state with one digit changed is refused, or one that can be lived with: no transition of it
// finds a contradiction.
func TestTamperedLoan(t *testing.T) {
	b := lend(t, Merchant310(), Offer{minor(t, "10000"), MustRate("12"), 12, date(t, "2026-01-15")})
	b.pass(date(t, "2026-03-20"))
	b.pay(date(t, "2026-03-20"), minor(t, "1000"))
	data := b.loan.Encode()
	accepted := 0
	for i, c := range data {
		if c < '0' || c > '9' {
			continue
		}
		for d := byte('0'); d <= '9'; d++ {
			changed := append([]byte(nil), data...)
			changed[i] = d
			l, err := DecodeLoan(changed, b.loan.Contract)
			if err != nil {
				continue
			}
			accepted++
			l.Payoff(l.On + 400)
			l.Outlook(l.On + 40)
			for range 5 {
				step, more := l.Step(l.On + 200)
				if !more {
					break
				}
				l, _, _ = l.Take(step, step.Event(testLoan))
			}
			l.Repay(Event{ident.ID{Hi: 78}, l.On}, money.Minor(repaymentMax))
		}
	}
	if accepted == 0 {
		t.Error("not even the state itself is accepted")
	}
}
