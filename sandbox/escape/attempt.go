package escape

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Attempt is one way out that is tried.
type Attempt struct {
	Name  string // unique, in lower case with hyphens
	Class string // the group it belongs to
	What  string // what it does, and would mean on a host
	// Refused are the errors that a refusal may have. Another error is a finding of its own kind:
	// not a breach, and not what was promised.
	Refused []unix.Errno
	// Contained says why success harms nothing; empty: success is a breach.
	Contained string
	Killed    bool   // the kernel may end the process by a signal instead
	Policy    string // needs a policy: "" none, "policy" one that denies the secret, "strict", "mount"
	Alone     bool   // may end its sandbox: it gets one of its own
	Marks     []Mark // what the trail must show of it; one of them is enough

	try   func(*Scene) error
	again func(*Scene) error // in a process that try started with `again`
}

// Mark is a record to be found in the trail: a call, a path, or both.
type Mark struct {
	Call int    // number of the system call; -1: any
	Path string // part of the record's path; empty: any
}

// call marks a system call and path one on a file.
func call(number int) []Mark  { return []Mark{{Call: number}} }
func path(part string) []Mark { return []Mark{{Call: -1, Path: part}} }

// Outcome is what came of an attempt.
type Outcome string

const (
	Refused   Outcome = "refused"   // an error that its row names
	Contained Outcome = "contained" // it succeeded on what is the sandbox's own
	Killed    Outcome = "killed"    // a signal ended it, as its row allows
	Odd       Outcome = "odd"       // it ended in a way that its row does not know
	Reached   Outcome = "reached"   // it saw or changed what is not the sandbox's
)

// Finding is one attempt with its outcome, as the program inside writes it, one JSON object a line.
type Finding struct {
	Name    string  `json:"name"`
	Class   string  `json:"class"`
	Outcome Outcome `json:"outcome"`
	Detail  string  `json:"detail"`
}

// Attempts returns every attempt, class by class.
func Attempts() []Attempt {
	var all []Attempt
	for _, c := range classes() {
		for _, a := range c.list {
			a.Class = c.name
			all = append(all, a)
		}
	}
	return all
}

// class is a group of attempts.
type class struct {
	name string
	list []Attempt
}

func classes() []class {
	return []class{
		{"proc", procAttempts()}, {"mount", mountAttempts()}, {"namespace", namespaceAttempts()},
		{"trace", traceAttempts()}, {"device", deviceAttempts()}, {"image", imageAttempts()},
		{"race", raceAttempts()}, {"policy", policyAttempts()}, {"socket", socketAttempts()},
		{"surface", surfaceAttempts()}, {"descriptor", descriptorAttempts()},
		{"volume", volumeAttempts()}, {"identity", identityAttempts()}, {"abi", abiAttempts()},
		{"exhaust", exhaustAttempts()}, {"network", networkAttempts()},
	}
}

// find returns the attempt with a name.
func find(name string) (Attempt, bool) {
	for _, a := range append(Attempts(), planted()) {
		if a.Name == name {
			return a, true
		}
	}
	return Attempt{}, false
}

// applies reports whether the attempt is to be made in the scene.
func (a *Attempt) applies(s *Scene) bool {
	if s.Alone != "" || a.Alone {
		return s.Alone == a.Name
	}
	if len(s.Classes) > 0 && !slices.Contains(s.Classes, a.Class) {
		return false
	}
	switch a.Policy {
	case "policy":
		return s.Secret != ""
	case "strict":
		return s.Strict
	case "mount":
		return s.Secret != "" && s.NoMount
	}
	return a.Class != "volume" || s.Volume != ""
}

// judge turns the report of an attempt's process into its outcome.
func (a *Attempt) judge(r report) Finding {
	f := Finding{Name: a.Name, Class: a.Class, Detail: r.Detail}
	switch {
	case r.Reached || r.Errno == 0 && a.Contained == "":
		f.Outcome = Reached
	case r.Errno == 0:
		f.Outcome = Contained
	case r.Errno > 0 && slices.Contains(a.Refused, unix.Errno(r.Errno)):
		f.Outcome, f.Detail = Refused, fmt.Sprintf("%s (%s)", unix.ErrnoName(unix.Errno(r.Errno)),
			r.Detail)
	default:
		f.Outcome = Odd
	}
	return f
}

// The errors that refusals have in common. They are clipped, so that a row can append its own.
func noFile(more ...unix.Errno) []unix.Errno {
	return slices.Clip(append([]unix.Errno{unix.EACCES, unix.EPERM, unix.EROFS, unix.ENOENT}, more...))
}

func noCall(more ...unix.Errno) []unix.Errno {
	return slices.Clip(append([]unix.Errno{unix.EPERM, unix.EACCES, unix.ENOSYS}, more...))
}
