//go:build amd64

package volume

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/lisafs"
	"gvisor.dev/gvisor/pkg/log"

	"surety/base/errs"
	"surety/sys/inode"
)

// connection answers for one mount.
type connection struct {
	fs      inode.FS
	handles atomic.Int64 // that the kernel inside has; the mount's own is the last to go
}

var _ lisafs.ConnectionImpl = (*connection)(nil)

// Mount implements lisafs.ConnectionImpl.
func (c *connection) Mount(conn *lisafs.Connection, at *lisafs.Node) (*lisafs.ControlFD,
	lisafs.Statx, int, error) {
	attr, err := c.fs.Stat(inode.Root)
	if err == nil {
		err = c.fs.Hold(inode.Root)
	}
	if err != nil {
		return nil, lisafs.Statx{}, -1, failure(err)
	}
	at.IncRef() // the descriptor's
	c.handles.Add(1)
	fd := &control{mount: c, fs: c.fs, number: inode.Root}
	fd.ControlFD.Init(conn, at, linux.FileMode(attr.Mode), fd)
	return fd.FD(), statOf(attr), -1, nil
}

// SupportedMessages implements lisafs.ConnectionImpl. BindAt is among them to be
// refused with EPERM: gVisor then keeps the program's socket itself, as it does pipes.
func (c *connection) SupportedMessages() []lisafs.MID {
	return []lisafs.MID{
		lisafs.Mount, lisafs.Channel, lisafs.FStat, lisafs.SetStat, lisafs.Walk, lisafs.WalkStat,
		lisafs.OpenAt, lisafs.OpenCreateAt, lisafs.Close, lisafs.FSync, lisafs.PWrite, lisafs.PRead,
		lisafs.MkdirAt, lisafs.MknodAt, lisafs.SymlinkAt, lisafs.LinkAt, lisafs.FStatFS,
		lisafs.FAllocate, lisafs.ReadLinkAt, lisafs.UnlinkAt, lisafs.RenameAt, lisafs.RenameAt2,
		lisafs.Getdents64, lisafs.FGetXattr, lisafs.FSetXattr, lisafs.FListXattr,
		lisafs.FRemoveXattr, lisafs.BindAt,
	}
}

// MaxMessageSize implements lisafs.ConnectionImpl.
func (c *connection) MaxMessageSize() uint32 { return lisafs.MaxMessageSize() }

// drop takes a handle back, and closes the volume with the last one.
func (c *connection) drop(n inode.Number) {
	c.fs.Drop(n)
	if c.handles.Add(-1) > 0 {
		return
	}
	if err := c.fs.Close(context.Background()); err != nil {
		log.Warningf("volume: close: %v", err)
	}
}

// failure is an error as the protocol carries it: a refusal as it is, the rest as what it means to
// a program, with the reason in the log.
func failure(err error) error {
	var ours *errs.Error
	var refusal syscall.Errno
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &ours) && errors.As(err, &refusal):
		return refusal
	}
	log.Warningf("volume: %v", err)
	switch errs.KindOf(err) {
	case errs.NoSpace:
		return unix.ENOSPC
	case errs.TooLarge:
		return unix.EFBIG
	}
	return unix.EIO
}

// The block that sizes are counted in, and the size of reads and writes that suits a volume.
const (
	blockBytes     = 512
	suitableBytes  = 32 << 10
	statfsBytes    = 4096
	volumeFileType = 0x53555245 // of statfs(2): ours
)

// statOf is an inode's attributes in the protocol's form. The device is the sandbox's to number.
func statOf(a inode.Attr) lisafs.Statx {
	return lisafs.Statx{
		Mask:    unix.STATX_BASIC_STATS,
		Blksize: suitableBytes,
		Nlink:   a.Links,
		UID:     a.UID,
		GID:     a.GID,
		Mode:    uint16(a.Mode),
		Ino:     uint64(a.Number),
		Size:    a.Size,
		Blocks:  (a.Stored + blockBytes - 1) / blockBytes,
		Atime:   timeOf(a.Atime),
		Mtime:   timeOf(a.Mtime),
		Ctime:   timeOf(a.Ctime),
	}
}

const secondNanos = 1_000_000_000

func timeOf(nanos int64) lisafs.StatxTimestamp {
	seconds := nanos / secondNanos
	if nanos%secondNanos < 0 {
		seconds--
	}
	return lisafs.StatxTimestamp{Sec: seconds, Nsec: uint32(nanos - seconds*secondNanos)}
}
