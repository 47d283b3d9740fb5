package sandbox

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// genAct draws a record such as the kernel inside writes: of an act that a policy judges.
func genAct(t *rapid.T) Record {
	path := rapid.Custom(func(t *rapid.T) string {
		depth := rapid.IntRange(0, 4).Draw(t, "depth")
		out := ""
		for range depth {
			part := rapid.OneOf(rapid.SampledFrom([]string{"a", "b", "etc", "*", "a*b", "??", "**"}),
				rapid.Map(rapid.IntRange(0, 40), func(i int) string { return fmt.Sprint("n", i) }),
				rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 3), func(b []byte) string {
					return "x" + strings.ReplaceAll(string(b), "/", "-")
				})).Draw(t, "part")
			out += "/" + part
		}
		if out == "" {
			return "/"
		}
		return out
	})
	name := rapid.OneOf(rapid.SampledFrom([]string{"", "X.org.", "a.b.x.org", "host", "1.2.3", "-", "*.x"}),
		rapid.Map(rapid.IntRange(0, 60), func(i int) string { return fmt.Sprintf("h%d.y.net", i) }))
	kinds := []Kind{KindExec, KindClone, KindExit, KindSignal, KindPtrace, KindSetID, KindCapability,
		KindOpen, KindUnlink, KindRename, KindLink, KindMake, KindAttr, KindMount, KindMapExec,
		KindSocket, KindConnect, KindBind, KindListen, KindAccept, KindSend, KindName}
	r := Record{Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Path: path.Draw(t, "path"),
		Process: uint32(rapid.IntRange(1, 40).Draw(t, "process"))}
	r.Thread = r.Process
	switch r.Kind {
	case KindSocket:
		r.Proto = RawIP
	case KindExec:
		r.Digest[0] = byte(rapid.IntRange(0, 3).Draw(t, "digest"))
	case KindClone:
		r.Mode = uint32(rapid.IntRange(0, 40).Draw(t, "running"))
		r.Result = int64(rapid.IntRange(0, 40).Draw(t, "child"))
		r.Flags = rapid.SampledFrom([]uint32{0, cloneThread}).Draw(t, "flags")
	case KindCapability:
		r.Flags = uint32(rapid.IntRange(0, len(capabilities)-1).Draw(t, "number"))
	case KindOpen, KindUnlink, KindRename, KindLink, KindMake, KindAttr:
		r.Access = Access(rapid.Uint16Range(0, uint16(allAccess)).Draw(t, "access"))
		r.Path2 = path.Draw(t, "path2")
		r.Flags = uint32(rapid.IntRange(0, 3).Draw(t, "flags"))
	case KindMapExec:
		if rapid.Bool().Draw(t, "memory") {
			r.Path = ""
		}
	case KindConnect, KindBind, KindSend:
		genNet(t, &r, name.Draw(t, "name"))
	case KindName:
		r.Path = name.Filter(isNameOf).Draw(t, "name")
	}
	return r
}

// isNameOf reports whether a resolver would take the name.
func isNameOf(name string) bool { return isName(plainName(name)) }

func genNet(t *rapid.T, r *Record, name string) {
	switch rapid.IntRange(0, 3).Draw(t, "family") {
	case 0: // a unix socket at Path
	case 1:
		r.Path = "@" + rapid.StringN(0, 5, 20).Draw(t, "abstract")
	default:
		addr := netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 3).Draw(t, "b")), 0,
			byte(rapid.IntRange(0, 60).Draw(t, "d"))})
		if rapid.Bool().Draw(t, "v6") {
			wide := addr.As16()
			wide[0] = 0xfd
			addr = netip.AddrFrom16(wide)
		}
		r.Path, r.Text = "", name
		r.Addr = netip.AddrPortFrom(addr, uint16(rapid.IntRange(0, 60).Draw(t, "port")*13))
		r.Proto = rapid.SampledFrom([]Proto{AnyProto, TCP, UDP, RawIP, 132}).Draw(t, "proto")
	}
}

