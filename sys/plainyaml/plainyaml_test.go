package plainyaml_test

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"

	"surety/base/errs"
	"surety/sys/plainyaml"
)

// TestParseRefuses takes nothing that reads otherwise than it looks, and names the line.
func TestParseRefuses(t *testing.T) {
	for _, row := range []struct{ text, says string }{
		{"", "line 1: the file is empty"},
		{"a: 1\n---\nb: 2\n", "2 documents"},
		{"- a\n", "line 1: the file is no mapping"},
		{"a: &x 1\nb: *x\n", "line 1: anchors"},
		{"a: 1\nb: !!str 2\n", "line 2: tags"},
		{"a: 1\nb:\n", "line 2: a key without a value"},
		{"a: 1\na: 2\n", "line 2"},
		{"a: " + strings.Repeat("[", 9) + strings.Repeat("]", 9) + "\n", "line 1: more than 8 levels"},
		{"a: [\n", "line"},
	} {
		_, err := plainyaml.Parse("file.yaml", []byte(row.text), 1000)
		if !errs.Is(err, errs.Invalid) || !strings.HasPrefix(err.Error(), "file.yaml: ") ||
			!strings.Contains(err.Error(), row.says) {
			t.Errorf("%q: %v", row.text, err)
		}
	}
	if _, err := plainyaml.Parse("f", make([]byte, 11), 10); !errs.Is(err, errs.TooLarge) {
		t.Errorf("11 bytes of 10: %v", err)
	}
}

// TestValues reads each sort of value, and takes none for another.
func TestValues(t *testing.T) {
	const text = "text: hello\nnumber: 7\nminus: -7\nflag: true\nlist: [a, b]\nkeys: {x: y}\nreal: 1.5\n"
	fields := []string{"text", "number", "minus", "flag", "list", "keys", "real"}
	reads := map[string]func(*plainyaml.File, string, ast.Node) bool{
		"text": func(f *plainyaml.File, n string, v ast.Node) bool { return f.Text(n, v) == "hello" },
		"number": func(f *plainyaml.File, n string, v ast.Node) bool {
			return f.Number(n, v, 7) == 7
		},
		"minus": func(f *plainyaml.File, n string, v ast.Node) bool {
			return n == "number" || f.Signed(n, v) == -7
		},
		"flag": func(f *plainyaml.File, n string, v ast.Node) bool { return f.Flag(n, v) },
		"list": func(f *plainyaml.File, n string, v ast.Node) bool {
			return len(plainyaml.List(f, n, v, f.Text)) == 2
		},
		"keys": func(f *plainyaml.File, n string, v ast.Node) bool { return len(f.Mapping(n, v)) == 1 },
	}
	for sort, read := range reads {
		for _, field := range fields {
			f, err := plainyaml.Parse("f", []byte(text), len(text))
			if err != nil {
				t.Fatal(err)
			}
			good := read(f, field, f.Find(field)) && f.Err() == nil
			if good != (sort == field || sort == "minus" && field == "number") {
				t.Errorf("%s read as %s: %v, %v", field, sort, good, f.Err())
			}
		}
	}
	f, _ := plainyaml.Parse("f", []byte(text), len(text))
	if f.Number("number", f.Find("number"), 6); !strings.Contains(f.Err().Error(), "line 2: number:") {
		t.Errorf("7 of at most 6: %v", f.Err())
	}
	if got := f.At(f.Find("list[1].no"), "x").Error(); got != "f: line 5: x" {
		t.Errorf("the deepest node there is: %s", got)
	}
}
