package oci

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	apitypes "github.com/containerd/containerd/api/types"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"surety/base/errs"
	"surety/sandbox/runtime"
	"surety/sys/wallclock"
)

const (
	// ShimName is what the binary is called to be containerd's shim: the file name that containerd
	// makes of the runtime's name.
	ShimName = "containerd-shim-surety-v1"
	// RuntimeType is that name.
	RuntimeType = "io.containerd.surety.v1"
	// shimVersion is what the shim says of itself.
	shimVersion = "1"
	// podAnnotation names the pod that a container belongs to: one shim serves a pod.
	podAnnotation = "io.kubernetes.cri.sandbox-id"
)

// IsShim reports whether the process was started to be containerd's shim.
func IsShim(argv []string) bool { return filepath.Base(argv[0]) == ShimName }

// shimCall is the command line that containerd starts a shim with.
type shimCall struct {
	namespace, address, id, bundle string
	action                         string // start, delete, or "" to serve
	info, version                  bool

	lookup Lookup
	clock  wallclock.Clock
}

func (c *shimCall) parse(args []string) error {
	set := flag.NewFlagSet(ShimName, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&c.namespace, "namespace", "", "")
	set.StringVar(&c.address, "address", "", "")
	set.StringVar(&c.id, "id", "", "")
	set.StringVar(&c.bundle, "bundle", "", "")
	set.BoolVar(&c.info, "info", false, "")
	set.BoolVar(&c.version, "v", false, "")
	set.String("publish-binary", "", "") // events go through TTRPC_ADDRESS
	set.String("socket", "", "")
	set.Bool("debug", false, "")
	if err := set.Parse(args); err != nil {
		return errs.New(errs.Invalid, "%v", err)
	}
	c.action = set.Arg(0)
	switch {
	case c.info || c.version:
		return nil
	case c.namespace == "" || filepath.Base(c.namespace) != c.namespace:
		return errs.New(errs.Invalid, "-namespace %q is no name", c.namespace)
	case c.id == "":
		return errs.New(errs.Invalid, "-id: missing")
	}
	return nil
}

// ShimMain runs one action and returns the exit status.
func ShimMain(argv []string, lookup Lookup) int {
	c := shimCall{lookup: lookup, clock: wallclock.System()}
	err := c.parse(argv[1:])
	if err == nil {
		err = c.run()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", ShimName, err)
		return 1
	}
	return 0
}

func (c *shimCall) run() error {
	switch {
	case c.version:
		_, err := fmt.Printf("%s:\n  Version: %s\n", ShimName, shimVersion)
		return err
	case c.info:
		return c.inform()
	}
	if c.bundle == "" {
		dir, err := os.Getwd()
		if err != nil {
			return errs.Wrap(err, "bundle")
		}
		c.bundle = dir
	}
	switch c.action {
	case "start":
		return c.start()
	case "delete":
		return c.delete()
	case "":
		return c.serve()
	}
	return errs.New(errs.Invalid, "no action %q; one of start delete", c.action)
}

// root is where containers' state goes: SURETY_RUNTIME_ROOT, or the default.
func (c *shimCall) root() string { return c.lookup.or("SURETY_RUNTIME_ROOT", defaultRoot) }

// host is the state directory of a containerd namespace.
func (c *shimCall) host() (*runtime.Host, error) {
	return runtime.Open(runtime.Config{Root: filepath.Join(c.root(), c.namespace),
		Trails: c.lookup.trails()})
}

