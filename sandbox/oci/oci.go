// Package oci is the binary under the name surety-runtime: an OCI runtime, as containerd, Podman and
// Kubernetes call one.
//
// Think of it as a translation: a bundle becomes a runtime.Spec, a command line becomes one call on
// a runtime.Host, and the process that the caller watches is the sandbox's supervisor, which lives
// as long as the container and exits with its code. Every container has a kernel of its own, also
// within a pod; what a pod shares is its network namespace.
//
// # Invariants
//
//   - A bundle with a field that is unknown, or that would have no effect, is refused with the
//     field's name. Fields that speak of the host's kernel and say nothing to a kernel of our own
//     are listed in bundle.go with the reason why they are taken.
//   - A command that fails leaves nothing behind.
//
// # Boundaries
//
// Policy and audit are the sandbox's own; a bundle names its policy by annotation (annotations.go).
//
// # Sources
//
// OCI Runtime Specification 1.2.1 (runtime.md, config.md, config-linux.md, features.md); the command
// line is runc's, as containerd's shim calls it (go-runc).
package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sandbox/runtime"
	"surety/sys/wallclock"
)

// Name is what the binary is called to be this program.
const Name = "surety-runtime"

// IsRuntime reports whether the process was started to be an OCI runtime.
func IsRuntime(argv []string) bool { return filepath.Base(argv[0]) == Name }

// Main runs one command and returns the exit status.
func Main(argv []string, lookup Lookup) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	c := &call{out: os.Stdout, lookup: lookup, clock: wallclock.System()}
	code, err := c.run(ctx, argv[1:])
	if err == nil {
		return code
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", Name, err)
	c.complain(err)
	return 1
}

// call is one command line.
type call struct {
	out    io.Writer
	lookup Lookup
	clock  wallclock.Clock
	root   string // state directory
	trails string
	log    string // where errors go besides, as JSON where asked
	json   bool
}

// verbs are the commands.
var verbs = map[string]func(*call, context.Context, []string) (int, error){
	"create": (*call).create, "start": (*call).start, "run": (*call).runBundle,
	"state": (*call).state, "kill": (*call).kill, "delete": (*call).delete, "exec": (*call).exec,
	"ps": (*call).ps, "pause": (*call).pause, "resume": (*call).resume, "events": (*call).events,
	"checkpoint": (*call).checkpoint, "restore": (*call).restore, "features": (*call).features,
	"list": (*call).list,
}

func (c *call) run(ctx context.Context, args []string) (int, error) {
	set := newFlags("global options")
	version := false
	set.string(&c.root, "root", defaultRoot)
	set.string(&c.log, "log", "")
	format := set.string(new(string), "log-format", "text")
	set.bool(&version, "version")
	set.bool(&version, "v")
	set.ignored("debug", "systemd-cgroup", "rootless")
	rest, err := set.parse(args)
	if err != nil {
		return 0, err
	}
	c.json = *format == "json"
	c.trails = c.lookup.trails()
	if version {
		fmt.Fprintf(c.out, "%s version 1\nspec: %s\n", Name, specVersion)
		return 0, nil
	}
	if len(rest) == 0 {
		return 0, errs.New(errs.Invalid, "which command? one of %s", verbNames())
	}
	do, known := verbs[rest[0]]
	if !known {
		return 0, errs.New(errs.Invalid, "no command %q; one of %s", rest[0], verbNames())
	}
	code, err := do(c, ctx, rest[1:])
	return code, errs.Wrap(err, "%s", rest[0])
}

// complain writes an error where the caller looks for it.
func (c *call) complain(cause error) {
	if c.log == "" {
		return
	}
	f, err := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	now := timeOf(c.clock.Now()).UTC().Format(time.RFC3339Nano)
	if !c.json {
		fmt.Fprintf(f, "time=%q level=error msg=%q\n", now, cause)
		return
	}
	_ = json.NewEncoder(f).Encode(map[string]string{"level": "error", "msg": cause.Error(), "time": now})
}

// timeOf is an instant as the standard library has it.
func timeOf(t clock.Instant) time.Time { return time.Unix(0, int64(t)) }

func (c *call) host() (*runtime.Host, error) {
	return runtime.Open(runtime.Config{Root: c.root, Trails: c.trails})
}

// find is the sandbox that the only argument names.
func (c *call) find(args []string) (*runtime.Sandbox, error) {
	if len(args) != 1 {
		return nil, errs.New(errs.Invalid, "takes one container id, got %q", args)
	}
	host, err := c.host()
	if err != nil {
		return nil, err
	}
	return host.Find(args[0])
}
