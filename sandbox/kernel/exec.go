//go:build amd64

package kernel

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/tmpfs"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	slinux "gvisor.dev/gvisor/pkg/sentry/syscalls/linux"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/usermem"

	"surety/sandbox"
)

// errNoImage refuses a process whose image is not the one its files name.
var errNoImage = linuxerr.ENOEXEC

// loaderText marks the record of a file that is run to load another.
const loaderText = "loader"

// execution is one execve or execveat, its arguments copied.
type execution struct {
	*call
	dirfd     int32
	flags     int32
	path      string // as given; then as gVisor's loader would call it
	argv      []string
	envv      []string
	file      *vfs.FileDescription // the file to run, held
	closeFile bool                 // it was reached by a descriptor that exec closes
}

func execve(c *call) (uintptr, *kernel.SyscallControl, error) {
	e := execution{call: c, dirfd: linux.AT_FDCWD}
	return e.run(c.args[0].Pointer(), c.args[1].Pointer(), c.args[2].Pointer())
}

func execveat(c *call) (uintptr, *kernel.SyscallControl, error) {
	e := execution{call: c, dirfd: c.args[0].Int(), flags: c.args[4].Int()}
	return e.run(c.args[1].Pointer(), c.args[2].Pointer(), c.args[3].Pointer())
}

// run does what gVisor does, but that every file is opened once, here, and judged before the next
// is looked for: a script, its interpreter, and the loader an ELF file asks for.
func (e *execution) run(path, argv, envv hostarch.Addr) (
	uintptr, *kernel.SyscallControl, error) {
	if e.flags&^(linux.AT_EMPTY_PATH|linux.AT_SYMLINK_NOFOLLOW) != 0 {
		return 0, nil, linuxerr.EINVAL
	}
	if err := e.copyIn(path, argv, envv); err != nil {
		return 0, nil, err
	}
	if err := e.openFirst(); err != nil {
		return 0, nil, err
	}
	expect, err := e.resolveFiles()
	if err != nil {
		e.file.DecRef(e.t)
		return 0, nil, err
	}
	e.t.RegisterWork(expect)
	// Execve takes the reference on the file.
	return 0, e.t.Execve(e.argv, e.envv, 0, e.path, e.file, e.closeFile), nil
}

func (e *execution) copyIn(path, argv, envv hostarch.Addr) (err error) {
	if e.path, err = e.t.CopyInString(path, linux.PATH_MAX); err != nil {
		return err
	}
	if argv != 0 {
		e.argv, err = e.t.CopyInVector(argv, slinux.ExecMaxElemSize, slinux.ExecMaxTotalSize)
		if err != nil {
			return err
		}
	}
	if envv != 0 {
		e.envv, err = e.t.CopyInVector(envv, slinux.ExecMaxElemSize, slinux.ExecMaxTotalSize)
	}
	return err
}

// openFirst opens the file the program named. Opening to execute changes nothing, so it is done
// first and what it gave is judged.
func (e *execution) openFirst() error {
	empty := refuseEmpty
	if e.flags&linux.AT_EMPTY_PATH != 0 && e.dirfd != linux.AT_FDCWD {
		empty = allowEmpty
	}
	w, err := startWalk(e.t, e.dirfd, e.path, empty, 0)
	if err != nil {
		return err
	}
	defer w.done()
	if e.file, err = openExec(&w, e.flags&linux.AT_SYMLINK_NOFOLLOW == 0); err != nil {
		return err
	}
	if e.dirfd == linux.AT_FDCWD || strings.HasPrefix(e.path, "/") {
		return nil
	}
	if dir, flags := e.t.FDTable().Get(e.dirfd); dir != nil {
		dir.DecRef(e.t)
		e.closeFile = flags.CloseOnExec
	}
	if e.path == "" {
		e.path = fmt.Sprintf("/dev/fd/%d", e.dirfd)
	} else {
		e.path = fmt.Sprintf("/dev/fd/%d/%s", e.dirfd, e.path)
	}
	return nil
}

// openExec opens the end of a walk for execution.
func openExec(w *walk, follow bool) (*vfs.FileDescription, error) {
	pop := w.operation(follow)
	return w.t.Kernel().VFS().OpenAt(w.t, w.t.Credentials(), &pop,
		&vfs.OpenOptions{Flags: linux.O_RDONLY, FileExec: true})
}

