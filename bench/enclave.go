package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sys/wallclock"
)

// EnclaveConfig is what is measured of enclaves.
type EnclaveConfig struct {
	Dir       string   // an empty directory for all that is needed
	Program   string   // the surety binary
	Rounds    int      // of each build, read and start; of inferences inside and outside, in turns
	Megabytes int      // of the files that are built into an image
	Releases  int      // of a key
	Inference string   // directory that examples/tflite/run made; empty: left out
	Only      []string // cases; empty: all
}

// EnclaveRow is one figure. Tail is the 99th percentile, where there are enough of them for one.
type EnclaveRow struct {
	Case   string
	Of     string
	Unit   string
	Median float64
	Least  float64
	Most   float64
	Tail   float64
	Rounds int
}

// EnclaveReport is what was measured, and how busy the machine was.
type EnclaveReport struct {
	Rows        []EnclaveRow
	Notes       []string
	LoadAverage string // before, over the last minute, and after
}

// EnclaveCases are what can be measured.
func EnclaveCases() []string { return []string{"build", "read", "release", "start", "inference"} }

// enclaveBench is one run of the measurements.
type enclaveBench struct {
	config EnclaveConfig
	clock  wallclock.Clock
	report EnclaveReport
}

// Enclave measures enclaves on this machine, with simulated evidence where it has nothing better.
// Kind Invalid where the configuration asks for nothing.
func Enclave(ctx context.Context, config EnclaveConfig) (EnclaveReport, error) {
	if config.Rounds < 1 || config.Megabytes < 1 || config.Releases < 1 {
		return EnclaveReport{}, errs.New(errs.Invalid,
			"bench.enclave: rounds %d, megabytes %d, releases %d, and each has to be at least 1",
			config.Rounds, config.Megabytes, config.Releases)
	}
	for _, name := range config.Only {
		if !slices.Contains(EnclaveCases(), name) {
			return EnclaveReport{}, errs.New(errs.Invalid, "bench.enclave: no case %q", name)
		}
	}
	b := &enclaveBench{config: config, clock: wallclock.System()}
	before := loadAverage()
	for _, c := range []struct {
		name string
		do   func(context.Context) error
	}{{"build", b.build}, {"read", b.read}, {"release", b.release}, {"start", b.start},
		{"inference", b.inference}} {
		if len(config.Only) > 0 && !slices.Contains(config.Only, c.name) {
			continue
		}
		if err := c.do(ctx); err != nil {
			return b.report, errs.Wrap(err, "bench.enclave: %s", c.name)
		}
	}
	b.report.LoadAverage = before + ", " + loadAverage()
	return b.report, nil
}

// enoughForTail is the least sample whose 99th percentile is not simply its greatest value.
const enoughForTail = 100

// add adds a figure from its sample.
func (b *enclaveBench) add(name, of, unit string, sample []float64) {
	if len(sample) == 0 {
		return
	}
	slices.Sort(sample)
	row := EnclaveRow{Case: name, Of: of, Unit: unit, Median: sample[len(sample)/2], Least: sample[0],
		Most: sample[len(sample)-1], Rounds: len(sample)}
	if len(sample) >= enoughForTail {
		row.Tail = sample[len(sample)*99/100]
	}
	b.report.Rows = append(b.report.Rows, row)
}

// Write writes the report for people.
func (r *EnclaveReport) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "case\tof\tmedian\tleast\tmost\tp99\tunit\trounds")
	for _, row := range r.Rows {
		tail := "-"
		if row.Tail > 0 {
			tail = fmt.Sprintf("%.2f", row.Tail)
		}
		fmt.Fprintf(t, "%s\t%s\t%.2f\t%.2f\t%.2f\t%s\t%s\t%d\n", row.Case, row.Of, row.Median, row.Least,
			row.Most, tail, row.Unit, row.Rounds)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, note := range r.Notes {
		fmt.Fprintln(w, note)
	}
	_, err := fmt.Fprintf(w, "load average before and after: %s\n", r.LoadAverage)
	return err
}

// rate is megabytes a second.
func rate(size int64, took clock.Duration) float64 {
	return float64(size) / 1e6 / (float64(took) / float64(clock.Second))
}
