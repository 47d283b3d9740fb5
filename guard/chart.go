package guard

import (
	"surety/base/ident"
	"surety/ledger"
)

// The account classes that the guard watches, as docs/reference/events.md gives them. Accounts of
// other classes are outside: moved among themselves they are counted and not judged.
const (
	classBank           uint16 = 100
	classDisbursing     uint16 = 110
	classRepaying       uint16 = 120
	classPrincipal      uint16 = 200
	classInterest       uint16 = 210
	classPenalty        uint16 = 220
	classDeposit        uint16 = 300
	classOverpaid       uint16 = 310
	classDeferredFee    uint16 = 320
	classInterestIncome uint16 = 400
	classPenaltyIncome  uint16 = 410
	classFeeIncome      uint16 = 420
	classBadDebt        uint16 = 510
	classRecovery       uint16 = 520
	classLimit          uint16 = 900
	classCommitment     uint16 = 910
	classDrawn          uint16 = 920
)

// owner says whose an account is. An account of one loan or customer can be frozen alone; one that
// a whole product shares cannot, without stopping the product.
type owner uint8

const (
	ownerProduct  owner = 1
	ownerLoan     owner = 2
	ownerCustomer owner = 3
)

// chartEntry is one class of accounts.
type chartEntry struct {
	class    uint16
	owner    owner
	limit    ledger.AccountFlags // the limit its accounts must have been created with
	clearing Rule                // the rule that fires where it stays away from zero; zero for none
}

const (
	noOverdraft = ledger.AccountDebitsMustNotExceedCredits
	noOverpay   = ledger.AccountCreditsMustNotExceedDebits
)

var chart = [...]chartEntry{
	{class: classBank, owner: ownerProduct},
	{class: classDisbursing, owner: ownerProduct, clearing: DisbursementStuck},
	{class: classRepaying, owner: ownerProduct, clearing: RepaymentStuck},
	{class: classPrincipal, owner: ownerLoan, limit: noOverpay},
	{class: classInterest, owner: ownerLoan, limit: noOverpay},
	{class: classPenalty, owner: ownerLoan, limit: noOverpay},
	{class: classDeposit, owner: ownerCustomer, limit: noOverdraft},
	{class: classOverpaid, owner: ownerCustomer, limit: noOverdraft},
	{class: classDeferredFee, owner: ownerProduct, limit: noOverdraft},
	{class: classInterestIncome, owner: ownerProduct},
	{class: classPenaltyIncome, owner: ownerProduct},
	{class: classFeeIncome, owner: ownerProduct},
	{class: classBadDebt, owner: ownerProduct},
	{class: classRecovery, owner: ownerProduct},
	{class: classLimit, owner: ownerCustomer, limit: noOverdraft},
	{class: classCommitment, owner: ownerProduct},
	{class: classDrawn, owner: ownerProduct, limit: noOverdraft},
}

// chartOf returns the class's entry, nil for a class outside the guard's view.
func chartOf(class uint16) *chartEntry {
	for i := range chart {
		if chart[i].class == class {
			return &chart[i]
		}
	}
	return nil
}

// accountID derives the id of a class's account for its owner.
func accountID(class uint16, owner ident.ID, currency string) ident.ID {
	return ident.Derive("account", decimal(uint64(class)), owner.String(), currency)
}

// TransferID derives the id of the transfer that carries an event's leg, from 1.
func TransferID(event ident.ID, leg int) ident.ID {
	return ident.Derive("transfer", event.String(), decimal(uint64(leg)))
}

// product is what the guard derives once for each product and currency: the accounts that all of
// its loans share.
type product struct {
	name     string
	currency string
	ledger   uint32
	id       ident.ID
	accounts [len(chart)]ident.ID // zero for classes not owned by the product
}

func newProduct(name, currency string, number uint32) product {
	p := product{name: name, currency: currency, ledger: number, id: ident.Derive("product", name)}
	for i := range chart {
		if chart[i].owner == ownerProduct {
			p.accounts[i] = accountID(chart[i].class, p.id, currency)
		}
	}
	return p
}

// account returns the account of a class for an event: the product's, the loan's or the customer's.
func (p *product) account(class uint16, e *Event) ident.ID {
	for i := range chart {
		if chart[i].class != class {
			continue
		}
		switch chart[i].owner {
		case ownerLoan:
			return accountID(class, e.Loan, p.currency)
		case ownerCustomer:
			return accountID(class, e.Customer, p.currency)
		}
		return p.accounts[i]
	}
	return ident.ID{}
}
