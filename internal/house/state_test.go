package house

import (
	"go/ast"
	"go/token"
	"go/types"
	"path"
	"strings"
	"testing"
)

// TestNoHiddenState sees that no package acts when it is imported or changes a package variable:
// the binary may be re-executed, and two nodes may live in one process.
func TestNoHiddenState(t *testing.T) { checkState(t, readTree(t)) }

func checkState(t reporter, tr *tree) {
	check := newChecker(tr)
	check.standard = nil // package variables are found without it
	for _, folder := range tr.names() {
		info := check.check(folder)
		for _, s := range tr.folders[folder] {
			if s.generated || s.test {
				continue
			}
			for _, decl := range s.file.Decls {
				switch decl := decl.(type) {
				case *ast.FuncDecl:
					judgeFunc(t, tr, s, info, decl)
				case *ast.GenDecl:
					judgeVars(t, tr, s, decl)
				}
			}
		}
	}
}

// judgeFunc fails an init, and an assignment to a package variable.
func judgeFunc(t reporter, tr *tree, s source, info *types.Info, decl *ast.FuncDecl) {
	if decl.Recv == nil && decl.Name.Name == "init" {
		t.Errorf("%s: a package does not act when it is imported", tr.at(s, decl.Pos()))
	}
	if decl.Body == nil {
		return
	}
	blame := func(expr ast.Expr) {
		if name, is := packageVar(info, expr); is && !borrowed[path.Dir(s.name)+"."+name] {
			t.Errorf("%s: changes the package variable %s", tr.at(s, expr.Pos()), name)
		}
	}
	ast.Inspect(decl.Body, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.AssignStmt:
			if node.Tok != token.DEFINE {
				for _, left := range node.Lhs {
					blame(left)
				}
			}
		case *ast.IncDecStmt:
			blame(node.X)
		}
		return true
	})
}

// packageVar returns the package variable at the root of an expression such as name.field[i].
func packageVar(info *types.Info, expr ast.Expr) (name string, is bool) {
	for {
		switch e := expr.(type) {
		case *ast.IndexExpr:
			expr = e.X
		case *ast.SelectorExpr:
			expr = e.X
		case *ast.StarExpr:
			expr = e.X
		case *ast.ParenExpr:
			expr = e.X
		case *ast.Ident:
			variable, isVar := info.Uses[e].(*types.Var)
			if !isVar || variable.Pkg() == nil || variable.Parent() != variable.Pkg().Scope() {
				return "", false
			}
			return e.Name, true
		default:
			return "", false
		}
	}
}

// judgeVars fails a package variable that can only be meant to change: one without a value that
// nothing embeds, and a lock or a channel.
func judgeVars(t reporter, tr *tree, s source, decl *ast.GenDecl) {
	if decl.Tok != token.VAR {
		return
	}
	for _, spec := range decl.Specs {
		value, ok := spec.(*ast.ValueSpec)
		if !ok || len(value.Values) > 0 || embeds(decl, value) ||
			borrowed[path.Dir(s.name)+"."+value.Names[0].Name] {
			continue
		}
		t.Errorf("%s: the package variable %s has no value, and so is meant to change",
			tr.at(s, value.Pos()), value.Names[0].Name)
	}
}

// borrowed are variables of another module, linked to by a name that it does not export.
var borrowed = map[string]bool{
	"sandbox/kernel.compiledFilters": true, // decision 0030
}

func embeds(decl *ast.GenDecl, spec *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{decl.Doc, spec.Doc} {
		if doc == nil {
			continue
		}
		for _, line := range doc.List {
			if strings.HasPrefix(line.Text, "//go:embed ") {
				return true
			}
		}
	}
	return false
}

// reach is a call that only some packages may make.
type reach struct {
	name   string // package.Function
	holder string // packages that may, as in the lattice
	why    string
}

// reaches are calls that would go behind an interface, or behind the caller's back.
var reaches = [...]reach{
	// The deadlines of connections are instants of the kernel's clock and no other.
	{"time.Now", "sys/wallclock ledger/client ledger/server enclave/broker",
		"take a wallclock.Clock, so that a test can move time"},
	{"time.Sleep", "", "wait on an event, or on a timer of the clock"},
	{"time.Tick", "", "it cannot be stopped: take a timer of the clock"},
	{"time.After", "", "take a timer of the clock"},
	{"os.Exit", "cmd/surety sys/edge", "return an error: deferred work would be lost"},
	// sandbox/oci is a program of its own, called by containerd.
	{"os.Getenv", "cmd/surety sandbox/oci", "take it from cli.Env or the configuration"},
	{"os.LookupEnv", "cmd/surety", "take it from cli.Env or the configuration"},
	{"rand.Read", "sys/entropy", "take an entropy.Source"},
	{"slog.Default", "", "take a *slog.Logger: there is no global one"},
	{"slog.SetDefault", "", "take a *slog.Logger: there is no global one"},
	{"slog.Info", "", "take a *slog.Logger: there is no global one"},
	{"slog.Warn", "", "take a *slog.Logger: there is no global one"},
	{"slog.Error", "", "take a *slog.Logger: there is no global one"},
	{"log.Print", "", "take a *slog.Logger"},
	{"log.Printf", "", "take a *slog.Logger"},
	{"log.Fatal", "", "return an error"},
	{"log.Fatalf", "", "return an error"},
	{"http.HandleFunc", "", "use a mux of your own"},
	{"http.Handle", "", "use a mux of your own"},
	{"http.Get", "", "use a client with timeouts"},
	{"http.Post", "", "use a client with timeouts"},
}

// TestReaches looks for those calls. Tests may read the clock and the environment; nobody sleeps.
func TestReaches(t *testing.T) { checkReaches(t, readTree(t)) }

func checkReaches(t reporter, tr *tree) {
	for _, folder := range tr.names() {
		for _, s := range tr.folders[folder] {
			if s.generated {
				continue
			}
			ast.Inspect(s.file, func(node ast.Node) bool {
				selector, ok := node.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if left, ok := selector.X.(*ast.Ident); ok {
					judgeReach(t, tr, s, folder, left.Name+"."+selector.Sel.Name, selector.Pos())
				}
				return true
			})
		}
	}
}

func judgeReach(t reporter, tr *tree, s source, folder, name string, pos token.Pos) {
	for _, r := range reaches {
		if r.name != name || (s.test || folder == "e2e") && r.name != "time.Sleep" {
			continue
		}
		if !(holder{packages: r.holder}).allows(folder, s.test) {
			t.Errorf("%s: %s: %s", tr.at(s, pos), name, r.why)
		}
	}
}
