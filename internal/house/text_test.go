package house

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// widthMax is the greatest length of a line in characters: the 100 that docs/HOUSE.md asks for and
// five more, so that a changed name does not reflow a paragraph.
const widthMax = 105

// linesMax is the length at which a file has grown a second noun.
const linesMax = 800

// rowMax is the greatest length of a row of a table, and of a line in a test, which is a row more
// often than not: a row cut in two is no longer read as one.
const rowMax = 120

// TestLines holds sources to the width and length of a page. Lines of raw strings and long links
// are exempt: cutting them would change what they say.
func TestLines(t *testing.T) {
	tr := readTree(t)
	for _, folder := range tr.names() {
		for _, s := range tr.folders[folder] {
			if s.generated {
				continue
			}
			raw := rawLines(tr, s)
			lines := strings.Split(readFile(t, filepath.Join(tr.root, s.name)), "\n")
			if len(lines) > linesMax {
				t.Errorf("%s has %d lines, the limit is %d", s.name, len(lines), linesMax)
			}
			for i, line := range lines {
				width, limit := utf8.RuneCountInString(line), widthMax
				if s.test || tableRow.MatchString(line) {
					limit = rowMax
				}
				if width > limit && !raw[i+1] && !strings.Contains(line, "https://") {
					t.Errorf("%s:%d has %d characters, the limit is %d", s.name, i+1, width, limit)
				}
			}
		}
	}
}

// tableRow matches a line that is one row of a composite literal.
var tableRow = regexp.MustCompile(`^\s*(\{.*\},?|\w+: +["{].*,)( *//.*)?$`)

// rawLines returns the lines that a raw string covers.
func rawLines(tr *tree, s source) map[int]bool {
	lines := map[int]bool{}
	ast.Inspect(s.file, func(node ast.Node) bool {
		literal, ok := node.(*ast.BasicLit)
		if !ok || !strings.HasPrefix(literal.Value, "`") {
			return true
		}
		first := tr.set.Position(literal.Pos()).Line
		last := tr.set.Position(literal.End()).Line
		for line := first; line <= last; line++ {
			lines[line] = true
		}
		return true
	})
	return lines
}

// TestPackagesAreDescribed wants a package comment on every package, and one only.
func TestPackagesAreDescribed(t *testing.T) { checkDescriptions(t, readTree(t)) }

func checkDescriptions(t reporter, tr *tree) {
	for _, folder := range tr.names() {
		var described []string
		generated := true
		line, _ := rowOf(folder)
		for _, s := range tr.folders[folder] {
			generated = generated && s.generated
			may := !s.test || line.sort == tests
			if may && s.file.Doc != nil && len(strings.TrimSpace(s.file.Doc.Text())) > 0 {
				described = append(described, s.name)
			}
		}
		switch {
		case generated:
		case len(described) == 0:
			t.Errorf("%s has no package comment", folder)
		case len(described) > 1:
			t.Errorf("%s has package comments in %s", folder, strings.Join(described, " and "))
		}
	}
}

// TestNames refuses the folders where things are put that have no name.
func TestNames(t *testing.T) { checkNames(t, readTree(t)) }

func checkNames(t reporter, tr *tree) {
	nameless := []string{"util", "utils", "common", "helper", "helpers", "types", "misc", "shared",
		"manager", "service", "lib", "pkg"}
	for _, folder := range tr.names() {
		for _, name := range nameless {
			if path.Base(folder) == name {
				t.Errorf("%s: name what it is about", folder)
			}
		}
	}
}

// TestNoUnfinishedWork refuses the marks of it.
func TestNoUnfinishedWork(t *testing.T) { checkUnfinished(t, readTree(t)) }

func checkUnfinished(t reporter, tr *tree) {
	mark := regexp.MustCompile(`\b(` + "TO" + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
	for _, folder := range tr.names() {
		for _, s := range tr.folders[folder] {
			for _, group := range s.file.Comments {
				if found := mark.FindString(group.Text()); found != "" {
					t.Errorf("%s: %s", tr.at(s, group.Pos()), found)
				}
			}
		}
	}
}

var (
	link    = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+?) *$`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```")
)

// TestLinksResolve follows every link of every document to a file, and to its heading.
func TestLinksResolve(t *testing.T) {
	tr := readTree(t)
	tr.walk(t, ".md", func(name string) {
		text := fenced.ReplaceAllString(readFile(t, filepath.Join(tr.root, name)), "")
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file := name
			if target != "" {
				file = path.Join(path.Dir(name), target)
			}
			if _, err := os.Stat(filepath.Join(tr.root, file)); err != nil {
				t.Errorf("%s links to %s, which is not there", name, match[1])
				continue
			}
			if anchor != "" && !hasHeading(readFile(t, filepath.Join(tr.root, file)), anchor) {
				t.Errorf("%s links to %s, and %s has no such heading", name, match[1], file)
			}
		}
	})
}

// hasHeading reports whether a document has the heading that an anchor is made of.
func hasHeading(text, anchor string) bool {
	for _, match := range heading.FindAllStringSubmatch(text, -1) {
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', r >= 'a' && r <= 'z', r >= '0' && r <= '9':
				return r
			}
			return -1
		}, strings.ToLower(match[1]))
		if slug == anchor {
			return true
		}
	}
	return false
}
