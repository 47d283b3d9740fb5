package ring

import (
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Operations of futex(2), shared between processes. A sandboxed kernel's filter allows these two.
const (
	futexWait = 0
	futexWake = 1
)

// forever as the wait of futex is until woken.
const forever = time.Duration(-1)

// await sleeps while the word is value, at most for wait; it may return early for no reason. The
// system call goes through the scheduler: other goroutines run on.
func await(word *uint32, value uint32, wait time.Duration) {
	var limit *unix.Timespec
	if wait >= 0 {
		spec := unix.NsecToTimespec(int64(wait))
		limit = &spec
	}
	_, _, _ = syscall.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWait,
		uintptr(value), uintptr(unsafe.Pointer(limit)), 0, 0) // the caller looks again in any case
}

// wake wakes the one that awaits the word.
func wake(word *uint32) {
	_, _, _ = syscall.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWake, 1<<30,
		0, 0, 0) // it fails only where nobody can be waiting
}

// Hold shuts the gate at which the kernel waits after boot and before the program's first
// instruction.
func (r *Ring) Hold() { r.setGate(gateHeld) }

// Release opens the gate.
func (r *Ring) Release() { r.setGate(gateOpen) }

func (r *Ring) setGate(state uint32) {
	_ = r.guarded("ring.gate", func() error { // no ring, nobody at its gate
		if atomic.LoadUint32(r.u32(offGate)) != gateGone {
			atomic.StoreUint32(r.u32(offGate), state)
			wake(r.u32(offGate))
		}
		return nil
	})
}

// AwaitRelease is the kernel's wait at the gate: true once it is open, at once where it is; false
// where the collector is gone.
func (r *Ring) AwaitRelease() bool {
	for {
		switch atomic.LoadUint32(r.u32(offGate)) {
		case gateOpen:
			return true
		case gateHeld:
			await(r.u32(offGate), gateHeld, forever)
		default:
			return false
		}
	}
}
