package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// OS is the machine's own file system. Its zero value is ready.
type OS struct{}

var _ FS = OS{}

const (
	fileMode = 0o600 // the ledger's files are nobody else's
	dirMode  = 0o700
)

// Open implements FS. A Direct that the file system refuses is quietly an ordinary open: it is a
// matter of speed, never of durability.
func (OS) Open(name string, mode Mode) (File, error) {
	flags := os.O_RDONLY
	if mode&(Writable|Create) != 0 {
		flags = os.O_RDWR
	}
	if mode&Create != 0 {
		flags |= os.O_CREATE
	}
	if mode&Exclusive != 0 {
		flags |= os.O_EXCL
	}
	if mode&Direct != 0 {
		f, err := os.OpenFile(name, flags|unix.O_DIRECT, fileMode)
		if err == nil {
			file := &osFile{f: f, name: name}
			file.direct.Store(true)
			return file, nil
		}
		if !errors.Is(err, unix.EINVAL) {
			return nil, osError(err, "open", name)
		}
		flags &^= os.O_EXCL // the refused open may have made the name
	}
	f, err := os.OpenFile(name, flags, fileMode)
	if err != nil {
		return nil, osError(err, "open", name)
	}
	return &osFile{f: f, name: name}, nil
}

// Remove implements FS.
func (OS) Remove(name string) error { return osError(os.Remove(name), "remove", name) }

// Rename implements FS.
func (OS) Rename(from, to string) error { return osError(os.Rename(from, to), "rename", from) }

// List implements FS.
func (OS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, osError(err, "list", dir)
	}
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names, nil
}

// MakeDir implements FS.
func (OS) MakeDir(dir string) error { return osError(os.MkdirAll(dir, dirMode), "make", dir) }

// SyncDir implements FS.
func (OS) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return osError(err, "sync", dir)
	}
	err = f.Sync()
	return osError(errors.Join(err, f.Close()), "sync", dir)
}

// Lock implements FS with flock(2), which the kernel releases when the process ends however it
// ends. The file holds the process id of its last holder and is never removed: a removed lock
// file lets two processes lock two files of one name.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, osError(err, "lock", name)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		holder := lockHolder(f)
		_ = f.Close() // nothing was written through it
		if err == unix.EWOULDBLOCK {
			return nil, errs.New(errs.Locked, "vfs.lock: %s is held by process %s", name, holder)
		}
		return nil, osError(err, "lock", name)
	}
	if err := writeHolder(f); err != nil {
		return nil, osError(errors.Join(err, f.Close()), "lock", name)
	}
	return f, nil
}

func lockHolder(f *os.File) string {
	text := make([]byte, 20)
	n, _ := f.ReadAt(text, 0) // an unreadable holder is still a holder
	holder := strings.TrimSpace(string(text[:n]))
	if _, err := strconv.Atoi(holder); err != nil {
		return "(unknown)"
	}
	return holder
}

func writeHolder(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// osFile is a file of the machine. direct falls to false for good when a file system accepts
// O_DIRECT at open and refuses it at the first write.
type osFile struct {
	f      *os.File
	name   string
	direct atomic.Bool
}

// ReadAt implements File.
func (f *osFile) ReadAt(p []byte, offset int64) (int, error) {
	n, err := f.f.ReadAt(p, offset)
	if err == nil || err == io.EOF {
		return n, err
	}
	if f.dropDirect(err) {
		return f.ReadAt(p, offset)
	}
	return n, osError(err, "read", f.name)
}

// WriteAt implements File.
func (f *osFile) WriteAt(p []byte, offset int64) (int, error) {
	n, err := f.f.WriteAt(p, offset)
	if err == nil {
		return n, nil
	}
	if f.dropDirect(err) {
		return f.WriteAt(p, offset)
	}
	return n, osError(err, "write", f.name)
}

// dropDirect switches the file to cached writes after EINVAL and reports whether it did.
func (f *osFile) dropDirect(err error) bool {
	if !errors.Is(err, unix.EINVAL) || !f.direct.CompareAndSwap(true, false) {
		return false
	}
	flags, err := unix.FcntlInt(f.f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return false
	}
	_, err = unix.FcntlInt(f.f.Fd(), unix.F_SETFL, flags&^unix.O_DIRECT)
	return err == nil
}

// Sync implements File with fdatasync(2), which leaves out only times of access and change.
func (f *osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.f.Fd()))
		if err == unix.EINTR { // interrupted before it looked: not yet an answer
			continue
		}
		return osError(err, "sync", f.name)
	}
}

// Allocate implements File. Where fallocate is missing it only sets the size, and the writes that
// follow find out whether there is room.
func (f *osFile) Allocate(size int64) error {
	now, err := f.Size()
	if err != nil || now >= size {
		return err
	}
	for {
		err = unix.Fallocate(int(f.f.Fd()), 0, 0, size)
		if err != unix.EINTR {
			break
		}
	}
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		err = f.f.Truncate(size)
	}
	return osError(err, "allocate", f.name)
}

// Size implements File.
func (f *osFile) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, osError(err, "stat", f.name)
	}
	return info.Size(), nil
}

// Close implements File.
func (f *osFile) Close() error { return osError(f.f.Close(), "close", f.name) }

// osError gives a system error its kind and a text with the operation and the file's base name.
func osError(err error, op, name string) error {
	if err == nil {
		return nil
	}
	cause := err
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		cause = path.Err
	case errors.As(err, &link):
		cause = link.Err
	}
	return errs.As(kindOf(cause), cause, "vfs.%s: %s", op, filepath.Clean(name))
}

func kindOf(err error) errs.Kind {
	var number syscall.Errno
	if !errors.As(err, &number) {
		if errors.Is(err, fs.ErrNotExist) {
			return errs.NotFound
		}
		return errs.Internal
	}
	switch number {
	case unix.ENOSPC, unix.EDQUOT, unix.EFBIG:
		return errs.NoSpace
	case unix.EROFS, unix.EACCES, unix.EPERM:
		return errs.Forbidden
	case unix.ENOENT:
		return errs.NotFound
	case unix.EEXIST:
		return errs.Exists
	}
	return errs.Internal
}
