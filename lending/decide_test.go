package lending

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"

	"pgregory.net/rapid"
)

// goodInputs are approved as they are: 20,000.00 for 12 months on a turnover of 30,000.00 a month.
func goodInputs(t tester) Inputs {
	return Inputs{
		Application: ident.ID{Lo: 1}, On: date(t, "2026-03-01"),
		Figures: Figures{MonthsInBusiness: 30, MonthlyTurnover: minor(t, "30000"), Employees: 3,
			ExistingDebt: minor(t, "10000"), Amount: minor(t, "20000"), TermMonths: 12},
		Scores: Scores{Points: 560, CardPDMicro: 50_000, ModelPDMicro: 45_000},
		Factors: []Factor{{"R07", 4}, {"R01", 9}, {"R02", 0}, {"R03", 9}, {"R04", 1}, {"R05", 5},
			{"R01", 8}},
	}
}

// reasonsText writes the reasons as "name limit<given".
func reasonsText(d *Decision) string {
	var list []string
	for _, r := range d.Reasons {
		info, _ := r.Code.Info()
		list = append(list, fmt.Sprintf("%s %d:%d", info.Name, r.Limit, r.Given))
	}
	return strings.Join(list, ", ")
}

func TestDecide(t *testing.T) {
	policy, product := DefaultPolicy(), Merchant310()
	if err := policy.Validate(&product); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name    string
		edit    func(*Inputs)
		outcome Outcome
		want    string // offer and reasons
	}{
		{"as it is", func(*Inputs) {}, Approve, "c 6000000 2000000/12 10.8 [176577] "},
		{"at every limit", func(in *Inputs) {
			in.Signals = Signals{ApplicationsDay: 3, ApplicationsMonth: 10, PhoneDay: 3, ActiveLoans: 2}
			in.Figures.MonthsInBusiness, in.Scores.Points = 3, 522
			in.Figures.ExistingDebt = minor(t, "100000")
		}, Approve, "c 6000000 2000000/12 10.8 [176577] "},
		{"open", func(in *Inputs) { in.Signals.OpenApplications = 1 }, Decline, "open_application 0:1"},
		{"one too many of each", func(in *Inputs) {
			in.Signals = Signals{ApplicationsDay: 4, ApplicationsMonth: 11, PhoneDay: 4, ActiveLoans: 3}
		}, Decline, "applications_day 3:4, applications_month 10:11, phone_day 3:4, active_loans 2:3"},
		{"watchlist", func(in *Inputs) { in.Signals.WatchlistMatches = 2 }, Refer, "watchlist 0:2"},
		{"history", func(in *Inputs) { in.Signals.WrittenOff, in.Signals.DaysPastDue = 1, 5 }, Decline,
			"written_off 0:1, past_due 0:5"},
		{"young and small", func(in *Inputs) {
			in.Figures.MonthsInBusiness, in.Figures.MonthlyTurnover = 2, minor(t, "999.99")
		}, Decline, "months_in_business 3:2, turnover 100000:99999"},
		{"no turnover", func(in *Inputs) { in.Figures.MonthlyTurnover = money.Amount{} }, Decline,
			"turnover 100000:0, debt 12000:1000000000"},
		{"debt", func(in *Inputs) { in.Figures.ExistingDebt = minor(t, "360000.01") }, Decline, "debt 12000:12000"},
		{"points", func(in *Inputs) { in.Scores.Points = 519 }, Decline, "points_decline 520:519"},
		{"points negative", func(in *Inputs) { in.Scores.Points = -5 }, Decline, "points_decline 520:0"},
		{"points close", func(in *Inputs) { in.Scores.Points = 521 }, Refer, "points_refer 522:521"},
		{"risk at the edge", func(in *Inputs) {
			in.Scores.CardPDMicro, in.Scores.ModelPDMicro = 120_000, 120_000
		}, Approve, "d 4500000 2000000/12 14.4 [179951] "},
		{"risk close", func(in *Inputs) { in.Scores.CardPDMicro, in.Scores.ModelPDMicro = 120_001, 120_001 },
			Refer, "pd_refer 120000:120001"},
		{"risk above", func(in *Inputs) { in.Scores.CardPDMicro, in.Scores.ModelPDMicro = 121_001, 121_001 },
			Decline, "pd_decline 120000:121001"},
		{"refer and decline", func(in *Inputs) { in.Signals.WatchlistMatches, in.Scores.Points = 1, 0 },
			Decline, "watchlist 0:1, points_decline 520:0"},
		{"limit", func(in *Inputs) { in.Exposure = minor(t, "45049.99") }, Approve,
			"c 6000000 1490000/12 10.8 [131550] reduced_limit 1490000:2000000"},
		{"limit used", func(in *Inputs) { in.Exposure = minor(t, "59000.01") }, Decline, "limit_used 100000:99999"},
		{"service", func(in *Inputs) { in.Figures.ExistingDebt = minor(t, "264000") }, Approve,
			"c 6000000 1130000/12 10.8 [99766] reduced_service 1130000:2000000"},
		{"service full", func(in *Inputs) { in.Figures.ExistingDebt = minor(t, "288000") }, Decline,
			"debt_service 1200000:1208829"},
		{"term", func(in *Inputs) {
			in.Scores.ModelPDMicro, in.Figures.TermMonths = 100_000, 24
		}, Approve, "d 4500000 2000000/12 14.4 [179951] shorter_term 12:24"},
		{"best", func(in *Inputs) {
			in.Scores.CardPDMicro, in.Scores.ModelPDMicro, in.Figures.Amount = 1, 1, minor(t, "300000")
		}, Approve, "a 9000000 9000000/12 7.2 [779571] reduced_limit 9000000:30000000"},
	} {
		in := goodInputs(t)
		row.edit(&in)
		if err := in.Check(); err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		d := Decide(&policy, &product, &in)
		got := reasonsText(&d)
		if d.Outcome == Approve {
			got = fmt.Sprintf("%s %s %s/%d %s [%s] %s", d.Band, d.Limit, d.Amount, d.TermMonths, d.Rate,
				d.Instalment, got)
		} else if !d.Amount.IsZero() || !d.Limit.IsZero() || d.Rate != 0 || d.TermMonths != 0 {
			t.Errorf("%s: %s with an offer", row.name, d.Outcome)
		}
		if d.Outcome != row.outcome || got != row.want {
			t.Errorf("%s: %s %q, want %s %q", row.name, d.Outcome, got, row.outcome, row.want)
		}
	}
}

