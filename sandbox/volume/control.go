//go:build amd64

package volume

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/lisafs"

	"surety/sys/inode"
)

// control is a handle on an inode: what the kernel inside names it by. It holds the inode, so that
// a file that was unlinked can still be used.
type control struct {
	lisafs.ControlFD
	mount  *connection
	fs     inode.FS
	number inode.Number
}

var _ lisafs.ControlFDImpl = (*control)(nil)

// FD implements lisafs.ControlFDImpl.
func (c *control) FD() *lisafs.ControlFD {
	if c == nil {
		return nil
	}
	return &c.ControlFD
}

// Close implements lisafs.ControlFDImpl.
func (c *control) Close() { c.mount.drop(c.number) }

// child makes a handle on an inode that stands under a name in c.
func (c *control) child(name string, a inode.Attr) (*control, error) {
	if err := c.fs.Hold(a.Number); err != nil {
		return nil, failure(err)
	}
	parent := c.Node()
	var node *lisafs.Node
	parent.WithChildrenMu(func() {
		if node = parent.LookupChildLocked(name); node != nil {
			node.IncRef()
			return
		}
		node = new(lisafs.Node)
		node.InitLocked(name, parent)
	})
	c.mount.handles.Add(1)
	made := &control{mount: c.mount, fs: c.fs, number: a.Number}
	made.ControlFD.Init(c.Conn(), node, linux.FileMode(a.Mode), made)
	return made, nil
}

// give is the answer to a request that made or found an inode.
func (c *control) give(name string, a inode.Attr, err error) (*lisafs.ControlFD, lisafs.Statx, error) {
	if err != nil {
		return nil, lisafs.Statx{}, failure(err)
	}
	made, err := c.child(name, a)
	if err != nil {
		return nil, lisafs.Statx{}, err
	}
	return made.FD(), statOf(a), nil
}

// Stat implements lisafs.ControlFDImpl.
func (c *control) Stat() (lisafs.Statx, error) {
	a, err := c.fs.Stat(c.number)
	return statOf(a), failure(err)
}

// SetStat implements lisafs.ControlFDImpl. All is set, or nothing.
func (c *control) SetStat(r lisafs.SetStatReq) (uint32, error) {
	if r.Mask&unix.STATX_MODE != 0 && c.IsSymlink() {
		return r.Mask, unix.EOPNOTSUPP
	}
	if _, err := c.fs.Change(c.number, changeOf(&r)); err != nil {
		return r.Mask, failure(err)
	}
	return 0, nil
}

func changeOf(r *lisafs.SetStatReq) inode.Change {
	var change inode.Change
	if r.Mask&unix.STATX_MODE != 0 {
		change.Mode = &r.Mode
	}
	if r.Mask&unix.STATX_SIZE != 0 {
		change.Size = &r.Size
	}
	if uid := uint32(r.UID); r.Mask&unix.STATX_UID != 0 && r.UID.Ok() {
		change.UID = &uid
	}
	if gid := uint32(r.GID); r.Mask&unix.STATX_GID != 0 && r.GID.Ok() {
		change.GID = &gid
	}
	if r.Mask&unix.STATX_ATIME != 0 {
		setTime(&change, &change.Atime, inode.SetAtime, r.Atime)
	}
	if r.Mask&unix.STATX_MTIME != 0 {
		setTime(&change, &change.Mtime, inode.SetMtime, r.Mtime)
	}
	return change
}

func setTime(change *inode.Change, field **int64, now uint8, to linux.Timespec) {
	switch to.Nsec {
	case unix.UTIME_OMIT:
	case unix.UTIME_NOW:
		change.Now |= now
	default:
		nanos := to.Sec*secondNanos + to.Nsec
		*field = &nanos
	}
}

// Walk implements lisafs.ControlFDImpl.
func (c *control) Walk(name string) (*lisafs.ControlFD, lisafs.Statx, error) {
	a, err := c.fs.Lookup(c.number, name)
	return c.give(name, a, err)
}