// Under the policy learnt from a run, the same run meets no refusal; and the policy does not depend
// on the order in which the acts came, nor on how often.
func TestLearntPolicyAllowsTheRun(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		run := rapid.SliceOfN(rapid.Custom(genAct), 0, 200).Draw(t, "run")
		run = append(run, Record{Kind: KindExec, Path: "/init", Process: 1, Thread: 1})
		learner := NewLearner()
		for i := range run {
			learner.Add(&run[i])
		}
		c, err := Compile(learner.Policy("learnt"))
		if err != nil {
			t.Fatalf("%v: %+v", err, learner.Policy("learnt"))
		}
		for i := range run {
			if d := c.Retry(&run[i]); d.Verdict == Refused {
				t.Fatalf("%+v: %+v by %s\n%s", run[i], d, c.Rule(d.Rule), c.Canonical())
			}
		}
		again := NewLearner()
		for i := range run {
			again.Add(&run[len(run)-1-i])
			again.Add(&run[len(run)-1-i])
		}
		p, q := learner.Policy("learnt"), again.Policy("learnt")
		p.Processes, q.Processes = 0, 0
		if !reflect.DeepEqual(p, q) {
			t.Fatalf("backwards\n got %+v\nwant %+v", q, p)
		}
	})
}

func learn(run ...Record) Policy {
	learner := NewLearner()
	for i := range run {
		learner.Add(&run[i])
	}
	return learner.Policy("x")
}

func TestLearnGroups(t *testing.T) {
	var run []Record
	for i := range MaxLearned + 1 {
		n := fmt.Sprint(i)
		run = append(run,
			Record{Kind: KindOpen, Path: "/proc/" + n + "/stat", Access: Read},
			Record{Kind: KindOpen, Path: "/data/" + n, Access: Access(1 << (i % 2))},
			Record{Kind: KindConnect, Addr: netip.MustParseAddrPort("10.0.0." + n + ":443"), Proto: TCP},
			Record{Kind: KindConnect, Addr: netip.MustParseAddrPort("[fd00::" + n + "]:443"), Proto: TCP},
			Record{Kind: KindConnect, Addr: netip.MustParseAddrPort("11.0.0.1:" + fmt.Sprint(1000+2*i)),
				Proto: TCP},
			Record{Kind: KindSend, Addr: netip.MustParseAddrPort("1.1.1.1:53"), Proto: UDP,
				Text: "h" + n + ".x.org."},
			Record{Kind: KindBind, Path: "@" + n})
		if i > 0 {
			run = append(run, Record{Kind: KindOpen, Path: "/few/" + n, Access: Read})
		}
	}
	p := learn(run...)
	var files []string
	for _, r := range p.Files {
		files = append(files, r.Allow+" "+strings.Join(r.Access, ","))
	}
	want := []string{"/data/* read,write"}
	for i := 1; i <= MaxLearned; i++ {
		want = append(want, fmt.Sprintf("/few/%d read", i))
	}
	slices.Sort(want)
	want = append(want, "/proc/*/stat read")
	if !slices.Equal(files, want) {
		t.Errorf("files\n got %q\nwant %q", files, want)
	}
	wantNet := []NetRule{
		{Allow: "10.0.0.0/24", Ports: []string{"443"}, Protocol: "tcp", Act: []string{"connect"}},
		{Allow: "11.0.0.1", Ports: []string{"1000-1032"}, Protocol: "tcp", Act: []string{"connect"}},
		{Allow: "fd00::/64", Ports: []string{"443"}, Protocol: "tcp", Act: []string{"connect"}},
		{Allow: "*.x.org", Ports: []string{"53"}, Protocol: "udp", Act: []string{"send"}},
		{Allow: "unix:@**", Act: []string{"bind"}},
	}
	if !reflect.DeepEqual(p.Network, wantNet) {
		t.Errorf("network\n got %+v\nwant %+v", p.Network, wantNet)
	}
}

