package lendingtest

import (
	"context"
	"sync"

	"surety/base/errs"
	"surety/ledger"
	"surety/ledger/replica"
	"surety/lending/store"
)

// Fault is what a gate does to one step.
type Fault struct {
	Step  int       // which, counted from 0 since Arm
	After bool      // the step happens, and its answer is lost
	Crash bool      // nothing passes from then on
	Kind  errs.Kind // of the error that is answered
	// Do, where it is not nil, is called before the step, which then happens as if there were no
	// fault.
	Do func()
}

// Gate is what every change of the records and of the ledger passes.
type Gate struct {
	mu    sync.Mutex
	steps int
	fault *Fault
	hit   bool
	shut  bool
}

// Arm sets a fault and counts steps anew.
func (g *Gate) Arm(f Fault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.steps, g.fault, g.hit, g.shut = 0, &f, false, false
}

// Clear removes the fault and lets everything pass; it reports whether the fault was met.
func (g *Gate) Clear() (hit bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	hit = g.hit
	g.fault, g.hit, g.shut = nil, false, false
	return hit
}

// Steps returns how many steps have come since Arm.
func (g *Gate) Steps() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.steps
}

func (g *Gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
}

// next counts a step and returns what is to be done to it.
func (g *Gate) next() (fault *Fault, shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return nil, true
	}
	if g.fault != nil && g.steps == g.fault.Step {
		fault, g.hit = g.fault, true
		g.shut = g.shut || fault.Crash
	}
	g.steps++
	return fault, false
}

// pass lets a step happen, or not.
func (g *Gate) pass(step func() error) error {
	fault, shut := g.next()
	switch {
	case shut:
		return errs.New(errs.Unavailable, "lendingtest: the process has ended")
	case fault == nil:
		return step()
	case fault.Do != nil:
		fault.Do()
		return step()
	case fault.After:
		if err := step(); err != nil {
			return err
		}
	}
	return errs.New(fault.Kind, "lendingtest: fault at step %d", fault.Step)
}

// Records is a store behind a gate.
type Records struct {
	*store.Store
	gate *Gate
}

// Commit passes the gate.
func (r *Records) Commit(ctx context.Context, writes ...store.Write) error {
	return r.gate.pass(func() error { return r.Store.Commit(ctx, writes...) })
}

// Money is a ledger behind a gate.
type Money struct {
	*replica.Replica
	gate *Gate
}

// CreateAccounts passes the gate.
func (m *Money) CreateAccounts(ctx context.Context, batch []ledger.Account) (
	results []ledger.AccountResult, err error) {
	err = m.gate.pass(func() (err error) {
		results, err = m.Replica.CreateAccounts(ctx, batch)
		return err
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// CreateTransfers passes the gate.
func (m *Money) CreateTransfers(ctx context.Context, batch []ledger.Transfer) (
	results []ledger.TransferResult, err error) {
	err = m.gate.pass(func() (err error) {
		results, err = m.Replica.CreateTransfers(ctx, batch)
		return err
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}
