package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/base/ident"
	words "surety/sandbox"
)

// serve answers the control socket until it is closed.
func (v *supervisor) serve() {
	for {
		conn, err := v.door.AcceptUnix()
		if err != nil {
			return
		}
		go v.handle(conn)
	}
}

func (v *supervisor) handle(conn *net.UnixConn) {
	defer conn.Close()
	content, files, err := readMessage(conn)
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	if err != nil {
		return
	}
	var r request
	var a answer
	if err := json.Unmarshal(content, &r); err != nil {
		a = answer{Kind: errs.Invalid, Error: err.Error()}
	} else if a, err = v.do(&r, files, conn); err != nil {
		a = answer{Kind: errs.KindOf(err), Error: err.Error()}
	} else if r.Op == "dial" {
		return // it has been answered, with the connection
	}
	content, err = json.Marshal(a)
	if err != nil {
		return
	}
	_ = writeMessage(conn, content) // who asked may be gone
}

// do carries out one request.
func (v *supervisor) do(r *request, files []*os.File, conn *net.UnixConn) (answer, error) {
	switch r.Op {
	case "start":
		return answer{}, v.start(files)
	case "wait":
		<-v.ended
		return answer{}, nil
	case "end":
		v.end("ended from outside")
		return answer{}, nil
	case "kill":
		return answer{}, v.kill(r)
	case "pause":
		return answer{}, v.pause()
	case "resume":
		return answer{}, v.resume()
	case "checkpoint":
		return answer{}, v.checkpoint(r)
	case "exec":
		return v.exec(r, files, conn)
	case "signal":
		return answer{}, v.signal(r)
	case "trace":
		id, err := ident.Parse(r.Trace)
		if err != nil {
			return answer{}, err
		}
		return answer{}, v.body.trace(id)
	case "dial":
		return answer{}, v.dial(r, conn)
	case "processes":
		return v.processes()
	case "stats":
		return v.stats()
	}
	return answer{}, errs.New(errs.Invalid, "no such request: %q", r.Op)
}

// start opens the gate. A sandbox of a pool gets its streams now.
func (v *supervisor) start(files []*os.File) error {
	v.mu.Lock()
	if v.state.Status != Created {
		defer v.mu.Unlock()
		return errs.New(errs.Refused, "it is %s", v.state.Status)
	}
	v.state.Status, v.state.Started = Running, v.s.host.now()
	v.mu.Unlock()
	if v.held != nil {
		if err := v.held.connect(files); err != nil {
			return err
		}
	}
	if err := v.body.release(); err != nil {
		return err
	}
	v.setState(func(*State) {})
	return nil
}

// require refuses what the sandbox's status does not allow.
func (v *supervisor) require(allowed ...Status) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, a := range allowed {
		if v.state.Status == a {
			return nil
		}
	}
	return errs.New(errs.Refused, "it is %s", v.state.Status)
}

func (v *supervisor) kill(r *request) error {
	v.mu.Lock()
	status := v.state.Status
	v.mu.Unlock()
	if status == Created {
		v.end(fmt.Sprintf("killed by signal %d before it started", r.Signal))
		return nil
	}
	return v.body.signal(unix.Signal(r.Signal), r.All)
}

func (v *supervisor) pause() error {
	if err := v.require(Running); err != nil {
		return err
	}
	if err := v.body.pause(); err != nil {
		return err
	}
	v.setState(func(st *State) { st.Status = Paused })
	return v.collector.outside(&words.Record{Kind: words.KindPause})
}

func (v *supervisor) resume() error {
	if err := v.require(Paused); err != nil {
		return err
	}
	if err := v.collector.outside(&words.Record{Kind: words.KindResume}); err != nil {
		return err
	}
	if err := v.body.resume(); err != nil {
		return err
	}
	v.setState(func(st *State) { st.Status = Running })
	return nil
}

