package pack

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"surety/base/errs"
)

// parseYAML returns the one mapping that a file is. Nothing in it may read otherwise than it looks:
// no anchor, alias, tag, key without a value, or second document.
func parseYAML(data []byte) (ast.Node, error) {
	if len(data) > maxProject {
		return nil, errs.New(errs.TooLarge, "%s: %d bytes, the limit is %d", projectName, len(data),
			maxProject)
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
		return nil, errs.New(errs.Invalid, "%s: line 1: %d documents, not one", projectName, len(file.Docs))
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

// checkDepth refuses what would take the YAML library long: it takes time in the square of it.
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
			return errs.New(errs.Invalid, "%s: line %d: more than %d levels", projectName, line, maxDepth)
		}
	}
	return nil
}

// plainCheck finds the first node that has no place here.
type plainCheck struct{ err error }

// Visit looks at one node and goes on to those below it.
func (c *plainCheck) Visit(node ast.Node) ast.Visitor {
	if c.err != nil {
		return nil
	}
	switch node.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		c.err = at(node, "anchors, aliases and merges have no place here")
	case *ast.TagNode:
		c.err = at(node, "tags have no place here")
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
	return errs.New(errs.Invalid, "%s: line %d: %s", projectName, line, fmt.Sprintf(format, args...))
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
		return errs.New(errs.Invalid, "%s: line %d: %s", projectName, lineOf(known.GetToken()), text)
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return errs.New(errs.Invalid, "%s: %s", projectName, text)
}

// find returns the node of a field such as "layers[3].target", or the deepest above it that the file
// has.
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

// pairs returns the keys and values of a mapping, nil for another node.
func pairs(node ast.Node) []*ast.MappingValueNode {
	switch node := node.(type) {
	case *ast.MappingNode:
		return node.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{node}
	}
	return nil
}

// reader takes values from nodes and says nothing after the first error. It does not leave that to
// the YAML library, which would read a version 1.5 as 1 and a list as its text.
type reader struct{ err error }

func (r *reader) fail(node ast.Node, format string, args ...any) {
	if r.err == nil {
		r.err = at(node, format, args...)
	}
}

func (r *reader) mapping(field string, node ast.Node) []*ast.MappingValueNode {
	all := pairs(node)
	if mapping, ok := node.(*ast.MappingNode); all == nil && !(ok && len(mapping.Values) == 0) {
		r.fail(node, "%s: %s where keys are expected", field, sortOf(node))
	}
	return all
}

// list reads each item of a list; an empty one is nil, as one that is not there.
func list[T any](r *reader, field string, node ast.Node, item func(string, ast.Node) T) (out []T) {
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		r.fail(node, "%s: %s where a list is expected", field, sortOf(node))
		return nil
	}
	for i, value := range sequence.Values {
		if r.err != nil {
			return nil
		}
		out = append(out, item(fmt.Sprintf("%s[%d]", field, i), value))
	}
	return out
}

// text reads a string. What YAML takes for a number or a truth value has to stand in quotes.
func (r *reader) text(field string, node ast.Node) string {
	switch node := node.(type) {
	case *ast.StringNode:
		return node.Value
	case *ast.LiteralNode:
		return node.Value.Value
	}
	r.fail(node, "%s: %s where text is expected", field, sortOf(node))
	return ""
}

func (r *reader) flag(field string, node ast.Node) bool {
	if value, ok := node.(*ast.BoolNode); ok {
		return value.Value
	}
	r.fail(node, "%s: %s where true or false is expected", field, sortOf(node))
	return false
}

// number reads a whole number up to most.
func (r *reader) number(field string, node ast.Node, most uint64) uint64 {
	if _, isNumber := node.(*ast.IntegerNode); isNumber {
		n, err := strconv.ParseUint(node.GetToken().Value, 10, 64)
		if err == nil && n <= most {
			return n
		}
	}
	r.fail(node, "%s: %s where a whole number up to %d is expected", field, sortOf(node), most)
	return 0
}

// size reads bytes: a number, or one with k, m or g behind it.
func (r *reader) size(field string, node ast.Node) uint64 {
	value, isText := node.(*ast.StringNode)
	if !isText {
		return r.number(field, node, math.MaxInt64)
	}
	shift := strings.IndexByte("kmgt", lower(value.Value)) // the last letter
	if shift >= 0 {
		n, err := strconv.ParseUint(value.Value[:len(value.Value)-1], 10, 64)
		if shift = 10 * (shift + 1); err == nil && n <= math.MaxInt64>>shift {
			return n << shift
		}
	}
	r.fail(node, "%s: %.40q is no size: want bytes, or a whole number with k, m, g or t", field,
		value.Value)
	return 0
}

// lower is a text's last letter in lower case; 0 where there is none.
func lower(text string) byte {
	if text == "" {
		return 0
	}
	return strings.ToLower(text[len(text)-1:])[0]
}

// sortOf says for people what a node is.
func sortOf(node ast.Node) string {
	switch node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.BoolNode:
		return "a truth value"
	}
	if node == nil || node.GetToken() == nil {
		return "nothing"
	}
	return strconv.Quote(node.GetToken().Value)
}