func TestLearn(t *testing.T) {
	at := netip.MustParseAddrPort
	p := learn(
		Record{Kind: KindBirth},
		Record{Kind: KindExec, Process: 1, Thread: 1, Path: "/bin/sh", Digest: Digest{1}},
		Record{Kind: KindExec, Process: 1, Thread: 1, Path: "/bin/dash", Digest: Digest{1}},
		Record{Kind: KindExec, Process: 1, Thread: 1, Path: "/bin/odd*"},
		Record{Kind: KindClone, Process: 1, Thread: 1, Result: 2},
		Record{Kind: KindExit, Process: 2, Thread: 2},
		Record{Kind: KindClone, Process: 1, Thread: 1, Result: 3},
		Record{Kind: KindClone, Process: 1, Thread: 1, Result: 4, Flags: cloneThread, Mode: 9},
		Record{Kind: KindCapability, Process: 1, Flags: 13},
		Record{Kind: KindRename, Process: 1, Path: "/a", Path2: "/b"},
		Record{Kind: KindLink, Process: 1, Path: "../x", Path2: "/c", Access: Create},
		Record{Kind: KindMapExec, Process: 1, Path: "/lib/a.so"},
		Record{Kind: KindOpen, Process: 1, Path: "/bad\xff\xfename", Access: Read},
		Record{Kind: KindOpen, Process: 1, Path: "/proc/7/task/8/comm", Access: Read},
		Record{Kind: KindOpen, Process: 1, Path: "/proc/7/fd/8", Access: Read},
		Record{Kind: KindOpen, Process: 1, Path: "/proc/sys/9", Access: Read},
		Record{Kind: KindConnect, Process: 1, Addr: at("1.1.1.1:443"), Proto: TCP, Text: "X.org"},
		Record{Kind: KindName, Path: "x.org.", Outside: true},
		Record{Kind: KindName, Path: "y.org.", Outside: true},
		Record{Kind: KindSend, Process: 1, Addr: at("2.2.2.2:53"), Proto: UDP},
		Record{Kind: KindConnect, Process: 1, Addr: at("2.2.2.2:53"), Proto: UDP},
		Record{Kind: KindBind, Process: 1, Addr: at("0.0.0.0:80"), Proto: TCP, Text: "x.org"},
		Record{Kind: KindConnect, Process: 1, Path: "/run/s"},
		Record{Kind: KindSetID, Process: 1},
	)
	want := Policy{
		Version: "v1", Name: "x", Mode: "enforce", Default: "deny", Audit: "core",
		Exec: []ExecRule{{Allow: Digest{1}.Text(), Note: "/bin/dash"}, {Allow: "/bin/odd?"}},
		Files: []FileRule{
			{Allow: "/a", Access: []string{"unlink", "rename"}}, {Allow: "/b", Access: []string{"unlink", "rename"}},
			{Allow: "/bad*name", Access: []string{"read"}}, {Allow: "/c", Access: []string{"create"}},
			{Allow: "/lib/a.so", Access: []string{"exec"}},
			{Allow: "/proc/*/fd/8", Access: []string{"read"}},
			{Allow: "/proc/*/task/*/comm", Access: []string{"read"}},
			{Allow: "/proc/sys/9", Access: []string{"read"}},
		},
		Network: []NetRule{
			{Allow: "0.0.0.0", Ports: []string{"80"}, Protocol: "tcp", Act: []string{"bind"}},
			{Allow: "2.2.2.2", Ports: []string{"53"}, Protocol: "udp", Act: []string{"connect", "send"}},
			{Allow: "x.org", Ports: []string{"443"}, Protocol: "tcp", Act: []string{"connect"}},
			{Allow: "y.org", Act: []string{"lookup"}},
			{Allow: "unix:/run/s", Act: []string{"connect"}},
		},
		Ptrace: "deny", SetID: "allow", Mount: "deny", ExecMemory: "deny",
		Capabilities: []string{"CAP_NET_RAW"}, Processes: 2,
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("\n got %+v\nwant %+v", p, want)
	}
}

