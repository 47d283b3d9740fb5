package escape

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sys/wallclock"
)

// FuzzReport is what the fuzzer says at its end, in JSON.
type FuzzReport struct {
	Seed    uint64         `json:"seed"`
	Rounds  int            `json:"rounds"` // children, each with a seed of its own
	Calls   uint64         `json:"calls"`
	Ended   map[string]int `json:"ended"` // how the children ended
	Elapsed clock.Duration `json:"elapsed"`
}

// fuzz makes random system calls with arguments of the right sorts. The parent counts and replaces
// children, which seldom live long: they unmap, close and signal themselves.
func fuzz(child bool, args []string) error {
	flags := flag.NewFlagSet("fuzz", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	seed := flags.Uint64("seed", 1, "")
	duration := flags.Duration("duration", 10*time.Second, "")
	if err := flags.Parse(args); err != nil {
		return errs.As(errs.Invalid, err, "escape.fuzz")
	}
	if child {
		return fuzzChild(*seed)
	}
	report, err := fuzzRounds(*seed, clock.Duration(*duration))
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

func fuzzRounds(seed uint64, duration clock.Duration) (FuzzReport, error) {
	report := FuzzReport{Seed: seed, Ended: map[string]int{}}
	fd, err := unix.MemfdCreate("calls", 0)
	if err != nil {
		return report, errs.As(errs.Unavailable, err, "escape.fuzz: memfd")
	}
	counter := os.NewFile(uintptr(fd), "calls")
	defer counter.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0) // before a child removes it
	if err != nil {
		return report, errs.As(errs.Unavailable, err, "escape.fuzz")
	}
	defer null.Close()
	watch := wallclock.System()
	began := watch.Now()
	for ; watch.Now().Sub(began) < duration; report.Rounds++ {
		if err := counter.Truncate(0); err != nil {
			return report, err
		}
		if err := counter.Truncate(4096); err != nil {
			return report, err
		}
		report.Ended[fuzzRoundOf(seed+uint64(report.Rounds), counter, null)]++
		var made [8]byte
		if _, err := counter.ReadAt(made[:], 0); err == nil {
			// A child may write over its counter as over all it has: never more than it could make.
			report.Calls += min(*(*uint64)(unsafe.Pointer(&made[0])), fuzzThreads*fuzzCalls)
		}
	}
	report.Elapsed = watch.Now().Sub(began)
	return report, nil
}

// fuzzRoundOf runs one child and says how it ended.
func fuzzRoundOf(seed uint64, counter, null *os.File) string {
	child := exec.Command("/proc/self/exe", "fuzz-child", "--seed", strconv.FormatUint(seed, 10))
	child.Args[0] = "/" + Name
	child.Stdin, child.Stdout, child.Stderr = null, null, null
	child.ExtraFiles = []*os.File{counter}
	// Its mounts are its own, or the next child would find no /proc.
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: syscall.CLONE_NEWNS}
	if err := child.Start(); err != nil {
		return "not started: " + err.Error()
	}
	group := child.Process.Pid
	alarm := time.AfterFunc(time.Duration(fuzzRound), func() { unix.Kill(-group, unix.SIGKILL) })
	err := child.Wait()
	if !alarm.Stop() {
		err = nil
	}
	unix.Kill(-group, unix.SIGKILL) // what the child forked
	sweep()
	if err == nil {
		return "time"
	}
	return err.Error()
}

