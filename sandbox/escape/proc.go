package escape

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// control is a file of proc or sys whose change would be felt by the whole host.
type control struct{ name, file, text, what string }

// controls are written with harmless words: a host that took one would show it and go on.
func controls() []control {
	const kernel = "/proc/sys/kernel/"
	return []control{
		{"core-pattern", kernel + "core_pattern", "|/tmp/surety-escape-core", "a program the host runs for each crash"},
		{"modprobe", kernel + "modprobe", "/tmp/surety-escape-modprobe", "a program the host runs to load modules"},
		{"hotplug", kernel + "hotplug", "/tmp/surety-escape-hotplug", "a program the host runs for each device"},
		{"uevent-helper", "/sys/kernel/uevent_helper", "/tmp/surety-escape-uevent", "the same, by its newer name"},
		{"poweroff-command", kernel + "poweroff_cmd", "/tmp/surety-escape-poweroff", "a program the host runs at its end"},
		{"sysrq-trigger", "/proc/sysrq-trigger", "h", "keys of the console; h only prints help"},
		{"sysrq", kernel + "sysrq", "1", "which of those keys work"},
		{"panic", kernel + "panic", "0", "what the host does when it panics"},
		{"host-name", kernel + "hostname", "surety-escape", "the host's name"},
		{"randomize", kernel + "randomize_va_space", "0", "address randomisation of the host"},
		{"pointer-restrict", kernel + "kptr_restrict", "0", "kernel addresses shown to all"},
		{"ptrace-scope", kernel + "yama/ptrace_scope", "0", "who may trace whom"},
		{"last-pid", kernel + "ns_last_pid", "7", "the next process number"},
		{"overcommit", "/proc/sys/vm/overcommit_memory", "1", "memory policy of the host"},
		{"drop-caches", "/proc/sys/vm/drop_caches", "1", "the host's page cache"},
		{"protected-links", "/proc/sys/fs/protected_symlinks", "0", "protection of links in sticky folders"},
		{"suid-dumpable", "/proc/sys/fs/suid_dumpable", "2", "core files of privileged programs"},
		{"ip-forward", "/proc/sys/net/ipv4/ip_forward", "1", "routing between the host's networks"},
		{"binfmt", "/proc/sys/fs/binfmt_misc/register", ":surety:M::surety::/tmp/surety-escape:", "an interpreter of it"},
		{"power-state", "/sys/power/state", "surety", "sleep; the word is no state"},
		{"disk-state", "/sys/power/disk", "surety", "the same, to disk"},
		{"cpu-online", "/sys/devices/system/cpu/cpu1/online", "1", "a processor of the host"},
		{"cgroup-procs", "/sys/fs/cgroup/cgroup.procs", "0", "moving to the root control group"},
		{"cgroup-procs-v1", "/sys/fs/cgroup/memory/cgroup.procs", "0", "the same, version 1"},
		{"release-agent", "/sys/fs/cgroup/memory/release_agent", "/tmp/surety-escape-release", "CVE-2022-0492: another"},
		{"subtree-control", "/sys/fs/cgroup/cgroup.subtree_control", "+memory", "the host's control groups"},
		{"ksm", "/sys/kernel/mm/ksm/run", "1", "memory merging of the host"},
		{"huge-pages", "/sys/kernel/mm/transparent_hugepage/enabled", "never", "paging of the host"},
		{"firmware", "/sys/firmware/efi/vars/del_var", "x", "variables of the firmware"},
		{"security", "/sys/kernel/security/apparmor/.remove", "surety", "profiles of the host"},
		{"trace-events", "/sys/kernel/tracing/kprobe_events", "p:surety do_exit", "probes in the host's kernel"},
		{"trace-events-old", "/sys/kernel/debug/tracing/kprobe_events", "p:surety do_exit", "the same, older path"},
		{"interrupts", "/proc/irq/default_smp_affinity", "1", "interrupts of the host"},
		{"acpi", "/proc/acpi/wakeup", "surety", "wake-up devices of the host"},
		{"scsi", "/proc/scsi/scsi", "scsi surety", "disks of the host"},
		{"mtrr", "/proc/mtrr", "surety", "memory types of the host"},
		{"confine-exec", "/proc/self/attr/exec", "unconfined", "the security label after exec"},
		{"confine-current", "/proc/thread-self/attr/current", "unconfined", "the security label (CVE-2019-16884)"},
		{"init-oom-score", "/proc/1/oom_score_adj", "-1000", "whom the host spares"},
		{"init-oom-adj", "/proc/1/oom_adj", "-17", "the same, older name"},
		{"init-clear-refs", "/proc/1/clear_refs", "1", "pages of the first process"},
		{"init-uid-map", "/proc/1/uid_map", "0 0 4294967295", "its users"},
		{"init-timers", "/proc/1/timerslack_ns", "1", "its timers"},
		{"init-sched", "/proc/1/sched", "0", "its scheduling counters"},
	}
}

