package drill

import (
	"context"
	"maps"
	"math/big"
	"slices"
	"strconv"

	"surety/api/event"
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
)

// The faults below are those of the service's own rules: event and postings agree, and both are
// wrong.

// misled changes the event before it is written, and posts what the changed event asks for.
func misled(change func(i *instance, e *event.Event)) planting {
	return func(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
		e := own(a.Event)
		change(i, &e)
		wrong := Act{Event: e}
		wrong.post()
		i.emit(e)
		result, err := i.commit(ctx, wrong.Accounts, wrong.Transfers)
		if err == nil && result != ledger.TransferOK {
			i.world.withdraw(&e)
		}
		return result, err
	}
}

// own copies what is shared in an event.
func own(e event.Event) event.Event {
	e.Amounts, e.Facts = maps.Clone(e.Amounts), maps.Clone(e.Facts)
	e.Flows = slices.Clone(e.Flows)
	return e
}

// repeated performs the act and then does it again under another id.
func repeated(change func(i *instance, e *event.Event)) planting {
	return func(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
		if err := i.world.clean(ctx, a); err != nil {
			return 0, err
		}
		return misled(func(i *instance, e *event.Event) {
			e.ID = kindAgain(i, a).ID
			change(i, e)
		})(ctx, i, a)
	}
}

func unchanged(*instance, *event.Event) {}

// add changes an amount by some units, up or down.
func add(e *event.Event, name string, by int64) {
	n := e.Amounts[name].Lo
	if by < 0 && uint64(-by) >= n {
		by = -by
	}
	e.Amounts[name] = minor(n + uint64(by))
}

// off returns a random error, of a unit or of much more.
func (i *instance) off(most uint64) int64 {
	by := int64(1)
	if i.rng.IntN(2) == 0 {
		by += i.rng.Int64N(int64(max(most, 2)))
	}
	if i.rng.IntN(2) == 0 {
		return -by
	}
	return by
}

func anotherReference(i *instance, e *event.Event) {
	e.Facts["reference"] = "again-" + i.product
}

func unsplit(i *instance, e *event.Event) { add(e, "total", 1+i.rng.Int64N(10_000)) }

func wrongInterest(i *instance, e *event.Event) { add(e, "interest", i.off(e.Amounts["interest"].Lo)) }

func wrongPenalty(i *instance, e *event.Event) { add(e, "penalty", i.off(e.Amounts["penalty"].Lo)) }

func wrongFee(i *instance, e *event.Event) { add(e, "fee", 1+i.rng.Int64N(5000)) }

// tenfoldRate charges interest by a rate with a digit too many.
func tenfoldRate(_ *instance, e *event.Event) {
	rate, _ := new(big.Rat).SetString(e.Facts["annual_rate_percent"])
	rate.Mul(rate, big.NewRat(10_000_000_000, 1))
	e.Facts["annual_rate_percent"] = percent(rate.Num().Uint64())
	e.Amounts["interest"] = minor(e.Amounts["interest"].Lo * 10)
}

// skipDays begins an accrual some days late.
func skipDays(i *instance, e *event.Event) {
	from, _ := clock.ParseDate(e.Facts["from"])
	e.Facts["from"] = later(from, 1+i.rng.IntN(7))
}

func backDateEvent(i *instance, e *event.Event) { e.Date = e.Date.AddDays(-40 - i.rng.IntN(30)) }

// favourPrincipal allocates a repayment to principal before interest.
func favourPrincipal(i *instance, e *event.Event) {
	shift := max(1, min(e.Amounts["interest"].Lo, 1+i.rng.Uint64N(1000)))
	add(e, "interest", -int64(shift))
	add(e, "principal", int64(shift))
	if e.Amounts["interest"].Lo > e.Amounts["due_interest"].Lo { // there was less to take
		e.Amounts["interest"] = minor(0)
	}
	total := e.Amounts["penalty"].Lo + e.Amounts["interest"].Lo + e.Amounts["principal"].Lo +
		e.Amounts["overpaid"].Lo
	e.Amounts["total"] = minor(total)
}

