//go:build amd64

package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/lisafs"

	"surety/base/errs"
	"surety/sandbox"
	"surety/sys/inode"
)

func TestAnnotated(t *testing.T) {
	spec := &specs.Spec{Annotations: map[string]string{
		sandbox.VolumeAnnotation: "state /a\nstate /b c\n"}}
	got, err := annotated(spec)
	if err != nil || !maps.Equal(got, map[string]string{"/a": "state", "/b c": "state"}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"state", "state a", "/a"} {
		spec.Annotations[sandbox.VolumeAnnotation] = bad
		if _, err := annotated(spec); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestFailure(t *testing.T) {
	for _, c := range []struct{ err, want error }{
		{nil, nil},
		{syscall.ENOENT, syscall.ENOENT},
		{fmt.Errorf("wrapped: %w", syscall.ENOTEMPTY), syscall.ENOTEMPTY},
		{errs.New(errs.NoSpace, "the disk is full"), syscall.ENOSPC},
		{errs.New(errs.TooLarge, "large"), syscall.EFBIG},
		{errs.New(errs.Corrupt, "changed"), syscall.EIO},
		{errs.As(errs.NoSpace, syscall.EDQUOT, "write"), syscall.ENOSPC}, // the host's, not the volume's
		{errs.As(errs.Locked, syscall.EAGAIN, "lease"), syscall.EIO},
		{errors.New("odd"), syscall.EIO},
	} {
		if got := failure(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

func TestTimes(t *testing.T) {
	for nanos, want := range map[int64]lisafs.StatxTimestamp{
		0: {}, 1: {Nsec: 1}, 1_500_000_000: {Sec: 1, Nsec: 500_000_000},
		-1: {Sec: -1, Nsec: 999_999_999}, -1_000_000_000: {Sec: -1},
	} {
		if got := timeOf(nanos); got != want {
			t.Errorf("%d: %+v, want %+v", nanos, got, want)
		}
	}
}

func TestChangeOf(t *testing.T) {
	r := lisafs.SetStatReq{Mask: linux.STATX_MODE | linux.STATX_UID | linux.STATX_GID | linux.STATX_SIZE |
		linux.STATX_ATIME | linux.STATX_MTIME, Mode: 0o640, UID: 7, GID: lisafs.NoGID, Size: 9,
		Atime: linux.Timespec{Sec: 1, Nsec: 2}, Mtime: linux.Timespec{Nsec: linux.UTIME_NOW}}
	c := changeOf(&r)
	if *c.Mode != 0o640 || *c.UID != 7 || c.GID != nil || *c.Size != 9 || *c.Atime != 1_000_000_002 ||
		c.Mtime != nil || c.Now != inode.SetMtime {
		t.Errorf("%+v", c)
	}
	r.Mask, r.Atime.Nsec = linux.STATX_ATIME, linux.UTIME_OMIT
	if c := changeOf(&r); c != (inode.Change{}) {
		t.Errorf("%+v", c)
	}
}

// refusing is a provider whose volumes do not open.
type refusing struct{}

func (refusing) Sort() string { return "state" }

func (refusing) Open(net.Conn, string) (inode.FS, error) {
	return nil, errs.New(errs.Refused, "rolled back")
}

// TestMounts sees which mounts are taken: a mount that is a volume is never served as a directory.
func TestMounts(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	s := &server{providers: map[string]Provider{"state": refusing{}},
		keepers: map[string]net.Conn{"/kept": near, "/odd": near}}
	spec := &specs.Spec{Annotations: map[string]string{
		sandbox.VolumeAnnotation: "state /kept\nstate /unprepared\nother /odd"}}
	for target, want := range map[string]errs.Kind{"/kept": errs.Refused, "/unprepared": errs.Invalid,
		"/odd": errs.Invalid} {
		impl, _, err := s.TryHandleMount(spec, &specs.Mount{Destination: target}, target, false)
		if impl != nil || !errs.Is(err, want) {
			t.Errorf("%s: %v, %v", target, impl, err)
		}
	}
	for _, mount := range []*specs.Mount{nil, {Destination: "/plain"}} {
		if impl, _, err := s.TryHandleMount(spec, mount, "/", false); impl != nil || err != nil {
			t.Errorf("%v: %v, %v", mount, impl, err)
		}
	}
	if rules := s.SeccompRules(); rules.Size() == 0 {
		t.Error("no rules with a volume")
	}
	none := &server{}
	if rules := none.SeccompRules(); rules.Size() != 0 {
		t.Error("rules without a volume")
	}
}

// closing counts how a mount ends.
type closing struct {
	inode.FS
	held, closed int
}

func (c *closing) Drop(inode.Number) { c.held-- }

func (c *closing) Close(context.Context) error {
	if c.held != 0 {
		return errors.New("closed before the last handle")
	}
	c.closed++
	return nil
}

func TestLastHandleCloses(t *testing.T) {
	fs := &closing{held: 3}
	mount := &connection{fs: fs}
	mount.handles.Store(3)
	for range 3 {
		if fs.closed != 0 {
			t.Fatal("closed too early")
		}
		mount.drop(inode.Root)
	}
	if fs.closed != 1 {
		t.Errorf("closed %d times", fs.closed)
	}
}
