// Package escape tries to get out of a sandbox, and judges from outside whether anything did.
//
// It has two halves that never run in the same place. Inside, the program `surety-escape` (our own
// binary under another name) makes attempts: each is one known way out of a container, run in a
// process of its own, and says what came of it. Outside, a Ground takes a picture of the host before
// and after, and Judge compares the two, asks the trail for each act, and calls an attempt reached
// when it saw or changed something that is not the sandbox's.
//
// # Invariants
//
//   - No attempt runs on a host: Main looks for our kernel's name and for the drill's mark, and
//     refuses without both.
//   - An attempt that succeeds is harmless only where its row says why (Contained). Everything else
//     is refused with one of the row's errors, or counts as a finding.
//   - What an attempt would do to a host is chosen so that a breach is seen and does no damage.
//
// # Boundaries
//
// The inside half imports nothing of the sandbox: it knows the kernel by its system calls. The
// outside half starts no sandbox; the caller does, and hands the findings and the records over.
//
// # Sources
//
// The patterns are those of runc's CVE-2016-9962, CVE-2019-5736, CVE-2019-16884, CVE-2021-30465 and
// CVE-2024-21626, of the kernel's CVE-2022-0492 (release_agent) and CVE-2022-0185 (fsconfig), of
// "shocker" (open_by_handle_at) and of man 2 of each call.
package escape

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// Name is the name of the program inside: argv[0] of the binary that makes attempts.
const Name = "surety-escape"

// SceneVariable is the environment variable that holds the Scene, in JSON: the mark of a drill.
const SceneVariable = "SURETY_ESCAPE"

// Scene is what the drill tells the program inside. It names what must not be reached, never what
// is in it.
type Scene struct {
	Canary    string   `json:"canary"`    // a file of the host that no sandbox shows
	Seen      string   `json:"seen"`      // SHA-256 of its content, hex: what proves that it was read
	Secret    string   `json:"secret"`    // a file inside that the policy denies; empty: no policy
	Told      string   `json:"told"`      // SHA-256 of its content
	Volume    string   `json:"volume"`    // a directory of the host, shown read-only; empty: none
	Writable  string   `json:"writable"`  // one shown writable: the planted fault; empty: none
	Hosts     []string `json:"hosts"`     // address:port of listeners on the host, not to be reached
	Forbidden []string `json:"forbidden"` // DNS names that the policy denies
	Strict    bool     `json:"strict"`    // the policy denies what it does not name
	NoMount   bool     `json:"no_mount"`  // the policy denies mounts
	Processes int      `json:"processes"` // limit of processes; 0: none
	Classes   []string `json:"classes"`   // only these; empty: all
	Alone     string   `json:"alone"`     // only this attempt, which ends its sandbox
}

// IsAttempt reports whether a command line is the program inside.
func IsAttempt(argv []string) bool { return len(argv) > 0 && filepath.Base(argv[0]) == Name }

// Main is the program inside and returns its exit status. Its first argument says what to do:
// "attempts" makes them all, "attempt NAME" one, "fuzz" calls at random; "hello", "measure", "burn",
// "serve" and "idle" are the work of benchmarks and harm nothing.
func Main(argv []string, lookup func(string) (string, bool)) int {
	if len(argv) < 2 {
		return complain(errs.New(errs.Invalid, "escape: nothing to do"))
	}
	if work, found := probes()[argv[1]]; found {
		return complain(work(argv[2:]))
	}
	text, marked := lookup(SceneVariable)
	if err := inside(marked); err != nil {
		return complain(err)
	}
	var scene Scene
	if err := json.Unmarshal([]byte(text), &scene); err != nil {
		return complain(errs.As(errs.Invalid, err, "escape: %s", SceneVariable))
	}
	return complain(perform(&scene, argv[1], argv[2:]))
}

// perform does one of the harmful commands.
func perform(s *Scene, verb string, args []string) error {
	switch {
	case verb == "attempts":
		return runAll(s, os.Stdout)
	case (verb == "attempt" || verb == "again") && len(args) >= 1:
		return runOne(s, verb == "again", args[0])
	case verb == "fuzz" || verb == "fuzz-child":
		return fuzz(verb == "fuzz-child", args)
	default:
		return errs.New(errs.Invalid, "escape: unknown verb %q", verb)
	}
}

// complain writes an error and returns the exit status for it.
func complain(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, Name+":", err)
	return 1
}

// inside returns an error unless the kernel below is ours and the drill has left its mark. The
// kernel's name and build date are constants of gVisor that no Linux has.
func inside(marked bool) error {
	if !marked {
		return errs.New(errs.Forbidden, "escape: %s is not set: attempts run in a drill alone",
			SceneVariable)
	}
	version, err := os.ReadFile("/proc/version")
	if err == nil && bytes.Contains(version, []byte("#1 SMP Sun Jan 10 15:06:54 PST 2016")) {
		return nil
	}
	log := make([]byte, 4096)
	n, _ := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, log)
	if n > 0 && bytes.Contains(log[:n], []byte("Starting gVisor...")) {
		return nil
	}
	return errs.New(errs.Forbidden, "escape: the kernel here is not the sandbox's: %s",
		strings.TrimSpace(string(version)))
}

// reached is the error of an attempt that has proof of something beyond the sandbox.
type reached struct{ what string }

func (r reached) Error() string { return "reached: " + r.what }

// report is what an attempt's process says on its standard output, in JSON.
type report struct {
	Errno   int    `json:"errno"` // of the refusal; 0: the act succeeded
	Detail  string `json:"detail"`
	Reached bool   `json:"reached"`
}

// runOne makes one attempt in this process, or the second half of one in a process it started.
func runOne(s *Scene, again bool, name string) error {
	a, found := find(name)
	if !found {
		return errs.New(errs.NotFound, "escape: no attempt %q", name)
	}
	try := a.try
	if again {
		try = a.again
	}
	if a.Class == "mount" || a.Class == "volume" || a.Policy == "mount" {
		// Mounts of an attempt are its own, or the next would find no root. Without the privilege
		// for it there is none to mount either.
		runtime.LockOSThread()
		_ = unix.Unshare(unix.CLONE_NEWNS)
	}
	return say(os.Stdout, try(s))
}

// say writes the report of what an attempt returned.
func say(w io.Writer, err error) error {
	r := report{Detail: "done"}
	if err != nil {
		r.Detail = err.Error()
		var number unix.Errno
		var proof reached
		if errors.As(err, &number) {
			r.Errno = int(number)
		}
		r.Reached = errors.As(err, &proof)
		if !r.Reached && r.Errno == 0 {
			r.Errno = -1
		}
	}
	return json.NewEncoder(w).Encode(r)
}
