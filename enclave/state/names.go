package state

import (
	"strings"
	"syscall"

	"surety/sys/inode"
)

// checkName refuses what is no name of a file.
func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return syscall.EINVAL
	case len(name) > maxNameBytes:
		return syscall.ENAMETOOLONG
	}
	return nil
}

// at returns an inode: ESTALE where it is gone.
func (v *Volume) at(number inode.Number) (*node, error) {
	if n := v.tree.nodes[number]; n != nil {
		return n, nil
	}
	return nil, syscall.ESTALE
}

// dirAt returns a directory.
func (v *Volume) dirAt(number inode.Number) (*node, error) {
	n, err := v.at(number)
	if err == nil && !n.isDir() {
		err = syscall.ENOTDIR
	}
	return n, err
}

// begin is how every change begins: mu is taken, and the caller releases it. After an error the
// volume takes none.
func (v *Volume) begin() error {
	v.mu.Lock()
	return v.broken
}

// vacant returns the directory that a new name may be put into.
func (v *Volume) vacant(parent inode.Number, name string) (*node, error) {
	dir, err := v.dirAt(parent)
	if err != nil {
		return nil, err
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	if dir.links == 0 {
		return nil, syscall.ENOENT // it was removed
	}
	if _, there := dir.entries[name]; there {
		return nil, syscall.EEXIST
	}
	return dir, nil
}

// Lookup implements inode.FS.
func (v *Volume) Lookup(parent inode.Number, name string) (inode.Attr, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	dir, err := v.dirAt(parent)
	if err != nil {
		return inode.Attr{}, err
	}
	number, there := dir.entries[name]
	if !there {
		if len(name) > maxNameBytes {
			return inode.Attr{}, syscall.ENAMETOOLONG
		}
		return inode.Attr{}, syscall.ENOENT
	}
	return v.tree.nodes[number].attr(v.tree), nil
}

// Make implements inode.FS.
func (v *Volume) Make(parent inode.Number, name string, m inode.New) (inode.Attr, error) {
	defer v.mu.Unlock()
	if err := v.begin(); err != nil {
		return inode.Attr{}, err
	}
	dir, err := v.vacant(parent, name)
	if err != nil {
		return inode.Attr{}, err
	}
	if err := v.admits(m); err != nil {
		return inode.Attr{}, err
	}
	n := newNode(v.tree.next, m.Mode&(inode.TypeMask|0o7777))
	v.tree.next++
	n.uid, n.gid, n.target = m.UID, m.GID, m.Target
	now := v.now()
	n.atime, n.mtime, n.ctime = now, now, now
	v.tree.nodes[n.number] = n
	v.touch(n)
	v.enter(dir, name, n, now)
	return n.attr(v.tree), nil
}

// admits refuses an inode that cannot be.
func (v *Volume) admits(m inode.New) error {
	if len(v.tree.nodes) >= MaxInodes {
		return syscall.ENOSPC
	}
	switch m.Mode & inode.TypeMask {
	case inode.Regular, inode.Directory, inode.Pipe, inode.Socket:
		if m.Target == "" {
			return nil
		}
	case inode.Link:
		switch {
		case len(m.Target) > maxTargetBytes:
			return syscall.ENAMETOOLONG
		case m.Target == "":
			return syscall.ENOENT
		}
		return nil
	default:
		return syscall.EPERM // devices
	}
	return syscall.EINVAL
}

// enter makes name in dir point to n.
func (v *Volume) enter(dir *node, name string, n *node, now int64) {
	dir.entries[name] = n.number
	n.links++
	if n.isDir() {
		n.parent = dir.number
		v.tree.subdirs[dir.number]++
	}
	n.ctime, dir.mtime, dir.ctime = now, now, now
	v.touch(n)
	v.touch(dir)
	v.touchName(dir.number, name)
}

// leaveName makes name in dir point to nothing.
func (v *Volume) leaveName(dir *node, name string, n *node, now int64) {
	delete(dir.entries, name)
	n.links--
	if n.isDir() {
		v.tree.subdirs[dir.number]--
	}
	n.ctime, dir.mtime, dir.ctime = now, now, now
	v.touch(n)
	v.touch(dir)
	v.touchName(dir.number, name)
}

// reap lets an inode go that has no name left, and its content where nobody holds it.
func (v *Volume) reap(n *node) {
	if n.links > 0 {
		return
	}
	if n.known {
		v.news.gone[n.number] = struct{}{}
		n.known = false
	}
	if n.holds > 0 {
		return
	}
	for index := range n.chunks {
		v.unrefer(n, index)
	}
	for _, content := range n.dirty {
		v.dirty -= int64(cap(content))
	}
	v.tree.used -= n.stored
	delete(v.tree.nodes, n.number)
	delete(v.tree.subdirs, n.number)
	delete(v.news.nodes, n.number)
}

// Link implements inode.FS.
func (v *Volume) Link(number, parent inode.Number, name string) (inode.Attr, error) {
	defer v.mu.Unlock()
	if err := v.begin(); err != nil {
		return inode.Attr{}, err
	}
	dir, err := v.vacant(parent, name)
	if err != nil {
		return inode.Attr{}, err
	}
	n, err := v.at(number)
	switch {
	case err != nil:
		return inode.Attr{}, err
	case n.isDir():
		return inode.Attr{}, syscall.EPERM
	case n.links == 0:
		return inode.Attr{}, syscall.ENOENT
	case n.links >= maxLinks:
		return inode.Attr{}, syscall.EMLINK
	}
	v.enter(dir, name, n, v.now())
	return n.attr(v.tree), nil
}

// Unlink implements inode.FS.
func (v *Volume) Unlink(parent inode.Number, name string) error {
	return v.withdraw(parent, name, false)
}

// Rmdir implements inode.FS.
func (v *Volume) Rmdir(parent inode.Number, name string) error {
	return v.withdraw(parent, name, true)
}

func (v *Volume) withdraw(parent inode.Number, name string, wantDir bool) error {
	defer v.mu.Unlock()
	if err := v.begin(); err != nil {
		return err
	}
	dir, err := v.dirAt(parent)
	if err != nil {
		return err
	}
	number, there := dir.entries[name]
	if !there {
		return syscall.ENOENT
	}
	n := v.tree.nodes[number]
	switch {
	case wantDir && !n.isDir():
		return syscall.ENOTDIR
	case !wantDir && n.isDir():
		return syscall.EISDIR
	case wantDir && len(n.entries) > 0:
		return syscall.ENOTEMPTY
	}
	v.leaveName(dir, name, n, v.now())
	v.reap(n)
	return nil
}

// Rename implements inode.FS.
func (v *Volume) Rename(from inode.Number, old string, to inode.Number, name string, how uint32) error {
	defer v.mu.Unlock()
	if err := v.begin(); err != nil {
		return err
	}
	source, err := v.dirAt(from)
	if err != nil {
		return err
	}
	target, err := v.dirAt(to)
	if err != nil {
		return err
	}
	if err := checkName(name); err != nil {
		return err
	}
	number, there := source.entries[old]
	if !there || target.links == 0 {
		return syscall.ENOENT
	}
	n := v.tree.nodes[number]
	present := v.tree.nodes[target.entries[name]]
	if err := v.movable(n, source, present, target, how); err != nil {
		return err
	}
	if present == n {
		return nil // two names of one file: Linux leaves both
	}
	now := v.now()
	v.leaveName(source, old, n, now)
	if present != nil {
		v.leaveName(target, name, present, now)
	}
	v.enter(target, name, n, now)
	switch {
	case how&inode.Exchange != 0:
		v.enter(source, old, present, now)
	case present != nil:
		v.reap(present)
	}
	return nil
}

// movable refuses what rename(2) does. present is what has the new name: nil where nothing has.
func (v *Volume) movable(n, source, present, target *node, how uint32) error {
	switch {
	case how&^(inode.NoReplace|inode.Exchange) != 0 || how == inode.NoReplace|inode.Exchange:
		return syscall.EINVAL
	case how&inode.NoReplace != 0 && present != nil:
		return syscall.EEXIST
	case how&inode.Exchange != 0 && present == nil:
		return syscall.ENOENT
	case n.isDir() && v.below(target, n), how&inode.Exchange != 0 && present.isDir() &&
		v.below(source, present):
		return syscall.EINVAL
	case how&inode.Exchange != 0 || present == nil || present == n:
		return nil
	case present.isDir() && v.below(source, present):
		return syscall.ENOTEMPTY
	case n.isDir() && !present.isDir():
		return syscall.ENOTDIR
	case !n.isDir() && present.isDir():
		return syscall.EISDIR
	case len(present.entries) > 0:
		return syscall.ENOTEMPTY
	}
	return nil
}

// below reports whether dir is top or in it.
func (v *Volume) below(dir, top *node) bool {
	for dir != top && dir.number != inode.Root {
		dir = v.tree.nodes[dir.parent]
	}
	return dir == top
}

// Readlink implements inode.FS.
func (v *Volume) Readlink(number inode.Number) (string, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	n, err := v.at(number)
	if err == nil && n.kind() != inode.Link {
		err = syscall.EINVAL
	}
	if err != nil {
		return "", err
	}
	return n.target, nil
}

// Entries implements inode.FS.
func (v *Volume) Entries(number inode.Number) ([]inode.Entry, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	dir, err := v.dirAt(number)
	if err != nil {
		return nil, err
	}
	list := make([]inode.Entry, 0, len(dir.entries))
	for _, name := range sortedKeys(dir.entries) {
		n := v.tree.nodes[dir.entries[name]]
		list = append(list, inode.Entry{Name: name, Number: n.number, Type: n.kind()})
	}
	return list, nil
}

// Hold implements inode.FS.
func (v *Volume) Hold(number inode.Number) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	n, err := v.at(number)
	if err == nil {
		n.holds++
	}
	return err
}

// Drop implements inode.FS.
func (v *Volume) Drop(number inode.Number) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n := v.tree.nodes[number]; n != nil && n.holds > 0 {
		n.holds--
		v.reap(n)
	}
}
