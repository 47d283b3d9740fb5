package pack

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"surety/base/errs"
	"surety/sys/plainyaml"
)

// The project's file is edited as text, so that what people wrote around it stays: their comments
// above all. What an edit gives is read again and has to say what was meant; where it does not, the
// file stays as it is and a person is told what to write.

// suggested is how what was added is to be run.
type suggested struct {
	command []string
	env     []string
	cwd     string
	uid     uint32
	gid     uint32
}

// setCommand gives the project the command of what was added, where it has none; and what belongs to
// an image's command with it, where the file says nothing else than a new one does. It returns the
// lines that are written.
func (p *Project) setCommand(s suggested) ([]string, error) {
	if len(p.Command) > 0 || len(s.command) == 0 {
		return nil, nil
	}
	set := [][2]string{{"command", flow(s.command)}}
	if len(s.env) > 0 && (len(p.Env) == 0 || slices.Equal(p.Env, []string{envNew})) {
		set = append(set, [2]string{"env", flow(s.env)})
	}
	if s.cwd != "" && p.Cwd == "/" && s.cwd != "/" {
		set = append(set, [2]string{"cwd", quote(s.cwd)})
	}
	if s.uid != 0 || s.gid != 0 {
		set = append(set, [2]string{"uid", fmt.Sprint(s.uid)}, [2]string{"gid", fmt.Sprint(s.gid)})
	}
	var written []string
	for _, pair := range set {
		written = append(written, pair[0]+": "+pair[1])
	}
	return written, p.edit(strings.Join(written, "\n"), func(lines []string) []string {
		for i, pair := range set {
			lines = p.setKey(lines, pair[0], written[i])
		}
		return lines
	}, func(now *Project) bool { return slices.Equal(now.Command, s.command) })
}

// setKey puts a line into the place of a key's, where that is one line too, and behind the others
// where there is none.
func (p *Project) setKey(lines []string, key, line string) []string {
	node := plainyaml.Child(p.file.Body, key)
	if node == nil {
		return append(lines, line)
	}
	last := lastLine{}
	ast.Walk(&last, node)
	at := plainyaml.Line(node) - 1
	if last.line-1 == at && strings.HasPrefix(lines[at], key+":") {
		lines[at] = line
		return lines
	}
	return append(lines, line) // twice, which edit refuses
}

// addLayer gives the project a further layer.
func (p *Project) addLayer(l ProjectLayer) error {
	item := fmt.Sprintf("- {name: %s, target: %s}", quote(l.Name), quote(l.Target))
	want := len(p.Layers) + 1
	return p.edit("layers:\n  "+item, func(lines []string) []string {
		node, isList := plainyaml.Child(p.file.Body, "layers").(*ast.SequenceNode)
		switch {
		case !isList:
			return append(lines, "layers:", "  "+item)
		case len(node.Values) == 0:
			at := plainyaml.Line(node) - 1
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
		l.line = max(l.line, plainyaml.Line(node))
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