// WalkStat implements lisafs.ControlFDImpl.
func (c *control) WalkStat(path lisafs.StringArray, record func(lisafs.Statx)) error {
	at := c.number
	if len(path) > 0 && path[0] == "" {
		a, err := c.fs.Stat(at)
		if err != nil {
			return failure(err)
		}
		record(statOf(a))
		path = path[1:]
	}
	if c.IsSymlink() {
		return nil
	}
	for _, name := range path {
		a, err := c.fs.Lookup(at, name)
		if failure(err) == unix.ENOENT {
			return nil // what was found so far is the answer
		}
		if err != nil {
			return failure(err)
		}
		record(statOf(a))
		if a.Type() == inode.Link {
			return nil
		}
		at = a.Number
	}
	return nil
}

// Open implements lisafs.ControlFDImpl.
func (c *control) Open(flags uint32) (*lisafs.OpenFD, int, error) {
	if !c.IsRegular() && !c.IsDir() {
		return nil, -1, unix.EPERM
	}
	if flags&unix.O_TRUNC != 0 && c.IsRegular() {
		none := uint64(0)
		if _, err := c.fs.Change(c.number, inode.Change{Size: &none}); err != nil {
			return nil, -1, failure(err)
		}
	}
	return c.open(flags).FD(), -1, nil
}

func (c *control) open(flags uint32) *opened {
	o := &opened{of: c}
	o.OpenFD.Init(c.FD(), flags, o)
	return o
}

// OpenCreate implements lisafs.ControlFDImpl.
func (c *control) OpenCreate(mode linux.FileMode, uid lisafs.UID, gid lisafs.GID, name string,
	flags uint32) (*lisafs.ControlFD, lisafs.Statx, *lisafs.OpenFD, int, error) {
	a, err := c.fs.Make(c.number, name, made(inode.Regular, mode, uid, gid))
	if err != nil {
		return nil, lisafs.Statx{}, nil, -1, failure(err)
	}
	file, err := c.child(name, a)
	if err != nil {
		return nil, lisafs.Statx{}, nil, -1, err
	}
	return file.FD(), statOf(a), file.open(flags).FD(), -1, nil
}

// made describes a new inode; owners that are not given are root.
func made(kind uint32, mode linux.FileMode, uid lisafs.UID, gid lisafs.GID) inode.New {
	m := inode.New{Mode: kind | uint32(mode)&0o7777}
	if uid.Ok() {
		m.UID = uint32(uid)
	}
	if gid.Ok() {
		m.GID = uint32(gid)
	}
	return m
}

// Mkdir implements lisafs.ControlFDImpl.
func (c *control) Mkdir(mode linux.FileMode, uid lisafs.UID, gid lisafs.GID, name string) (
	*lisafs.ControlFD, lisafs.Statx, error) {
	a, err := c.fs.Make(c.number, name, made(inode.Directory, mode, uid, gid))
	return c.give(name, a, err)
}

// Mknod implements lisafs.ControlFDImpl: regular files only, as gVisor has it for the host's.
func (c *control) Mknod(mode linux.FileMode, uid lisafs.UID, gid lisafs.GID, name string, _, _ uint32) (
	*lisafs.ControlFD, lisafs.Statx, error) {
	if mode.FileType() != linux.S_IFREG {
		return nil, lisafs.Statx{}, unix.EPERM
	}
	a, err := c.fs.Make(c.number, name, made(inode.Regular, mode, uid, gid))
	return c.give(name, a, err)
}

// Symlink implements lisafs.ControlFDImpl.
func (c *control) Symlink(name, target string, uid lisafs.UID, gid lisafs.GID) (*lisafs.ControlFD,
	lisafs.Statx, error) {
	m := made(inode.Link, 0o777, uid, gid)
	m.Target = target
	a, err := c.fs.Make(c.number, name, m)
	return c.give(name, a, err)
}

