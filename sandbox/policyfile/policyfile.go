// Package policyfile reads and writes the YAML files that policies are kept in.
//
// A file is read strictly: an unknown key, a key that stands there twice, a value of the wrong sort,
// an anchor, an alias, a tag or a second document is an error that names the line. What the values
// mean is checked by sandbox.Compile; Compile here does both and names the line of the field.
//
// # Invariants
//
// Format writes what Parse reads back to the same policy, whatever strings are in it.
//
// # Boundaries
//
// It knows the form of the file and not the rules: those are in package sandbox. It opens no file.
//
// # Sources
//
// YAML 1.2.2. The keys are the tags of sandbox.Policy; docs/reference/sandbox-policy.md describes
// each.
package policyfile

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
	"surety/sandbox"
)

// MaxFile bounds a file in bytes: MaxRules rules with long paths fit, and nothing that would take
// seconds to read.
const MaxFile = 2 << 20

// Parse reads a policy. It checks the form of the file and that it says its version and mode, and
// nothing of what the rules mean. Errors: Invalid with the line, TooLarge.
func Parse(data []byte) (sandbox.Policy, error) {
	body, err := parse(data)
	if err != nil {
		return sandbox.Policy{}, err
	}
	r := &reader{}
	p := r.policy(body)
	switch {
	case r.err != nil:
		return sandbox.Policy{}, r.err
	case p.Version == "":
		return sandbox.Policy{}, at(body, "key policy is missing: policy: v1")
	case p.Version != "v1":
		return sandbox.Policy{}, at(find(body, "policy"), "policy %q is not one of v1", p.Version)
	case p.Mode == "":
		return sandbox.Policy{}, at(body, "key mode is missing: observe or enforce")
	}
	return p, nil
}

// Compile reads a policy and makes it ready to decide. Errors: those of Parse, and those of
// sandbox.Compile with the line of the field.
func Compile(data []byte) (sandbox.Policy, *sandbox.Compiled, error) {
	p, err := Parse(data)
	if err != nil {
		return p, nil, err
	}
	compiled, err := sandbox.Compile(p)
	var field *sandbox.FieldError
	if errors.As(err, &field) {
		body, _ := parse(data) // it was parsed before
		return p, nil, at(find(body, field.Field), "%s: %s", field.Field, field.Text)
	}
	return p, compiled, err
}

// parse returns the one mapping that a file is.
func parse(data []byte) (ast.Node, error) {
	if len(data) > MaxFile {
		return nil, errs.New(errs.TooLarge, "policy: %d bytes, limit %d", len(data), MaxFile)
	}
	tokens := lexer.Tokenize(string(data))
	if err := checkDepth(tokens); err != nil {
		return nil, err
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, foreign(err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, errs.New(errs.Invalid, "policy: line 1: %d documents, not one", len(file.Docs))
	}
	body := file.Docs[0].Body
	switch body.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
	default:
		return nil, at(body, "the file is no mapping of keys")
	}
	plain := plainCheck{}
	ast.Walk(&plain, body)
	return body, plain.err
}

// maxDepth bounds how far lists and keys stand in each other on a line: a policy has four levels,
// and the YAML library takes time in the square of them.
const maxDepth = 8

func checkDepth(tokens token.Tokens) error {
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
			return errs.New(errs.Invalid, "policy: line %d: more than %d levels", line, maxDepth)
		}
	}
	return nil
}

// plainCheck refuses what makes a file read otherwise than it looks.
type plainCheck struct{ err error }

// Visit looks at one node and goes on to those below it.
func (c *plainCheck) Visit(node ast.Node) ast.Visitor {
	if c.err != nil {
		return nil
	}
	switch node.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		c.err = at(node, "anchors, aliases and merges have no place in a policy")
	case *ast.TagNode:
		c.err = at(node, "tags have no place in a policy")
	case *ast.NullNode:
		c.err = at(node, "a key without a value")
	}
	return c
}

// at is an error at the line of a node.
func at(node ast.Node, format string, args ...any) error {
	line := 1
	if node != nil && node.GetToken() != nil {
		line = lineOf(node.GetToken())
	}
	return errs.As(errs.Invalid, errs.New(errs.Invalid, format, args...), "policy: line %d", line)
}

func lineOf(t *token.Token) int {
	if t == nil || t.Position == nil {
		return 1
	}
	return t.Position.Line
}

// foreign turns an error of the YAML library into one line.
func foreign(err error) error {
	var known yaml.Error
	if errors.As(err, &known) {
		text, _, _ := strings.Cut(known.GetMessage(), "\n")
		return errs.New(errs.Invalid, "policy: line %d: %s", lineOf(known.GetToken()), text)
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return errs.New(errs.Invalid, "policy: %s", text)
}

// find returns the node of a field such as "files[3].access[1]", or the deepest above it that the
// file has.
func find(body ast.Node, field string) ast.Node {
	node := body
	for step := range strings.SplitSeq(strings.ReplaceAll(field, "[", ".["), ".") {
		next := child(node, step)
		if next == nil {
			return node
		}
		node = next
	}
	return node
}

// child returns the value under a key, or the item "[3]" of a list; nil where there is none.
func child(node ast.Node, step string) ast.Node {
	for _, pair := range pairs(node) {
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