// The factors are told where the score is a reason: the four heaviest, each once, none of weight
// zero.
func TestFactors(t *testing.T) {
	policy, product, in := DefaultPolicy(), Merchant310(), goodInputs(t)
	if d := Decide(&policy, &product, &in); len(d.Factors) != 0 {
		t.Errorf("an approval names %v", d.Factors)
	}
	in.Scores.Points = 100
	d := Decide(&policy, &product, &in)
	want := []Factor{{"R01", 9}, {"R03", 9}, {"R05", 5}, {"R07", 4}}
	if fmt.Sprint(d.Factors) != fmt.Sprint(want) {
		t.Errorf("factors %v, want %v", d.Factors, want)
	}
}

// drawInputs draws inputs of every kind.
func drawInputs(t *rapid.T) Inputs {
	amount := func(name string) money.Amount {
		return money.Minor(rapid.Uint64Range(0, lentMax).Draw(t, name) >>
			uint(rapid.IntRange(0, 43).Draw(t, name+" shift")))
	}
	count := rapid.Uint32Range(0, 12)
	in := Inputs{Application: ident.ID{Lo: rapid.Uint64Min(1).Draw(t, "application")},
		On: date(t, "2026-01-01").AddDays(rapid.IntRange(0, 800).Draw(t, "day")),
		Figures: Figures{rapid.IntRange(0, 100).Draw(t, "months"), amount("turnover"),
			rapid.IntRange(0, 50).Draw(t, "employees"), amount("debt"), amount("amount"),
			rapid.IntRange(3, 24).Draw(t, "term")},
		Scores: Scores{Points: rapid.Int32Range(-100, 900).Draw(t, "points"),
			CardPDMicro:  rapid.Uint32Range(0, 150_000).Draw(t, "card"),
			ModelPDMicro: rapid.Uint32Range(0, 150_000).Draw(t, "model")},
		Exposure: amount("exposure")}
	if rapid.Bool().Draw(t, "signals") {
		in.Signals = Signals{0, count.Draw(t, "day"), count.Draw(t, "month"), count.Draw(t, "phone"),
			count.Draw(t, "watch") / 12, count.Draw(t, "active"), 0, 0}
	}
	for range rapid.IntRange(0, 5).Draw(t, "factors") {
		in.Factors = append(in.Factors, Factor{rapid.StringMatching(`[A-Za-z0-9_.-]{1,40}`).Draw(t, "code"),
			rapid.Uint64().Draw(t, "weight")})
	}
	return in
}