// Link implements lisafs.ControlFDImpl.
func (c *control) Link(dir lisafs.ControlFDImpl, name string) (*lisafs.ControlFD, lisafs.Statx, error) {
	into := dir.(*control)
	a, err := c.fs.Link(c.number, into.number, name)
	return into.give(name, a, err)
}

// StatFS implements lisafs.ControlFDImpl.
func (c *control) StatFS() (lisafs.StatFS, error) {
	s := c.fs.Space()
	return lisafs.StatFS{Type: volumeFileType, BlockSize: statfsBytes, Blocks: s.Bytes / statfsBytes,
		BlocksFree: s.BytesFree / statfsBytes, BlocksAvailable: s.BytesFree / statfsBytes,
		Files: s.Inodes, FilesFree: s.InodesFree, NameLength: s.NameBytes}, nil
}

// Readlink implements lisafs.ControlFDImpl.
func (c *control) Readlink(buffer func(uint32) []byte) (uint16, error) {
	target, err := c.fs.Readlink(c.number)
	if err != nil {
		return 0, failure(err)
	}
	return uint16(copy(buffer(uint32(len(target))), target)), nil
}

// Connect implements lisafs.ControlFDImpl: there are no sockets.
func (c *control) Connect(uint32) (int, error) { return -1, unix.EPERM }

// ConnectWithCreds implements lisafs.ControlFDImpl: there are no sockets.
func (c *control) ConnectWithCreds(uint32, lisafs.UID, lisafs.GID) (int, error) {
	return -1, unix.EPERM
}

// BindAt implements lisafs.ControlFDImpl: there are no sockets.
func (c *control) BindAt(string, uint32, linux.FileMode, lisafs.UID, lisafs.GID) (*lisafs.ControlFD,
	lisafs.Statx, *lisafs.BoundSocketFD, int, error) {
	return nil, lisafs.Statx{}, nil, -1, unix.EPERM
}

// Unlink implements lisafs.ControlFDImpl.
func (c *control) Unlink(name string, flags uint32) error {
	if flags&unix.AT_REMOVEDIR != 0 {
		return failure(c.fs.Rmdir(c.number, name))
	}
	return failure(c.fs.Unlink(c.number, name))
}

// RenameAt implements lisafs.ControlFDImpl.
func (c *control) RenameAt(old string, dir lisafs.ControlFDImpl, name string) error {
	return c.RenameAt2(old, dir, name, 0)
}

// RenameAt2 implements lisafs.ControlFDImpl.
func (c *control) RenameAt2(old string, dir lisafs.ControlFDImpl, name string, flags uint32) error {
	return failure(c.fs.Rename(c.number, old, dir.(*control).number, name, flags))
}

// Renamed implements lisafs.ControlFDImpl: an inode's number stays.
func (c *control) Renamed() {}

// GetXattr implements lisafs.ControlFDImpl.
func (c *control) GetXattr(name string, size uint32, buffer func(uint32) []byte) (uint16, error) {
	value, err := c.fs.Xattr(c.number, name)
	switch {
	case err != nil:
		return 0, failure(err)
	case len(value) > 1<<16-1, size > 0 && uint32(len(value)) > size:
		return 0, unix.ERANGE
	}
	return uint16(copy(buffer(uint32(len(value))), value)), nil
}

// SetXattr implements lisafs.ControlFDImpl.
func (c *control) SetXattr(name, value string, flags uint32) error {
	return failure(c.fs.SetXattr(c.number, name, value, flags))
}

// ListXattr implements lisafs.ControlFDImpl.
func (c *control) ListXattr(uint64) (lisafs.StringArray, error) {
	names, err := c.fs.Xattrs(c.number)
	return names, failure(err)
}

// RemoveXattr implements lisafs.ControlFDImpl.
func (c *control) RemoveXattr(name string) error {
	return failure(c.fs.RemoveXattr(c.number, name))
}
