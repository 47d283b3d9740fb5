package house

import (
	"go/ast"
	"go/constant"
	"go/importer"
	"go/types"
	"strings"
	"testing"
)

// worldly are the standard packages through which a clock, a disk, a socket, a goroutine or chance
// would come into rules that have to be replayed.
var worldly = [...]string{
	"context", "crypto/rand", "database/sql", "io/ioutil", "log", "math/rand", "net", "os", "plugin",
	"reflect", "runtime", "sync", "syscall", "time", "unsafe",
}

// floating are the pure packages that may hold floats: they hand back integers.
var floating = [...]string{"lending/score"}

// TestCoresArePure holds base, the cores and what is kept as pure to the rule: no world, no
// concurrency, no float, and no order of a map that can show.
func TestCoresArePure(t *testing.T) { checkPurity(t, readTree(t)) }

func checkPurity(t reporter, tr *tree) {
	check := newChecker(tr)
	for _, folder := range tr.names() {
		line, _ := rowOf(folder)
		if line.sort != base && line.sort != core && line.sort != pure {
			continue
		}
		info := check.check(folder)
		for _, s := range tr.folders[folder] {
			if s.test {
				continue
			}
			for _, imported := range s.imports() {
				if isWorldly(imported) {
					t.Errorf("%s: %s is pure and may not import %s", s.name, folder, imported)
				}
			}
			judge := pureJudge{t: t, tr: tr, source: s, info: info, floats: mayFloat(folder)}
			ast.Inspect(s.file, judge.visit)
		}
	}
}

func isWorldly(imported string) bool {
	if imported == "net/netip" {
		return false // values alone: no socket comes with it
	}
	for _, bad := range worldly {
		if below(imported, bad) {
			return true
		}
	}
	return false
}

func mayFloat(folder string) bool {
	for _, name := range floating {
		if below(folder, name) {
			return true
		}
	}
	return false
}

// pureJudge looks at one file of a pure package.
type pureJudge struct {
	t      reporter
	tr     *tree
	source source
	info   *types.Info
	floats bool
}

func (j pureJudge) visit(node ast.Node) bool {
	switch node := node.(type) {
	case *ast.GoStmt:
		j.blame(node, "starts a goroutine")
	case *ast.SelectStmt:
		j.blame(node, "selects")
	case *ast.ChanType:
		j.blame(node, "has a channel")
	case *ast.SendStmt:
		j.blame(node, "sends")
	case *ast.RangeStmt:
		j.visitRange(node)
	case ast.Expr:
		j.visitExpr(node)
	}
	return true
}

// visitRange lets a map be ranged over only where a comment on the line or the one above says why
// no order can show.
func (j pureJudge) visitRange(loop *ast.RangeStmt) {
	over, known := j.info.Types[loop.X]
	if !known {
		return
	}
	if _, isMap := over.Type.Underlying().(*types.Map); !isMap {
		return
	}
	line := j.tr.set.Position(loop.Pos()).Line
	for _, group := range j.source.file.Comments {
		end := j.tr.set.Position(group.End()).Line
		if (end == line || end == line-1) && strings.Contains(group.Text(), "order") {
			return
		}
	}
	j.blame(loop, "ranges over a map, and no comment says why the order cannot show")
}

func (j pureJudge) visitExpr(expr ast.Expr) {
	value, known := j.info.Types[expr]
	if !known || j.floats || value.Type == nil {
		return
	}
	basic, isBasic := value.Type.Underlying().(*types.Basic)
	if !isBasic || basic.Info()&(types.IsFloat|types.IsComplex) == 0 {
		return
	}
	// An untyped constant such as 1e9 is exact until it becomes a float.
	if basic.Info()&types.IsUntyped != 0 && value.Value != nil &&
		constant.ToInt(value.Value).Kind() == constant.Int {
		return
	}
	j.blame(expr, "has a float")
}

func (j pureJudge) blame(node ast.Node, what string) {
	j.t.Errorf("%s: pure code %s", j.tr.at(j.source, node.Pos()), what)
}

// checker gives types to the module's packages. The standard library is read from its sources
// where a pure package needs it; other modules are taken as empty, and what they would have told
// is missing from the answer.
type checker struct {
	tr       *tree
	standard types.Importer
	packages map[string]*types.Package
	infos    map[string]*types.Info
}

func newChecker(tr *tree) *checker {
	return &checker{
		tr:       tr,
		standard: importer.ForCompiler(tr.set, "source", nil),
		packages: map[string]*types.Package{},
		infos:    map[string]*types.Info{},
	}
}

// check returns what is known of a folder's package without its tests.
func (c *checker) check(folder string) *types.Info {
	if info, done := c.infos[folder]; done {
		return info
	}
	var files []*ast.File
	for _, s := range c.tr.folders[folder] {
		if !s.test {
			files = append(files, s.file)
		}
	}
	info := &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{},
		Uses:  map[*ast.Ident]types.Object{},
		Defs:  map[*ast.Ident]types.Object{},
	}
	c.infos[folder] = info
	config := types.Config{Importer: c, Error: func(error) {}} // what is missing is expected
	pkg, _ := config.Check(module+"/"+folder, c.tr.set, files, info)
	c.packages[folder] = pkg
	return info
}

// Import implements types.Importer.
func (c *checker) Import(name string) (*types.Package, error) {
	if folder, ours := strings.CutPrefix(name, module+"/"); ours {
		c.check(folder)
		return c.packages[folder], nil
	}
	first, _, _ := strings.Cut(name, "/")
	if c.standard != nil && !strings.Contains(first, ".") && !isWorldly(name) {
		return c.standard.Import(name)
	}
	empty := types.NewPackage(name, name[strings.LastIndex(name, "/")+1:])
	empty.MarkComplete()
	return empty, nil
}
