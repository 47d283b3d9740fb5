package node

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"surety/base/errs"
)

// Origin is where a value came from.
type Origin struct {
	Source Source
	Where  string // "surety.yaml:12:3", "SURETY_LOG_LEVEL", "--log-level"; empty for a default
}

// Source orders the places a value can come from: a later one wins.
type Source string

// The sources, the weakest first.
const (
	FromDefault Source = "default"
	FromFile    Source = "file"
	FromEnv     Source = "env"
	FromFlag    Source = "flag"
)

// Effective is a checked configuration and where each of its values came from.
type Effective struct {
	Config
	origins map[string]Origin
}

// Override is a value from the command line.
type Override struct {
	Path  string // of the setting
	Value string
	Flag  string // as it was typed, for messages
}

// Inputs are the places a configuration is read from.
type Inputs struct {
	FileName  string // for messages
	File      []byte // YAML; empty where there is no file
	LookupEnv func(name string) (value string, set bool)
	Overrides []Override
}

// Load returns the configuration that the inputs give over the defaults. Every mistake in them is
// found before it returns: the error is a Problems, of kind Invalid.
func Load(in Inputs) (*Effective, error) {
	l := &loader{
		known:     settings(),
		effective: &Effective{Config: Default(), origins: make(map[string]Origin)},
	}
	l.file(in.FileName, in.File)
	l.environment(in.LookupEnv)
	l.overrides(in.Overrides)
	for _, problem := range l.effective.check() {
		problem.Where = l.effective.origins[problem.Path].Where
		l.problems = append(l.problems, problem)
	}
	if len(l.problems) > 0 {
		return nil, errs.As(errs.Invalid, l.problems, "configuration")
	}
	return l.effective, nil
}

// Problem is one mistake.
type Problem struct {
	Where string // "surety.yaml:12:3", the variable or the flag; empty for a default
	Path  string // of the setting; empty where none was recognised
	Err   error
}

// String returns "where: path: what is wrong".
func (p Problem) String() string {
	text := p.Err.Error()
	if p.Path != "" {
		text = p.Path + ": " + text
	}
	if p.Where != "" {
		text = p.Where + ": " + text
	}
	return text
}

// Problems are all the mistakes of a configuration, in the order they were met.
type Problems []Problem

// Error returns the problems in one line.
func (p Problems) Error() string {
	texts := make([]string, len(p))
	for i := range p {
		texts[i] = p[i].String()
	}
	return strings.Join(texts, "; ")
}

// Setting is one value for people to read.
type Setting struct {
	Path   string `json:"path"`
	Value  string `json:"value"`
	Source Source `json:"source"`
	Where  string `json:"where,omitempty"`
	About  string `json:"about"`
	Kind   string `json:"kind"`
	Env    string `json:"env"` // the variable that overrides it
}

// Settings returns every value with its origin, in the table's order; secrets are redacted.
func (e *Effective) Settings() []Setting {
	var out []Setting
	for _, s := range settings() {
		v := s.value(&e.Config)
		origin, found := e.origins[s.path]
		if !found {
			origin.Source = FromDefault
		}
		out = append(out, Setting{
			Path: s.path, Value: v.String(), Source: origin.Source, Where: origin.Where,
			About: s.about, Kind: v.kind(), Env: envName(s.path),
		})
	}
	return out
}

// Known returns the setting of the path as it is by default, for help; false where there is none.
func Known(path string) (Setting, bool) {
	defaults := &Effective{Config: Default()}
	for _, s := range defaults.Settings() {
		if s.Path == path {
			return s, true
		}
	}
	return Setting{}, false
}

// loader gathers values and problems.
type loader struct {
	known     []setting
	effective *Effective
	problems  Problems
}

func (l *loader) problem(where, path string, err error) {
	l.problems = append(l.problems, Problem{Where: where, Path: path, Err: err})
}

// find returns the setting of a path, nil where there is none.
func (l *loader) find(path string) *setting {
	i := slices.IndexFunc(l.known, func(s setting) bool { return s.path == path })
	if i < 0 {
		return nil
	}
	return &l.known[i]
}

// assign gives a setting its value from one place.
func (l *loader) assign(path string, origin Origin, set func(value) error) {
	s := l.find(path)
	if s == nil {
		l.problem(origin.Where, "", l.unknown(path))
		return
	}
	if err := set(s.value(&l.effective.Config)); err != nil {
		l.problem(origin.Where, path, err)
		return
	}
	l.effective.origins[path] = origin
}

func (l *loader) environment(lookup func(string) (string, bool)) {
	if lookup == nil {
		return
	}
	for _, s := range l.known {
		name := envName(s.path)
		if text, found := lookup(name); found {
			l.assign(s.path, Origin{FromEnv, name}, func(v value) error { return v.set(text) })
		}
	}
}

func (l *loader) overrides(all []Override) {
	for _, o := range all {
		l.assign(o.Path, Origin{FromFlag, o.Flag}, func(v value) error { return v.set(o.Value) })
	}
}

