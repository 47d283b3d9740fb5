package pack

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"surety/base/errs"
	"surety/enclave"
	"surety/sandbox/policyfile"
	"surety/sys/plainyaml"
)

// Names in a project.
const (
	projectName = "enclave.yaml"
	rootName    = "root"
	secretsName = "secrets"
	keysName    = "keys"
	buildName   = "build"
	signerName  = "signer.pem"
	policyName  = "policy.yaml"
)

// Project is a directory that an enclave is built of:
//
//	enclave.yaml     what it is: see docs/reference/enclave-bundle.md
//	root/            the files of the public layer, which is the root file system
//	secrets/NAME/    the files of the secret layer NAME
//	layers/NAME/     the files of a further public layer
//	keys/            signer.pem and NAME.key, its user's alone
//	build/           the bundle
type Project struct {
	Dir      string
	Name     string
	Product  string
	SVN      uint64
	Debug    bool
	Command  []string
	Entries  []string
	Env      []string
	EnvNames []string
	Cwd      string
	UID, GID uint32
	Args     bool
	Policy   string // a file of the project; empty for none
	Network  string
	Shown    []enclave.Shown
	Overlay  bool
	Limits   enclave.Limits
	State    []enclave.State
	Brokers  []enclave.Broker
	Contract enclave.Digest
	Owners   string // root, or keep
	Layers   []ProjectLayer

	file *plainyaml.File
}

// ProjectLayer is a layer besides the root.
type ProjectLayer struct {
	Name   string
	Kind   enclave.LayerKind
	Target string
	Key    string // where a secret one's key will be asked for
}

// LoadProject reads a project's enclave.yaml. Kinds NotFound, TooLarge, and Invalid with the line of
// what is wrong.
func LoadProject(dir string) (*Project, error) {
	data, err := readSmall(filepath.Join(dir, projectName), maxProject)
	if err != nil {
		return nil, errs.Wrap(err, "pack.project")
	}
	p, err := parseProject(data)
	if err != nil {
		return nil, errs.Wrap(err, "pack.project: %s", dir)
	}
	p.Dir = dir
	return p, nil
}

// parseProject reads the file's form, fills in what it leaves open, and checks what can be checked
// without the files.
func parseProject(data []byte) (*Project, error) {
	file, err := plainyaml.Parse(projectName, data, maxProject)
	if err != nil {
		return nil, err
	}
	r := reader{file}
	p := &Project{SVN: 1, Cwd: "/", Network: enclave.NetworkNone, Owners: "root", file: file}
	for _, pair := range plainyaml.Pairs(file.Body) {
		p.read(r, pair)
	}
	if r.Err() != nil {
		return nil, r.Err()
	}
	if p.Name == "" {
		return nil, file.At(file.Body, "key name is missing")
	}
	if p.Product == "" {
		p.Product = p.Name
	}
	if p.Owners != "root" && p.Owners != "keep" {
		return nil, file.At(file.Find("owners"), "owners: %.40q, want root or keep", p.Owners)
	}
	return p, p.complete()
}

// read takes one key of the file.
func (p *Project) read(r reader, pair *ast.MappingValueNode) {
	key, value := pair.Key.GetToken().Value, pair.Value
	switch key {
	case "name":
		p.Name = r.Text(key, value)
	case "product":
		p.Product = r.Text(key, value)
	case "svn":
		p.SVN = r.Number(key, value, math.MaxUint64)
	case "debug":
		p.Debug = r.Flag(key, value)
	case "command":
		p.Command = plainyaml.List(r.File, key, value, r.Text)
	case "entries":
		p.Entries = plainyaml.List(r.File, key, value, r.Text)
	case "env":
		p.Env = plainyaml.List(r.File, key, value, r.Text)
	case "env_names":
		p.EnvNames = plainyaml.List(r.File, key, value, r.Text)
	case "cwd":
		p.Cwd = r.Text(key, value)
	case "uid":
		p.UID = uint32(r.Number(key, value, math.MaxUint32))
	case "gid":
		p.GID = uint32(r.Number(key, value, math.MaxUint32))
	case "args":
		p.Args = r.Flag(key, value)
	default:
		p.readRest(r, pair)
	}
}

