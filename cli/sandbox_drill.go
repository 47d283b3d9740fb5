package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/sandbox"
	"surety/sandbox/escape"
	"surety/sandbox/runtime"
	"surety/sandbox/trail"
)

func sandboxDrill(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "drill",
		Short: "Try to escape from sandboxes of this machine, and judge from outside",
		Long: `Runs sandboxes of its own in a temporary directory and has a program inside them try the known ways
out of containers: as root with every capability, as nobody under a strict policy, against the
memory limit, and by system calls at random. Pictures of this host from before and after are
compared, listeners on it must hear nothing, every attempt's act must be in the audit, and each
trail must verify. A fault is planted too, a volume that is writable, and must be found.

Fails with status 1 when anything reached the host, an attempt ended in a way that is not known, an
act is missing from the audit, or the planted fault was not seen. With -o json one object: classes,
attempts, reached, odd, breaches, missing, changes, hits, records, planted_found, fuzz.`,
		Example: `  surety sandbox drill
  surety sandbox drill --fuzz 10m --seed 7
  surety sandbox drill --only race,policy --fuzz 0s`,
		Args: noArgs,
	}
	d := &escapeDrill{env: env}
	c.Flags().DurationVar(&d.fuzz, "fuzz", 10*time.Second, "how long to make system calls at random")
	c.Flags().Uint64Var(&d.seed, "seed", 1, "of the random calls")
	c.Flags().StringSliceVar(&d.only, "only", nil, "only these classes of attempts (default: all)")
	c.Flags().StringVar(&d.network, "network", "stack", "of the sandboxes: stack or none")
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error { return d.run(ctx) })
}

// escapeDrill is one run of all the passes.
type escapeDrill struct {
	env     *Env
	fuzz    time.Duration
	seed    uint64
	only    []string
	network string

	ground *escape.Ground
	host   *runtime.Host
	report escape.Report
}

// drillProcesses is the limit that the fork bomb must meet.
const drillProcesses = 300

func (d *escapeDrill) run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "surety-drill-")
	if err != nil {
		return errs.As(errs.NoSpace, err, "sandbox drill")
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if d.ground, err = escape.Prepare(filepath.Join(dir, "ground"), "/proc/self/exe"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.ground.Close()) }()
	if d.host, err = runtime.Open(runtime.Config{Root: d.ground.State()}); err != nil {
		return err
	}
	before := d.ground.Picture()
	if err := d.passes(ctx); err != nil {
		return err
	}
	after := d.ground.Picture()
	d.report.Things = after.Things()
	d.report.Host(before.Differences(after), d.ground.Hits())
	if err := d.plant(ctx, after); err != nil {
		return err
	}
	if err := d.env.show(d.report, d.report.Write); err != nil {
		return err
	}
	if !d.report.Clean() {
		return errs.New(errs.Internal, "sandbox drill: %d reached, %d odd, %d not in the audit, "+
			"planted fault found: %t", d.report.Reached, len(d.report.Odd), len(d.report.Missing),
			d.report.Planted)
	}
	return nil
}

// passes makes the attempts, each set in a sandbox of its own.
func (d *escapeDrill) passes(ctx context.Context) error {
	for _, pass := range []struct {
		name string
		do   func(context.Context, *runtime.Spec, *escape.Scene)
	}{
		{"root", d.asRoot}, {"nobody", d.asNobody}, {"memory", d.asGreedy},
	} {
		spec, scene := d.base(pass.name)
		pass.do(ctx, spec, scene)
		if err := d.attempt(ctx, spec, scene); err != nil {
			return errs.Wrap(err, "sandbox drill: pass %s", pass.name)
		}
	}
	if d.fuzz <= 0 {
		return nil
	}
	return errs.Wrap(d.random(ctx), "sandbox drill: pass random")
}

// base is what all sandboxes of the drill have in common.
func (d *escapeDrill) base(name string) (*runtime.Spec, *escape.Scene) {
	source, target := d.ground.Volume()
	scene := d.ground.Scene()
	scene.Volume, scene.Classes = target, d.only
	return &runtime.Spec{ID: d.ground.Name() + "-" + name, Class: runtime.Sentry,
		Root: runtime.Root{Dir: d.ground.Root()}, Args: []string{"/" + escape.Name, "attempts"},
		Env: []string{"PATH=/", "HOME=/tmp"}, Cwd: "/", Overlay: "memory", Hostname: "drill",
		Volumes: []runtime.Volume{{Source: source, Target: target, ReadOnly: true}},
		Network: runtime.Network{Mode: d.network}}, &scene
}

