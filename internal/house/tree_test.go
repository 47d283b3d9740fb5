package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// source is one Go file of the module.
type source struct {
	name      string // from the module's root, with slashes
	file      *ast.File
	test      bool
	generated bool
}

// tree is the module's Go files.
type tree struct {
	root    string
	set     *token.FileSet
	folders map[string][]source // by folder from the root, with slashes
}

// reporter is the part of *testing.T that a check uses, so that a test can read what a check says
// of planted mistakes.
type reporter interface {
	Errorf(format string, args ...any)
}

// module is the module's path, which begins every import of its packages.
const module = "surety"

// readTree parses every Go file below the module's root.
func readTree(t *testing.T) *tree {
	t.Helper()
	tr := &tree{root: findRoot(t), set: token.NewFileSet(), folders: map[string][]source{}}
	tr.walk(t, ".go", func(name string) {
		text, err := os.ReadFile(filepath.Join(tr.root, name))
		if err == nil {
			err = tr.add(name, text)
		}
		if err != nil {
			t.Errorf("%v", err)
		}
	})
	return tr
}

// add parses one file of the tree.
func (tr *tree) add(name string, text []byte) error {
	file, err := parser.ParseFile(tr.set, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	folder := path.Dir(name)
	tr.folders[folder] = append(tr.folders[folder], source{
		name: name, file: file, test: strings.HasSuffix(name, "_test.go"),
		generated: ast.IsGenerated(file),
	})
	return nil
}

// findRoot returns the folder of go.mod.
func findRoot(t *testing.T) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			t.Fatal("no go.mod above the test")
		}
		folder = parent
	}
}

// walk calls visit with each file of the suffix that belongs to the module.
func (tr *tree) walk(t *testing.T, suffix string, visit func(name string)) {
	t.Helper()
	err := filepath.WalkDir(tr.root, func(full string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(tr.root, full)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if entry.IsDir() && outside(name, entry.Name()) {
			return filepath.SkipDir
		}
		if !entry.IsDir() && strings.HasSuffix(name, suffix) {
			visit(name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// outside reports whether a folder is not part of the module: hidden, foreign, data, or a module
// of its own.
func outside(name, base string) bool {
	hidden := strings.HasPrefix(base, ".") && name != "."
	return hidden || name == "tools" || name == "examples" || name == "bin" || name == "surety-data" ||
		base == "node_modules" || base == "testdata"
}

// names returns the folders in order.
func (tr *tree) names() []string {
	names := make([]string, 0, len(tr.folders))
	for name := range tr.folders {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// imports returns the import paths of a file.
func (s source) imports() []string {
	paths := make([]string, len(s.file.Imports))
	for i, spec := range s.file.Imports {
		paths[i] = strings.Trim(spec.Path.Value, `"`)
	}
	return paths
}

// at returns file:line of a position, from the root.
func (tr *tree) at(s source, pos token.Pos) string {
	return s.name + ":" + itoa(tr.set.Position(pos).Line)
}

// below reports whether a path is the prefix or stands below it.
func below(name, prefix string) bool {
	return name == prefix || strings.HasPrefix(name, prefix+"/")
}
