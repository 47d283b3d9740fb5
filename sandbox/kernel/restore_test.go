//go:build amd64

package kernel_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/state/statefile"
	gvisor "gvisor.dev/gvisor/runsc/sandbox"

	"surety/sandbox"
)

func TestRestoredSandboxIsJudgedAndRecorded(t *testing.T) {
	first := boot(t, plan{policy: enforce(), args: []string{"sleepy", "open /shut/file r"},
		files: map[string]string{"/shut/file": "secret"}})
	first.start()
	first.session("/probe", "say before")
	image := filepath.Join(first.dir, "image")
	must(t, os.Mkdir(image, 0o700))
	must(t, first.c.Checkpoint(first.conf, image, gvisor.CheckpointOpts{
		Compression: statefile.CompressionLevelFlateBestSpeed}))
	_, _ = first.c.Wait()
	must(t, first.c.Destroy())
	first.c = nil
	first.drain()

	second := boot(t, plan{policy: deny("/shut/**"), root: first.root,
		args:  []string{"sleepy", "open /shut/file r"},
		birth: sandbox.Birth{Snapshot: "sha256:00", Earlier: "00"}})
	failed := make(chan error, 1)
	go func() { failed <- second.c.Restore(second.conf, image, false, false, nil) }()
	second.await(func(r *sandbox.Record) bool { return r.Kind == sandbox.KindRestore })
	second.ring.Release()
	must(t, <-failed)
	second.session("/probe", "open /tmp/go c")
	status, out := second.finish()
	if status.ExitStatus() != 0 || !strings.Contains(out, "went\n") ||
		!strings.Contains(out, "EACCES\n") {
		t.Errorf("status %v, output %q", status, out)
	}
	all := second.all()
	if all[0].Kind != sandbox.KindRestore || !strings.Contains(all[0].Text, `"earlier":"00"`) {
		t.Errorf("first record %+v", all[0])
	}
	if !strings.Contains(ofKind(all, sandbox.KindOpen), `refuse "/shut/file"`) {
		t.Errorf("records %v", kinds(all))
	}
	for _, r := range all {
		if r.Kind == sandbox.KindExec && !r.Session {
			t.Errorf("the restored program was judged as if it were new: %v", kinds(all))
		}
	}
}
