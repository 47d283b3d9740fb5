package lending

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
)

// journalName maps our classes to the accounts of Fineract's default chart. Money at the customer's
// disposal, at the bank and on its way between them is one clearing account there.
func journalName(c Class) string {
	switch c {
	case ClassPrincipal:
		return "Loans Receivable"
	case ClassInterest, ClassPenalty:
		return "Interest/Fee Receivable"
	case ClassBank, ClassDisbursing, ClassRepaying, ClassDeposit:
		return "Suspense/Clearing"
	case ClassOverpaid:
		return "Overpayment"
	case ClassInterestIncome:
		return "Interest Income"
	case ClassBadDebt:
		return "Credit Loss/Bad Debt"
	case ClassRecovery:
		return "Recoveries"
	}
	return "memo"
}

// journal is an act's net movement by account, as "account +debit" or "account -credit", sorted by
// the order of first use.
func journal(act *Act) string {
	var names []string
	net := map[string]int64{}
	add := func(name string, amount int64) {
		if _, seen := net[name]; !seen {
			names = append(names, name)
		}
		net[name] += amount
	}
	for _, p := range act.Legs {
		add(journalName(p.Debit.Class), int64(p.Amount.Lo))
		add(journalName(p.Credit.Class), -int64(p.Amount.Lo))
	}
	var lines []string
	for _, name := range names {
		if net[name] != 0 && name != "memo" {
			lines = append(lines, fmt.Sprintf("%s %+d", name, net[name]/100))
		}
	}
	return strings.Join(lines, ", ")
}

// apache/fineract @4198b0bcf9a94e1c7aa0f386317ba71f40ceb1d9 (Apache-2.0),
// fineract-e2e-tests-runner features/LoanChargeOff.feature, Loan.feature, LoanChargeback.feature:
// the journal entries of each transaction. Fineract reverses the income of a loan it charges off,
// where this table writes interest off as a loss: that scenario is without interest here.
func TestFineractJournals(t *testing.T) {
	type step struct{ act, on, amount, want string }
	for _, scenario := range []struct {
		name      string
		principal string
		rate      string
		months    int
		steps     []step
	}{
		{"charge-off after repayment, then a recovery", "1000", "0", 1, []step{
			{"disburse", "2023-01-01", "", "Loans Receivable +1000, Suspense/Clearing -1000"},
			{"repay", "2023-01-05", "250", "Suspense/Clearing +250, Loans Receivable -250"},
			{"write off", "2023-02-22", "", "Credit Loss/Bad Debt +750, Loans Receivable -750"},
			{"recover", "2023-02-22", "500", "Suspense/Clearing +500, Recoveries -500"}}},
		{"active to overpaid", "1000", "0", 3, []step{
			{"disburse", "2023-01-01", "", "Loans Receivable +1000, Suspense/Clearing -1000"},
			{"repay", "2023-01-02", "400", "Suspense/Clearing +400, Loans Receivable -400"},
			{"repay", "2023-01-03", "450", "Suspense/Clearing +450, Loans Receivable -450"},
			{"repay", "2023-01-05", "250", "Suspense/Clearing +250, Loans Receivable -150, Overpayment -100"}}},
		{"active to closed", "1000", "0", 3, []step{
			{"disburse", "2023-01-01", "", "Loans Receivable +1000, Suspense/Clearing -1000"},
			{"repay", "2023-01-02", "300", "Suspense/Clearing +300, Loans Receivable -300"},
			{"repay", "2023-01-03", "450", "Suspense/Clearing +450, Loans Receivable -450"},
			{"repay", "2023-01-05", "250", "Suspense/Clearing +250, Loans Receivable -250"}}},
		{"three instalments", "750", "0", 3, []step{
			{"disburse", "2023-01-01", "", "Loans Receivable +750, Suspense/Clearing -750"},
			{"repay", "2023-02-01", "250", "Suspense/Clearing +250, Loans Receivable -250"},
			{"repay", "2023-03-01", "250", "Suspense/Clearing +250, Loans Receivable -250"},
			{"repay", "2023-03-30", "250", "Suspense/Clearing +250, Loans Receivable -250"}}},
		{"interest accrued and paid", "1000", "36", 1, []step{
			{"disburse", "2023-01-01", "", "Loans Receivable +1000, Suspense/Clearing -1000"},
			{"accrue", "2023-02-01", "", "Interest/Fee Receivable +30, Interest Income -30"},
			{"repay", "2023-02-01", "1030",
				"Suspense/Clearing +1030, Interest/Fee Receivable -30, Loans Receivable -1000"}}},
	} {
		p := Merchant310()
		p.TermMin, p.TermMax, p.FeePermille, p.WriteOffDays = 1, 3, 0, 21
		p.AmountMin, p.AmountStep, p.RateMax = minor(t, "100"), money.Minor(1), MustRate("36")
		b := lend(t, p, Offer{minor(t, scenario.principal), MustRate(scenario.rate), scenario.months,
			date(t, "2023-01-01")})
		for _, s := range scenario.steps {
			on := date(t, s.on)
			switch s.act {
			case "repay":
				b.pay(on, minor(t, s.amount))
			case "accrue", "write off":
				b.pass(on)
			case "recover":
				b.done(b.loan.Recover(b.event(on), minor(t, s.amount)))
			}
			if got := journal(&b.acts[len(b.acts)-1]); got != s.want {
				t.Errorf("%s: %s on %s: %s, want %s", scenario.name, s.act, s.on, got, s.want)
			}
		}
	}
}

