package pack

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"surety/base/errs"
)

// tmpPrefix begins the names of directories in a project in which a bundle is being made.
const tmpPrefix = ".build-"

// hold keeps other commands from changing the project, and clears up after one that was killed. Kind
// Locked where another command is at it. The lock ends with the file, or with the process.
func (p *Project) hold() (*os.File, error) {
	dir, err := os.Open(p.Dir)
	if err != nil {
		return nil, fileError(err, "pack.project")
	}
	err = syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = errs.New(errs.Locked, "pack.project: another command is changing %s", p.Dir)
	case err != nil:
		err = fileError(err, "pack.project: lock %s", p.Dir)
	default:
		err = p.mend()
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

// mend finishes what a killed build had begun: where it had put the old bundle aside, the new one
// was whole.
func (p *Project) mend() error {
	left, err := filepath.Glob(filepath.Join(p.Dir, tmpPrefix+"*"))
	if err != nil {
		return nil // a directory whose name is a pattern: what is left there stays
	}
	for _, dir := range left {
		_, missing := os.Lstat(p.BundlePath())
		_, aside := os.Lstat(filepath.Join(dir, "old"))
		if errors.Is(missing, os.ErrNotExist) && aside == nil {
			if err := os.Rename(filepath.Join(dir, "new"), p.BundlePath()); err != nil {
				return fileError(err, "pack.project: mend")
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			return fileError(err, "pack.project: mend")
		}
	}
	return nil
}
