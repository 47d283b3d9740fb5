package house

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// holder says which packages may import a third-party module, and the decision that brought it in.
// Tests may import what stands with "tests". A heavy module has one holder, so that leaving it is
// the work of one package.
type holder struct {
	module   string
	packages string // as in the lattice
	decision string // file below docs/decisions
}

var holders = [...]holder{
	{"connectrpc.com/connect", "api/... sys/edge sys/access ledger/... lending/... guard/... " +
		"evidence/... node cli bench tests", "0010-connect.md"},
	{"google.golang.org/protobuf", "api/... ledger/... lending/... guard/... evidence/... node cli " +
		"sandbox/oci tests", "0010-connect.md"},
	{"github.com/spf13/cobra", "cli", "0011-cobra.md"},
	{"github.com/spf13/pflag", "cli", "0011-cobra.md"},
	{"github.com/schollz/progressbar/v3", "cli", "0012-progressbar.md"},
	{"golang.org/x/term", "cli", "0013-golang-x.md"},
	{"golang.org/x/sys", "sys/... sandbox/... cli node tests", "0013-golang-x.md"},
	{"golang.org/x/net", "sandbox/egress", "0025-x-net.md"},
	{"golang.org/x/mod", "evidence evidence/tlog", "0013-golang-x.md"},
	{"github.com/goccy/go-yaml", "node lending/intake lending/score/frame sandbox/policyfile enclave/pack " +
		"sys/plainyaml tests",
		"0014-yaml.md"},
	{"github.com/prometheus/client_golang", "sys/telemetry", "0015-prometheus.md"},
	{"modernc.org/sqlite", "rdb/embed", "0016-sqlite.md"},
	{"github.com/pressly/goose/v3", "rdb/embed", "0017-goose.md"},
	{"github.com/transparency-dev/tessera", "evidence/tlog", "0018-tessera.md"},
	{"k8s.io/klog/v2", "evidence/tlog", "0018-tessera.md"},
	{"github.com/transparency-dev/merkle", "evidence evidence/tlog ledger/replica",
		"0018-tessera.md"},
	{"github.com/chromedp/chromedp", "tests", "0020-chromedp.md"},
	{"github.com/chromedp/cdproto", "tests", "0020-chromedp.md"},
	{"gvisor.dev/gvisor", "sandbox/kernel sandbox/runtime sandbox/egress sandbox/volume",
		"0023-gvisor.md"},
	{"github.com/opencontainers/runtime-spec", "sandbox/runtime sandbox/oci sandbox/volume",
		"0023-gvisor.md"},
	{"github.com/google/go-containerregistry", "sandbox/image tests", "0024-go-containerregistry.md"},
	{"github.com/containerd/ttrpc", "sandbox/oci", "0026-containerd-shim.md"},
	{"github.com/containerd/containerd/api", "sandbox/oci", "0026-containerd-shim.md"},
	{"github.com/containerd/cgroups/v3", "sandbox/oci", "0026-containerd-shim.md"},
	{"google.golang.org/grpc", "sandbox/oci", "0026-containerd-shim.md"},
	{"github.com/klauspost/compress", "sandbox/image tests", "0024-go-containerregistry.md"},
	{"github.com/fxamacker/cbor/v2", "enclave tests", "0032-cbor.md"},
	{"github.com/google/go-sev-guest", "enclave/attest/sev tests", "0033-go-sev-guest.md"},
	{"github.com/google/go-tdx-guest", "enclave/attest/tdx tests", "0034-go-tdx-guest.md"},
	{"github.com/google/go-tpm", "enclave/attest/tpm", "0035-go-tpm.md"},
	{"github.com/go-jose/go-jose/v4", "enclave/broker", "0036-go-jose.md"},
	{"github.com/cloudflare/circl", "enclave/psi enclave/shares", "0038-circl.md"},
	{"github.com/containerd/go-dmverity", "tests", "0037-go-dmverity.md"},
	{"pgregory.net/rapid", "tests", "0021-test-tools.md"},
	{"github.com/anishathalye/porcupine", "tests", "0021-test-tools.md"},
	{"github.com/cockroachdb/datadriven", "tests", "0021-test-tools.md"},
}

// TestModulesAreHeld sees that each third-party import stands where its holder's line says.
func TestModulesAreHeld(t *testing.T) { checkModules(t, readTree(t)) }

func checkModules(t reporter, tr *tree) {
	for _, folder := range tr.names() {
		for _, s := range tr.folders[folder] {
			for _, imported := range s.imports() {
				first, _, _ := strings.Cut(imported, "/")
				if !strings.Contains(first, ".") {
					continue // the standard library, or ours
				}
				held, found := holderOf(imported)
				switch {
				case !found:
					t.Errorf("%s: %s has no holder (internal/house/modules_test.go)", s.name, imported)
				case !held.allows(folder, s.test):
					t.Errorf("%s: %s is held by %s", s.name, held.module, held.packages)
				}
			}
		}
	}
}

// TestModulesAreUsed fails a module that nobody imports any more: it goes, with its line.
func TestModulesAreUsed(t *testing.T) {
	tr := readTree(t)
	used := map[string]bool{}
	for _, folder := range tr.names() {
		for _, s := range tr.folders[folder] {
			for _, imported := range s.imports() {
				held, _ := holderOf(imported)
				used[held.module] = true
			}
		}
	}
	for _, h := range holders {
		if !used[h.module] {
			t.Errorf("%s is held and nobody imports it", h.module)
		}
	}
}

func (h holder) allows(folder string, test bool) bool {
	for _, pattern := range strings.Fields(h.packages) {
		prefix, all := strings.CutSuffix(pattern, "/...")
		if pattern == "tests" && (test || folder == "e2e") || folder == prefix ||
			all && below(folder, prefix) {
			return true
		}
	}
	return false
}

// TestModulesHaveDecisions sees that each module has its record, that the record names it, and
// that go.mod pins what the table names.
func TestModulesHaveDecisions(t *testing.T) {
	root := findRoot(t)
	gomod := readFile(t, filepath.Join(root, "go.mod"))
	for _, h := range holders {
		if !regexp.MustCompile(`(?m)^\s*` + regexp.QuoteMeta(h.module) + ` v`).MatchString(gomod) {
			t.Errorf("%s is held and not in go.mod", h.module)
		}
		record := readFile(t, filepath.Join(root, "docs", "decisions", h.decision))
		if !strings.Contains(record, h.module) {
			t.Errorf("docs/decisions/%s does not name %s", h.decision, h.module)
		}
	}
}

// holderOf returns the line of the module that an import belongs to.
func holderOf(imported string) (holder, bool) {
	for _, h := range holders {
		if below(imported, h.module) {
			return h, true
		}
	}
	return holder{}, false
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
	}
	return string(data)
}