// readRest takes the keys of what stands around the program.
func (p *Project) readRest(r reader, pair *ast.MappingValueNode) {
	key, value := pair.Key.GetToken().Value, pair.Value
	switch key {
	case "policy":
		p.Policy = r.Text(key, value)
	case "network":
		p.Network = r.Text(key, value)
	case "shown":
		p.Shown = plainyaml.List(r.File, key, value, r.shown)
	case "overlay":
		p.Overlay = r.Flag(key, value)
	case "limits":
		p.Limits = r.limits(key, value)
	case "state":
		p.State = plainyaml.List(r.File, key, value, r.state)
	case "brokers":
		p.Brokers = plainyaml.List(r.File, key, value, r.broker)
	case "contract":
		if err := p.Contract.UnmarshalText([]byte(r.Text(key, value))); err != nil {
			r.Fail(value, "contract: want sha384: and 96 hexadecimal digits")
		}
	case "owners":
		p.Owners = r.Text(key, value)
	case "layers":
		p.Layers = plainyaml.List(r.File, key, value, r.layer)
	default:
		r.Fail(pair.Key, "key %s is unknown", key)
	}
}

func (r reader) shown(field string, node ast.Node) (s enclave.Shown) {
	s.ReadOnly = true
	r.Fields(field, node, plainyaml.Takers{"target": plainyaml.Into(&s.Target, r.Text),
		"read_only": plainyaml.Into(&s.ReadOnly, r.Flag)})
	return s
}

func (r reader) limits(field string, node ast.Node) (l enclave.Limits) {
	count := func(field string, node ast.Node) uint64 { return r.Number(field, node, math.MaxUint32) }
	r.Fields(field, node, plainyaml.Takers{"memory": plainyaml.Into(&l.Memory, r.size),
		"cpu": plainyaml.Into(&l.CPU, count), "processes": plainyaml.Into(&l.Processes, count)})
	return l
}

func (r reader) state(field string, node ast.Node) (s enclave.State) {
	s.Broker = enclave.LocalBroker
	r.Fields(field, node, plainyaml.Takers{"name": plainyaml.Into(&s.Name, r.Text),
		"target": plainyaml.Into(&s.Target, r.Text), "bytes": plainyaml.Into(&s.Bytes, r.size),
		"broker": plainyaml.Into(&s.Broker, r.Text)})
	return s
}

func (r reader) broker(field string, node ast.Node) (b enclave.Broker) {
	r.Fields(field, node, plainyaml.Takers{"name": plainyaml.Into(&b.Name, r.Text),
		"key": func(field string, node ast.Node) {
			if err := b.Key.UnmarshalText([]byte(r.Text(field, node))); err != nil {
				r.Fail(node, "%s: want 64 hexadecimal digits, the SHA-256 of a key", field)
			}
		}})
	return b
}

func (r reader) layer(field string, node ast.Node) (l ProjectLayer) {
	l.Kind = enclave.Secret
	kind := func(field string, node ast.Node) enclave.LayerKind {
		return enclave.LayerKind(r.Text(field, node))
	}
	r.Fields(field, node, plainyaml.Takers{"name": plainyaml.Into(&l.Name, r.Text),
		"kind": plainyaml.Into(&l.Kind, kind), "target": plainyaml.Into(&l.Target, r.Text),
		"key": plainyaml.Into(&l.Key, r.Text)})
	return l
}

// complete fills in where keys are asked for, and the local broker where it is meant and not named.
func (p *Project) complete() error {
	local := false
	for i := range p.Layers {
		l := &p.Layers[i]
		if l.Kind == enclave.Secret && l.Key == "" {
			l.Key = strings.Join([]string{enclave.LocalBroker, p.Name, "layer-key", l.Name}, "/")
		}
		local = local || strings.HasPrefix(l.Key, enclave.LocalBroker+"/")
	}
	for _, s := range p.State {
		local = local || s.Broker == enclave.LocalBroker
	}
	for _, b := range p.Brokers {
		local = local && b.Name != enclave.LocalBroker
	}
	if local {
		p.Brokers = append(p.Brokers, enclave.Broker{Name: enclave.LocalBroker})
	}
	m := p.bare()
	if len(m.Command) == 0 {
		m.Command = []string{"/"} // what add fills in
	}
	return p.located(rehearse(m, p.parts()))
}

