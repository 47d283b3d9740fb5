// Package settlement carries out what the lending service has instructed: it takes the postings of
// a business event to the ledger and learns whether they stand.
//
// An Order is one event's demand on the ledger: the accounts that must exist and one linked chain
// of transfers with ids derived from the event. It is stored beside the event before the ledger
// hears of it. Carrying an order out again is harmless, because a transfer id can succeed only
// once, for ever; so after a crash every order that is not known to be settled is simply carried
// out again, and the ledger's answer says what had become of it.
//
// # Invariants
//
// An order is posted whole or refused whole. A refusal is final for that order's ids: the ledger
// remembers ids that failed for a passing reason, so a late retry cannot succeed after the service
// has told the customer no.
//
// # Boundaries
//
// The package does not decide what to post (package lending) nor what a refusal means to the loan
// (packages origination and servicing).
//
// # Concurrency
//
// A Settler and a Finisher may be used by any number of goroutines.
package settlement

import (
	"context"
	"sync"

	"surety/base/errs"
	"surety/base/ident"
	"surety/ledger"
)

// Ledger is what settlement needs of the ledger. Both calls return once the outcome is durable.
type Ledger interface {
	CreateAccounts(context.Context, []ledger.Account) ([]ledger.AccountResult, error)
	CreateTransfers(context.Context, []ledger.Transfer) ([]ledger.TransferResult, error)
	LookupTransfers(context.Context, []ident.ID) ([]ledger.Transfer, error)
}

// Order is one event's demand on the ledger.
type Order struct {
	Event     ident.ID
	Accounts  []ledger.Account
	Transfers []ledger.Transfer // one linked chain
}

// Settler carries orders to one ledger. It remembers which accounts exist, which they do for ever, so
// that an order between accounts it has met costs the ledger one batch and not two.
type Settler struct {
	to Ledger

	mu    sync.Mutex // guards what follows
	known map[ident.ID]struct{}
	older map[ident.ID]struct{} // what known was before it was full
}

// New returns a settler that knows no account.
func New(to Ledger) *Settler { return &Settler{to: to, known: map[ident.ID]struct{}{}} }

// Outcome is what became of an order.
type Outcome struct {
	Refused bool
	Result  ledger.TransferResult // why, where refused
	Leg     int                   // the refused leg, from 1
}

// Reason returns the refusal as text for records and people.
func (o Outcome) Reason() string { return o.Result.String() }

// Carry takes the orders to the ledger in their order, in as few batches as fit, and returns one
// outcome for each. On an error nothing is known about the orders that have no outcome: they must
// be carried again. An answer that can only come from a defect (an account that exists with other
// properties, an id used for something else) is an error of kind Internal.
func (s *Settler) Carry(ctx context.Context, orders ...Order) ([]Outcome, error) {
	outcomes := make([]Outcome, 0, len(orders))
	for len(orders) > 0 {
		n := fitting(orders)
		batch, err := s.carry(ctx, orders[:n])
		if err != nil {
			return outcomes, err
		}
		outcomes = append(outcomes, batch...)
		orders = orders[n:]
	}
	return outcomes, nil
}

// fitting returns how many orders make one batch of the ledger; at least one.
func fitting(orders []Order) int {
	accounts, transfers := 0, 0
	for i := range orders {
		accounts += len(orders[i].Accounts)
		transfers += len(orders[i].Transfers)
		if i > 0 && (accounts > ledger.BatchMax || transfers > ledger.BatchMax) {
			return i
		}
	}
	return len(orders)
}

func (s *Settler) carry(ctx context.Context, orders []Order) ([]Outcome, error) {
	if err := s.open(ctx, orders); err != nil {
		return nil, err
	}
	var transfers []ledger.Transfer
	for i := range orders {
		transfers = append(transfers, orders[i].Transfers...)
	}
	if len(transfers) == 0 {
		return make([]Outcome, len(orders)), nil
	}
	results, err := s.to.CreateTransfers(ctx, transfers)
	if err != nil {
		return nil, errs.Wrap(err, "settlement.carry: %d transfers", len(transfers))
	}
	if len(results) != len(transfers) {
		return nil, errs.New(errs.Internal, "settlement.carry: %d results for %d transfers",
			len(results), len(transfers))
	}
	outcomes := make([]Outcome, len(orders))
	for i := range orders {
		n := len(orders[i].Transfers)
		outcomes[i], err = s.judge(ctx, &orders[i], results[:n])
		if err != nil {
			return nil, err
		}
		results = results[n:]
	}
	return outcomes, nil
}

