package escape

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// volumeAttempts change a volume of the host that is shown read-only. The host's picture of it is
// compared afterwards, so that success here is found twice.
func volumeAttempts() []Attempt {
	refused := noFile(unix.EXDEV, unix.EINVAL, unix.ENOTSUP, unix.ETXTBSY, unix.ENODATA, unix.ENOSYS,
		unix.EBADF, unix.EBUSY, unix.ENOTTY, unix.EOPNOTSUPP, unix.EISDIR)
	volume := func(name, what string, try func(dir, file string) error) Attempt {
		return Attempt{Name: "volume-" + name, What: what + ", on a volume that is read-only",
			Refused: refused, Marks: call(-1), try: func(s *Scene) error {
				return try(s.Volume, filepath.Join(s.Volume, "word"))
			}}
	}
	return []Attempt{
		volume("write", "open a file for writing", func(_, file string) error { return write(file, "x") }),
		volume("append", "open it for appending", func(_, file string) error {
			fd, err := unix.Open(file, unix.O_WRONLY|unix.O_APPEND, 0)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}),
		volume("truncate", "truncate it", func(_, file string) error { return unix.Truncate(file, 0) }),
		volume("truncate-open", "open it for reading with O_TRUNC", func(_, file string) error {
			fd, err := unix.Open(file, unix.O_RDONLY|unix.O_TRUNC, 0)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}),
		volume("truncate-descriptor", "ftruncate a descriptor opened for reading", onDescriptor(
			func(fd int) error { return unix.Ftruncate(fd, 0) })),
		volume("allocate", "fallocate by such a descriptor", onDescriptor(
			func(fd int) error { return unix.Fallocate(fd, 0, 0, 8192) })),
		volume("reopen", "reopen such a descriptor for writing", onDescriptor(func(fd int) error {
			return write(fmt.Sprintf("/proc/self/fd/%d", fd), "x")
		})),
		volume("map", "map it shared and writable", onDescriptor(func(fd int) error {
			page, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err == nil {
				page[0] = 'x'
			}
			return err
		})),
		volume("map-protect", "map it shared, and make that writable after", onDescriptor(
			func(fd int) error {
				page, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
				if err != nil {
					return err
				}
				if err := unix.Mprotect(page, unix.PROT_READ|unix.PROT_WRITE); err != nil {
					return err
				}
				page[0] = 'x'
				return nil
			})),
		volume("create", "create a file", func(dir, _ string) error {
			return os.WriteFile(dir+"/new", []byte("x"), 0o644)
		}),
		volume("create-unnamed", "create a file without a name", func(dir, _ string) error {
			fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR, 0o600)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}),
		volume("unlink", "remove it", func(_, file string) error { return unix.Unlink(file) }),
		volume("rename", "rename it", func(_, file string) error { return os.Rename(file, file+"-gone") }),
		volume("rename-out", "rename it to another mount", func(_, file string) error {
			return unix.Rename(file, "/tmp/escape-word")
		}),
		volume("rename-in", "rename a file of ours over it", func(_, file string) error {
			if err := os.WriteFile("/tmp/escape-word", nil, 0o644); err != nil {
				return err
			}
			return unix.Rename("/tmp/escape-word", file)
		}),
		volume("link-out", "hard-link it into another mount", func(_, file string) error {
			return unix.Link(file, "/tmp/escape-volume-link")
		}),
		volume("link-in", "make a symbolic link", func(dir, _ string) error {
			return os.Symlink("/etc/shadow", dir+"/shadow")
		}),
		volume("folder", "make a folder", func(dir, _ string) error { return os.Mkdir(dir+"/new", 0o755) }),
		volume("pipe", "make a pipe", func(dir, _ string) error { return unix.Mkfifo(dir+"/pipe", 0o666) }),
		volume("mode", "make a program setuid", func(_, file string) error {
			return unix.Chmod(file, 0o4755)
		}),
		volume("mode-descriptor", "the same by a descriptor", onDescriptor(func(fd int) error {
			return unix.Fchmod(fd, 0o4755)
		})),
		volume("owner", "give it away", func(_, file string) error { return unix.Chown(file, 1, 1) }),
		volume("times", "change its times", func(_, file string) error {
			return unix.UtimesNanoAt(unix.AT_FDCWD, file, []unix.Timespec{{Sec: 1}, {Sec: 1}}, 0)
		}),
		volume("attribute", "set an attribute", func(_, file string) error {
			return unix.Setxattr(file, "user.surety", []byte("x"), 0)
		}),
		volume("capability", "give it a capability", func(_, file string) error {
			return unix.Setxattr(file, "security.capability", make([]byte, 20), 0)
		}),
		volume("bind-socket", "bind a socket", func(dir, _ string) error {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			return unix.Bind(fd, &unix.SockaddrUnix{Name: dir + "/socket"})
		}),
		volume("remount", "remount it writable and write", func(dir, file string) error {
			if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND, ""); err != nil {
				return err
			}
			return write(file, "x")
		}),
		volume("bind-again", "bind it elsewhere, writable, and write", func(dir, _ string) error {
			to, err := fresh()
			if err != nil {
				return err
			}
			if err := unix.Mount(dir, to, "", unix.MS_BIND, ""); err != nil {
				return err
			}
			return write(to+"/word", "x")
		}),
		volume("above", "walk above it, to its folder on the host", func(dir, _ string) error {
			fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
			if err != nil {
				return err
			}
			up, err := unix.Openat(fd, "../canary", unix.O_RDONLY, 0)
			if err != nil {
				return err
			}
			return unix.Close(up)
		}),
		volume("link-followed", "follow the volume's link to a file of the host outside it",
			func(dir, _ string) error {
				fd, err := unix.Open(dir+"/outside", unix.O_RDONLY, 0)
				if err != nil {
					return err
				}
				return unix.Close(fd)
			}),
	}
}

// onDescriptor does something to the file by a descriptor opened for reading.
func onDescriptor(act func(fd int) error) func(dir, file string) error {
	return func(_, file string) error {
		fd, err := unix.Open(file, unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return act(fd)
	}
}

// planted is no attempt but the fault a drill plants: it writes to a volume that is writable, and
// the picture of the host must show it.
func planted() Attempt {
	return Attempt{Name: "planted", Class: "planted",
		What:      "change the host's file by a volume that is writable",
		Contained: "the volume is writable", Refused: noFile(), Marks: path("word"),
		try: func(s *Scene) error { return write(filepath.Join(s.Writable, "word"), "changed") }}
}
