package escape

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"surety/sandbox"
)

// TestMainRefusesHosts sees that nothing is tried where the kernel is not ours, with the mark of a
// drill and without.
func TestMainRefusesHosts(t *testing.T) {
	scene, err := json.Marshal(Scene{Canary: "/nowhere"})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"attempts", "attempt", "again", "fuzz", "fuzz-child"} {
		for _, mark := range []string{"", string(scene)} {
			lookup := func(string) (string, bool) { return mark, mark != "" }
			if code := Main([]string{"/" + Name, verb, "write-core-pattern"}, lookup); code != 1 {
				t.Errorf("%s with mark %q: status %d", verb, mark, code)
			}
		}
	}
	if inside(true) == nil {
		t.Fatal("this host is taken for a sandbox")
	}
	if code := Main([]string{Name}, nil); code != 1 {
		t.Errorf("no verb: status %d", code)
	}
}

func TestIsAttempt(t *testing.T) {
	for line, want := range map[string]bool{"": false, "/surety-escape attempts": true,
		"surety-escape": true, "surety attempts": false, "/x/surety-escape2": false} {
		if got := IsAttempt(strings.Fields(line)); got != want {
			t.Errorf("%q: %t", line, got)
		}
	}
}

// TestAttemptsAreWhole sees that every row says all that it must.
func TestAttemptsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range append(Attempts(), planted()) {
		if a.Name == "" || seen[a.Name] || strings.ContainsAny(a.Name, " /\n") {
			t.Errorf("name %q", a.Name)
		}
		seen[a.Name] = true
		if a.Class == "" || a.What == "" || a.try == nil || len(a.Refused) == 0 || len(a.Marks) == 0 {
			t.Errorf("%s is not whole: %+v", a.Name, a)
		}
		if found, ok := find(a.Name); !ok || found.Class != a.Class {
			t.Errorf("%s is not found", a.Name)
		}
	}
	if len(seen) < 400 || len(classes()) < 16 {
		t.Errorf("%d attempts of %d classes", len(seen), len(classes()))
	}
}

func TestJudge(t *testing.T) {
	own := Attempt{Name: "own", Refused: noCall(), Contained: "it is the sandbox's own"}
	bare := Attempt{Name: "bare", Refused: noFile()}
	for _, row := range []struct {
		a    Attempt
		err  error
		want Outcome
	}{
		{own, nil, Contained},
		{bare, nil, Reached},
		{own, reached{"proof"}, Reached},
		{bare, fmt.Errorf("open: %w", reached{"proof"}), Reached},
		{own, unix.EPERM, Refused},
		{bare, fmt.Errorf("open: %w", unix.EROFS), Refused},
		{own, unix.EROFS, Odd},
		{own, errors.New("anything else"), Odd},
	} {
		var said strings.Builder
		if err := say(&said, row.err); err != nil {
			t.Fatal(err)
		}
		var r report
		if err := json.Unmarshal([]byte(said.String()), &r); err != nil {
			t.Fatal(err)
		}
		if f := row.a.judge(r); f.Outcome != row.want || f.Detail == "" {
			t.Errorf("%s, %v: %+v, want %s", row.a.Name, row.err, f, row.want)
		}
	}
}

func TestApplies(t *testing.T) {
	all := Scene{Secret: "/s/w", Strict: true, NoMount: true, Volume: "/v"}
	for _, row := range []struct {
		name  string
		scene Scene
		want  bool
	}{
		{"write-modprobe", Scene{}, true},
		{"write-modprobe", Scene{Classes: []string{"race"}}, false},
		{"swap-link", Scene{}, false},
		{"swap-link", Scene{Secret: "/s/w"}, true},
		{"program-copy", Scene{Secret: "/s/w"}, false},
		{"alias-bind", Scene{Secret: "/s/w"}, false},
		{"alias-bind", all, true},
		{"volume-write", Scene{}, false},
		{"volume-write", all, true},
		{"memory", all, false},
		{"memory", Scene{Alone: "memory"}, true},
		{"write-modprobe", Scene{Alone: "memory"}, false},
	} {
		a, _ := find(row.name)
		if got := a.applies(&row.scene); got != row.want {
			t.Errorf("%s in %+v: %t", row.name, row.scene, got)
		}
	}
}

