package drill

import (
	"context"
	"strconv"

	"surety/api/event"
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
	"surety/guard"
	"surety/ledger"
)

// The faults below are those of code that posts: the event is right, and the ledger is told
// something else.

// spoiled emits the act's event and posts its order as spoil leaves it.
func spoiled(spoil func(i *instance, a *Act)) planting {
	return func(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
		i.emit(a.Event)
		spoil(i, a)
		result, err := i.commit(ctx, a.Accounts, a.Transfers)
		if err == nil && result != ledger.TransferOK {
			i.world.withdraw(&a.Event)
		}
		return result, err
	}
}

// again posts once more what was posted, under ids of its own.
func again(ctx context.Context, i *instance, list []ledger.Transfer) (ledger.TransferResult, error) {
	repeat := append([]ledger.Transfer(nil), list...)
	for k := range repeat {
		repeat[k].ID = ident.Derive("drill", "again", repeat[k].ID.String())
	}
	return i.commit(ctx, nil, repeat)
}

// deposit is the leg that puts a loan's principal into the customer's account.
func deposit(list []ledger.Transfer) *ledger.Transfer {
	for k := range list {
		if list[k].Code == 21 {
			return &list[k]
		}
	}
	return &list[0]
}

func postTwice(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	if err := i.world.clean(ctx, a); err != nil {
		return 0, err
	}
	leg := *deposit(a.Transfers)
	result, err := again(ctx, i, []ledger.Transfer{leg})
	if err == nil && result == ledger.TransferOK && leg.Code == 21 {
		err = i.flee(ctx, leg.CreditAccountID, 2*leg.Amount.Lo)
	}
	return result, err
}

func postChainTwice(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	if err := i.world.clean(ctx, a); err != nil {
		return 0, err
	}
	return again(ctx, i, a.Transfers)
}

func postSameAgain(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	if err := i.world.clean(ctx, a); err != nil {
		return 0, err
	}
	return i.commit(ctx, nil, a.Transfers)
}

func dropLeg(i *instance, a *Act) {
	at := 1 + i.rng.IntN(len(a.Transfers)-1)
	a.Transfers = append(a.Transfers[:at:at], a.Transfers[at+1:]...)
}

func postNothing(_ context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	i.emit(a.Event)
	return ledger.TransferOK, nil
}

func postWithoutEvent(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	return i.commit(ctx, a.Accounts, a.Transfers)
}

func payMore(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	i.emit(a.Event)
	leg := deposit(a.Transfers)
	more := 1 + i.rng.Uint64N(leg.Amount.Lo)
	leg.Amount.Lo += more
	result, err := i.commit(ctx, a.Accounts, a.Transfers)
	if err == nil && result == ledger.TransferOK {
		err = i.flee(ctx, leg.CreditAccountID, more)
	}
	return result, err
}

func payHundredfold(_ *instance, a *Act) {
	leg := deposit(a.Transfers)
	leg.Amount.Lo *= 100
}

func payLess(i *instance, a *Act) {
	leg := deposit(a.Transfers)
	leg.Amount.Lo -= 1 + i.rng.Uint64N(leg.Amount.Lo/2)
}

// bookLess posts one leg of a repayment with another amount than the event's.
func bookLess(i *instance, a *Act) {
	leg := &a.Transfers[i.rng.IntN(len(a.Transfers))]
	leg.Amount.Lo -= min(leg.Amount.Lo-1, 1+i.rng.Uint64N(leg.Amount.Lo))
	if leg.Amount.Lo == 1 {
		leg.Amount.Lo = 2
	}
}

func overflow(i *instance, a *Act) {
	leg := &a.Transfers[len(a.Transfers)-1]
	leg.Amount = money.Amount{Lo: ^uint64(0) - i.rng.Uint64N(1000), Hi: ^uint64(0)}
}

