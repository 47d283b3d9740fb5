package policyfile

import (
	"github.com/goccy/go-yaml/ast"

	"surety/sandbox"
	"surety/sys/plainyaml"
)

// reader takes a policy from the nodes of its file.
type reader struct{ *plainyaml.File }

func (r reader) policy() (p sandbox.Policy) {
	for _, pair := range plainyaml.Pairs(r.Body) {
		key, value := pair.Key.GetToken().Value, pair.Value
		switch key {
		case "policy":
			p.Version = r.Text(key, value)
		case "name":
			p.Name = r.Text(key, value)
		case "mode":
			p.Mode = r.Text(key, value)
		case "default":
			p.Default = r.Text(key, value)
		case "audit":
			p.Audit = r.Text(key, value)
		case "exec":
			p.Exec = plainyaml.List(r.File, key, value, r.execRule)
		case "files":
			p.Files = plainyaml.List(r.File, key, value, r.fileRule)
		case "network":
			p.Network = plainyaml.List(r.File, key, value, r.netRule)
		case "ptrace":
			p.Ptrace = r.Text(key, value)
		case "setid":
			p.SetID = r.Text(key, value)
		case "mount":
			p.Mount = r.Text(key, value)
		case "exec-memory":
			p.ExecMemory = r.Text(key, value)
		case "capabilities":
			p.Capabilities = plainyaml.List(r.File, key, value, r.Text)
		case "processes":
			p.Processes = int(r.Signed(key, value))
		default:
			r.Fail(pair.Key, "key %s is unknown", key)
		}
	}
	return p
}

func (r reader) execRule(field string, node ast.Node) (rule sandbox.ExecRule) {
	r.rule(field, node, map[string]func(string, ast.Node){
		"allow": r.into(&rule.Allow), "deny": r.into(&rule.Deny), "note": r.into(&rule.Note)})
	return rule
}

func (r reader) fileRule(field string, node ast.Node) (rule sandbox.FileRule) {
	r.rule(field, node, map[string]func(string, ast.Node){
		"allow": r.into(&rule.Allow), "deny": r.into(&rule.Deny),
		"access": r.listInto(&rule.Access, r.Text)})
	return rule
}

func (r reader) netRule(field string, node ast.Node) (rule sandbox.NetRule) {
	r.rule(field, node, map[string]func(string, ast.Node){
		"allow": r.into(&rule.Allow), "deny": r.into(&rule.Deny),
		"ports": r.listInto(&rule.Ports, r.port), "protocol": r.into(&rule.Protocol),
		"act": r.listInto(&rule.Act, r.Text)})
	return rule
}

// rule gives the value of each key to what takes it.
func (r reader) rule(field string, node ast.Node, takes map[string]func(string, ast.Node)) {
	for _, pair := range r.Mapping(field, node) {
		key := pair.Key.GetToken().Value
		take, known := takes[key]
		if !known {
			r.Fail(pair.Key, "key %s.%s is unknown", field, key)
			continue
		}
		take(field+"."+key, pair.Value)
	}
}

func (r reader) into(text *string) func(string, ast.Node) {
	return func(field string, node ast.Node) { *text = r.Text(field, node) }
}

func (r reader) listInto(texts *[]string, item func(string, ast.Node) string) func(string, ast.Node) {
	return func(field string, node ast.Node) { *texts = plainyaml.List(r.File, field, node, item) }
}

// port reads a port or a range of them, which may stand there as a number.
func (r reader) port(field string, node ast.Node) string {
	if _, isNumber := node.(*ast.IntegerNode); isNumber {
		return node.GetToken().Value
	}
	return r.Text(field, node)
}