// TestGround lays a ground, changes one thing after another as a breach would, and sees that each is
// found and that nothing is found before.
func TestGround(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ground")
	g, err := Prepare(dir, "/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Error("the ground is still there")
		}
	}()
	if changes := g.Picture().Differences(g.Picture()); len(changes) > 0 {
		t.Errorf("nothing happened, and yet: %q", changes)
	}
	volume, _ := g.Volume()
	longAgo := time.Unix(1, 0)
	word := filepath.Join(volume, "word")
	for _, plant := range []struct {
		what string
		do   func() error
		says string
	}{
		{"write", func() error { return os.WriteFile(word, []byte("VOLUME"), 0o644) }, word + " was"},
		{"same bytes", func() error { return os.WriteFile(word, []byte("VOLUME"), 0o644) }, word + " was"},
		{"mode", func() error { return os.Chmod(word, 0o4755) }, word + " was"},
		{"link", func() error { return os.Link(word, word+"-2") }, word + "-2 is new"},
		{"unlink", func() error { return os.Remove(word) }, word + " is gone"},
		{"canary", func() error { return os.Truncate(g.Scene().Canary, 0) }, "canary was"},
		{"program", func() error { return os.Chtimes(filepath.Join(g.Root(), Name), longAgo, longAgo) }, Name + " was"},
		{"file of the host", func() error {
			return os.WriteFile("/tmp/surety-escape-test", nil, 0o600)
		}, "/tmp/surety-escape-test is new"},
	} {
		before := g.Picture()
		if err := plant.do(); err != nil {
			t.Fatal(err)
		}
		changes := before.Differences(g.Picture())
		if !slices.ContainsFunc(changes, func(c string) bool { return strings.Contains(c, plant.says) }) {
			t.Errorf("%s was not found: %q", plant.what, changes)
		}
	}
	if err := os.Remove("/tmp/surety-escape-test"); err != nil {
		t.Error(err)
	}
}

