package guard

import (
	"surety/base/clock"
	"surety/base/ident"
	"surety/ledger"
)

// Action is what a class of breach stops by default.
type Action uint8

// The actions, from the smallest. Accounts that a whole product shares are never frozen alone: that
// would stop the product by accident. Where no account of one loan or customer is at hand, nothing
// is stopped but by StopCode and StopLedger.
const (
	NoStop       Action = 0
	StopReceiver Action = 1 // debits of the account that received
	StopParties  Action = 2 // both accounts of the posting, both sides
	StopLoan     Action = 3 // the loan's accounts, both sides
	StopCustomer Action = 4 // the customer's limit, and debits of the customer's deposit
	StopCode     Action = 5 // every transfer of the posting's code
	StopLedger   Action = 6 // every transfer in the currency
)

var actionNames = [...]string{"none", "receiver", "parties", "loan", "customer", "code", "ledger"}

// String returns the action's name.
func (a Action) String() string { return actionNames[a] }

// Stop is one freeze that a breach asks for.
type Stop struct {
	Scope   ledger.FreezeScope
	Sides   ledger.FreezeSides
	Code    uint16
	Ledger  uint32
	Account ident.ID
}

// String says in words what is stopped.
func (s Stop) String() string {
	switch s.Scope {
	case ledger.FreezeAccount:
		sides := [...]string{"", "debits of ", "credits of ", ""}[s.Sides&ledger.FreezeBoth]
		return sides + "account " + s.Account.String()
	case ledger.FreezeCode:
		return "transfers of code " + decimal(uint64(s.Code)) + " in ledger " + decimal(uint64(s.Ledger))
	}
	return "ledger " + decimal(uint64(s.Ledger))
}

// Freeze returns the record that takes the stop. Its id is derived from the breach and the number of
// the stop within it, so that taking it again changes nothing. The caller sets Actor.
func (b *Breach) Freeze(number int, expiry clock.Instant) ledger.Freeze {
	s := b.Stops[number]
	f := ledger.Freeze{
		ID:          ident.Derive("freeze", b.ID.String(), decimal(uint64(number+1)), s.String()),
		UserData128: b.ID,
		ExpiresAt:   expiry,
		Reason:      uint32(b.Class),
		Scope:       s.Scope,
		Sides:       s.Sides,
		AccountID:   s.Account,
		Code:        s.Code,
		Ledger:      s.Ledger,
	}
	return f
}

// party is one side of a posting, where it belongs to one loan or customer.
type party struct {
	account ident.ID
	class   uint16
}

func (p party) alone() bool {
	entry := chartOf(p.class)
	return entry != nil && entry.owner != ownerProduct && !p.account.IsZero()
}

func freezeAccount(account ident.ID, sides ledger.FreezeSides) Stop {
	return Stop{Scope: ledger.FreezeAccount, Account: account, Sides: sides}
}

// plan returns the stops of an action for a breach: found are the sides of the posting as it was
// made, debit first, and asked those it should have had; either may be zero.
func (c *Checker) plan(action Action, b *Breach, found, asked [2]party) []Stop {
	var stops []Stop
	add := func(p party, sides ledger.FreezeSides) {
		if !p.alone() {
			return
		}
		for i := range stops {
			if stops[i].Account == p.account {
				stops[i].Sides |= sides
				return
			}
		}
		stops = append(stops, freezeAccount(p.account, sides))
	}
	switch action {
	case StopReceiver:
		add(found[1], ledger.FreezeDebits)
		if len(stops) == 0 {
			add(found[0], ledger.FreezeBoth)
			add(asked[1], ledger.FreezeBoth)
		}
	case StopParties:
		for _, p := range [...]party{found[0], found[1], asked[0], asked[1]} {
			add(p, ledger.FreezeBoth)
		}
	case StopLoan:
		for _, class := range [...]uint16{classPrincipal, classInterest, classPenalty} {
			add(c.existing(class, b), ledger.FreezeBoth)
		}
	case StopCustomer:
		add(c.existing(classLimit, b), ledger.FreezeBoth)
		add(c.existing(classDeposit, b), ledger.FreezeDebits)
	case StopCode:
		if b.Code != 0 && b.Ledger != 0 {
			stops = append(stops, Stop{Scope: ledger.FreezeCode, Code: b.Code, Ledger: b.Ledger})
		}
	case StopLedger:
		if b.Ledger != 0 {
			stops = append(stops, Stop{Scope: ledger.FreezeLedger, Ledger: b.Ledger})
		}
	}
	if len(stops) == 0 && (action == StopParties || action == StopReceiver || action == StopLoan) {
		add(c.existing(classDeposit, b), ledger.FreezeDebits)
	}
	return stops
}

