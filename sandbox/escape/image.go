package escape

import (
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func imageAttempts() []Attempt {
	own := "the file is the sandbox's copy of the image, in memory"
	return []Attempt{
		{Name: "overwrite-first-exe", Contained: own, Marks: path("/"),
			What:    "CVE-2019-5736: write the program of the first process by /proc/1/exe",
			Refused: noFile(unix.ETXTBSY), try: func(*Scene) error { return sameBytes("/proc/1/exe") }},
		{Name: "overwrite-by-descriptor", Contained: own, Marks: path("/"),
			What:    "the same by an O_PATH descriptor that is reopened for writing",
			Refused: noFile(unix.ETXTBSY, unix.ELOOP), try: func(*Scene) error {
				fd, err := unix.Open("/proc/self/exe", unix.O_PATH, 0)
				if err != nil {
					return err
				}
				return sameBytes(fmt.Sprintf("/proc/self/fd/%d", fd))
			}},
		{Name: "overwrite-while-running", Contained: own, Marks: path("/tmp/escape-copy"),
			What:    "run a copy of ourselves that overwrites its own file",
			Refused: noFile(unix.ETXTBSY), try: runCopy, again: func(*Scene) error {
				return sameBytes("/proc/self/exe")
			}},
		{Name: "overwrite-image", Contained: own, Marks: path(Name),
			What:    "write the program where the image keeps it, past the overlay",
			Refused: noFile(unix.ETXTBSY), try: func(*Scene) error { return sameBytes("/" + Name) }},
		{Name: "map-image-shared", Contained: own, Marks: path("/"),
			What:    "map the program shared and writable from a descriptor opened for reading",
			Refused: noFile(unix.EINVAL), try: mapShared},
		{Name: "protect-image", Contained: "a private mapping is copied when written",
			What: "make the program's own mapping writable and write to it", Killed: true,
			Refused: noFile(unix.EINVAL), Marks: call(unix.SYS_MPROTECT), try: protectOwn},
		{Name: "immutable-flag", Contained: own, Marks: call(unix.SYS_IOCTL),
			What:    "set the immutable flag on a file of the image",
			Refused: noFile(unix.ENOTTY, unix.ENOTSUP, unix.EINVAL), try: func(*Scene) error {
				fd, err := unix.Open("/"+Name, unix.O_RDONLY, 0)
				if err != nil {
					return err
				}
				return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, 0x10)
			}},
		{Name: "verity", Contained: own, Marks: call(unix.SYS_IOCTL),
			What:    "seal a file of the image with a digest of our choice",
			Refused: noFile(unix.ENOTTY, unix.ENOTSUP, unix.EINVAL), try: func(*Scene) error {
				fd, err := unix.Open("/"+Name, unix.O_RDONLY, 0)
				if err != nil {
					return err
				}
				argument := unix.FsverityEnableArg{Version: 1, Hash_algorithm: 1, Block_size: 4096}
				return sys(unix.SYS_IOCTL, uintptr(fd), unix.FS_IOC_ENABLE_VERITY,
					uintptr(unsafe.Pointer(&argument)))
			}},
	}
}

// sameBytes writes a program's own first bytes over themselves: it changes the time of the file
// that was reached, and nothing else.
func sameBytes(name string) error {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	defer unix.Close(fd)
	_, err = unix.Pwrite(fd, []byte("\x7fELF"), 0)
	return err
}

// copyOf copies the running program.
func copyOf(to string) error {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer from.Close()
	into, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(into, from)
	if closed := into.Close(); err == nil {
		err = closed
	}
	return err
}

func runCopy(*Scene) error {
	if err := copyOf("/tmp/escape-copy"); err != nil {
		return err
	}
	defer os.Remove("/tmp/escape-copy")
	return again("overwrite-while-running", "/tmp/escape-copy", nil)
}

func mapShared(*Scene) error {
	fd, err := unix.Open("/"+Name, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	page, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	page[0] = 0x7f
	return nil
}

func protectOwn(*Scene) error {
	fd, err := unix.Open("/"+Name, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	page, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	if err := unix.Mprotect(page, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return err
	}
	page[0] = 'x'
	first, err := readSome("/" + Name)
	if err == nil && first[0] == 'x' {
		return reached{"the image changed through a private mapping"}
	}
	return nil
}