// legsText writes postings as "debit>credit:amount/code", with the mode where it is not final.
func legsText(legs []Posting) string {
	var list []string
	for _, p := range legs {
		text := fmt.Sprintf("%d>%d:%s/%d", p.Debit.Class, p.Credit.Class, p.Amount, p.Leg)
		if p.Mode != Final {
			text += fmt.Sprintf("/mode %d", p.Mode)
		}
		list = append(list, text)
	}
	return strings.Join(list, " ")
}

// Every event's legs, codes and order, on one loan that lives through all of them.
func TestLegs(t *testing.T) {
	p := Merchant310()
	o := Offer{minor(t, "10000"), MustRate("12"), 12, date(t, "2026-01-15")}
	check := func(what string, legs []Posting, want string) {
		t.Helper()
		if got := legsText(legs); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	product, ten := p.ID(), minor(t, "10000")
	check("granted", GrantLimit(product, testCustomer, ten), "910>900:1000000/10")
	check("reserved", ReserveLimit(product, testCustomer, ten, 60), "900>920:1000000/11/mode 1")
	check("released", ReleaseLimit(product, testCustomer, ten, testReserve), "900>920:1000000/11/mode 3")
	check("nothing", GrantLimit(product, testCustomer, money.Amount{}), "")

	b := lend(t, p, o)
	last := func() []Posting { return b.acts[len(b.acts)-1].Legs }
	check("disbursed", last(),
		"900>920:1000000/11/mode 2 200>110:1000000/20 110>300:1000000/21 300>320:5000/22")
	// Interest 100.00, and of the fee its first part.
	b.done(b.loan.Accrue(b.event(date(t, "2026-02-15"))))
	check("accrued", last(), "210>400:10000/30 320>400:"+b.acts[1].Fee.String()+"/31")
	// Ten days late: 788.49 of principal at 21.6 percent for 10/360 years is 4.73094.
	on := date(t, "2026-02-25")
	b.done(b.loan.ChargePenalty(b.event(on)))
	check("penalty", last(), "220>410:473/40")
	b.pay(on, minor(t, "893.22"))
	check("repaid", last(), "100>120:89322/50 120>220:473/51 120>210:10000/52 120>200:78849/53")
	b.pay(on, plus(b.loan.Payoff(on).Total, minor(t, "1")))
	check("overpaid", last()[2:], "120>200:921151/53 120>310:100/54")
	b.pass(on)
	check("closed", last(), "920>900:1000000/60")
	b.done(b.loan.Refund(b.event(on), minor(t, "1")))
	check("refunded", last(), "310>100:100/81")

	b = lend(t, p, o)
	for b.loan.Status == Active {
		next, _ := b.loan.NextAction(b.loan.On)
		b.pass(next)
	}
	lost := b.acts[len(b.acts)-2] // the last earns what is left of the fee
	check("written off", lost.Legs, fmt.Sprintf("510>200:1000000/70 510>210:%s/71 510>220:%s/72",
		lost.Interest, lost.Penalty))
	b.done(b.loan.Recover(b.event(b.loan.On), minor(t, "5")))
	check("recovered", last(), "100>520:500/80")
}

// The chain of an event: ids, links, the event, the leg and the date; a settled reservation names
// nothing but what it settles.
func TestChain(t *testing.T) {
	b := lend(t, Merchant310(), Offer{minor(t, "10000"), MustRate("12"), 12, date(t, "2026-01-15")})
	act, currency := b.acts[0], b.loan.Contract.Currency()
	chain := Chain(act.Event, act.On, currency, act.Legs)
	for i, r := range chain {
		if r.ID != TransferID(act.Event, i+1) || r.UserData128 != act.Event ||
			r.UserData64 != uint64(i+1) || r.UserData32 != uint32(act.On) {
			t.Errorf("leg %d is %+v", i+1, r)
		}
		if linked := r.Flags&ledger.TransferLinked != 0; linked != (i+1 < len(chain)) {
			t.Errorf("leg %d is linked: %v", i+1, linked)
		}
	}
	if c := chain[0]; c.PendingID != testReserve || c.Ledger != 0 || !c.DebitAccountID.IsZero() ||
		c.Flags != ledger.TransferPostPending|ledger.TransferLinked {
		t.Errorf("the first leg is %+v", c)
	}
	deposit := AccountID(ClassDeposit, testCustomer, "CNY")
	if c := chain[2]; c.CreditAccountID != deposit || c.Code != uint16(LegDeposit) || c.Ledger != 156 {
		t.Errorf("the third leg is %+v", c)
	}
	hold := ReserveLimit(b.loan.Contract.Product.ID(), testCustomer, act.Principal, 90)
	if r := hold[0].Transfer(currency); r.Flags != ledger.TransferPending || r.Timeout != 90 {
		t.Errorf("a reservation is %+v", r)
	}
	accounts := Accounts(currency, act.Legs)
	if len(accounts) != 6 || accounts[5].ID != AccountID(ClassDeferredFee, ProductID("merchant-310"), "CNY") ||
		accounts[5].Flags != ledger.AccountDebitsMustNotExceedCredits || accounts[5].Code != 320 {
		t.Errorf("accounts are %+v", accounts)
	}
}

// The ids are part of the format: the same names give the same ids for ever.
func TestIDsArePinned(t *testing.T) {
	loan := ident.ID{Lo: 1}
	for _, row := range []struct{ got, want ident.ID }{
		{AccountID(ClassPrincipal, loan, "CNY"),
			ident.Derive("account", "200", "00000000000000000000000000000001", "CNY")},
		{EventID(LoanRepaid, loan, "bank-7"), ident.Derive("event", "loan.repaid",
			"00000000000000000000000000000001", "bank-7")},
		{TransferID(loan, 2), ident.Derive("transfer", "00000000000000000000000000000001", "2")},
		{ProductID("merchant-310"), ident.Derive("product", "merchant-310")},
	} {
		if row.got != row.want {
			t.Errorf("id %s, want %s", row.got, row.want)
		}
	}
}

// docs/reference/accounting.md lists the chart and the table; this holds them to the code.
func TestAccountingReference(t *testing.T) {
	data, err := os.ReadFile("../docs/reference/accounting.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, c := range Chart() {
		holder := [...]string{HeldByProduct: "product", HeldByLoan: "loan", HeldByCustomer: "customer"}
		limit := ""
		switch {
		case c.Flags&ledger.AccountDebitsMustNotExceedCredits != 0:
			limit = "debits must not exceed credits"
		case c.Flags&ledger.AccountCreditsMustNotExceedDebits != 0:
			limit = "credits must not exceed debits"
		}
		if c.Flags&ledger.AccountHistory != 0 {
			limit += ", history"
		}
		line := strings.TrimRight(fmt.Sprintf("| %d | %s | %s | %s", c.Class, c.Name, holder[c.Holder],
			limit), " ") + " |\n"
		if !strings.Contains(text, line) {
			t.Errorf("the reference lacks %q", line)
		}
	}
	for _, l := range Table() {
		line := fmt.Sprintf("| `%s` | %d | %d | %d | %s |\n", l.Event, l.Debit, l.Credit, l.Leg, l.Name)
		if !strings.Contains(text, line) {
			t.Errorf("the reference lacks %q", line)
		}
	}
	for r := EventIDMissing; int(r) < len(resultNames); r++ {
		line := fmt.Sprintf("| %d | `%s` | %s |\n", r, r, r.Sentence())
		if !strings.Contains(text, line) {
			t.Errorf("the reference lacks %q", line)
		}
	}
}
