package escape

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/sys/wallclock"
)

// runAll makes every attempt that applies, each in a process of its own, and writes a Finding for
// each as it is known.
func runAll(s *Scene, w io.Writer) error {
	out := json.NewEncoder(w)
	list := Attempts()
	if s.Writable != "" {
		list = []Attempt{planted()}
	}
	for _, a := range list {
		if !a.applies(s) {
			continue
		}
		if err := out.Encode(spawn(&a)); err != nil {
			return errs.As(errs.Unavailable, err, "escape: findings")
		}
	}
	return nil
}

// spawn makes one attempt in a process of its own and judges it.
func spawn(a *Attempt) Finding {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(attemptTime))
	defer cancel()
	child := exec.CommandContext(ctx, "/proc/self/exe", "attempt", a.Name)
	child.Args[0] = "/" + Name
	var out, complaints limited
	child.Stdout, child.Stderr = &out, &complaints
	child.WaitDelay = time.Second
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	child.Cancel = func() error { return unix.Kill(-child.Process.Pid, unix.SIGKILL) }
	ended := make(chan error, 1)
	go func() { ended <- child.Run() }()
	grace := wallclock.System().NewTimer(attemptTime + attemptGrace)
	defer grace.Stop()
	var err error
	select {
	case err = <-ended:
	case <-grace.C(): // it cannot be killed: it is left to the end of its sandbox
		return Finding{Name: a.Name, Class: a.Class, Outcome: Odd, Detail: "hangs, and cannot be killed"}
	}
	var r report
	if line := lastLine(out.Bytes()); json.Unmarshal(line, &r) == nil && r.Detail != "" {
		return a.judge(r)
	}
	f := Finding{Name: a.Name, Class: a.Class, Outcome: Odd,
		Detail: fmt.Sprintf("said nothing: %v: %s", err, firstLine(complaints.String()))}
	var exit *exec.ExitError
	if a.Killed && ctx.Err() == nil && errors.As(err, &exit) {
		f.Outcome = Killed
	}
	return f
}

// limited keeps the first outputMax bytes of a stream and swallows the rest.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := outputMax - l.Len(); room > 0 {
		l.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func lastLine(text []byte) []byte {
	text = bytes.TrimSpace(text)
	return text[bytes.LastIndexByte(text, '\n')+1:]
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// again runs the second half of an attempt in a process with other attributes: new namespaces, or
// another file of the same program. It passes on what that half found.
func again(name, file string, attributes *syscall.SysProcAttr) error {
	child := exec.Command(file, "again", name)
	child.Args[0] = "/" + Name
	child.SysProcAttr = attributes
	child.Stderr = os.Stderr
	out, err := child.Output()
	var r report
	if line := lastLine(out); json.Unmarshal(line, &r) == nil && r.Detail != "" {
		switch {
		case r.Reached:
			return reached{r.Detail}
		case r.Errno > 0:
			return fmt.Errorf("inside: %s: %w", r.Detail, unix.Errno(r.Errno))
		case r.Errno < 0:
			return errors.New(r.Detail)
		}
		return nil
	}
	return err
}

// canary returns reached when content is the host's file, or the one the policy denies.
func (s *Scene) canary(where string, content []byte) error {
	sum := sha256.Sum256(bytes.TrimSpace(content))
	switch digest := hex.EncodeToString(sum[:]); digest {
	case s.Seen:
		return reached{"the host's file was read by " + where}
	case s.Told:
		return reached{"the file the policy denies was read by " + where}
	}
	return nil
}

// peek opens a file and returns its error, or reached when the canary is in it.
func (s *Scene) peek(name string) error {
	content, err := readSome(name)
	if err != nil {
		return err
	}
	return s.canary(name, content)
}

// readSome reads the first page of a file.
func readSome(name string) ([]byte, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	defer unix.Close(fd)
	page := make([]byte, 4096)
	n, err := unix.Read(fd, page)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return page[:n], nil
}

// write opens a file for writing alone, writes text and closes it.
func write(name, text string) error {
	fd, err := unix.Open(name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(text)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// here is AT_FDCWD as an argument.
const here = ^uintptr(99)

// sys makes a system call and returns its error alone. Pointers among the arguments are converted
// in the call itself, which keeps what they point to in place.
//
//go:uintptrescapes
func sys(number uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, e := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); e != 0 {
		return fmt.Errorf("call %d: %w", number, e)
	}
	return nil
}

// fresh makes an empty directory for an attempt.
func fresh() (string, error) {
	dir, err := os.MkdirTemp("/tmp", "escape-")
	if err != nil {
		return "", fmt.Errorf("mkdir: %w", err)
	}
	return dir, nil
}
