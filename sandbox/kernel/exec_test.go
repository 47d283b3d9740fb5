//go:build amd64

package kernel_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"surety/sandbox"
)

const (
	kExec, kMap, kClone = sandbox.KindExec, sandbox.KindMapExec, sandbox.KindClone
)

// selfDigest is how a rule names the test binary.
func selfDigest(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	data, err := os.ReadFile(self)
	must(t, err)
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func scripts() map[string]string {
	return map[string]string{
		"/bin/script": "#!/probe say script\n", "/bin/nested": "#!/bin/script\n",
		"/bin/none": "#!/bin/missing\n", "/bin/loop": "#!/bin/loop\n", "/bin/text": "no magic\n",
		"/bin/empty": "#!\n", "/bin/short": "x"}
}

func TestExecByPath(t *testing.T) {
	p := enforce()
	p.Exec = []sandbox.ExecRule{{Deny: "/bin/script"}}
	play(t, plan{policy: p, files: scripts(), links: map[string]string{"/bin/link": "script"}},
		[]step{
			{"run /probe say;x", "x", want{kExec, yes, "/probe", "", "", 0}},
			{"run /bin/script", "EACCES", want{kExec, no, "/bin/script", "", "", 0}},
			{"run /bin/link", "EACCES", want{}},
			{"run /bin/nested", "EACCES", want{kExec, yes, "/bin/nested", "", "", 0}},
			{"run /bin/none", "ENOENT", want{}},
			{"run /bin/loop", "ELOOP", want{}},
			{"run /bin/text", "ENOEXEC", want{kExec, yes, "/bin/text", "", "", 0}},
			{"run /bin/empty", "ENOEXEC", want{}},
			{"run /bin/short", "ENOEXEC", want{}},
			{"run /bin/missing", "ENOENT", want{}},
			{"run /bin", "EACCES", want{}},
		})
}

func TestExecByDigest(t *testing.T) {
	p := enforce()
	p.Default = "deny"
	p.Exec = []sandbox.ExecRule{{Allow: selfDigest(t)}}
	p.Files = []sandbox.FileRule{{Allow: "/**"}}
	p.ExecMemory = "allow"
	p.Ptrace, p.SetID, p.Mount = "deny", "deny", "deny"
	play(t, plan{policy: p, files: scripts()}, []step{
		{"run /probe say;x", "x", want{kExec, yes, "/probe", "", "", 0}},
		{"run /bin/script", "EACCES", want{kExec, no, "/bin/script", "", "", 0}},
		{"memfd", "memory", want{kExec, yes, "", "", "", 0}},
	})
}

func TestExecByDigestOfAFileThatCanBeWritten(t *testing.T) {
	p := enforce()
	p.Default = "deny"
	p.Exec = []sandbox.ExecRule{{Allow: selfDigest(t)}}
	p.Files = []sandbox.FileRule{{Allow: "/proc/**"}, {Allow: "/dev/**"},
		{Allow: "/probe", Access: []string{"read"}},
		{Allow: "/tmp/**", Access: []string{"read", "write", "create"}}}
	p.ExecMemory = "deny"
	play(t, plan{policy: p}, []step{
		{"copy /probe /tmp/probe", "ok", want{}},
		{"run /tmp/probe say;x", "EACCES", want{kExec, no, "/tmp/probe", "", "", 0}},
		{"run /probe say;x", "x", want{}},
		{"memfd", "EACCES", want{}},
	})
}

func TestExecOfAMemoryFileByPathRule(t *testing.T) {
	p := enforce()
	p.Default = "deny"
	p.Exec = []sandbox.ExecRule{{Allow: "/probe"}}
	p.Files = []sandbox.FileRule{{Allow: "/**"}}
	p.ExecMemory = "allow"
	play(t, plan{policy: p}, []step{
		{"memfd", "EACCES", want{kExec, no, "", "", "", 0}},
	})
}

func TestScriptRuns(t *testing.T) {
	play(t, plan{policy: deny("/nowhere/**"), files: scripts()}, []step{
		{"run /bin/script", "script", want{kExec, 0, "/bin/script", "", "", 0}},
		{"run /bin/nested", "script", want{kExec, 0, "/bin/nested", "", "", 0}},
	})
}

func TestFirstProgramIsJudged(t *testing.T) {
	p := enforce()
	p.Exec = []sandbox.ExecRule{{Deny: "/probe"}}
	b := boot(t, plan{policy: p, args: []string{"say never"}})
	status, out := b.run()
	if out != "" || !killed(status) {
		t.Errorf("status %v, output %q, want SIGKILL and none", status, out)
	}
	all := b.all()
	if len(all) != 2 || all[1].Kind != kExec || all[1].Verdict != no {
		t.Errorf("records %v", kinds(all))
	}
}

// dynamic copies a program of this machine with its loader and libraries.
func dynamic(t *testing.T, b string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, name := range []string{b, "/lib64/ld-linux-x86-64.so.2",
		"/lib/x86_64-linux-gnu/libc.so.6"} {
		real, err := filepath.EvalSymlinks(name)
		if err != nil {
			t.Skipf("this machine has no %s to run: %v", name, err)
		}
		data, err := os.ReadFile(real)
		must(t, err)
		files[name] = string(data)
	}
	return files
}

func TestLoaderAndLibrariesAreJudged(t *testing.T) {
	files := dynamic(t, "/bin/echo")
	for _, image := range []bool{false, true} {
		tryLoader(t, files, image)
	}
}

func tryLoader(t *testing.T, files map[string]string, image bool) {
	t.Helper()
	play(t, plan{policy: deny("/nowhere"), files: files, image: image}, []step{
		{"run /bin/echo hi", "hi", want{kExec, 0, "/lib64/ld-linux-x86-64.so.2", "", "", 0}},
		{"run /bin/echo hi", "hi", want{kMap, yes, "/lib/x86_64-linux-gnu/libc.so.6", "", "", 0}},
		{"run /lib64/ld-linux-x86-64.so.2 /bin/echo hi", "hi", want{kMap, yes, "/bin/echo", "", "", 0}},
	})
	p := enforce()
	p.Exec = []sandbox.ExecRule{{Deny: "/lib64/**"}}
	play(t, plan{policy: p, files: files, image: image}, []step{
		{"run /bin/echo hi", "EACCES", want{kExec, no, "/lib64/ld-linux-x86-64.so.2", "", "", 0}},
	})
	p = enforce()
	p.Files = []sandbox.FileRule{{Deny: "/bin/echo", Access: []string{"exec"}}}
	play(t, plan{policy: p, files: files, image: image}, []step{
		{"run /bin/true", "ENOENT", want{}},
		{"mmapfile /bin/echo", "EACCES", want{kMap, no, "/bin/echo", "", "", 0}},
		{"mmapfile /probe", "ok", want{kMap, yes, "/probe", "", "", 0}},
	})
}

func TestProcesses(t *testing.T) {
	p := enforce()
	p.Processes = 1
	play(t, plan{policy: p}, []step{
		{"threads", "EAGAIN", want{kClone, no, "", "", "", 0}},
	})
	play(t, plan{policy: enforce()}, []step{{"run /probe say;x", "x", want{}}})
}

func TestExecMemory(t *testing.T) {
	p := enforce()
	p.ExecMemory = "deny"
	play(t, plan{policy: p}, []step{
		{"mmapanon", "EACCES", want{kMap, no, "", "", "", 0}},
		{"mprotect", "EACCES", want{kMap, no, "", "", "", 0}},
		{"mapmem", "EACCES", want{}},
		{"mmapfile /probe", "ok", want{}},
	})
	play(t, plan{policy: enforce()}, []step{
		{"mmapanon", "ok", want{kMap, 0, "", "", "", 0}},
		{"mprotect", "ok", want{kMap, 0, "", "", "", 0}},
	})
}
