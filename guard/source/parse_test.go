package source

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"surety/api/event"
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
	"surety/guard"
)

// contract is a sound event of the kind with the most to read.
func contract() event.Event {
	return event.Event{
		Seq: 9, ID: ident.ID{Lo: 1}, Kind: event.ContractSigned, At: 5, Date: clock.MustDate(2026, 1, 31),
		Trace: ident.ID{Lo: 2}, Application: ident.ID{Lo: 3}, Loan: ident.ID{Lo: 4},
		Customer: ident.ID{Lo: 5}, Cause: ident.ID{Lo: 6}, Product: "p", Currency: "CNY",
		Amounts: map[string]money.Amount{"principal": money.Minor(100), "fee": money.Minor(1),
			"total_interest": money.Minor(2), "total_payable": money.Minor(102)},
		Facts: map[string]string{"annual_rate_percent": "10.8", "term": "1", "day_count": "monthly",
			"apr_eu_micro_percent": "11000000", "apr_us_micro_percent": "10900000",
			"first_due": "2026-02-28", "disbursed_on": "2026-01-31", "rounding": "half_even",
			"overdue_interest": "stops", "early_repayment": "next",
			"allocation":           "penalty,fee,interest,principal",
			"penalty_rate_percent": "21.6", "penalty_day_count": "act_360", "digest": "ignored"},
		Flows: []event.Flow{{Due: clock.MustDate(2026, 2, 28), Payment: money.Minor(102),
			Interest: money.Minor(2), Principal: money.Minor(100)}},
	}
}

func TestParseReadsAll(t *testing.T) {
	e := contract()
	got := Parse(&e)
	if got.Flaw != "" || got.Range {
		t.Fatalf("a sound event has the flaw %q", got.Flaw)
	}
	if got.Kind != guard.ContractSigned || got.Seq != 9 || got.Ledger != 156 ||
		got.Amounts[guard.AmountTotalPayable] != 102 || len(got.Flows) != 1 || got.Flows[0].Payment != 102 {
		t.Errorf("parsed as %+v", got)
	}
	f := got.Facts
	want := guard.Facts{DayCount: guard.Monthly, Term: 1, FirstDue: clock.MustDate(2026, 2, 28),
		DisbursedOn: clock.MustDate(2026, 1, 31), Rate: 10_800_000_000, RateEU: 11_000_000,
		RateUS: 10_900_000, Terms: guard.Terms{Rounding: guard.RoundingHalfEven,
			Overdue: guard.OverdueStops, Early: guard.EarlyNext,
			Allocation:      guard.Allocation{guard.PartPenalty, guard.PartInterest, guard.PartPrincipal},
			PenaltyDayCount: guard.Actual360, PenaltyRate: 21_600_000_000}}
	if f != want {
		t.Errorf("facts are %+v, want %+v", f, want)
	}
}

