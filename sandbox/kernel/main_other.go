//go:build !amd64

package kernel

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"surety/sandbox/volume"
)

// guard is empty: see Main.
type guard struct{ sink pointer }

type pointer struct{}

func (pointer) Store(*sink) {}

func (*guard) wrapAll() {}

// noSysno is the Sysno of a record that no system call caused.
const noSysno = 0xffff

// Main refuses: the table of judged calls is that of x86-64, and on another machine a call would
// pass it by.
func Main(...volume.Provider) {
	fmt.Fprintf(os.Stderr, "surety: sandboxes need x86-64; this is %s\n", runtime.GOARCH)
	unix.Exit(1)
}
