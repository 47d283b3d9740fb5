package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sandbox/escape"
	"surety/sandbox/runtime"
	"surety/sandbox/trail"
	"surety/sys/wallclock"
)

// cold is the time from nothing to the first output.
func (b *sandboxBench) cold(ctx context.Context) error {
	hello := smallest("hello\n", sayAndExit)
	root, err := b.programImage(ctx, "hello", hello)
	if err != nil {
		return err
	}
	dir := filepath.Join(b.config.Dir, "hello-root")
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "proc"), 0o755),
		os.WriteFile(filepath.Join(dir, "hello"), hello, 0o755)); err != nil {
		return err
	}
	bundle, err := b.bundle(dir, "/hello")
	if err != nil {
		return err
	}
	took := map[string][]float64{}
	others := b.peers()
	for range b.config.Rounds {
		d, err := b.firstOutput(ctx, b.spec(root, "core", "/hello"))
		if err != nil {
			return err
		}
		took["surety"] = append(took["surety"], millis(d))
		for _, p := range others {
			d, err := p.firstOutput(ctx, bundle)
			if err != nil {
				return err
			}
			took[p.name] = append(took[p.name], millis(d))
		}
	}
	b.add("cold start to first output", "surety, core audit and policy", "ms", took["surety"])
	for _, p := range others {
		b.add("cold start to first output", p.name, "ms", took[p.name])
	}
	return nil
}

// warm takes sandboxes from a pool.
func (b *sandboxBench) warm(ctx context.Context) error {
	root, err := b.programImage(ctx, "hello", smallest("hello\n", sayAndExit))
	if err != nil {
		return err
	}
	spec := b.spec(root, "core", "/hello")
	pool, err := b.host.MakePool(ctx, spec.ID, 1, spec)
	if err != nil {
		return err
	}
	var took []float64
	for range b.config.Rounds {
		var d clock.Duration
		if d, err = b.take(ctx, pool); err != nil {
			break
		}
		took = append(took, millis(d))
		if err = pool.Fill(ctx); err != nil {
			break
		}
	}
	b.add("warm pool to first output", "surety, core audit and policy", "ms", took)
	return errors.Join(err, pool.Remove(context.WithoutCancel(ctx)))
}

func (b *sandboxBench) take(ctx context.Context, pool *runtime.Pool) (clock.Duration, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return 0, errs.As(errs.Unavailable, err, "pipe")
	}
	defer read.Close()
	began := b.clock.Now()
	s, err := pool.Take(ctx, runtime.Stdio{Stdout: write, Stderr: write})
	if err = errors.Join(err, write.Close()); err != nil {
		return 0, err
	}
	_, err = read.Read(make([]byte, 1))
	took := b.clock.Now().Sub(began)
	return took, errors.Join(err, s.Remove(context.WithoutCancel(ctx), true), s.Close())
}

// restore starts sandboxes from a snapshot of a program that speaks every five milliseconds: half of
// that, on average, is in the figure.
func (b *sandboxBench) restore(ctx context.Context) error {
	root, err := b.programImage(ctx, "ticker", smallest("tick\n", sayAndRepeat))
	if err != nil {
		return err
	}
	snapshot := filepath.Join(b.config.Dir, "snapshot")
	s, err := b.host.Create(ctx, b.spec(root, "core", "/ticker"), runtime.Stdio{})
	if err != nil {
		return err
	}
	err = errors.Join(s.Start(ctx), s.Checkpoint(ctx, snapshot, true),
		s.Remove(context.WithoutCancel(ctx), true), s.Close())
	if err != nil {
		return err
	}
	var took []float64
	for range b.config.Rounds {
		spec := b.spec(root, "core", "/ticker")
		spec.Snapshot = snapshot
		d, err := b.firstOutput(ctx, spec)
		if err != nil {
			return err
		}
		took = append(took, millis(d))
	}
	b.add("restore from a snapshot to first output", "surety, core audit and policy", "ms", took)
	return nil
}

