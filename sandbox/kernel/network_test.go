//go:build amd64

package kernel_test

import (
	"testing"

	"surety/sandbox"
)

const (
	kConnect, kBind, kSend = sandbox.KindConnect, sandbox.KindBind, sandbox.KindSend
	kListen, kAccept       = sandbox.KindListen, sandbox.KindAccept
)

func TestInternet(t *testing.T) {
	p := enforce()
	p.Network = []sandbox.NetRule{
		{Deny: "127.0.0.2/32"}, {Deny: "127.0.0.1", Ports: []string{"99"}},
		{Deny: "::1/128", Act: []string{"connect"}}, {Deny: "127.0.0.0/8", Ports: []string{"77"},
			Act: []string{"bind"}}}
	play(t, plan{policy: p, caps: []string{"CAP_NET_BIND_SERVICE"}}, []step{
		{"connect 127.0.0.1:80", "ECONNREFUSED", want{kConnect, yes, "", "", "127.0.0.1:80", 0}},
		{"connect 127.0.0.2:80", "EACCES", want{kConnect, no, "", "", "127.0.0.2:80", 0}},
		{"connect 127.0.0.1:99", "EACCES", want{}},
		{"connect 0.0.0.0:99", "EACCES", want{kConnect, no, "", "", "127.0.0.1:99", 0}},
		{"connect [::ffff:127.0.0.2]:80", "EACCES", want{}},
		{"connect [::1]:80", "EACCES", want{}},
		{"connect [::]:80", "EACCES", want{kConnect, no, "", "", "[::1]:80", 0}},
		{"sendto 127.0.0.2:53", "EACCES", want{kSend, no, "", "", "127.0.0.2:53", 0}},
		{"sendmsg 127.0.0.2:53", "EACCES", want{}},
		{"sendto 127.0.0.1:53", "ok", want{kSend, yes, "", "", "127.0.0.1:53", 0}},
		{"sendmsg 127.0.0.1:53", "ok", want{}},
		{"bind 127.0.0.1:77", "EACCES", want{kBind, no, "", "", "127.0.0.1:77", 0}},
		{"bind 127.0.0.1:0", "ok", want{kBind, yes, "", "", "127.0.0.1:0", 0}},
		{"serve 127.0.0.1:1234", "ok from 127.0.0.1", want{kListen, 0, "", "", "127.0.0.1:1234", 0}},
		{"say x", "x", want{kAccept, 0, "", "", "", 0}},
		{"socket 17 3 0", "EPERM", want{sandbox.KindSocket, 0, "", "", "", 17<<16 | 3}},
		{"socket 16 3 0", "ok", want{sandbox.KindSocket, 0, "", "", "", 16<<16 | 3}},
	})
}

func TestUnixSockets(t *testing.T) {
	p := enforce()
	p.Network = []sandbox.NetRule{{Deny: "unix:/shut/**"}, {Deny: "unix:@shut"}}
	p.Files = []sandbox.FileRule{{Deny: "/locked/**"}}
	play(t, plan{policy: p, files: map[string]string{"/shut/": "", "/locked/": ""},
		links: map[string]string{"/inward": "/shut"}}, []step{
		{"unixserve /tmp/a", "ok", want{kConnect, yes, "/tmp/a", "", "", 0}},
		{"unixserve /shut/a", "bind EACCES", want{kBind, no, "/shut/a", "", "", 0}},
		{"unixserve /inward/a", "bind EACCES", want{}},
		{"unixserve /locked/a", "bind EACCES", want{sandbox.KindMake, no, "/locked/a", "", "", 0}},
		{"unixserve @open", "ok", want{kConnect, yes, "@open", "", "", 0}},
		{"unixserve @shut", "bind EACCES", want{kBind, no, "@shut", "", "", 0}},
		{"unixdial @shut", "EACCES", want{kConnect, no, "@shut", "", "", 0}},
		{"unixdial /tmp/none", "ENOENT", want{}},
		{"unixdial /probe", "ECONNREFUSED", want{}},
		{"unixdgram /tmp/d", "ok hello", want{kSend, yes, "/tmp/d", "", "", 0}},
		{"unixdgram @d", "ok hello", want{kSend, yes, "@d", "", "", 0}},
		{"unixserve /tmp/a", "bind EADDRINUSE", want{}},
	})
}

func TestPrivileges(t *testing.T) {
	p := enforce()
	p.SetID, p.Ptrace, p.Mount = "deny", "deny", "deny"
	p.Capabilities = []string{"CAP_CHOWN"}
	caps := []string{"CAP_CHOWN", "CAP_MKNOD", "CAP_SYS_ADMIN", "CAP_SETUID", "CAP_NET_RAW",
		"CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT"}
	capability := sandbox.KindCapability
	play(t, plan{policy: p, caps: caps, files: map[string]string{"/f": "x", "/d/": ""}}, []step{
		{"setuid 5", "EPERM", want{sandbox.KindSetID, no, "", "", "", 0}},
		{"ptrace", "EPERM", want{sandbox.KindPtrace, no, "", "", "", 0}},
		{"mount /d", "EPERM", want{sandbox.KindMount, no, "", "/d", "", 0}},
		{"chroot /d", "EPERM", want{}},
		{"call 272 0x20000", "EPERM", want{sandbox.KindMount, no, "", "", "", 0x20000}}, // unshare
		{"mkdev /d/dev", "EPERM", want{capability, no, "", "", "", 27}},
		{"chown /f 7", "ok", want{capability, yes, "", "", "", 0}},
		{"call 170 0 0", "EPERM", want{capability, no, "", "", "", 21}}, // sethostname
		{"bind 127.0.0.1:80", "EPERM", want{capability, no, "", "", "", 10}},
		{"socket 2 3 1", "EPERM", want{sandbox.KindSocket, no, "", "", "", 2<<16 | 3}},
		{"call 425 8 0", "EPERM", want{sandbox.KindModule, no, "", "", "", 0}}, // io_uring_setup
		{"call 321 0 0 0", "EPERM", want{sandbox.KindModule, no, "", "", "", 0}},
		{"kill 1 0", "ok", want{}}, // to itself
		{"kill 4242 9", "ESRCH", want{}},
	})
}

func TestPrivilegesWithoutRules(t *testing.T) {
	play(t, plan{policy: enforce(), caps: []string{"CAP_SETUID", "CAP_SYS_ADMIN"},
		files: map[string]string{"/d/": ""}}, []step{
		{"mount /d", "ok", want{sandbox.KindMount, 0, "", "/d", "", 0}},
		{"setuid 5", "ok", want{sandbox.KindSetID, 0, "", "", "", 0}},
	})
}
