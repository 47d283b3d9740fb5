package image

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/sandbox/image/erofs"
)

// openDirectory prepares an image of a root file system in a directory. There is no short cut for
// one that was added before: only reading it tells what is in it.
func openDirectory(source Source) (*material, error) {
	root, err := os.OpenRoot(source.Where)
	if err != nil {
		return nil, diskError(err, "image.add: directory %s", source.Where)
	}
	m := &material{config: Config{WorkDir: "/"}, close: root.Close}
	m.assemble = func(ctx context.Context) (*assembled, error) {
		w := &hostWalk{stopped: ctx.Err, root: root, options: source.Options, seen: map[inode]*erofs.Node{}}
		a, err := w.assemble()
		return a, errs.Wrap(err, "image.add: directory %s", source.Where)
	}
	return m, nil
}

// inode is a file of the host.
type inode struct{ dev, ino uint64 }

// hostWalk reads a directory of the host. Every access is below root: a directory that is exchanged
// for a symbolic link meanwhile leads nowhere.
type hostWalk struct {
	stopped func() error
	root    *os.Root
	options Options
	device  uint64 // that the root is on
	seen    map[inode]*erofs.Node
	dropped Dropped
}

func (w *hostWalk) assemble() (*assembled, error) {
	info, err := w.root.Lstat(".")
	if err != nil {
		return nil, diskError(err, "read")
	}
	stat, err := statOf(info)
	if err != nil {
		return nil, err
	}
	w.device = stat.Dev
	top := w.node(stat)
	if err := w.fill(top, "."); err != nil {
		return nil, err
	}
	a := &assembled{root: top, dropped: w.dropped}
	if w.options.Part {
		return a, nil
	}
	t := &tree{root: top}
	return a, t.complete()
}

func statOf(info fs.FileInfo) (*syscall.Stat_t, error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, errs.New(errs.Internal, "no stat of %s", info.Name())
	}
	return stat, nil
}

// node returns what the host says of a file.
func (w *hostWalk) node(stat *syscall.Stat_t) *erofs.Node {
	n := &erofs.Node{Mode: uint16(stat.Mode), UID: stat.Uid, GID: stat.Gid}
	if stat.Mtim.Sec > 0 {
		n.Seconds, n.Nanos = stat.Mtim.Sec, uint32(stat.Mtim.Nsec)
	}
	w.options.change(n)
	return n
}

// fill puts into n what the directory at name holds.
func (w *hostWalk) fill(n *erofs.Node, name string) error {
	if err := w.stopped(); err != nil {
		return errs.As(errs.Canceled, err, "stopped at %q", name)
	}
	dir, err := w.root.Open(name)
	if err != nil {
		return diskError(err, "open %q", name)
	}
	children, err := dir.Readdirnames(-1)
	if err = errors.Join(err, dir.Close()); err != nil {
		return diskError(err, "list %q", name)
	}
	slices.Sort(children)
	for _, child := range children {
		if err := w.child(n, child, path.Join(name, child)); err != nil {
			return err
		}
	}
	return nil
}

func (w *hostWalk) child(dir *erofs.Node, base, name string) error {
	info, err := w.root.Lstat(name)
	if err != nil {
		return diskError(err, "read %q", name)
	}
	stat, err := statOf(info)
	if err != nil {
		return err
	}
	id := inode{stat.Dev, stat.Ino}
	if known := w.seen[id]; known != nil && stat.Nlink > 1 && !known.Is(erofs.Directory) {
		return dir.Put(base, known)
	}
	if len(w.seen) >= erofs.MaxNodes {
		return errs.New(errs.TooLarge, "%q is file number %d, the limit is %d", name, len(w.seen)+1,
			erofs.MaxNodes)
	}
	n := w.node(stat)
	w.seen[id] = n
	w.attributes(name)
	switch n.Mode & erofs.TypeMask {
	case erofs.Regular:
		if n.Size = uint64(stat.Size); n.Size > 0 {
			n.Content = &hostContent{root: w.root, name: name, stat: *stat}
		}
	case erofs.Symlink:
		if n.Target, err = w.root.Readlink(name); err != nil {
			return diskError(err, "read the link %q", name)
		}
		n.Mode = erofs.Symlink | 0o777
	case erofs.Directory:
		if stat.Dev != w.device {
			return errs.New(errs.Refused, "%q is on another file system: unmount it first", name)
		}
		err = w.fill(n, name)
	case erofs.Character, erofs.Block:
		switch w.options.Devices {
		case DropDevices:
			w.dropped.add(&w.dropped.Devices, name, "a device node")
			return nil
		case RefuseDevices:
			return errs.New(errs.Refused, "%q is a device node; add it with devices dropped or kept", name)
		}
		n.Device = erofs.DeviceNumber(unix.Major(stat.Rdev), unix.Minor(stat.Rdev))
	}
	if err != nil {
		return err
	}
	return errs.Wrap(dir.Put(base, n), "%q", name)
}

// attributes counts a file's extended attributes that are left out. Those that every file of a
// labelled host has are not counted: they are the host's, not the tree's.
func (w *hostWalk) attributes(name string) {
	names := make([]byte, maxAttributes)
	n, err := unix.Llistxattr(path.Join(w.root.Name(), name), names)
	if err != nil || n == 0 {
		return // a file system without them
	}
	for attribute := range strings.SplitSeq(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		if attribute != "security.selinux" {
			w.dropped.add(&w.dropped.Attributes, name, attribute)
			return
		}
	}
}

// hostContent is a file of the host that must still be the one that was met.
type hostContent struct {
	root *os.Root
	name string
	stat syscall.Stat_t
}

// Open implements erofs.Content.
func (h *hostContent) Open() (io.ReadCloser, error) {
	f, err := h.root.OpenFile(h.name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, diskError(err, "image.add: open %q", h.name)
	}
	info, err := f.Stat()
	if err == nil {
		var now *syscall.Stat_t
		now, err = statOf(info)
		if err == nil && (now.Dev != h.stat.Dev || now.Ino != h.stat.Ino || now.Size != h.stat.Size ||
			now.Mtim != h.stat.Mtim) {
			err = errs.New(errs.Busy, "image.add: %q changed while it was read", h.name)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
