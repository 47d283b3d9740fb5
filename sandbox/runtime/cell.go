package runtime

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/sentry/control"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/state/statefile"
	"gvisor.dev/gvisor/runsc/config"
	"gvisor.dev/gvisor/runsc/container"
	"gvisor.dev/gvisor/runsc/sandbox"
	"gvisor.dev/gvisor/runsc/specutils"

	"surety/base/errs"
	"surety/base/ident"
	words "surety/sandbox"
	"surety/sandbox/kernel"
	"surety/sandbox/ring"
)

// cell is a kernel on this machine with a program in it, and the ring it writes its records to.
// Who makes one drains the ring.
type cell struct {
	id     string
	dir    string // for all that it needs on disk
	spec   *Spec
	log    *slog.Logger
	policy *words.Compiled
	ring   *ring.Ring

	rootless bool   // root of a user namespace, and nobody outside
	debug    string // directory of gVisor's own logs; "" for none

	image     string   // path under which it opens the image, "" where the root is a directory
	layers    []string // paths under which the kernel process opens the spec's layers
	oci       *specs.Spec
	conf      *config.Config
	container *container.Container
}

// newCell compiles the policy and makes the ring, with its gate shut. Without a policy everything is
// allowed and core acts are recorded.
func newCell(id, dir string, spec *Spec, log *slog.Logger) (*cell, error) {
	policy, err := compilePolicy(spec)
	if err != nil {
		return nil, err
	}
	shared, err := ring.Create(filepath.Join(dir, ringFile), ringBytes)
	if err != nil {
		return nil, err
	}
	shared.Hold()
	return &cell{id: id, dir: dir, spec: spec, log: log, policy: policy, ring: shared}, nil
}

// compilePolicy makes the spec's policy ready. The limit of processes is the kernel inside's to keep,
// so it is a rule of the policy, and no limit where that only observes. Learning refuses nothing.
func compilePolicy(spec *Spec) (*words.Compiled, error) {
	var p words.Policy
	if spec.Policy != nil {
		p = *spec.Policy
	}
	if spec.Policy == nil && spec.Limits.Processes > 0 {
		p = words.Policy{Version: "v1", Mode: "enforce", Default: "allow"}
	}
	if most := int(spec.Limits.Processes); most > 0 && (p.Processes == 0 || p.Processes > most) {
		p.Processes = most
	}
	if spec.Learn {
		p.Mode = "observe"
	}
	policy, err := words.Compile(p)
	return policy, errs.Wrap(err, "policy")
}

func (c *cell) file(name string) string { return filepath.Join(c.dir, name) }

// policyDigest is a policy's, as text.
func policyDigest(p *words.Compiled) string { return p.Digest().Text() }

// birth is what the first record says. The image's digest is measured by the caller.
func (c *cell) birth(image, binary, key, host string) (words.Birth, error) {
	conf, err := json.Marshal(c.spec)
	if err != nil {
		return words.Birth{}, errs.Wrap(err, "encode spec")
	}
	b := words.Birth{
		Sandbox:  c.id,
		Image:    image,
		Policy:   policyDigest(c.policy),
		Binary:   binary,
		Config:   fmt.Sprintf("sha256:%x", sha256.Sum256(conf)),
		Class:    string(c.spec.Class),
		Mode:     c.mode(),
		Audit:    "core",
		Key:      key,
		Host:     host,
		Platform: platformName,
	}
	if c.policy.Level() == words.FullAudit {
		b.Audit = "full"
	}
	for _, l := range c.spec.Layers {
		b.Layers = append(b.Layers, words.BirthLayer{Target: l.Target, Digest: l.Digest})
	}
	if c.spec.Snapshot != "" {
		b.Snapshot, b.Earlier, err = readSnapshot(c.spec.Snapshot)
	}
	return b, err
}

func (c *cell) mode() string {
	switch {
	case c.spec.Learn:
		return "learn"
	case c.policy.Mode() == words.Enforce:
		return "enforce"
	}
	return "observe"
}

// ignite boots the kernel. The program is not made before begin.
func (c *cell) ignite(birth words.Birth, console string) error {
	if err := c.writeBundle(); err != nil {
		return err
	}
	audit := c.file(policyFile)
	var err error
	if c.conf, err = c.settings(audit); err != nil {
		return err
	}
	err = kernel.InitConfig(audit, kernel.Config{Ring: c.file(ringFile),
		Policy: c.policy.Canonical(), Birth: birth})
	if err != nil {
		return err
	}
	routeLibraryLog(c.log)
	c.container, err = container.New(c.conf, container.Args{ID: c.id, Spec: c.oci,
		BundleDir: c.file(bundleDir), Attached: true, ConsoleSocket: console})
	return errs.As(errs.Internal, err, "sandbox %s: boot", c.id)
}

func (c *cell) begin() error {
	if c.spec.Snapshot != "" {
		return c.container.Restore(c.conf, c.spec.Snapshot, false, false, nil)
	}
	return c.container.Start(c.conf)
}

func (c *cell) release() error {
	c.ring.Release()
	return nil
}

func (c *cell) pid() int { return c.container.SandboxPid() }

func (c *cell) wait() (int, string) {
	status, err := c.container.Wait()
	c.settle()
	if err != nil {
		return exitLost, "lost: " + err.Error()
	}
	return exitCode(status)
}

// exitLost is the exit code of a program whose own is not known, as of one that did not start.
const exitLost = 125

