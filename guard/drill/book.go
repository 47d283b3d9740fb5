package drill

import (
	"context"
	"sync"

	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
	"surety/guard/engine"
	"surety/ledger"
)

// Ledger is what a drill needs of a ledger: to post, to freeze, and to be read by the guard. It must
// be empty, and its own: a drill leaves it full of faults. ledger/client.Ledger has it all.
type Ledger interface {
	engine.Ledger
	CreateAccounts(ctx context.Context, batch []ledger.Account) ([]ledger.AccountResult, error)
	CreateTransfers(ctx context.Context, batch []ledger.Transfer) ([]ledger.TransferResult, error)
	Freezes(ctx context.Context) ([]ledger.Freeze, error)
}

// book is the ledger as the guard is shown it: the real one, and where a fault is planted below the
// ledger's own interface, what a tampered or confused one would answer.
type book struct {
	Ledger

	mu       sync.Mutex
	balances map[ident.ID]money.Amount // added to the debits of a stored balance
	totals   bool                      // one class total is off by one
	regress  map[ident.ID]bool         // transfers whose feed entry bears an older time
	asked    int                       // how often the totals were read
}

func newBook(l Ledger) *book {
	return &book{Ledger: l, balances: map[ident.ID]money.Amount{}, regress: map[ident.ID]bool{}}
}

// tamper changes a stored balance by an amount; zero mends it.
func (b *book) tamper(account ident.ID, by money.Amount) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.balances[account] = by
	if by.IsZero() {
		delete(b.balances, account)
	}
}

// confuse makes the ledger's sums wrong, or right again.
func (b *book) confuse(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.totals = on
}

// sweeps returns how often the guard has read the totals.
func (b *book) sweeps() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked
}

// turnBack makes the feed show a transfer with an older time.
func (b *book) turnBack(transfer ident.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.regress[transfer] = true
}

// ClassTotals returns the ledger's totals.
func (b *book) ClassTotals(ctx context.Context) ([]ledger.ClassTotal, error) {
	totals, err := b.Ledger.ClassTotals(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	if b.totals && len(totals) > 0 {
		totals = append([]ledger.ClassTotal(nil), totals...)
		increase(&totals[0].DebitsPosted, money.Minor(1))
	}
	return totals, err
}

// ListAccounts returns the ledger's accounts.
func (b *book) ListAccounts(ctx context.Context, skip, limit int) ([]ledger.Account, error) {
	accounts, err := b.Ledger.ListAccounts(ctx, skip, limit)
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range accounts {
		if by, tampered := b.balances[accounts[i].ID]; tampered {
			increase(&accounts[i].DebitsPosted, by)
		}
	}
	return accounts, err
}

// Events returns the ledger's feed.
func (b *book) Events(ctx context.Context, from uint64, limit int) ([]ledger.Event, error) {
	events, err := b.Ledger.Events(ctx, from, limit)
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range events {
		if b.regress[events[i].Transfer.ID] {
			events[i].Timestamp = events[i].Timestamp.Add(-clock.Hour)
		}
	}
	return events, err
}

func increase(total *money.Amount, by money.Amount) { *total, _ = total.Add(by) }