// Whatever comes in: a decision is the same when it is made again from what was stored, and an
// offer keeps within the request, the limit, the product and the turnover.
func TestDecideModel(t *testing.T) {
	policy, product := DefaultPolicy(), Merchant310()
	rapid.Check(t, func(t *rapid.T) {
		in := drawInputs(t)
		d := Decide(&policy, &product, &in)
		stored, err := DecodeInputs(in.Encode())
		if err != nil {
			t.Fatal(err)
		}
		again := Decide(&policy, &product, &stored)
		if string(again.Encode()) != string(d.Encode()) {
			t.Fatalf("%s\ndecided again\n%s", d.Encode(), again.Encode())
		}
		if read, err := DecodeDecision(d.Encode()); err != nil || read.Digest() != d.Digest() {
			t.Fatalf("decoded: %v", err)
		}
		if d.Outcome != Approve {
			if len(d.Reasons) == 0 {
				t.Fatalf("%s without a reason", d.Outcome)
			}
			return
		}
		o := Offer{d.Amount, d.Rate, d.TermMonths, in.On}
		instalment, err := product.Instalment(o)
		if err != nil || instalment != d.Instalment {
			t.Fatalf("instalment %s, the product's is %s, %v", d.Instalment, instalment, err)
		}
		service := instalment.Lo + in.Figures.ExistingDebt.Lo/uint64(policy.ServiceMonths)
		if in.Figures.Amount.Less(d.Amount) || d.Limit.Less(plus(d.Amount, in.Exposure)) ||
			service*1000 > in.Figures.MonthlyTurnover.Lo*uint64(policy.ServicePermilleMax) {
			t.Fatalf("an offer of %s within %s, service %d", d.Amount, d.Limit, service)
		}
		// The offer is the greatest: one step more breaks a bound.
		if more := plus(d.Amount, product.AmountStep); !in.Figures.Amount.Less(more) &&
			!d.Limit.Less(plus(more, in.Exposure)) && !product.AmountMax.Less(more) {
			o.Principal = more
			instalment, err := product.Instalment(o)
			if err != nil || (instalment.Lo+in.Figures.ExistingDebt.Lo/uint64(policy.ServiceMonths))*1000 <=
				in.Figures.MonthlyTurnover.Lo*uint64(policy.ServicePermilleMax)/1000*1000 {
				t.Fatalf("%s could be offered, not only %s: %v", more, d.Amount, err)
			}
		}
	})
}