func TestParseFindsFlaws(t *testing.T) {
	fact := func(name, value string) func(*event.Event) {
		return func(e *event.Event) { e.Facts[name] = value }
	}
	for _, row := range []struct {
		change func(*event.Event)
		want   string
	}{
		{func(e *event.Event) { e.Kind = "loan.gifted" }, "loan.gifted"},
		{func(e *event.Event) { e.ID = ident.ID{} }, "id is missing"},
		{func(e *event.Event) { e.Customer = ident.ID{} }, "customer is missing"},
		{func(e *event.Event) { e.Application = ident.ID{} }, "application is missing"},
		{func(e *event.Event) { e.Loan = ident.ID{} }, "loan is missing"},
		{func(e *event.Event) { e.Product = "" }, "product is missing"},
		{func(e *event.Event) { e.Currency = "XXX" }, "currency is not known: XXX"},
		{func(e *event.Event) { e.Currency = "cny" }, "currency is not known: cny"},
		{func(e *event.Event) { e.Cause = ident.ID{} }, "cause is missing"},
		{func(e *event.Event) { delete(e.Amounts, "fee") }, "amount fee is missing"},
		{func(e *event.Event) { delete(e.Facts, "term") }, "fact term is missing"},
		{fact("term", "-1"), "term is -1"},
		{fact("term", "65536"), "term is 65536"},
		{fact("day_count", "act"), "day_count is act"},
		{fact("first_due", "2026-02-30"), "first_due is 2026-02-30"},
		{fact("annual_rate_percent", "ten"), "annual_rate_percent is ten"},
		{fact("annual_rate_percent", "+1"), "annual_rate_percent is +1"},
		{fact("annual_rate_percent", "1.0000000001"), "annual_rate_percent is 1.0000000001"},
		{fact("annual_rate_percent", "12345678"), "annual_rate_percent is 12345678"},
		{fact("apr_eu_micro_percent", "1e6"), "apr_eu_micro_percent is 1e6"},
		{fact("allocation", "penalty,interest"), "allocation is penalty,interest"},
		{fact("allocation", "penalty,interest,interest"), "allocation is penalty,interest,interest"},
		{fact("allocation", "tip,interest,principal"), "allocation is tip,interest,principal"},
		{fact("reserve", "zz"), "reserve is zz"},
		{fact("outcome", "perhaps"), "outcome is perhaps"},
	} {
		e := contract()
		row.change(&e)
		if got := Parse(&e); got.Flaw != row.want || got.Range {
			t.Errorf("the flaw is %q, want %q", got.Flaw, row.want)
		}
	}
}

func TestParseBoundsAmounts(t *testing.T) {
	for _, row := range []struct {
		amount money.Amount
		fits   bool
	}{
		{money.Minor(0), true}, {money.Minor(guard.MinorMax), true}, {money.Minor(guard.MinorMax + 1), false},
		{money.Amount{Hi: 1}, false}, {money.Max, false},
	} {
		e := contract()
		e.Amounts = maps.Clone(e.Amounts)
		e.Amounts["principal"] = row.amount
		if got := Parse(&e); got.Range == row.fits {
			t.Errorf("amount %s is out of range: %v", row.amount, got.Range)
		}
		e = contract()
		e.Flows[0].Interest = row.amount
		if got := Parse(&e); got.Range == row.fits {
			t.Errorf("a flow's %s is out of range: %v", row.amount, got.Range)
		}
	}
}

// Every kind of the schema has a line of what it needs, so that nothing is unchecked by omission.
func TestEveryKindHasNeeds(t *testing.T) {
	for kind := guard.ApplicationReceived; kind <= guard.EventCancelled; kind++ {
		if int(kind) >= len(required) {
			t.Errorf("%s has no line", kind)
		}
	}
}

func FuzzParse(f *testing.F) {
	e := contract()
	seed, err := e.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(strings.Replace(string(seed), "10.8", "1e308", 1)))
	f.Add([]byte(`{"id":"1","kind":"loan.repaid","amounts":{"total":"340282366920938463463374607431768211455"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var e event.Event
		if json.Unmarshal(data, &e) != nil {
			return
		}
		e.Seq = 1
		parsed := Parse(&e)
		if again := Parse(&e); again.Flaw != parsed.Flaw && !parsed.Range {
			t.Fatalf("the flaw is %q and then %q", parsed.Flaw, again.Flaw)
		}
		for _, amount := range parsed.Amounts {
			if amount > guard.MinorMax {
				t.Fatalf("amount %d passed", amount)
			}
		}
		// Whatever is in the outbox, the checker says something about it and goes on.
		c := guard.New(guard.Limits{})
		for _, v := range c.Step(&guard.Input{Kind: guard.InputEvent, Now: 1, Event: &parsed}) {
			if v.Kind == guard.Breached {
				if !json.Valid([]byte(v.Breach.Expected.JSON())) || !json.Valid([]byte(v.Breach.Found.JSON())) {
					t.Fatal("a breach's record is not JSON")
				}
			}
		}
		if c.Position(guard.StreamOutbox) != 1 {
			t.Fatal("the checker did not go on")
		}
	})
}
