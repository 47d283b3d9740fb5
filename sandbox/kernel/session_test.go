//go:build amd64

package kernel_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"surety/sandbox"
)

func TestSessionIsRecordedBeforeItRuns(t *testing.T) {
	b := boot(t, plan{policy: enforce(), args: []string{"sleepy"}})
	b.start()
	if status := b.session("/probe", "say hi", "open /tmp/go c"); status != 0 {
		t.Errorf("session: %v", status)
	}
	if _, out := b.finish(); !strings.Contains(out, "hi\n") || !strings.Contains(out, "went\n") {
		t.Errorf("output %q", out)
	}
	all := b.all()
	at := slices.IndexFunc(all, func(r sandbox.Record) bool { return r.Kind == sandbox.KindSession })
	if at < 0 {
		t.Fatalf("no session in %v", kinds(all))
	}
	r := all[at]
	if r.Path != "/probe" || r.Digest.IsZero() || !r.Session ||
		!slices.Equal(r.Args, []string{probeName, "say hi", "open /tmp/go c"}) {
		t.Errorf("session %+v", r)
	}
	for i, other := range all {
		if other.Process == r.Process && i < at {
			t.Errorf("record %d of the session comes before its beginning: %v", other.Seq, other.Kind)
		}
		if other.Process == r.Process && !other.Session && other.Kind != sandbox.KindExit {
			t.Errorf("record %d is not marked as a session's", other.Seq)
		}
	}
	next := slices.IndexFunc(all[at+1:], func(o sandbox.Record) bool { return o.Process == r.Process })
	if next < 0 || all[at+1+next].Kind != sandbox.KindExec {
		t.Errorf("the session's own records do not begin with its exec: %v", kinds(all[at:]))
	}
}

func TestSessionIsRefusedByTheExecPolicy(t *testing.T) {
	p := enforce()
	p.Exec = []sandbox.ExecRule{{Deny: "/other"}}
	b := boot(t, plan{policy: p, args: []string{"sleepy"}, links: map[string]string{"/alias": "other"},
		files: map[string]string{"/other": binary(t)}})
	b.start()
	for _, path := range []string{"/other", "/alias"} {
		status := b.session(path, "say never", "open /tmp/go c")
		if !killed(status) {
			t.Errorf("%s: session ended with %v, want SIGKILL", path, status)
		}
	}
	b.session("/probe", "open /tmp/go c")
	b.finish()
	if strings.Contains(b.output(), "never") {
		t.Errorf("the refused session ran: %q", b.output())
	}
	if !strings.Contains(ofKind(b.all(), sandbox.KindExec), "refuse \"/other\"") {
		t.Errorf("no refusal in %v", kinds(b.all()))
	}
}

func TestFullLevelRecordsEveryCall(t *testing.T) {
	b := play(t, plan{policy: enforce(), level: "full"}, []step{
		{"say x", "x", want{sandbox.KindSyscall, 0, "", "", "", 0}},
		{"call 39", "ok", want{}},
		{"call 500 7", "ENOSYS", want{}},
		{"stat /missing", "ENOENT", want{}},
	})
	found := map[uint16]sandbox.Record{}
	for _, r := range b.all() {
		if r.Kind == sandbox.KindSyscall {
			found[r.Sysno] = r
		}
	}
	if r := found[unix.SYS_GETPID]; !r.Done || r.Result != 1 {
		t.Errorf("getpid: %+v", r)
	}
	if r := found[500]; !r.Done || r.Errno != uint16(unix.ENOSYS) || r.Words[0] != 7 {
		t.Errorf("call 500: %+v", r)
	}
	if _, ok := found[unix.SYS_EXIT_GROUP]; !ok {
		t.Error("no exit_group")
	}
	if len(found) < 15 {
		t.Errorf("only %d calls seen", len(found))
	}
}

func TestFurtherContainerIsRecordedAndJudged(t *testing.T) {
	const kind, id = "io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id"
	b := boot(t, plan{policy: deny("/shut"), args: []string{"sleepy"}, notes: dict{kind: "sandbox"},
		files: map[string]string{"/shut": "secret"}})
	b.start()
	more := b.make(b.c.ID+"-more", plan{args: []string{"open /shut r", "open /tmp/x c"},
		notes: dict{kind: "container", id: b.c.ID}})
	var err error
	b.withStreams(func() { err = more.Start(b.conf) })
	must(t, err)
	status, err := more.Wait()
	must(t, err)
	if status.ExitStatus() != 0 {
		t.Errorf("status %v", status)
	}
	b.await(func(r *sandbox.Record) bool {
		return r.Kind == sandbox.KindOpen && r.Path == "/shut" && r.Verdict == sandbox.Refused
	})
	must(t, more.Destroy())
	r := b.await(func(r *sandbox.Record) bool { return r.Kind == sandbox.KindContainer })
	if r.Text != b.c.ID+"-more" || len(r.Args) != 3 || r.Process == 0 {
		t.Errorf("container %+v", r)
	}
	next := b.await(func(e *sandbox.Record) bool {
		return e.Kind == sandbox.KindExec && e.Process == r.Process
	})
	if next.Seq < r.Seq || next.Path != "/probe" || next.Session {
		t.Errorf("exec %+v", next)
	}
	b.session("/probe", "open /tmp/go c")
	b.finish()
}

func TestSlowCollectorLosesNothing(t *testing.T) {
	b := boot(t, plan{policy: enforce(), level: "full", args: []string{"getpid 300"},
		room: 128 << 10, pause: 100 * time.Millisecond})
	status, out := b.run()
	made := 0
	for _, r := range b.all() {
		if r.Kind == sandbox.KindSyscall && r.Sysno == unix.SYS_GETPID {
			made++
		}
	}
	if status != 0 || made < 15000 {
		t.Errorf("%v, %q: %d of at least 15000 calls recorded", status, out, made)
	}
	t.Logf("%d calls recorded; the program waited %d times for room", made, b.waits)
}