// open creates the accounts that the orders need; those that exist already are as they should be.
func (s *Settler) open(ctx context.Context, orders []Order) error {
	accounts := s.unknown(orders)
	if len(accounts) == 0 {
		return nil
	}
	results, err := s.to.CreateAccounts(ctx, accounts)
	if err != nil {
		return errs.Wrap(err, "settlement.open: %d accounts", len(accounts))
	}
	for i, result := range results {
		if result != ledger.AccountOK && result != ledger.AccountExists {
			return errs.New(errs.Internal, "settlement.open: account %s of class %d: %s",
				accounts[i].ID, accounts[i].Code, result)
		}
	}
	s.remember(accounts)
	return nil
}

// unknown returns the accounts of the orders of which it is not known that they exist.
func (s *Settler) unknown(orders []Order) (accounts []ledger.Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range orders {
		for k := range orders[i].Accounts {
			account := &orders[i].Accounts[k]
			if _, known := s.known[account.ID]; known {
				continue
			}
			if _, known := s.older[account.ID]; known {
				s.add(account.ID) // so that what is in use is not forgotten
				continue
			}
			accounts = append(accounts, *account)
		}
	}
	return accounts
}

func (s *Settler) remember(accounts []ledger.Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range accounts {
		s.add(accounts[i].ID)
	}
}

// add remembers an account; s.mu is held. Of those not met for accountsMax others it forgets.
func (s *Settler) add(id ident.ID) {
	if len(s.known) >= accountsMax {
		s.known, s.older = make(map[ident.ID]struct{}, accountsMax), s.known
	}
	s.known[id] = struct{}{}
}

// judge reads the ledger's answer to one chain. The first result that is neither success nor a
// consequence of another's failure is the answer; "exists" means the chain was posted before, which
// is looked up rather than believed, since a chain stands whole or not at all.
func (s *Settler) judge(ctx context.Context, o *Order, results []ledger.TransferResult) (Outcome,
	error) {
	leg, cause := -1, ledger.TransferOK
	for i, result := range results {
		if result != ledger.TransferOK && result != ledger.TransferLinkedEventFailed {
			leg, cause = i, result
			break
		}
	}
	switch {
	case leg < 0:
		return Outcome{}, allPosted(results)
	case cause == ledger.TransferExists:
		return Outcome{}, s.stands(ctx, o)
	case refusal(cause):
		return Outcome{Refused: true, Result: cause, Leg: leg + 1}, nil
	}
	return Outcome{}, errs.New(errs.Internal, "settlement.carry: event %s leg %d: %s",
		o.Event, leg+1, cause)
}

func allPosted(results []ledger.TransferResult) error {
	for i, result := range results {
		if result != ledger.TransferOK {
			return errs.New(errs.Internal, "settlement.carry: leg %d: %s without a cause", i+1, result)
		}
	}
	return nil
}

// stands confirms that every leg of the chain is in the ledger.
func (s *Settler) stands(ctx context.Context, o *Order) error {
	ids := make([]ident.ID, len(o.Transfers))
	for i := range o.Transfers {
		ids[i] = o.Transfers[i].ID
	}
	found, err := s.to.LookupTransfers(ctx, ids)
	if err != nil {
		return errs.Wrap(err, "settlement.carry: event %s", o.Event)
	}
	if len(found) != len(ids) {
		return errs.New(errs.Internal, "settlement.carry: event %s: %d of %d legs are in the ledger",
			o.Event, len(found), len(ids))
	}
	return nil
}

// refusal reports whether a result is the ledger's no to money that was rightly asked for: a limit,
// a freeze, a closed account, a reservation that lapsed, or an earlier such no to the same id.
func refusal(result ledger.TransferResult) bool {
	switch result {
	case ledger.TransferExceedsCredits, ledger.TransferExceedsDebits,
		ledger.TransferDebitAccountFrozen, ledger.TransferCreditAccountFrozen,
		ledger.TransferCodeFrozen, ledger.TransferLedgerFrozen,
		ledger.TransferDebitAccountAlreadyClosed, ledger.TransferCreditAccountAlreadyClosed,
		ledger.TransferPendingTransferExpired, ledger.TransferPendingTransferAlreadyVoided,
		ledger.TransferPendingTransferAlreadyPosted, ledger.TransferPendingTransferNotFound,
		ledger.TransferIDAlreadyFailed:
		return true
	}
	return false
}
