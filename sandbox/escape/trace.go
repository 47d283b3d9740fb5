package escape

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func traceAttempts() []Attempt {
	own := "the process is the sandbox's own"
	refused := noCall(unix.ESRCH, unix.EIO, unix.EINVAL, unix.EFAULT)
	traces := func(name string, request, pid int, what string) Attempt {
		return Attempt{Name: name, What: what, Refused: refused, Contained: own,
			Marks: call(unix.SYS_PTRACE), try: func(*Scene) error {
				runtime.LockOSThread()
				return sys(unix.SYS_PTRACE, uintptr(request), uintptr(pid), 0, 0)
			}}
	}
	return []Attempt{
		traces("seize-first", unix.PTRACE_SEIZE, 1, "trace the first process"),
		traces("seize-parent", unix.PTRACE_SEIZE, os.Getppid(), "trace the process that started us"),
		traces("seize-distant", unix.PTRACE_SEIZE, 31337, "trace a process number of the host"),
		{Name: "traceme", What: "be traced by the parent", Refused: refused, Contained: own,
			Marks: call(unix.SYS_PTRACE), try: func(*Scene) error { return traceMe() }},
		{Name: "poke-child", What: "write into the memory of a traced child", Refused: refused,
			Contained: own, Marks: call(unix.SYS_PTRACE), try: pokeChild},
		{Name: "read-first", What: "read the first process by process_vm_readv", Refused: refused,
			Contained: own, Marks: call(unix.SYS_PROCESS_VM_READV), try: func(*Scene) error {
				return crossRead(unix.SYS_PROCESS_VM_READV)
			}},
		{Name: "write-first", What: "write the first process by process_vm_writev", Refused: refused,
			Contained: own, Marks: call(unix.SYS_PROCESS_VM_WRITEV), try: func(*Scene) error {
				return crossRead(unix.SYS_PROCESS_VM_WRITEV)
			}},
		{Name: "steal-descriptor", What: "take a descriptor of the first process by pidfd_getfd",
			Refused: append(refused, unix.EBADF), Contained: own, Marks: call(unix.SYS_PIDFD_OPEN),
			try: func(*Scene) error {
				fd, err := unix.PidfdOpen(1, 0)
				if err != nil {
					return err
				}
				_, err = unix.PidfdGetfd(fd, 3, 0)
				return err
			}},
		{Name: "compare-kernels", What: "compare descriptors with the first process by kcmp",
			Refused: refused, Contained: own, Marks: call(unix.SYS_KCMP), try: func(*Scene) error {
				return sys(unix.SYS_KCMP, 1, uintptr(os.Getpid()), 0, 0, 1)
			}},
		{Name: "advise-first", What: "page out the first process by process_madvise",
			Refused: append(refused, unix.EBADF), Contained: own, Marks: call(unix.SYS_PROCESS_MADVISE),
			try: func(*Scene) error {
				return sys(unix.SYS_PROCESS_MADVISE, 0, 0, 0, 21, 0)
			}},
		{Name: "limit-first", What: "change the limits of the first process by prlimit",
			Refused: refused, Contained: own, Marks: call(unix.SYS_PRLIMIT64), try: func(*Scene) error {
				limit := unix.Rlimit{Cur: 64, Max: 64}
				return unix.Prlimit(os.Getppid(), unix.RLIMIT_CORE, &limit, nil)
			}},
		{Name: "signal-host", What: "send signal 0 to process numbers of the host", Refused: refused,
			Marks: call(unix.SYS_KILL), try: signalHost},
		{Name: "queue-forged", What: "queue a signal that claims to come from the kernel",
			Refused: refused, Contained: own, Marks: call(unix.SYS_RT_SIGQUEUEINFO), try: forgedSignal},
		{Name: "move-pages", What: "move pages of the first process between nodes",
			Refused: append(refused, unix.ENODEV), Contained: own, Marks: call(unix.SYS_MOVE_PAGES),
			try: func(*Scene) error { return sys(unix.SYS_MOVE_PAGES, 1, 0, 0, 0, 0, 2) }},
		{Name: "robust-list", What: "read the robust list of the first process",
			Refused: refused, Contained: own, Marks: call(unix.SYS_GET_ROBUST_LIST),
			try: func(*Scene) error {
				var head, size uintptr
				return sys(unix.SYS_GET_ROBUST_LIST, 1, uintptr(unsafe.Pointer(&head)),
					uintptr(unsafe.Pointer(&size)))
			}},
	}
}

// traceMe asks in a process of its own, which leaves at once: a traced process stops at every signal
// and would stop the drill with it.
func traceMe() error {
	runtime.LockOSThread()
	pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 {
		return e
	}
	if pid == 0 {
		_, _, e := unix.RawSyscall(unix.SYS_PTRACE, unix.PTRACE_TRACEME, 0, 0)
		unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(e), 0, 0)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(int(pid), &status, 0, nil); err != nil {
		return err
	}
	if status.ExitStatus() > 0 {
		return unix.Errno(status.ExitStatus())
	}
	return nil
}

func pokeChild(*Scene) error {
	runtime.LockOSThread()
	child := exec.Command("/proc/self/exe", "idle")
	child.Args[0] = "/" + Name
	child.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Pdeathsig: unix.SIGKILL}
	if err := child.Start(); err != nil {
		return err
	}
	defer unix.Kill(child.Process.Pid, unix.SIGKILL)
	unix.Wait4(child.Process.Pid, nil, 0, nil)
	var registers unix.PtraceRegs
	if err := unix.PtraceGetRegs(child.Process.Pid, &registers); err != nil {
		return err
	}
	registers.Cs = 0x10 // the kernel's code segment: a host that took it would run us in ring 0
	if err := unix.PtraceSetRegs(child.Process.Pid, &registers); err != nil {
		return err
	}
	_, err := unix.PtracePokeData(child.Process.Pid, uintptr(registers.Rsp), []byte{1, 2, 3, 4})
	return err
}

func crossRead(number uintptr) error {
	var local [16]byte
	own := unix.Iovec{Base: &local[0], Len: 16}
	theirs := unix.RemoteIovec{Base: 0x400000, Len: 16}
	return sys(number, 1, uintptr(unsafe.Pointer(&own)), 1, uintptr(unsafe.Pointer(&theirs)), 1, 0)
}

// signalHost looks for processes far above those a sandbox has.
func signalHost(*Scene) error {
	for pid := 2000; pid < 2200; pid++ {
		if err := unix.Kill(pid, 0); err == nil || err == unix.EPERM {
			return reached{fmt.Sprintf("process %d answers", pid)}
		}
	}
	return unix.ESRCH
}

func forgedSignal(*Scene) error {
	var info [128]byte
	*(*int32)(unsafe.Pointer(&info[0])) = int32(unix.SIGURG)
	*(*int32)(unsafe.Pointer(&info[8])) = 0x80 // SI_KERNEL
	return sys(unix.SYS_RT_SIGQUEUEINFO, 1, uintptr(unix.SIGURG), uintptr(unsafe.Pointer(&info[0])))
}
