package ring

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The file: one page of control words, the name table, then the records. Words that different
// sides write are on cache lines of their own. All are little-endian and naturally aligned.
const (
	magic   = 0x474e4952_54525553 // "SURTRING"
	version = 1

	offMagic   = 0
	offVersion = 8
	offSize    = 16

	offTail        = 128 // producer: bytes published
	offRecords     = 136
	offRefused     = 144
	offWouldRefuse = 152
	offWaits       = 160

	offHead = 256 // consumer: bytes given back

	offReader = 384 // u32 futex: what the consumer does, a reader state
	offWriter = 512 // u32 futex: 1 while the producer waits for room
	offGate   = 640 // u32 futex: a gate state
	offGone   = 644 // u32: 1 once nobody reads any more
	offTrace  = 768 // seqlock, high, low

	controlBytes = 4096
	nameBytes    = 320
	headerBytes  = controlBytes + MaxNames*nameBytes // a whole number of pages
)

// States of the consumer, at offReader.
const (
	awake    = 0
	napping  = 1 // looks again by itself; to be woken when the ring fills up
	sleeping = 2 // to be woken for any record
)

// States of the gate.
const (
	gateOpen = 0
	gateHeld = 1
	gateGone = 2 // nobody will open it
)

func (r *Ring) u32(offset uintptr) *uint32 { return (*uint32)(unsafe.Add(r.base, offset)) }
func (r *Ring) u64(offset uintptr) *uint64 { return (*uint64)(unsafe.Add(r.base, offset)) }

func (r *Ring) load(offset uintptr) uint64     { return atomic.LoadUint64(r.u64(offset)) }
func (r *Ring) store(offset uintptr, v uint64) { atomic.StoreUint64(r.u64(offset), v) }

// bytes returns n bytes of the records from position on; n is at most the ring's size.
func (r *Ring) bytes(position uint64, n int) []byte {
	start := unsafe.Add(r.base, headerBytes+position&(r.size-1))
	return unsafe.Slice((*byte)(start), n)
}

// publish writes a group of words under the sequence word at offset, which is odd meanwhile. Writers
// of several processes take turns; one that died half-way is waited for a moment, then passed over.
func (r *Ring) publish(offset uintptr, write func()) {
	sequence := r.load(offset)
	for range seqlockTries {
		sequence = r.load(offset)
		if sequence&1 == 0 && atomic.CompareAndSwapUint64(r.u64(offset), sequence, sequence+1) {
			break
		}
	}
	write()
	r.store(offset, (sequence|1)+1)
}

// consistent reads a group of words that publish writes; false where it stays half-written.
func (r *Ring) consistent(offset uintptr, read func()) bool {
	for range seqlockTries {
		before := r.load(offset)
		if before&1 != 0 {
			continue
		}
		read()
		if r.load(offset) == before {
			return true
		}
	}
	return false
}

func split(b [16]byte) (high, low uint64) {
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

func join(high, low uint64) (b [16]byte) {
	binary.BigEndian.PutUint64(b[:8], high)
	binary.BigEndian.PutUint64(b[8:], low)
	return b
}

func isNoSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
