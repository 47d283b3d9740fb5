//go:build amd64

package volume

import (
	"net"
	"strings"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/seccomp"
	"gvisor.dev/gvisor/runsc/fsgofer/extension"

	"surety/base/errs"
	"surety/sandbox"
)

// Register makes the file server ask the providers for the mounts that are theirs. It is called
// before gVisor's command line is run, in the file server's process.
func Register(providers []Provider) {
	if len(providers) == 0 {
		return
	}
	server := &server{providers: map[string]Provider{}, keepers: map[string]net.Conn{}}
	for _, p := range providers {
		server.providers[p.Sort()] = p
	}
	extension.Register(server)
}

// server is the extension of gVisor's file server.
type server struct {
	providers map[string]Provider

	mu      sync.Mutex
	keepers map[string]net.Conn // by the mount's target
}

var _ extension.Extension = (*server)(nil)

// Name implements extension.Extension.
func (s *server) Name() string { return "volume" }

// PrepareGofer connects to the keepers. The mounts stand below goferRoot already.
func (s *server) PrepareGofer(c extension.GoferPrepareContext) (extension.GoferPrepareResult, error) {
	var none extension.GoferPrepareResult
	mounts, err := annotated(c.Spec)
	if err != nil {
		return none, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for target := range mounts {
		conn, err := net.Dial("unix", goferRoot+target+"/"+sandbox.KeeperSocket)
		if err != nil {
			return none, errs.As(errs.Unavailable, err, "volume %s: its keeper", target)
		}
		s.keepers[target] = conn
	}
	return none, nil
}

// goferRoot is where gVisor's file server has the sandbox's mounts before it makes that its root.
const goferRoot = "/root"

// TryHandleMount implements extension.Extension.
func (s *server) TryHandleMount(spec *specs.Spec, mount *specs.Mount, path string, readOnly bool) (
	lisafs.ConnectionImpl, lisafs.ConnectionOpts, error) {
	var none lisafs.ConnectionOpts
	if mount == nil {
		return nil, none, nil
	}
	mounts, err := annotated(spec)
	if err != nil {
		return nil, none, err
	}
	sort, ours := mounts[mount.Destination]
	if !ours {
		return nil, none, nil
	}
	provider := s.providers[sort]
	s.mu.Lock()
	keeper := s.keepers[mount.Destination]
	s.mu.Unlock()
	if provider == nil || keeper == nil {
		return nil, none, errs.New(errs.Invalid, "volume %s: nobody serves volumes of sort %q", path,
			sort)
	}
	fs, err := provider.Open(keeper, path)
	if err != nil {
		return nil, none, err
	}
	log.Infof("Volume %s of sort %s is open", path, sort)
	return &connection{fs: fs}, lisafs.ConnectionOpts{Readonly: readOnly, WalkStatSupported: true,
		SetAttrOnDeleted: true, AllocateOnDeleted: true, OpenOnDeleted: true}, nil
}

// SeccompRules implements extension.Extension: what a volume's files need beyond those of a
// directory, where there is a volume.
func (s *server) SeccompRules() seccomp.SyscallRules {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keepers) == 0 {
		return seccomp.NewSyscallRules()
	}
	return seccomp.MakeSyscallRules(map[uintptr]seccomp.SyscallRule{
		unix.SYS_FDATASYNC:  seccomp.PerArg{seccomp.NonNegativeFD{}},
		unix.SYS_FLOCK:      seccomp.PerArg{seccomp.NonNegativeFD{}},
		unix.SYS_FSTAT:      seccomp.PerArg{seccomp.NonNegativeFD{}},
		unix.SYS_NEWFSTATAT: seccomp.MatchAll{}, // of paths in its own root, as openat is
	})
}

// annotated returns the sort of each mount that is a volume, by target.
func annotated(spec *specs.Spec) (map[string]string, error) {
	mounts := map[string]string{}
	for line := range strings.SplitSeq(spec.Annotations[sandbox.VolumeAnnotation], "\n") {
		if line == "" {
			continue
		}
		sort, target, found := strings.Cut(line, " ")
		if !found || !strings.HasPrefix(target, "/") {
			return nil, errs.New(errs.Invalid, "volume: annotation %q", line)
		}
		mounts[target] = sort
	}
	return mounts, nil
}
