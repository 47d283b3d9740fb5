package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"surety/base/errs"
	"surety/node"
)

// source gathers a configuration from a command's flags, the environment and a file.
type source struct {
	env   *Env
	flags *pflag.FlagSet
	file  string
	set   []string          // --set path=value
	bound map[string]string // flag name to setting path
}

// configFlags adds --config and --set, and the flags that shortcuts name: each is a flag for one
// setting, with the setting's own help and default.
func configFlags(env *Env, flags *pflag.FlagSet, shortcuts ...shortcut) *source {
	s := &source{env: env, flags: flags, bound: map[string]string{}}
	flags.StringVar(&s.file, "config", "", "YAML file with settings (SURETY_CONFIG; default: none)")
	flags.StringArrayVar(&s.set, "set", nil, "one setting, as section.key=value; may be repeated")
	for _, short := range shortcuts {
		s.bind(short)
	}
	return s
}

// shortcut is a flag that sets one setting.
type shortcut struct {
	flag string
	path string
}

func (s *source) bind(short shortcut) {
	setting, known := node.Known(short.path)
	if !known {
		panic("cli: flag --" + short.flag + " is bound to no setting")
	}
	usage := setting.About
	if !strings.Contains(setting.Kind, " or ") {
		usage += " (" + setting.Kind + ")"
	}
	flag := s.flags.VarPF(&settingFlag{text: setting.Value}, short.flag, "", usage)
	if setting.Kind == "true or false" {
		flag.NoOptDefVal = "true"
	}
	s.bound[short.flag] = short.path
}

// load returns the configuration that was asked for. A mistake in it is of kind Invalid.
func (s *source) load() (*node.Effective, error) {
	in := node.Inputs{FileName: s.fileName(), LookupEnv: s.env.LookupEnv}
	if in.FileName != "" {
		data, err := readConfig(in.FileName)
		if err != nil {
			return nil, err
		}
		in.File = data
	}
	s.flags.Visit(func(flag *pflag.Flag) {
		if path, bound := s.bound[flag.Name]; bound {
			in.Overrides = append(in.Overrides, node.Override{
				Path: path, Value: flag.Value.String(), Flag: "--" + flag.Name,
			})
		}
	})
	for _, text := range s.set {
		path, value, found := strings.Cut(text, "=")
		if !found {
			return nil, errs.New(errs.Invalid, "--set %q is not section.key=value", text)
		}
		in.Overrides = append(in.Overrides, node.Override{Path: path, Value: value, Flag: "--set"})
	}
	return node.Load(in)
}

func (s *source) fileName() string {
	if s.file != "" {
		return s.file
	}
	return s.env.Getenv("SURETY_CONFIG")
}

// readConfig reads a configuration file.
func readConfig(name string) ([]byte, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fileError(err, "configuration file")
	}
	return data, nil
}

// fileError gives an error about a file that the caller named its kind; what names the file's role.
func fileError(err error, what string) error {
	kind := errs.Internal
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = errs.NotFound
	case errors.Is(err, fs.ErrPermission):
		kind = errs.Forbidden
	}
	var at *fs.PathError
	if errors.As(err, &at) {
		return errs.As(kind, at.Err, "%s %s", what, at.Path)
	}
	return errs.As(kind, err, "%s", what)
}

// settingFlag is the text of a setting; node checks it, so that a mistake reads the same wherever
// it was made.
type settingFlag struct{ text string }

// Set implements pflag.Value.
func (f *settingFlag) Set(text string) error {
	f.text = text
	return nil
}

// String implements pflag.Value.
func (f *settingFlag) String() string { return f.text }

// Type implements pflag.Value; help shows the setting's own kind instead.
func (f *settingFlag) Type() string { return "value" }

// problems writes each mistake of a configuration on its own line, and returns their number; zero
// where err holds none.
func (e *Env) problems(err error) int {
	var all node.Problems
	if !errors.As(err, &all) {
		return 0
	}
	for _, p := range all {
		fmt.Fprintln(e.Stderr, p)
	}
	return len(all)
}
