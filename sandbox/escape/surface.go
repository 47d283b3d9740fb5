package escape

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// rare is a call that no program in a container has business with.
type rare struct {
	name   string
	number uintptr
	args   [6]uintptr
	what   string
}

func rares() []rare {
	const none = ^uintptr(0)
	return []rare{
		{"bpf-map", unix.SYS_BPF, [6]uintptr{0, 0, 72}, "make a map of the host's kernel"},
		{"bpf-load", unix.SYS_BPF, [6]uintptr{5, 0, 72}, "load a program into the host's kernel"},
		{"perf-event", unix.SYS_PERF_EVENT_OPEN, [6]uintptr{0, 0, none, none}, "count events of the host"},
		{"userfault", unix.SYS_USERFAULTFD, [6]uintptr{}, "handle page faults, to win races"},
		{"ring-setup", unix.SYS_IO_URING_SETUP, [6]uintptr{4}, "make an io_uring"},
		{"ring-enter", unix.SYS_IO_URING_ENTER, [6]uintptr{0, 1, 1}, "use an io_uring"},
		{"ring-register", unix.SYS_IO_URING_REGISTER, [6]uintptr{none, 20}, "register with an io_uring"},
		{"key-control", unix.SYS_KEYCTL, [6]uintptr{0, none - 3, 1}, "look at the host's key rings"},
		{"key-add", unix.SYS_ADD_KEY, [6]uintptr{}, "add a key to them"},
		{"key-request", unix.SYS_REQUEST_KEY, [6]uintptr{}, "have the host ask for a key"},
		{"kexec", unix.SYS_KEXEC_LOAD, [6]uintptr{}, "load another kernel"},
		{"kexec-file", unix.SYS_KEXEC_FILE_LOAD, [6]uintptr{none, none, 0, 0, 4}, "the same, from a file"},
		{"module", unix.SYS_INIT_MODULE, [6]uintptr{}, "load a module"},
		{"module-file", unix.SYS_FINIT_MODULE, [6]uintptr{none}, "the same, from a file"},
		{"module-delete", unix.SYS_DELETE_MODULE, [6]uintptr{}, "remove a module"},
		{"port-level", unix.SYS_IOPL, [6]uintptr{3}, "reach the machine's ports"},
		{"port-range", unix.SYS_IOPERM, [6]uintptr{0x80, 1, 1}, "reach one of them"},
		{"local-descriptors", unix.SYS_MODIFY_LDT, [6]uintptr{1, 0, 16}, "write a segment descriptor"},
		{"reboot", unix.SYS_REBOOT, [6]uintptr{0xfee1dead, 0x28121969}, "change what Ctrl-Alt-Del does"},
		{"swap-on", unix.SYS_SWAPON, [6]uintptr{}, "add swap"},
		{"swap-off", unix.SYS_SWAPOFF, [6]uintptr{}, "remove swap"},
		{"accounting", unix.SYS_ACCT, [6]uintptr{}, "switch process accounting off"},
		{"quota", unix.SYS_QUOTACTL, [6]uintptr{0x800001 << 8}, "change quotas"},
		{"time-of-day", unix.SYS_SETTIMEOFDAY, [6]uintptr{}, "set the host's clock"},
		{"dir-cookie", unix.SYS_LOOKUP_DCOOKIE, [6]uintptr{1}, "look up a folder of the host"},
		{"watch-all", unix.SYS_FANOTIFY_INIT, [6]uintptr{}, "watch the file systems"},
		{"hang-up", unix.SYS_VHANGUP, [6]uintptr{}, "hang up the terminal"},
		{"log-clear", unix.SYS_SYSLOG, [6]uintptr{5}, "clear the host's messages"},
		{"log-console", unix.SYS_SYSLOG, [6]uintptr{8, 0, 7}, "change the console's level"},
		{"old-control", unix.SYS__SYSCTL, [6]uintptr{}, "write controls by the old call"},
		{"nfs-server", unix.SYS_NFSSERVCTL, [6]uintptr{}, "speak to the NFS server"},
		{"use-library", unix.SYS_USELIB, [6]uintptr{}, "load a library by the old call"},
		{"migrate-pages", unix.SYS_MIGRATE_PAGES, [6]uintptr{1, 8}, "move pages of the first process"},
		{"secret-memory", unix.SYS_MEMFD_SECRET, [6]uintptr{}, "memory that the kernel cannot see"},
		{"landlock", unix.SYS_LANDLOCK_CREATE_RULESET, [6]uintptr{0, 0, 1}, "rules of the host's kernel"},
		{"real-time", unix.SYS_SCHED_SETSCHEDULER, [6]uintptr{0, 1}, "take a processor for ever"},
		{"io-priority", unix.SYS_IOPRIO_SET, [6]uintptr{1, 0, 1 << 13}, "take the disk for ever"},
		{"close-watch", unix.SYS_FANOTIFY_MARK, [6]uintptr{none}, "mark a file system"},
		{"thread-area", unix.SYS_SET_THREAD_AREA, [6]uintptr{}, "write a segment descriptor"},
		{"security", unix.SYS_SECURITY, [6]uintptr{}, "a call that has no meaning"},
		{"tux", unix.SYS_TUXCALL, [6]uintptr{}, "another"},
		{"afs", unix.SYS_AFS_SYSCALL, [6]uintptr{}, "a third"},
		{"process-release", unix.SYS_PROCESS_MRELEASE, [6]uintptr{none}, "free memory of a dying process"},
		{"memory-policy", unix.SYS_SET_MEMPOLICY_HOME_NODE, [6]uintptr{}, "place memory"},
	}
}