// asRoot has every capability, and a policy that denies little: what holds is the kernel.
func (d *escapeDrill) asRoot(_ context.Context, spec *runtime.Spec, scene *escape.Scene) {
	scene.Secret, scene.Processes = d.ground.Secret(), drillProcesses
	spec.Caps = runtime.CapabilityNames()
	deny := func(where string) sandbox.NetRule { return sandbox.NetRule{Deny: where} }
	spec.Policy = &sandbox.Policy{Version: "v1", Name: "drill-root", Mode: "enforce", Default: "allow",
		Audit: "full", Processes: drillProcesses,
		Files: []sandbox.FileRule{{Deny: filepath.Dir(d.ground.Secret()) + "/**"}},
		Network: []sandbox.NetRule{deny("10.0.0.0/8"), deny("172.16.0.0/12"), deny("192.168.0.0/16"),
			deny("169.254.0.0/16"), deny("100.64.0.0/10"), deny("8.8.8.8"), deny("224.0.0.0/4"),
			deny("255.255.255.255"), deny("fd00::/8"), deny("fe80::/10")}}
	for _, host := range scene.Hosts {
		at, err := netip.ParseAddrPort(host)
		if err == nil && !at.Addr().IsPrivate() && !at.Addr().IsLinkLocalUnicast() {
			spec.Policy.Network = append(spec.Policy.Network, deny(at.Addr().String()))
		}
	}
}

// asNobody has no capability and a policy that denies what it does not name.
func (d *escapeDrill) asNobody(_ context.Context, spec *runtime.Spec, scene *escape.Scene) {
	scene.Secret, scene.Processes = d.ground.Secret(), drillProcesses
	scene.Strict, scene.NoMount = true, true
	scene.Forbidden = []string{"example.com"}
	spec.User = runtime.User{UID: 65534, GID: 65534}
	spec.Policy = &sandbox.Policy{Version: "v1", Name: "drill-nobody", Mode: "enforce", Default: "deny",
		Audit: "full", Processes: drillProcesses,
		Exec: []sandbox.ExecRule{{Allow: "/" + escape.Name}},
		Files: []sandbox.FileRule{{Allow: "/**"},
			{Deny: filepath.Dir(d.ground.Secret()) + "/**"}},
		Network: []sandbox.NetRule{{Allow: "127.0.0.0/8"}}}
}

// asGreedy takes all the memory there is, which ends its sandbox.
func (d *escapeDrill) asGreedy(_ context.Context, spec *runtime.Spec, scene *escape.Scene) {
	scene.Alone = "memory"
	spec.Limits.MemoryBytes = 256 << 20
	spec.Policy = &sandbox.Policy{Version: "v1", Name: "drill-memory", Mode: "enforce", Default: "allow",
		Audit: "full"}
}

// attempt runs one sandbox of attempts and adds what came of it.
func (d *escapeDrill) attempt(ctx context.Context, spec *runtime.Spec, scene *escape.Scene) error {
	var findings []escape.Finding
	st, err := d.sandboxed(ctx, spec, scene, func(line []byte) error {
		var f escape.Finding
		if err := json.Unmarshal(line, &f); err != nil {
			return errs.As(errs.Corrupt, err, "finding %q", line)
		}
		findings = append(findings, f)
		return nil
	})
	if err != nil {
		return err
	}
	if scene.Alone != "" && len(findings) == 0 {
		findings = []escape.Finding{{Name: scene.Alone, Class: "exhaust", Outcome: escape.Killed,
			Detail: st.Reason}}
	} else if st.ExitCode != 0 {
		return errs.New(errs.Internal, "sandbox ended with %d, %s, after %d findings", st.ExitCode,
			st.Reason, len(findings))
	}
	w := escape.NewWitness()
	if err := d.read(st.Trail, w.Add); err != nil {
		return err
	}
	d.report.Add(findings, w)
	return nil
}

