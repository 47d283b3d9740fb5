package state

import (
	"syscall"

	"surety/sys/inode"
)

// Stat implements inode.FS.
func (v *Volume) Stat(number inode.Number) (inode.Attr, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	n, err := v.at(number)
	if err != nil {
		return inode.Attr{}, err
	}
	return n.attr(v.tree), nil
}

// Change implements inode.FS.
func (v *Volume) Change(number inode.Number, c inode.Change) (inode.Attr, error) {
	defer v.mu.Unlock()
	if err := v.begin(); err != nil {
		return inode.Attr{}, err
	}
	n, err := v.at(number)
	if err != nil {
		return inode.Attr{}, err
	}
	now := v.now()
	if c.Size != nil {
		if err := v.resize(n, *c.Size); err != nil {
			return inode.Attr{}, err
		}
		n.mtime = now
	}
	if c.Mode != nil {
		n.mode = n.kind() | *c.Mode&0o7777
	}
	set(&n.uid, c.UID)
	set(&n.gid, c.GID)
	if c.Now&inode.SetAtime != 0 {
		n.atime = now
	}
	if c.Now&inode.SetMtime != 0 {
		n.mtime = now
	}
	set(&n.atime, c.Atime)
	set(&n.mtime, c.Mtime)
	n.ctime = now
	v.touch(n)
	return n.attr(v.tree), nil
}

func set[T any](field *T, to *T) {
	if to != nil {
		*field = *to
	}
}

// Space implements inode.FS.
func (v *Volume) Space() inode.Space {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return inode.Space{Bytes: v.config.Bytes, BytesFree: v.config.Bytes - min(v.tree.used, v.config.Bytes),
		Inodes: MaxInodes, InodesFree: MaxInodes - uint64(len(v.tree.nodes)), NameBytes: maxNameBytes}
}

// How SetXattr treats a name that is there, as in setxattr(2).
const (
	xattrCreate  = 1
	xattrReplace = 2
)

// Xattr implements inode.FS.
func (v *Volume) Xattr(number inode.Number, name string) (string, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	n, err := v.at(number)
	if err != nil {
		return "", err
	}
	value, there := n.xattrs[name]
	if !there {
		return "", syscall.ENODATA
	}
	return value, nil
}

// SetXattr implements inode.FS.
func (v *Volume) SetXattr(number inode.Number, name, value string, flags uint32) error {
	defer v.mu.Unlock()
	if err := v.begin(); err != nil {
		return err
	}
	n, err := v.at(number)
	if err != nil {
		return err
	}
	old, there := n.xattrs[name]
	switch {
	case name == "" || len(name) > maxXattrName:
		return syscall.ERANGE
	case flags&xattrCreate != 0 && there:
		return syscall.EEXIST
	case flags&xattrReplace != 0 && !there:
		return syscall.ENODATA
	case n.xattrBytes()-len(old)+len(name)+len(value) > maxXattrBytes:
		return syscall.ENOSPC
	}
	n.setXattr(name, value)
	n.ctime = v.now()
	v.touch(n)
	return nil
}

func (n *node) xattrBytes() int {
	total := 0
	for name, value := range n.xattrs {
		total += len(name) + len(value)
	}
	return total
}

// Xattrs implements inode.FS.
func (v *Volume) Xattrs(number inode.Number) ([]string, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	n, err := v.at(number)
	if err != nil {
		return nil, err
	}
	return sortedKeys(n.xattrs), nil
}

// RemoveXattr implements inode.FS.
func (v *Volume) RemoveXattr(number inode.Number, name string) error {
	defer v.mu.Unlock()
	if err := v.begin(); err != nil {
		return err
	}
	n, err := v.at(number)
	if err != nil {
		return err
	}
	if _, there := n.xattrs[name]; !there {
		return syscall.ENODATA
	}
	delete(n.xattrs, name)
	n.ctime = v.now()
	v.touch(n)
	return nil
}
