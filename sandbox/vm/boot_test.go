package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// testKernel returns the guest kernel, or skips the test with how to get one.
func testKernel(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath(qemuName); err != nil {
		t.Skipf("%s is not installed: %s", qemuName, Install)
	}
	for _, root := range []string{os.Getenv("SURETY_VM_KERNEL"), "../../bin/" + kernelFolder, "/"} {
		if root == "" {
			continue
		}
		if _, err := FindKernel(root); err == nil {
			return root
		}
	}
	t.Skipf("there is no guest kernel: %s", Install)
	return ""
}

// TestMachine boots one machine and does with it all that can be done.
func TestMachine(t *testing.T) {
	root := testKernel(t)
	order, _ := json.Marshal(plainOrder{Args: []string{"boot"}, Records: 3})
	var out, complaints bytes.Buffer
	began := time.Now()
	m, err := Run(t.Context(), Config{ID: "test", Kernel: root, Cache: t.TempDir(), Emulation: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	t.Logf("up after %s", time.Since(began))
	created := make(chan error)
	go func() { created <- m.Create(t.Context(), order, Stdio{Stdout: &out, Stderr: &complaints}) }()
	frames, err := m.Trail().Next(time.Minute)
	t.Logf("%d bytes of frames, %v", len(frames), err)
	m.Trail().Advance(len(frames))
	if err := <-created; err != nil {
		t.Fatal(err)
	}
	t.Logf("created after %s", time.Since(began))
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	exit, err := m.Wait(t.Context())
	t.Logf("%+v %v after %s\n%s%s", exit, err, time.Since(began), out.String(), complaints.String())
}

var _ = strings.Repeat
var _ = context.Background
