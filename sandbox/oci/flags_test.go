package oci

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/sys/wallclock"
)

// TestMakingAsCallersWriteIt parses command lines as go-runc writes them.
func TestMakingAsCallersWriteIt(t *testing.T) {
	for line, want := range map[string]making{
		"--bundle /b --pid-file /p --no-pivot id": {bundle: "/b", pidFile: "/p"},
		"id --bundle=/b -console-socket /s":       {bundle: "/b", console: "/s"},
		"-b /b -d id --no-new-keyring":            {bundle: "/b", detach: true},
		"--image-path /i --work-path /w --shell-job --file-locks --bundle /b --detach id": {bundle: "/b",
			image: "/i", detach: true},
	} {
		var m making
		id, err := m.parse("create", strings.Fields(line))
		if err != nil || id != "id" || m != want {
			t.Errorf("%s: %q %+v %v", line, id, m, err)
		}
	}
	for _, line := range []string{"", "a b", "--sparkle id", "--bundle"} {
		var m making
		if _, err := m.parse("create", strings.Fields(line)); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestExecutionStopsAtTheCommand(t *testing.T) {
	var e execution
	err := e.parse(strings.Fields("--cwd /c -e A=1 --env B=2 --detach --pid-file /p id ls -d --tty"))
	if err != nil || e.id != "id" || e.cwd != "/c" || !e.detach || e.tty || e.pidFile != "/p" ||
		!slices.Equal(e.env, []string{"A=1", "B=2"}) ||
		!slices.Equal(e.args, []string{"ls", "-d", "--tty"}) {
		t.Errorf("%+v %v", e, err)
	}
	for _, line := range []string{"", "--cap CAP_KILL id ls"} {
		var e execution
		if err := e.parse(strings.Fields(line)); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestGlobalFlags(t *testing.T) {
	for line, want := range map[string]string{
		"--root /r --log /l --log-format json --systemd-cgroup --debug --version": "spec: " + specVersion,
		"-v":                              "version 1",
		"--rootless=auto -debug features": `"ociVersionMin"`,
	} {
		var out bytes.Buffer
		c := &call{out: &out, clock: wallclock.System(),
			lookup: func(string) (string, bool) { return "", false }}
		code, err := c.run(context.Background(), strings.Fields(line))
		if err != nil || code != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %d %v %s", line, code, err, out.String())
		}
	}
	for _, line := range []string{"", "sparkle", "--sparkle state"} {
		c := &call{out: new(bytes.Buffer), lookup: func(string) (string, bool) { return "", false }}
		if _, err := c.run(context.Background(), strings.Fields(line)); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestShimCommandLine(t *testing.T) {
	c := shimCall{lookup: func(string) (string, bool) { return "/short", true }}
	line := "-namespace k8s.io -address /a -publish-binary /p -id one -debug start"
	if err := c.parse(strings.Fields(line)); err != nil || c.action != "start" || c.id != "one" {
		t.Errorf("%+v %v", c, err)
	}
	path, err := c.socketPath("pod")
	if err != nil || !strings.HasPrefix(path, "/short/s/") {
		t.Errorf("socket: %s %v", path, err)
	}
	c.lookup = func(string) (string, bool) { return "/" + strings.Repeat("long", 30), true }
	if _, err := c.socketPath("pod"); !errs.Is(err, errs.TooLarge) {
		t.Errorf("socket: %v", err)
	}
	for _, line := range []string{"-id one start", "-namespace ../x -id one start", "-namespace n start"} {
		var c shimCall
		if err := c.parse(strings.Fields(line)); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestOverlayOptionsAreShortened(t *testing.T) {
	layer := "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/"
	lower := make([]string, 100)
	for i := range lower {
		lower[i] = layer + strings.Repeat("9", 3) + "/fs"
	}
	dir, joined := shorten("overlay", []string{"lowerdir=" + strings.Join(lower, ":"), "upperdir=/u"})
	if dir == "" || len(joined) > maxMountData || strings.Contains(joined, "/var/") ||
		!strings.HasSuffix(joined, ",upperdir=/u") {
		t.Errorf("from %q: %d bytes", dir, len(joined))
	}
	dir, joined = shorten("overlay", []string{"lowerdir=/a:/b"})
	if dir != "" || joined != "lowerdir=/a:/b" {
		t.Errorf("what fits: %q %q", dir, joined)
	}
}
