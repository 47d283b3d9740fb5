//go:build amd64

package kernel

import "golang.org/x/sys/unix"

// table is every judged call of the core level.
func table() map[uintptr]judged {
	return map[uintptr]judged{
		unix.SYS_OPEN:     open,
		unix.SYS_OPENAT:   openat,
		unix.SYS_OPENAT2:  openat2,
		unix.SYS_CREAT:    creat,
		unix.SYS_EXECVE:   execve,
		unix.SYS_EXECVEAT: execveat,
		unix.SYS_CONNECT:  connect,
	}
}
