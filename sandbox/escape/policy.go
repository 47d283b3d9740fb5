package escape

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// policyAttempts reach for the file that the policy denies under another of its names, and for a
// program that it does not allow.
func policyAttempts() []Attempt {
	refused := noFile(unix.EXDEV, unix.ELOOP, unix.ENOSYS, unix.EINVAL, unix.ENOTSUP)
	secret := func(name, what string, try func(*Scene) error) Attempt {
		return Attempt{Name: name, What: what, Policy: "policy", Refused: refused,
			Marks: path(""), try: try}
	}
	list := []Attempt{
		secret("secret-open", "open the denied file", func(s *Scene) error { return s.open(s.Secret) }),
		secret("secret-dots", "open it by a path with dots and slashes", func(s *Scene) error {
			folder, name := splitPath(s.Secret)
			return s.open("//" + folder + "/./../" + filepath.Base(folder) + "///./" + name)
		}),
		secret("secret-link", "open it by a symbolic link", func(s *Scene) error {
			return s.through(func(to string) error { return os.Symlink(s.Secret, to) })
		}),
		secret("secret-relative", "open it from its own folder", func(s *Scene) error {
			folder, name := splitPath(s.Secret)
			if err := unix.Chdir(folder); err != nil {
				return err
			}
			return s.open(name)
		}),
		secret("secret-hard-link", "make a hard link to it and open that", func(s *Scene) error {
			return s.through(func(to string) error { return os.Link(s.Secret, to) })
		}),
		secret("secret-hard-link-by-fd", "make a hard link by an O_PATH descriptor", linkByDescriptor),
		secret("secret-rename", "rename it away and open that", func(s *Scene) error {
			return s.through(func(to string) error { return os.Rename(s.Secret, to) })
		}),
		secret("secret-rename-folder", "rename a folder above it and open it there", renameParent),
		secret("secret-exchange", "exchange it with a file of our own", func(s *Scene) error {
			return s.through(func(to string) error {
				if err := os.WriteFile(to, nil, 0o644); err != nil {
					return err
				}
				return unix.Renameat2(unix.AT_FDCWD, s.Secret, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
			})
		}),
		secret("secret-path-descriptor", "open it O_PATH and reopen the descriptor", func(s *Scene) error {
			fd, err := unix.Open(s.Secret, unix.O_PATH, 0)
			if err != nil {
				return err
			}
			return s.open(fmt.Sprintf("/proc/self/fd/%d", fd))
		}),
		secret("secret-root-link", "open it by /proc/self/root", func(s *Scene) error {
			return s.open("/proc/self/root" + s.Secret)
		}),
		secret("secret-chroot", "chroot above it and open it by its shorter name", func(s *Scene) error {
			parent := filepath.Dir(filepath.Dir(s.Secret))
			if err := unix.Chroot(parent); err != nil {
				return err
			}
			return s.open(s.Secret[len(parent):])
		}),
		secret("secret-handle", "open it by a file handle", func(s *Scene) error {
			handle, mount, err := unix.NameToHandleAt(unix.AT_FDCWD, s.Secret, 0)
			if err != nil {
				return err
			}
			fd, err := unix.OpenByHandleAt(mount, handle, unix.O_RDONLY)
			if err != nil {
				return err
			}
			return s.open(fmt.Sprintf("/proc/self/fd/%d", fd))
		}),
		secret("secret-truncate", "truncate it", func(s *Scene) error { return unix.Truncate(s.Secret, 0) }),
		secret("secret-unlink", "remove it", func(s *Scene) error { return unix.Unlink(s.Secret) }),
		secret("secret-overwrite", "rename a file of our own over it", func(s *Scene) error {
			_, file, err := allowed()
			if err != nil {
				return err
			}
			return os.Rename(file, s.Secret)
		}),
		secret("secret-create", "open it with O_CREAT and O_TRUNC", func(s *Scene) error {
			fd, err := unix.Open(s.Secret, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, 0o644)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}),
		secret("secret-attributes", "make it writable by all", func(s *Scene) error {
			return unix.Chmod(s.Secret, 0o666)
		}),
		secret("secret-exec", "run it", func(s *Scene) error { return unix.Exec(s.Secret, nil, nil) }),
		secret("secret-splice", "send it to a pipe by sendfile", func(s *Scene) error {
			fd, err := unix.Open(s.Secret, unix.O_RDONLY, 0)
			if err != nil {
				return err
			}
			_, err = unix.Sendfile(1, fd, nil, 16)
			return err
		}),
		secret("secret-ring", "open it by io_uring, past the system calls", openByRing),
	}
	for i := range list {
		if list[i].Name == "secret-unlink" || list[i].Name == "secret-chroot" {
			list[i].Refused = append(list[i].Refused, unix.EBUSY)
		}
	}
	return append(append(list, aliasAttempts()...), programAttempts()...)
}

// open reads a file and returns reached, or the error, or nothing when it was another file.
func (s *Scene) open(name string) error {
	if err := s.peek(name); err != nil {
		return err
	}
	return fmt.Errorf("another file was read: %w", unix.EACCES)
}

// through makes another name of the denied file and opens that.
func (s *Scene) through(make func(to string) error) error {
	dir, err := fresh()
	if err != nil {
		return err
	}
	if err := make(dir + "/alias"); err != nil {
		return err
	}
	return s.open(dir + "/alias")
}

func linkByDescriptor(s *Scene) error {
	fd, err := unix.Open(s.Secret, unix.O_PATH, 0)
	if err != nil {
		return err
	}
	return s.through(func(to string) error {
		err := unix.Linkat(fd, "", unix.AT_FDCWD, to, unix.AT_EMPTY_PATH)
		if err == nil {
			return nil
		}
		return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, to,
			unix.AT_SYMLINK_FOLLOW)
	})
}

