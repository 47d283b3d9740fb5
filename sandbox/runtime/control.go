package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// The control socket takes one request per connection: a JSON message, with file descriptors where
// the request needs streams, and one JSON answer. The instance directory's mode is its lock: who
// may enter it may ask anything.

// request is what a handle asks of its supervisor.
type request struct {
	Op      string  `json:"op"`
	Signal  int     `json:"signal,omitempty"`
	All     bool    `json:"all,omitempty"`
	Process Process `json:"process"`
	Dir     string  `json:"dir,omitempty"`
	Leave   bool    `json:"leave,omitempty"`
	Trace   string  `json:"trace,omitempty"`
	Port    uint16  `json:"port,omitempty"`    // of dial
	Session string  `json:"session,omitempty"` // of exec, and of the signals to what it started
}

// answer is what it says.
type answer struct {
	Began    bool            `json:"began,omitempty"` // of exec: the process runs, the end follows
	Kind     errs.Kind       `json:"kind,omitempty"`
	Error    string          `json:"error,omitempty"`
	ExitCode int             `json:"exit_code,omitempty"`
	Body     json.RawMessage `json:"body,omitempty"`

	file *os.File // of dial: the connection, which is the caller's
}

func throughDir(dir *os.File, path string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
}

// ask sends one request and waits for its answer. The files are the caller's to close.
func (s *Sandbox) ask(ctx context.Context, r request, files ...*os.File) (answer, error) {
	return s.converse(ctx, r, nil, files...)
}

// converse is ask for a request with two answers: began is called after the first.
func (s *Sandbox) converse(ctx context.Context, r request, began func(),
	files ...*os.File) (answer, error) {
	conn, err := dialUnix("unixpacket", s.file(controlFile))
	if err != nil {
		st, stateErr := s.State() // finishes what a dead supervisor left
		if stateErr == nil && st.Status == Stopped {
			return answer{}, errs.New(errs.Refused, "sandbox %s has stopped", s.id)
		}
		return answer{}, errs.As(errs.Unavailable, err, "sandbox %s: its supervisor does not answer",
			s.id)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	content, err := json.Marshal(r)
	if err != nil {
		return answer{}, errs.Wrap(err, "sandbox %s: encode request", s.id)
	}
	if err := writeMessage(conn, content, files...); err != nil {
		return answer{}, errs.Wrap(err, "sandbox %s: %s", s.id, r.Op)
	}
	for {
		a, err := s.hear(ctx, conn, r.Op)
		if err != nil || !a.Began {
			return a, err
		}
		if began != nil {
			began()
		}
	}
}

// hear waits for one answer.
func (s *Sandbox) hear(ctx context.Context, conn *net.UnixConn, op string) (answer, error) {
	content, files, err := readMessage(conn)
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	if ctx.Err() != nil {
		return answer{}, errs.As(errs.Canceled, ctx.Err(), "sandbox %s: %s", s.id, op)
	}
	if err != nil {
		return answer{}, errs.As(errs.Unavailable, err, "sandbox %s: %s: its supervisor went away",
			s.id, op)
	}
	var a answer
	if op == "dial" && len(files) == 1 {
		a.file, files = files[0], nil
	}
	if err := json.Unmarshal(content, &a); err != nil {
		return a, errs.As(errs.Internal, err, "sandbox %s: %s: answer", s.id, op)
	}
	if a.Error != "" {
		return a, errs.New(a.Kind, "sandbox %s: %s: %s", s.id, op, a.Error)
	}
	return a, nil
}

// writeMessage sends one message with its files.
func writeMessage(conn *net.UnixConn, content []byte, files ...*os.File) error {
	if len(content) > maxControlMessage {
		return errs.New(errs.TooLarge, "message of %d bytes, at most %d", len(content),
			maxControlMessage)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	_, _, err := conn.WriteMsgUnix(content, rights, nil)
	return err
}

// readMessage receives one message with its files, which are the caller's to close.
func readMessage(conn *net.UnixConn) ([]byte, []*os.File, error) {
	buf := make([]byte, maxControlMessage)
	const mostFiles = 8
	oob := make([]byte, unix.CmsgSpace(4*mostFiles))
	n, oobn, flags, _, err := conn.ReadMsgUnix(buf, oob)
	if err != nil {
		return nil, nil, err
	}
	if n == 0 && oobn == 0 {
		return nil, nil, io.EOF
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return nil, nil, errors.New("message cut short")
	}
	var files []*os.File
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // credentials: nothing to close
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return buf[:n], files, nil
}
