package oci

import (
	"flag"
	"io"
	"slices"
	"strings"

	"surety/base/errs"
)

const (
	// defaultRoot is where containers' state goes: it need not survive the machine.
	defaultRoot = "/run/" + Name
	// defaultTrails is where trails go: they have to.
	defaultTrails = "/var/lib/surety/trails"
	// specVersion is the version of the OCI runtime specification that is served.
	specVersion = "1.2.1"
)

// Lookup finds a variable of the environment, as os.LookupEnv does.
type Lookup func(name string) (value string, found bool)

// or is a variable's value, or what stands for it where it is absent or empty.
func (l Lookup) or(name, fallback string) string {
	if value, _ := l(name); value != "" {
		return value
	}
	return fallback
}

// trails is where trails are kept: SURETY_TRAILS, or the default.
func (l Lookup) trails() string { return l.or("SURETY_TRAILS", defaultTrails) }

func verbNames() string {
	var names []string
	for name := range verbs {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// flags are one command's, in the form runc takes them: -x and --x, before or after arguments.
type flags struct{ set *flag.FlagSet }

func newFlags(name string) *flags {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	return &flags{set}
}

func (f *flags) string(into *string, name, fallback string) *string {
	f.set.StringVar(into, name, fallback, "")
	return into
}

func (f *flags) bool(into *bool, names ...string) {
	for _, name := range names {
		f.set.BoolVar(into, name, false, "")
	}
}

// list is a flag that may be repeated.
func (f *flags) list(into *[]string, names ...string) {
	for _, name := range names {
		f.set.Func(name, "", func(value string) error {
			*into = append(*into, value)
			return nil
		})
	}
}

// ignored are flags that callers pass and that have no meaning here.
func (f *flags) ignored(names ...string) {
	for _, name := range names {
		f.set.BoolFunc(name, "", func(string) error { return nil })
	}
}

// parse returns the arguments. What follows the first argument that is no flag is left alone.
func (f *flags) parse(args []string) ([]string, error) {
	if err := f.set.Parse(args); err != nil {
		return nil, errs.New(errs.Invalid, "%v", err)
	}
	return f.set.Args(), nil
}

// mixed parses flags before and after arguments.
func (f *flags) mixed(args []string) (rest []string, err error) {
	for {
		left, err := f.parse(args)
		if err != nil {
			return nil, err
		}
		if len(left) == 0 {
			return rest, nil
		}
		rest, args = append(rest, left[0]), left[1:]
	}
}