// located gives an error of the manifest the line in the project's file.
func (p *Project) located(err error) error {
	var wrong *enclave.FieldError
	if !errors.As(err, &wrong) {
		return err
	}
	field := wrong.Field
	for i := range p.Layers { // the manifest's first is the root
		was, is := fmt.Sprintf("layers[%d]", i+1), fmt.Sprintf("layers[%d]", i)
		if rest, found := strings.CutPrefix(field, was); found {
			field = is + rest
			break
		}
	}
	located := p.file.At(p.file.Find(field), "%s: %s", field, wrong.Text)
	return errs.New(errs.KindOf(err), "%s", located.Error())
}

// bare is the manifest without layers and policy.
func (p *Project) bare() enclave.Manifest {
	m := enclave.Manifest{Format: enclave.FormatNow, Name: p.Name, Product: p.Product, SVN: p.SVN,
		Debug: p.Debug, Command: p.Command, Entries: p.Entries, Env: p.Env, EnvNames: p.EnvNames, Cwd: p.Cwd,
		UID: p.UID, GID: p.GID, Args: p.Args, Network: p.Network, Shown: p.Shown, Overlay: p.Overlay,
		Limits: p.Limits, State: p.State, Brokers: p.Brokers, Contract: p.Contract}
	return *m.Clone()
}

// Manifest returns the manifest without its layers. Kind Invalid where the command is missing, or
// the policy's file is no policy, with its line.
func (p *Project) Manifest() (enclave.Manifest, error) {
	m := p.bare()
	if len(m.Command) == 0 {
		return m, errs.Wrap(p.file.At(p.file.Find("command"), "command is missing: say what to run, such as "+
			"command: [/bin/%s]", p.Name), "pack.project: %s", p.Dir)
	}
	if p.Policy == "" {
		return m, nil
	}
	if !filepath.IsLocal(p.Policy) {
		return m, p.file.At(p.file.Find("policy"), "policy: %.80q is no file of the project", p.Policy)
	}
	var err error
	if m.Policy, err = readSmall(filepath.Join(p.Dir, p.Policy), enclave.MaxPolicy); err == nil {
		_, _, err = policyfile.Compile(m.Policy)
	}
	return m, errs.Wrap(err, "pack.project: %s", filepath.Join(p.Dir, p.Policy))
}

// parts are the layers, without the keys of secret ones.
func (p *Project) parts() []Part {
	keep := p.Owners == "keep"
	all := []Part{{Name: rootName, Kind: enclave.Public, Target: "/", Dir: filepath.Join(p.Dir, rootName),
		Owners: keep}}
	for _, l := range p.Layers {
		part := Part{Name: l.Name, Kind: l.Kind, Target: l.Target, Owners: keep, Dir: p.layerDir(&l)}
		if l.Kind == enclave.Secret {
			part.KeyRef = l.Key
		}
		all = append(all, part)
	}
	return all
}

func (p *Project) layerDir(l *ProjectLayer) string {
	if l.Kind == enclave.Secret {
		return filepath.Join(p.Dir, secretsName, l.Name)
	}
	return filepath.Join(p.Dir, layersName, l.Name)
}

// BundlePath is where the project's bundle is built.
func (p *Project) BundlePath() string { return filepath.Join(p.Dir, buildName) }

// SignerPath is where the project's own signing key is.
func (p *Project) SignerPath() string { return filepath.Join(p.Dir, keysName, signerName) }

// LayerKeyPath is where the key of a secret layer is.
func (p *Project) LayerKeyPath(name string) string {
	return filepath.Join(p.Dir, keysName, name+".key")
}

// IsProject reports whether a directory is a project.
func IsProject(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, projectName))
	return err == nil && info.Mode().IsRegular()
}
