package plainyaml

import (
	"fmt"
	"strconv"

	"github.com/goccy/go-yaml/ast"
)

// Err is the first error of what was read; nothing that was read counts where it is not nil.
func (f *File) Err() error { return f.err }

// Fail notes an error at a node, where there is none yet.
func (f *File) Fail(node ast.Node, format string, args ...any) {
	if f.err == nil {
		f.err = f.At(node, format, args...)
	}
}

// Mapping reads keys and their values.
func (f *File) Mapping(field string, node ast.Node) []*ast.MappingValueNode {
	all := Pairs(node)
	if mapping, ok := node.(*ast.MappingNode); all == nil && !(ok && len(mapping.Values) == 0) {
		f.Fail(node, "%s: %s where keys are expected", field, SortOf(node))
	}
	return all
}

// Takers are what take the values of a mapping's keys, under their full names.
type Takers map[string]func(field string, node ast.Node)

// Fields gives the value of each key of a mapping, under the key's full name, to what takes it; a key
// that nothing takes is an error.
func (f *File) Fields(field string, node ast.Node, takes Takers) {
	for _, pair := range f.Mapping(field, node) {
		key := pair.Key.GetToken().Value
		take, known := takes[key]
		if !known {
			f.Fail(pair.Key, "key %s.%s is unknown", field, key)
			continue
		}
		take(field+"."+key, pair.Value)
	}
}

// Into takes a value by a way to read it.
func Into[T any](to *T, read func(string, ast.Node) T) func(string, ast.Node) {
	return func(field string, node ast.Node) { *to = read(field, node) }
}

// List reads each item of a list; an empty one is nil, as one that is not there.
func List[T any](f *File, field string, node ast.Node, item func(string, ast.Node) T) (out []T) {
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		f.Fail(node, "%s: %s where a list is expected", field, SortOf(node))
		return nil
	}
	for i, value := range sequence.Values {
		if f.err != nil {
			return nil
		}
		out = append(out, item(fmt.Sprintf("%s[%d]", field, i), value))
	}
	return out
}

// Text reads a string. What YAML takes for a number or a truth value has to stand in quotes.
func (f *File) Text(field string, node ast.Node) string {
	switch node := node.(type) {
	case *ast.StringNode:
		return node.Value
	case *ast.LiteralNode:
		return node.Value.Value
	}
	f.Fail(node, "%s: %s where text is expected", field, SortOf(node))
	return ""
}

// Flag reads a truth value.
func (f *File) Flag(field string, node ast.Node) bool {
	if value, ok := node.(*ast.BoolNode); ok {
		return value.Value
	}
	f.Fail(node, "%s: %s where true or false is expected", field, SortOf(node))
	return false
}

// Number reads a whole number from 0 to most.
func (f *File) Number(field string, node ast.Node, most uint64) uint64 {
	if _, isNumber := node.(*ast.IntegerNode); isNumber {
		n, err := strconv.ParseUint(node.GetToken().Value, 10, 64)
		if err == nil && n <= most {
			return n
		}
	}
	f.Fail(node, "%s: %s where a whole number up to %d is expected", field, SortOf(node), most)
	return 0
}

// Signed reads a whole number of 64 bits; what it may be is the caller's to say.
func (f *File) Signed(field string, node ast.Node) int64 {
	if _, isNumber := node.(*ast.IntegerNode); isNumber {
		n, err := strconv.ParseInt(node.GetToken().Value, 10, 64)
		if err == nil {
			return n
		}
	}
	f.Fail(node, "%s: %s where a whole number is expected", field, SortOf(node))
	return 0
}

// SortOf says for people what a node is.
func SortOf(node ast.Node) string {
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
