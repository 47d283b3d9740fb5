package lendingtest

import (
	"context"
	"fmt"

	"surety/api/event"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
	"surety/ledger/replica"
	"surety/lending"
	"surety/lending/store"
)

// row is one line of the accounting table: which amount of which event moves between which classes.
type row struct {
	kind, amount  string
	debit, credit uint16
	code          uint16
}

// table is docs/reference/events.md.
var table = [...]row{
	{"limit.granted", "limit", 910, 900, 10},
	{"limit.reserved", "principal", 900, 920, 11},
	{"loan.disbursed", "principal", 900, 920, 11},
	{"loan.disbursed", "principal", 200, 110, 20},
	{"loan.disbursed", "principal", 110, 300, 21},
	{"loan.disbursed", "fee", 300, 320, 22},
	{"interest.accrued", "interest", 210, 400, 30},
	{"interest.accrued", "fee_amortised", 320, 400, 31},
	{"penalty.charged", "penalty", 220, 410, 40},
	{"loan.repaid", "total", 100, 120, 50},
	{"loan.repaid", "penalty", 120, 220, 51},
	{"loan.repaid", "interest", 120, 210, 52},
	{"loan.repaid", "principal", 120, 200, 53},
	{"loan.repaid", "overpaid", 120, 310, 54},
	{"loan.closed", "limit", 920, 900, 60},
	{"loan.written_off", "principal", 510, 200, 70},
	{"loan.written_off", "interest", 510, 210, 71},
	{"loan.written_off", "penalty", 510, 220, 72},
	{"loan.recovered", "amount", 100, 520, 80},
	{"overpayment.refunded", "amount", 310, 100, 81},
}

// audit is one comparison of the records with the ledger.
type audit struct {
	w        *World
	accounts map[ident.ID]ledger.Account
	chains   map[ident.ID][]ledger.Transfer // by event
	loans    []store.Loan
	states   []lending.Loan
}

// Audit waits for the notes to be made and then fails the test wherever the records and the ledger
// do not hold together, or anything is unfinished. Nothing else may be at work.
func (w *World) Audit() {
	w.T.Helper()
	w.Settled()
	a := &audit{w: w, accounts: map[ident.ID]ledger.Account{}, chains: map[ident.ID][]ledger.Transfer{}}
	a.read(context.Background())
	a.events()
	a.finished()
	a.balances()
}

func (a *audit) errorf(format string, args ...any) {
	a.w.T.Helper()
	a.w.T.Errorf("audit: "+format, args...)
}

func (a *audit) check(err error) {
	a.w.T.Helper()
	if err != nil {
		a.w.T.Fatal(err)
	}
}

func (a *audit) read(ctx context.Context) {
	a.w.T.Helper()
	a.readLedger(ctx, a.w.Ledger)
	for page := (store.Page{Limit: store.PageMax}); ; {
		rows, err := a.w.Store.Loans(ctx, page)
		a.check(err)
		if len(rows) == 0 {
			break
		}
		a.loans, page.Before = append(a.loans, rows...), rows[len(rows)-1].Number
	}
	for i := range a.loans {
		contract, err := lending.DecodeContract(a.loans[i].Contract)
		a.check(err)
		state, err := lending.DecodeLoan(a.loans[i].State, &contract)
		a.check(err)
		a.states = append(a.states, state)
	}
}

