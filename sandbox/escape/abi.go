package escape

import (
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// abiAttempts enter the kernel by doors that a filter may have forgotten, and run instructions that
// only a kernel may. Most end their process, which is a refusal too.
func abiAttempts() []Attempt {
	code := func(name, what string, bytes ...byte) Attempt {
		return Attempt{Name: name, What: what, Killed: true, Contained: "the instruction does what it may",
			Refused: noCall(), Marks: call(unix.SYS_MMAP),
			try: func(*Scene) error { _, err := run(bytes); return err }}
	}
	ret := byte(0xc3)
	list := []Attempt{
		{Name: "int80", What: "32-bit system calls by int 0x80", Killed: true, Refused: noCall(),
			Contained: "the 32-bit call was the sandbox's kernel's", Marks: call(unix.SYS_MMAP),
			// push rbx; mov eax, 20 (getpid); int 0x80; pop rbx; ret
			try: func(*Scene) error { return oldCall(0x53, 0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0x5b, ret) }},
		{Name: "sysenter", What: "32-bit system calls by sysenter", Killed: true, Refused: noCall(),
			Contained: "the instruction does what it may", Marks: call(unix.SYS_MMAP),
			try: func(*Scene) error { return oldCall(0xb8, 20, 0, 0, 0, 0x0f, 0x34, ret) }},
		{Name: "x32", What: "system calls of the x32 ABI", Refused: noCall(), Marks: call(-1),
			try: func(*Scene) error {
				for _, number := range []uintptr{unix.SYS_GETPID, unix.SYS_OPENAT, unix.SYS_PTRACE, 512, 520} {
					if err := sys(number | 0x40000000); err == nil {
						return nil
					}
				}
				return unix.ENOSYS
			}},
		{Name: "vsyscall", What: "call the old fixed page of the kernel", Killed: true,
			Refused: noCall(), Marks: call(-1), Contained: "the page is the sandbox's kernel's",
			try: func(*Scene) error {
				at := uintptr(0xffffffffff600400) // time
				enter := *(*func() uintptr)(unsafe.Pointer(&[]*uintptr{&at}[0]))
				enter()
				return nil
			}},
		code("halt", "hlt", 0xf4, ret),
		code("interrupts-off", "cli", 0xfa, ret),
		code("port-in", "in al, 0x80", 0xe4, 0x80, ret),
		code("read-control", "mov rax, cr0", 0x0f, 0x20, 0xc0, ret),
		code("write-control", "mov cr4, rax", 0x0f, 0x22, 0xe0, ret),
		code("read-register", "rdmsr", 0x0f, 0x32, ret),
		code("write-register", "wrmsr", 0x0f, 0x30, ret),
		code("load-table", "lgdt [rsp]", 0x0f, 0x01, 0x14, 0x24, ret),
		code("store-table", "sgdt [rsp-16]", 0x0f, 0x01, 0x44, 0x24, 0xf0, ret),
		code("sysret", "sysret", 0x48, 0x0f, 0x07),
		code("interrupt-return", "iretq with a frame of ours", 0x48, 0xcf),
		code("segment", "load a kernel segment into ds", 0xb8, 0x10, 0, 0, 0, 0x8e, 0xd8, ret),
		code("far-call", "a far call into 32-bit code",
			0x6a, 0x23, 0x48, 0x8d, 0x05, 2, 0, 0, 0, 0x50, 0x48, 0xcb),
		code("virtual-machine", "vmcall", 0x0f, 0x01, 0xc1, ret),
		code("virtual-machine-amd", "vmmcall", 0x0f, 0x01, 0xd9, ret),
		code("invalidate", "invlpg", 0x0f, 0x01, 0x38, ret),
		code("undefined", "ud2", 0x0f, 0x0b),
		code("trap-flag", "set the trap flag around a system call",
			0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0xb8, 39, 0, 0, 0, 0x0f, 0x05, ret),
		code("odd-stack", "a system call with a stack that is no address",
			0x48, 0x89, 0xe1, 0x48, 0xc7, 0xc4, 1, 0, 0, 0, 0xb8, 39, 0, 0, 0, 0x51, 0x0f, 0x05, ret),
		code("direction", "a system call with the direction flag set",
			0xfd, 0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xfc, ret),
		code("forged-return", "rt_sigreturn with a forged frame", 0xb8, 15, 0, 0, 0, 0x0f, 0x05, ret),
		{Name: "filter-self", What: "install a seccomp filter, and call what it forbids another way",
			Refused: noCall(unix.EINVAL), Marks: call(unix.SYS_PRCTL),
			Contained: "the filter is the program's own", Killed: true, try: func(*Scene) error {
				return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_STRICT, 0, 0, 0)
			}},
		{Name: "high-memory", What: "map and read addresses that are the kernel's", Killed: true,
			Refused: noCall(unix.ENOMEM, unix.EINVAL, unix.EFAULT), Marks: call(unix.SYS_MMAP),
			try: highMemory},
		{Name: "stub-memory", What: "overwrite what the platform keeps in our address space",
			Refused: noCall(unix.ENOMEM, unix.EINVAL, unix.EFAULT), Marks: call(unix.SYS_MMAP),
			Contained: "the addresses were free", Killed: true, try: stubMemory},
		{Name: "vdso-write", What: "make the kernel's page of calls writable and write to it",
			Refused: noCall(unix.EINVAL, unix.EFAULT, unix.ENOMEM), Marks: path("/maps"), Killed: true,
			Contained: "the page is a private copy", try: vdsoWrite},
	}
	return list
}

