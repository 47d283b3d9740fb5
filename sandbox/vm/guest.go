package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// IsGuest reports whether the process is one of the two that this binary is in a guest: its pid 1,
// by the kernel's command line, or the agent, by its name.
func IsGuest(argv []string) bool {
	return isInit(argv) && os.Getpid() == 1 || isAgent(argv) && os.Getppid() == 1
}

// isInit looks for the mark anywhere: the kernel puts words of its line that it does not know itself
// before those that are meant for pid 1.
func isInit(argv []string) bool {
	return len(argv) >= 2 && argv[0] == guestInit && slices.Contains(argv[1:], guestMark)
}

func isAgent(argv []string) bool { return len(argv) >= 1 && argv[0] == agentMark }

// GuestMain is the whole life of a process for which IsGuest holds. In pid 1 it does not return but
// by ending the machine.
func GuestMain(argv []string, inside Inside) int {
	if isAgent(argv) {
		return agentMain(argv[1:], inside)
	}
	if err := initMain(argv[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "surety: guest:", err)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // QEMU, told not to reboot, ends
	return 1                                       // the kernel panics, and the machine ends too
}

// initMain is what pid 1 does: make the machine usable, start the agent, and bury the dead until it
// ends.
func initMain(words []string) error {
	for _, step := range [...]func() error{mountEarly, loadModules, changeRoot, mountLate} {
		if err := step(); err != nil {
			return err
		}
	}
	agent, err := startAgent(words)
	if err != nil {
		return errs.Wrap(err, "start the agent")
	}
	return bury(agent)
}

// startAgent starts the agent in a network namespace of its own, which gets the network device: our
// kernel takes a device from any namespace but the first. The agent waits for the end of its input,
// which says that the device is there.
func startAgent(words []string) (pid int, err error) {
	wait, done, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer wait.Close()
	defer done.Close()
	agent, err := os.StartProcess("/proc/self/exe", append([]string{agentMark}, words...),
		&os.ProcAttr{
			Env:   []string{"PATH=/", "HOME=/root", "TMPDIR=/tmp"},
			Files: []*os.File{wait, os.Stdout, os.Stderr},
			Sys:   &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET},
		})
	if err != nil {
		return 0, err
	}
	if hasWire(words) {
		err = giveDevice(wireName, agent.Pid)
	}
	return agent.Pid, err
}

// bury waits for children, most of them orphans of processes that ended, until the agent is one.
func bury(agent int) error {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return errs.Wrap(err, "wait for the agent")
		case pid != agent:
		case status.ExitStatus() != 0:
			return errs.New(errs.Internal, "the agent ended with status %#x", int(status))
		default:
			return nil
		}
	}
}

// fileSystem is one mount.
type fileSystem struct {
	kind, at, options string
	flags             uintptr
}

const harmless = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// mountEarly mounts what loading modules needs.
func mountEarly() error {
	return mountAll([]fileSystem{
		{"proc", "/proc", "", harmless},
		{"sysfs", "/sys", "", harmless},
		{"devtmpfs", "/dev", "mode=0755", unix.MS_NOSUID},
	})
}

// mountLate mounts the rest, on the root that stays.
func mountLate() error {
	if err := os.MkdirAll("/dev/pts", 0o755); err != nil {
		return errs.Wrap(err, "make /dev/pts")
	}
	if err := os.MkdirAll("/dev/shm", 0o1777); err != nil {
		return errs.Wrap(err, "make /dev/shm")
	}
	err := mountAll([]fileSystem{
		{"devpts", "/dev/pts", "mode=0620,ptmxmode=0666", unix.MS_NOSUID | unix.MS_NOEXEC},
		{"tmpfs", "/dev/shm", "mode=1777", harmless},
		{"tmpfs", "/run", "mode=0755", unix.MS_NOSUID | unix.MS_NODEV},
		{"tmpfs", "/tmp", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV},
		{"cgroup2", "/sys/fs/cgroup", "", harmless},
	})
	if err != nil {
		return err
	}
	for _, link := range [...][2]string{
		{"/proc/self/fd", "/dev/fd"}, {"pts/ptmx", "/dev/ptmx"},
	} {
		_ = os.Remove(link[1]) // the device tree may have brought one
		if err := os.Symlink(link[0], link[1]); err != nil {
			return errs.Wrap(err, "link %s", link[1])
		}
	}
	return nil
}

func mountAll(all []fileSystem) error {
	for _, fs := range all {
		if err := unix.Mount(fs.kind, fs.at, fs.kind, fs.flags, fs.options); err != nil {
			return errs.Wrap(err, "mount %s at %s", fs.kind, fs.at)
		}
	}
	return nil
}

// loadModules loads the drivers in the order in which they were packed.
func loadModules() error {
	list, err := os.ReadFile("/" + moduleList)
	if err != nil {
		return errs.Wrap(err, "list of modules")
	}
	for _, name := range strings.Fields(string(list)) {
		f, err := os.Open(filepath.Join("/"+moduleDir, name))
		if err != nil {
			return errs.Wrap(err, "module %s", name)
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		_ = f.Close() // read-only
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return errs.Wrap(err, "module %s", name)
		}
	}
	return nil
}

// changeRoot puts a mount over the first file system and makes that the root. The kernel lets nobody
// change the root away from the first file system itself, which our kernel does when it boots.
func changeRoot() error {
	const stage = "/run"
	if err := unix.Mount("/", stage, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return errs.Wrap(err, "bind the root")
	}
	for _, step := range [...]struct {
		name string
		do   func() error
	}{
		{"enter the new root", func() error { return unix.Chdir(stage) }},
		{"move the new root", func() error { return unix.Mount(".", "/", "", unix.MS_MOVE, "") }},
		{"change the root", func() error { return unix.Chroot(".") }},
		{"enter the root", func() error { return unix.Chdir("/") }},
	} {
		if err := step.do(); err != nil {
			return errs.Wrap(err, "%s", step.name)
		}
	}
	return nil
}

// hasWire reports whether the host gave the machine a network.
func hasWire(words []string) bool { return slices.Contains(words, wireMark) }