func (a *audit) readLedger(ctx context.Context, from *replica.Replica) {
	a.w.T.Helper()
	for {
		list, err := from.ListAccounts(ctx, len(a.accounts), 0)
		a.check(err)
		for _, account := range list {
			a.accounts[account.ID] = account
		}
		if len(list) == 0 {
			break
		}
	}
	for filter := (ledger.TransferFilter{}); ; {
		page, err := from.QueryTransfers(ctx, filter)
		a.check(err)
		for _, t := range page.Transfers {
			a.chains[t.UserData128] = append(a.chains[t.UserData128], t)
		}
		if filter.Cursor = page.Cursor; filter.Cursor == 0 {
			break
		}
	}
	totals, err := from.ClassTotals(ctx)
	a.check(err)
	sums := map[uint32][2]money.Amount{}
	for _, total := range totals {
		debits, _ := sums[total.Ledger][0].Add(total.DebitsPosted)
		credits, _ := sums[total.Ledger][1].Add(total.CreditsPosted)
		sums[total.Ledger] = [2]money.Amount{debits, credits}
	}
	for currency, sum := range sums {
		if sum[0] != sum[1] {
			a.errorf("ledger %d: debits %s, credits %s", currency, sum[0], sum[1])
		}
	}
}

// events holds each event against its postings, and each posting against its event.
func (a *audit) events() {
	a.w.T.Helper()
	var all []event.Event
	for {
		list, err := a.w.Store.Events(context.Background(), uint64(len(all)), 1_000)
		a.check(err)
		if len(list) == 0 {
			break
		}
		all = append(all, list...)
	}
	cancelled := map[ident.ID]bool{}
	for i := range all {
		if all[i].Kind == event.EventCancelled {
			cancelled[all[i].Cause] = true
		}
	}
	known := map[ident.ID]bool{}
	for i := range all {
		e := &all[i]
		if e.Seq != uint64(i+1) {
			a.errorf("event %d is numbered %d", i+1, e.Seq)
		}
		if known[e.ID] {
			a.errorf("event %s twice", e.ID)
		}
		if e.Kind == event.EventCancelled && !known[e.Cause] {
			a.errorf("event %s is cancelled before it was written", e.Cause)
		}
		known[e.ID] = true
		a.postings(e, cancelled[e.ID])
	}
	for id, chain := range a.chains {
		if !known[id] {
			a.errorf("%d postings for event %s, which does not exist", len(chain), id)
		}
	}
}

// postings holds one event against the postings that bear its id.
func (a *audit) postings(e *event.Event, cancelled bool) {
	a.w.T.Helper()
	var want []row
	for _, line := range table {
		if amount := e.Amount(line.amount); line.kind == e.Kind && !amount.IsZero() && !cancelled {
			want = append(want, line)
		}
	}
	chain := a.chains[e.ID]
	if len(chain) != len(want) {
		a.errorf("%s %s (cancelled: %v): %d postings, want %d", e.Kind, e.ID, cancelled, len(chain), len(want))
		return
	}
	for i, t := range chain {
		debit, credit := a.accounts[t.DebitAccountID].Code, a.accounts[t.CreditAccountID].Code
		got := row{e.Kind, want[i].amount, debit, credit, t.Code}
		if got != want[i] || t.Amount != e.Amount(want[i].amount) || t.UserData64 != uint64(i+1) ||
			t.UserData32 != uint32(e.Date) {
			a.errorf("%s %s leg %d: %+v of %s, want %+v of %s", e.Kind, e.ID, i+1, got, t.Amount, want[i],
				e.Amount(want[i].amount))
		}
	}
}

// finished sees that nothing is under way.
func (a *audit) finished() {
	a.w.T.Helper()
	ctx := context.Background()
	instructions, err := a.w.Store.Instructions(ctx, 0, 10)
	a.check(err)
	for i := range instructions {
		a.errorf("%s %s is not settled", instructions[i].Kind, instructions[i].Event)
	}
	status := map[ident.ID]string{}
	for i := range a.loans {
		status[a.loans[i].ID] = a.loans[i].Status
	}
	for page := (store.Page{Limit: store.PageMax}); ; {
		rows, err := a.w.Store.Applications(ctx, page)
		a.check(err)
		if len(rows) == 0 {
			return
		}
		for i := range rows {
			a.application(&rows[i], status[rows[i].Loan])
		}
		page.Before = rows[len(rows)-1].Number
	}
}