// resolveFiles judges the file and follows scripts to their interpreters, until e.file is the ELF
// file that gVisor is to load. It returns what the loaded image must turn out to be.
func (e *execution) resolveFiles() (*loaded, error) {
	for range maxScripts {
		rec := e.record(sandbox.KindExec)
		rec.Args = e.argv
		if err := e.judgeExec(e.t, &rec, e.file); err != nil {
			return nil, err
		}
		head, err := readHead(e.t, e.file)
		if err != nil {
			return nil, err
		}
		if !bytes.HasPrefix(head, []byte("#!")) {
			return e.resolveLoader()
		}
		if e.closeFile {
			return nil, linuxerr.ENOENT // the interpreter could not open the script
		}
		interpreter, argv, err := parseScript(head, e.path, e.argv)
		if err != nil {
			return nil, err
		}
		file, err := e.openPath(interpreter)
		if err != nil {
			return nil, err
		}
		e.file.DecRef(e.t)
		e.file, e.path, e.argv = file, interpreter, argv
	}
	return nil, linuxerr.ELOOP
}

// openPath opens an interpreter or loader: like gVisor, from the working directory.
func (e *execution) openPath(path string) (*vfs.FileDescription, error) {
	w, err := startWalk(e.t, linux.AT_FDCWD, path, refuseEmpty, 0)
	if err != nil {
		return nil, err
	}
	defer w.done()
	return openExec(&w, true)
}

// resolveLoader judges the loader that the ELF file names, if it names one.
func (e *execution) resolveLoader() (*loaded, error) {
	expect := &loaded{before: e.t.MemoryManager(), program: identify(e.file)}
	name, err := loaderOf(e.t, e.file)
	if err != nil || name == "" {
		return expect, err
	}
	file, err := e.openPath(name)
	if err != nil {
		return nil, err
	}
	defer file.DecRef(e.t)
	expect.loader = identify(file)
	rec := e.record(sandbox.KindExec)
	rec.Text = loaderText
	return expect, e.judgeExec(e.t, &rec, file)
}

// judgeExec fills in the record of running file and decides it.
func (s *sink) judgeExec(t *kernel.Task, rec *sandbox.Record, file *vfs.FileDescription) error {
	var err error
	if rec.Path, err = pathOf(t, file.VirtualDentry()); err != nil {
		return err
	}
	if rec.Digest, err = s.digests.of(t, file); err != nil {
		return err
	}
	return s.decide(rec, s.exec(file, rec))
}

// exec decides on running file. A digest says nothing of a file that may be written after it was
// taken: where a policy goes by digests, such a file is run only if its path may be mapped as code
// as well, so that writing it gives the program nothing it could not have without.
func (s *sink) exec(file *vfs.FileDescription, rec *sandbox.Record) sandbox.Decision {
	d := s.policy.Exec(rec.Path, rec.Digest)
	if refuses(d) || !s.policy.NeedsDigest() || file.Mount().MountFlags()&linux.ST_RDONLY != 0 {
		return d
	}
	mapping := s.file(rec.Path, sandbox.Exec)
	if inTree(rec.Path) {
		if refuses(s.file(rec.Path, sandbox.Write)) {
			return d
		}
	} else if mapping = s.policy.ExecMemory(); sealed(file) {
		return d
	}
	if refuses(mapping) {
		return mapping
	}
	return d
}

// sealed reports whether a file of memory can never be written again.
func sealed(file *vfs.FileDescription) bool {
	seals, err := tmpfs.GetSeals(file)
	return err == nil && seals&linux.F_SEAL_WRITE != 0
}

// readHead reads the first line of a script, or as much of another file.
func readHead(t *kernel.Task, file *vfs.FileDescription) ([]byte, error) {
	head := make([]byte, maxScriptLine)
	n, err := file.ReadFull(t, usermem.BytesIOSequence(head), 0)
	if err != nil && err != io.ErrUnexpectedEOF {
		if err == io.EOF {
			err = linuxerr.ENOEXEC
		}
		return nil, err
	}
	return head[:n], nil
}

// parseScript reads "#!interpreter argument" as gVisor's loader does: the first argument of the
// program is replaced by the script's name, and all follow the interpreter's own.
func parseScript(line []byte, name string, argv []string) (string, []string, error) {
	line = line[2:]
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	line = bytes.TrimLeft(line, " \t")
	interpreter, argument := line, []byte(nil)
	if i := bytes.IndexAny(line, " \t"); i >= 0 {
		interpreter, argument = line[:i], bytes.TrimLeft(line[i:], " \t")
	}
	if len(interpreter) == 0 {
		return "", nil, linuxerr.ENOEXEC
	}
	all := []string{string(interpreter)}
	if len(argument) > 0 {
		all = append(all, string(argument))
	}
	all = append(all, name)
	if len(argv) > 1 {
		all = append(all, argv[1:]...)
	}
	return string(interpreter), all, nil
}