// existing returns the breach's own account of a class, if the ledger has it: one that does not
// exist cannot be frozen.
func (c *Checker) existing(class uint16, b *Breach) party {
	p := c.productOf(b.Product, b.Ledger)
	if p == nil {
		return party{}
	}
	id := p.account(class, &Event{Loan: b.Loan, Customer: b.Customer})
	if _, found := c.books.accounts.find(id); !found {
		return party{}
	}
	return party{id, class}
}

// Brake bounds the stops that breaches may take, since a stop is itself a loss of service. Within
// any minute it lets through Accounts freezes of accounts; after that a breach stops its code
// instead, Codes times, and after that nothing more: then Tripped is set, and money-out is closed as
// a whole until a person has looked. Freezes of ledgers always pass. Zero bounds are the defaults.
type Brake struct {
	Accounts int
	Codes    int

	accounts []clock.Instant
	codes    []clock.Instant
	tripped  clock.Instant
}

const (
	// AccountFreezes is how many accounts a minute may be frozen by default: more than that in one
	// minute is a defect of a release, not of twenty loans.
	AccountFreezes = 20
	// CodeFreezes is how many codes a minute may be frozen by default: the table has twenty, and
	// four of them carry money out.
	CodeFreezes = 4
	// brakeWindow is the span over which stops are counted.
	brakeWindow = clock.Minute
)

func orDefault(bound, otherwise int) int {
	if bound == 0 {
		return otherwise
	}
	return bound
}

// Allow returns what may be stopped of a breach now: the stops asked for, their code instead, or
// nothing.
func (k *Brake) Allow(b *Breach, now clock.Instant) []Stop {
	k.accounts, k.codes = recent(k.accounts, now), recent(k.codes, now)
	accounts := 0
	for _, s := range b.Stops {
		if s.Scope == ledger.FreezeAccount {
			accounts++
		}
	}
	stops := b.Stops
	if accounts > 0 && len(k.accounts)+accounts > orDefault(k.Accounts, AccountFreezes) {
		stops = nil
		if b.Code != 0 && b.Ledger != 0 {
			stops = []Stop{{Scope: ledger.FreezeCode, Code: b.Code, Ledger: b.Ledger}}
		}
	}
	var allowed []Stop
	for _, s := range stops {
		switch {
		case s.Scope == ledger.FreezeAccount:
			k.accounts = append(k.accounts, now)
		case s.Scope == ledger.FreezeCode && len(k.codes) >= orDefault(k.Codes, CodeFreezes):
			k.tripped = now
			continue
		case s.Scope == ledger.FreezeCode:
			k.codes = append(k.codes, now)
		}
		allowed = append(allowed, s)
	}
	if len(b.Stops) > 0 && len(stops) == 0 {
		k.tripped = now
	}
	return allowed
}

// Tripped returns when stops were last withheld, zero where they never were or Reset was called.
func (k *Brake) Tripped() clock.Instant { return k.tripped }

// Reset lets stops pass again: a person has looked.
func (k *Brake) Reset() { *k = Brake{Accounts: k.Accounts, Codes: k.Codes} }

func recent(list []clock.Instant, now clock.Instant) []clock.Instant {
	for len(list) > 0 && now.Sub(list[0]) >= brakeWindow {
		list = list[1:]
	}
	return list
}
