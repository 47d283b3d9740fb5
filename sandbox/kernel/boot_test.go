//go:build amd64

package kernel_test

import (
	"testing"

	"surety/sandbox"
)

func TestBirthComesFirstAndTheProgramAfterIt(t *testing.T) {
	b := boot(t, plan{args: []string{"say hello"}})
	status, out := b.run()
	if status.ExitStatus() != 0 || out != "hello\n" {
		t.Fatalf("status %d, output %q, records %v", status.ExitStatus(), out, kinds(b.all()))
	}
	all := b.all()
	if len(all) < 2 || all[0].Kind != sandbox.KindBirth || all[1].Kind != sandbox.KindExec ||
		all[1].Path != "/probe" || all[1].Digest.IsZero() {
		t.Fatalf("records %v", kinds(all))
	}
	t.Log(kinds(all))
}
