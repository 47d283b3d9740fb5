package scorer

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"

	"surety/base/errs"
	"surety/base/ident"
)

// Program returns a launcher that starts the program at path as a scorer beside this process, with
// an empty environment and nothing between it and the machine but its own user. It ends when its
// input does, and so with this process. What it writes to standard error goes to stderr, which may
// be nil.
func Program(path string, stderr *os.File) Launcher {
	return func(context.Context) (Process, error) {
		in, err := newPipe()
		if err != nil {
			return nil, err
		}
		out, err := newPipe()
		if err != nil {
			return nil, errors.Join(err, in.close())
		}
		command := &exec.Cmd{Path: path, Args: []string{Name}, Env: []string{}, Dir: "/",
			Stdin: in.read, Stdout: out.write, Stderr: stderr,
			SysProcAttr: &syscall.SysProcAttr{Setpgid: true}} // a ctrl-C is the parent's to act on
		err = command.Start()
		err = errors.Join(err, in.read.Close(), out.write.Close())
		if err != nil {
			return nil, errs.As(errs.Unavailable, errors.Join(err, in.write.Close(), out.read.Close()),
				"scorer.program")
		}
		return &program{command: command, in: in.write, out: out.read}, nil
	}
}

// pipe is both ends of a pipe.
type pipe struct{ read, write *os.File }

func newPipe() (p pipe, err error) {
	p.read, p.write, err = os.Pipe()
	return p, errs.As(errs.Unavailable, err, "scorer.pipe")
}

func (p pipe) close() error { return errors.Join(p.read.Close(), p.write.Close()) }

// program is a scorer that is a plain process.
type program struct {
	command *exec.Cmd
	in, out *os.File
}

func (p *program) Read(b []byte) (int, error)  { return p.out.Read(b) }
func (p *program) Write(b []byte) (int, error) { return p.in.Write(b) }
func (p *program) Trace(ident.ID)              {}
func (p *program) Held() bool                  { return false }
func (p *program) Mark() Mark                  { return Mark{} }

// Kill ends the process. That it has ended already, or ends badly, is what is wanted.
func (p *program) Kill() {
	_ = p.command.Process.Kill()
	_ = p.command.Wait()
	_ = p.in.Close()
	_ = p.out.Close()
}
