package bench

import (
	"context"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/base/ident"
	"surety/ledger"
)

// TestLedger runs the load in each way, small: every transfer happens, the books balance, and the
// report adds up.
func TestLedger(t *testing.T) {
	ctx := context.Background()
	for _, reach := range []Reach{Embedded, Socket, TCP} {
		dir := t.TempDir()
		p, err := OpenPlace(ctx, dir, reach)
		if err != nil {
			t.Fatal(err)
		}
		config := LedgerConfig{Accounts: 50, Batch: 30, Callers: 3, Transfers: 2000, PendingPercent: 20,
			LinkedPercent: 10, Seed: 1, DiskDir: dir}
		report, err := Ledger(ctx, p.Ledger, config)
		if err != nil {
			t.Fatal(err)
		}
		if report.Transfers < 2000 || report.Calls*30 != report.Transfers || len(report.Refused) != 0 ||
			report.Rate() <= 0 || report.Call.P50 <= 0 || report.Disk.Rate() <= 0 {
			t.Errorf("%s: %+v", reach, report)
		}
		status, err := p.Ledger.Status(ctx)
		if err != nil || status.Transfers != uint64(report.Transfers) || status.Accounts != 50 {
			t.Errorf("%s: %+v, %v", reach, status, err)
		}
		var text strings.Builder
		if err := report.Write(&text); err != nil || !strings.Contains(text.String(), "of that") {
			t.Errorf("%s: %q, %v", reach, text.String(), err)
		}
		page, err := p.Ledger.QueryTransfers(ctx, ledger.TransferFilter{})
		if err != nil {
			t.Fatal(err)
		}
		var kinds ledger.TransferFlags
		ids := map[ident.ID]bool{}
		for _, tr := range page.Transfers {
			kinds |= tr.Flags
			ids[tr.ID] = true
		}
		if want := ledger.TransferLinked | ledger.TransferPending | ledger.TransferPostPending |
			ledger.TransferVoidPending; kinds != want || len(ids) != report.Transfers {
			t.Errorf("%s: kinds %b, want %b, %d ids", reach, kinds, want, len(ids))
		}
		if _, err := Ledger(ctx, p.Ledger, config); err != nil { // another run on the same ledger
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestLedgerRefusals(t *testing.T) {
	good := LedgerConfig{Accounts: 2, Batch: 1, Callers: 1, Transfers: 1}
	for _, spoil := range []func(*LedgerConfig){
		func(c *LedgerConfig) { c.Accounts = 1 },
		func(c *LedgerConfig) { c.Batch = ledger.BatchMax + 1 },
		func(c *LedgerConfig) { c.Callers = 0 },
		func(c *LedgerConfig) { c.Transfers = 0 },
		func(c *LedgerConfig) { c.PendingPercent = 101 },
		func(c *LedgerConfig) { c.LinkedPercent = -1 },
	} {
		bad := good
		spoil(&bad)
		if _, err := Ledger(context.Background(), nil, bad); !errs.Is(err, errs.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := OpenPlace(context.Background(), t.TempDir(), "pigeon"); !errs.Is(err, errs.Invalid) {
		t.Errorf("pigeon: %v", err)
	}
}

// BenchmarkLedger is the published load; each figure is transfers a second.
func BenchmarkLedger(b *testing.B) {
	for _, row := range []struct {
		name  string
		reach Reach
		c     LedgerConfig
	}{
		{"embedded/callers=1/batch=1", Embedded, LedgerConfig{Callers: 1, Batch: 1, Transfers: 5000}},
		{"embedded/callers=64/batch=1", Embedded, LedgerConfig{Callers: 64, Batch: 1, Transfers: 200_000}},
		{"embedded/callers=2/batch=8190", Embedded, LedgerConfig{Callers: 2, Batch: 8190, Transfers: 3_000_000}},
		{"embedded/callers=2/batch=8190/mixed", Embedded, LedgerConfig{Callers: 2, Batch: 8190,
			Transfers: 3_000_000, PendingPercent: 20, LinkedPercent: 10}},
		{"socket/callers=2/batch=8190", Socket, LedgerConfig{Callers: 2, Batch: 8190, Transfers: 3_000_000}},
		{"socket/callers=64/batch=1", Socket, LedgerConfig{Callers: 64, Batch: 1, Transfers: 200_000}},
		{"socket/callers=1/batch=1", Socket, LedgerConfig{Callers: 1, Batch: 1, Transfers: 5000}},
	} {
		b.Run(row.name, func(b *testing.B) {
			row.c.Accounts, row.c.Seed = 10_000, 1
			for b.Loop() {
				b.StopTimer()
				dir := b.TempDir()
				p, err := OpenPlace(context.Background(), dir, row.reach)
				if err != nil {
					b.Fatal(err)
				}
				if row.c.Batch == 1 {
					row.c.DiskDir = dir
				}
				b.StartTimer()
				report, err := Ledger(context.Background(), p.Ledger, row.c)
				b.StopTimer()
				if err != nil || len(report.Refused) > 0 {
					b.Fatal(report, err)
				}
				b.ReportMetric(report.Rate(), "transfers/s")
				b.ReportMetric(float64(report.Call.P50)/1e6, "p50-ms")
				b.ReportMetric(float64(report.Call.P99)/1e6, "p99-ms")
				if row.c.DiskDir != "" {
					b.ReportMetric(report.Disk.Rate(), "disk-syncs/s")
				}
				if err := p.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
