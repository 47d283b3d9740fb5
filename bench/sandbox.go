package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sandbox"
	"surety/sandbox/escape"
	"surety/sandbox/image"
	"surety/sandbox/runtime"
	"surety/sys/wallclock"
)

// SandboxConfig is what is measured of sandboxes, and against which other runtimes.
type SandboxConfig struct {
	Dir     string   // an empty directory for all that is needed: state, images, bundles
	Program string   // the surety binary
	Rounds  int      // of each start
	Events  int      // of the run with a slow reader
	Runc    string   // path of runc; empty: left out
	Runsc   string   // path of stock runsc; empty: left out
	Only    []string // cases; empty: all
}

// SandboxRow is one figure: of one runtime in one case.
type SandboxRow struct {
	Case   string
	Of     string
	Unit   string
	Median float64
	Min    float64
	Rounds int
}

// SandboxReport is what was measured, and how busy the machine was.
type SandboxReport struct {
	Rows        []SandboxRow
	Notes       []string
	LoadAverage string // before, over the last minute, and after
}

// SandboxCases are what can be measured.
func SandboxCases() []string {
	return []string{"cold", "warm", "restore", "calls", "http", "events", "memory"}
}

// sandboxBench is one run of the measurements.
type sandboxBench struct {
	config SandboxConfig
	host   *runtime.Host
	clock  wallclock.Clock
	report SandboxReport
	made   int
}

// Sandbox measures sandboxes on this machine. Runtimes are measured in turns, so that what else
// the machine does meets them alike.
func Sandbox(ctx context.Context, config SandboxConfig) (SandboxReport, error) {
	if config.Rounds < 1 || config.Events < 1 {
		return SandboxReport{}, errs.New(errs.Invalid, "bench.sandbox: rounds %d, events %d",
			config.Rounds, config.Events)
	}
	host, err := runtime.Open(runtime.Config{Root: filepath.Join(config.Dir, "state")})
	if err != nil {
		return SandboxReport{}, err
	}
	b := &sandboxBench{config: config, host: host, clock: wallclock.System()}
	defer b.leavePeers()
	before := loadAverage()
	for _, c := range []struct {
		name string
		do   func(context.Context) error
	}{{"cold", b.cold}, {"warm", b.warm}, {"restore", b.restore}, {"calls", b.calls},
		{"http", b.http}, {"events", b.events}, {"memory", b.memory}} {
		if len(config.Only) > 0 && !slices.Contains(config.Only, c.name) {
			continue
		}
		if err := c.do(ctx); err != nil {
			return b.report, errs.Wrap(err, "bench.sandbox: %s", c.name)
		}
	}
	b.report.LoadAverage = before + ", " + loadAverage()
	return b.report, nil
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// Write writes the report for people.
func (r *SandboxReport) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "case\tof\tmedian\tleast\tunit\trounds")
	for _, row := range r.Rows {
		fmt.Fprintf(t, "%s\t%s\t%.2f\t%.2f\t%s\t%d\n", row.Case, row.Of, row.Median, row.Min, row.Unit,
			row.Rounds)
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

// add adds a figure from its sample.
func (b *sandboxBench) add(name, of, unit string, sample []float64) {
	if len(sample) == 0 {
		return
	}
	slices.Sort(sample)
	b.report.Rows = append(b.report.Rows, SandboxRow{Case: name, Of: of, Unit: unit,
		Median: sample[len(sample)/2], Min: sample[0], Rounds: len(sample)})
}

func millis(d clock.Duration) float64 { return float64(d) / float64(clock.Millisecond) }

// benchPolicy enforces, allows everything, and records at a level: a policy as a service has it,
// with rules of each kind that do not meet.
func benchPolicy(level string) *sandbox.Policy {
	return &sandbox.Policy{Version: "v1", Name: "bench", Mode: "enforce", Default: "allow", Audit: level,
		Files:   []sandbox.FileRule{{Deny: "/secret/**"}, {Deny: "/etc/shadow"}},
		Network: []sandbox.NetRule{{Deny: "169.254.0.0/16"}}, Exec: []sandbox.ExecRule{{Deny: "/denied"}}}
}

// programImage makes an image of one of the smallest programs.
func (b *sandboxBench) programImage(ctx context.Context, name string, content []byte) (runtime.Root,
	error) {
	file := filepath.Join(b.config.Dir, name)
	if err := os.WriteFile(file, content, 0o755); err != nil {
		return runtime.Root{}, errs.As(errs.NoSpace, err, "program")
	}
	store, err := image.Open(b.host.Root())
	if err != nil {
		return runtime.Root{}, err
	}
	made, err := store.Add(ctx, image.Source{Kind: image.Program, Where: file}, name)
	return runtime.Root{Image: made.Path, Digest: made.Digest}, err
}

// probeDir is a root directory with the surety binary in it, as the program that measures.
func (b *sandboxBench) probeDir() (string, error) {
	dir := filepath.Join(b.config.Dir, "probe")
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	for _, name := range []string{"proc", "tmp", "etc"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return "", errs.As(errs.NoSpace, err, "probe")
		}
	}
	content, err := os.ReadFile(b.config.Program)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, escape.Name), content, 0o755)
	}
	return dir, errs.Wrap(err, "probe")
}

// spec is a sandbox of the bench: its root, and what it runs.
func (b *sandboxBench) spec(root runtime.Root, level string, args ...string) runtime.Spec {
	b.made++
	return runtime.Spec{ID: "bench-" + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(b.made),
		Class: runtime.Sentry, Root: root, Args: args, Env: []string{"PATH=/"}, Cwd: "/",
		Overlay: "memory", Hostname: "bench", Network: runtime.Network{Mode: "none"},
		Policy: benchPolicy(level)}
}

// firstOutput boots a sandbox and returns the time to its program's first byte. The sandbox is
// removed.
func (b *sandboxBench) firstOutput(ctx context.Context, spec runtime.Spec) (clock.Duration, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return 0, errs.As(errs.Unavailable, err, "pipe")
	}
	defer read.Close()
	began := b.clock.Now()
	s, err := b.host.Create(ctx, spec, runtime.Stdio{Stdout: write, Stderr: write})
	if err != nil {
		return 0, errors.Join(err, write.Close())
	}
	err = errors.Join(s.Start(ctx), write.Close())
	var took clock.Duration
	if err == nil {
		_, err = read.Read(make([]byte, 1))
		took = b.clock.Now().Sub(began)
	}
	return took, errors.Join(err, s.Remove(context.WithoutCancel(ctx), true), s.Close())
}

// output runs a sandbox to its end and returns what its program wrote.
func (b *sandboxBench) output(ctx context.Context, spec runtime.Spec) ([]byte, runtime.State, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, runtime.State{}, errs.As(errs.Unavailable, err, "pipe")
	}
	defer read.Close()
	s, err := b.host.Create(ctx, spec, runtime.Stdio{Stdout: write, Stderr: write})
	if err != nil {
		return nil, runtime.State{}, errors.Join(err, write.Close())
	}
	err = errors.Join(s.Start(ctx), write.Close())
	var out bytes.Buffer
	if err == nil {
		_, err = io.Copy(&out, read)
	}
	st, waited := s.Wait(ctx)
	return out.Bytes(), st, errors.Join(err, waited, s.Remove(context.WithoutCancel(ctx), true), s.Close())
}

// decode reads the last JSON object of a program's output.
func decode(out []byte, into any) error {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	err := json.Unmarshal(lines[len(lines)-1], into)
	return errs.As(errs.Corrupt, err, "output %q", out)
}
