package escape

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

func identityAttempts() []Attempt {
	root := "root of the sandbox is nobody on the host"
	refused := noCall(unix.EINVAL)
	id := func(name, what string, number int, act func() error) Attempt {
		return Attempt{Name: name, What: what, Refused: refused, Contained: root, Marks: call(number),
			try: func(*Scene) error { runtime.LockOSThread(); return act() }}
	}
	return []Attempt{
		id("become-root", "setuid(0)", unix.SYS_SETUID, func() error { return sys(unix.SYS_SETUID, 0) }),
		id("become-root-all", "setresuid(0, 0, 0)", unix.SYS_SETRESUID, func() error {
			return sys(unix.SYS_SETRESUID, 0, 0, 0)
		}),
		id("become-group", "setgid(0)", unix.SYS_SETGID, func() error { return sys(unix.SYS_SETGID, 0) }),
		id("become-groups", "setgroups(0)", unix.SYS_SETGROUPS, func() error {
			return unix.Setgroups([]int{0, 6})
		}),
		id("file-user", "setfsuid(0), and open a file of root's", unix.SYS_SETFSUID, func() error {
			return sys(unix.SYS_SETFSUID, 0)
		}),
		id("regain", "capset: take every capability", unix.SYS_CAPSET, func() error {
			header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			all := [2]unix.CapUserData{{Effective: ^uint32(0), Permitted: ^uint32(0)},
				{Effective: 0x1ff, Permitted: 0x1ff}}
			return unix.Capset(&header, &all[0])
		}),
		id("ambient", "make capabilities ambient", unix.SYS_PRCTL, func() error {
			return unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_SYS_ADMIN, 0, 0)
		}),
		id("new-privileges", "switch no_new_privs off", unix.SYS_PRCTL, func() error {
			return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)
		}),
		id("secure-bits", "change the secure bits", unix.SYS_PRCTL, func() error {
			return unix.Prctl(unix.PR_SET_SECUREBITS, 0, 0, 0, 0)
		}),
		id("memory-map", "move the program's code by PR_SET_MM", unix.SYS_PRCTL, func() error {
			return unix.Prctl(unix.PR_SET_MM, unix.PR_SET_MM_START_CODE, 0x400000, 0, 0)
		}),
		{Name: "setuid-program", What: "run a program of root's with the setuid bit",
			Refused: refused, Contained: root, Marks: call(-1), try: setuidProgram},
		{Name: "setuid-made", What: "make a program of ours setuid, and run it", Refused: refused,
			Contained: root, Marks: path("/tmp/escape-setuid"), try: func(*Scene) error {
				if err := copyOf("/tmp/escape-setuid"); err != nil {
					return err
				}
				if err := unix.Chown("/tmp/escape-setuid", 0, 0); err != nil {
					return err
				}
				if err := unix.Chmod("/tmp/escape-setuid", 0o4755); err != nil {
					return err
				}
				return runs("/tmp/escape-setuid", nil)
			}},
		{Name: "file-capability", What: "give a program capabilities, and run it", Marks: path("/tmp"),
			Refused:   append(refused, unix.ENOTSUP),
			Contained: root, try: func(*Scene) error {
				if err := copyOf("/tmp/escape-capable"); err != nil {
					return err
				}
				attribute := []byte{1, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 1, 0, 0, 0, 0, 0, 0}
				err := unix.Setxattr("/tmp/escape-capable", "security.capability", attribute, 0)
				if err != nil {
					return err
				}
				return runs("/tmp/escape-capable", nil)
			}},
		{Name: "users-file", What: "write /etc/passwd and /etc/shadow", Refused: noFile(),
			Marks: path("/etc"), Contained: "the file is the sandbox's copy of the image, in memory",
			try: func(*Scene) error {
				if err := write("/etc/passwd", "surety::0:0::/:/bin/sh\n"); err != nil {
					return err
				}
				return write("/etc/shadow", "surety::1::::::\n")
			}},
	}
}

// setuidProgram runs /surety-setuid, a copy of ourselves that a drill puts there with mode 4755,
// and asks it who it is.
func setuidProgram(*Scene) error {
	out, err := exec.Command("/surety-setuid", "--version").CombinedOutput()
	if err != nil && len(out) == 0 {
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	return fmt.Errorf("already root: %w", unix.EINVAL)
}