func payStranger(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	other := a.Event
	other.Customer = ident.Derive("drill", "stranger", i.product)
	currency, _ := money.CurrencyOf(other.Currency)
	stranger := newAccount(300, &other, currency)
	i.emit(a.Event)
	leg := deposit(a.Transfers)
	leg.CreditAccountID = stranger.ID
	if n := len(a.Transfers); a.Transfers[n-1].Code == 22 {
		a.Transfers[n-1].DebitAccountID = stranger.ID // the fee is taken where the money went
	}
	result, err := i.commit(ctx, append(a.Accounts, stranger), a.Transfers)
	if err == nil && result == ledger.TransferOK {
		err = i.flee(ctx, stranger.ID, leg.Amount.Lo)
	}
	return result, err
}

func swapFirst(_ *instance, a *Act) {
	t := &a.Transfers[0]
	t.DebitAccountID, t.CreditAccountID = t.CreditAccountID, t.DebitAccountID
}

func swapSecond(_ *instance, a *Act) {
	t := &a.Transfers[1]
	t.DebitAccountID, t.CreditAccountID = t.CreditAccountID, t.DebitAccountID
}

// foreign posts the first leg on accounts of the same owners in another currency.
func foreign(_ *instance, a *Act) {
	other := a.Event
	other.Currency = "USD"
	currency, _ := money.CurrencyOf(other.Currency)
	t := &a.Transfers[0]
	debit, credit := newAccount(100, &other, currency), newAccount(120, &other, currency)
	t.Ledger, t.DebitAccountID, t.CreditAccountID = currency.Number, debit.ID, credit.ID
	a.Accounts = append(a.Accounts, debit, credit)
}

func mixed(_ *instance, a *Act) { a.Transfers[0].Ledger = 840 }

// payFrozen pays into an account that a person has frozen.
func payFrozen(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	if err := i.world.create(ctx, a.Accounts); err != nil {
		return 0, err
	}
	_, err := i.world.ledger.ApplyFreezes(ctx, []ledger.Freeze{{
		ID: ident.Derive("drill", "freeze", i.product), Actor: operators[0], Reason: 1,
		Scope: ledger.FreezeAccount, Sides: ledger.FreezeBoth,
		AccountID: deposit(a.Transfers).CreditAccountID}})
	if err != nil {
		return 0, err
	}
	return spoiled(func(*instance, *Act) {})(ctx, i, a)
}

// releaseAlone lifts a freeze in the name of one person only.
func releaseAlone(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	if err := i.world.clean(ctx, a); err != nil {
		return 0, err
	}
	id := ident.Derive("drill", "freeze", i.product)
	results, err := i.world.ledger.ApplyFreezes(ctx, []ledger.Freeze{
		{ID: id, Actor: operators[0], Reason: 1, Scope: ledger.FreezeAccount, Sides: ledger.FreezeBoth,
			AccountID: deposit(a.Transfers).CreditAccountID},
		{ID: ident.Derive("drill", "release", i.product), FreezeID: id, Actor: operators[0],
			SecondActor: operators[0], Reason: 1, Flags: ledger.FreezeRelease},
	})
	if err == nil && results[1] != ledger.FreezeOK {
		i.refusal = results[1].String()
	}
	return ledger.TransferOK, err
}

func cancelThenPost(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	i.emit(a.Event)
	i.world.withdraw(&a.Event)
	return i.commit(ctx, a.Accounts, a.Transfers)
}

func backDatePosting(i *instance, a *Act) {
	t := &a.Transfers[i.rng.IntN(len(a.Transfers))]
	t.UserData32 -= uint32(1 + i.rng.IntN(60))
}

func reserveForGood(_ *instance, a *Act) {
	a.Transfers[0].Flags &^= ledger.TransferPending
	a.Transfers[0].Timeout = 0
}

