package lending

import (
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
)

// Class is a class of accounts; its number is the account's code in the ledger. The numbers are
// stored: never renumber.
type Class uint16

// The classes, by what they are: assets and receivables 100 to 299, liabilities 300 to 399, income
// 400 to 499, expense and recovery 500 to 599, memo 900 to 999.
const (
	ClassBank           Class = 100 // nostro: money at the bank
	ClassDisbursing     Class = 110 // disbursement clearing: zero after every chain
	ClassRepaying       Class = 120 // repayment clearing: zero after every chain
	ClassPrincipal      Class = 200 // loan principal
	ClassInterest       Class = 210 // interest receivable
	ClassPenalty        Class = 220 // penalty receivable
	ClassDeposit        Class = 300 // what is at the customer's disposal
	ClassOverpaid       Class = 310 // what the customer paid too much
	ClassDeferredFee    Class = 320 // origination fees not yet earned
	ClassInterestIncome Class = 400
	ClassPenaltyIncome  Class = 410
	ClassFeeIncome      Class = 420 // fees that are no part of the effective rate; none so far
	ClassBadDebt        Class = 510
	ClassRecovery       Class = 520
	ClassLimit          Class = 900 // memo: the customer's unused credit limit
	ClassCommitment     Class = 910 // memo: contra of all limits granted
	ClassDrawn          Class = 920 // memo: limits in use
)

// Holder says whose id derives an account.
type Holder uint8

// The holders.
const (
	HeldByProduct  Holder = 1 // shared by all loans of a product
	HeldByLoan     Holder = 2
	HeldByCustomer Holder = 3
)

// ClassInfo is a line of the chart of accounts.
type ClassInfo struct {
	Class  Class
	Name   string
	Holder Holder
	// Flags bound the account in the ledger: a liability is never overdrawn, a receivable never
	// overpaid, and the accounts of a loan keep their history.
	Flags ledger.AccountFlags
}

const (
	neverOverdrawn = ledger.AccountDebitsMustNotExceedCredits
	neverOverpaid  = ledger.AccountCreditsMustNotExceedDebits | ledger.AccountHistory
)

var chart = [...]ClassInfo{
	{ClassBank, "bank", HeldByProduct, 0},
	{ClassDisbursing, "disbursement clearing", HeldByProduct, neverOverdrawn},
	{ClassRepaying, "repayment clearing", HeldByProduct, neverOverdrawn},
	{ClassPrincipal, "loan principal", HeldByLoan, neverOverpaid},
	{ClassInterest, "interest receivable", HeldByLoan, neverOverpaid},
	{ClassPenalty, "penalty receivable", HeldByLoan, neverOverpaid},
	{ClassDeposit, "customer deposit", HeldByCustomer, neverOverdrawn},
	{ClassOverpaid, "customer overpayment", HeldByCustomer, neverOverdrawn},
	{ClassDeferredFee, "deferred fee", HeldByProduct, neverOverdrawn},
	{ClassInterestIncome, "interest income", HeldByProduct, 0},
	{ClassPenaltyIncome, "penalty income", HeldByProduct, 0},
	{ClassFeeIncome, "fee income", HeldByProduct, 0},
	{ClassBadDebt, "bad-debt expense", HeldByProduct, 0},
	{ClassRecovery, "recovery income", HeldByProduct, 0},
	{ClassLimit, "credit limit", HeldByCustomer, neverOverdrawn},
	{ClassCommitment, "commitment contra", HeldByProduct, 0},
	{ClassDrawn, "limits drawn", HeldByProduct, neverOverdrawn},
}

// Chart returns the chart of accounts in order of class.
func Chart() []ClassInfo { return append([]ClassInfo(nil), chart[:]...) }

// Info returns the class's line of the chart, and false for a number that is no class.
func (c Class) Info() (ClassInfo, bool) {
	for i := range chart {
		if chart[i].Class == c {
			return chart[i], true
		}
	}
	return ClassInfo{}, false
}

// AccountRef names an account: a class and whose it is.
type AccountRef struct {
	Class Class
	Owner ident.ID // product, loan or customer, as the class is held
}

// AccountID returns the id of the owner's account of a class in a currency. It is derived, so that
// whoever knows the three finds the account without asking.
func AccountID(class Class, owner ident.ID, currency string) ident.ID {
	return ident.Derive("account", money.Minor(uint64(class)).String(), owner.String(), currency)
}

// ID returns the account's id.
func (a AccountRef) ID(currency string) ident.ID { return AccountID(a.Class, a.Owner, currency) }

// Record returns the account as the ledger is asked to create it.
func (a AccountRef) Record(currency money.Currency) ledger.Account {
	info, _ := a.Class.Info()
	return ledger.Account{
		ID: a.ID(currency.Code), UserData128: a.Owner, Ledger: currency.Number,
		Code: uint16(a.Class), Flags: info.Flags,
	}
}
