package replica

import (
	"math/rand/v2"

	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
)

// load is an endless, repeatable sequence of batches: every kind of transfer, and refusals of many
// kinds. Two loads of one seed and worker are the same; workers never share an id.
type load struct {
	random  *rand.Rand
	worker  uint64
	count   uint64 // ids given
	batches int
	pending []ident.ID
}

// loadBatch has one kind of record.
type loadBatch struct {
	accounts  []ledger.Account
	transfers []ledger.Transfer
	freezes   []ledger.Freeze
}

// loadAccounts is how many accounts a worker makes in its first batch.
const loadAccounts = 12

func newLoad(seed, worker uint64) *load {
	return &load{random: rand.New(rand.NewPCG(seed, worker)), worker: worker}
}

func (l *load) id() ident.ID {
	l.count++
	return ident.ID{Hi: l.worker + 1, Lo: l.count}
}

// account returns one of the worker's accounts, or rarely one that does not exist.
func (l *load) account() ident.ID {
	return ident.ID{Hi: l.worker + 1, Lo: 1 + l.random.Uint64N(loadAccounts+1)}
}

func (l *load) next() loadBatch {
	l.batches++
	if l.batches == 1 {
		return loadBatch{accounts: l.opening()}
	}
	if l.random.IntN(25) == 0 {
		return loadBatch{freezes: []ledger.Freeze{l.freeze()}}
	}
	n := 1 + l.random.IntN(3)
	if l.random.IntN(4) == 0 {
		n = 1 + l.random.IntN(60)
	}
	transfers := make([]ledger.Transfer, n)
	for i := range transfers {
		transfers[i] = l.transfer(i < n-1)
	}
	return loadBatch{transfers: transfers}
}

func (l *load) opening() []ledger.Account {
	accounts := make([]ledger.Account, loadAccounts)
	for i := range accounts {
		accounts[i] = ledger.Account{ID: l.id(), Ledger: eur, Code: deposits}
		switch i % 4 {
		case 1:
			accounts[i].Flags = ledger.AccountDebitsMustNotExceedCredits
		case 2:
			accounts[i].Flags = ledger.AccountHistory
		}
	}
	return accounts
}

// freeze stops a code that no transfer has, or tries to with an expiry long past.
func (l *load) freeze() ledger.Freeze {
	z := ledger.Freeze{ID: l.id(), Actor: ident.ID{Lo: 1}, Reason: 1, Scope: ledger.FreezeCode,
		Ledger: eur, Code: 99}
	if l.random.IntN(3) == 0 {
		z.ExpiresAt = 1
	}
	return z
}

func (l *load) transfer(more bool) ledger.Transfer {
	t := ledger.Transfer{ID: l.id(), Amount: money.Minor(l.random.Uint64N(100)), Ledger: eur, Code: 7,
		DebitAccountID: l.account(), CreditAccountID: l.account(), UserData128: ident.ID{Lo: l.count / 3}}
	switch l.random.IntN(10) {
	case 0:
		t.Flags |= ledger.TransferPending
		l.pending = append(l.pending, t.ID)
	case 1:
		if len(l.pending) > 0 {
			t = ledger.Transfer{ID: t.ID, Amount: money.Max, Flags: ledger.TransferPostPending,
				PendingID: l.pending[l.random.IntN(len(l.pending))]}
		}
	case 2:
		if len(l.pending) > 0 {
			t = ledger.Transfer{ID: t.ID, Flags: ledger.TransferVoidPending,
				PendingID: l.pending[l.random.IntN(len(l.pending))]}
		}
	case 3:
		t.Flags |= ledger.TransferBalancingDebit
	case 4:
		t.Code = 0 // refused
	case 5:
		if more {
			t.Flags |= ledger.TransferLinked
		}
	}
	return t
}
