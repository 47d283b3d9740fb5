// Package plainyaml reads YAML files that must read as they look: by whoever wrote them, and by
// whoever has to answer for them.
//
// Think of it as what is left of YAML where a file decides who may do what: one mapping, of keys,
// lists, text, whole numbers and truth values. Anchors, aliases, merges, tags, empty values and second
// documents are refused, and a value of another sort than is wanted is an error instead of a guess: 1.5
// is no number of processes, and a list is no text. Every error names the file and the line.
//
// # Boundaries
//
// Which keys there are is the caller's to say. Nothing is written.
package plainyaml

import (
	"errors"

	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"surety/base/errs"
)

// maxDepth bounds how far lists and keys stand in each other on a line: files here have four levels,
// and the YAML library takes time in the square of them.
const maxDepth = 8

// File is a file that was parsed, and the first error of what was read from it since.
type File struct {
	Body ast.Node // a mapping
	name string
	err  error
}

// Parse returns the one mapping that a file is. name stands in errors. Kind TooLarge where it has more
// than limit bytes, Invalid where it is no such file.
func Parse(name string, data []byte, limit int) (*File, error) {
	f := &File{name: name}
	if len(data) > limit {
		return nil, errs.New(errs.TooLarge, "%s: %d bytes, the limit is %d", name, len(data), limit)
	}
	tokens := lexer.Tokenize(string(data))
	if err := f.checkDepth(tokens); err != nil {
		return nil, err
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, f.foreign(err)
	}
	if len(file.Docs) > 1 {
		return nil, errs.New(errs.Invalid, "%s: line 1: %d documents, not one", name, len(file.Docs))
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return nil, errs.New(errs.Invalid, "%s: line 1: the file is empty", name)
	}
	f.Body = file.Docs[0].Body
	switch f.Body.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
	default:
		return nil, f.At(f.Body, "the file is no mapping of keys")
	}
	plain := plainCheck{file: f}
	ast.Walk(&plain, f.Body)
	return f, plain.err
}

func (f *File) checkDepth(tokens token.Tokens) error {
	flow, dashes, line := 0, 0, 0
	for _, t := range tokens {
		if lineOf(t) != line {
			dashes, line = 0, lineOf(t)
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType:
			dashes++
		}
		if flow > maxDepth || dashes > maxDepth {
			return errs.New(errs.Invalid, "%s: line %d: more than %d levels", f.name, line, maxDepth)
		}
	}
	return nil
}

// plainCheck finds the first node that has no place here.
type plainCheck struct {
	file *File
	err  error
}

// Visit looks at one node and goes on to those below it.
func (c *plainCheck) Visit(node ast.Node) ast.Visitor {
	if c.err != nil {
		return nil
	}
	switch node.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		c.err = c.file.At(node, "anchors, aliases and merges have no place here")
	case *ast.TagNode:
		c.err = c.file.At(node, "tags have no place here")
	case *ast.NullNode:
		c.err = c.file.At(node, "a key without a value")
	}
	return c
}

// At is an error at the line of a node, of kind Invalid.
func (f *File) At(node ast.Node, format string, args ...any) error {
	return errs.As(errs.Invalid, errs.New(errs.Invalid, format, args...), "%s: line %d", f.name,
		Line(node))
}

// Line is the line of a file that a node begins in, from 1.
func Line(node ast.Node) int {
	if node == nil {
		return 1
	}
	return lineOf(node.GetToken())
}

func lineOf(t *token.Token) int {
	if t == nil || t.Position == nil {
		return 1
	}
	return t.Position.Line
}

// foreign turns an error of the YAML library into one line.
func (f *File) foreign(err error) error {
	var known yaml.Error
	if errors.As(err, &known) {
		text, _, _ := strings.Cut(known.GetMessage(), "\n")
		return errs.New(errs.Invalid, "%s: line %d: %s", f.name, lineOf(known.GetToken()), text)
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return errs.New(errs.Invalid, "%s: %s", f.name, text)
}

// Find returns the node of a field such as "layers[3].target", or the deepest above it that the file
// has.
func (f *File) Find(field string) ast.Node {
	node := f.Body
	for step := range strings.SplitSeq(strings.ReplaceAll(field, "[", ".["), ".") {
		next := Child(node, step)
		if next == nil {
			return node
		}
		node = next
	}
	return node
}

// Child returns the value under a key, or the item "[3]" of a list; nil where there is none.
func Child(node ast.Node, step string) ast.Node {
	for _, pair := range Pairs(node) {
		if pair.Key.GetToken().Value == step {
			return pair.Value
		}
	}
	if sequence, ok := node.(*ast.SequenceNode); ok {
		i, err := strconv.Atoi(strings.Trim(step, "[]"))
		if err == nil && i >= 0 && i < len(sequence.Values) {
			return sequence.Values[i]
		}
	}
	return nil
}

// Pairs returns the keys and values of a mapping, nil for another node.
func Pairs(node ast.Node) []*ast.MappingValueNode {
	switch node := node.(type) {
	case *ast.MappingNode:
		return node.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{node}
	}
	return nil
}
