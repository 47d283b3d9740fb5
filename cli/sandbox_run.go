package cli

import (
	"context"
	"encoding/hex"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"surety/base/errs"
	"surety/sandbox"
	"surety/sandbox/runtime"
	"surety/sys/entropy"
)

// runFlags are the flags of run, as they are typed.
type runFlags struct {
	name, policy, class, overlay, network, cwd, user, hostname, memory, cpus, pool string
	env, volumes, ports, caps                                                      []string
	processes                                                                      int64
	learn, full, detach, terminal, interactive, readOnly, remove, emulation        bool
}

func sandboxRun(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "run SOURCE [-- COMMAND...]",
		Short: "Run a program in a new sandbox",
		Long: `SOURCE is a static binary, a directory, an OCI layout or tarball, a bundle (a directory with
config.json), the name of an image added before, or a reference to pull from a registry. What it is
shows by itself; dir:, binary:, layout:, tar:, bundle: and image: before it say so.

COMMAND replaces what the image runs; for a binary it is its arguments. Streams are the caller's,
and so is the exit code: 128+n after signal n, 125 where it is not known. A sandbox that could not
start is 1, or 2 for what was typed, with a line on standard error, as of every command. With
--detach the output goes to the sandbox's log and the name is printed. The audit trail stays after
the sandbox is gone: "surety sandbox audit show NAME".

Networks: none (loopback inside only), stack (a network of its own; what leaves it goes through a
gateway that asks the policy again), host (this host's; the policy alone stands between).`,
		Example: `  surety sandbox run ./hello
  surety sandbox run --policy policy.yaml --network stack -p 127.0.0.1:8080:80 ./server
  surety sandbox run -t -i dir:/srv/debian -- bash
  surety sandbox run --learn --name first ./server && surety sandbox policy learn --trail first
  surety sandbox run --pool jobs`,
		Args: cobra.ArbitraryArgs,
	}
	var f runFlags
	flags := c.Flags()
	f.describe(flags)
	flags.StringVar(&f.name, "name", "", "name of the sandbox (default: made up)")
	flags.BoolVarP(&f.detach, "detach", "d", false, "return when it runs")
	flags.BoolVarP(&f.interactive, "interactive", "i", false, "connect standard input")
	flags.BoolVar(&f.remove, "rm", true, "remove the sandbox when it has ended; its trail stays")
	flags.StringVar(&f.pool, "pool", "", "take a sandbox of this pool instead of SOURCE")
	return withHost(env, c, func(h *hosted) error {
		if f.pool != "" {
			return f.take(h)
		}
		if len(h.args) == 0 {
			return usage(c, "SOURCE is missing")
		}
		spec, err := f.spec(h)
		if err != nil {
			return err
		}
		return f.run(h, spec)
	})
}

// describe adds the flags that say what a sandbox is.
func (f *runFlags) describe(flags *pflag.FlagSet) {
	flags.StringVar(&f.policy, "policy", "", "policy file")
	flags.BoolVar(&f.learn, "learn", false, "refuse nothing and record all that a policy would need")
	flags.BoolVar(&f.full, "full-audit", false, "record every system call, not only the core ones")
	flags.StringVar(&f.class, "class", "sentry", "sentry (a kernel as a process) or vm (in a virtual "+
		"machine besides)")
	flags.BoolVar(&f.emulation, "emulation", false, "class vm without KVM: software emulation, very slow")
	flags.StringVar(&f.overlay, "overlay", "memory", "where the program's writes to its root go: "+
		"memory or disk")
	flags.BoolVar(&f.readOnly, "read-only", false, "no writes to the root at all")
	flags.StringVar(&f.network, "network", "none", "none, stack or host")
	flags.StringArrayVarP(&f.ports, "publish", "p", nil, "ADDRESS:PORT:INSIDE[/udp] of this host to "+
		"publish; may be repeated")
	flags.StringArrayVarP(&f.volumes, "volume", "v", nil, "SOURCE:TARGET[:ro] of this host to show "+
		"inside; may be repeated")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "NAME=VALUE; NAME alone takes the caller's")
	flags.StringVarP(&f.cwd, "workdir", "w", "", "working directory inside")
	flags.StringVarP(&f.user, "user", "u", "", "UID[:GID] to run as (default: the image's, else 0)")
	flags.StringVar(&f.hostname, "hostname", "", "name of the machine inside (default: the sandbox's)")
	flags.StringVar(&f.memory, "memory", "", "memory limit, as 256m")
	flags.StringVar(&f.cpus, "cpus", "", "CPU limit in cores, as 0.5")
	flags.Int64Var(&f.processes, "processes", 0, "limit on processes (0: none)")
	flags.StringSliceVar(&f.caps, "cap", nil, "capability to give, as NET_BIND_SERVICE")
	flags.BoolVarP(&f.terminal, "terminal", "t", false, "give the program a terminal")
}