// application sees that an application is at an end, and its loan where that puts it.
func (a *audit) application(row *store.Application, loan string) {
	a.w.T.Helper()
	out := loan == store.LoanActive || loan == store.LoanClosed || loan == store.LoanWrittenOff
	switch row.Status {
	case store.StatusDisbursed:
		if !out || row.CancelledReason != "" {
			a.errorf("application %s is disbursed, its loan %q", row.ID, loan)
		}
	case store.StatusCancelled:
		if loan != store.LoanCancelled || row.CancelledReason == "" {
			a.errorf("application %s is cancelled for %q, its loan %q", row.ID, row.CancelledReason, loan)
		}
	case store.StatusDeclined, store.StatusReferred:
		if !row.Loan.IsZero() {
			a.errorf("application %s is %s and has a loan", row.ID, row.Status)
		}
	default:
		a.errorf("application %s is %s", row.ID, row.Status)
	}
}

// balances holds the states of all loans against the accounts.
func (a *audit) balances() {
	a.w.T.Helper()
	want := map[ident.ID]money.Amount{}
	add := func(class lending.Class, owner ident.ID, currency string, amount money.Amount) {
		id := lending.AccountID(class, owner, currency)
		want[id], _ = want[id].Add(amount)
	}
	for i := range a.loans {
		l, row := &a.states[i], &a.loans[i]
		if l.Status.String() != row.Status {
			a.errorf("loan %s is %s in its state and %s in its row", row.ID, l.Status, row.Status)
		}
		product, currency := lending.ProductID(row.Product), row.Currency
		add(lending.ClassPrincipal, row.ID, currency, l.Principal)
		add(lending.ClassInterest, row.ID, currency, l.Interest)
		add(lending.ClassPenalty, row.ID, currency, l.Penalty)
		add(lending.ClassDeferredFee, product, currency, l.DeferredFee)
		add(lending.ClassOverpaid, row.Customer, currency, l.Overpaid)
		if l.Status != lending.Cancelled {
			paid, _ := l.Contract.Offer.Principal.Sub(l.Contract.Schedule.Fee)
			add(lending.ClassDeposit, row.Customer, currency, paid)
			received, _ := l.Paid.Add(l.Recovered)
			add(lending.ClassBank, product, currency, received)
		}
		if l.Status == lending.Active || l.Status == lending.WrittenOff {
			add(lending.ClassDrawn, product, currency, l.Contract.Offer.Principal)
		}
	}
	for id, account := range a.accounts {
		a.balance(lending.Class(account.Code), &account, want[id])
		delete(want, id)
	}
	for id, amount := range want {
		if !amount.IsZero() {
			a.errorf("account %s should hold %s and does not exist", id, amount)
		}
	}
}

// balance holds one account against what the loans say. Income and expense have their postings
// checked one by one and no state to be held against.
func (a *audit) balance(class lending.Class, account *ledger.Account, want money.Amount) {
	a.w.T.Helper()
	info, _ := class.Info()
	positive, negative := account.DebitsPosted, account.CreditsPosted
	switch class {
	case lending.ClassPrincipal, lending.ClassInterest, lending.ClassPenalty, lending.ClassBank,
		lending.ClassDisbursing, lending.ClassRepaying:
	case lending.ClassDeposit, lending.ClassOverpaid, lending.ClassDeferredFee, lending.ClassDrawn:
		positive, negative = negative, positive
	default:
		return
	}
	got, below := positive.Sub(negative)
	if below || got != want {
		a.errorf("%s %s of %s holds %s (below zero: %v), the records say %s", info.Name, account.ID,
			account.UserData128, got, below, want)
	}
}

// Kinds returns the kinds of the events of a loan or application, oldest first, as one line.
func (w *World) Kinds(subject ident.ID) (line string) {
	w.T.Helper()
	events, err := w.Store.SubjectEvents(context.Background(), subject)
	if err != nil {
		w.T.Fatal(err)
	}
	for i := range events {
		line += fmt.Sprintf(" %s", events[i].Kind)
	}
	return line
}
