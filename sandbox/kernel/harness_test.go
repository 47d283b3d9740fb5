//go:build amd64

package kernel_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/sentry/control"
	"gvisor.dev/gvisor/runsc/config"
	"gvisor.dev/gvisor/runsc/container"
	"gvisor.dev/gvisor/runsc/flag"
	"gvisor.dev/gvisor/runsc/specutils"

	"surety/sandbox"
	"surety/sandbox/kernel"
	"surety/sandbox/ring"
)

// TestMain is three programs: gVisor's, re-executed; the program inside a sandbox; and the tests.
func TestMain(m *testing.M) {
	if kernel.Reexec(os.Args) {
		kernel.Main()
	}
	if len(os.Args) > 1 && filepath.Base(os.Args[0]) == probeName {
		os.Exit(probe(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// probeName is the name the test binary runs under inside a sandbox, where it is at /probe.
const probeName = "probe"

// box is one sandbox of a test with the far end of its audit.
type box struct {
	t      testing.TB
	conf   *config.Config
	c      *container.Container
	ring   *ring.Ring
	dir    string
	root   string // the file system it shows
	stdout *os.File

	mu      sync.Mutex
	records []sandbox.Record
	chain   sandbox.Chain
	broken  error
	waits   uint64        // times the program waited for the collector
	changed chan struct{} // closed and replaced when records come
	stop    chan struct{}
	stopped chan struct{}
}

// plan is what a box is made of.
type plan struct {
	policy sandbox.Policy
	level  string
	args   []string          // of the probe
	files  map[string]string // path to content; a trailing slash makes a directory
	links  map[string]string
	caps   []string
	uid    uint32
	net    string // "none" where empty
	birth  sandbox.Birth
	root   string        // of an earlier box: used as it is
	bare   bool          // without our configuration: no sink, no policy
	image  bool          // the root is an EROFS image under an overlay in memory
	notes  dict          // annotations of the bundle
	room   int           // bytes of the ring, 1 MiB where zero
	pause  time.Duration // of the collector after each reading
}

// needRoot ends a test that cannot make a sandbox here.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("sandboxes of these tests need root: gVisor's chroot and user mapping")
	}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, s := range build.Settings {
			if s.Key == "CGO_ENABLED" && s.Value == "1" {
				t.Skip("a sandbox's kernel is built without cgo: run with CGO_ENABLED=0")
			}
		}
	}
}

// boot makes a sandbox, held before its program's first instruction.
func boot(t testing.TB, p plan) *box {
	t.Helper()
	needRoot(t)
	b := &box{t: t, dir: t.TempDir(), stop: make(chan struct{}), stopped: make(chan struct{}),
		changed: make(chan struct{})}
	if b.root = p.root; b.root == "" {
		b.root = filepath.Join(b.dir, "rootfs")
		b.fill(p)
	}
	size := p.room
	if size == 0 {
		size = 1 << 20
	}
	var err error
	b.ring, err = ring.Create(filepath.Join(b.dir, "ring"), size)
	must(t, err)
	b.ring.Hold()
	policy, err := json.Marshal(p.policy)
	must(t, err)
	birth := p.birth
	birth.Sandbox = filepath.Base(b.dir)
	initial := filepath.Join(b.dir, "init.json")
	must(t, kernel.InitConfig(initial, kernel.Config{Ring: filepath.Join(b.dir, "ring"),
		Policy: policy, Birth: birth, Level: p.level}))
	if p.bare {
		initial = ""
	}
	b.configure(p, initial)
	go b.collect(p.pause)
	b.create(p)
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fill makes the root file system: the test binary as /probe, and what the plan lists.
func (b *box) fill(p plan) {
	b.t.Helper()
	must(b.t, os.MkdirAll(filepath.Join(b.root, "tmp"), 0o777))
	must(b.t, os.Chmod(filepath.Join(b.root, "tmp"), 0o777))
	for _, dir := range []string{"proc", "dev"} {
		must(b.t, os.MkdirAll(filepath.Join(b.root, dir), 0o755))
	}
	self, err := os.Executable()
	must(b.t, err)
	data, err := os.ReadFile(self)
	must(b.t, err)
	must(b.t, os.WriteFile(filepath.Join(b.root, "probe"), data, 0o755))
	for name, text := range p.files {
		at := filepath.Join(b.root, name)
		if strings.HasSuffix(name, "/") {
			must(b.t, os.MkdirAll(at, 0o777))
			must(b.t, os.Chmod(at, 0o777))
			continue
		}
		must(b.t, os.MkdirAll(filepath.Dir(at), 0o777))
		must(b.t, os.WriteFile(at, []byte(text), 0o755))
		must(b.t, os.Chmod(at, 0o777))
	}
	for name, to := range p.links {
		must(b.t, os.Symlink(to, filepath.Join(b.root, name)))
	}
}

func (b *box) configure(p plan, initial string) {
	b.t.Helper()
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	config.RegisterFlags(flags)
	network := p.net
	if network == "" {
		network = "none"
	}
	state := filepath.Join(b.dir, "state")
	must(b.t, os.MkdirAll(state, 0o700))
	args := []string{"--root=" + state, "--network=" + network, "--platform=systrap",
		"--ignore-cgroups", "--overlay2=none", "--file-access=exclusive"}
	if log := os.Getenv("SURETY_SANDBOX_LOG"); log != "" {
		args = append(args, "--debug", "--debug-log="+log+"/", "--strace=false")
	}
	must(b.t, flags.Parse(args))
	conf, err := config.NewFromFlags(flags)
	must(b.t, err)
	conf.PodInitConfig = initial
	b.conf = conf
}

// dict is an object of the bundle's JSON.
type dict = map[string]any

// bundle writes the runtime specification of the plan's container.
func (b *box) bundle(p plan) {
	b.t.Helper()
	var namespaces []dict
	for _, kind := range []string{"pid", "mount", "network", "ipc", "uts"} {
		namespaces = append(namespaces, dict{"type": kind})
	}
	mounts := []dict{{"destination": "/proc", "type": "proc", "source": "proc"},
		{"destination": "/dev", "type": "dev", "source": "dev"},
		{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}}
	caps := dict{"bounding": p.caps, "effective": p.caps, "permitted": p.caps,
		"inheritable": p.caps}
	// The name of the program is not its path: gVisor looks it up along PATH.
	process := dict{"args": append([]string{probeName}, p.args...), "cwd": "/",
		"env":          []string{"PATH=/", "GOMAXPROCS=2"},
		"user":         dict{"uid": p.uid, "gid": p.uid},
		"capabilities": caps}
	bundle := dict{"ociVersion": "1.0.0", "root": dict{"path": b.root}, "process": process,
		"mounts": mounts, "linux": dict{"namespaces": namespaces}}
	if p.notes != nil {
		bundle["annotations"] = p.notes
	}
	if p.image {
		bundle["annotations"] = dict{"dev.gvisor.spec.rootfs.type": "erofs",
			"dev.gvisor.spec.rootfs.source": b.makeImage(), "dev.gvisor.spec.rootfs.overlay": "memory"}
	}
	text, err := json.Marshal(bundle)
	must(b.t, err)
	must(b.t, os.WriteFile(filepath.Join(b.dir, "config.json"), text, 0o600))
}

// makeImage packs the root file system.
func (b *box) makeImage() string {
	b.t.Helper()
	path := filepath.Join(b.dir, "root.erofs")
	out, err := exec.Command("mkfs.erofs", "-E", "noinline_data", path, b.root).CombinedOutput()
	if err != nil {
		b.t.Skipf("this machine has no mkfs.erofs that works: %v: %s", err, out)
	}
	return path
}

// create boots gVisor. Its streams are the process's own while it is made.
func (b *box) create(p plan) {
	b.t.Helper()
	b.c = b.make(fmt.Sprintf("t%d-%d", os.Getpid(), time.Now().UnixNano()), p)
	b.t.Cleanup(b.destroy)
}

// make makes one container of the box.
func (b *box) make(id string, p plan) *container.Container {
	b.t.Helper()
	out, err := os.OpenFile(filepath.Join(b.dir, "stdout"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	must(b.t, err)
	b.stdout = out
	b.bundle(p)
	spec, err := specutils.ReadSpec(b.dir, b.conf)
	must(b.t, err)
	var c *container.Container
	b.withStreams(func() {
		c, err = container.New(b.conf, container.Args{ID: id, Spec: spec, BundleDir: b.dir,
			Attached: true})
	})
	must(b.t, err)
	return c
}

// withStreams runs f with the streams that gVisor gives to what it starts: it takes them from the
// process's own.
func (b *box) withStreams(f func()) {
	b.t.Helper()
	none, err := os.Open(os.DevNull)
	must(b.t, err)
	defer none.Close()
	stdin, stdout, stderr := os.Stdin, os.Stdout, os.Stderr
	defer func() { os.Stdin, os.Stdout, os.Stderr = stdin, stdout, stderr }()
	os.Stdin, os.Stdout, os.Stderr = none, b.stdout, b.stdout
	f()
}

func (b *box) destroy() {
	if b.c != nil {
		if err := b.c.Destroy(); err != nil {
			b.t.Errorf("destroy: %v", err)
		}
		b.c = nil
	}
	b.drain()
	b.stdout.Close()
	b.forget()
}

// forget unmounts the empty network namespace of gVisor's file servers, which it leaves mounted for
// the next sandbox with the same state directory.
func (b *box) forget() {
	_ = unix.Unmount(filepath.Join(b.dir, "state", "null-netns"), unix.MNT_DETACH)
}

// start lets the program go.
func (b *box) start() {
	b.t.Helper()
	failed := make(chan error, 1)
	go func() { failed <- b.c.Start(b.conf) }()
	b.await(func(r *sandbox.Record) bool { return r.Kind == sandbox.KindBirth })
	b.ring.Release()
	must(b.t, <-failed)
}

// finish waits for the program's end and returns its wait status and what it wrote.
func (b *box) finish() (unix.WaitStatus, string) {
	b.t.Helper()
	status, err := b.c.Wait()
	must(b.t, err)
	must(b.t, b.c.Destroy())
	b.c = nil
	b.drain()
	return status, b.output()
}

// killed reports whether a program ended by SIGKILL: told by its wait status, or, where the kernel
// was gone before it was asked, by the exit status of the kernel.
func killed(status unix.WaitStatus) bool {
	return status.Signaled() && status.Signal() == unix.SIGKILL ||
		status.Exited() && status.ExitStatus() == 128+int(unix.SIGKILL)
}

// run is start and finish.
func (b *box) run() (unix.WaitStatus, string) {
	b.t.Helper()
	b.start()
	return b.finish()
}

// session runs the probe as an operator would and returns its wait status.
func (b *box) session(path string, acts ...string) unix.WaitStatus {
	b.t.Helper()
	pid, err := b.execute(path, acts...)
	must(b.t, err)
	status, err := b.c.WaitPID(pid)
	must(b.t, err)
	return status
}

func (b *box) execute(path string, acts ...string) (int32, error) {
	return b.c.Execute(b.conf, &control.ExecArgs{Filename: path,
		Argv: append([]string{probeName}, acts...), Envv: []string{"GOMAXPROCS=2"},
		WorkingDirectory: "/", ContainerID: b.c.ID,
		FilePayload: control.NewFilePayload(map[int]*os.File{1: b.stdout, 2: b.stdout}, nil)})
}

func (b *box) output() string {
	data, err := os.ReadFile(filepath.Join(b.dir, "stdout"))
	must(b.t, err)
	return string(data)
}