// spec turns what was typed into what runs.
func (f *runFlags) spec(h *hosted) (*runtime.Spec, error) {
	spec := &runtime.Spec{ID: f.name, Class: runtime.Class(f.class), Overlay: f.overlay,
		Hostname: f.hostname, Terminal: f.terminal, Learn: f.learn, Emulation: f.emulation,
		Network: runtime.Network{Mode: f.network}}
	if spec.ID == "" {
		spec.ID = madeUpName()
	}
	if spec.Hostname == "" {
		spec.Hostname = spec.ID
	}
	if f.readOnly {
		spec.Overlay = "none"
	}
	command := h.args[1:]
	if err := fillSource(h, spec, h.args[0], command); err != nil {
		return nil, err
	}
	if err := f.program(h, spec); err != nil {
		return nil, err
	}
	if err := f.surroundings(h, spec); err != nil {
		return nil, err
	}
	return spec, f.watch(spec)
}

// program sets what the flags say of the program itself.
func (f *runFlags) program(h *hosted, spec *runtime.Spec) error {
	for _, e := range f.env {
		if !strings.Contains(e, "=") {
			value, set := h.env.LookupEnv(e)
			if !set {
				return usage(h.Command, "--env %s is not set here", e)
			}
			e += "=" + value
		}
		spec.Env = append(spec.Env, e)
	}
	if f.cwd != "" {
		spec.Cwd = f.cwd
	}
	if spec.Cwd == "" {
		spec.Cwd = "/"
	}
	if f.user != "" {
		user, err := parseUser(f.user)
		if err != nil {
			return usage(h.Command, "--user: %v", err)
		}
		spec.User = user
	}
	for _, c := range f.caps {
		c = strings.ToUpper(c)
		if !strings.HasPrefix(c, "CAP_") {
			c = "CAP_" + c
		}
		spec.Caps = append(spec.Caps, c)
	}
	return nil
}

// surroundings sets what the flags show of the host and limit of it.
func (f *runFlags) surroundings(h *hosted, spec *runtime.Spec) (err error) {
	for _, v := range f.volumes {
		volume, err := parseVolume(v)
		if err != nil {
			return usage(h.Command, "--volume: %v", err)
		}
		spec.Volumes = append(spec.Volumes, volume)
	}
	for _, p := range f.ports {
		port, err := parsePort(p)
		if err != nil {
			return usage(h.Command, "--publish: %v", err)
		}
		spec.Network.Ports = append(spec.Network.Ports, port)
	}
	if f.memory != "" {
		if spec.Limits.MemoryBytes, err = parseBytes(f.memory); err != nil {
			return usage(h.Command, "--memory: %v", err)
		}
	}
	if f.cpus != "" {
		if spec.Limits.CPUMillis, err = parseCPUs(f.cpus); err != nil {
			return usage(h.Command, "--cpus: %v", err)
		}
	}
	spec.Limits.Processes = f.processes
	return nil
}

