package node

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"surety/sandbox"
)

// TestScorerPolicy holds the scorer's policy to what it is for: it runs itself, reads its own file,
// and nothing else is allowed.
func TestScorerPolicy(t *testing.T) {
	own := sandbox.Digest{1, 2, 3}
	policy, err := scorerPolicy("sha256:010203" + strings.Repeat("0", 58))
	if err != nil {
		t.Fatal(err)
	}
	c, err := sandbox.Compile(*policy)
	if err != nil {
		t.Fatal(err)
	}
	if c.Mode() != sandbox.Enforce || c.Name() != "scorer" {
		t.Errorf("policy %s, mode %v", c.Name(), c.Mode())
	}
	address := netip.MustParseAddrPort("127.0.0.1:443")
	for what, decided := range map[string]struct {
		decision sandbox.Decision
		want     sandbox.Verdict
	}{
		"itself":                   {c.Exec(cellProgram, own), sandbox.Allowed},
		"another under its name":   {c.Exec(cellProgram, sandbox.Digest{9}), sandbox.Refused},
		"a shell":                  {c.Exec("/bin/sh", sandbox.Digest{}), sandbox.Refused},
		"its own file":             {c.File(cellProgram, sandbox.Read), sandbox.Allowed},
		"writing its own file":     {c.File(cellProgram, sandbox.Write), sandbox.Refused},
		"accounts":                 {c.File("/etc/passwd", sandbox.Read), sandbox.Refused},
		"a file of its own":        {c.File("/tmp/x", sandbox.Create), sandbox.Refused},
		"another's memory":         {c.File("/proc/1/mem", sandbox.Read), sandbox.Refused},
		"a connection":             {c.Net(sandbox.Connect, sandbox.TCP, address, ""), sandbox.Refused},
		"a datagram":               {c.Net(sandbox.Send, sandbox.UDP, address, ""), sandbox.Refused},
		"a door":                   {c.Net(sandbox.Bind, sandbox.TCP, address, ""), sandbox.Refused},
		"a unix socket":            {c.Unix(sandbox.Connect, "/run/x"), sandbox.Refused},
		"tracing":                  {c.Ptrace(), sandbox.Refused},
		"another user":             {c.SetID(), sandbox.Refused},
		"a mount":                  {c.Mount(), sandbox.Refused},
		"code written at run time": {c.ExecMemory(), sandbox.Refused},
	} {
		if decided.decision.Verdict != decided.want {
			t.Errorf("%s: %v, want %v", what, decided.decision.Verdict, decided.want)
		}
	}
	if _, err := scorerPolicy("sha256:short"); err == nil {
		t.Error("a digest that is none is taken")
	}
}

// TestMeasured takes an old measurement only for the same program with its image still there.
func TestMeasured(t *testing.T) {
	dir := t.TempDir()
	program, image := filepath.Join(dir, "program"), filepath.Join(dir, "image")
	for _, path := range []string{program, image} {
		if err := os.WriteFile(path, []byte(path), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	last, err := identify(program)
	if err != nil {
		t.Fatal(err)
	}
	last.Program, last.Image = "sha256:x", image
	now, err := identify(program)
	if err != nil || !last.same(now) {
		t.Errorf("an unchanged program is not the same: %v", err)
	}
	for what, change := range map[string]func(*measured){
		"device": func(m *measured) { m.Device++ }, "file": func(m *measured) { m.Inode++ },
		"size": func(m *measured) { m.Size++ }, "time": func(m *measured) { m.Changed++ },
	} {
		other := now
		if change(&other); last.same(other) {
			t.Errorf("a program of another %s is the same", what)
		}
	}
	if err := os.Remove(image); err != nil {
		t.Fatal(err)
	}
	if last.same(now) {
		t.Error("an image that is gone is still good")
	}
	if _, err := identify(image); err == nil {
		t.Error("a program that is not there is identified")
	}
}
