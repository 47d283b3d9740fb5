package cli

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"surety/base/clock"
	"surety/base/ident"
	"surety/sandbox"
	"surety/sandbox/ring"
	"surety/sandbox/trail"
	"surety/sys/wallclock"
)

const auditDay = clock.Instant(1_800_000_000_000_000_000) // 2027-01-15T08:00:00Z

// auditedRoot makes a root with the trail of a sandbox "web" that did some of everything.
func auditedRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	key, err := trail.LoadKey(filepath.Join(root, "audit.key"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := ring.Create(filepath.Join(root, "ring"), ring.MinSize)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w, err := trail.Create(trail.Config{Dir: filepath.Join(root, "trails", "web"), Sandbox: "web",
		Key: key, Clock: wallclock.NewManual(auditDay)})
	if err != nil {
		t.Fatal(err)
	}
	in := ring.NewProducer(r, time.Minute)
	for i, rec := range auditRecords(t, key.Public().String()) {
		if i == 3 {
			r.SetTrace(ident.ID{Hi: 1, Lo: 2})
		}
		rec.At = auditDay.Add(clock.Duration(i) * clock.Second)
		if rec.Sysno == 0 {
			rec.Sysno = noSyscall
		}
		if err := in.Write(&rec); err != nil {
			t.Fatal(err)
		}
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Drain(done, ring.NewConsumer(r)); err != nil {
		t.Fatal(err)
	}
	err = w.Outside(sandbox.Record{Kind: sandbox.KindSession, Path: "/bin/sh", Args: []string{"sh"},
		Session: true, Sysno: noSyscall})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Finish("the program ended", 3); err != nil {
		t.Fatal(err)
	}
	return root
}

func auditRecords(t *testing.T, key string) []sandbox.Record {
	t.Helper()
	birth, err := sandbox.Birth{Sandbox: "web", Class: "sentry", Mode: "enforce", Audit: "core",
		Image: "sha256:0123456789abcdef", Key: key}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	allowed := sandbox.Record{Verdict: sandbox.Allowed, Process: 1, Thread: 1, Comm: "sh", Rule: 2}
	with := func(change func(*sandbox.Record)) sandbox.Record {
		rec := allowed
		change(&rec)
		return rec
	}
	return []sandbox.Record{
		{Kind: sandbox.KindBirth, Text: birth},
		with(func(r *sandbox.Record) {
			r.Kind, r.Path, r.Args = sandbox.KindExec, "/bin/sh", []string{"sh", "-c", "ls /"}
			r.Digest = sandbox.Digest{0xab}
		}),
		with(func(r *sandbox.Record) { r.Kind, r.Result = sandbox.KindClone, 7 }),
		with(func(r *sandbox.Record) {
			r.Kind, r.Process, r.Parent, r.Comm = sandbox.KindOpen, 7, 1, "cat"
			r.Path, r.Access, r.Verdict, r.Errno = "/etc/shadow", sandbox.Read, sandbox.Refused, 13
		}),
		with(func(r *sandbox.Record) {
			r.Kind, r.Process, r.Parent, r.Comm = sandbox.KindConnect, 7, 1, "cat"
			r.Addr, r.Proto = netip.MustParseAddrPort("10.0.0.1:443"), sandbox.TCP
			r.Verdict, r.Rule, r.Text = sandbox.WouldRefuse, sandbox.NoRule, "db.example"
		}),
		with(func(r *sandbox.Record) { r.Kind, r.Process, r.Result = sandbox.KindExit, 7, 2<<8 }),
		with(func(r *sandbox.Record) { r.Kind, r.Path = sandbox.KindUnlink, "/tmp/\x1b[31mred" }),
	}
}

func TestAuditShow(t *testing.T) {
	root := auditedRoot(t)
	out := run(t, nil, "sandbox", "audit", "show", "web", "--root", root)
	want := `    RECORD  TIME            PID  COMMAND          ACT         VERDICT       WHAT
-- Friday, 15 January 2027, UTC
         1  08:00:00.000      -  -                birth       -             sandbox web, class sentry, policy enforce (-), audit core, image sha256:0123456789abcdef
         2  08:00:01.000      1  sh               exec        allow         /bin/sh -c "ls /" sha256:ab0000000000
         3  08:00:02.000      1  sh               clone       allow         as 7
!        4  08:00:03.000      7  cat              open        refuse        read /etc/shadow by rule 2 -> permission denied for request 00000000000000010000000000000002
?        5  08:00:04.000      7  cat              connect     would-refuse  tcp 10.0.0.1:443 (db.example) by default for request 00000000000000010000000000000002
         6  08:00:05.000      7  sh               exit        allow         exit status 2 for request 00000000000000010000000000000002
         7  08:00:06.000      1  sh               unlink      allow         /tmp/.[31mred for request 00000000000000010000000000000002
*       h1  08:00:00.000      -  -                session     -             /bin/sh
        h2  08:00:00.000      -  -                final       -             the program ended, exit status 3
`
	if out.status != 0 || out.stdout != want || out.stderr != "9 of 9 records\n" {
		t.Fatalf("status %d, %q\ngot:\n%s\nwant:\n%s", out.status, out.stderr, out.stdout, want)
	}
}

func TestAuditFilters(t *testing.T) {
	root := auditedRoot(t)
	for _, test := range []struct{ flags, want string }{
		{"--verdict refuse", "4"},
		{"--verdict refuse,would-refuse", "4 5"},
		{"--kind exec,clone", "2 3"},
		{"--pid 7", "4 5 6"},
		{"--pid 1 --kind open", "4"},
		{"--path /etc/**", "4"},
		{"--addr 10.0.0.0/8", "5"},
		{"--addr 10.0.0.1", "5"},
		{"--addr 10.0.0.2", ""},
		{"--from 6", "6 7 h1 h2"},
		{"--from 2 --to 3", "2 3"},
		{"--from 2027-01-15T08:00:05Z", "6 7"},
		{"--to 2027-01-15T08:00:00Z", "1 h1 h2"},
		{"--trace 00000000000000010000000000000002 --kind open,exec", "4"},
		{"--last 2", "h1 h2"},
		{"--last 1 --verdict allow", "7"},
	} {
		args := append([]string{"sandbox", "audit", "show", "web", "--root", root, "-o", "json"},
			strings.Fields(test.flags)...)
		out := run(t, nil, args...)
		var got []string
		for line := range strings.Lines(out.stdout) {
			var rec struct {
				Seq  json.Number
				Host bool
			}
			if err := json.Unmarshal([]byte(line), &rec); err != nil {
				t.Fatalf("%s: %v", test.flags, err)
			}
			if rec.Host {
				rec.Seq = "h" + rec.Seq
			}
			got = append(got, rec.Seq.String())
		}
		if out.status != 0 || strings.Join(got, " ") != test.want {
			t.Errorf("%s: status %d, %s, want %s; %s", test.flags, out.status, got, test.want, out.stderr)
		}
	}
	for _, flags := range []string{"--kind fly", "--verdict maybe", "--addr host", "--trace x", "--from x",
		"--path relative", "--last -1"} {
		args := append([]string{"sandbox", "audit", "show", "web", "--root", root}, strings.Fields(flags)...)
		if out := run(t, nil, args...); out.status != 2 {
			t.Errorf("%s: status %d, %s", flags, out.status, out.stderr)
		}
	}
}

func TestAuditFollowEndsWithTheTrail(t *testing.T) {
	root := auditedRoot(t)
	out := run(t, nil, "sandbox", "audit", "follow", "web", "--root", root, "--last", "3")
	if out.status != 0 || strings.Count(out.stdout, "\n") != 5 || !strings.Contains(out.stdout, "final") {
		t.Fatalf("status %d\n%s%s", out.status, out.stdout, out.stderr)
	}
}

func TestAuditMeansTheLatestTrail(t *testing.T) {
	root := auditedRoot(t)
	trails := filepath.Join(root, "trails")
	if err := os.CopyFS(filepath.Join(trails, "web.2"), os.DirFS(filepath.Join(trails, "web"))); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"web": "web.2", "web.2": "web.2", "other": "",
		filepath.Join(trails, "web"): "web"} {
		out := run(t, nil, "sandbox", "audit", "verify", name, "--root", root, "-o", "json")
		var verdict struct{ Path string }
		if err := json.Unmarshal([]byte(out.stdout), &verdict); err != nil && want != "" {
			t.Fatalf("%s: %v, %s", name, err, out.stderr)
		}
		if want == "" && out.status != 1 || want != "" && filepath.Base(verdict.Path) != want {
			t.Errorf("%s: status %d, trail %q", name, out.status, verdict.Path)
		}
	}
	// An operator takes old trails away: the later one is still meant.
	if err := os.RemoveAll(filepath.Join(trails, "web")); err != nil {
		t.Fatal(err)
	}
	if out := run(t, nil, "sandbox", "audit", "verify", "web", "--root", root); out.status != 0 {
		t.Errorf("web, of which the first trail is gone: status %d, %s", out.status, out.stderr)
	}
	want := "surety: no trail of other in " + trails + "\n"
	if out := run(t, nil, "sandbox", "audit", "head", "other", "--root", root); out.stderr != want {
		t.Errorf("got %q, want %q", out.stderr, want)
	}
}

func TestAuditVerifyAndExport(t *testing.T) {
	root := auditedRoot(t)
	audit := func(args ...string) outcome {
		t.Helper()
		return run(t, nil, append([]string{"sandbox", "audit"}, args...)...)
	}
	key := strings.TrimSpace(audit("key", "--root", root).stdout)
	heads, bundle := filepath.Join(root, "heads"), filepath.Join(root, "web.tar")
	head := audit("head", "web", "--root", root)
	if err := os.WriteFile(heads, []byte(head.stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := audit("export", "web", "--root", root, "--out", bundle); out.status != 0 {
		t.Fatal(out.stderr)
	}
	alone := audit("verify", "web", "--root", root)
	for _, want := range []string{"verified      yes", "NOT PROVEN whose it is (--key)", "exit status 3",
		"none given: NOT PROVEN", "7 of the kernel inside, chained; 2 of the host"} {
		if alone.status != 0 || !strings.Contains(squeeze(alone.stdout), squeeze(want)) {
			t.Errorf("status %d, no %q in\n%s", alone.status, want, alone.stdout)
		}
	}
	full := audit("verify", bundle, "--key", key, "--anchors", heads)
	if full.status != 0 || strings.Contains(full.stdout, "NOT PROVEN") {
		t.Errorf("status %d\n%s%s", full.status, full.stdout, full.stderr)
	}
	if out := audit("verify", bundle, "--key", "ed25519:00"); out.status != 2 {
		t.Errorf("half a key: status %d", out.status)
	}
	if out := audit("verify", "nowhere", "--root", root); out.status != 1 || out.stdout != "" {
		t.Errorf("no trail: status %d, %s%s", out.status, out.stdout, out.stderr)
	}

	file := filepath.Join(root, "trails", "web", "000001.trail")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[700] ^= 1
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	bad := audit("verify", "web", "--root", root)
	if bad.status != 1 || !strings.Contains(bad.stdout, "verified") ||
		!strings.Contains(bad.stdout, "not what was written") || bad.stderr == "" {
		t.Errorf("status %d\n%s%s", bad.status, bad.stdout, bad.stderr)
	}
	var verdict struct {
		Verified bool
		Report   trail.Report
	}
	out := audit("verify", "web", "--root", root, "-o", "json")
	if err := json.Unmarshal([]byte(out.stdout), &verdict); err != nil || verdict.Verified ||
		len(verdict.Report.Faults) == 0 {
		t.Errorf("%v\n%s", err, out.stdout)
	}
}

// squeeze makes every run of spaces one.
func squeeze(text string) string { return strings.Join(strings.Fields(text), " ") }
