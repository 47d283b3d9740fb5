package vfs

import (
	"errors"
	"os"
	"path/filepath"

	"surety/base/errs"
)

// WriteWhole makes content the content of the named file in one step that survives a power cut
// whole or not at all: it is for small files, such as keys and tables. The name with ".new" after
// it is used on the way; what an earlier attempt left there is replaced.
func WriteWhole(fs FS, name string, content []byte) error {
	draft := name + ".new"
	if err := fs.Remove(draft); err != nil && !errs.Is(err, errs.NotFound) {
		return err // what is left would otherwise show behind a shorter content
	}
	f, err := fs.Open(draft, Create|Exclusive)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(draft, name); err != nil {
		return err
	}
	return fs.SyncDir(filepath.Dir(name))
}

// ReadWhole returns the content of the named file; kind NotFound where there is none, TooLarge
// where it is longer than limit bytes.
func ReadWhole(fs FS, name string, limit int64) ([]byte, error) {
	f, err := fs.Open(name, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() // nothing was written
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, errs.New(errs.TooLarge, "vfs.read: %s has %d bytes, the limit is %d", name, size, limit)
	}
	content := make([]byte, size)
	return content, ReadFull(f, content, 0)
}

// RequirePrivate refuses a file that anybody but its owner may read or write, kind Forbidden: it
// is for keys, which somebody may have copied into place.
func (OS) RequirePrivate(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return osError(err, "stat", name)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return errs.New(errs.Forbidden, "vfs.stat: %s has mode %04o, want 0600", name, mode)
	}
	return nil
}
