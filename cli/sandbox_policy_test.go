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

	"surety/sandbox"
	"surety/sandbox/policyfile"
	"surety/sandbox/ring"
	"surety/sandbox/trail"
	"surety/sys/entropy"
)

// recordedRun writes the trail of a run, as a sandbox does, and returns its directory.
func recordedRun(t *testing.T, records ...sandbox.Record) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "trail")
	shared, err := ring.Create(filepath.Join(t.TempDir(), "ring"), ring.MinSize)
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	key := trail.NewKey(entropy.Seeded(1))
	writer, err := trail.Create(trail.Config{Dir: dir, Sandbox: "box", Key: key})
	if err != nil {
		t.Fatal(err)
	}
	birth, err := sandbox.Birth{Sandbox: "box", Key: key.Public().String()}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	producer := ring.NewProducer(shared, time.Minute)
	records = append([]sandbox.Record{{Kind: sandbox.KindBirth, Text: birth}}, records...)
	for i := range records {
		if err := producer.Write(&records[i]); err != nil {
			t.Fatal(err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := writer.Drain(ended, ring.NewConsumer(shared)); err != nil {
		t.Fatal(err)
	}
	if err := writer.Finish("the program ended", 0); err != nil {
		t.Fatal(err)
	}
	return dir
}

func someRun(t *testing.T) string {
	digest := sandbox.Digest{1}
	return recordedRun(t,
		sandbox.Record{Kind: sandbox.KindExec, Process: 1, Path: "/bin/web", Digest: digest},
		sandbox.Record{Kind: sandbox.KindOpen, Process: 1, Path: "/etc/hosts", Access: sandbox.Read},
		sandbox.Record{Kind: sandbox.KindOpen, Process: 1, Path: "/etc/hosts", Access: sandbox.Read},
		sandbox.Record{Kind: sandbox.KindOpen, Process: 1, Path: "/etc/shadow", Access: sandbox.Read,
			Verdict: sandbox.WouldRefuse},
		sandbox.Record{Kind: sandbox.KindConnect, Process: 1, Proto: sandbox.TCP, Text: "x.org",
			Addr: netip.MustParseAddrPort("1.2.3.4:443")},
		sandbox.Record{Kind: sandbox.KindOpen, Process: 2, Session: true, Path: "/root/.bashrc",
			Access: sandbox.Read})
}

// What is learnt from a run lets the run pass; a policy that lacks something is told of it.
func TestPolicyLearnAndTest(t *testing.T) {
	dir, file := someRun(t), filepath.Join(t.TempDir(), "policy.yaml")
	learnt := run(t, nil, "sandbox", "policy", "learn", "--trail", dir, "--name", "web")
	if learnt.status != 0 || !strings.Contains(learnt.stderr, "1 act that the policy of the run") {
		t.Fatalf("learn: %+v", learnt)
	}
	p, compiled, err := policyfile.Compile([]byte(learnt.stdout))
	if err != nil || p.Name != "web" || compiled.Mode() != sandbox.Enforce {
		t.Fatalf("learn: %v\n%s", err, learnt.stdout)
	}
	write(t, file, learnt.stdout)
	if got := run(t, nil, "sandbox", "policy", "test", file, "--trail", dir); got.status != 0 ||
		!strings.Contains(got.stdout, "refused                          0") {
		t.Errorf("test: %+v", got)
	}
	spoilt := strings.Replace(learnt.stdout, "  - allow: /etc/hosts\n    access: [read]\n", "", 1)
	write(t, file, spoilt)
	got := run(t, nil, "sandbox", "policy", "test", file, "--trail", dir, "-o", "json")
	var report policyReport
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || got.status != 1 {
		t.Fatalf("test: %v, %+v", err, got)
	}
	if len(report.Refusals) != 1 || report.Refused != 2 || report.Judged != 6 || report.Changed != 3 {
		t.Fatalf("test: %+v", report)
	}
	want := policyRefusal{Kind: "open", Target: "/etc/hosts (read)", Rule: "default: deny", Count: 2,
		First: 3, Recorded: "-"}
	if *report.Refusals[0] != want {
		t.Errorf("test: %+v, want %+v", *report.Refusals[0], want)
	}
	if got := run(t, nil, "sandbox", "policy", "test", file, "--trail", dir, "--limit", "0"); got.status !=
		1 || !strings.Contains(got.stdout, "and 2 more refusals") {
		t.Errorf("test with a limit: %+v", got)
	}
}

func TestPolicyLearnProgramOnly(t *testing.T) {
	dir := someRun(t)
	all := run(t, nil, "sandbox", "policy", "learn", "--trail", dir, "-o", "json")
	own := run(t, nil, "sandbox", "policy", "learn", "--trail", dir, "--program-only", "-o", "json")
	if !strings.Contains(all.stdout, ".bashrc") || strings.Contains(own.stdout, ".bashrc") ||
		!strings.Contains(own.stdout, "/etc/hosts") {
		t.Errorf("\nall %s\nown %s", all.stdout, own.stdout)
	}
	empty := run(t, nil, "sandbox", "policy", "learn", "--trail", recordedRun(t))
	if empty.status != 2 || !strings.Contains(empty.stderr, "not even the first program") {
		t.Errorf("a run without a program: %+v", empty)
	}
	none := run(t, nil, "sandbox", "policy", "learn", "--trail", t.TempDir())
	if none.status != 1 || !strings.Contains(none.stderr, "holds no trail") {
		t.Errorf("no trail: %+v", none)
	}
}

func TestPolicyCheckAndShow(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, file, "policy: v1\nmode: enforce\nfiles:\n  - deny: /etc/shadow\nptrace: deny\n")
	check := run(t, nil, "sandbox", "policy", "check", file)
	if check.status != 0 || !strings.Contains(check.stdout, "rules    2") ||
		!strings.Contains(check.stdout, "digest   sha256:") {
		t.Errorf("check: %+v", check)
	}
	show := run(t, nil, "sandbox", "policy", "show", file)
	if show.status != 0 || !strings.Contains(show.stdout, "0  files[0]  deny /etc/shadow\n") ||
		!strings.Contains(show.stdout, "1  ptrace    deny\n") {
		t.Errorf("show: %+v", show)
	}
	var view policyView
	shown := run(t, nil, "sandbox", "policy", "show", file, "-o", "json")
	if err := json.Unmarshal([]byte(shown.stdout), &view); err != nil || len(view.Rules) != 2 ||
		view.Policy.Default != "allow" {
		t.Errorf("show: %v, %+v", err, view)
	}
	write(t, file, "policy: v1\nmode: enforce\nfiles:\n  - deny: etc/shadow\n")
	bad := run(t, nil, "sandbox", "policy", "check", file)
	if bad.status != 2 || !strings.Contains(bad.stderr, "line 4: files[0].deny: ") {
		t.Errorf("check of a wrong one: %+v", bad)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if gone := run(t, nil, "sandbox", "policy", "check", file); gone.status != 1 {
		t.Errorf("check of none: %+v", gone)
	}
}
