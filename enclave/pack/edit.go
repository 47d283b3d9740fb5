package pack

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"surety/base/errs"
)

// The project's file is edited as text, so that what people wrote around it stays: their comments
// above all. What an edit gives is read again and has to say what was meant; where it does not, the
// file stays as it is and a person is told what to write.

// setCommand gives the project the command of what was added, where it has none.
func (p *Project) setCommand(a *Added) error {
	if len(p.Command) > 0 || len(a.Command) == 0 {
		a.Command = nil
		return nil
	}
	line := "command: " + flow(a.Command)
	return p.edit(line, func(lines []string) []string {
		if node, isList := child(p.body, "command").(*ast.SequenceNode); isList {
			lines[lineOf(node.GetToken())-1] = line
			return lines
		}
		return append(lines, line)
	}, func(now *Project) bool { return slices.Equal(now.Command, a.Command) })
}

// addLayer gives the project a further layer.
func (p *Project) addLayer(l ProjectLayer) error {
	item := fmt.Sprintf("- {name: %s, target: %s}", quote(l.Name), quote(l.Target))
	want := len(p.Layers) + 1
	return p.edit("layers:\n  "+item, func(lines []string) []string {
		node, isList := child(p.body, "layers").(*ast.SequenceNode)
		switch {
		case !isList:
			return append(lines, "layers:", "  "+item)
		case len(node.Values) == 0:
			at := lineOf(node.GetToken()) - 1
			return slices.Replace(lines, at, at+1, "layers:", "  "+item)
		}
		last := lastLine{}
		ast.Walk(&last, node)
		indent := strings.Repeat(" ", node.GetToken().Position.Column-1)
		return slices.Insert(lines, last.line, indent+item)
	}, func(now *Project) bool {
		return len(now.Layers) == want && now.Layers[want-1].Name == l.Name &&
			now.Layers[want-1].Target == l.Target
	})
}

// lastLine finds the last line of a node.
type lastLine struct{ line int }

// Visit looks at one node and goes on to those below it.
func (l *lastLine) Visit(node ast.Node) ast.Visitor {
	if node != nil && node.GetToken() != nil {
		l.line = max(l.line, lineOf(node.GetToken()))
	}
	return l
}

// edit changes the project's file and reads it again.
func (p *Project) edit(meant string, change func(lines []string) []string,
	said func(*Project) bool) error {
	path := filepath.Join(p.Dir, projectName)
	data, err := readSmall(path, maxProject)
	if err != nil {
		return errs.Wrap(err, "pack.edit")
	}
	text := strings.TrimSuffix(string(data), "\n")
	text = strings.Join(change(strings.Split(text, "\n")), "\n") + "\n"
	now, err := parseProject([]byte(text))
	if err != nil || !said(now) {
		return errs.New(errs.Invalid, "pack.edit: %s cannot be changed safely: add this to it by hand:\n%s",
			path, meant)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fileError(err, "pack.edit")
	}
	if err := replaceFile(path, text, info.Mode().Perm()); err != nil {
		return fileError(err, "pack.edit")
	}
	now.Dir = p.Dir
	*p = *now
	return nil
}

func replaceFile(path, text string, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".editing-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing, once it was renamed
	if _, err := f.WriteString(text); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Chmod(mode); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
