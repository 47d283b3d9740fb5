// Package presence keeps two nodes out of one data directory, and lets commands find the node that
// runs in it.
//
// A node holds a lock on <data>/node.lock for as long as it runs; the kernel drops the lock when
// the process ends, however it ends. Once it listens it writes <data>/node.json, which says where.
// A record without a lock behind it is what a crash left, and counts as absent.
//
// # Invariants
//
// At most one process holds a directory. The record is replaced whole or not at all.
package presence

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"surety/base/clock"
	"surety/base/errs"
)

const (
	lockName   = "node.lock"
	recordName = "node.json"
)

// Record says where a running node listens.
type Record struct {
	PID int `json:"pid"`
	// Addresses maps the name of a listener ("http", "ledger") to its host:port.
	Addresses map[string]string `json:"addresses"`
	Started   clock.Instant     `json:"started"` // nanoseconds since 1970
	Version   string            `json:"version"`
}

// Hold is a directory held by this process.
type Hold struct {
	dir  string
	lock *os.File
}

// Acquire creates dir where it is absent, and holds it. Where another process does, the error is
// of kind Locked and names its pid; where dir cannot be written, of kind Forbidden.
func Acquire(dir string) (*Hold, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, errs.As(kindOf(err), err, "presence.acquire: %s", dir)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, errs.As(kindOf(err), err, "presence.acquire: %s", dir)
	}
	// An open-file lock, and not flock: Find can test it without taking it, so that a command
	// which looks for a node never keeps one from starting.
	exclusive := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(lock.Fd(), unix.F_OFD_SETLK, &exclusive); err != nil {
		owner := readOwner(dir)
		_ = lock.Close() // nothing was written through it
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			return nil, errs.As(errs.Internal, err, "presence.acquire: %s", dir)
		}
		return nil, errs.New(errs.Locked, "presence.acquire: %s is in use%s", dir, owner)
	}
	return &Hold{dir: dir, lock: lock}, nil
}

// Publish writes the record.
func (h *Hold) Publish(r Record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return errs.As(errs.Internal, err, "presence.publish")
	}
	path := filepath.Join(h.dir, recordName)
	// A crash may lose the record, and then the node is not running: it needs no sync.
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o600); err != nil {
		return errs.As(kindOf(err), err, "presence.publish")
	}
	if err := os.Rename(path+".new", path); err != nil {
		return errs.As(kindOf(err), err, "presence.publish")
	}
	return nil
}

// Release removes the record and lets the directory go.
func (h *Hold) Release() error {
	removed := os.Remove(filepath.Join(h.dir, recordName))
	if errors.Is(removed, fs.ErrNotExist) {
		removed = nil
	}
	if err := errors.Join(removed, h.lock.Close()); err != nil {
		return errs.As(errs.Internal, err, "presence.release: %s", h.dir)
	}
	return nil
}

// Find returns the record of the node that runs in dir. Where none runs the error is of kind
// Unavailable.
func Find(dir string) (Record, error) {
	lock, err := os.Open(filepath.Join(dir, lockName))
	if err != nil {
		return Record{}, errs.New(errs.Unavailable, "presence.find: no node runs in %s", dir)
	}
	defer lock.Close()
	test := unix.Flock_t{Type: unix.F_RDLCK}
	if err := unix.FcntlFlock(lock.Fd(), unix.F_OFD_GETLK, &test); err != nil {
		return Record{}, errs.As(errs.Internal, err, "presence.find: %s", dir)
	}
	if test.Type == unix.F_UNLCK {
		return Record{}, errs.New(errs.Unavailable, "presence.find: no node runs in %s", dir)
	}
	record, err := read(dir)
	if err != nil {
		return Record{}, errs.As(errs.Unavailable, err,
			"presence.find: a node holds %s but does not listen yet", dir)
	}
	return record, nil
}

func read(dir string) (Record, error) {
	data, err := os.ReadFile(filepath.Join(dir, recordName))
	if err != nil {
		return Record{}, err
	}
	var record Record
	if err := json.Unmarshal(data, &record); err != nil {
		return Record{}, err
	}
	return record, nil
}

// readOwner says " by process 123" where the record tells.
func readOwner(dir string) string {
	record, err := read(dir)
	if err != nil || record.PID == 0 {
		return " by another process"
	}
	return " by process " + strconv.Itoa(record.PID)
}

func kindOf(err error) errs.Kind {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		return errs.Forbidden
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return errs.NoSpace
	}
	return errs.Internal
}
