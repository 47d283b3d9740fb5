package house

import (
	"fmt"
	"go/token"
	"path"
	"strings"
	"testing"
)

// notes collects what a check says.
type notes []string

func (n *notes) Errorf(format string, args ...any) { *n = append(*n, fmt.Sprintf(format, args...)) }

// TestPlantedMistakes gives each check a file with a mistake in it and sees that it is found, and
// the same file mended, on which the check is silent.
func TestPlantedMistakes(t *testing.T) {
	for _, plant := range []struct {
		name  string
		check func(reporter, *tree)
		file  string
		bad   string // the body of the file after its package clause
		want  string
		good  string
	}{
		{"core imports an adapter", checkImports, "ledger/x.go",
			`import _ "surety/ledger/journal"`, "ledger may not import ledger/journal",
			`import _ "surety/base/errs"`},
		{"guard sees lending", checkImports, "guard/x.go",
			`import _ "surety/lending"`, "guard may not import lending", `import _ "surety/ledger"`},
		{"another part's adapter", checkImports, "lending/store/x.go",
			`import _ "surety/ledger/journal"`, "may not import ledger/journal",
			`import _ "surety/rdb/embed"`},
		{"sys sees a part", checkImports, "sys/vfs/x.go",
			`import _ "surety/ledger"`, "sys/vfs may not import ledger", `import _ "surety/base/errs"`},
		{"test of a core sees an adapter", checkImports, "ledger/x_test.go",
			`import _ "surety/ledger/journal"`, "may not import", `import _ "surety/base/money"`},
		{"package without a line", checkImports, "elsewhere/x.go", ``, "no line in the lattice", `-`},

		{"SQL outside its holder", checkModules, "lending/store/x.go",
			`import _ "modernc.org/sqlite"`, "is held by rdb/embed", `import _ "database/sql"`},
		{"module without a holder", checkModules, "node/x.go",
			`import _ "example.org/module"`, "has no holder", `import _ "net/http"`},
		{"test module in a product", checkModules, "node/x.go",
			`import _ "pgregory.net/rapid"`, "is held by tests", ``},

		{"clock in a core", checkPurity, "ledger/x.go",
			`import _ "time"`, "may not import time", `import _ "strconv"`},
		{"network in a core", checkPurity, "ledger/x.go",
			`import _ "net"`, "may not import net", `import _ "net/netip"`},
		{"goroutine", checkPurity, "ledger/x.go",
			`func f() { go f() }`, "starts a goroutine", `func f() { f() }`},
		{"channel", checkPurity, "guard/x.go",
			`type c chan int`, "has a channel", `type c []int`},
		{"float", checkPurity, "lending/x.go",
			`func f() { x := 1.5; _ = x }`, "has a float", `func f() { x := int64(1e9); _ = x }`},
		{"hidden float", checkPurity, "lending/x.go",
			`func f(n int) bool { return float64(n) > 0 }`, "has a float",
			`func f(n int) bool { return n > 0 }`},
		{"float below the models", checkPurity, "lending/score/x.go",
			`import _ "time"; var x = 1.5`, "may not import time", `var x = 1.5`},
		{"order of a map", checkPurity, "ledger/x.go",
			"func f(m map[int]int) {\n\tfor range m {\n\t}\n}", "ranges over a map",
			"func f(m map[int]int) {\n\t// A sum has no order.\n\tfor range m {\n\t}\n}"},

		{"init", checkState, "node/x.go", `func init() {}`, "does not act", `func start() {}`},
		{"assigned variable", checkState, "node/x.go",
			"var x = 1\nfunc f() { x = 2 }", "changes the package variable x",
			"var x = 1\nfunc f() { x := 2; _ = x }"},
		{"counted variable", checkState, "node/x.go",
			"var x = []int{1}\nfunc f() { x[0]++ }", "changes the package variable x", ""},
		{"variable to be set", checkState, "node/x.go", "var x int", "is meant to change",
			"//go:embed x.txt\nvar x string"},

		{"clock past its interface", checkReaches, "node/x.go",
			"import \"time\"\nvar x = time.Now()", "take a wallclock.Clock", ``},
		{"sleep in a test", checkReaches, "node/x_test.go",
			"import \"time\"\nfunc f() { time.Sleep(1) }", "wait on an event", ``},
		{"exit", checkReaches, "cli/x.go",
			"import \"os\"\nfunc f() { os.Exit(1) }", "return an error", ``},

		{"no package comment", checkDescriptions, "node/x.go", ``, "has no package comment", `-`},
		{"unfinished", checkUnfinished, "node/x.go",
			"// TO" + "DO: more\nvar x = 1", "TO" + "DO", "// More.\nvar x = 1"},
		{"nameless", checkNames, "node/utils/x.go", ``, "name what it is about", `-`},
	} {
		t.Run(plant.name, func(t *testing.T) {
			if found := planted(t, plant.check, plant.file, plant.bad); !strings.Contains(found, plant.want) {
				t.Errorf("the mistake gave %q, want %q", found, plant.want)
			}
			if plant.good == "-" {
				return // there is no mended form of this file
			}
			if found := planted(t, plant.check, plant.file, plant.good); found != "" {
				t.Errorf("without the mistake it gave %q", found)
			}
		})
	}
}

// planted returns what a check says of a tree of one file.
func planted(t *testing.T, check func(reporter, *tree), name, body string) string {
	t.Helper()
	tr := &tree{set: token.NewFileSet(), folders: map[string][]source{}}
	text := "package " + path.Base(path.Dir(name)) + "\n" + body + "\n"
	if err := tr.add(name, []byte(text)); err != nil {
		t.Fatal(err)
	}
	var said notes
	check(&said, tr)
	return strings.Join(said, "\n")
}
