package escape

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Picture is what an escape would change of the host: what each thing is called, and how it is.
type Picture struct {
	things map[string]string
	offset int64 // of the wall clock against the time since boot, in seconds
}

// Picture looks at the host: mounts, controls, network devices, modules, control groups and
// processes of the drill, files that would be written, the kernel's log, and the drill's own files.
// What other programs of the host change of their own accord is not looked at.
func (g *Ground) Picture() Picture {
	p := Picture{things: map[string]string{}}
	p.mounts(g.dir)
	p.controls()
	p.lists()
	p.files()
	p.tree(g.dir)
	p.groups(g.name)
	p.processes(g.name, g.dir)
	p.log()
	var wall, boot unix.Timespec
	if unix.ClockGettime(unix.CLOCK_REALTIME, &wall) == nil &&
		unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) == nil {
		p.offset = wall.Sec - boot.Sec
	}
	return p
}

// clockSlack is how far the two clocks may part between two pictures, in seconds: the time between
// reading them, and the slewing of a time server.
const clockSlack = 3

// Differences says what of the host is not as it was.
func (p Picture) Differences(after Picture) []string {
	var all []string
	for name, was := range p.things {
		switch is, there := after.things[name]; {
		case !there:
			all = append(all, name+" is gone")
		case is != was:
			all = append(all, fmt.Sprintf("%s was %q, is %q", name, clip(was), clip(is)))
		}
	}
	for name, is := range after.things {
		if _, there := p.things[name]; !there {
			all = append(all, fmt.Sprintf("%s is new: %q", name, clip(is)))
		}
	}
	if moved := after.offset - p.offset; moved > clockSlack || moved < -clockSlack {
		all = append(all, fmt.Sprintf("the clock moved by %d seconds", moved))
	}
	slices.Sort(all)
	return all
}

// Things is how many things are in the picture.
func (p Picture) Things() int { return len(p.things) }

func clip(text string) string {
	if len(text) > 160 {
		return text[:160] + " ..."
	}
	return text
}

func (p *Picture) mounts(dir string) {
	content, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(content)) {
		// Other programs mount below the temporary directory and unmount as they please; an attempt
		// mounts there under a name of its own.
		if field := strings.Fields(line); len(field) > 5 &&
			(!strings.HasPrefix(field[4], os.TempDir()) || strings.Contains(field[4], "escape") ||
				strings.HasPrefix(field[4], dir)) {
			p.things["mount "+field[0]+" at "+field[4]] = strings.Join(field[2:], " ")
		}
	}
}

// controls are the files that attempts write, and the rest of what they stand for.
func (p *Picture) controls() {
	for _, c := range controls() {
		if c.name == "sysrq-trigger" || strings.HasPrefix(c.file, "/proc/self/") ||
			strings.HasPrefix(c.file, "/proc/thread-self/") ||
			c.name == "last-pid" || strings.HasPrefix(c.name, "cgroup-procs") ||
			strings.HasPrefix(c.name, "init-sched") {
			continue // they change by themselves, or cannot be read
		}
		content, err := os.ReadFile(c.file)
		if err == nil {
			p.things["control "+c.file] = string(content)
		}
	}
	for _, name := range []string{"domainname", "printk", "modules_disabled", "core_uses_pid",
		"perf_event_paranoid", "unprivileged_bpf_disabled", "kexec_load_disabled", "pid_max"} {
		content, err := os.ReadFile("/proc/sys/kernel/" + name)
		if err == nil {
			p.things["control "+name] = string(content)
		}
	}
}

// lists are of the kernel's own things.
func (p *Picture) lists() {
	for _, dir := range []string{"/sys/class/net", "/sys/block", "/sys/module", "/run/netns",
		"/proc/sys/fs/binfmt_misc", "/sys/fs/bpf", "/var/spool/cron", "/etc/cron.d"} {
		for _, name := range entries(dir) {
			p.things["entry "+dir+"/"+name] = ""
		}
	}
	for _, file := range []string{"/proc/swaps", "/proc/net/route", "/proc/filesystems"} {
		content, err := os.ReadFile(file)
		if err == nil {
			p.things["list "+file] = string(content)
		}
	}
	left, _ := filepath.Glob("/tmp/surety-escape*")
	for _, name := range left {
		p.things["file "+name] = ""
	}
}

// files are those of the host that programs break in by.
func (p *Picture) files() {
	for _, name := range []string{"/etc/passwd", "/etc/shadow", "/etc/group", "/etc/hosts",
		"/etc/hostname", "/etc/resolv.conf", "/etc/ld.so.preload", "/etc/ld.so.cache", "/etc/sudoers",
		"/root/.ssh/authorized_keys", "/root/.bashrc", "/etc/crontab", "/bin/sh", "/proc/self/exe"} {
		if info, err := os.Stat(name); err == nil {
			p.things["file "+name] = describe(name, info)
		}
	}
}

// tree is every file of the drill but what its sandboxes keep.
func (p *Picture) tree(dir string) {
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return nil
		}
		if d.IsDir() && name == filepath.Join(dir, "state") {
			return fs.SkipDir
		}
		if info, err := d.Info(); err == nil {
			p.things["file "+name] = describe(name, info)
		}
		return nil
	})
}

// describe is all that a write could change of a file: times, owner, links, attributes, content.
func describe(name string, info fs.FileInfo) string {
	var state unix.Stat_t
	if err := unix.Lstat(name, &state); err != nil {
		return err.Error()
	}
	if info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0 {
		_ = unix.Stat(name, &state)
	}
	attributes := make([]byte, 256)
	n, _ := unix.Llistxattr(name, attributes)
	text := fmt.Sprintf("inode %d mode %o owner %d:%d links %d size %d written %d.%d changed %d.%d %q",
		state.Ino, state.Mode, state.Uid, state.Gid, state.Nlink, state.Size, state.Mtim.Sec,
		state.Mtim.Nsec, state.Ctim.Sec, state.Ctim.Nsec, attributes[:max(n, 0)])
	if info.Mode().IsRegular() {
		content, err := os.ReadFile(name)
		if err != nil {
			return text + " " + err.Error()
		}
		sum := sha256.Sum256(content)
		text += " sha256 " + hex.EncodeToString(sum[:])
	}
	return text
}

// groups are control groups that have the drill's name.
func (p *Picture) groups(name string) {
	_ = filepath.WalkDir("/sys/fs/cgroup", func(dir string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (strings.Contains(d.Name(), name) ||
			strings.Contains(d.Name(), "surety-escape")) {
			p.things["control group "+dir] = ""
		}
		return nil
	})
}

// processes are those that have the drill's name, its directory or its program about them.
func (p *Picture) processes(name, dir string) {
	for _, entry := range entries("/proc") {
		pid, err := strconv.Atoi(entry)
		if err != nil || pid == os.Getpid() {
			continue
		}
		line, _ := os.ReadFile("/proc/" + entry + "/cmdline")
		program, _ := os.Readlink("/proc/" + entry + "/exe")
		if bytes.Contains(line, []byte(name)) || bytes.Contains(line, []byte(dir)) ||
			strings.HasPrefix(program, dir) || bytes.Contains(line, []byte(Name)) {
			p.things["process "+entry] = string(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))
		}
	}
}

// log counts the lines that attempts would leave in the kernel's log.
func (p *Picture) log() {
	text := make([]byte, 1<<20)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, text)
	if err != nil {
		return
	}
	for _, word := range []string{"surety-escape", "sysrq:", "surety:"} {
		p.things["kernel log, lines of "+word] = strconv.Itoa(bytes.Count(text[:n], []byte(word)))
	}
}