// random runs the fuzzer as root with every capability.
func (d *escapeDrill) random(ctx context.Context) error {
	spec, scene := d.base("random")
	d.asRoot(ctx, spec, scene)
	spec.Args = []string{"/" + escape.Name, "fuzz", "--seed", strconv.FormatUint(d.seed, 10),
		"--duration", d.fuzz.String()}
	st, err := d.sandboxed(ctx, spec, scene, func(line []byte) error {
		var f escape.FuzzReport
		if err := json.Unmarshal(line, &f); err != nil {
			return errs.As(errs.Corrupt, err, "report %q", line)
		}
		d.report.Fuzz = append(d.report.Fuzz, f)
		return nil
	})
	if err != nil {
		return err
	}
	records := uint64(0)
	if err := d.read(st.Trail, func(*sandbox.Record) { records++ }); err != nil {
		return err
	}
	d.report.Records += records
	odd := ""
	if len(d.report.Fuzz) == 0 {
		odd = fmt.Sprintf("ended with %d: %s", st.ExitCode, st.Reason)
	} else if calls := d.report.Fuzz[0].Calls; records < calls {
		odd = fmt.Sprintf("%d calls left %d records", calls, records)
	}
	if odd != "" {
		d.report.Odd = append(d.report.Odd, escape.Finding{Name: "random", Class: "fuzz",
			Outcome: escape.Odd, Detail: fmt.Sprintf("seed %d: %s", d.seed, odd)})
	}
	return nil
}

// plant changes the host on purpose: whoever compares the pictures must see that.
func (d *escapeDrill) plant(ctx context.Context, before escape.Picture) error {
	spec, scene := d.base("planted")
	source, target := d.ground.Writable()
	scene.Writable, scene.Classes = target, nil
	spec.Volumes = []runtime.Volume{{Source: source, Target: target}}
	_, err := d.sandboxed(ctx, spec, scene, func([]byte) error { return nil })
	if err != nil {
		return errs.Wrap(err, "sandbox drill: planted fault")
	}
	changes := before.Differences(d.ground.Picture())
	word := "file " + filepath.Join(source, "word") + " was"
	d.report.Planted = slices.ContainsFunc(changes, func(c string) bool {
		return len(c) >= len(word) && c[:len(word)] == word
	})
	return nil
}

// sandboxed runs a sandbox to its end and hands over its output, line by line.
func (d *escapeDrill) sandboxed(ctx context.Context, spec *runtime.Spec, scene *escape.Scene,
	line func([]byte) error) (st runtime.State, err error) {
	told, err := json.Marshal(scene)
	if err != nil {
		return st, err
	}
	spec.Env = append(spec.Env, escape.SceneVariable+"="+string(told))
	read, write, err := os.Pipe()
	if err != nil {
		return st, errs.As(errs.Unavailable, err, "pipe")
	}
	lines := make(chan error, 1)
	go func() { lines <- eachLine(read, line) }()
	s, err := d.host.Create(ctx, *spec, runtime.Stdio{Stdout: write, Stderr: write})
	err = errors.Join(err, write.Close())
	if err == nil {
		st, err = endOf(ctx, s)
		err = errors.Join(err, s.Remove(context.WithoutCancel(ctx), true))
	}
	return st, errors.Join(err, <-lines, read.Close())
}

// endOf starts a sandbox and waits for its end.
func endOf(ctx context.Context, s *runtime.Sandbox) (runtime.State, error) {
	defer s.Close() // nothing was written
	if err := s.Start(ctx); err != nil {
		return runtime.State{}, err
	}
	return s.Wait(ctx)
}

// eachLine calls do for every line that is a JSON object; others are a program's complaints. The
// stream is read to its end whatever do says.
func eachLine(r io.Reader, do func([]byte) error) error {
	var first error
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		if line := scan.Bytes(); len(line) > 0 && line[0] == '{' && first == nil {
			first = do(line)
		}
	}
	_, err := io.Copy(io.Discard, r)
	return errors.Join(first, scan.Err(), err)
}

// read verifies a trail and shows every record of it.
func (d *escapeDrill) read(dir string, show func(*sandbox.Record)) error {
	report, err := trail.Verify(dir, trail.Check{})
	if err != nil {
		return err
	}
	if !report.Ended {
		return errs.New(errs.Corrupt, "trail %s has no final record", dir)
	}
	d.report.Trails = append(d.report.Trails, report.Sandbox)
	r, err := trail.Open(dir)
	if err != nil {
		return err
	}
	defer r.Close() // nothing was written
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		show(rec)
	}
}
