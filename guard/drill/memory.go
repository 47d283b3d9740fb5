package drill

import (
	"context"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
	"surety/ledger"
	"surety/sys/wallclock"
)

// memory is the ledger's real core without a journal: everything is durable at once, and gone with
// the process.
type memory struct {
	clock wallclock.Clock

	mu      sync.Mutex
	state   *ledger.State
	changed chan struct{} // closed and replaced at each batch
}

func newMemory(clock wallclock.Clock) *memory {
	return &memory{clock: clock, state: ledger.NewState(ledger.Limits{}), changed: make(chan struct{})}
}

// batch runs one operation of n records under the next timestamp.
func (m *memory) batch(operation ledger.Operation, n int, apply func(at clock.Instant)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.state.Room(operation, n); err != nil {
		return err
	}
	apply(m.state.NextTimestamp(m.clock.Now(), n))
	close(m.changed)
	m.changed = make(chan struct{})
	return nil
}

// CreateAccounts creates accounts.
func (m *memory) CreateAccounts(_ context.Context, batch []ledger.Account) (
	results []ledger.AccountResult, err error) {
	err = m.batch(ledger.OperationCreateAccounts, len(batch), func(at clock.Instant) {
		results = m.state.CreateAccounts(batch, at, nil)
	})
	return results, err
}

// CreateTransfers posts transfers.
func (m *memory) CreateTransfers(_ context.Context, batch []ledger.Transfer) (
	results []ledger.TransferResult, err error) {
	err = m.batch(ledger.OperationCreateTransfers, len(batch), func(at clock.Instant) {
		results = m.state.CreateTransfers(batch, at, nil)
	})
	return results, err
}

// ApplyFreezes freezes and releases.
func (m *memory) ApplyFreezes(_ context.Context, batch []ledger.Freeze) (
	results []ledger.FreezeResult, err error) {
	err = m.batch(ledger.OperationFreezes, len(batch), func(at clock.Instant) {
		results = m.state.ApplyFreezes(batch, at, nil)
	})
	return results, err
}

// Freezes returns the freezes in force.
func (m *memory) Freezes(context.Context) ([]ledger.Freeze, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.OpenFreezes(nil), nil
}

// ClassTotals returns the trial balance.
func (m *memory) ClassTotals(context.Context) ([]ledger.ClassTotal, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.ClassTotals(), nil
}

// ListAccounts returns accounts in the order of their creation.
func (m *memory) ListAccounts(_ context.Context, skip, limit int) ([]ledger.Account, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Accounts(nil, skip, limit), nil
}

// Events returns the feed from a number on.
func (m *memory) Events(_ context.Context, from uint64, limit int) (list []ledger.Event, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for ; from < m.state.EventsLen() && len(list) < limit; from++ {
		list = append(list, m.state.Event(from))
	}
	return list, nil
}

// WaitEvents returns once the event numbered next is there.
func (m *memory) WaitEvents(ctx context.Context, next uint64) error {
	for {
		m.mu.Lock()
		n, changed := m.state.EventsLen(), m.changed
		m.mu.Unlock()
		if n > next {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errs.As(errs.Canceled, ctx.Err(), "drill.feed")
		}
	}
}