// run maps the bytes as code and calls them; what they leave in rax is returned.
func run(code []byte) (uintptr, error) {
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return 0, err
	}
	copy(page, code)
	if err := unix.Mprotect(page, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		return 0, fmt.Errorf("executable memory: %w", err)
	}
	start := &page[0]
	holder := &start // a function value is a pointer to where its code's address lies
	enter := *(*func() uintptr)(unsafe.Pointer(&holder))
	return enter(), nil
}

// oldCall runs code that makes getpid of the 32-bit table, and compares.
func oldCall(code ...byte) error {
	got, err := run(code)
	if err != nil {
		return err
	}
	if int32(got) < 0 {
		return unix.Errno(-int32(got))
	}
	if int(got) != os.Getpid() {
		return reached{fmt.Sprintf("another kernel calls us process %d", got)}
	}
	return nil
}

func highMemory(*Scene) error {
	for _, address := range []uintptr{0xffff800000000000, 0xffffffff81000000, 0x800000000000, 0} {
		_, _, e := unix.Syscall6(unix.SYS_MMAP, address, 4096, unix.PROT_READ|unix.PROT_WRITE,
			unix.MAP_FIXED|unix.MAP_ANON|unix.MAP_PRIVATE, ^uintptr(0), 0)
		if e == 0 {
			return reached{fmt.Sprintf("%#x is mapped", address)}
		}
		if _, _, e = unix.Syscall(unix.SYS_WRITE, 2, address, 1); e == 0 {
			return reached{fmt.Sprintf("%#x is readable", address)}
		}
	}
	return unix.EFAULT
}

// stubMemory maps over the highest addresses a program may have, where a platform would hide.
func stubMemory(*Scene) error {
	var last error = unix.ENOMEM
	for address := uintptr(0x7ffffffff000); address > 0x7fffe0000000; address -= 0x1000000 {
		got, _, e := unix.Syscall6(unix.SYS_MMAP, address, 4096, unix.PROT_READ|unix.PROT_WRITE,
			0x100000|unix.MAP_ANON|unix.MAP_PRIVATE, ^uintptr(0), 0) // MAP_FIXED_NOREPLACE
		if e == 0 {
			unix.Syscall(unix.SYS_MUNMAP, got, 4096, 0)
			last = nil
		}
	}
	return last
}

func vdsoWrite(*Scene) error {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.Contains(line, "[vdso]") {
			continue
		}
		var from, to uintptr
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
			return err
		}
		if err := sys(unix.SYS_MPROTECT, from, to-from, 7); err != nil {
			return err
		}
		return sys(unix.SYS_GETRANDOM, from+64, 8)
	}
	return unix.ENOMEM
}
