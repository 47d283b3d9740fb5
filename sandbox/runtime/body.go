package runtime

import (
	"os"

	"golang.org/x/sys/unix"

	"surety/base/ident"
)

// body is what a supervisor governs: a kernel on this machine (cell), or a virtual machine with one
// in it (machine).
type body interface {
	// begin makes the program and returns when it runs: after the gate was opened.
	begin() error
	// release opens the gate.
	release() error
	// pid is the host's process that is killed to end it all.
	pid() int
	// wait returns when the program has ended. It is called once, after begin has returned.
	wait() (code int, reason string)
	signal(signal unix.Signal, all bool) error
	pause() error
	resume() error
	checkpoint(dir string, leave bool) error
	// exec runs a process to its end; began is called with its handle when it runs.
	exec(p *Process, files []*os.File, began func(handle int32)) (code int, err error)
	signalProcess(handle int32, signal unix.Signal) error
	processes() ([]ProcessInfo, error)
	stats() (Stats, error)
	// trace stamps following records with the id of the request being served.
	trace(id ident.ID) error
	// destroy removes what is left. Everything inside is dead, or dies of it.
	destroy() error
}