// TestListeners sees that whoever speaks to the ground's listeners is noted.
func TestListeners(t *testing.T) {
	g, err := Prepare(filepath.Join(t.TempDir(), "ground"), "/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Hits()) > 0 || len(g.Scene().Hosts) == 0 {
		t.Errorf("hits %q, hosts %q", g.Hits(), g.Scene().Hosts)
	}
	_, port, err := net.SplitHostPort(g.Scene().Hosts[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"tcp", "udp"} {
		c, err := net.Dial(network, "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if network == "tcp" { // closed by the listener once it has noted us
			_, _ = c.Read(make([]byte, 1))
		}
		c.Close()
	}
	for len(g.Hits()) < 2 { // the datagram is on its way within this host
		if t.Context().Err() != nil {
			t.Fatal("no hit")
		}
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

// TestWitness shows records of attempts that left their mark, and of one that left none.
func TestWitness(t *testing.T) {
	w := NewWitness()
	exec := func(pid uint32, name string) *sandbox.Record {
		return &sandbox.Record{Kind: sandbox.KindExec, Process: pid, Args: []string{"/" + Name, "attempt", name}}
	}
	for _, r := range []*sandbox.Record{
		exec(10, "write-modprobe"),
		{Kind: sandbox.KindOpen, Process: 11, Path: "/proc/sys/kernel/modprobe"}, // another process
		exec(12, "write-hotplug"),
		{Kind: sandbox.KindOpen, Process: 12, Path: "/proc/sys/kernel/hotplug"},
		exec(13, "write-sysrq"),
		{Kind: sandbox.KindClone, Process: 13, Result: 14},
		{Kind: sandbox.KindSyscall, Process: 14, Sysno: unix.SYS_OPENAT, Text: "/proc/sys/kernel/sysrq"},
		exec(15, "call-kexec"),
		{Kind: sandbox.KindModule, Process: 15, Sysno: unix.SYS_KEXEC_LOAD},
		exec(16, "call-module"),
		{Kind: sandbox.KindModule, Process: 16, Sysno: unix.SYS_KEXEC_LOAD}, // another call
		exec(12, "call-bpf-map"), // the number is used again
		{Kind: sandbox.KindModule, Process: 17, Parent: 12, Sysno: unix.SYS_BPF},
	} {
		w.Add(r)
	}
	for name, want := range map[string]bool{"write-modprobe": false, "write-hotplug": true, "write-sysrq": true,
		"call-kexec": true, "call-module": false, "call-bpf-map": true} {
		if w.Saw(name) != want {
			t.Errorf("%s: %t", name, w.Saw(name))
		}
	}
	if w.Records() != 13 {
		t.Errorf("%d records", w.Records())
	}
}

func TestReport(t *testing.T) {
	w := NewWitness()
	w.seen["a"], w.seen["b"] = true, true
	r := Report{Planted: true}
	r.Add([]Finding{{"a", "x", Refused, ""}, {"b", "x", Contained, ""}, {"b", "y", Killed, ""}}, w)
	if !r.Clean() || r.Attempts != 3 || len(r.Rows) != 2 || r.Rows[0].Audited != 2 {
		t.Errorf("%+v", r)
	}
	for _, spoil := range []func(*Report){
		func(r *Report) { r.Add([]Finding{{"a", "x", Reached, "proof"}}, w) },
		func(r *Report) { r.Add([]Finding{{"a", "x", Odd, "?"}}, w) },
		func(r *Report) { r.Add([]Finding{{"missing", "x", Refused, ""}}, w) },
		func(r *Report) { r.Host([]string{"changed"}, nil) },
		func(r *Report) { r.Host(nil, []string{"hit"}) },
		func(r *Report) { r.Planted = false },
	} {
		bad := r
		bad.Rows = slices.Clone(r.Rows)
		spoil(&bad)
		if bad.Clean() {
			t.Errorf("clean: %+v", bad)
		}
		var text strings.Builder
		if err := bad.Write(&text); err != nil || !strings.Contains(text.String(), "attempts of 2 classes") {
			t.Errorf("%v: %s", err, text.String())
		}
	}
}

// TestCallTable sees that the fuzzer's table is in order, and knows the sorts.
func TestCallTable(t *testing.T) {
	list := signatures()
	for i, s := range list {
		if i > 0 && list[i-1].number >= s.number || s.name == "" || len(s.sorts) > 6 ||
			strings.Trim(s.sorts, "fpbvahksix") != "" {
			t.Errorf("row %+v", s)
		}
	}
	if len(list) < 340 {
		t.Errorf("%d calls", len(list))
	}
}

// TestFuzzerSparesOthers draws many process numbers: none is another's.
func TestFuzzerSparesOthers(t *testing.T) {
	f := &fuzzer{random: rand.New(rand.NewPCG(1, 2)), buffer: make([]byte, 1<<16), own: 77, highest: 9,
		paths: [][]byte{{0}}}
	for range 10_000 {
		if pid := f.argument('k'); pid != 77 && pid < 1<<20 {
			t.Fatalf("process %d", pid)
		}
		f.argument("fpbvahsix"[f.random.IntN(9)])
	}
}

// FuzzFinding decodes what a sandbox may write instead of findings.
func FuzzFinding(f *testing.F) {
	f.Add([]byte(`{"errno":1,"detail":"x"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var r report
		if json.Unmarshal(lastLine(line), &r) == nil {
			a := Attempt{Refused: noCall()}
			if found := a.judge(r); found.Outcome == "" {
				t.Errorf("no outcome for %q", line)
			}
		}
	})
}