func TestApplicationValidate(t *testing.T) {
	p := Merchant310()
	good := Application{Name: "王小明", IDNumber: "110101199003074477", Phone: "+8613800138000",
		BusinessName: "Corner Noodles", Figures: goodInputs(t).Figures, Purpose: "stock", Consent: true}
	if v := good.Validate(&p); len(v) != 0 {
		t.Fatalf("a good application: %v", v)
	}
	for _, row := range []struct {
		want string
		edit func(*Application)
	}{
		{"name: 0 characters, want 1 to 100 characters", func(a *Application) { a.Name = "" }},
		{"name: only spaces, want 1 to 100 characters", func(a *Application) { a.Name = "  " }},
		{"name: 101 characters, want 1 to 100 characters",
			func(a *Application) { a.Name = strings.Repeat("王", 101) }},
		{"name: a control character, want 1 to 100 characters", func(a *Application) { a.Name = "a\nb" }},
		{"name: text that is not UTF-8, want 1 to 100 characters", func(a *Application) { a.Name = "\xff" }},
		{"id_number: 4 characters, want 5 to 32 letters, digits or hyphens",
			func(a *Application) { a.IDNumber = "1234" }},
		{"id_number: 7 characters, want 5 to 32 letters, digits or hyphens",
			func(a *Application) { a.IDNumber = "12 4567" }},
		{"phone: 6 characters, want 7 to 15 digits, a plus before them or not",
			func(a *Application) { a.Phone = "123456" }},
		{"phone: 8 characters, want 7 to 15 digits, a plus before them or not",
			func(a *Application) { a.Phone = "12+45678" }},
		{"business_name: 121 characters, want 1 to 120 characters",
			func(a *Application) { a.BusinessName = strings.Repeat("x", 121) }},
		{"months_in_business: -1, want 0 to 1200", func(a *Application) { a.MonthsInBusiness = -1 }},
		{"monthly_turnover: 10000000000001, want 0 to 10000000000000",
			func(a *Application) { a.MonthlyTurnover = money.Minor(lentMax + 1) }},
		{"employees: 100001, want 0 to 100000", func(a *Application) { a.Employees = 100_001 }},
		{"existing_debt: 10000000000001, want 0 to 10000000000000",
			func(a *Application) { a.ExistingDebt = money.Minor(lentMax + 1) }},
		{"amount: 99900, want 100000 to 30000000", func(a *Application) { a.Amount = money.Minor(99_900) }},
		{"amount: 100001, want a multiple of 10000", func(a *Application) { a.Amount = money.Minor(100_001) }},
		{"term_months: 25, want 3 to 24", func(a *Application) { a.TermMonths = 25 }},
		{"purpose: \"fun\", want one of stock, equipment, wages, rent, other",
			func(a *Application) { a.Purpose = "fun" }},
		{"consent: false, want true", func(a *Application) { a.Consent = false }},
	} {
		a := good
		row.edit(&a)
		if v := a.Validate(&p); len(v) != 1 || v[0].Error() != row.want {
			t.Errorf("%v, want %q", v, row.want)
		}
	}
	// Every field at once, in the order of the form.
	empty := Application{Figures: Figures{MonthsInBusiness: -1, Employees: -1,
		MonthlyTurnover: money.Max, ExistingDebt: money.Max}}
	var fields []string
	for _, f := range empty.Validate(&p) {
		fields = append(fields, f.Field)
	}
	if got := strings.Join(fields, " "); got != "name id_number phone business_name months_in_business "+
		"monthly_turnover employees existing_debt amount term_months purpose consent" {
		t.Errorf("fields %s", got)
	}
}

func TestPolicyValidate(t *testing.T) {
	product := Merchant310()
	for _, row := range []struct {
		want string
		edit func(*Policy)
	}{
		{"name is \"\"", func(p *Policy) { p.Name = "" }},
		{"version is 0", func(p *Policy) { p.Version = 0 }},
		{"months_in_business_min is -1", func(p *Policy) { p.MonthsInBusinessMin = -1 }},
		{"turnover_min is 10000000000001", func(p *Policy) { p.TurnoverMin = money.Minor(lentMax + 1) }},
		{"debt_permille_max is 1000001", func(p *Policy) { p.DebtPermilleMax = 1_000_001 }},
		{"service_permille_max is 1000001", func(p *Policy) { p.ServicePermilleMax = 1_000_001 }},
		{"service_months is 0", func(p *Policy) { p.ServiceMonths = 0 }},
		{"points_refer is 500, want at least points_decline, 520", func(p *Policy) { p.PointsRefer = 500 }},
		{"card_permille is 1001", func(p *Policy) { p.CardPermille = 1001 }},
		{"exposure_max is 0", func(p *Policy) { p.ExposureMax = money.Amount{} }},
		{"bands is 0 bands", func(p *Policy) { p.Bands = nil }},
		{"bands is band 1 named \"A\"", func(p *Policy) { p.Bands[0].Name = "A" }},
		{"bands.b.pd_max_micro is 20000, want more than the band before, 20000",
			func(p *Policy) { p.Bands[1].PDMaxMicro = 20_000 }},
		{"bands.d.rate is 24.1 percent", func(p *Policy) { p.Bands[3].Rate = MustRate("24.1") }},
		{"bands.a.turnover_permille is 0", func(p *Policy) { p.Bands[0].TurnoverPermille = 0 }},
		{"bands.a.limit_max is 0", func(p *Policy) { p.Bands[0].LimitMax = money.Amount{} }},
		{"bands.a.term_max is 25 months", func(p *Policy) { p.Bands[0].TermMax = 25 }},
		{"pd_decline_micro is 119999, want at least the last band's", func(p *Policy) { p.PDDeclineMicro = 119_999 }},
	} {
		p := DefaultPolicy()
		row.edit(&p)
		if err := p.Validate(&product); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v, want %q", err, row.want)
		}
	}
	p := DefaultPolicy()
	again, err := DecodePolicy(p.Encode(), &product)
	if err != nil || again.Digest() != p.Digest() {
		t.Errorf("decoded: %v", err)
	}
}

