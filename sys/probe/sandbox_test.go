package probe

import "testing"

// TestSandboxProbes holds what sandboxes need to the form of a finding. What is seen depends on the
// machine; that a probe is never Missing does not, since a node runs without sandboxes.
func TestSandboxProbes(t *testing.T) {
	for _, f := range []Finding{Systrap(), ControlGroups(), UserNamespaces(), Rootless(), Tun()} {
		t.Logf("%-22s %-5s %s", f.Name, f.State, f.Seen)
		if f.Name == "" || f.Seen == "" || f.State == Missing || (f.State == OK) != (f.Cost == "") {
			t.Errorf("%+v", f)
		}
	}
}
