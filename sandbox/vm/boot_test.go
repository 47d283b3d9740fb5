package vm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"surety/base/errs"
)

// testKernel returns the guest kernel's root, or skips the test with how to get one.
func testKernel(t *testing.T) string {
	t.Helper()
	for _, root := range []string{filepath.Join("..", "..", "bin", kernelFolder), "/"} {
		if _, err := FindKernel(root); err == nil {
			return root
		}
	}
	t.Skipf("there is no guest kernel: %s", Install)
	return ""
}

// testConfig is a machine with this test's binary as its guest.
func testConfig(t *testing.T) Config {
	t.Helper()
	root := testKernel(t)
	if _, err := exec.LookPath(qemuName); err != nil {
		t.Skipf("%s is not installed: %s", qemuName, Install)
	}
	return Config{ID: "test", Kernel: root, Cache: t.TempDir(), Emulation: true}
}

// TestMachine boots one machine, with a plain program instead of a sandbox, and does with it all
// that can be done.
func TestMachine(t *testing.T) {
	c := testConfig(t)
	content := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	image, err := memoryFile("image", content)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	c.Image = image
	began := time.Now()
	m, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	t.Logf("the guest is up after %s", time.Since(began).Round(time.Millisecond))

	var out, complaints bytes.Buffer
	input, typed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	defer typed.Close()
	created := make(chan error)
	go func() {
		created <- m.Create(t.Context(), encode(t, plainOrder{Args: []string{"sleep"}, Records: 3}),
			Stdio{Stdin: input, Stdout: &out, Stderr: &complaints})
	}()
	frames, err := m.Trail().Next(time.Minute)
	if err != nil || len(frames) == 0 {
		t.Fatalf("%d bytes of the trail, %v", len(frames), err)
	}
	select {
	case err := <-created:
		t.Errorf("created before its first records were stored: %v", err)
	default:
	}
	m.Trail().Advance(len(frames))
	if err := <-created; err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Create(t.Context(), nil, Stdio{}); !errs.Is(err, errs.Exists) {
		t.Errorf("created again: %v", err)
	}
	t.Run("exec", func(t *testing.T) { testExec(t, m, content) })
	if err := m.Kill(t.Context(), int(syscall.SIGTERM), false); err != nil {
		t.Error(err)
	}
	exit, err := m.Wait(t.Context())
	if err != nil || exit.Code != 128+int(syscall.SIGTERM) || out.String() != "sleeping\n" {
		t.Errorf("%+v, %v, %q, %q", exit, err, out.String(), complaints.String())
	}
	if frames, err := m.Trail().Next(0); frames != nil || err != nil || !m.Trail().Ended() {
		t.Errorf("after the last record: %d bytes, %v", len(frames), err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-m.Gone():
	default:
		t.Error("closed, and not gone")
	}
	if _, err := m.Wait(t.Context()); !errs.Is(err, errs.Unavailable) {
		t.Errorf("wait on a machine that is gone: %v", err)
	}
	if process, err := os.FindProcess(m.PID()); err == nil && process.Signal(syscall.Signal(0)) == nil {
		t.Error("QEMU is still there")
	}
}

func encode(t *testing.T, o plainOrder) json.RawMessage {
	t.Helper()
	content, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// testExec runs processes beside the program.
func testExec(t *testing.T, m *Machine, image []byte) {
	var out, complaints bytes.Buffer
	run := func(args ...string) int {
		t.Helper()
		out.Reset()
		complaints.Reset()
		code, err := m.Exec(t.Context(), encode(t, plainOrder{Args: args}),
			Stdio{Stdout: &out, Stderr: &complaints}, nil)
		if err != nil {
			t.Errorf("%v: %v", args, err)
		}
		return code
	}
	if code := run("hello"); code != 7 || !strings.HasPrefix(out.String(), "hello from ") ||
		complaints.String() != "and a complaint\n" {
		t.Errorf("%d, %q, %q", code, out.String(), complaints.String())
	}
	if run("disk"); out.String() != fmt.Sprintf("%d bytes, the same %t\n", len(image), true) {
		t.Errorf("%q", out.String())
	}
	const much = 3 << 20
	if run("much", fmt.Sprint(much)); out.Len() != much || out.Bytes()[much-1] != byte((much-1)%251) {
		t.Errorf("%d bytes of %d", out.Len(), much)
	}
	if run("boot"); !strings.Contains(out.String(), "virtio_blk") || !strings.Contains(out.String(), "/sys/fs/cgroup") {
		t.Errorf("%q", out.String())
	}
	input, typed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	go func() {
		_, _ = io.WriteString(typed, "what was typed")
		_ = typed.Close()
	}()
	out.Reset()
	code, err := m.Exec(t.Context(), encode(t, plainOrder{Args: []string{"cat"}}),
		Stdio{Stdin: input, Stdout: &out}, nil)
	if code != 0 || err != nil || out.String() != "what was typed" {
		t.Errorf("cat: %d, %v, %q", code, err, out.String())
	}
	code, err = m.Exec(t.Context(), encode(t, plainOrder{Args: []string{"sleep"}}), Stdio{},
		func(process uint32) {
			if err := m.Signal(t.Context(), process, int(syscall.SIGKILL)); err != nil {
				t.Error(err)
			}
		})
	if code != 128+int(syscall.SIGKILL) || err != nil {
		t.Errorf("killed: %d, %v", code, err)
	}
}

// TestMachineThatDies pulls the plug: everybody is told, and nothing is left.
func TestMachineThatDies(t *testing.T) {
	m, err := Run(t.Context(), testConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	m.Cut()
	<-m.Gone()
	for name, err := range map[string]error{
		"start": m.Start(t.Context()), "create": m.Create(t.Context(), nil, Stdio{}),
	} {
		if !errs.Is(err, errs.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := m.Trail().Next(time.Minute); !errs.Is(err, errs.Unavailable) {
		t.Errorf("the trail: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// TestMachineWithoutKernel is refused before anything is made.
func TestMachineWithoutKernel(t *testing.T) {
	c := testConfig(t)
	c.Kernel = t.TempDir()
	if _, err := Run(t.Context(), c); !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), Install) {
		t.Error(err)
	}
	left, err := os.ReadDir(c.Cache)
	if err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
