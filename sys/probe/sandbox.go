package probe

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What follows looks at what sandboxes need. Nothing of it is ever Missing: a node runs without
// sandboxes, and says so.

const (
	// yamaOff is the value of kernel.yama.ptrace_scope at which nobody may trace.
	yamaOff = 3

	// cgroup2Magic is what statfs says of the unified hierarchy (CGROUP2_SUPER_MAGIC).
	cgroup2Magic = 0x63677270
)

// Systrap looks at whether the kernel inside a sandbox can catch a program's system calls: it needs
// seccomp with traps, and leave to trace its own children.
func Systrap() Finding {
	const name, cost = "sandboxes (systrap)", "no sandboxes: the credit scorer runs in the node's process"
	major, minor, found := release()
	if found && (major < 4 || major == 4 && minor < 15) {
		return warn(name, cost, "kernel %d.%d, needs 4.15", major, minor)
	}
	actions, err := os.ReadFile("/proc/sys/kernel/seccomp/actions_avail")
	if err != nil || !strings.Contains(string(actions), "trap") {
		return warn(name, cost, "the kernel has no seccomp with traps")
	}
	if scope := number("/proc/sys/kernel/yama/ptrace_scope"); scope >= yamaOff {
		return warn(name, cost, "kernel.yama.ptrace_scope is %d: no process may trace another", scope)
	}
	if os.Geteuid() != 0 {
		if user := UserNamespaces(); user.State != OK {
			return warn(name, cost, "not root, and %s", user.Seen)
		}
	}
	return ok(name, "seccomp with traps, tracing of children")
}

// ControlGroups looks at whether limits on a sandbox's memory and processors can be set.
func ControlGroups() Finding {
	const name, cost = "control groups", "limits on a sandbox's memory and processors are refused"
	var stat unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &stat); err != nil {
		return warn(name, cost, "/sys/fs/cgroup: %v", err)
	}
	if stat.Type == cgroup2Magic {
		return unified(name, cost)
	}
	var usable []string
	for _, controller := range []string{"memory", "cpu", "pids"} {
		if unix.Access("/sys/fs/cgroup/"+controller, unix.W_OK) == nil {
			usable = append(usable, controller)
		}
	}
	if len(usable) < 3 {
		return warn(name, cost, "version 1, writable: %s", orNone(usable))
	}
	return ok(name, "version 1: %s", strings.Join(usable, ", "))
}

// unified looks at the control group of version 2 that this process is in.
func unified(name, cost string) Finding {
	text, err := os.ReadFile("/proc/self/cgroup")
	own, found := strings.CutPrefix(strings.TrimSpace(string(text)), "0::")
	if err != nil || !found {
		return warn(name, cost, "version 2, and /proc/self/cgroup does not say which")
	}
	dir := filepath.Join("/sys/fs/cgroup", own)
	if os.Geteuid() == 0 {
		dir = "/sys/fs/cgroup"
	}
	controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return warn(name, cost, "version 2: %v", plain(err))
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return warn(name, cost, "version 2: %s cannot be written: %v", dir, err)
	}
	have := strings.Fields(string(controllers))
	for _, wanted := range []string{"memory", "cpu", "pids"} {
		if !strings.Contains(" "+strings.Join(have, " ")+" ", " "+wanted+" ") {
			return warn(name, cost, "version 2 without %s: %s", wanted, orNone(have))
		}
	}
	return ok(name, "version 2: %s", strings.Join(have, ", "))
}

// UserNamespaces tries whether this user can make user and network namespaces.
func UserNamespaces() Finding {
	const name, cost = "user namespaces", "sandboxes need root"
	if most := number("/proc/sys/user/max_user_namespaces"); most == 0 {
		return warn(name, cost, "user.max_user_namespaces is 0")
	}
	if err := tryNamespaces(); err != nil {
		return warn(name, cost, "making one: %v", err)
	}
	return ok(name, "made one, with a network of its own")
}

// tryNamespaces runs a program that does nothing in namespaces of its own.
func tryNamespaces() error {
	path, err := exec.LookPath("true")
	if err != nil {
		return nil // nothing to try it with: the kernel's settings allow it
	}
	command := &exec.Cmd{Path: path, Args: []string{"true"}, Env: []string{},
		SysProcAttr: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}}}
	err = command.Run()
	var path2 *os.PathError
	if errors.As(err, &path2) {
		return path2.Err
	}
	return err
}

// Rootless looks at whether sandboxes could run for users who are not root.
func Rootless() Finding {
	const name, cost = "rootless sandboxes", "only root can run sandboxes"
	for _, setting := range []struct {
		path string
		bad  int64
	}{{"/proc/sys/kernel/unprivileged_userns_clone", 0},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 1}} {
		if number(setting.path) == setting.bad {
			return warn(name, cost, "%s is %d", strings.ReplaceAll(strings.TrimPrefix(setting.path,
				"/proc/sys/"), "/", "."), setting.bad)
		}
	}
	if user := UserNamespaces(); user.State != OK {
		return warn(name, cost, "%s", user.Seen)
	}
	if os.Geteuid() == 0 {
		return ok(name, "the kernel's settings allow it; this is root")
	}
	return ok(name, "this user can")
}

// Tun looks at whether a sandbox can have a network stack of its own with a way out.
func Tun() Finding {
	const name, cost = "network devices (tun)",
		"sandboxes of network stack have no way out; those of none are not affected"
	device, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return warn(name, cost, "/dev/net/tun: %v", plain(err))
	}
	if err := device.Close(); err != nil {
		return warn(name, cost, "/dev/net/tun: %v", plain(err))
	}
	return ok(name, "/dev/net/tun opens")
}

// number reads a number from a file of the kernel's; -1 where there is none.
func number(path string) int64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return -1
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// release returns the kernel's release, where it says one.
func release() (major, minor int, found bool) {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return 0, 0, false
	}
	return kernelVersion(unix.ByteSliceToString(name.Release[:]))
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}
