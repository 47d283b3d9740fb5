package node

import (
	"context"
	"runtime/metrics"

	"connectrpc.com/connect"

	nodev1 "surety/api/node/v1"
	"surety/base/clock"
	guardapi "surety/guard/api"
	guardclient "surety/guard/client"
	ledgerapi "surety/ledger/api"
	"surety/lending/store"
	"surety/sys/access"
)

// recentMax is how many applications the board shows.
const recentMax = 12

// GetBoard returns the board for the caller.
func (n *Node) GetBoard(ctx context.Context, _ *connect.Request[nodev1.GetBoardRequest],
) (*connect.Response[nodev1.Board], error) {
	board := n.board(ctx)
	board.Principal = access.From(ctx).Name
	return connect.NewResponse(board), nil
}

// board gathers what the board shows. A part that does not answer leaves its place empty, and its
// line says why: a board that fails whole would hide the parts that work.
func (n *Node) board(ctx context.Context) *nodev1.Board {
	b := &nodev1.Board{
		At: rfc3339(n.deps.Clock.Now()), StartedAt: rfc3339(n.started),
		BusinessDate: n.calendar.Today().String(), Synthetic: n.feeder.population != nil,
		Input: n.feeder.describe(), TimeLapse: float64(n.config.Lending.DaysPerMinute),
		LogSize: n.evidence.Size(), MemoryBytes: memoryBytes(), Principal: access.LocalName,
	}
	programme := n.catalogue[0]
	if n.feeder.product != "" {
		if named, err := n.catalogue.Named(n.feeder.product); err == nil {
			programme = named
		}
	}
	b.Currency, b.Exponent = programme.Currency.Code, int32(programme.Currency.Exponent)
	n.boardRates(b)
	b.Sandboxes = []*nodev1.Sandbox{n.scorerBox()}
	if w := n.auditor.current(); w != nil && w.shown != nil {
		b.Sandboxes[0].Enclave = n.fillEnclave(ctx, w.shown)
	}
	for _, part := range []struct {
		name string
		fill func(context.Context, *nodev1.Board) error
	}{{"lending", n.boardLending}, {"ledger", n.boardLedger}, {"guard", n.boardGuard}} {
		state, line := "running", ""
		if err := part.fill(ctx, b); err != nil {
			state, line = "failed", err.Error()
		}
		b.Parts = append(b.Parts, &nodev1.Part{Name: part.name, State: state, Line: line})
	}
	b.Parts = append(b.Parts, &nodev1.Part{Name: "evidence", State: "running"})
	return b
}

func (n *Node) boardRates(b *nodev1.Board) {
	b.RateHistory = n.meter.rate()
	recent := int32(0)
	for _, count := range b.RateHistory[rateSeconds-10:] {
		recent += count
	}
	b.ApplicationsPerSecond = float64(recent) / 10
	micros := func(q float64, of interface {
		Quantile(float64) (clock.Duration, uint64)
	}) int64 {
		value, _ := of.Quantile(q)
		return int64(value / clock.Microsecond)
	}
	b.DecisionP50Micros, b.DecisionP99Micros = micros(0.5, n.meter.decided), micros(0.99,
		n.meter.decided)
	b.MoneyP50Micros, b.MoneyP99Micros = micros(0.5, n.meter.paid), micros(0.99, n.meter.paid)
}

func (n *Node) boardLending(ctx context.Context, b *nodev1.Board) error {
	outcomes, err := n.records.CountApplications(ctx)
	if err != nil {
		return err
	}
	b.Approved, b.Declined, b.Referred = outcomes["approve"], outcomes["decline"], outcomes["refer"]
	for _, count := range outcomes {
		b.Applications += count
	}
	statuses, err := n.records.CountLoans(ctx)
	if err != nil {
		return err
	}
	b.LoansActive, b.LoansClosed = statuses[store.LoanActive], statuses[store.LoanClosed]
	b.LoansWrittenOff = statuses[store.LoanWrittenOff]
	if b.LoansLate, err = n.records.CountLate(ctx, n.calendar.Today()); err != nil {
		return err
	}
	rows, err := n.records.Applications(ctx, store.Page{Limit: recentMax})
	if err != nil {
		return err
	}
	for i := range rows {
		text, err := n.lendingAPI.ApplicationText(ctx, &rows[i], false)
		if err != nil {
			return err
		}
		b.Recent = append(b.Recent, text)
	}
	return nil
}

func (n *Node) boardLedger(ctx context.Context, b *nodev1.Board) error {
	totals, err := n.ledger.ClassTotals(ctx)
	b.Totals = ledgerapi.Totals(totals)
	return err
}

// breachesShown is how many open breaches the board shows.
const breachesShown = 10

func (n *Node) boardGuard(ctx context.Context, b *nodev1.Board) error {
	status, err := n.guard.Status(ctx)
	if err != nil {
		return err
	}
	b.Guard = guardapi.StatusText(&status)
	breaches, err := n.guard.Breaches(ctx, guardclient.Filter{State: guardclient.Open,
		Limit: breachesShown})
	for i := range breaches {
		b.OpenBreaches = append(b.OpenBreaches, guardapi.BreachText(&breaches[i]))
	}
	return err
}

// memoryBytes is what the process holds from the system, by the runtime's own account.
func memoryBytes() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}
