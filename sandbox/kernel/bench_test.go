//go:build amd64

package kernel_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"surety/sandbox"
)

// benchActs are timed in one sandbox each round: a call nobody judges, and one that is recorded.
var benchActs = []string{"getpid 200", "openclose /dev/null 50", "openclose /tmp/f 50"}

// BenchmarkCalls prints the least cost of a call in nanoseconds, and over the rounds the median of
// the least ones: a busy machine adds to a batch and never takes away. It is measured with our
// table, with a policy of forty rules, at the full level, and in the stock runsc that $SURETY_RUNSC
// names, if it does. The rounds alternate.
func BenchmarkCalls(b *testing.B) {
	found := map[string][]float64{}
	note := func(who, out string) {
		for i, line := range strings.Split(strings.TrimSpace(out), "\n") {
			var least, median float64
			if _, err := fmt.Sscan(line, &least, &median); err != nil {
				b.Fatalf("%s: %q", who, out)
			}
			key := who + "/" + strings.ReplaceAll(benchActs[i], " ", "_")
			found[key] = append(found[key], least)
		}
	}
	for b.Loop() {
		note("core", benchOurs(b, "core", enforce()))
		note("rules", benchOurs(b, "core", manyRules()))
		note("full", benchOurs(b, "full", enforce()))
		if runsc := os.Getenv("SURETY_RUNSC"); runsc != "" {
			note("stock", strings.TrimPrefix(stock(b, runsc, plan{args: append([]string{"open /tmp/f c"},
				benchActs...)}), "ok\n"))
		}
	}
	for key, values := range found {
		slices.Sort(values)
		b.ReportMetric(values[0], key+"_least_ns")
		b.ReportMetric(values[len(values)/2], key+"_ns")
	}
}

func manyRules() sandbox.Policy {
	p := enforce()
	for i := range 40 {
		p.Files = append(p.Files, sandbox.FileRule{Deny: fmt.Sprintf("/shut/%d/**", i)})
	}
	return p
}

func benchOurs(b *testing.B, level string, policy sandbox.Policy) string {
	b.Helper()
	inside := boot(b, plan{policy: policy, level: level, args: append([]string{"open /tmp/f c"},
		benchActs...)})
	_, out := inside.run()
	return strings.TrimPrefix(out, "ok\n")
}
