package settlement_test

import (
	"context"
	"slices"
	"strconv"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
	"surety/lending"
	"surety/lending/lendingtest"
	"surety/lending/settlement"
)

var (
	product  = lending.ProductID("p")
	customer = ident.Derive("customer", "c")
	on       = clock.MustDate(2026, 1, 15)
)

func yuan(t testing.TB) money.Currency {
	t.Helper()
	c, err := money.CurrencyOf("CNY")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// leg returns a posting between accounts of two classes.
func leg(code lending.Leg, debit, credit lending.Class, amount uint64) lending.Posting {
	holder := func(c lending.Class) lending.AccountRef {
		if info, _ := c.Info(); info.Holder == lending.HeldByCustomer {
			return lending.AccountRef{Class: c, Owner: customer}
		}
		return lending.AccountRef{Class: c, Owner: product}
	}
	return lending.Posting{Leg: code, Debit: holder(debit), Credit: holder(credit),
		Amount: money.Minor(amount)}
}

// deposit pays into the customer's account, withdraw takes out of it by a chain whose second leg
// needs the money.
func deposit(t testing.TB, name string, amount uint64) settlement.Order {
	return settlement.NewOrder(ident.Derive("event", name), on, yuan(t),
		[]lending.Posting{leg(lending.LegDeposit, lending.ClassBank, lending.ClassDeposit, amount)})
}

func withdraw(t testing.TB, name string, amount uint64) settlement.Order {
	return settlement.NewOrder(ident.Derive("event", name), on, yuan(t), []lending.Posting{
		leg(lending.LegReceive, lending.ClassBank, lending.ClassRepaying, 1),
		leg(lending.LegFee, lending.ClassDeposit, lending.ClassDeferredFee, amount),
		leg(lending.LegOverpaid, lending.ClassRepaying, lending.ClassOverpaid, 1)})
}

// counted counts the batches that reach the ledger, and can lose the answer to one.
type counted struct {
	settlement.Ledger
	batches  []int // transfers in each
	loseLast bool
}

func (c *counted) CreateTransfers(ctx context.Context, batch []ledger.Transfer) (
	[]ledger.TransferResult, error) {
	results, err := c.Ledger.CreateTransfers(ctx, batch)
	c.batches = append(c.batches, len(batch))
	if c.loseLast && len(c.batches) == 2 {
		return nil, errs.New(errs.Busy, "lost")
	}
	return results, err
}

func carry(t *testing.T, to settlement.Ledger, orders ...settlement.Order) []settlement.Outcome {
	t.Helper()
	outcomes, err := settlement.New(to).Carry(t.Context(), orders...)
	if err != nil {
		t.Fatal(err)
	}
	if len(outcomes) != len(orders) {
		t.Fatalf("%d outcomes for %d orders", len(outcomes), len(orders))
	}
	return outcomes
}

// TestCarry follows one ledger through orders that stand, are refused, and are driven again.
func TestCarry(t *testing.T) {
	w := lendingtest.New(t)
	steps := []struct {
		what  string
		order settlement.Order
		want  settlement.Outcome
		holds uint64 // the customer's deposit afterwards
	}{
		{"paid in", deposit(t, "in", 100), settlement.Outcome{}, 100},
		{"paid in, driven again", deposit(t, "in", 100), settlement.Outcome{}, 100},
		{"more than there is", withdraw(t, "much", 101),
			settlement.Outcome{Refused: true, Result: ledger.TransferExceedsCredits, Leg: 2}, 100},
		{"driven again", withdraw(t, "much", 101),
			settlement.Outcome{Refused: true, Result: ledger.TransferIDAlreadyFailed, Leg: 2}, 100},
		{"more money comes", deposit(t, "more", 50), settlement.Outcome{}, 150},
		{"the refusal is final", withdraw(t, "much", 101),
			settlement.Outcome{Refused: true, Result: ledger.TransferIDAlreadyFailed, Leg: 2}, 150},
		{"another event", withdraw(t, "less", 101), settlement.Outcome{}, 49},
		{"of three legs, driven again", withdraw(t, "less", 101), settlement.Outcome{}, 49},
		{"nothing to post", settlement.NewOrder(ident.Derive("event", "empty"), on, yuan(t), nil),
			settlement.Outcome{}, 49},
	}
	for _, step := range steps {
		if got := carry(t, w.Ledger, step.order)[0]; got != step.want {
			t.Errorf("%s: %+v, want %+v", step.what, got, step.want)
		}
		if got := w.Balance(lending.ClassDeposit, customer); got != money.Minor(step.holds) {
			t.Errorf("%s: the account holds %s, want %d", step.what, got, step.holds)
		}
		if got := w.Balance(lending.ClassRepaying, product); !got.IsZero() {
			t.Errorf("%s: clearing holds %s", step.what, got)
		}
	}
	if reason := carry(t, w.Ledger, withdraw(t, "much", 101))[0].Reason(); reason != "id_already_failed" {
		t.Errorf("reason %q", reason)
	}
}

// TestCarryMixed carries orders that fare differently in one batch.
func TestCarryMixed(t *testing.T) {
	w := lendingtest.New(t)
	carry(t, w.Ledger, deposit(t, "first", 10))
	got := carry(t, w.Ledger, withdraw(t, "too much", 11), deposit(t, "first", 10),
		settlement.NewOrder(ident.Derive("event", "empty"), on, yuan(t), nil), withdraw(t, "all", 10),
		withdraw(t, "one more", 1))
	var refused []bool
	for _, outcome := range got {
		refused = append(refused, outcome.Refused)
	}
	if want := []bool{true, false, false, false, true}; !slices.Equal(refused, want) {
		t.Errorf("refused %v, want %v", refused, want)
	}
}

// TestFreezesAreRefusals has the ledger say no for each reason that is its to say.
func TestFreezesAreRefusals(t *testing.T) {
	w := lendingtest.New(t)
	carry(t, w.Ledger, deposit(t, "open", 1_000))
	account := lending.AccountID(lending.ClassDeposit, customer, "CNY")
	tests := []struct {
		freeze func() (release func())
		order  func(name string) settlement.Order
		want   settlement.Outcome
	}{
		{func() func() { return w.Freeze(account) },
			func(name string) settlement.Order { return withdraw(t, name, 1) },
			settlement.Outcome{Refused: true, Result: ledger.TransferDebitAccountFrozen, Leg: 2}},
		{func() func() { return w.Freeze(account) },
			func(name string) settlement.Order { return deposit(t, name, 1) },
			settlement.Outcome{Refused: true, Result: ledger.TransferCreditAccountFrozen, Leg: 1}},
		{func() func() { return w.FreezeCode(lending.LegOverpaid) },
			func(name string) settlement.Order { return withdraw(t, name, 1) },
			settlement.Outcome{Refused: true, Result: ledger.TransferCodeFrozen, Leg: 3}},
	}
	for i, tt := range tests {
		release := tt.freeze()
		if got := carry(t, w.Ledger, tt.order("frozen "+strconv.Itoa(i)))[0]; got != tt.want {
			t.Errorf("%d: %+v, want %+v", i, got, tt.want)
		}
		release()
		if got := carry(t, w.Ledger, tt.order("released "+strconv.Itoa(i)))[0]; got.Refused {
			t.Errorf("%d: released, and still %+v", i, got)
		}
	}
	// What stands stands, though it could not be posted now.
	defer w.FreezeCode(lending.LegDeposit)()
	if got := carry(t, w.Ledger, deposit(t, "open", 1_000))[0]; got.Refused {
		t.Errorf("posted before the freeze: %+v", got)
	}
}

// TestDefects sees that an answer which can only come from a defect is an error and no refusal.
func TestDefects(t *testing.T) {
	w := lendingtest.New(t)
	carry(t, w.Ledger, deposit(t, "in", 100))
	foreign := deposit(t, "other properties", 1)
	foreign.Accounts[1].Flags = 0
	reused := deposit(t, "in", 101)
	nowhere := withdraw(t, "nowhere", 1)
	nowhere.Accounts = nil
	nowhere.Transfers[1].DebitAccountID = ident.Derive("nobody's")
	tests := []struct {
		what  string
		order settlement.Order
	}{
		{"an account that exists with other flags", foreign},
		{"an id that moved another amount", reused},
		{"an account that does not exist", nowhere},
	}
	for _, tt := range tests {
		outcomes, err := settlement.New(w.Ledger).Carry(t.Context(), tt.order)
		if !errs.Is(err, errs.Internal) || len(outcomes) != 0 {
			t.Errorf("%s: %v, %v", tt.what, outcomes, err)
		}
	}
}

// TestHalfAChain plants a first leg without the others, which no chain can leave behind.
func TestHalfAChain(t *testing.T) {
	w := lendingtest.New(t)
	order := settlement.NewOrder(ident.Derive("event", "half"), on, yuan(t), []lending.Posting{
		leg(lending.LegDeposit, lending.ClassBank, lending.ClassDeposit, 5),
		leg(lending.LegFee, lending.ClassDeposit, lending.ClassDeferredFee, 5)})
	planted := order
	planted.Transfers = append([]ledger.Transfer(nil), order.Transfers[0], deposit(t, "tail", 1).Transfers[0])
	if got := carry(t, w.Ledger, planted)[0]; got.Refused {
		t.Fatalf("planting: %+v", got)
	}
	_, err := settlement.New(w.Ledger).Carry(t.Context(), order)
	if !errs.Is(err, errs.Internal) {
		t.Errorf("half a chain: %v", err)
	}
}

// TestBatches carries more than one batch takes, loses an answer on the way, and drives the rest
// again.
func TestBatches(t *testing.T) {
	w := lendingtest.New(t)
	const legs = 60
	orders := make([]settlement.Order, 2*ledger.BatchMax/legs+10)
	for i := range orders {
		postings := make([]lending.Posting, legs)
		for k := range postings {
			postings[k] = leg(lending.LegDeposit, lending.ClassBank, lending.ClassDeposit, 1)
		}
		orders[i] = settlement.NewOrder(ident.Derive("event", strconv.Itoa(i)), on, yuan(t), postings)
	}
	lossy := &counted{Ledger: w.Ledger, loseLast: true}
	outcomes, err := settlement.New(lossy).Carry(t.Context(), orders...)
	if !errs.Is(err, errs.Busy) || len(outcomes) != ledger.BatchMax/legs {
		t.Fatalf("%d outcomes, %v", len(outcomes), err)
	}
	through := &counted{Ledger: w.Ledger}
	for i, outcome := range carry(t, through, orders...) {
		if outcome.Refused {
			t.Fatalf("order %d: %+v", i, outcome)
		}
	}
	if len(through.batches) != 3 || slices.Max(through.batches) > ledger.BatchMax {
		t.Errorf("batches of %v", through.batches)
	}
	if got := w.Balance(lending.ClassDeposit, customer); got != money.Minor(uint64(len(orders)*legs)) {
		t.Errorf("the account holds %s, want %d", got, len(orders)*legs)
	}
}

// TestNoLedger sees that where nothing is known, no outcome is given.
func TestNoLedger(t *testing.T) {
	w := lendingtest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	outcomes, err := settlement.New(w.Ledger).Carry(ctx, deposit(t, "in", 1))
	if !errs.Is(err, errs.Canceled) || len(outcomes) != 0 {
		t.Errorf("%v, %v", outcomes, err)
	}
}
