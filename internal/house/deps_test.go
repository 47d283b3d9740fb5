package house

import (
	"strconv"
	"strings"
	"testing"
)

// sort of package: what it may be made of.
type sort string

const (
	base    sort = "base"    // ground floor: pure
	core    sort = "core"    // rules of a part: pure
	pure    sort = "pure"    // not a core, and kept as pure as one
	schema  sort = "schema"  // what crosses between parts, and generated code
	sys     sort = "sys"     // the world behind small interfaces
	adapter sort = "adapter" // a part's hands
	top     sort = "top"     // composes the others
	tests   sort = "tests"   // drives the others
)

// row says what one package is and what it may import of this module: packages, and with /... all
// below one. So "ledger" in another part's line is the core of the ledger without its adapters.
type row struct {
	pkg  string
	sort sort
	may  string
}

// lattice has a line for every package; a package without one fails.
var lattice = [...]row{
	{"base/errs", base, ""},
	{"base/invariant", base, ""},
	{"base/clock", base, "base/..."},
	{"base/ident", base, "base/..."},
	{"base/money", base, "base/..."},

	{"api/event", schema, "base/..."},
	{"api/ledger/v1", schema, ""},
	{"api/ledger/v1/ledgerv1connect", schema, "api/ledger/v1"},
	{"api/lending/v1", schema, ""},
	{"api/lending/v1/lendingv1connect", schema, "api/lending/v1"},
	{"api/guard/v1", schema, ""},
	{"api/guard/v1/guardv1connect", schema, "api/guard/v1"},
	{"api/evidence/v1", schema, ""},
	{"api/evidence/v1/evidencev1connect", schema, "api/evidence/v1"},
	{"api/node/v1", schema, "api/..."},
	{"api/node/v1/nodev1connect", schema, "api/node/v1"},
	{"api/openapi", schema, "base/..."},

	{"sys/vfs", sys, "base/..."},
	{"sys/wallclock", sys, "base/..."},
	{"sys/entropy", sys, "base/..."},
	{"sys/telemetry", sys, "base/... sys/wallclock"},
	{"sys/edge", sys, "base/..."},
	{"sys/access", sys, "base/... sys/..."},
	{"sys/presence", sys, "base/..."},
	{"sys/inode", sys, ""},
	{"sys/plainyaml", sys, "base/..."},
	{"sys/probe", sys, "base/... sys/..."},

	{"ledger", core, "base/..."},
	{"ledger/journal", adapter, "base/... sys/... ledger/..."},
	{"ledger/wire", adapter, "base/... ledger"},
	{"ledger/replica", adapter, "base/... sys/... api/... ledger/..."},
	{"ledger/client", adapter, "base/... sys/... api/... ledger/..."},
	{"ledger/server", adapter, "base/... sys/... api/... ledger/..."},
	{"ledger/api", adapter, "base/... sys/... api/... ledger/..."},

	{"lending", core, "base/... ledger"},
	{"lending/score", pure, "base/... lending/score/portable"},
	{"lending/score/portable", pure, "base/..."},
	{"lending/score/frame", adapter, "base/... lending/score/..."},
	{"lending/score/train", adapter, "base/... lending/score/..."},
	{"lending/score/evaluate", adapter, "base/... lending/score/..."},
	{"lending/score/merchant", adapter, "base/... lending/score/..."},
	{"lending/score/taiwan", adapter, "base/... lending/score/..."},
	{"lending/scorer", adapter, "base/... sys/... lending/score/..."},
	{"lending/api", adapter, "base/... sys/... api/... lending/..."},
	{"lending/intake", adapter, "base/... sys/... api/... lending/..."},
	{"lending/store", adapter, "base/... sys/... api/... lending/... rdb/embed"},
	{"lending/settlement", adapter, "base/... sys/... api/... lending/... ledger ledger/client"},
	{"lending/origination", adapter, "base/... sys/... api/... lending/... ledger ledger/client"},
	{"lending/servicing", adapter, "base/... sys/... api/... lending/... ledger ledger/client"},
	{"lending/recovery", adapter, "base/... sys/... api/... lending/..."},
	{"lending/lendingtest", tests, "base/... sys/... api/... lending/... ledger/..."},
	{"lending/population", adapter, "base/... sys/... api/... lending/..."},

	// The guard reads other copies by other code: it may know the ledger and the events, and
	// nothing of lending.
	{"guard", core, "base/... ledger"},
	{"guard/source", adapter, "base/... sys/... api/... guard/... ledger ledger/client"},
	{"guard/store", adapter, "base/... sys/... api/... guard/... ledger rdb/embed"},
	{"guard/api", adapter, "base/... sys/... api/... guard/..."},
	{"guard/engine", adapter, "base/... sys/... api/... guard/... ledger ledger/client"},
	{"guard/stop", adapter, "base/... sys/... api/... guard/... ledger ledger/client"},
	{"guard/drill", adapter, "base/... sys/... api/... guard/... ledger ledger/client"},
	{"guard/client", adapter, "base/... sys/... api/... guard/..."},

	{"evidence", core, "base/..."},
	{"evidence/tlog", adapter, "base/... sys/... api/... evidence/... rdb/embed"},
	{"evidence/vault", adapter, "base/... sys/... api/... evidence/... rdb/embed"},
	{"evidence/client", adapter, "base/... sys/... api/... evidence/..."},

	{"sandbox", core, "base/..."},
	{"sandbox/ring", adapter, "base/... sys/... sandbox"},
	{"sandbox/policyfile", adapter, "base/... sys/... sandbox"},
	{"sandbox/volume", adapter, "base/... sys/... sandbox"},
	{"sandbox/kernel", adapter, "base/... sys/... sandbox sandbox/ring sandbox/volume"},
	{"sandbox/trail", adapter, "base/... sys/... sandbox sandbox/ring"},
	{"sandbox/image/erofs", adapter, "base/... sys/..."},
	{"sandbox/image", adapter, "base/... sys/... sandbox sandbox/image/erofs"},
	{"sandbox/egress", adapter, "base/... sys/... sandbox"},
	{"sandbox/runtime", adapter, "base/... sys/... sandbox/..."},
	{"sandbox/vm", adapter, "base/... sys/... sandbox/..."},
	{"sandbox/oci", adapter, "base/... sys/... sandbox/..."},
	{"sandbox/escape", adapter, "base/... sys/... sandbox"},

	// An enclave runs in a sandbox of this host: launch is that library's user (decision 0031).
	{"enclave", core, "base/..."},
	{"enclave/layer", adapter, "base/... sys/... enclave"},
	{"enclave/pack", adapter, "base/... sys/... enclave enclave/layer sandbox/image sandbox/image/erofs " +
		"sandbox/policyfile"},
	{"enclave/attest", adapter, "base/... sys/... enclave enclave/attest/..."},
	{"enclave/attest/sev", adapter, "base/... sys/... enclave"},
	{"enclave/attest/tdx", adapter, "base/... sys/... enclave"},
	{"enclave/attest/tpm", adapter, "base/... sys/... enclave"},
	{"enclave/client", adapter, "base/... sys/... enclave enclave/attest"},
	{"enclave/broker", adapter, "base/... sys/... api/... enclave enclave/attest enclave/client evidence " +
		"evidence/client rdb/embed"},
	{"enclave/channel", adapter, "base/... sys/... enclave enclave/attest"},
	{"enclave/state", adapter, "base/... sys/... enclave enclave/client"},
	{"enclave/state/inside", tests, "base/... sys/... enclave/... sandbox/..."},
	{"enclave/launch", adapter, "base/... sys/... enclave/... sandbox sandbox/runtime sandbox/image " +
		"sandbox/policyfile sandbox/kernel sandbox/trail"}, // the last two of its tests
	{"enclave/psi", adapter, "base/... sys/..."},
	{"enclave/shares", adapter, "base/... sys/... enclave/psi"},
	{"lending/joint", adapter, "base/... sys/... lending/score/... enclave enclave/psi enclave/shares"},

	{"rdb/embed", adapter, "base/... sys/..."},

	{"console", top, "base/..."},
	{"bench", top, "base/... sys/... api/... ledger/... guard/... lending/... evidence/... " +
		"sandbox/... enclave/..."},
	{"node", top, "base/... sys/... api/... ledger/... guard/... lending/... evidence/... rdb/... " +
		"sandbox/... enclave/... console"},
	{"cli", top, "base/... sys/... api/... ledger/... guard/... lending/... evidence/... " +
		"sandbox/... enclave/... node bench"},
	{"cmd/surety", top, "cli lending/scorer lending/joint enclave/... sandbox/escape sandbox/kernel " +
		"sandbox/oci sandbox/runtime sandbox/vm"},
	{"e2e", tests, "base/... sys/... api/... ledger/... guard/... lending/... evidence/... " +
		"sandbox/... enclave/... cli node"},
	{"internal/house", tests, ""},
}