// calls measures system calls inside, in turns.
func (b *sandboxBench) calls(ctx context.Context) error {
	dir, err := b.probeDir()
	if err != nil {
		return err
	}
	bundle, err := b.bundle(dir, "/"+escape.Name, "measure")
	if err != nil {
		return err
	}
	found := map[string][]escape.Costs{}
	others := b.peers()
	for range max(1, b.config.Rounds/4) {
		for _, level := range []string{"core", "full"} {
			out, _, err := b.output(ctx, b.spec(runtime.Root{Dir: dir}, level, "/"+escape.Name, "measure"))
			if err == nil {
				err = keepCosts(found, "surety, "+level+" audit", out)
			}
			if err != nil {
				return err
			}
		}
		for _, p := range others {
			out, err := p.output(ctx, bundle)
			if err == nil {
				err = keepCosts(found, p.name, out)
			}
			if err != nil {
				return err
			}
		}
	}
	names := []string{"surety, core audit", "surety, full audit"}
	for _, p := range others {
		names = append(names, p.name)
	}
	for _, c := range []struct {
		name string
		of   func(escape.Costs) escape.Cost
	}{{"getppid, not audited but in full", func(c escape.Costs) escape.Cost { return c.Getpid }},
		{"stat, not audited but in full", func(c escape.Costs) escape.Cost { return c.Stat }},
		{"open and close, audited", func(c escape.Costs) escape.Cost { return c.Open }}} {
		for _, name := range names {
			b.add(c.name, name, "us", medians(found[name], c.of))
		}
	}
	return nil
}

func keepCosts(found map[string][]escape.Costs, name string, out []byte) error {
	var c escape.Costs
	if err := decode(out, &c); err != nil {
		return err
	}
	found[name] = append(found[name], c)
	return nil
}

func medians(list []escape.Costs, of func(escape.Costs) escape.Cost) []float64 {
	var sample []float64
	for _, c := range list {
		sample = append(sample, of(c).Median/1000)
	}
	return sample
}

// http asks a server inside, through a published port, for httpTime each turn.
func (b *sandboxBench) http(ctx context.Context) error {
	dir, err := b.probeDir()
	if err != nil {
		return err
	}
	rates := map[string][]float64{}
	for range max(1, b.config.Rounds/7) {
		for _, level := range []string{"core", "full"} {
			rate, err := b.serve(ctx, dir, level)
			if err != nil {
				return err
			}
			rates[level] = append(rates[level], rate)
		}
	}
	for _, level := range []string{"core", "full"} {
		b.add("HTTP server, 16 connections", "surety, "+level+" audit", "requests/s", rates[level])
	}
	return nil
}

const (
	httpTime        = 3 * clock.Second
	httpConnections = 16
)

// serve runs one server and returns the requests a second that it answered.
func (b *sandboxBench) serve(ctx context.Context, dir, level string) (rate float64, err error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, errs.As(errs.Unavailable, err, "port")
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		return 0, err
	}
	spec := b.spec(runtime.Root{Dir: dir}, level, "/"+escape.Name, "serve", ":8080")
	spec.Network = runtime.Network{Mode: "stack",
		Ports: []runtime.Port{{Host: address, Inside: 8080, Protocol: "tcp"}}}
	s, err := b.host.Create(ctx, spec, runtime.Stdio{})
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, s.Remove(context.WithoutCancel(ctx), true), s.Close())
	}()
	if err := s.Start(ctx); err != nil {
		return 0, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: httpConnections}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for began := b.clock.Now(); ; { // until it listens
		if err := get(ctx, client, address); err == nil {
			break
		} else if b.clock.Now().Sub(began) > 20*clock.Second {
			return 0, err
		}
		if err := wait(ctx, b.clock, 20*clock.Millisecond); err != nil {
			return 0, err
		}
	}
	return b.load(ctx, client, address)
}

// load asks on all connections for httpTime.
func (b *sandboxBench) load(ctx context.Context, client *http.Client, address string) (float64, error) {
	var answered atomic.Int64
	var callers sync.WaitGroup
	failed := make(chan error, httpConnections)
	began := b.clock.Now()
	for range httpConnections {
		callers.Go(func() {
			for b.clock.Now().Sub(began) < httpTime {
				if err := get(ctx, client, address); err != nil {
					failed <- err
					return
				}
				answered.Add(1)
			}
		})
	}
	callers.Wait()
	close(failed)
	return float64(answered.Load()) * float64(clock.Second) / float64(b.clock.Now().Sub(began)), <-failed
}

func get(ctx context.Context, client *http.Client, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, response.Body.Close())
}

// wait lets time pass.
func wait(ctx context.Context, time wallclock.Clock, d clock.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return errs.As(errs.Canceled, ctx.Err(), "wait")
	}
}

