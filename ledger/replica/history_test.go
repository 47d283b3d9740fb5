package replica

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/anishathalye/porcupine"

	"surety/base/ident"
	"surety/ledger"
	"surety/ledger/client"
	"surety/ledger/server"
	"surety/sys/access"
)

// A client's history is an alternation of questions and answers. This test has many clients send
// small transfers among few accounts and read their balances, and asks porcupine whether there is
// one order of all of it that a simple ledger would have answered in the same way.

// question is what a client asks: a transfer, or with no amount the balance of account debit.
type question struct{ id, debit, credit, amount uint64 }

// answer is what it is told: a result, or the posted totals.
type answer struct {
	result          ledger.TransferResult
	debits, credits uint64
}

const historyAccounts = 3 // the first may go below zero

// book is the simple ledger: per account the posted totals, and the ids that happened or failed.
type book struct {
	debits, credits [historyAccounts + 1]uint64
	spent           [96]ledger.TransferResult // by id: what a repeat is told, zero where it is new
}

// historyModel judges by the rules of the core, written down again in the plainest way.
func historyModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return book{} },
		Step: func(state, input, output any) (bool, any) {
			b, q, a := state.(book), input.(question), output.(answer)
			if q.amount == 0 {
				return a.debits == b.debits[q.debit] && a.credits == b.credits[q.debit], b
			}
			if b.spent[q.id] != 0 {
				return a.result == b.spent[q.id], b
			}
			if q.debit != 1 && b.debits[q.debit]+q.amount > b.credits[q.debit] {
				b.spent[q.id] = ledger.TransferIDAlreadyFailed
				return a.result == ledger.TransferExceedsCredits, b
			}
			b.debits[q.debit] += q.amount
			b.credits[q.credit] += q.amount
			b.spent[q.id] = ledger.TransferExists
			return a.result == ledger.TransferOK, b
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	}
}

// ask puts a question to a ledger.
func (q question) ask(ctx context.Context, l client.Ledger) (answer, error) {
	if q.amount == 0 {
		found, err := l.LookupAccounts(ctx, []ident.ID{id(q.debit)})
		if err != nil {
			return answer{}, err
		}
		return answer{debits: found[0].DebitsPosted.Lo, credits: found[0].CreditsPosted.Lo}, nil
	}
	results, err := l.CreateTransfers(ctx, []ledger.Transfer{transfer(q.id, q.debit, q.credit, q.amount)})
	if err != nil {
		return answer{}, err
	}
	return answer{result: results[0]}, nil
}

// record has the clients ask at the same time and returns their histories.
func record(t *testing.T, l client.Ledger, seed uint64, clients, each int) []porcupine.Operation {
	var now atomic.Int64
	var all sync.WaitGroup
	histories := make([][]porcupine.Operation, clients)
	for c := range clients {
		all.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(c)))
			for range each {
				q := question{debit: 1 + random.Uint64N(historyAccounts)}
				if random.IntN(3) > 0 {
					q.id = 1 + random.Uint64N(90) // clients repeat each other's ids
					q.credit = q.id%historyAccounts + 1
					q.debit = (q.id+1+q.id/40%2)%historyAccounts + 1
					q.amount = 1 + q.id%7
				}
				start := now.Add(1)
				a, err := q.ask(context.Background(), l)
				if err != nil {
					t.Error(err)
					return
				}
				histories[c] = append(histories[c], porcupine.Operation{ClientId: c, Input: q, Call: start,
					Output: a, Return: now.Add(1)})
			}
		})
	}
	all.Wait()
	var history []porcupine.Operation
	for _, h := range histories {
		history = append(history, h...)
	}
	return history
}

func TestHistoriesAreLinearizable(t *testing.T) {
	for seed := range uint64(6) {
		w := newWorld(t)
		w.mustOpen()
		w.accounts(historyAccounts)
		history := record(t, w.r, seed, 6, 25)
		if !porcupine.CheckOperations(historyModel(), history) {
			t.Errorf("seed %d: no order of the %d answers explains them", seed, len(history))
		}
		w.mustClose()
	}
}

// TestRemoteHistoriesAreLinearizable is the same through a server and two clients, each shared by
// several callers, so that calls are merged.
func TestRemoteHistoriesAreLinearizable(t *testing.T) {
	for seed := range uint64(3) {
		w := newWorld(t)
		w.mustOpen()
		w.accounts(historyAccounts)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := server.New(w.r, server.Config{Open: true}, openDoor{}, nil)
		served := make(chan error, 1)
		go func() { served <- s.Serve(listener) }()
		both := &pair{}
		for i := range both.clients {
			both.clients[i], err = client.Dial(context.Background(),
				client.Config{Address: listener.Addr().String()})
			if err != nil {
				t.Fatal(err)
			}
		}
		history := record(t, both, seed, 6, 25)
		if !porcupine.CheckOperations(historyModel(), history) {
			t.Errorf("seed %d: no order of the %d answers explains them", seed, len(history))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		for _, c := range both.clients {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		w.mustClose()
	}
}

// pair sends transfers through one client or the other, by their number.
type pair struct {
	client.Ledger
	clients [2]*client.Client
}

func (p *pair) CreateTransfers(ctx context.Context, batch []ledger.Transfer) ([]ledger.TransferResult, error) {
	return p.clients[batch[0].ID.Lo%2].CreateTransfers(ctx, batch)
}

func (p *pair) LookupAccounts(ctx context.Context, ids []ident.ID) ([]ledger.Account, error) {
	return p.clients[ids[0].Lo%2].LookupAccounts(ctx, ids)
}

// openDoor lets everyone in.
type openDoor struct{}

func (openDoor) Token(_, _ string) (access.Principal, error) { return openDoor{}.Local(), nil }

func (openDoor) Local() access.Principal {
	return access.Principal{Name: "local", Roles: []access.Role{access.Admin}}
}

// TestHistoryCheckerFindsLies plants an answer that nobody gave: the checker must object.
func TestHistoryCheckerFindsLies(t *testing.T) {
	w := newWorld(t)
	w.mustOpen()
	w.accounts(historyAccounts)
	history := record(t, w.r, 1, 4, 20)
	for i := range history {
		if q := history[i].Input.(question); q.amount == 0 {
			a := history[i].Output.(answer)
			a.credits++ // a read that saw more than was there
			history[i].Output = a
			break
		}
	}
	if porcupine.CheckOperations(historyModel(), history) {
		t.Error("a lie was believed")
	}
	w.mustClose()
}