// TestImports holds every package to its line.
func TestImports(t *testing.T) { checkImports(t, readTree(t)) }

func checkImports(t reporter, tr *tree) {
	for _, folder := range tr.names() {
		line, found := rowOf(folder)
		if !found {
			t.Errorf("%s: no line in the lattice (internal/house/deps_test.go)", folder)
			continue
		}
		for _, s := range tr.folders[folder] {
			for _, imported := range s.imports() {
				name, ours := strings.CutPrefix(imported, module+"/")
				if ours && !line.allows(name, s.test) {
					t.Errorf("%s: %s may not import %s (internal/house/deps_test.go)", s.name, folder, name)
				}
			}
		}
	}
}

// allows reports whether the package may import another of this module. A test may besides import
// what builds its surroundings: base, the package itself, and, where the package is not pure, sys
// and its own part.
func (r row) allows(name string, test bool) bool {
	may := strings.Fields(r.may)
	if test {
		may = append(may, "base/...", r.pkg)
	}
	if test && r.sort != base && r.sort != core && r.sort != pure {
		part, _, _ := strings.Cut(r.pkg, "/")
		may = append(may, "sys/...", part+"/...")
	}
	for _, pattern := range may {
		folder, all := strings.CutSuffix(pattern, "/...")
		if name == folder || all && below(name, folder) {
			return true
		}
	}
	return false
}