// watch sets the policy and how much is recorded.
func (f *runFlags) watch(spec *runtime.Spec) error {
	if f.policy != "" {
		compiled, err := readPolicy(f.policy)
		if err != nil {
			return err
		}
		p := compiled.Policy()
		spec.Policy = &p
	}
	if f.full {
		if spec.Policy == nil {
			spec.Policy = new(sandbox.Policy)
		}
		spec.Policy.Audit = "full"
	}
	return nil
}

// madeUpName is short enough to type.
func madeUpName() string {
	var raw [4]byte
	entropy.System().Fill(raw[:])
	return "s-" + hex.EncodeToString(raw[:])
}

func parseUser(text string) (runtime.User, error) {
	uid, gid, both := strings.Cut(text, ":")
	if !both {
		gid = uid
	}
	u, err := strconv.ParseUint(uid, 10, 32)
	if err != nil {
		return runtime.User{}, errs.New(errs.Invalid, "%q is not UID or UID:GID", text)
	}
	g, err := strconv.ParseUint(gid, 10, 32)
	if err != nil {
		return runtime.User{}, errs.New(errs.Invalid, "%q is not UID or UID:GID", text)
	}
	return runtime.User{UID: uint32(u), GID: uint32(g)}, nil
}

func parseVolume(text string) (runtime.Volume, error) {
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 3 || len(parts) == 3 && parts[2] != "ro" && parts[2] != "rw" {
		return runtime.Volume{}, errs.New(errs.Invalid, "%q is not SOURCE:TARGET or SOURCE:TARGET:ro",
			text)
	}
	source, err := filepath.Abs(parts[0])
	if err != nil {
		return runtime.Volume{}, errs.New(errs.Invalid, "%q: %v", parts[0], err)
	}
	if _, err := os.Stat(source); err != nil {
		return runtime.Volume{}, fileError(err, "source")
	}
	return runtime.Volume{Source: source, Target: path.Clean(parts[1]),
		ReadOnly: len(parts) == 3 && parts[2] == "ro"}, nil
}

func parsePort(text string) (runtime.Port, error) {
	port := runtime.Port{Protocol: "tcp"}
	rest, protocol, found := strings.Cut(text, "/")
	if found {
		port.Protocol = protocol
	}
	at := strings.LastIndex(rest, ":")
	if at < 0 {
		return port, errs.New(errs.Invalid, "%q is not ADDRESS:PORT:INSIDE", text)
	}
	inside, err := strconv.ParseUint(rest[at+1:], 10, 16)
	if err != nil || inside == 0 {
		return port, errs.New(errs.Invalid, "%q: %q is no port", text, rest[at+1:])
	}
	port.Host, port.Inside = rest[:at], uint16(inside)
	if !strings.Contains(port.Host, ":") {
		port.Host = "127.0.0.1:" + port.Host
	}
	return port, nil
}

// run makes the sandbox, lets it go, and stays with it unless detached.
func (f *runFlags) run(h *hosted, spec *runtime.Spec) error {
	ctx := h.Context()
	streams := newStreams(h.env, f.interactive)
	io := streams.stdio()
	switch {
	case f.detach && !f.terminal:
		io = runtime.Stdio{}
	case f.terminal:
		if f.detach {
			return usage(h.Command, "--terminal and --detach do not go together")
		}
		io = runtime.Stdio{Console: streams.attach}
	}
	if spec.Class == runtime.VM && spec.Emulation {
		h.env.note("surety: class vm by SOFTWARE EMULATION: many times slower than hardware, for tests alone")
	}
	if !f.detach {
		return f.runHere(h, spec, io, streams)
	}
	s, err := h.host.Create(ctx, *spec, io)
	if err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	return h.env.show(map[string]string{"id": spec.ID}, lineOf(spec.ID))
}

// patience is how long a program may take to end when this command is told to.
const patience = 5 * time.Second

