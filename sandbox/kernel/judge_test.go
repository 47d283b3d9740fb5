//go:build amd64

package kernel_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"surety/sandbox"
)

// want is what a record of a case must hold; zero fields are not looked at.
type want struct {
	kind    sandbox.Kind
	verdict sandbox.Verdict
	path    string
	path2   string
	addr    string
	flags   uint32
}

func (w want) matches(r *sandbox.Record) bool {
	return r.Kind == w.kind && r.Verdict == w.verdict && (w.path == "" || r.Path == w.path) &&
		(w.path2 == "" || r.Path2 == w.path2) && (w.flags == 0 || r.Flags == w.flags) &&
		(w.addr == "" || r.Addr.String() == w.addr)
}

// step is one act of the probe, what it prints, and a record it leaves (none where the kind is 0).
type step struct {
	act, prints string
	leaves      want
}

// play runs the steps in one sandbox and checks each.
func play(t *testing.T, p plan, steps []step) *box {
	t.Helper()
	for _, s := range steps {
		p.args = append(p.args, s.act)
	}
	b := boot(t, p)
	status, out := b.run()
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if status.ExitStatus() != 0 || len(lines) != len(steps) {
		t.Fatalf("status %v, output %q\n%s", status.ExitStatus(), out,
			strings.Join(kinds(b.all()), "\n"))
	}
	for i, s := range steps {
		if lines[i] != s.prints {
			t.Errorf("%s: prints %q, want %q", s.act, lines[i], s.prints)
		}
		if s.leaves.kind != 0 && !slices.ContainsFunc(b.all(), func(r sandbox.Record) bool {
			return s.leaves.matches(&r)
		}) {
			t.Errorf("%s: no record %+v in\n%s", s.act, s.leaves, ofKind(b.all(), s.leaves.kind))
		}
	}
	return b
}

func ofKind(records []sandbox.Record, kind sandbox.Kind) string {
	var out []string
	for _, r := range records {
		if r.Kind == kind {
			out = append(out, fmt.Sprintf("%v %v %q %q %v %v %#x", r.Kind, r.Verdict, r.Path, r.Path2,
				r.Addr, r.Args, r.Flags))
		}
	}
	return strings.Join(out, "\n")
}

// enforce is a policy that allows all but what its rules deny.
func enforce() sandbox.Policy {
	return sandbox.Policy{Version: "v1", Name: "test", Mode: "enforce", Default: "allow"}
}

func deny(patterns ...string) sandbox.Policy {
	p := enforce()
	for _, pattern := range patterns {
		p.Files = append(p.Files, sandbox.FileRule{Deny: pattern})
	}
	return p
}

const (
	kOpen, kLink, kRename = sandbox.KindOpen, sandbox.KindLink, sandbox.KindRename
	yes, no               = sandbox.Allowed, sandbox.Refused
)

func TestOpen(t *testing.T) {
	play(t, plan{policy: deny("/shut/**"),
		files: map[string]string{"/open/file": "public", "/shut/file": "secret", "/open/sub/": ""},
		links: map[string]string{"/open/in": "../shut/file", "/open/dirlink": "/shut",
			"/open/loop": "loop", "/open/nowhere": "made", "/open/outward": "/shut/new",
			"/open/ok": "file", "/open/todir": "sub"}},
		[]step{
			{"open /open/file r", "ok public", want{kOpen, yes, "/open/file", "", "", 0}},
			{"open /shut/file r", "EACCES", want{kOpen, no, "/shut/file", "", "", 0}},
			{"open /open/in r", "EACCES", want{kOpen, no, "/shut/file", "", "", 0}},
			{"open /open/dirlink/file r", "EACCES", want{}},
			{"open /open/../shut/./file r", "EACCES", want{}},
			{"open /proc/self/root/shut/file r", "EACCES", want{}},
			{"open /shut/missing r", "ENOENT", want{}},
			{"open /shut/missing c", "EACCES", want{kOpen, no, "/shut/missing", "", "", 0}},
			{"stat /shut/missing", "ENOENT", want{}},
			{"open /open/outward c", "EACCES", want{kOpen, no, "/shut/new", "", "", 0}},
			{"stat /shut/new", "ENOENT", want{}},
			{"open /open/nowhere c", "ok", want{kOpen, yes, "/open/made", "", "", 0}},
			{"stat /open/made", "100644 0", want{}},
			{"open /open/nowhere x", "EEXIST", want{}},
			{"open /open/new x", "ok", want{}},
			{"open /open/new x", "EEXIST", want{}},
			{"open /shut/file t", "EACCES", want{}},
			{"stat /shut/file", "100777 6", want{}},
			{"creat /open/created", "ok", want{kOpen, yes, "/open/created", "", "", 0}},
			{"creat /shut/created", "EACCES", want{}},
			{"open /open/loop r", "ELOOP", want{}},
			{"open /open/loop c", "ELOOP", want{}},
			{"open /open/ok n", "ELOOP", want{}},
			{"open /open/file n", "ok public", want{}},
			{"open /open/file d", "ENOTDIR", want{}},
			{"open /open/todir d", "ok EISDIR", want{}},
			{"open /open/todir dn", "ENOTDIR", want{}},
			{"open /open/file/ r", "ENOTDIR", want{}},
			{"open /open/newslash/ c", "EISDIR", want{}},
			{"open /open/sub c", "EISDIR", want{}},
			{"open /open/none/x c", "ENOENT", want{}},
			{"open /shut/file p", "ok EBADF", want{}},
			{"again /shut/file p r", "EACCES", want{}},
			{"again /open/file r w", "ok", want{}},
			{"open /tmp tmp", "ENOTSUP", want{kOpen, yes, "/tmp", "", "", 0}}, // gVisor has none
			{"open /dev/null rw", "ok", want{}},
			{"openat2 /open/file 0 0", "ok", want{}},
			{"openat2 /shut/file 0 0", "EACCES", want{}},
			{"openat2 /open/file 0 8", "EXDEV", want{}},
			{"openat2 /open/ok 0 4", "ELOOP", want{}},
			{"openat2 /shut/file 0 16", "EACCES", want{}},
			{"chroot /open", "EPERM", want{sandbox.KindMount, 0, "", "/open", "", 0}},
		})
}