// envName returns the variable of a path: SURETY_HTTP_ADDRESS for http.address.
func envName(path string) string {
	return "SURETY_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// file reads the YAML file.
func (l *loader) file(name string, data []byte) {
	if len(data) > fileMax {
		l.problem(name, "", invalid("has %d bytes, the limit is %d", len(data), fileMax))
		return
	}
	parsed, err := parser.ParseBytes(data, 0)
	if err != nil {
		where, message := yamlMessage(err)
		l.problem(name+where, "", invalid("%s", message))
		return
	}
	documents := 0
	for _, document := range parsed.Docs {
		if document.Body == nil || document.Body.Type() == ast.NullType ||
			document.Body.Type() == ast.CommentType {
			continue
		}
		if documents++; documents > 1 {
			l.problem(position(name, document.Body), "", invalid("holds more than one document"))
			return
		}
		l.section(name, "", document.Body)
	}
}

// fileMax bounds a configuration file in bytes: the reference with every comment takes 8 KiB.
const fileMax = 1 << 20

// section reads the mapping below a path; depth is bounded by the table, since an unknown key is
// not entered.
func (l *loader) section(name, path string, node ast.Node) {
	var entries []*ast.MappingValueNode
	switch node := node.(type) {
	case *ast.MappingNode:
		entries = node.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{node}
	case *ast.NullNode: // a section whose settings are all commented out
	default:
		l.problem(position(name, node), "", invalid("%s wants keys below it", orTop(path)))
	}
	for _, entry := range entries {
		l.entry(name, path, entry)
	}
}

func (l *loader) entry(name, path string, entry *ast.MappingValueNode) {
	key := entry.Key.GetToken().Value
	where := position(name, entry.Key)
	full := key
	if path != "" {
		full = path + "." + key
	}
	switch {
	case entry.Key.IsMergeKey():
		l.problem(where, "", invalid("merge keys are not supported"))
	case l.find(full) != nil:
		l.assign(full, Origin{FromFile, where}, func(v value) error {
			return setNode(v,
				entry.Value)
		})
	case l.isSection(full):
		l.section(name, full, entry.Value)
	default:
		l.problem(where, "", l.unknown(full))
	}
}

// setNode gives a value what a node of the file says.
func setNode(v value, node ast.Node) error {
	if sequence, ok := node.(*ast.SequenceNode); ok {
		several, ok := v.(listed)
		if !ok {
			return invalid("wants one value (%s), got a list", v.kind())
		}
		texts := make([]string, len(sequence.Values))
		for i, entry := range sequence.Values {
			scalar, err := scalarText(entry)
			if err != nil {
				return err
			}
			texts[i] = scalar
		}
		return several.setAll(texts)
	}
	scalar, err := scalarText(node)
	if err != nil {
		return err
	}
	return v.set(scalar)
}

// scalarText returns a scalar as it was written, without quotes.
func scalarText(node ast.Node) (string, error) {
	switch node := node.(type) {
	case *ast.StringNode:
		return node.Value, nil
	case *ast.LiteralNode:
		return node.Value.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return node.GetToken().Value, nil
	case *ast.NullNode:
		return "", invalid("has no value")
	}
	return "", invalid("wants one value, got a %s", strings.ToLower(node.Type().String()))
}

// unknown says that a path is none, and which known one is nearest.
func (l *loader) unknown(path string) error {
	best, distance := "", len(path)/2+1
	for _, s := range l.known {
		if d := editDistance(path, s.path); d < distance {
			best, distance = s.path, d
		}
		section, _, found := strings.Cut(s.path, ".")
		if d := editDistance(path, section); found && d < distance {
			best, distance = section, d
		}
	}
	if best == "" {
		return invalid("unknown key %s; \"surety config show\" lists all", clip(path))
	}
	return invalid("unknown key %s, did you mean %s", clip(path), best)
}

// isSection reports whether settings stand below the path.
func (l *loader) isSection(path string) bool {
	return slices.ContainsFunc(l.known, func(s setting) bool {
		return strings.HasPrefix(s.path, path+".")
	})
}

// position returns file:line:column of a node.
func position(name string, node ast.Node) string {
	at := node.GetToken().Position
	return fmt.Sprintf("%s:%d:%d", name, at.Line, at.Column)
}

func orTop(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

// yamlMessage takes ":line:column" and the message out of a parser's error, "[2:1] message" with the
// source drawn below it.
func yamlMessage(err error) (where, message string) {
	first, _, _ := strings.Cut(err.Error(), "\n")
	inside, after, found := strings.Cut(strings.TrimPrefix(first, "["), "] ")
	if !found || !strings.HasPrefix(first, "[") {
		return "", first
	}
	return ":" + inside, after
}

// editDistance counts the insertions, deletions and changes that turn a into b. Texts longer than
// any path are far from all.
func editDistance(a, b string) int {
	if len(a) > 128 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := diagonal
			if a[i-1] != b[j-1] {
				change++
			}
			diagonal = row[j]
			row[j] = min(change, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