func procAttempts() []Attempt {
	var list []Attempt
	for _, c := range controls() {
		list = append(list, Attempt{Name: "write-" + c.name, What: "write " + c.file + ": " + c.what,
			Refused: noFile(unix.EINVAL, unix.ENOTSUP, unix.EIO), Marks: path(filepath.Base(c.file)),
			Contained: "the file is the sandbox's kernel's own",
			try:       func(*Scene) error { return write(c.file, c.text) }})
	}
	return append(list, procReads()...)
}

// procReads look for the host's memory, messages and files under proc.
func procReads() []Attempt {
	own := "what is read is the sandbox's kernel's own"
	reads := func(name, file, what string) Attempt {
		return Attempt{Name: "read-" + name, What: "read " + file + ": " + what,
			Refused: noFile(unix.EIO, unix.EAGAIN), Contained: own, Marks: path(filepath.Base(file)),
			try: func(s *Scene) error { return s.peek(file) }}
	}
	return []Attempt{
		reads("kcore", "/proc/kcore", "memory of the kernel"),
		reads("kmsg", "/proc/kmsg", "messages of the kernel"),
		reads("kallsyms", "/proc/kallsyms", "addresses of the kernel"),
		reads("keys", "/proc/keys", "key rings of the host"),
		reads("timers", "/proc/timer_list", "timers of the host"),
		reads("iomem", "/proc/iomem", "physical addresses"),
		reads("config", "/proc/config.gz", "how the kernel was built"),
		reads("scheduler", "/sys/kernel/debug/sched/debug", "processes of the host"),
		{Name: "init-root", What: "read the canary under /proc/N/root and /proc/N/cwd of every process",
			Refused: noFile(), Marks: path("/"), try: procRoots},
		{Name: "init-memory", What: "write to the memory of the first process by /proc/1/mem",
			Refused: noFile(unix.EIO, unix.EINVAL), Marks: path("/mem"), try: foreignMemory,
			Contained: "the first process is the sandbox's own, and whom root may change"},
		{Name: "init-descriptors", What: "reopen the descriptors of the first process",
			Refused: noFile(unix.ENXIO, unix.ENODEV, unix.ENOTDIR), Marks: path("/"), try: foreignDescriptors},
		{Name: "init-environment", What: "read secrets from the environment of other processes",
			Refused: noFile(unix.EIO), Contained: own, Marks: path("/environ"),
			try: func(s *Scene) error { return s.peek("/proc/1/environ") }},
		{Name: "magic-links", What: "walk out through /proc/self/cwd/../../.. and /proc/self/root/..",
			Refused: noFile(), Marks: path("/"), try: magicLinks},
	}
}

// procRoots looks for the canary below every process's root and working directory.
func procRoots(s *Scene) error {
	last := error(fmt.Errorf("no process: %w", unix.ENOENT))
	for _, entry := range entries("/proc") {
		if _, err := strconv.Atoi(entry); err != nil {
			continue
		}
		for _, link := range []string{"root", "cwd", "cwd/../../../../../../.."} {
			last = s.peek(filepath.Join("/proc", entry) + "/" + link + s.Canary)
			if _, found := last.(reached); found {
				return last
			}
		}
	}
	return last
}

func magicLinks(s *Scene) error {
	var last error
	for _, prefix := range []string{"/proc/self/root/..", "/proc/self/cwd/../../../../..",
		"/proc/thread-self/root/../..", "/proc/self/task/../root/..", "/dev/fd/../../..", "/..",
		"/proc/self/map_files/../../.."} {
		last = s.peek(prefix + s.Canary)
		if _, found := last.(reached); found {
			return last
		}
	}
	return last
}

// foreignMemory writes one byte back where it read it in the first process.
func foreignMemory(*Scene) error {
	maps, err := os.ReadFile("/proc/1/maps")
	if err != nil {
		return err
	}
	from, _, _ := strings.Cut(string(maps), "-")
	at, err := strconv.ParseInt(from, 16, 64)
	if err != nil {
		return fmt.Errorf("no map of the first process: %w", unix.ENOENT)
	}
	fd, err := unix.Open("/proc/1/mem", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	var one [1]byte
	if _, err := unix.Pread(fd, one[:], at); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	_, err = unix.Pwrite(fd, one[:], at)
	return err
}

// foreignDescriptors reopens whatever other processes hold and looks for things of the host.
func foreignDescriptors(s *Scene) error {
	last := error(fmt.Errorf("nothing open: %w", unix.ENOENT))
	for _, process := range entries("/proc") {
		if _, err := strconv.Atoi(process); err != nil {
			continue
		}
		dir := "/proc/" + process + "/fd/"
		for _, number := range entries(dir) {
			target, err := os.Readlink(dir + number)
			if err == nil && strings.HasPrefix(target, "/sys/fs/cgroup/") {
				return reached{"a descriptor of " + target + " is open"}
			}
			for _, below := range []string{"", "/../../../.." + s.Canary} {
				last = s.peek(dir + number + below)
				if _, found := last.(reached); found {
					return last
				}
			}
		}
	}
	if last == nil {
		last = fmt.Errorf("nothing of the host is open: %w", unix.ENOENT)
	}
	return last
}

// entries returns the names in a directory, none when it cannot be read.
func entries(dir string) []string {
	list, _ := os.ReadDir(dir)
	names := make([]string, 0, len(list))
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}
