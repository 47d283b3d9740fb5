// Package volume serves a tree of files that is not the host's to a sandbox: its file server asks an
// inode.FS instead of a directory.
//
// gVisor's kernel reaches files through a protocol, lisafs, that its file server (the gofer) answers.
// The file server is this program again, and lets others answer for a mount (runsc's extension
// hook). A mount that the sandbox's annotation names is answered here: each request becomes a call of
// the volume that a Provider opened. The mount's source is a directory of the host in which the
// provider keeps what it likes, and a socket, at which a keeper outside says what the provider needs
// to know. The program never sees that directory.
//
//	program -> kernel inside -> lisafs -> file server: this package -> volume -> directory
//	                                                        Provider -> socket -> keeper
//
// # Invariants
//
//   - The connection to the keeper is made before the file server enters its root and its filter of
//     system calls; afterwards it can make none.
//   - No descriptor of the host is given to the kernel inside: it has what it read, and no file.
//   - When the last request of a mount is done the volume is closed, before the process ends.
//
// # Boundaries
//
// There are no sockets, devices or pipes of the host: gVisor keeps those of the program itself. Only
// roots that are images have volumes, whose places to mount on are made outside of the image.
//
// # Concurrency
//
// gVisor calls from many goroutines; the volume orders what has to be ordered.
package volume

import (
	"net"

	"surety/sys/inode"
)

// Provider opens volumes of one sort.
type Provider interface {
	// Sort is the name that the sandbox's annotation has for it.
	Sort() string
	// Open opens the volume in dir, asking the keeper at the other end of the connection, which is
	// the provider's from then on. The process is confined already: it may use the files of dir
	// and the connection, and no other.
	Open(keeper net.Conn, dir string) (inode.FS, error)
}
