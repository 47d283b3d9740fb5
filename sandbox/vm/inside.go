package vm

import (
	"context"
	"net/netip"
	"os"

	"surety/base/clock"
	"surety/base/ident"
)

// Inside runs a sandbox in the guest. The runtime implements it with what it runs sandboxes with
// anywhere; this package carries its calls over the control port.
type Inside interface {
	// Create boots the sandbox that order describes, in the runtime's own words, up to the gate
	// before the program's first instruction. It must measure what is on the disk before it runs
	// any of it: the disk is the host's. The streams are the box's to close, as soon as the program
	// has them. No other call is made before it has returned, and it is called once. Whoever
	// collects the audit sends it to OpenTrail.
	Create(ctx context.Context, order []byte, in Place, io Streams) (Box, error)
}

// Place is what the machine has besides its memory.
type Place struct {
	Disk string // path of the read-only disk with the image, "" when there is none
	Wire string // name of the network interface, "" when there is none
}

// Box is the one sandbox of a guest.
type Box interface {
	// Start opens the gate.
	Start(ctx context.Context) error
	// Wait returns when the program has ended.
	Wait(ctx context.Context) (Exit, error)
	// Exec runs a process, described in the runtime's own words, to its end and returns its exit
	// code. The streams are the box's to close, as soon as the process has them. began is called
	// once it runs, with what sends it a signal.
	Exec(ctx context.Context, process []byte, io Streams, began func(signal func(int) error)) (int,
		error)
	// Call is any other request of the runtime to itself: pause, ps, statistics.
	Call(ctx context.Context, order []byte) ([]byte, error)
	// Kill sends a signal to the program, or to all processes.
	Kill(ctx context.Context, signal int, all bool) error
	// SetTrace and SetName tell the kernel inside what the host alone knows.
	SetTrace(id ident.ID) error
	SetName(addr netip.Addr, name string, until clock.Instant) error
	// Close ends the sandbox, if it has not, and removes what it left.
	Close() error
}

// Streams are what a process in the guest reads and writes: ends of pipes.
type Streams struct {
	Stdin, Stdout, Stderr *os.File
}

// Exit is how a sandbox ended.
type Exit struct {
	Code   int    `json:"code"`
	Reason string `json:"reason,omitempty"` // where not by the program's own exit
}
