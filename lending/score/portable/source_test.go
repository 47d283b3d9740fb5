package portable

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// exact lists the functions of package math that only move bits or round to a whole number, or,
// like the square root, are defined to the last bit.
var exact = map[string]bool{
	"Abs": true, "Floor": true, "RoundToEven": true, "Sqrt": true, "Frexp": true, "Ldexp": true,
	"Inf": true, "IsNaN": true, "NaN": true,
}

// TestFloatsAreWrittenPortably reads every package below lending/score and reports products of
// floats that are not rounded by a conversion, and functions of package math that may differ
// between machines. A product that is not converted may be fused with a sum on some machines, and a
// model trained there would differ.
func TestFloatsAreWrittenPortably(t *testing.T) {
	checked := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && !strings.HasPrefix(entry.Name(), "testdata") {
			checked += checkPackage(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked < 5 {
		t.Fatalf("only %d packages were found", checked)
	}
}

// TestCheckFindsPlants shows that the check is not blind.
func TestCheckFindsPlants(t *testing.T) {
	const planted = `package p
import "math"
func f(x, y, z float64) float64 {
	x *= y
	n := 2 * 3
	_ = float64(n * n)
	return float64(x*y) + y*z + math.Exp(z) + math.Sqrt(x)
}`
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "planted.go", planted, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := findings(fset, []*ast.File{file})
	if len(found) != 3 {
		t.Fatalf("found %q, want the product, the assignment and math.Exp", found)
	}
}

// checkPackage reports the findings of one folder and returns 1 if it holds a package.
func checkPackage(t *testing.T, folder string) int {
	fset := token.NewFileSet()
	files, err := parseFolder(fset, folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		return 0
	}
	for _, finding := range findings(fset, files) {
		t.Error(finding)
	}
	return 1
}

// parseFolder parses the files of a package, tests apart.
func parseFolder(fset *token.FileSet, folder string) ([]*ast.File, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, filepath.Join(folder, name), nil, 0)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// findings checks the types of files and returns what is not portable. Of imports, package math and
// those below lending/score are resolved; no other package hands floats to this folder.
func findings(fset *token.FileSet, files []*ast.File) []string {
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	config := newConfig(fset)
	config.Check("p", fset, files, info) //nolint:errcheck // unresolved imports are expected
	var found []string
	report := func(n ast.Node, what string) {
		found = append(found, fset.Position(n.Pos()).String()+": "+what)
	}
	for _, file := range files {
		rounded := map[ast.Expr]bool{} // products that stand alone in a conversion
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if isFloat64(n.Fun) && len(n.Args) == 1 {
					rounded[ast.Unparen(n.Args[0])] = true
				}
			case *ast.BinaryExpr:
				value := info.Types[n]
				if n.Op == token.MUL && mayBeFloat(value) && !rounded[n] {
					report(n, "a product of floats outside float64()")
				}
			case *ast.AssignStmt:
				if n.Tok == token.MUL_ASSIGN && mayBeFloat(info.Types[n.Lhs[0]]) {
					report(n, "a product of floats by assignment")
				}
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "math" &&
					!exact[n.Sel.Name] && !isConstant(info.Types[n]) {
					report(n, "math."+n.Sel.Name+" may differ between machines")
				}
			}
			return true
		})
	}
	return found
}

func isFloat64(e ast.Expr) bool {
	name, ok := e.(*ast.Ident)
	return ok && name.Name == "float64"
}

func isConstant(v types.TypeAndValue) bool { return v.Value != nil }

func mayBeFloat(v types.TypeAndValue) bool {
	if v.Type == nil || v.Value != nil {
		return false
	}
	basic, ok := v.Type.Underlying().(*types.Basic)
	return ok && basic.Info()&types.IsFloat != 0
}

const ownPath = "surety/lending/score"

// ownAndMath imports package math and the packages below lending/score, and gives an empty package
// for every other path.
type ownAndMath struct {
	fset   *token.FileSet
	source types.Importer
}

func newConfig(fset *token.FileSet) types.Config {
	return types.Config{Error: func(error) {},
		Importer: ownAndMath{fset, importer.ForCompiler(fset, "source", nil)}}
}

func (o ownAndMath) Import(path string) (*types.Package, error) {
	if path == "math" {
		return o.source.Import(path)
	}
	if rest, own := strings.CutPrefix(path, ownPath); own {
		files, err := parseFolder(o.fset, filepath.Join("..", filepath.FromSlash(rest)))
		if err != nil {
			return nil, err
		}
		config := newConfig(o.fset)
		p, _ := config.Check(path, o.fset, files, nil) // unresolved imports are expected
		p.MarkComplete()
		return p, nil
	}
	p := types.NewPackage(path, path[strings.LastIndex(path, "/")+1:])
	p.MarkComplete()
	return p, nil
}
