package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"surety/base/errs"
)

// Share returns the sealed memory of an image, so that all sandboxes of a host that run from it
// use one copy: that of a live process that published its own in dir, or one made here by Seal.
// Either way this process publishes what it holds, so the copy outlives whoever made it. Close
// takes the notice away; that of a process that died is removed by the next Share.
//
// A notice is an empty file HEX.PID.START.FD: which image, which process, since when in clock
// ticks, and where it has it open. It is believed only as far as it can be checked: the process
// lives since then, and what it has open there is memory with all seals, made for this digest. A
// process of our own user that runs our own program has hashed it as we would; what anybody else
// offers is hashed again.
//
// dir must be the user's alone: kind Forbidden where others may write in it.
func Share(ctx context.Context, dir, path, digest string) (*Sealed, error) {
	if !digestForm(digest) {
		return nil, errs.New(errs.Invalid, "image.share: %q is not a digest", digest)
	}
	if err := ownDirectory(dir); err != nil {
		return nil, err
	}
	held, err := acquire(ctx, filepath.Join(dir, "lock"), byteOf(digest))
	if err != nil {
		return nil, err
	}
	s, err := borrow(ctx, dir, digest)
	if err == nil && s == nil {
		s, err = Seal(ctx, path, digest)
	}
	if err == nil {
		err = s.publish(dir)
	}
	return s, errors.Join(err, held.release())
}

// ownDirectory makes dir where it is absent.
func ownDirectory(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return diskError(err, "image.share")
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return diskError(err, "image.share")
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || info.Mode().Perm()&0o022 != 0 || int(stat.Uid) != os.Geteuid() {
		return errs.New(errs.Forbidden, "image.share: %s must be a directory that its user alone may write",
			dir)
	}
	return nil
}

// borrow opens the image of the first live process that has it; nil where there is none. Notices of
// the dead are removed. The lock of the digest is held.
func borrow(ctx context.Context, dir, digest string) (*Sealed, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, diskError(err, "image.share")
	}
	names, err := d.Readdirnames(maxHolders)
	_ = d.Close() // it was only read
	if err != nil && len(names) == 0 {
		return nil, diskError(err, "image.share")
	}
	slices.Sort(names)
	for _, name := range names {
		if !strings.HasPrefix(name, hexOf(digest)+".") {
			continue
		}
		s, err := borrowFrom(ctx, name, digest)
		if s != nil || errs.Is(err, errs.Canceled) {
			return s, err
		}
		if errs.Is(err, errs.NotFound) {
			err = os.Remove(filepath.Join(dir, name))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, diskError(err, "image.share")
			}
		}
	}
	return nil, nil
}

// borrowFrom opens what a notice tells of. Kind NotFound where it is of a process that is gone, or
// that has something else open there by now.
func borrowFrom(ctx context.Context, notice, digest string) (*Sealed, error) {
	stale := errs.New(errs.NotFound, "image.share: the notice %s is of the past", notice)
	pid, start, fd, ok := parseNotice(notice)
	if !ok || startOf(pid) != start {
		return nil, stale
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
	if errors.Is(err, os.ErrNotExist) {
		return nil, stale
	}
	if err != nil {
		return nil, diskError(err, "image.share") // a process we may not look into
	}
	if startOf(pid) != start {
		return nil, errors.Join(stale, f.Close())
	}
	s, err := Adopt(ctx, f, digest, isOurs(pid))
	if errs.Is(err, errs.Refused) {
		return nil, stale
	}
	return s, err
}

// publish tells others of what this process holds.
func (s *Sealed) publish(dir string) error {
	name := fmt.Sprintf("%s.%d.%s.%d", hexOf(s.Digest), os.Getpid(), startOf(os.Getpid()), s.f.Fd())
	name = filepath.Join(dir, name)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return errors.Join(diskError(err, "image.share"), s.Close())
	}
	s.notice = name
	return nil
}

// parseNotice reads a notice's name.
func parseNotice(name string) (pid int, start string, fd int, ok bool) {
	parts := strings.Split(name, ".")
	if len(parts) != 4 {
		return 0, "", 0, false
	}
	pid, err1 := strconv.Atoi(parts[1])
	fd, err2 := strconv.Atoi(parts[3])
	return pid, parts[2], fd, err1 == nil && err2 == nil && pid > 0 && fd >= 0 && parts[2] != ""
}

// startOf returns when a process began, in clock ticks since the machine did, so that a number that
// was given out again is not taken for the same process; empty where there is no such process.
func startOf(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	end := strings.LastIndexByte(string(stat), ')') // a program may have any name
	fields := strings.Fields(string(stat[end+1:]))
	const startField = 19 // the 22nd of proc_pid_stat(5), the third being the first here
	if len(fields) <= startField || fields[0] == "Z" {
		return ""
	}
	return fields[startField]
}

// isOurs reports whether a process is of this user and runs this very program.
func isOurs(pid int) bool {
	dir, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return false
	}
	stat, ok := dir.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) != os.Geteuid() {
		return false
	}
	theirs, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return false
	}
	ours, err := os.Stat("/proc/self/exe")
	return err == nil && os.SameFile(theirs, ours)
}
