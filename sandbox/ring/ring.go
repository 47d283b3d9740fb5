// Package ring is the shared memory between the kernel inside and the collector outside.
package ring

import (
	"net/netip"
	"os"
	"time"

	"surety/base/clock"
	"surety/base/ident"
	"surety/sandbox"
)

// Ring is one mapping of a ring file. The file outlives both processes, so that what was recorded
// before a kill -9 is still read.
type Ring struct{}

// Create makes the file at path with room for size bytes of records (a power of two) and maps it.
func Create(path string, size int) (*Ring, error) { panic("unimplemented") }

// Open maps an existing ring file: the collector that takes over after a crash.
func Open(path string) (*Ring, error) { panic("unimplemented") }

// FromFD maps the ring whose file is fd: the kernel inside, before its own system calls are limited.
func FromFD(fd int) (*Ring, error) { panic("unimplemented") }

// File is the ring's file, to be donated to the kernel.
func (r *Ring) File() *os.File { panic("unimplemented") }

func (r *Ring) Close() error { panic("unimplemented") }

// Producer writes records: one per ring, in the kernel inside. Safe for concurrent use.
type Producer struct{}

// NewProducer starts a chain at its zero, or where a restored sandbox left it.
func NewProducer(r *Ring, patience time.Duration) *Producer { panic("unimplemented") }

// Write stamps seq, trace and the chain, encodes and publishes the record; rec is not kept. It
// blocks while the ring is full (back-pressure), at most for the producer's patience. After an
// error (the collector is gone or does not take) every later call fails too: the caller must end
// the sandbox. Uses no system call but futex, and none at all when nobody waits.
func (p *Producer) Write(rec *sandbox.Record) error { panic("unimplemented") }

// Consumer reads records: one per ring, outside.
type Consumer struct{}

func NewConsumer(r *Ring) *Consumer { panic("unimplemented") }

// Next waits up to wait for records and returns a run of whole frames: each a record as Append made
// it followed by its 32-byte chain head. The slice is valid until Advance. No records: nil, nil.
func (c *Consumer) Next(wait time.Duration) ([]byte, error) { panic("unimplemented") }

// Advance gives n bytes of what Next returned back to the producer.
func (c *Consumer) Advance(n int) { panic("unimplemented") }

// Close tells the producer that nobody reads any more: its next Write fails.
func (c *Consumer) Close() { panic("unimplemented") }

// Hold shuts the gate at which the kernel waits after boot and before the program's first
// instruction; Release opens it; AwaitRelease is the kernel's wait (false: the collector is gone).
func (r *Ring) Hold()              { panic("unimplemented") }
func (r *Ring) Release()           { panic("unimplemented") }
func (r *Ring) AwaitRelease() bool { panic("unimplemented") }

// SetTrace names the request being served; zero for none. Trace is what records are stamped with.
func (r *Ring) SetTrace(id ident.ID) { panic("unimplemented") }
func (r *Ring) Trace() ident.ID      { panic("unimplemented") }

// SetName notes that the sandbox's resolver answered name with addr, until the instant given.
// NameOf is what the kernel inside asks; "" when no name or it has lapsed. At most 1024 at once.
func (r *Ring) SetName(addr netip.Addr, name string, until clock.Instant) error {
	panic("unimplemented")
}
func (r *Ring) NameOf(addr netip.Addr, now clock.Instant) string { panic("unimplemented") }

// Counts are totals since the ring was made, readable from outside at any time.
type Counts struct {
	Records, Refused, WouldRefuse uint64
	Waits                         uint64 // times a writer found the ring full
	Bytes                         uint64
}

func (r *Ring) Counts() Counts { panic("unimplemented") }
