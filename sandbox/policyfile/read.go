package policyfile

import (
	"fmt"
	"strconv"

	"github.com/goccy/go-yaml/ast"

	"surety/sandbox"
)

// reader takes a policy from the nodes of its file and says nothing after the first error. It does
// not leave that to the YAML library, which would read 1.5 processes as one and a list as its text.
type reader struct{ err error }

func (r *reader) fail(node ast.Node, format string, args ...any) {
	if r.err == nil {
		r.err = at(node, format, args...)
	}
}

func (r *reader) policy(body ast.Node) (p sandbox.Policy) {
	for _, pair := range pairs(body) {
		key, value := pair.Key.GetToken().Value, pair.Value
		switch key {
		case "policy":
			p.Version = r.text(key, value)
		case "name":
			p.Name = r.text(key, value)
		case "mode":
			p.Mode = r.text(key, value)
		case "default":
			p.Default = r.text(key, value)
		case "audit":
			p.Audit = r.text(key, value)
		case "exec":
			p.Exec = list(r, key, value, r.execRule)
		case "files":
			p.Files = list(r, key, value, r.fileRule)
		case "network":
			p.Network = list(r, key, value, r.netRule)
		case "ptrace":
			p.Ptrace = r.text(key, value)
		case "setid":
			p.SetID = r.text(key, value)
		case "mount":
			p.Mount = r.text(key, value)
		case "exec-memory":
			p.ExecMemory = r.text(key, value)
		case "capabilities":
			p.Capabilities = list(r, key, value, r.text)
		case "processes":
			p.Processes = r.number(key, value)
		default:
			r.fail(pair.Key, "key %s is unknown", key)
		}
	}
	return p
}

func (r *reader) execRule(field string, node ast.Node) (rule sandbox.ExecRule) {
	r.rule(field, node, map[string]func(string, ast.Node){
		"allow": r.into(&rule.Allow), "deny": r.into(&rule.Deny), "note": r.into(&rule.Note)})
	return rule
}

func (r *reader) fileRule(field string, node ast.Node) (rule sandbox.FileRule) {
	r.rule(field, node, map[string]func(string, ast.Node){
		"allow": r.into(&rule.Allow), "deny": r.into(&rule.Deny),
		"access": r.listInto(&rule.Access, r.text)})
	return rule
}

func (r *reader) netRule(field string, node ast.Node) (rule sandbox.NetRule) {
	r.rule(field, node, map[string]func(string, ast.Node){
		"allow": r.into(&rule.Allow), "deny": r.into(&rule.Deny),
		"ports": r.listInto(&rule.Ports, r.port), "protocol": r.into(&rule.Protocol),
		"act": r.listInto(&rule.Act, r.text)})
	return rule
}

// rule gives the value of each key to what takes it.
func (r *reader) rule(field string, node ast.Node, takes map[string]func(string, ast.Node)) {
	for _, pair := range r.mapping(field, node) {
		key := pair.Key.GetToken().Value
		take, known := takes[key]
		if !known {
			r.fail(pair.Key, "key %s.%s is unknown", field, key)
			continue
		}
		take(field+"."+key, pair.Value)
	}
}

func (r *reader) into(text *string) func(string, ast.Node) {
	return func(field string, node ast.Node) { *text = r.text(field, node) }
}

func (r *reader) listInto(texts *[]string, item func(string, ast.Node) string) func(string, ast.Node) {
	return func(field string, node ast.Node) { *texts = list(r, field, node, item) }
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

func (r *reader) mapping(field string, node ast.Node) []*ast.MappingValueNode {
	all := pairs(node)
	if all == nil {
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

// port reads a port or a range of them, which may stand there as a number.
func (r *reader) port(field string, node ast.Node) string {
	if _, isNumber := node.(*ast.IntegerNode); isNumber {
		return node.GetToken().Value
	}
	return r.text(field, node)
}

func (r *reader) number(field string, node ast.Node) int {
	if _, isNumber := node.(*ast.IntegerNode); isNumber {
		n, err := strconv.Atoi(node.GetToken().Value)
		if err == nil {
			return n
		}
	}
	r.fail(node, "%s: %s where a whole number is expected", field, sortOf(node))
	return 0
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
