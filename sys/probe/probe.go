// Package probe looks at a machine before a node trusts it with money: the disk that syncs, the
// clock, the limits, and the devices that parts can use.
//
// A probe answers with a Finding: how it stands, what was seen, and what that costs. Nothing here
// changes the machine, except that the disk probes write and remove one small file in the directory
// they are asked about.
//
// # Boundaries
//
// A probe does not decide whether a node may start; `surety doctor` shows what it found, and a
// person decides.
package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

// State is how one thing stands.
type State string

// The states, from good to bad.
const (
	OK      State = "ok"
	Warn    State = "warn"    // it works, at a cost
	Missing State = "missing" // what needs it does not work
)

// Finding is what one probe saw.
type Finding struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	Seen  string `json:"seen"`
	Cost  string `json:"cost,omitempty"` // what it costs that this is not ok; empty where it is
}

func ok(name, format string, args ...any) Finding {
	return Finding{Name: name, State: OK, Seen: fmt.Sprintf(format, args...)}
}

func warn(name, cost, format string, args ...any) Finding {
	return Finding{Name: name, State: Warn, Seen: fmt.Sprintf(format, args...), Cost: cost}
}

func missing(name, cost, format string, args ...any) Finding {
	return Finding{Name: name, State: Missing, Seen: fmt.Sprintf(format, args...), Cost: cost}
}

// Space looks at whether a directory, or the nearest one above it that exists, can be written to,
// and how much room it has.
func Space(dir string) Finding {
	const name = "data directory"
	existing, err := nearest(dir)
	if err != nil {
		return missing(name, "a node cannot start", "%s: %v", dir, plain(err))
	}
	if err := unix.Access(existing, unix.W_OK|unix.X_OK); err != nil {
		return missing(name, "a node cannot start", "%s cannot be written: %v", existing, plain(err))
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(existing, &stat); err != nil {
		return missing(name, "a node cannot start", "%s: %v", existing, err)
	}
	free := int64(stat.Bavail) * stat.Bsize
	seen := fmt.Sprintf("%s, %s free", dir, megabytes(free))
	switch {
	case free < spaceMissing:
		return missing(name, "a node cannot make its first journal segments", "%s", seen)
	case free < spaceWarn:
		return warn(name, "full after about a million loans", "%s", seen)
	}
	return ok(name, "%s", seen)
}

// Sync measures what every acknowledged transfer waits for: the time in which the disk makes one
// page durable. It takes the median of a few in the directory, or in the nearest one above it.
func Sync(clock wallclock.Clock, dir string) Finding {
	const name = "disk sync"
	took, err := medianSync(clock, dir)
	if err != nil {
		return missing(name, "no transfer can be acknowledged", "%v", err)
	}
	seen := fmt.Sprintf("median %s of %d syncs of 4 KiB", shortDuration(took), syncRounds)
	if took > syncSlow {
		return warn(name, fmt.Sprintf("one caller alone gets at most %d transfers/s; many callers "+
			"share a sync", time.Second/time.Duration(took)), "%s", seen)
	}
	return ok(name, "%s", seen)
}

// Direct looks at whether files can be written past the page cache.
func Direct(dir string) Finding {
	const name = "direct writes"
	existing, err := nearest(dir)
	if err != nil {
		return missing(name, "a node cannot start", "%v", err)
	}
	path := filepath.Join(existing, probeFile)
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return warn(name, "the journal goes through the page cache: somewhat slower, no less safe",
			"O_DIRECT: %v", err)
	}
	err = errors.Join(unix.Close(fd), os.Remove(path))
	if err != nil {
		return warn(name, "the directory does not behave", "%v", err)
	}
	return ok(name, "O_DIRECT works")
}

