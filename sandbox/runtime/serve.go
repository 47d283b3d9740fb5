package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/sentry/control"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/state/statefile"
	"gvisor.dev/gvisor/runsc/sandbox"
	"gvisor.dev/gvisor/runsc/specutils"

	"surety/base/errs"
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
	v.state.Status, v.state.Started = Running, time.Now().UTC()
	v.mu.Unlock()
	if v.held != nil {
		if err := v.held.connect(files); err != nil {
			return err
		}
	}
	v.ring.Release()
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
	return errs.Wrap(v.container.SignalContainer(unix.Signal(r.Signal), r.All), "signal %d", r.Signal)
}

func (v *supervisor) pause() error {
	if err := v.require(Running); err != nil {
		return err
	}
	if err := v.container.Pause(); err != nil {
		return errs.Wrap(err, "pause")
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
	if err := v.container.Resume(); err != nil {
		return errs.Wrap(err, "resume")
	}
	v.setState(func(st *State) { st.Status = Running })
	return nil
}

func (v *supervisor) checkpoint(r *request) error {
	if err := v.require(Running, Paused); err != nil {
		return err
	}
	if err := os.Mkdir(r.Dir, 0o700); err != nil {
		return errs.Wrap(err, "checkpoint")
	}
	opts := sandbox.CheckpointOpts{Compression: statefile.CompressionLevelNone, Resume: r.Leave}
	if !r.Leave {
		v.mu.Lock()
		v.reason = "checkpointed"
		v.mu.Unlock()
	}
	if err := v.container.Checkpoint(v.conf, r.Dir, opts); err != nil {
		return errs.Wrap(err, "checkpoint")
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
	args, err := v.execArgs(&r.Process, files)
	if err != nil {
		return answer{}, err
	}
	err = v.collector.outside(&words.Record{Kind: words.KindSession, Path: r.Process.Args[0],
		Args: r.Process.Args, User: uint32(args.KUID)})
	if err != nil {
		return answer{}, err
	}
	pid, err := v.container.Execute(v.conf, args)
	if err != nil {
		return answer{}, errs.As(errs.Invalid, err, "start %s", r.Process.Args[0])
	}
	v.enroll(r.Session, pid)
	defer v.enroll(r.Session, 0)
	if began, err := json.Marshal(answer{Began: true}); err == nil {
		_ = writeMessage(conn, began) // who asked may be gone: outlive sees it
	}
	go v.outlive(conn, pid)
	status, err := v.container.WaitPID(pid)
	if err != nil {
		return answer{}, errs.Wrap(err, "wait for %s", r.Process.Args[0])
	}
	code, _ := exitCode(status)
	return answer{ExitCode: code}, nil
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
	return errs.Wrap(v.container.SignalProcess(unix.Signal(r.Signal), pid), "signal %d", r.Signal)
}

// outlive kills what a session started when who asked for it goes away: nothing more is sent on the
// connection, so reading ends when it is closed, by them or, after the answer, by us.
func (v *supervisor) outlive(conn *net.UnixConn, pid int32) {
	var one [1]byte
	if _, err := conn.Read(one[:]); errors.Is(err, net.ErrClosed) {
		return
	}
	_ = v.container.SignalProcess(unix.SIGKILL, pid) // it may have ended
}

func (v *supervisor) execArgs(p *Process, files []*os.File) (*control.ExecArgs, error) {
	program := v.container.Spec.Process
	caps, err := specutils.Capabilities(v.conf.EnableRaw, program.Capabilities)
	if err != nil {
		return nil, errs.Wrap(err, "capabilities")
	}
	user := User{UID: program.User.UID, GID: program.User.GID, Groups: program.User.AdditionalGids}
	if p.User != nil {
		user = *p.User
	}
	args := &control.ExecArgs{
		Argv:             p.Args,
		Envv:             append(append([]string{}, program.Env...), p.Env...),
		WorkingDirectory: p.Cwd,
		KUID:             auth.KUID(user.UID),
		KGID:             auth.KGID(user.GID),
		NoNewPrivileges:  true,
		Capabilities:     caps,
		StdioIsPty:       p.Terminal,
		FilePayload: control.NewFilePayload(map[int]*os.File{0: files[0], 1: files[1], 2: files[2]},
			nil),
	}
	if args.WorkingDirectory == "" {
		args.WorkingDirectory = program.Cwd
	}
	for _, g := range user.Groups {
		args.ExtraKGIDs = append(args.ExtraKGIDs, auth.KGID(g))
	}
	return args, nil
}

func (v *supervisor) processes() (answer, error) {
	if err := v.require(Running, Paused); err != nil {
		return answer{}, err
	}
	list, err := v.container.Processes()
	if err != nil {
		return answer{}, errs.Wrap(err, "processes")
	}
	infos := make([]ProcessInfo, len(list))
	for i, p := range list {
		infos[i] = ProcessInfo{PID: int32(p.PID), Parent: int32(p.PPID), User: uint32(p.UID),
			Started: p.STime, CPU: time.Duration(0), Command: p.Cmd}
		for _, t := range p.Threads {
			infos[i].Threads = append(infos[i].Threads, int32(t))
		}
	}
	return body(infos)
}

func (v *supervisor) stats() (answer, error) {
	if err := v.require(Running, Paused); err != nil {
		return answer{}, err
	}
	event, err := v.container.Event()
	if err != nil {
		return answer{}, errs.Wrap(err, "stats")
	}
	data := &event.Event.Data
	counts := v.ring.Counts()
	st := Stats{
		CPU:         time.Duration(data.CPU.Usage.Total),
		Memory:      data.Memory.Usage.Usage,
		MemoryPeak:  data.Memory.Usage.Max,
		MemoryLimit: uint64(v.spec.Limits.MemoryBytes),
		Processes:   data.Pids.Current,
		Records:     counts.Records,
		Refused:     counts.Refused,
		WouldRefuse: counts.WouldRefuse,
		AuditWaits:  counts.Waits,
		AuditBytes:  counts.Bytes,
	}
	for _, n := range data.NetworkInterfaces {
		st.Received += n.RxBytes
		st.Sent += n.TxBytes
	}
	return body(st)
}

func body(of any) (answer, error) {
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