func (v *supervisor) checkpoint(r *request) error {
	if err := v.require(Running, Paused); err != nil {
		return err
	}
	if v.spec.Secret() || v.spec.Closed != nil {
		return errs.New(errs.Refused, "its memory holds secrets, which a snapshot would write to a disk")
	}
	if err := os.Mkdir(r.Dir, 0o700); err != nil {
		return errs.Wrap(err, "checkpoint")
	}
	if !r.Leave {
		v.mu.Lock()
		v.reason = "checkpointed"
		v.mu.Unlock()
	}
	v.saving.Lock() // the end of the sandbox waits for the record of it
	defer v.saving.Unlock()
	if err := v.body.checkpoint(r.Dir, r.Leave); err != nil {
		return err
	}
	digest, err := sealSnapshot(r.Dir, &v.spec)
	if err != nil {
		return err
	}
	return v.collector.outside(&words.Record{Kind: words.KindCheckpoint, Digest: digest, Path: r.Dir})
}

// exec runs a process inside and answers when it has ended.
func (v *supervisor) exec(r *request, files []*os.File, conn *net.UnixConn) (answer, error) {
	if err := v.require(Running); err != nil {
		return answer{}, err
	}
	if len(files) != 3 {
		return answer{}, errs.New(errs.Invalid, "%d streams, wants 3", len(files))
	}
	if err := v.spec.Closed.mayRun(&r.Process); err != nil {
		return answer{}, err
	}
	session := words.Record{Kind: words.KindSession, Path: r.Process.Args[0], Args: r.Process.Args}
	if r.Process.User != nil {
		session.User = r.Process.User.UID
	}
	if err := v.collector.outside(&session); err != nil {
		return answer{}, err
	}
	code, err := v.body.exec(&r.Process, files, func(handle int32) {
		v.enroll(r.Session, handle)
		if began, err := json.Marshal(answer{Began: true}); err == nil {
			_ = writeMessage(conn, began) // who asked may be gone: outlive sees it
		}
		go v.outlive(conn, handle)
	})
	v.enroll(r.Session, 0)
	return answer{ExitCode: code}, err
}

// enroll notes which process a session started; 0 when it has ended.
func (v *supervisor) enroll(session string, pid int32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case session == "":
	case pid == 0:
		delete(v.sessions, session)
	default:
		v.sessions[session] = pid
	}
}

func (v *supervisor) signal(r *request) error {
	v.mu.Lock()
	pid, found := v.sessions[r.Session]
	v.mu.Unlock()
	if !found {
		return errs.New(errs.NotFound, "no such session")
	}
	return v.body.signalProcess(pid, unix.Signal(r.Signal))
}

// outlive kills what a session started when who asked for it goes away: nothing more is sent on the
// connection, so reading ends when it is closed, by them or, after the answer, by us.
func (v *supervisor) outlive(conn *net.UnixConn, pid int32) {
	var one [1]byte
	if _, err := conn.Read(one[:]); errors.Is(err, net.ErrClosed) {
		return
	}
	_ = v.body.signalProcess(pid, unix.SIGKILL) // it may have ended
}

func (v *supervisor) processes() (answer, error) {
	if err := v.require(Running, Paused); err != nil {
		return answer{}, err
	}
	list, err := v.body.processes()
	if err != nil {
		return answer{}, err
	}
	return encoded(list)
}

func (v *supervisor) stats() (answer, error) {
	if err := v.require(Running, Paused); err != nil {
		return answer{}, err
	}
	st, err := v.body.stats()
	if err != nil {
		return answer{}, err
	}
	return encoded(st)
}

// encoded is an answer that carries a value.
func encoded(of any) (answer, error) {
	content, err := json.Marshal(of)
	if err != nil {
		return answer{}, errs.Wrap(err, "encode answer")
	}
	if len(content) > maxControlMessage-1024 {
		return answer{}, errs.New(errs.TooLarge, "answer of %d bytes, at most %d", len(content),
			maxControlMessage-1024)
	}
	return answer{Body: content}, nil
}