func TestInputsCheck(t *testing.T) {
	for _, row := range []struct {
		want string
		edit func(*Inputs)
	}{
		{"no id", func(in *Inputs) { in.Application = ident.ID{} }},
		{"date 1969-12-31", func(in *Inputs) { in.On = -1 }},
		{"-1 months", func(in *Inputs) { in.Figures.MonthsInBusiness = -1 }},
		{"0 months of term", func(in *Inputs) { in.Figures.TermMonths = 0 }},
		{"the limit is 10000000000000", func(in *Inputs) { in.Exposure = money.Minor(lentMax + 1) }},
		{"probabilities 1000001", func(in *Inputs) { in.Scores.CardPDMicro = micro + 1 }},
		{"17 factors", func(in *Inputs) { in.Factors = make([]Factor, factorsMax+1) }},
		{"factor \"a b\"", func(in *Inputs) { in.Factors = []Factor{{"a b", 1}} }},
	} {
		in := goodInputs(t)
		row.edit(&in)
		if err := in.Check(); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v, want %q", err, row.want)
		}
	}
}

// docs/reference/products.md lists the reasons; this holds the list to the code, and the code to its
// own order.
func TestReasonReference(t *testing.T) {
	data, err := os.ReadFile("../docs/reference/products.md")
	if err != nil {
		t.Fatal(err)
	}
	last := ReasonCode(0)
	for _, r := range ReasonTable() {
		if r.Code <= last {
			t.Errorf("reason %d comes after %d", r.Code, last)
		}
		last = r.Code
		line := fmt.Sprintf("| %d | `%s` | %s | %s |\n", r.Code, r.Name, r.Leads, r.Sentence)
		if !strings.Contains(string(data), line) {
			t.Errorf("the reference lacks %q", line)
		}
	}
}

// Every key of a product and a policy is on the same page.
func TestKeyReference(t *testing.T) {
	page, err := os.ReadFile("../docs/reference/products.md")
	if err != nil {
		t.Fatal(err)
	}
	policy := DefaultPolicy()
	for _, v := range []any{Merchant310(), policy, policy.Bands[0]} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		keys := map[string]json.RawMessage{}
		if err := json.Unmarshal(data, &keys); err != nil {
			t.Fatal(err)
		}
		for key := range keys {
			if !strings.Contains(string(page), "`"+key+"`") {
				t.Errorf("the reference lacks %s", key)
			}
		}
	}
}

func FuzzDecodeInputs(f *testing.F) {
	in := goodInputs(f)
	f.Add(in.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		policy, product := DefaultPolicy(), Merchant310()
		in, err := DecodeInputs(data)
		if err != nil {
			if !errs.Is(err, errs.Corrupt) && !errs.Is(err, errs.TooLarge) {
				t.Fatal(err)
			}
			return
		}
		if string(in.Encode()) != string(data) {
			t.Fatal("another encoding of the same inputs")
		}
		d := Decide(&policy, &product, &in)
		if _, err := DecodeDecision(d.Encode()); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzDecodeDecision(f *testing.F) {
	policy, product, in := DefaultPolicy(), Merchant310(), goodInputs(f)
	d := Decide(&policy, &product, &in)
	f.Add(d.Encode())
	in.Scores.Points = 0
	d = Decide(&policy, &product, &in)
	f.Add(d.Encode())
	f.Add(policy.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if d, err := DecodeDecision(data); err == nil && string(d.Encode()) != string(data) {
			t.Fatal("another encoding of the same decision")
		}
		if p, err := DecodePolicy(data, &product); err == nil && string(p.Encode()) != string(data) {
			t.Fatal("another encoding of the same policy")
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	policy, product, in := DefaultPolicy(), Merchant310(), goodInputs(b)
	b.ReportAllocs()
	for b.Loop() {
		Decide(&policy, &product, &in)
	}
}
