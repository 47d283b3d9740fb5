package state

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"surety/base/errs"
	"surety/sys/inode"
)

// TestMain lets the test binary be another process of the same program: one that opens a kept state.
func TestMain(m *testing.M) {
	if dir := os.Getenv("STATE_TEST_CHILD"); dir != "" {
		os.Exit(child(dir))
	}
	os.Exit(m.Run())
}

// child opens the state that is kept in dir, writes numbered files, and says each that is synced.
func child(dir string) int {
	conn, err := net.Dial("unix", filepath.Join(dir, keeperSocket))
	if err != nil {
		return 2
	}
	fs, err := Guest{}.Open(conn, dir)
	if err != nil {
		_, _ = os.Stdout.WriteString(err.Error())
		return 3
	}
	for i := uint32(0); ; i++ {
		name := binary.BigEndian.AppendUint32(nil, i)
		a, err := fs.Make(inode.Root, nameOf(i), inode.New{Mode: inode.Regular | 0o600})
		if err == nil {
			_, err = fs.Write(a.Number, bytes.Repeat(name, 5000), 0)
		}
		if err == nil {
			err = fs.Sync(context.Background())
		}
		if err != nil {
			return 4
		}
		if _, err := os.Stdout.Write(name); err != nil {
			return 0
		}
	}
}

func nameOf(i uint32) string { return "f" + string('a'+rune(i%26)) + strings.Repeat("x", int(i/26)) }

func serveIn(t *testing.T, dir string, anchor Anchor) *Served {
	t.Helper()
	s, err := Serve(ServeConfig{Config: Config{Dir: dir, Keys: keysUpTo(2), Anchor: anchor, Bytes: 64 << 20},
		Log: func(text string) { t.Log("keeper: " + text) }})
	must(t, err)
	return s
}

func dial(t *testing.T, s *Served) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", filepath.Join(s.Dir(), keeperSocket))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestKilledChildLosesNothing kills the process that has the state open, again and again.
func TestKilledChildLosesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	anchor := &anchorage{}
	self, err := os.Executable()
	must(t, err)
	for round := range 5 {
		served := serveIn(t, dir, anchor)
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), "STATE_TEST_CHILD="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		said := make([]byte, 4)
		for range 10 + round*7 {
			if _, err := out.Read(said); err != nil {
				t.Fatalf("round %d: %v; %v", round, err, served.Refusal())
			}
		}
		must(t, cmd.Process.Signal(syscall.SIGKILL))
		_ = cmd.Wait() // killed
		must(t, served.Close(t.Context()))

		config := served.config.Config
		v, err := Open(t.Context(), config)
		must(t, err)
		for i := range binary.BigEndian.Uint32(said) + 1 {
			want := bytes.Repeat(binary.BigEndian.AppendUint32(nil, i), 5000)
			if got := contentOf(t, v, nameOf(i)); !bytes.Equal(got, want) {
				t.Fatalf("round %d: %s was acknowledged and holds %d other bytes", round, nameOf(i), len(got))
			}
		}
		list, err := v.Entries(inode.Root)
		must(t, err)
		for _, e := range list {
			must(t, v.Unlink(inode.Root, e.Name))
		}
		must(t, v.Close(t.Context()))
	}
}

func TestKeeperAndGuest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30), "state") // longer than a socket's address
	must(t, os.MkdirAll(filepath.Dir(dir), 0o700))
	anchor := &anchorage{}
	served := serveIn(t, dir, anchor)
	if !served.Protected() || served.Dir() != dir {
		t.Errorf("protected %t, dir %s", served.Protected(), served.Dir())
	}
	t.Chdir(dir)
	conn, err := net.Dial("unix", keeperSocket)
	must(t, err)
	fs, err := Guest{}.Open(conn, dir)
	must(t, err)
	_, err = fs.Make(inode.Root, "a", inode.New{Mode: inode.Regular | 0o600})
	must(t, err)

	second, err := net.Dial("unix", keeperSocket) // one guest at a time
	must(t, err)
	if _, err := (Guest{}).Open(second, dir); !errs.Is(err, errs.Unavailable) {
		t.Errorf("a second guest: %v", err)
	}
	must(t, fs.Close(t.Context()))
	must(t, served.Close(t.Context()))
	must(t, served.Close(t.Context()))
	if last, _ := anchor.Last(); last != 2 {
		t.Errorf("anchored %d", last)
	}
	if _, err := os.Stat(filepath.Join(dir, keeperSocket)); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestRefusalReachesTheKeeper(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	anchor := &anchorage{at: mark{epoch: 7}}
	served := serveIn(t, dir, anchor)
	if _, err := (Guest{}).Open(dial(t, served), dir); !errs.Is(err, errs.Refused) {
		t.Errorf("%v", err)
	}
	must(t, served.Close(t.Context()))
	if err := served.Refusal(); !errs.Is(err, errs.Refused) || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("%v", err)
	}
}