func TestObserveLetsItHappenAndSaysSo(t *testing.T) {
	p := deny("/shut/**")
	p.Mode = "observe"
	play(t, plan{policy: p, files: map[string]string{"/shut/file": "secret"}}, []step{
		{"open /shut/file r", "ok secret", want{kOpen, sandbox.WouldRefuse, "/shut/file", "", "", 0}},
		{"rename /shut/file /moved", "ok",
			want{kRename, sandbox.WouldRefuse, "/shut/file", "/moved", "", 0}},
	})
}

func TestChanges(t *testing.T) {
	files := map[string]string{"/open/a": "a", "/open/b": "b", "/shut/file": "secret",
		"/open/dir/": "", "/deep/in/shut/file": "x", "/shut/dir/": ""}
	play(t, plan{policy: deny("/shut/**", "/deep/in/shut/**"), files: files,
		links: map[string]string{"/open/link": "/shut"}},
		[]step{
			{"unlink /shut/file", "EACCES", want{sandbox.KindUnlink, no, "/shut/file", "", "", 0}},
			{"unlink /open/link/file", "EACCES", want{}},
			{"rmdir /shut/dir", "EACCES", want{}},
			{"unlink /open/missing", "ENOENT", want{}},
			{"rmdir /open/dir", "ok", want{sandbox.KindUnlink, yes, "/open/dir", "", "", 0}},
			{"rmdir /open/.", "EINVAL", want{}},
			{"mkdir /open/dir", "ok", want{sandbox.KindMake, yes, "/open/dir", "", "", 0}},
			{"mkdir /open/dir/", "EEXIST", want{}},
			{"mkdir /open/slash/", "ok", want{}},
			{"mkdir /shut/new", "EACCES", want{}},
			{"mkdir /open/link/new", "EACCES", want{sandbox.KindMake, no, "/shut/new", "", "", 0}},
			{"mknod /open/pipe", "ok", want{sandbox.KindMake, yes, "/open/pipe", "", "", 0}},
			{"mknod /shut/pipe", "EACCES", want{}},
			{"symlink /shut/file /open/sym", "ok", want{kLink, yes, "/shut/file", "/open/sym", "", 0}},
			{"symlink x /shut/sym", "EACCES", want{}},
			{"link /shut/file /open/hard", "EACCES", want{kLink, no, "/shut/file", "/open/hard", "", 0}},
			{"link /open/a /shut/hard", "EACCES", want{}},
			{"link /open/a /open/hard", "ok", want{kLink, yes, "/open/a", "/open/hard", "", 0}},
			{"rename /shut/file /open/out", "EACCES", want{kRename, no, "/shut/file", "/open/out", "", 0}},
			{"rename /open/a /shut/in", "EACCES", want{}},
			{"rename /open/a /open/c", "ok", want{kRename, yes, "/open/a", "/open/c", "", 0}},
			{"rename /deep /open/deep", "EACCES", want{kRename, no, "/deep", "/open/deep", "", 0}},
			{"rename /open/missing /open/d", "ENOENT", want{}},
			{"chmod /shut/file", "EACCES", want{sandbox.KindAttr, no, "/shut/file", "", "", 0}},
			{"chmod /open/b", "ok", want{sandbox.KindAttr, yes, "/open/b", "", "", 0}},
			{"fchmod /open/b", "ok", want{}},
			{"stat /open/b", "100600 1", want{}},
			{"chown /shut/file 0", "EACCES", want{}},
			{"truncate /shut/file", "EACCES", want{}},
			{"truncate /open/c", "ok", want{}},
			{"utime /shut/file", "EACCES", want{}},
			{"utime /open/c", "ok", want{}},
			{"setxattr /shut/file", "EACCES", want{}},
			{"stat /shut/file", "100777 6", want{}},
		})
}

func TestAccessBitsApart(t *testing.T) {
	p := enforce()
	p.Files = []sandbox.FileRule{{Deny: "/data/**", Access: []string{"read"}},
		{Deny: "/tmp/x", Access: []string{"read"}}}
	play(t, plan{policy: p, files: map[string]string{"/data/secret": "s", "/out/": "",
		"/data/other": "s"}}, []step{
		{"open /data/secret r", "EACCES", want{}},
		{"open /data/secret w", "ok", want{}},
		{"gone /data/other w r", "EACCES", want{kOpen, no, "/data/other", "", "", 0}},
		{"open /tmp/x c", "ok", want{}},
		{"gone /tmp/x w r", "EACCES", want{kOpen, no, "/tmp/x", "", "", 0}},
		// A new name may not give what the old one denies.
		{"link /data/secret /out/x", "EACCES", want{}},
		{"rename /data/secret /out/x", "EACCES", want{}},
		{"rename /data /out/x", "EACCES", want{}},
		{"rename /data/secret /data/other", "ok", want{}},
	})
}