func surfaceAttempts() []Attempt {
	refused := noCall(unix.EINVAL, unix.EFAULT, unix.EBADF, unix.ENOENT, unix.EOPNOTSUPP, unix.ENODEV,
		unix.ENOKEY, unix.ESRCH)
	var list []Attempt
	for _, r := range rares() {
		list = append(list, Attempt{Name: "call-" + r.name, What: r.what, Refused: refused,
			Contained: "the sandbox's own kernel answers it", Marks: call(int(r.number)),
			try: func(*Scene) error { return attemptRare(r) }})
	}
	return append(list,
		Attempt{Name: "call-clock", What: "set the host's clock", Refused: noCall(unix.EINVAL),
			Marks: call(unix.SYS_CLOCK_SETTIME), try: func(*Scene) error {
				return unix.ClockSettime(unix.CLOCK_REALTIME, &unix.Timespec{Sec: 86400})
			}},
		Attempt{Name: "call-adjust-clock", What: "slew the host's clock", Refused: noCall(unix.EINVAL),
			Marks: call(unix.SYS_ADJTIMEX), try: func(*Scene) error {
				_, err := unix.Adjtimex(&unix.Timex{Modes: unix.ADJ_OFFSET, Offset: 1000})
				return err
			}},
		Attempt{Name: "call-host-name", What: "set the host's name", Refused: noCall(),
			Marks:     call(unix.SYS_SETHOSTNAME),
			Contained: "the name is the sandbox's own", try: func(*Scene) error {
				return unix.Sethostname([]byte("surety-escape"))
			}},
		Attempt{Name: "call-domain-name", What: "set the host's domain", Refused: noCall(),
			Marks:     call(unix.SYS_SETDOMAINNAME),
			Contained: "the name is the sandbox's own", try: func(*Scene) error {
				return unix.Setdomainname([]byte("surety-escape"))
			}},
		Attempt{Name: "call-handle", What: "shocker: open inode 2 of the host by a forged handle",
			Refused: noCall(unix.EOPNOTSUPP, unix.ESTALE, unix.EINVAL, unix.EBADF),
			Marks:   call(unix.SYS_OPEN_BY_HANDLE_AT), try: shocker},
		Attempt{Name: "call-undefined", What: "call numbers that mean nothing",
			Refused: noCall(), Marks: call(-1), try: undefinedCalls})
}

// attemptRare gives the call a page of zeros where it takes a pointer that matters.
func attemptRare(r rare) error {
	var page [256]byte
	switch r.name {
	case "bpf-map":
		page[0], page[4], page[8], page[12] = 1, 4, 4, 1
		r.args[1] = uintptr(unsafe.Pointer(&page[0]))
	case "bpf-load", "ring-setup":
		r.args[1] = uintptr(unsafe.Pointer(&page[0]))
	case "perf-event", "landlock", "use-library":
		r.args[0] = uintptr(unsafe.Pointer(&page[0]))
	case "real-time":
		page[0] = 50
		r.args[2] = uintptr(unsafe.Pointer(&page[0]))
	}
	return sys(r.number, r.args[0], r.args[1], r.args[2], r.args[3], r.args[4], r.args[5],
		uintptr(unsafe.Pointer(&page[0])))
}

// shocker opens the root of whatever file system a descriptor is on, by its inode number.
func shocker(s *Scene) error {
	var last error
	for _, file := range []string{"/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/", s.Volume} {
		fd, err := unix.Open(file, unix.O_RDONLY, 0)
		if err != nil {
			continue
		}
		handle := unix.NewFileHandle(1, []byte{2, 0, 0, 0, 0, 0, 0, 0})
		root, err := unix.OpenByHandleAt(fd, handle, unix.O_RDONLY)
		if last = err; err != nil {
			continue
		}
		if err := unix.Fchdir(root); err == nil {
			return s.peek("." + s.Canary)
		}
	}
	return last
}

func undefinedCalls(*Scene) error {
	for _, number := range []uintptr{335, 400, 423, 470, 511, 512, 547, 1 << 20, 1 << 31, 1<<31 - 1,
		1 << 32, 1<<63 - 1, 1 << 63, ^uintptr(0)} {
		if err := sys(number); err == nil {
			return nil
		}
	}
	return unix.ENOSYS
}
