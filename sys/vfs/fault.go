package vfs

import (
	"sync/atomic"

	"surety/base/errs"
)

// OpKind names an operation for a Fault.
type OpKind uint8

// The operations.
const (
	OpOpen     OpKind = 1
	OpCreate   OpKind = 2
	OpRead     OpKind = 3
	OpWrite    OpKind = 4
	OpSync     OpKind = 5
	OpAllocate OpKind = 6
	OpRemove   OpKind = 7
	OpRename   OpKind = 8
	OpList     OpKind = 9
	OpMakeDir  OpKind = 10
	OpSyncDir  OpKind = 11
	OpLock     OpKind = 12
)

// String returns the operation's name as it stands in errors.
func (k OpKind) String() string {
	switch k {
	case OpOpen:
		return "open"
	case OpCreate:
		return "create"
	case OpRead:
		return "read"
	case OpWrite:
		return "write"
	case OpSync:
		return "sync"
	case OpAllocate:
		return "allocate"
	case OpRemove:
		return "remove"
	case OpRename:
		return "rename"
	case OpList:
		return "list"
	case OpMakeDir:
		return "make"
	case OpSyncDir:
		return "syncdir"
	case OpLock:
		return "lock"
	}
	return "op"
}

// changes reports whether the operation fails on a read-only file system.
func (k OpKind) changes() bool {
	return k != OpOpen && k != OpRead && k != OpList && k != OpSync && k != OpSyncDir
}

// Op is an operation about to happen.
type Op struct {
	Kind   OpKind
	Name   string // the cleaned path
	Offset int64  // of a read or write
	Size   int64  // bytes of a read or write; the new size of an allocation
}

// Fault decides before each operation of a Memory: an error stops it from happening and is
// returned to the caller. It is called with the file system's lock held and must not call it.
type Fault func(Op) error

// SetFault installs the fault; nil removes it.
func (m *Memory) SetFault(fault Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = fault
}

// ErrPowerOff is what every operation returns from the moment the power fails until Crash.
var ErrPowerOff = errs.New(errs.Internal, "vfs: the power is off")

// PowerOffAt returns a fault that lets the first n changing operations (creations, writes, syncs,
// renames) happen and cuts the power before the next; count, where not nil, is raised by one for
// each that came.
func PowerOffAt(n int64, count *atomic.Int64) Fault {
	seen := int64(0)
	off := false
	return func(op Op) error {
		if op.Kind.changes() || op.Kind == OpSync || op.Kind == OpSyncDir {
			seen++
			if count != nil {
				count.Add(1)
			}
			off = off || seen > n
		}
		if off {
			return ErrPowerOff
		}
		return nil
	}
}

// FailOn returns a fault that answers the nth operation of the kind (from 1) with err, once.
func FailOn(kind OpKind, n int, err error) Fault {
	seen := 0
	return func(op Op) error {
		if op.Kind != kind {
			return nil
		}
		seen++
		if seen == n {
			return err
		}
		return nil
	}
}
