//go:build amd64

package kernel

import (
	"os"
	"strings"
	"testing"

	slinux "gvisor.dev/gvisor/pkg/sentry/syscalls/linux"
)

// TestCallsAreDocumented sees that the reference names every judged call, and gVisor still has it.
func TestCallsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/sandbox-calls.md")
	if err != nil {
		t.Fatal(err)
	}
	for sysno := range table() {
		entry, ok := slinux.AMD64.Table[sysno]
		if !ok {
			t.Errorf("gVisor has no call %d", sysno)
			continue
		}
		if !strings.Contains(string(text), "`"+entry.Name+"`") {
			t.Errorf("docs/reference/sandbox-calls.md does not name %s", entry.Name)
		}
	}
}

func TestReexec(t *testing.T) {
	for _, c := range []struct {
		argv []string
		want bool
	}{
		{[]string{"runsc-sandbox", "boot"}, true},
		{[]string{"/x/runsc-gofer"}, true},
		{[]string{"/proc/self/exe", "umount", "--sync-fd=3", "/proc"}, true},
		{[]string{"/proc/self/exe", "sandbox"}, false},
		{[]string{"/proc/self/exe"}, false},
		{[]string{"surety", "umount"}, false},
		{[]string{"runsc"}, false},
		{nil, false},
	} {
		if got := Reexec(c.argv); got != c.want {
			t.Errorf("Reexec(%q) = %v", c.argv, got)
		}
	}
}
