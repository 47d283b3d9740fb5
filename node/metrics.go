package node

import (
	"context"

	nodev1 "surety/api/node/v1"
	"surety/base/clock"
)

// measure registers what Prometheus reads of each part: for every promise of docs/PERFORMANCE.md a
// figure that would show it broken.
func (n *Node) measure() {
	ctx := context.Background()
	n.registry.Watch("surety_ledger_transfers_stored_count", "transfers in the ledger",
		func() int64 {
			status, err := n.ledger.Status(ctx)
			if err != nil {
				return -1
			}
			return int64(status.Transfers)
		})
	n.registry.Watch("surety_ledger_requests_waiting_count", "requests that wait for the writer",
		func() int64 {
			status, err := n.ledger.Status(ctx)
			if err != nil {
				return -1
			}
			return int64(status.Queue)
		})
	n.registry.Watch("surety_evidence_log_records_count", "records in the evidence log",
		func() int64 { return int64(n.evidence.Size()) })
	n.registry.Watch("surety_evidence_outbox_lag_count",
		"business events that the evidence log does not hold yet", func() int64 {
			last, err := n.evidence.LastSeq(sourceLending)
			if err != nil {
				return -1
			}
			return int64(n.records.LastEvent()) - int64(last)
		})
	n.registry.Watch("surety_guard_stream_lag_milliseconds",
		"since both streams were last read to their ends", n.guardFigure(func(g guardFigures) int64 {
			return int64(g.lag / clock.Millisecond)
		}))
	n.registry.Watch("surety_guard_breaches_open_count", "breaches that nobody has dealt with",
		n.guardFigure(func(g guardFigures) int64 { return g.open }))
	n.registry.Watch("surety_guard_money_allowed_bool", "1 while money may leave, 0 while it may not",
		func() int64 {
			if n.guard.MoneyOutAllowed() != nil {
				return 0
			}
			return 1
		})
	n.measureSandbox()
}

// measureSandbox shows the scorer's sandbox; all but the starts are zero where there is none.
func (n *Node) measureSandbox() {
	figure := func(of func(*nodev1.Sandbox) int64) func() int64 {
		return func() int64 { return of(n.scorerBox()) }
	}
	n.registry.Watch("surety_sandbox_scorer_serving_bool",
		"1 while the scorer's sandbox or process serves, 0 while it is started again",
		figure(func(s *nodev1.Sandbox) int64 {
			if s.Status == statusServing {
				return 1
			}
			return 0
		}))
	n.registry.Watch("surety_sandbox_scorer_restarts_count", "starts of the scorer after the first",
		figure(func(s *nodev1.Sandbox) int64 { return int64(s.Restarts) }))
	n.registry.Watch("surety_sandbox_audit_records_count",
		"audit records of the sandbox that serves",
		figure(func(s *nodev1.Sandbox) int64 { return int64(s.Records) }))
	n.registry.Watch("surety_sandbox_acts_refused_count",
		"acts that the policy of the sandbox that serves has refused",
		figure(func(s *nodev1.Sandbox) int64 { return int64(s.Refused) }))
	n.registry.Watch("surety_sandbox_audit_unanchored_count",
		"audit records that are newer than what the evidence log holds",
		figure(func(s *nodev1.Sandbox) int64 { return int64(s.Records) - int64(s.AnchoredSeq) }))
	n.registry.Watch("surety_sandbox_head_age_milliseconds",
		"since the trail's head was last read; -1 for never",
		figure(func(s *nodev1.Sandbox) int64 { return s.HeadAgeMillis }))
}

// guardFigures are the numbers of the guard's status.
type guardFigures struct {
	lag  clock.Duration
	open int64
}

func (n *Node) guardFigure(of func(guardFigures) int64) func() int64 {
	return func() int64 {
		status, err := n.guard.Status(context.Background())
		if err != nil {
			return -1
		}
		return of(guardFigures{lag: status.Lag, open: int64(status.BreachesOpen)})
	}
}
