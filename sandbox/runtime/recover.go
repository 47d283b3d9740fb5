package runtime

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/container"

	"surety/base/errs"
	"surety/sandbox/trail"
)

// orphaned reports whether nobody answers for the sandbox although it has not been finished.
func (s *Sandbox) orphaned() (bool, error) {
	lock, err := s.lock(unix.LOCK_SH | unix.LOCK_NB)
	if errs.Is(err, errs.Locked) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, lock.Close()
}

// recover finishes what a dead supervisor left: the records still in the ring, the final record,
// cgroups and gVisor's state. The kernel process died with its supervisor.
func (s *Sandbox) recover() error {
	lock, err := s.lock(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer lock.Close()
	st, err := s.readState()
	if err != nil || st.Status == Stopped {
		return err // somebody else was quicker
	}
	const reason = "its supervisor died"
	// The ring of a machine was inside it, and went with it.
	if _, err := os.Stat(s.file(ringFile)); err == nil || st.Spec.Class == VM {
		if err := s.recoverTrail(st.Trail, reason); err != nil {
			return err
		}
	}
	s.outlast(st.Kernel)
	s.sweep()
	st.Status, st.ExitCode, st.Ended, st.Reason = Stopped, exitKilled, s.host.now(), reason
	st.Supervisor, st.Kernel = 0, 0
	return s.writeState(&st)
}

func (s *Sandbox) recoverTrail(dir, reason string) error {
	key, err := trail.LoadKey(filepath.Join(s.host.config.Root, "audit.key"))
	if err != nil {
		return err
	}
	return trail.Recover(trail.Config{Dir: dir, Sandbox: s.id, Key: key}, s.file(ringFile), reason,
		exitKilled)
}

// exitKilled is the exit status of what was killed by SIGKILL.
const exitKilled = 128 + int(unix.SIGKILL)

// outlast waits until a kernel process that dies with its supervisor is gone: it holds its cgroups.
func (s *Sandbox) outlast(pid int) {
	const pace = 5 * time.Millisecond
	for began := s.host.now(); pid > 0 && s.host.now().Sub(began) < stopPatience; {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || !bytes.Contains(line, []byte(s.dir)) {
			return // gone, or somebody else's by now
		}
		<-s.host.after(pace).C()
	}
}

// sweep removes what the kernel left on the host outside the instance directory.
func (s *Sandbox) sweep() {
	routeLibraryLog(s.host.config.Log)
	root := s.file(gvisorDir)
	ids, err := container.List(root)
	if err != nil {
		return // it never came so far
	}
	for _, id := range ids {
		c, err := container.Load(root, id, container.LoadOpts{Exact: true, SkipCheck: true})
		if err != nil {
			s.host.config.Log.Warn("state of a dead kernel", "id", s.id, "error", err)
			continue
		}
		if err := c.Destroy(); err != nil {
			s.host.config.Log.Warn("remove what a dead kernel left", "id", s.id, "error", err)
		}
	}
	_ = os.Remove(filepath.Join(s.dir, controlFile))
}
