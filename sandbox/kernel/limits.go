package kernel

import "time"

const (
	// patience is how long a writer waits for the collector to make room. A collector that has not
	// taken one record in this time is as good as dead; longer stalls than this are the program's
	// own time-outs anyway.
	patience = 30 * time.Second

	// tidyAfter is how long a booted kernel waits at its gate before it gives memory back: longer than
	// the host takes to open the gate for a program that is to run at once.
	tidyAfter = 50 * time.Millisecond

	// maxLinks bounds the symbolic links followed while creating a file, as Linux does
	// (path_resolution(7)).
	maxLinks = 40

	// maxScripts bounds a chain of interpreter scripts: what Linux and gVisor allow.
	maxScripts = 6

	// maxScriptLine is how much of a script's first line counts (execve(2)), and of gVisor's.
	maxScriptLine = 127

	// maxDigests bounds the digests of executables kept: a program that execs more different files
	// pays for hashing them again.
	maxDigests = 512

	// hashBytes is the buffer a file is hashed through.
	hashBytes = 256 << 10

	// maxSegments bounds the program headers of an ELF file that are looked at, and maxLoader the
	// path of its loader: gVisor's own limits are no wider.
	maxSegments = 128
	maxLoader   = 4096

	// maxConfig bounds the policy inside the configuration that the host hands over.
	maxConfig = 8 << 20

	// maxBacklog bounds the connections that wait to be accepted, as gVisor does.
	maxBacklog = 1024

	// maxControl and maxVector bound what a message carries: gVisor's limits for sendmsg.
	maxControl = 10 << 20
	maxVector  = 1024
)

// ExitUnaudited is the exit status of a kernel that ended because it could not record.
const ExitUnaudited = 117
