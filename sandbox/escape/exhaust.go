package escape

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// exhaustAttempts take all there is of something. The sandbox may suffer; the host may not.
func exhaustAttempts() []Attempt {
	own := "what ran out is the sandbox's share"
	out := []unix.Errno{unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.ENOSPC, unix.EFBIG,
		unix.E2BIG, unix.ENAMETOOLONG, unix.ELOOP, unix.EINVAL, unix.EPERM, unix.EACCES, unix.EDQUOT,
		unix.ENOSYS, unix.EFAULT}
	uses := func(name, what string, number int, try func(*Scene) error) Attempt {
		return Attempt{Name: name, What: what, Refused: out, Contained: own, Killed: true,
			Marks: call(number), try: try}
	}
	memory := uses("memory", "touch memory without end", unix.SYS_MMAP, takeMemory)
	memory.Alone = true
	return []Attempt{
		memory,
		uses("processes", "fork without end", unix.SYS_CLONE, takeProcesses),
		uses("descriptors", "open files without end", unix.SYS_EVENTFD2, takeDescriptors),
		uses("file-size", "write far past the end of a file", unix.SYS_PWRITE64, func(*Scene) error {
			fd, err := unix.Open("/tmp/escape-size", unix.O_RDWR|unix.O_CREAT, 0o600)
			if err != nil {
				return err
			}
			defer os.Remove("/tmp/escape-size")
			_, err = unix.Pwrite(fd, []byte{1}, 1<<62)
			return err
		}),
		uses("space", "write a large file", unix.SYS_WRITE, takeSpace),
		uses("argument", "run a program with an argument of eight megabytes", unix.SYS_EXECVE,
			func(*Scene) error {
				return unix.Exec("/"+Name, []string{"/" + Name, strings.Repeat("a", 8<<20)}, nil)
			}),
		uses("arguments", "run a program with a million arguments", unix.SYS_EXECVE, func(*Scene) error {
			list := make([]string, 1_000_000)
			list[0] = "/" + Name
			return unix.Exec("/"+Name, list, list[1:])
		}),
		uses("long-path", "open a path of a million bytes", -1, func(*Scene) error {
			_, err := unix.Open(strings.Repeat("/a", 500_000), unix.O_RDONLY, 0)
			return err
		}),
		uses("deep-folders", "make folders a thousand levels deep", unix.SYS_MKDIRAT, deepFolders),
		uses("link-loop", "follow links that lead to each other", -1, func(*Scene) error {
			dir, err := fresh()
			if err != nil {
				return err
			}
			os.Symlink(dir+"/b", dir+"/a")
			os.Symlink(dir+"/a", dir+"/b")
			_, err = unix.Open(dir+"/a", unix.O_RDONLY, 0)
			return err
		}),
		uses("limits", "raise every limit above what was given", unix.SYS_PRLIMIT64, raiseLimits),
		uses("maps", "make memory maps without end", unix.SYS_MMAP, func(*Scene) error {
			for i := range 20_000 {
				_, err := unix.Mmap(-1, 0, 4096, (i%2)*unix.PROT_READ, unix.MAP_ANON|unix.MAP_PRIVATE)
				if err != nil {
					return err
				}
			}
			return nil
		}),
		uses("pipes", "fill pipes of the greatest size", unix.SYS_PIPE2, func(*Scene) error {
			var pair [2]int
			if err := unix.Pipe2(pair[:], unix.O_NONBLOCK); err != nil {
				return err
			}
			_, err := unix.FcntlInt(uintptr(pair[1]), unix.F_SETPIPE_SZ, 1<<30)
			return err
		}),
		uses("shared-memory", "make shared memory without end", unix.SYS_SHMGET, func(*Scene) error {
			for range 5000 {
				if _, err := unix.SysvShmGet(unix.IPC_PRIVATE, 1<<40, unix.IPC_CREAT|0o600); err != nil {
					return err
				}
			}
			return nil
		}),
		uses("watches", "watch files without end", unix.SYS_INOTIFY_INIT1, func(*Scene) error {
			for range descriptorMax {
				if _, err := unix.InotifyInit1(0); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func takeMemory(*Scene) error {
	const step = 64 << 20
	for taken := 0; taken < memoryMax; taken += step {
		page, err := unix.Mmap(-1, 0, step, unix.PROT_READ|unix.PROT_WRITE,
			unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return err
		}
		for i := 0; i < step; i += 4096 {
			page[i] = byte(i>>12) | 1
		}
	}
	return fmt.Errorf("%d bytes were given, more than any limit of a drill", int64(memoryMax))
}

// takeProcesses forks until it is refused, or has more than the limit that the scene names.
func takeProcesses(s *Scene) error {
	runtime.LockOSThread()
	var made []int
	var last error
	for range forkMax {
		pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if e != 0 {
			last = e
			break
		}
		if pid == 0 {
			unix.RawSyscall(unix.SYS_PAUSE, 0, 0, 0)
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
		made = append(made, int(pid))
	}
	for _, pid := range made {
		unix.Kill(pid, unix.SIGKILL)
		unix.Wait4(pid, nil, 0, nil)
	}
	if s.Processes > 0 && len(made) > s.Processes {
		return reached{fmt.Sprintf("%d processes, the limit is %d", len(made), s.Processes)}
	}
	return last
}

func takeDescriptors(*Scene) error {
	for range descriptorMax {
		if _, err := unix.Eventfd(0, 0); err != nil {
			for fd := 10; fd < descriptorMax; fd++ {
				unix.Close(fd)
			}
			return err
		}
	}
	return nil
}

func takeSpace(*Scene) error {
	file, err := os.Create("/tmp/escape-space")
	if err != nil {
		return err
	}
	defer os.Remove("/tmp/escape-space")
	block := make([]byte, 1<<20)
	for range fileMax >> 20 {
		if _, err := file.Write(block); err != nil {
			return err
		}
	}
	return file.Close()
}

func deepFolders(*Scene) error {
	dir, err := fresh()
	if err != nil {
		return err
	}
	if err := unix.Chdir(dir); err != nil {
		return err
	}
	for range 1000 {
		if err := unix.Mkdirat(unix.AT_FDCWD, "d", 0o700); err != nil {
			return err
		}
		if err := unix.Chdir("d"); err != nil {
			return err
		}
	}
	_, err = os.ReadDir(strings.Repeat("../", 1000))
	return err
}

func raiseLimits(*Scene) error {
	var last error
	for kind := range 16 {
		limit := unix.Rlimit{Cur: ^uint64(0), Max: ^uint64(0)}
		if err := unix.Prlimit(0, kind, &limit, nil); err != nil {
			last = err
		}
	}
	return last
}