// However much a run did, its policy compiles.
func TestLearnIsBounded(t *testing.T) {
	learner := NewLearner()
	learner.Add(&Record{Kind: KindExec, Path: "/init"})
	var visit func(path string, depth int)
	visit = func(path string, depth int) {
		learner.Add(&Record{Kind: KindOpen, Path: path, Access: Read})
		learner.Add(&Record{Kind: KindConnect, Path: path})
		for i := 0; depth > 0 && i < 12; i++ {
			visit(fmt.Sprintf("%s/%d", path, i), depth-1)
		}
	}
	visit("/srv", 4)
	for i := range 20_000 {
		addr := netip.AddrFrom4([4]byte{byte(i), byte(i >> 8), byte(i % 7), 1})
		learner.Add(&Record{Kind: KindConnect, Proto: TCP, Addr: netip.AddrPortFrom(addr, 443)})
		name := fmt.Sprintf("a%d.b%d.c%d.org", i%11, i%101, i%1009)
		learner.Add(&Record{Kind: KindName, Path: name})
	}
	p := learner.Policy("x")
	c := mustCompile(t, p)
	if len(p.Files) > learnedFiles || len(p.Network) > 3*learnedNets || c.Rules() > MaxRules {
		t.Errorf("%d files, %d network rules, %d in all", len(p.Files), len(p.Network), c.Rules())
	}
	if d := c.File("/srv/1/2/3/4", Read); d.Verdict != Allowed {
		t.Errorf("%+v", d)
	}
	if bytes.Contains(c.Canonical(), []byte(`"/**"`)) {
		t.Error("all files are allowed where fewer would have done")
	}
}

func TestRetry(t *testing.T) {
	c := mustCompile(t, Policy{Mode: "enforce", Files: []FileRule{
		{Deny: "/x", Access: []string{"rename"}}, {Deny: "/l", Access: []string{"link"}},
		{Deny: "/r", Access: []string{"read"}}, {Deny: "/lib/**", Access: []string{"exec"}}},
		ExecMemory: "deny", Processes: 2, Network: []NetRule{{Deny: "unix:/s"}}})
	for _, row := range []struct {
		name string
		r    Record
		want Verdict
	}{
		{"rename to what allows more", Record{Kind: KindRename, Path: "/r", Path2: "/y"}, Refused},
		{"link to what allows more", Record{Kind: KindLink, Path: "/r", Path2: "/y"}, Refused},
		{"rename to what allows less", Record{Kind: KindRename, Path: "/y", Path2: "/r"}, Allowed},
		{"exchange", Record{Kind: KindRename, Path: "/y", Path2: "/r", Flags: 2}, Refused},
		{"rename of a folder", Record{Kind: KindRename, Path: "/lib", Path2: "/y"}, Refused},
		{"module", Record{Kind: KindModule}, Unjudged},
		{"raw socket", Record{Kind: KindSocket, Proto: RawIP}, Unjudged},
		{"a pipe", Record{Kind: KindOpen, Path: "pipe:[1]", Access: Read}, Unjudged},
		{"rename, first", Record{Kind: KindRename, Path: "/x", Path2: "/y"}, Refused},
		{"rename, second", Record{Kind: KindRename, Path: "/y", Path2: "/x"}, Refused},
		{"rename, other access said", Record{Kind: KindRename, Path: "/x", Path2: "/y", Access: Unlink}, Allowed},
		{"hard link", Record{Kind: KindLink, Path: "/l", Path2: "/y"}, Refused},
		{"symbolic link", Record{Kind: KindLink, Path: "/l", Path2: "/y", Access: Create}, Allowed},
		{"open", Record{Kind: KindOpen, Path: "/r", Access: Read | Write}, Refused},
		{"open to write", Record{Kind: KindOpen, Path: "/r", Access: Write}, Allowed},
		{"open, nothing said", Record{Kind: KindOpen, Path: "/r"}, Refused},
		{"map a file", Record{Kind: KindMapExec, Path: "/lib/a"}, Refused},
		{"map memory", Record{Kind: KindMapExec}, Refused},
		{"process", Record{Kind: KindClone, Mode: 2}, Refused},
		{"thread", Record{Kind: KindClone, Mode: 2, Flags: cloneThread}, Unjudged},
		{"unix", Record{Kind: KindConnect, Path: "/s"}, Refused},
		{"no target", Record{Kind: KindConnect}, Unjudged},
		{"listen", Record{Kind: KindListen, Path: "/s"}, Unjudged},
		{"exit", Record{Kind: KindExit}, Unjudged},
	} {
		if got := c.Retry(&row.r); got.Verdict != row.want {
			t.Errorf("%s: %+v, want %s", row.name, got, row.want)
		}
	}
}
