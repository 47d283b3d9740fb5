package kernel

import "path/filepath"

// The names gVisor runs us again under.
const (
	argvSandbox = "runsc-sandbox"
	argvGofer   = "runsc-gofer"
	argUmount   = "umount"
)

// Reexec reports whether argv (the name first) means that gVisor runs us again as part of itself:
// then Main must be called before anything else.
func Reexec(argv []string) bool {
	if len(argv) == 0 {
		return false
	}
	switch filepath.Base(argv[0]) {
	case argvSandbox, argvGofer:
		return true
	case "exe": // /proc/self/exe umount --sync-fd=N /proc
		return len(argv) > 1 && argv[1] == argUmount
	}
	return false
}