// pod is whom a shim serves: the pod that the bundle belongs to, or the container alone.
func (c *shimCall) pod() (string, error) {
	content, err := os.ReadFile(filepath.Join(c.bundle, "config.json"))
	if err != nil {
		return "", errs.Wrap(err, "bundle")
	}
	var of struct {
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(content, &of); err != nil {
		return "", errs.As(errs.Invalid, err, "config.json")
	}
	if pod := of.Annotations[podAnnotation]; pod != "" {
		return pod, nil
	}
	return c.id, nil
}

// start finds or starts the process that serves, and says where it listens.
func (c *shimCall) start() error {
	pod, err := c.pod()
	if err != nil {
		return err
	}
	path, err := c.socketPath(pod)
	if err != nil {
		return err
	}
	if !answers(path) {
		if err := c.spawn(path); err != nil {
			return err
		}
	}
	address := "unix://" + path
	// containerd reads the file when it comes back after a restart.
	if err := os.WriteFile(filepath.Join(c.bundle, "address"), []byte(address), 0o600); err != nil {
		return errs.Wrap(err, "bundle")
	}
	_, err = fmt.Print(address)
	return errs.Wrap(err, "write answer")
}

// serve answers until the last container is deleted.
func (c *shimCall) serve() error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)) // which spawn has set
	signal.Ignore(unix.SIGHUP, unix.SIGPIPE)
	host, err := c.host()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	s := &shim{host: host, log: log, tasks: map[string]*task{}, done: make(chan struct{}),
		clock: c.clock, events: &publisher{namespace: c.namespace, log: log, clock: c.clock,
			address: strings.TrimPrefix(c.lookup.or("TTRPC_ADDRESS", ""), "unix://")}}
	s.events.open(ctx)
	defer s.events.close()
	if err := s.listen(ctx, listenerFD); err != nil {
		log.Error("shim", "error", err)
		return err
	}
	return nil
}

// shimLog is the pipe that containerd gives a shim to log to; nil where nobody listens.
func shimLog(bundle string) *os.File {
	fd, err := unix.Open(filepath.Join(bundle, "log"), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), "log")
}

// delete removes what a shim that died left, and answers as it would have.
func (c *shimCall) delete() error {
	host, err := c.host()
	if err != nil {
		return err
	}
	ended := runtime.State{ExitCode: 128 + int(unix.SIGKILL), Ended: timeOf(c.clock.Now())}
	s, err := host.Find(c.id)
	if err == nil {
		if st, err := s.State(); err == nil && st.Status == runtime.Stopped {
			ended = st
		}
		err = s.Remove(context.Background(), true)
	}
	if err != nil && !errs.Is(err, errs.NotFound) {
		return err
	}
	if err := unmountAll(filepath.Join(c.bundle, "rootfs")); err != nil {
		return err
	}
	if pod, err := c.pod(); err == nil {
		if path, err := c.socketPath(pod); err == nil && !answers(path) {
			_ = os.Remove(path)
		}
	}
	return answerProto(&taskapi.DeleteResponse{ExitStatus: uint32(ended.ExitCode),
		ExitedAt: timestamppb.New(ended.Ended)})
}

// inform says what this runtime is and can do.
func (c *shimCall) inform() error {
	can, err := json.Marshal(capabilities())
	if err != nil {
		return errs.Wrap(err, "encode features")
	}
	const featuresType = "types.containerd.io/opencontainers/runtime-spec/1/features/Features"
	return answerProto(&apitypes.RuntimeInfo{Name: RuntimeType,
		Version:  &apitypes.RuntimeVersion{Version: shimVersion},
		Features: &anypb.Any{TypeUrl: featuresType, Value: can}})
}

func answerProto(m proto.Message) error {
	content, err := proto.Marshal(m)
	if err != nil {
		return errs.Wrap(err, "encode answer")
	}
	_, err = os.Stdout.Write(content)
	return errs.Wrap(err, "write answer")
}

// unmountAll takes away all that is mounted at a place; nothing, where nothing is.
func unmountAll(path string) error {
	for range maxRootMounts {
		err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EBUSY) {
			err = unix.Unmount(path, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
		}
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return errs.Wrap(err, "unmount %s", path)
		}
	}
	return errs.New(errs.TooLarge, "unmount %s: more than %d mounts", path, maxRootMounts)
}