// unsum takes a unit or more from the principal of an instalment.
func unsum(i *instance, e *event.Event) {
	f := &e.Flows[i.rng.IntN(len(e.Flows))]
	by := 1 + i.rng.Uint64N(100)
	f.Principal.Lo -= min(by, f.Principal.Lo-1)
	f.Payment, _ = f.Principal.Add(f.Interest)
}

// drift adds a unit to the interest of one instalment, and makes everything else of the contract
// follow from it.
func drift(i *instance, e *event.Event) {
	f := &e.Flows[i.rng.IntN(len(e.Flows))]
	by := 1 + i.rng.Int64N(50)
	f.Interest.Lo += uint64(by)
	f.Payment.Lo += uint64(by)
	add(e, "total_interest", by)
	add(e, "total_payable", by)
	var payments []uint64
	for _, f := range e.Flows {
		payments = append(payments, f.Payment.Lo)
	}
	effective, nominal := annualRates(payments, e.Amounts["principal"].Lo-e.Amounts["fee"].Lo)
	e.Facts["apr_eu_micro_percent"] = strconv.FormatUint(effective, 10)
	e.Facts["apr_us_micro_percent"] = strconv.FormatUint(nominal, 10)
}

// flatter shows an annual rate that is lower than the true one.
func flatter(i *instance, e *event.Event) {
	name := [...]string{"apr_eu_micro_percent", "apr_us_micro_percent"}[i.rng.IntN(2)]
	n, _ := strconv.ParseUint(e.Facts[name], 10, 64)
	e.Facts[name] = strconv.FormatUint(n-min(n, 10+i.rng.Uint64N(1_000_000)), 10)
}

func raiseLimit(i *instance, e *event.Event) { add(e, "limit", 1+i.rng.Int64N(1_000_00)) }

func raiseReservation(i *instance, e *event.Event) { add(e, "principal", 1+i.rng.Int64N(1_000_00)) }

func loseCause(i *instance, e *event.Event) { e.Cause = ident.Derive("drill", "nothing", i.product) }

func forgetFact(_ *instance, e *event.Event) { delete(e.Facts, "from") }

func unknownKind(_ *instance, e *event.Event) { e.Kind = "loan.gifted" }

// hugeAmount states an amount no loan has.
func hugeAmount(i *instance, e *event.Event) {
	e.Amounts["total"] = money.Amount{Lo: i.rng.Uint64(), Hi: 1}
}

// emitOnly writes a changed event and posts nothing for it.
func emitOnly(change func(i *instance, e *event.Event)) planting {
	return func(_ context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
		e := own(a.Event)
		change(i, &e)
		i.emit(e)
		return ledger.TransferOK, nil
	}
}

// payWithoutContract pays a loan out whose contract does not exist, and the money runs.
func payWithoutContract(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	result, err := misled(loseCause)(ctx, i, a)
	if err == nil && result == ledger.TransferOK {
		leg := deposit(a.Transfers)
		err = i.flee(ctx, leg.CreditAccountID, leg.Amount.Lo)
	}
	return result, err
}

// signWithdrawn signs a contract after its approval was withdrawn.
func signWithdrawn(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	decided := event.Event{ID: a.Event.Cause, Kind: event.ApplicationDecided, Date: a.Event.Date,
		Trace: a.Event.Trace, Application: a.Event.Application, Customer: a.Event.Customer,
		Product: a.Event.Product, Currency: a.Event.Currency}
	i.world.withdraw(&decided)
	i.emit(a.Event)
	return ledger.TransferOK, nil
}

// repayBefore takes a payment on a loan that was not paid out yet.
func repayBefore(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	s := i.lender.loans[0].subject
	amount := minor(1_00 + i.rng.Uint64N(10_000))
	e := s.event(event.LoanRepaid, "early", a.Event.Date)
	for _, name := range [...]string{"penalty", "interest", "principal", "due_penalty",
		"due_interest", "outstanding"} {
		e.Amounts[name] = minor(0)
	}
	e.Amounts["total"], e.Amounts["overpaid"] = amount, amount
	e.Facts["reference"] = "early-" + i.product
	return misled(unchanged)(ctx, i, &Act{Event: e})
}
