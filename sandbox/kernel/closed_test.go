//go:build amd64

package kernel_test

import (
	"os"
	"testing"
	"time"

	"surety/sandbox"
	"surety/sandbox/ring"
)

func binary(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	data, err := os.ReadFile(self)
	must(t, err)
	return string(data)
}

// TestDeadCollectorEndsTheSandbox closes the far end while the program runs.
func TestDeadCollectorEndsTheSandbox(t *testing.T) {
	b := boot(t, plan{policy: enforce(), args: []string{"sleepy"}})
	b.start()
	b.await(func(r *sandbox.Record) bool { return r.Kind == sandbox.KindExec })
	close(b.stop)
	<-b.stopped
	ring.NewConsumer(b.ring).Close()
	// The next judged act cannot be recorded; the session's own beginning is one.
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = b.execute("/probe", "say never")
		_, _ = b.c.Wait()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the sandbox lives on without an audit")
	}
	if b.c.IsSandboxRunning() {
		t.Error("the kernel still runs")
	}
	b.ring.Close()
}

// TestNoSinkNoProgram boots the kernel without a configuration: gVisor starts it all the same.
func TestNoSinkNoProgram(t *testing.T) {
	b := boot(t, plan{bare: true, args: []string{"say never"}})
	must(t, b.c.Start(b.conf))
	status, out := b.finish()
	if !killed(status) || out != "" {
		t.Errorf("status %v, output %q, want SIGKILL and nothing", status, out)
	}
	if len(b.all()) != 0 {
		t.Errorf("records %v", kinds(b.all()))
	}
}

// TestHeldAtTheGateNothingRuns sees that the birth record is read before the program runs.
func TestHeldAtTheGateNothingRuns(t *testing.T) {
	b := boot(t, plan{policy: enforce(), args: []string{"say out"}})
	failed := make(chan error, 1)
	go func() { failed <- b.c.Start(b.conf) }()
	b.await(func(r *sandbox.Record) bool { return r.Kind == sandbox.KindBirth })
	select {
	case err := <-failed:
		t.Fatalf("start returned at a shut gate: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	if b.output() != "" || len(b.all()) != 1 {
		t.Errorf("at the shut gate: output %q, records %v", b.output(), kinds(b.all()))
	}
	b.ring.Release()
	must(t, <-failed)
	if _, out := b.finish(); out != "out\n" {
		t.Errorf("output %q", out)
	}
}
