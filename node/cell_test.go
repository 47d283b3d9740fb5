package node

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"surety/base/clock"
	"surety/base/ident"
	"surety/lending/scorer"
	"surety/sandbox/kernel"
	"surety/sandbox/runtime"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

// TestMain is the other programs that a node starts, where it started this one as such.
func TestMain(m *testing.M) {
	switch {
	case kernel.Reexec(os.Args):
		kernel.Main()
	case runtime.IsSupervisor(os.Args):
		os.Exit(runtime.SupervisorMain(os.Args))
	case scorer.IsScorer(os.Args):
		os.Exit(scorer.Main(os.Args))
	}
	os.Exit(m.Run())
}

// BenchmarkScorer is what one decision waits for its scores, by where they are computed.
func BenchmarkScorer(b *testing.B) {
	for _, where := range []string{ScorerOff, ScorerProcess, ScorerSandbox, ScorerEnclave} {
		b.Run(where, func(b *testing.B) {
			config := Default()
			config.DataDir, config.Sandbox.Scorer = b.TempDir(), where
			config.HTTP.Address, config.Ledger.Address = "127.0.0.1:0", ""
			config.Lending.RatePerSecond = 0
			n, err := Open(context.Background(), config, Deps{Clock: wallclock.System(),
				Log: slog.New(slog.DiscardHandler), Entropy: entropy.System(), Version: "bench",
				Program: "/proc/self/exe"})
			if err != nil {
				b.Fatal(err)
			}
			p := n.catalogue[0]
			ask := scorer.Ask{Trace: ident.Derive("bench"), Card: p.Card, Forest: p.Forest,
				Values: make([]int64, len(p.Card.Features()))}
			slowest := clock.Duration(0)
			for b.Loop() {
				began := n.deps.Clock.Now()
				if _, err := n.scoring.Score(context.Background(), ask); err != nil {
					b.Fatal(err)
				}
				slowest = max(slowest, n.deps.Clock.Now().Sub(began))
			}
			b.ReportMetric(float64(slowest)/1e6, "ms-max")
			if err := n.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}