// exitCode is a wait status as shells report it, and why where that is not the program's own doing.
func exitCode(status unix.WaitStatus) (int, string) {
	if status.Signaled() {
		return 128 + int(status.Signal()), fmt.Sprintf("killed by signal %d (%s)", status.Signal(),
			unix.SignalName(status.Signal()))
	}
	return status.ExitStatus(), ""
}

func (c *cell) signal(signal unix.Signal, all bool) error {
	return errs.Wrap(c.container.SignalContainer(signal, all), "signal %d", signal)
}

func (c *cell) pause() error { return errs.Wrap(c.container.Pause(), "pause") }

func (c *cell) resume() error { return errs.Wrap(c.container.Resume(), "resume") }

func (c *cell) checkpoint(dir string, leave bool) error {
	opts := sandbox.CheckpointOpts{Compression: statefile.CompressionLevelNone, Resume: leave}
	return errs.Wrap(c.container.Checkpoint(c.conf, dir, opts), "checkpoint")
}

func (c *cell) exec(p *Process, files []*os.File, began func(int32)) (int, error) {
	args, err := c.execArgs(p, files)
	if err != nil {
		return 0, err
	}
	pid, err := c.container.Execute(c.conf, args)
	if err != nil {
		return 0, errs.As(errs.Invalid, err, "start %s", p.Args[0])
	}
	began(pid)
	status, err := c.container.WaitPID(pid)
	if err != nil {
		return 0, errs.Wrap(err, "wait for %s", p.Args[0])
	}
	code, _ := exitCode(status)
	return code, nil
}

func (c *cell) execArgs(p *Process, files []*os.File) (*control.ExecArgs, error) {
	program := c.container.Spec.Process
	caps, err := specutils.Capabilities(c.conf.EnableRaw, program.Capabilities)
	if err != nil {
		return nil, errs.Wrap(err, "capabilities")
	}
	user := User{UID: program.User.UID, GID: program.User.GID, Groups: program.User.AdditionalGids}
	if p.User != nil {
		user = *p.User
	}
	args := &control.ExecArgs{
		Argv:             p.Args,
		Envv:             append(append([]string{}, program.Env...), p.Env...),
		WorkingDirectory: p.Cwd,
		KUID:             auth.KUID(user.UID),
		KGID:             auth.KGID(user.GID),
		NoNewPrivileges:  true,
		Capabilities:     caps,
		StdioIsPty:       p.Terminal,
		FilePayload: control.NewFilePayload(map[int]*os.File{0: files[0], 1: files[1], 2: files[2]},
			nil),
	}
	if args.WorkingDirectory == "" {
		args.WorkingDirectory = program.Cwd
	}
	for _, g := range user.Groups {
		args.ExtraKGIDs = append(args.ExtraKGIDs, auth.KGID(g))
	}
	return args, nil
}

func (c *cell) signalProcess(pid int32, signal unix.Signal) error {
	return errs.Wrap(c.container.SignalProcess(signal, pid), "signal %d", signal)
}

func (c *cell) processes() ([]ProcessInfo, error) {
	list, err := c.container.Processes()
	if err != nil {
		return nil, errs.Wrap(err, "processes")
	}
	infos := make([]ProcessInfo, len(list))
	for i, p := range list {
		infos[i] = ProcessInfo{PID: int32(p.PID), Parent: int32(p.PPID), User: uint32(p.UID),
			Started: p.STime, Command: p.Cmd}
		if used, err := time.ParseDuration(p.Time); err == nil {
			infos[i].CPU = used
		}
		for _, t := range p.Threads {
			infos[i].Threads = append(infos[i].Threads, int32(t))
		}
	}
	return infos, nil
}

func (c *cell) stats() (Stats, error) {
	event, err := c.container.Event()
	if err != nil {
		return Stats{}, errs.Wrap(err, "stats")
	}
	data := &event.Event.Data
	if c.conf.IgnoreCgroups { // else gVisor answers with the cgroup that this process happens to be in
		data.CPU.Usage.Total = event.ContainerUsage[c.id]
	}
	counts := c.ring.Counts()
	st := Stats{
		CPU:         time.Duration(data.CPU.Usage.Total),
		Memory:      data.Memory.Usage.Usage,
		MemoryPeak:  data.Memory.Usage.Max,
		MemoryLimit: uint64(c.spec.Limits.MemoryBytes),
		Processes:   data.Pids.Current,
		Records:     counts.Records,
		Refused:     counts.Refused,
		WouldRefuse: counts.WouldRefuse,
		AuditWaits:  counts.Waits,
		AuditBytes:  counts.Bytes,
	}
	for _, n := range data.NetworkInterfaces {
		st.Received += n.RxBytes
		st.Sent += n.TxBytes
	}
	return st, nil
}

func (c *cell) trace(id ident.ID) error {
	c.ring.SetTrace(id)
	return nil
}

func (c *cell) destroy() error {
	if c.container == nil {
		return nil
	}
	return errs.Wrap(c.container.Destroy(), "remove what the kernel left")
}

// close lets go of the ring; its file stays.
func (c *cell) close() { _ = c.ring.Close() }

// routeLibraryLog sends gVisor's log lines, warnings and worse, to ours: by itself it writes them to
// standard error, which is the program's.
func routeLibraryLog(to *slog.Logger) {
	log.SetTarget(&log.GoogleEmitter{Writer: &log.Writer{Next: libraryWriter{to}}})
	log.SetLevel(log.Warning)
}

// libraryWriter turns gVisor's own log lines into ours.
type libraryWriter struct{ log *slog.Logger }

func (w libraryWriter) Write(line []byte) (int, error) {
	w.log.Info("gvisor", "line", string(line))
	return len(line), nil
}