// renameParent moves a folder that no rule names, with the denied one in it.
func renameParent(s *Scene) error {
	folder, name := splitPath(s.Secret)
	above := filepath.Dir(folder)
	if above == "/" {
		return fmt.Errorf("%s has no folder above it: %w", folder, unix.EACCES)
	}
	moved := above + "-moved"
	if err := os.Rename(above, moved); err != nil {
		return err
	}
	err := s.open(filepath.Join(moved, filepath.Base(folder), name))
	os.Rename(moved, above)
	return err
}

// aliasAttempts make the file appear elsewhere by a mount, under a policy that denies mounts.
func aliasAttempts() []Attempt {
	alias := func(name, what string, try func(*Scene) error) Attempt {
		return Attempt{Name: name, What: what, Policy: "mount", Refused: noCall(), Marks: call(-1), try: try}
	}
	return []Attempt{
		alias("alias-bind", "bind the denied folder elsewhere", func(s *Scene) error {
			folder, name := splitPath(s.Secret)
			dir, err := fresh()
			if err != nil {
				return err
			}
			if err := unix.Mount(folder, dir, "", unix.MS_BIND, ""); err != nil {
				return err
			}
			return s.open(dir + "/" + name)
		}),
		alias("alias-overlay", "show the denied folder as a layer", func(s *Scene) error {
			folder, name := splitPath(s.Secret)
			dir, err := fresh()
			if err != nil {
				return err
			}
			if err := unix.Mount("o", dir, "overlay", 0, "lowerdir="+folder+":/tmp"); err != nil {
				return err
			}
			return s.open(dir + "/" + name)
		}),
	}
}

// programAttempts run what the policy does not allow: a copy of the allowed program.
func programAttempts() []Attempt {
	refused := []unix.Errno{unix.EACCES, unix.EPERM, unix.ENOSYS, unix.EXDEV}
	program := func(name, what string, try func(*Scene) error) Attempt {
		return Attempt{Name: name, What: what, Policy: "strict", Refused: refused,
			Marks: call(-1), try: try}
	}
	return []Attempt{
		program("program-copy", "run a copy of the allowed program", func(*Scene) error {
			if err := copyOf("/tmp/program-copy"); err != nil {
				return err
			}
			return runs("/tmp/program-copy", nil)
		}),
		program("program-memory", "run a copy in a memfd", func(*Scene) error {
			fd, err := unix.MemfdCreate("escape", 0)
			if err != nil {
				return err
			}
			if err := copyOf(fmt.Sprintf("/proc/self/fd/%d", fd)); err != nil {
				return err
			}
			return runs(fmt.Sprintf("/proc/self/fd/%d", fd), nil)
		}),
		program("program-script", "run a script whose interpreter is allowed", func(*Scene) error {
			text := "#!/" + Name + " self\n"
			if err := os.WriteFile("/tmp/program-script", []byte(text), 0o755); err != nil {
				return err
			}
			return runs("/tmp/program-script", nil)
		}),
		program("program-chroot", "run a copy that a chroot gives the allowed name", func(*Scene) error {
			dir, err := fresh()
			if err != nil {
				return err
			}
			if err := copyOf(dir + "/" + Name); err != nil {
				return err
			}
			return runs("/"+Name, &syscall.SysProcAttr{Chroot: dir})
		}),
		program("program-rename", "rename a copy over the allowed program", func(*Scene) error {
			if err := copyOf("/tmp/program-rename"); err != nil {
				return err
			}
			if err := os.Rename("/tmp/program-rename", "/"+Name); err != nil {
				return err
			}
			return runs("/"+Name, nil)
		}),
		program("program-map", "make memory executable that no file backs", func(*Scene) error {
			page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE,
				unix.MAP_ANON|unix.MAP_PRIVATE)
			if err != nil {
				return err
			}
			return unix.Mprotect(page, unix.PROT_READ|unix.PROT_EXEC)
		}),
	}
}

// runs starts a program and returns why it did not run; nil: it ran.
func runs(file string, attributes *syscall.SysProcAttr) error {
	child := exec.Command(file, "hello")
	child.Args[0] = "/" + Name
	child.SysProcAttr = attributes
	return child.Run()
}

// openByRing asks for the file by a submission that the policy's view of system calls never sees.
func openByRing(*Scene) error {
	var parameters [120]byte
	fd, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, 4,
		uintptr(unsafe.Pointer(&parameters[0])), 0)
	if e != 0 {
		return e
	}
	unix.Close(int(fd))
	return nil
}