func TestGuestSeesTheAnchorsRefusal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	anchor := &anchorage{}
	served := serveIn(t, dir, anchor)
	fs, err := Guest{}.Open(dial(t, served), dir)
	must(t, err)
	anchor.fail = errs.New(errs.Locked, "another has the lease")
	_, err = fs.Make(inode.Root, "a", inode.New{Mode: inode.Regular | 0o600})
	must(t, err)
	if err := fs.Sync(t.Context()); !errs.Is(err, errs.Locked) {
		t.Errorf("%v", err)
	}
	if err := fs.Close(t.Context()); !errs.Is(err, errs.Locked) {
		t.Errorf("%v", err)
	}
	must(t, served.Close(t.Context()))
}

// TestKeeperGone has a guest go on without its keeper: nothing is acknowledged any more.
func TestKeeperGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	served := serveIn(t, dir, &anchorage{})
	fs, err := Guest{}.Open(dial(t, served), dir)
	must(t, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := served.Close(ended); !errs.Is(err, errs.Canceled) {
		t.Errorf("%v", err)
	}
	_, err = fs.Make(inode.Root, "a", inode.New{Mode: inode.Regular | 0o600})
	must(t, err)
	for range 2 {
		if err := fs.Sync(t.Context()); !errs.Is(err, errs.Unavailable) {
			t.Errorf("%v", err)
		}
	}
	_ = fs.Close(t.Context())
}

// TestAnotherProgramIsTurnedAway has a process of another program ask for the keys: a copy of this one
// is another, as a newer build of the same name would be.
func TestAnotherProgramIsTurnedAway(t *testing.T) {
	dir := t.TempDir()
	served := serveIn(t, filepath.Join(dir, "s"), &anchorage{})
	defer served.Close(t.Context())
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	other := filepath.Join(dir, "other")
	must(t, os.WriteFile(other, self, 0o700))
	cmd := exec.CommandContext(t.Context(), other)
	cmd.Env = append(os.Environ(), "STATE_TEST_CHILD="+served.Dir())
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 3 || !strings.Contains(string(out), "its keeper is gone") {
		t.Errorf("%q, %v", out, err)
	}
}

// TestBrokenForm has a guest that does not keep to the protocol.
func TestBrokenForm(t *testing.T) {
	served := serveIn(t, filepath.Join(t.TempDir(), "s"), nil)
	defer served.Close(t.Context())
	for what, message := range map[string][]byte{
		"too long":     binary.LittleEndian.AppendUint32(nil, maxMessage+1),
		"no JSON":      append(binary.LittleEndian.AppendUint32(nil, 3), "abc"...),
		"half of it":   frame(`{"ask":"open"}`)[:9],
		"no such":      frame(`{"ask":"keys"}`),
		"no anchor":    frame(`{"ask":"commit","epoch":1}`),
		"cut off":      binary.LittleEndian.AppendUint32(nil, 9)[:2],
		"wrong digest": frame(`{"ask":"commit","root":"x"}`),
	} {
		conn := dial(t, served)
		_, err := conn.Write(message)
		if err == nil {
			err = conn.(*net.UnixConn).CloseWrite()
		}
		var a answer
		if err == nil {
			err = receive(conn, &a)
		}
		conn.Close()
		if a.Grant != nil || err == nil && a.Text == "" {
			t.Errorf("%s: %+v", what, a)
		}
		served.mu.Lock()
		idle := served.idle
		served.mu.Unlock()
		<-idle // one guest at a time
	}
}

func frame(text string) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(text))), text...)
}

// FuzzMessage has both sides read anything.
func FuzzMessage(f *testing.F) {
	f.Add(frame(`{"ask":"open"}`))
	f.Add(frame(`{"grant":{"keys":[{"svn":1,"key":"AAAA"}],"bytes":1,"anchored":true}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		var r request
		if err := receive(bytes.NewReader(content), &r); err == nil {
			s := &Served{config: ServeConfig{Config: Config{Anchor: &anchorage{}}}}
			_ = s.answer(nil, &r)
		}
		var a answer
		if err := receive(bytes.NewReader(content), &a); err == nil && a.Grant != nil {
			var c Config
			if err := (&remote{}).take(a.Grant, &c); err == nil {
				_ = c.check()
			}
		}
	})
}

func TestServeRefusesItsConfiguration(t *testing.T) {
	_, err := Serve(ServeConfig{Config: Config{Dir: "relative", Keys: keysUpTo(1), Bytes: 1}})
	if !errs.Is(err, errs.Invalid) {
		t.Errorf("%v", err)
	}
	var unset *errs.Error
	if !errors.As(err, &unset) {
		t.Errorf("%T", err)
	}
}

// TestGuestThatConnectsTwice has the process that connected execute itself, and connect again.
func TestGuestThatConnectsTwice(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	served := serveIn(t, dir, &anchorage{})
	dial(t, served)
	fs, err := Guest{}.Open(dial(t, served), dir)
	must(t, err)
	must(t, fs.Close(t.Context()))
	must(t, served.Close(t.Context()))
}
