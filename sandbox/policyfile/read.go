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
	r.Fields(field, node, plainyaml.Takers{
		"allow": plainyaml.Into(&rule.Allow, r.Text), "deny": plainyaml.Into(&rule.Deny, r.Text),
		"note": plainyaml.Into(&rule.Note, r.Text)})
	return rule
}

func (r reader) fileRule(field string, node ast.Node) (rule sandbox.FileRule) {
	r.Fields(field, node, plainyaml.Takers{
		"allow": plainyaml.Into(&rule.Allow, r.Text), "deny": plainyaml.Into(&rule.Deny, r.Text),
		"access": plainyaml.Into(&rule.Access, r.texts(r.Text))})
	return rule
}

func (r reader) netRule(field string, node ast.Node) (rule sandbox.NetRule) {
	r.Fields(field, node, plainyaml.Takers{
		"allow": plainyaml.Into(&rule.Allow, r.Text), "deny": plainyaml.Into(&rule.Deny, r.Text),
		"ports":    plainyaml.Into(&rule.Ports, r.texts(r.port)),
		"protocol": plainyaml.Into(&rule.Protocol, r.Text),
		"act":      plainyaml.Into(&rule.Act, r.texts(r.Text))})
	return rule
}

// texts reads a list by a way to read its items.
func (r reader) texts(item func(string, ast.Node) string) func(string, ast.Node) []string {
	return func(field string, node ast.Node) []string {
		return plainyaml.List(r.File, field, node, item)
	}
}

// port reads a port or a range of them, which may stand there as a number.
func (r reader) port(field string, node ast.Node) string {
	if _, isNumber := node.(*ast.IntegerNode); isNumber {
		return node.GetToken().Value
	}
	return r.Text(field, node)
}