// sweep ends what left its group, or else the limit of processes is soon met, and takes leave of what
// fell to us as the first process of the sandbox.
func sweep() {
	for _, entry := range entries("/proc") {
		if pid, err := strconv.Atoi(entry); err == nil && pid > 1 && pid != os.Getpid() {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
	for {
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != nil || pid <= 0 {
			return
		}
	}
}

// signature is one row of callTable.
type signature struct {
	number uintptr
	name   string
	sorts  string
}

// signatures reads callTable.
func signatures() []signature {
	var list []signature
	for _, field := range strings.Fields(callTable) {
		part := strings.Split(field, ":")
		number, err := strconv.Atoi(part[0])
		if err != nil || len(part) != 3 {
			panic(fmt.Sprintf("escape: row %q of the table of calls", field))
		}
		list = append(list, signature{uintptr(number), part[1], part[2]})
	}
	return list
}

// fuzzChild makes calls in several threads until it dies or has made enough.
func fuzzChild(seed uint64) error {
	var made *uint64
	if page, err := unix.Mmap(3, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
		made = (*uint64)(unsafe.Pointer(&page[0]))
	} else {
		made = new(uint64)
	}
	_ = os.Chdir("/tmp") // an earlier child may have removed it
	table := signatures()
	var threads sync.WaitGroup
	for n := range fuzzThreads {
		threads.Go(func() {
			runtime.LockOSThread()
			newFuzzer(seed, uint64(n), table).run(made)
		})
	}
	threads.Wait()
	return nil
}

// fuzzer is one thread's source of calls. Equal seeds give equal calls, up to what the kernel
// answers.
type fuzzer struct {
	random  *rand.Rand
	table   []signature
	buffer  []byte // arguments point into it
	paths   [][]byte
	own     uintptr
	highest int // descriptor
}

func newFuzzer(seed, thread uint64, table []signature) *fuzzer {
	// The program's own file is not among the paths: root may truncate it, which is the end of all
	// that run it, the counting parent too.
	f := &fuzzer{random: rand.New(rand.NewPCG(seed, thread)), table: table,
		buffer: make([]byte, 1<<16), own: uintptr(os.Getpid()), highest: 24}
	for _, p := range []string{"/", ".", "", "/proc/self/mem", "/proc/1/root", "/proc/self/fd/3", "/tmp/a",
		"/tmp/a/b", "/dev/null", "/dev/zero", "/dev/ptmx", "/proc/sys/kernel/hostname", "/secret/word",
		"/tmp/../secret", "/volume/word", "user.x", "tmpfs", "proc", "overlay", "@abstract", "/sys",
		"/proc/self/ns/net", "/etc/passwd", strings.Repeat("a/", 2100)} {
		f.paths = append(f.paths, append([]byte(p), 0))
	}
	f.openSome()
	return f
}

// openSome fills the table of descriptors with one of each sort.
func (f *fuzzer) openSome() {
	for _, p := range []string{"/", "/tmp", "/proc/self/mem", "/proc/self/maps", "/dev/zero", "/dev/ptmx"} {
		unix.Open(p, unix.O_RDWR|unix.O_NONBLOCK, 0)
		unix.Open(p, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	}
	for _, domain := range []int{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK} {
		unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
		unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	}
	unix.Eventfd(0, unix.EFD_NONBLOCK)
	unix.EpollCreate1(0)
	unix.InotifyInit1(unix.IN_NONBLOCK)
	unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK)
	unix.MemfdCreate("fuzz", unix.MFD_ALLOW_SEALING)
}

// run makes the calls. A process that a call made leaves at once: the parent counts on one child.
func (f *fuzzer) run(made *uint64) {
	for range fuzzCalls {
		s := f.table[f.random.IntN(len(f.table))]
		var a [6]uintptr
		for i := range a {
			if i < len(s.sorts) {
				a[i] = f.argument(s.sorts[i])
			} else if f.random.IntN(4) == 0 {
				a[i] = f.argument('x')
			}
		}
		atomic.AddUint64(made, 1)
		result, _, e := unix.RawSyscall6(s.number, a[0], a[1], a[2], a[3], a[4], a[5])
		forks := s.name == "clone" || s.name == "fork" || s.name == "vfork" || s.name == "clone3"
		if forks && e == 0 && result == 0 {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
}

// argument draws one value of a sort.
func (f *fuzzer) argument(sort byte) uintptr {
	r := f.random
	if r.IntN(20) == 0 && sort != 'k' {
		sort = 'x'
	}
	switch sort {
	case 'f':
		return uintptr(r.IntN(f.highest+4) - 4 + 1)
	case 'p':
		p := f.paths[r.IntN(len(f.paths))]
		return uintptr(unsafe.Pointer(&p[0]))
	case 'b', 'a', 'h', 'v':
		return f.memory(sort)
	case 'k': // itself, or nobody: the fuzzer's parent and its siblings are left alone
		return []uintptr{f.own, f.own, 0x3fffff, 0x7fffffff}[r.IntN(4)]
	case 's':
		return uintptr(r.IntN(66))
	case 'i':
		return uintptr(1)<<r.IntN(33) | uintptr(r.IntN(4))<<r.IntN(16)
	}
	return f.anything()
}

// anything is a number of the sorts that break things.
func (f *fuzzer) anything() uintptr {
	r := f.random
	switch r.IntN(7) {
	case 0:
		return uintptr(r.IntN(16))
	case 1:
		return uintptr(1) << r.IntN(64)
	case 2:
		return ^uintptr(0) - uintptr(r.IntN(256))
	case 3:
		return f.memory('b')
	case 4:
		return uintptr(r.IntN(1 << 16))
	case 5:
		return []uintptr{0x7ffffffff000, 0xffffffff81000000, 0xffffffffff600000, 1 << 63}[r.IntN(4)]
	}
	return 0
}

// memory fills a part of the buffer for a sort and returns where it lies.
func (f *fuzzer) memory(sort byte) uintptr {
	r := f.random
	at := r.IntN(len(f.buffer)-4096) &^ 7
	place := f.buffer[at : at+256]
	base := uintptr(unsafe.Pointer(&f.buffer[0]))
	word := func(i int, v uintptr) { *(*uintptr)(unsafe.Pointer(&place[i*8])) = v }
	for i := range 32 {
		switch r.IntN(3) {
		case 0:
			word(i, 0)
		case 1:
			word(i, uintptr(r.Uint64()>>r.IntN(64)))
		}
	}
	switch sort {
	case 'a': // family, port, address
		*(*uint16)(unsafe.Pointer(&place[0])) = uint16([]int{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6,
			unix.AF_NETLINK, r.IntN(48)}[r.IntN(5)])
		copy(place[4:8], []byte{127, 0, 0, 1})
	case 'v', 'h':
		for i := 0; i < 16; i += 2 {
			word(i, base+uintptr(r.IntN(len(f.buffer)-64)))
			word(i+1, uintptr(r.IntN(64)))
		}
	}
	return base + uintptr(at)
}