// medianSync writes and syncs one page syncRounds times and returns the median time of both.
func medianSync(c wallclock.Clock, dir string) (median clock.Duration, err error) {
	existing, err := nearest(dir)
	if err != nil {
		return 0, err
	}
	disk := vfs.OS{}
	path := filepath.Join(existing, probeFile)
	file, err := disk.Open(path, vfs.Create)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close(), disk.Remove(path)) }()
	page := vfs.Aligned(vfs.PageSize)
	took := make([]clock.Duration, 0, syncRounds)
	for i := range int64(syncRounds) {
		before := c.Now()
		if _, err := file.WriteAt(page, i*vfs.PageSize); err != nil {
			return 0, err
		}
		if err := file.Sync(); err != nil {
			return 0, err
		}
		took = append(took, c.Now().Sub(before))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// Clock looks at whether the machine's clock can be right, and whether the kernel says that
// something keeps it so.
func Clock(c wallclock.Clock) Finding {
	const name = "clock"
	now := c.Now()
	if now.Date() < clock.MustDate(2026, 1, 1) || now.Date() > clock.MustDate(2100, 1, 1) {
		return missing(name, "business dates would be wrong", "it says %s", now.Date())
	}
	var state unix.Timex
	status, err := unix.Adjtimex(&state)
	if err != nil || status == timeError {
		return warn(name, "timestamps drift from those of others; order within a node is safe",
			"%s, not kept in step with others (no NTP)", now.Date())
	}
	return ok(name, "%s, in step to %d us", now.Date(), state.Esterror)
}

// Port looks at whether an address is free to listen on. running tells that a node holds it now.
func Port(what, address string, running bool) Finding {
	name := what + " address"
	if running {
		return ok(name, "%s, held by the running node", address)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return missing(name, "a node cannot start there: set another", "%s: %v", address, plain(err))
	}
	if err := listener.Close(); err != nil {
		return warn(name, "the network does not behave", "%s: %v", address, err)
	}
	return ok(name, "%s is free", address)
}

// OpenFiles looks at how many files and connections the process may hold.
func OpenFiles() Finding {
	const name = "open files"
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return warn(name, "not known", "%v", err)
	}
	if limit.Cur < filesWarn && limit.Max < filesWarn {
		return warn(name, fmt.Sprintf("at most about %d callers at once; raise it with ulimit -n",
			limit.Max/2), "limit %d", limit.Max)
	}
	return ok(name, "limit %d", max(limit.Cur, limit.Max))
}

// Memory looks at how much memory is available, the control group's limit included.
func Memory() Finding {
	const name = "memory"
	available, err := memoryAvailable()
	if err != nil {
		return warn(name, "not known", "%v", err)
	}
	if available < memoryWarn {
		return warn(name, "100,000 loans need about 500 MB", "%s available", megabytes(available))
	}
	return ok(name, "%s available", megabytes(available))
}

// Kernel looks at the kernel's release.
func Kernel() Finding {
	const name = "kernel"
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return warn(name, "not known", "%v", err)
	}
	release := unix.ByteSliceToString(uts.Release[:])
	if major, minor, found := kernelVersion(release); !found || major < 4 || major == 4 && minor < 18 {
		return warn(name, "older than anything this was run on (4.18)", "%s", release)
	}
	return ok(name, "%s", release)
}

// nearest returns dir, or the nearest directory above it that exists.
func nearest(dir string) (string, error) {
	full, err := filepath.Abs(dir)
	if err != nil {
		return "", errs.As(errs.Invalid, err, "probe: %s", dir)
	}
	for {
		info, err := os.Stat(full)
		if err == nil && !info.IsDir() {
			return "", errs.New(errs.Invalid, "probe: %s is not a directory", full)
		}
		if err == nil {
			return full, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", errs.As(errs.Forbidden, err, "probe")
		}
		full = filepath.Dir(full)
	}
}

// memoryAvailable returns the smaller of what the kernel has to give and what the control group has
// left, in bytes.
func memoryAvailable() (int64, error) {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	available, found := meminfo(string(info), "MemAvailable:")
	if !found {
		return 0, errs.New(errs.NotFound, "probe: /proc/meminfo has no MemAvailable")
	}
	limit, used := cgroupNumber("memory.max"), cgroupNumber("memory.current")
	if limit > 0 {
		available = min(available, limit-used)
	}
	return available, nil
}

// meminfo returns the bytes of one line of /proc/meminfo.
func meminfo(text, key string) (int64, bool) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == key {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return n << 10, err == nil
		}
	}
	return 0, false
}

// cgroupNumber returns a number of the process's control group; zero where there is none, or
// "max".
func cgroupNumber(name string) int64 {
	data, err := os.ReadFile("/sys/fs/cgroup/" + name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// kernelVersion reads the first two numbers of a release such as "6.1.0-13-amd64".
func kernelVersion(release string) (major, minor int, found bool) {
	n, err := fmt.Sscanf(release, "%d.%d", &major, &minor)
	return major, minor, err == nil && n == 2
}

func megabytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

func shortDuration(d clock.Duration) string {
	return time.Duration(d).Round(10 * time.Microsecond).String()
}

// plain takes the path out of an error whose text already names it.
func plain(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
