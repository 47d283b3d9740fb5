package pack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"surety/base/errs"
	"surety/enclave"
	"surety/sys/entropy"
)

// NewOrder says what a new project begins with.
type NewOrder struct {
	Dir     string
	Name    string   // empty: the directory's
	Command []string // empty: the first program that is added
	Random  entropy.Source
}

// etc is what programs expect to find of users and names, and nothing more.
var etc = [...]struct{ name, content string }{
	{"passwd", "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"},
	{"group", "root:x:0:\nnogroup:x:65534:\n"},
	{"hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n"},
	{"nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"},
	{"resolv.conf", ""},
}

// NewProject makes a project: its file, a root with a few files in etc, and a signing key. Kind Exists
// where the directory has something in it already; nothing is changed then.
func NewProject(o NewOrder) (*Project, error) {
	if o.Name == "" {
		whole, err := filepath.Abs(o.Dir)
		if err != nil {
			return nil, fileError(err, "pack.new")
		}
		o.Name = filepath.Base(whole)
	}
	text := template(o)
	if _, err := parseProject([]byte(text)); err != nil {
		return nil, errs.Wrap(err, "pack.new: a project named %q", o.Name)
	}
	entries, err := os.ReadDir(o.Dir)
	if len(entries) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
		if err == nil {
			err = errs.New(errs.Exists, "it has %q in it already", entries[0].Name())
		}
		return nil, fileError(err, "pack.new: %s", o.Dir)
	}
	if err := o.write(text); err != nil {
		return nil, fileError(err, "pack.new: %s", o.Dir)
	}
	return LoadProject(o.Dir)
}

func (o NewOrder) write(text string) error {
	if err := os.MkdirAll(filepath.Join(o.Dir, rootName, "etc"), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(o.Dir, secretsName), 0o700); err != nil {
		return err
	}
	for _, file := range etc {
		path := filepath.Join(o.Dir, rootName, "etc", file.name)
		if err := writeText(path, file.content); err != nil {
			return err
		}
	}
	// The modes count: whoever has another umask gets the same.
	for _, dir := range [...]string{rootName, filepath.Join(rootName, "etc")} {
		if err := os.Chmod(filepath.Join(o.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	ignored := fmt.Sprintf("/%s/\n/%s/\n/%s/\n", keysName, secretsName, buildName)
	if err := writeText(filepath.Join(o.Dir, ".gitignore"), ignored); err != nil {
		return err
	}
	random := o.Random
	if random == nil {
		random = entropy.System()
	}
	_, err := NewKey(filepath.Join(o.Dir, keysName, signerName), func(b []byte) error {
		random.Fill(b)
		return nil
	})
	if err != nil {
		return err
	}
	return writeText(filepath.Join(o.Dir, projectName), text)
}

func writeText(path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		return err
	}
	return os.Chmod(path, 0o644)
}

// envNew is the environment of a new project.
const envNew = "PATH=/bin:/usr/bin"

// template is the file of a new project.
func template(o NewOrder) string {
	return fmt.Sprintf(`# An enclave: everything here is measured. docs/reference/enclave-bundle.md describes each key.
name: %s
product: %s
svn: 1          # raise it when an older build must not be trusted any more
debug: false    # true: whoever runs it may look inside, and no policy takes it that does not say so

command: %s
env: [%s]
cwd: /

network: none   # or stack: a network of its own, under the policy
# policy: %s

layers: []
`, quote(o.Name), quote(o.Name), flow(o.Command), envNew, policyName)
}

// flow writes a list on one line.
func flow(list []string) string {
	quoted := make([]string, len(list))
	for i, text := range list {
		quoted[i] = quote(text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// quote writes a text as YAML reads it back, without quotation marks where it needs none.
func quote(text string) string {
	plain := text != "" && (text[0] == '/' || 'a' <= text[0] && text[0] <= 'z') &&
		strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") == ""
	switch text {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		plain = false
	}
	if plain {
		return text
	}
	return strconv.Quote(text)
}

// checkLayerName checks whether a text may name a layer.
func checkLayerName(name string) error {
	if !enclave.ValidName(name) || name == rootName {
		return errs.New(errs.Invalid, "pack.add: %.80q is no name of a layer: want lower-case letters, "+
			"digits, . and -, and not %s", name, rootName)
	}
	return nil
}