// events records that many acts under full audit while the reader is stopped again and again, and
// counts what reached the trail.
func (b *sandboxBench) events(ctx context.Context) error {
	dir, err := b.probeDir()
	if err != nil {
		return err
	}
	spec := b.spec(runtime.Root{Dir: dir}, "full", "/"+escape.Name, "burn", "--events",
		strconv.Itoa(b.config.Events))
	s, err := b.host.Create(ctx, spec, runtime.Stdio{})
	if err != nil {
		return err
	}
	began := b.clock.Now()
	if err := s.Start(ctx); err != nil {
		return errors.Join(err, s.Remove(context.WithoutCancel(ctx), true))
	}
	stops, err := b.slowReader(ctx, s)
	if err != nil {
		return errors.Join(err, s.Remove(context.WithoutCancel(ctx), true))
	}
	st, err := s.Wait(ctx)
	took := b.clock.Now().Sub(began)
	if err = errors.Join(err, s.Remove(context.WithoutCancel(ctx), true), s.Close()); err != nil {
		return err
	}
	report, err := trail.Verify(st.Trail, trail.Check{})
	if err != nil {
		return err
	}
	b.add("events with a slow reader", "surety, full audit", "events/s",
		[]float64{float64(report.Records) * float64(clock.Second) / float64(took)})
	b.report.Notes = append(b.report.Notes, fmt.Sprintf("%d calls, the reader stopped %d times: %d "+
		"records delivered, chain and %d seals hold, ended with %d %s", b.config.Events, stops,
		report.Records, report.Seals, st.ExitCode, st.Reason))
	if report.Records < uint64(b.config.Events) {
		return errs.New(errs.Corrupt, "%d events, %d records", b.config.Events, report.Records)
	}
	return nil
}

// slowReader stops the supervisor for a quarter of the time, until the sandbox has ended.
func (b *sandboxBench) slowReader(ctx context.Context, s *runtime.Sandbox) (stops int, err error) {
	for {
		st, err := s.State()
		if err != nil || st.Status == runtime.Stopped {
			return stops, err
		}
		if syscall.Kill(st.Supervisor, syscall.SIGSTOP) == nil {
			err = wait(ctx, b.clock, 100*clock.Millisecond)
			_ = syscall.Kill(st.Supervisor, syscall.SIGCONT) // it may have gone since
			stops++
		}
		if err = errors.Join(err, wait(ctx, b.clock, 300*clock.Millisecond)); err != nil {
			return stops, err
		}
	}
}

// memoryBoxes is how many idle sandboxes of one image are weighed.
const memoryBoxes = 5

// memory weighs idle sandboxes: shared pages count in part for each that has them.
func (b *sandboxBench) memory(ctx context.Context) (err error) {
	root, err := b.programImage(ctx, "idle", smallest("ready\n", sayAndWait))
	if err != nil {
		return err
	}
	var boxes []*runtime.Sandbox
	defer func() {
		for _, s := range boxes {
			err = errors.Join(err, s.Remove(context.WithoutCancel(ctx), true), s.Close())
		}
	}()
	var totals []float64
	for range memoryBoxes {
		s, err := b.host.Create(ctx, b.spec(root, "core", "/idle"), runtime.Stdio{})
		if err != nil {
			return err
		}
		boxes = append(boxes, s)
		if err := s.Start(ctx); err != nil {
			return err
		}
		if err := wait(ctx, b.clock, clock.Second); err != nil {
			return err
		}
		total := 0.0
		for _, s := range boxes {
			st, err := s.State()
			if err != nil {
				return err
			}
			total += proportional(st.Supervisor)
		}
		totals = append(totals, total)
	}
	b.add("memory of the first idle sandbox", "surety, proportional", "MB", totals[:1])
	later := (totals[memoryBoxes-1] - totals[0]) / (memoryBoxes - 1)
	b.add("memory of each later one of its image", "surety, proportional", "MB", []float64{later})
	return nil
}

// proportional is the PSS of a process and all its descendants, in megabytes.
func proportional(pid int) float64 {
	parents := map[int][]int{}
	list, _ := os.ReadDir("/proc")
	for _, e := range list {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if err != nil || len(fields) < 2 {
			continue
		}
		if parent, err := strconv.Atoi(fields[1]); err == nil {
			parents[parent] = append(parents[parent], child)
		}
	}
	total, open := 0.0, []int{pid}
	for len(open) > 0 {
		next := open[0]
		open = append(open[1:], parents[next]...)
		text, _ := os.ReadFile("/proc/" + strconv.Itoa(next) + "/smaps_rollup")
		for line := range strings.Lines(string(text)) {
			if rest, found := strings.CutPrefix(line, "Pss:"); found {
				kilobytes, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
				total += kilobytes * 1024 / 1e6
			}
		}
	}
	return total
}