// TestLattice holds the table itself to the rule of the layers, so that a line cannot quietly give
// away what the design forbids.
func TestLattice(t *testing.T) {
	forbidden := map[sort][]string{
		base:    {"sys", "api", "ledger", "guard", "lending", "evidence", "rdb", "node", "cli", "cmd"},
		core:    {"sys", "api", "rdb", "node", "cli", "cmd"},
		pure:    {"sys", "rdb", "node", "cli", "cmd"},
		schema:  {"sys", "ledger", "guard", "lending", "evidence", "rdb", "node", "cli", "cmd"},
		sys:     {"api", "ledger", "guard", "lending", "evidence", "rdb", "node", "cli", "cmd"},
		adapter: {"node", "cli", "cmd", "console", "bench"},
	}
	seen := map[string]bool{}
	for _, r := range lattice {
		if seen[r.pkg] {
			t.Errorf("%s has two lines", r.pkg)
		}
		seen[r.pkg] = true
		for _, prefix := range strings.Fields(r.may) {
			for _, bad := range forbidden[r.sort] {
				if below(strings.TrimSuffix(prefix, "/..."), bad) {
					t.Errorf("the line of %s gives it %s, which no %s may have", r.pkg, prefix, r.sort)
				}
			}
		}
		if below(r.pkg, "guard") && strings.Contains(r.may, "lending") {
			t.Errorf("the line of %s lets it see what it checks", r.pkg)
		}
	}
}

// TestLatticeIsNotStale fails a line whose package is gone.
func TestLatticeIsNotStale(t *testing.T) {
	tr := readTree(t)
	for _, r := range lattice {
		if len(tr.folders[r.pkg]) == 0 {
			t.Errorf("%s has a line in the lattice and no Go files", r.pkg)
		}
	}
}

// rowOf returns a folder's line.
func rowOf(folder string) (row, bool) {
	for _, r := range lattice {
		if r.pkg == folder {
			return r, true
		}
	}
	return row{}, false
}

func itoa(n int) string { return strconv.Itoa(n) }