// overdraw opens the customer's account without its limit and takes out more than is in it.
func overdraw(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	account := deposit(a.Transfers).CreditAccountID
	i.accounts[account] = true
	for k := range a.Accounts {
		if a.Accounts[k].ID == account {
			a.Accounts[k].Flags = 0
		}
	}
	i.emit(a.Event)
	result, err := i.commit(ctx, a.Accounts, a.Transfers)
	if err != nil || result != ledger.TransferOK { // the guard may have been quicker
		i.world.withdraw(&a.Event)
		return result, err
	}
	return result, i.flee(ctx, account, 40*deposit(a.Transfers).Amount.Lo)
}

// overdrawLimited tries the same where the account has its limit.
func overdrawLimited(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	if err := i.world.clean(ctx, a); err != nil {
		return 0, err
	}
	leg := deposit(a.Transfers)
	return i.commit(ctx, nil, []ledger.Transfer{{ID: ident.Derive("drill", "overdraft", i.product),
		DebitAccountID: leg.CreditAccountID, CreditAccountID: leg.DebitAccountID, Ledger: leg.Ledger,
		Code: 21, Amount: minor(leg.Amount.Lo + 1 + i.rng.Uint64N(1000))}})
}

// tamperBalance changes a balance where it is stored.
func tamperBalance(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	if err := i.world.clean(ctx, a); err != nil {
		return 0, err
	}
	account := deposit(a.Transfers).CreditAccountID
	i.accounts[account] = true
	i.at = i.world.clock.Now()
	i.world.book.tamper(account, minor(1+i.rng.Uint64N(1_000_000)))
	return ledger.TransferOK, nil
}

func mendBalance(i *instance) {
	for account := range i.accounts {
		i.world.book.tamper(account, money.Amount{})
	}
}

func confuseTotals(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	if err := i.world.clean(ctx, a); err != nil {
		return 0, err
	}
	i.at = i.world.clock.Now()
	i.global = true
	i.world.book.confuse(true)
	return ledger.TransferOK, nil
}

func mendTotals(i *instance) { i.world.book.confuse(false) }

func turnBackFeed(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	t := a.Transfers[i.rng.IntN(len(a.Transfers))].ID
	i.transfers[t] = true
	i.world.book.turnBack(t)
	i.at = i.world.clock.Now()
	return ledger.TransferOK, i.world.clean(ctx, a)
}

// blindChecker switches a random rule of a checker off: its own canaries must tell.
func blindChecker(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	if err := i.world.clean(ctx, a); err != nil {
		return 0, err
	}
	rules := guard.Rules()
	rule := rules[i.rng.IntN(len(rules)-1)] // the last is the one that canaries feed
	checker := guard.New(guard.Limits{})
	checker.Blind(rule.Rule)
	i.at = i.world.clock.Now()
	for _, v := range checker.Step(&guard.Input{Kind: guard.InputCanary, Now: i.at}) {
		if v.Kind == guard.Breached && v.Breach.Rule == guard.CheckerUnreliable {
			v.Breach.Product = i.product
			i.take(heard{v.Breach, i.world.clock.Now()})
		}
	}
	return ledger.TransferOK, nil
}

// payTwice pays a loan out again, as a service does that took an unknown answer for a no.
func payTwice(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error) {
	if err := i.world.clean(ctx, a); err != nil {
		return 0, err
	}
	twice := Act{Event: a.Event}
	twice.Event.ID = ident.Derive("drill", "payout", i.product)
	twice.post()
	i.emit(twice.Event)
	list := twice.Transfers[1:] // the reservation is used up, so this code goes without
	for k := range list {
		list[k].ID, list[k].UserData64 = transferID(twice.Event.ID, k+1), uint64(k+1)
	}
	result, err := i.commit(ctx, nil, list)
	if err == nil && result == ledger.TransferOK {
		leg := deposit(list)
		err = i.flee(ctx, leg.CreditAccountID, 2*leg.Amount.Lo)
	}
	return result, err
}

// later returns a date some days after.
func later(d clock.Date, days int) string { return d.AddDays(days).String() }

func kindAgain(i *instance, a *Act) event.Event {
	e := a.Event
	e.ID = ident.Derive("drill", "once more", i.product, strconv.Itoa(i.number))
	return e
}