// runHere runs to the end, with this process answering for the sandbox.
func (f *runFlags) runHere(h *hosted, spec *runtime.Spec, io runtime.Stdio, streams *streams) error {
	io.HandedOver = streams.handedOver
	st, err := h.host.Run(h.Context(), *spec, io, patience)
	streams.handedOver()
	streams.finish()
	if err != nil {
		return err
	}
	s, err := h.host.Find(spec.ID)
	if err != nil {
		return err
	}
	return f.conclude(h, s, &st)
}

// stay is with a running sandbox until its end, and gives the shell its exit code.
func (f *runFlags) stay(h *hosted, s *runtime.Sandbox, streams *streams) error {
	st, err := follow(h.Context(), s)
	streams.finish()
	if err != nil {
		return err
	}
	return f.conclude(h, s, &st)
}

// killed is the exit code after SIGKILL, which is how a program ends that its policy does not let begin.
const killed = 128 + 9

// conclude says how a sandbox ended, and removes it.
func (f *runFlags) conclude(h *hosted, s *runtime.Sandbox, st *runtime.State) error {
	if f.remove {
		if err := s.Remove(context.WithoutCancel(h.Context()), false); err != nil {
			h.env.note("surety: %v", err)
		}
	}
	if st.Reason != "" && st.ExitCode != 0 {
		h.env.note("surety: sandbox %s %s", s.ID(), st.Reason)
	}
	if p := st.Spec.Policy; st.ExitCode == killed && p != nil && p.Mode == "enforce" && !st.Spec.Learn {
		h.env.note("hint: \"surety sandbox audit show %s --verdict refuse\" shows what its policy refused",
			s.ID())
	}
	return exitWith(st.ExitCode)
}

// follow waits for the end; a signal to this command ends the sandbox.
func follow(ctx context.Context, s *runtime.Sandbox) (runtime.State, error) {
	st, err := s.Wait(ctx)
	if ctx.Err() == nil {
		return st, err
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*patience)
	defer cancel()
	if err := s.Stop(ending, patience); err != nil {
		return st, err
	}
	return s.State()
}

// lineOf writes one line.
func lineOf(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text+"\n")
		return err
	}
}

// streams connects a command's streams with a program's, by descriptor where they have one.
type streams struct {
	env     *Env
	stdin   bool
	copies  sync.WaitGroup
	handed  []*os.File // ours until the program has its own
	restore func()
}

func newStreams(env *Env, stdin bool) *streams {
	return &streams{env: env, stdin: stdin, restore: func() {}}
}

func (s *streams) stdio() runtime.Stdio {
	out := runtime.Stdio{Stdout: s.writer(s.env.Stdout), Stderr: s.writer(s.env.Stderr)}
	if s.stdin {
		out.Stdin = s.reader(s.env.Stdin)
	}
	return out
}

// writer is the descriptor behind w, or a pipe into it.
func (s *streams) writer(w io.Writer) *os.File {
	if f, ok := w.(*os.File); ok && !regular(f) {
		return f
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil // to the log, then
	}
	s.handed = append(s.handed, write)
	s.copies.Add(1)
	go func() {
		defer s.copies.Done()
		defer read.Close()
		_, _ = io.Copy(w, read)
	}()
	return write
}

func (s *streams) reader(r io.Reader) *os.File {
	if f, ok := r.(*os.File); ok && !regular(f) {
		return f
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil
	}
	s.handed = append(s.handed, read)
	go func() {
		defer write.Close()
		_, _ = io.Copy(write, r) // ends with the input, or when nobody reads any more
	}()
	return read
}

// regular reports whether f is a file on a disk: its position would not be shared with the kernel
// inside, which keeps its own, so that writers would write over each other.
func regular(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

// handedOver closes what the program now has its own copy of.
func (s *streams) handedOver() {
	for _, f := range s.handed {
		_ = f.Close()
	}
	s.handed = nil
}

// finish waits for what the program wrote and gives the terminal back.
func (s *streams) finish() {
	s.restore()
	s.copies.Wait()
}
