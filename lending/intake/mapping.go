// Package intake reads loan applications from a CSV file through a mapping.
//
// A mapping is a YAML file that says, for each field of the application form, from which column or
// columns it comes; and, where the file serves a model of its own, which columns are that model's
// inputs. Mappings for two layouts are built in: "form", a column for each field, and "taiwan", the
// public file of card holders. A row that does not fit is reported with its number, column and
// reason, and the rest goes on.
//
// # Boundaries
//
// The package makes forms; whether a form is valid, and what becomes of it, is decided where all
// forms are. docs/reference/applications.md describes the mapping for users.
package intake

import (
	"embed"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"surety/base/errs"
)

//go:embed mappings/*.yaml
var builtIn embed.FS

// Mapping says how a file's columns become applications.
type Mapping struct {
	Name      string           `yaml:"name"`
	About     string           `yaml:"about"`
	Delimiter string           `yaml:"delimiter"` // one character; empty means a comma
	Product   string           `yaml:"product"`   // empty means the node's default product
	Model     string           `yaml:"model"`     // whose inputs Features are; empty for the form's own
	Form      map[string]Field `yaml:"form"`      // by field name of the form
	Features  []string         `yaml:"features"`  // columns that are inputs of the model
}

// Field says where one field of the form comes from: a constant, a text with {COLUMN} in it, or a
// number taken from one or several columns.
type Field struct {
	Constant string            `yaml:"constant"`
	Text     string            `yaml:"text"`
	Pad      int               `yaml:"pad"` // digits to which numbers in Text are filled with zeros
	Column   string            `yaml:"column"`
	Columns  []string          `yaml:"columns"`
	Take     string            `yaml:"take"`   // of several columns: max or sum
	Values   map[string]string `yaml:"values"` // replaces what stands in the column
	Times    int64             `yaml:"times"`  // zero means 1
	Floor    *int64            `yaml:"floor"`  // after Times
	Ceiling  *int64            `yaml:"ceiling"`
}

// formFields are the fields of the form, all of which a mapping must give.
var formFields = [...]string{
	"name", "id_number", "phone", "business_name", "months_in_business", "monthly_turnover",
	"employees", "existing_debt", "amount", "term_months", "purpose", "consent",
}

// Mappings returns the names of the built-in mappings.
func Mappings() []string { return []string{"form", "taiwan"} }

// LoadMapping returns a built-in mapping by name, or reads one from a file where the name ends in
// .yaml or .yml. Kind Invalid names the key or line that is wrong.
func LoadMapping(name string) (*Mapping, error) {
	data, err := readMapping(name)
	if err != nil {
		return nil, err
	}
	var m Mapping
	if err := yaml.UnmarshalWithOptions(data, &m, yaml.Strict()); err != nil {
		return nil, errs.As(errs.Invalid, err, "intake.mapping: %s", name)
	}
	if err := m.check(); err != nil {
		return nil, errs.Wrap(err, "intake.mapping: %s", name)
	}
	return &m, nil
}

func readMapping(name string) ([]byte, error) {
	if slices.Contains(Mappings(), name) {
		data, err := fs.ReadFile(builtIn, "mappings/"+name+".yaml")
		return data, errs.As(errs.Internal, err, "intake.mapping: %s", name)
	}
	if !strings.HasSuffix(name, ".yaml") && !strings.HasSuffix(name, ".yml") {
		return nil, errs.New(errs.Invalid, "intake.mapping: %q is neither built in (%s) nor a .yaml file",
			name, strings.Join(Mappings(), ", "))
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, errs.As(errs.NotFound, err, "intake.mapping")
	}
	if info.Size() > MappingMax {
		return nil, errs.New(errs.TooLarge, "intake.mapping: %s has %d bytes, the limit is %d",
			name, info.Size(), MappingMax)
	}
	data, err := os.ReadFile(name)
	return data, errs.As(errs.Forbidden, err, "intake.mapping")
}

func (m *Mapping) check() error {
	if m.Name == "" {
		return errs.New(errs.Invalid, "name must be given")
	}
	if len([]rune(m.Delimiter)) > 1 {
		return errs.New(errs.Invalid, "delimiter %q is not one character", m.Delimiter)
	}
	if len(m.Features) > featuresMax {
		return errs.New(errs.TooLarge, "%d features, the limit is %d", len(m.Features), featuresMax)
	}
	if len(m.Features) > 0 && m.Model == "" {
		return errs.New(errs.Invalid, "features are given and no model that they belong to")
	}
	for _, name := range formFields {
		f, given := m.Form[name]
		if !given {
			return errs.New(errs.Invalid, "form.%s is missing", name)
		}
		if err := f.check(); err != nil {
			return errs.Wrap(err, "form.%s", name)
		}
	}
	if len(m.Form) > len(formFields) {
		return errs.New(errs.Invalid, "form has fields besides %s", strings.Join(formFields[:], ", "))
	}
	return nil
}

func (f *Field) check() error {
	sources := 0
	for _, given := range []bool{f.Constant != "", f.Text != "", f.Column != "", len(f.Columns) > 0} {
		if given {
			sources++
		}
	}
	if sources != 1 {
		return errs.New(errs.Invalid, "give one of constant, text, column, columns; %d are given", sources)
	}
	if len(f.Columns) > 0 && f.Take != "max" && f.Take != "sum" {
		return errs.New(errs.Invalid, "take is %q, must be max or sum where columns are several", f.Take)
	}
	if f.Times < 0 || f.Times > timesMax {
		return errs.New(errs.Invalid, "times is %d, must be 0 to %d", f.Times, timesMax)
	}
	return nil
}

// columns returns every column the mapping reads.
func (m *Mapping) columns() []string {
	list := append([]string(nil), m.Features...)
	for _, name := range formFields {
		f := m.Form[name]
		list = append(list, placeholders(f.Text)...)
		list = append(list, f.Columns...)
		if f.Column != "" {
			list = append(list, f.Column)
		}
	}
	return list
}

// placeholders returns the names that stand in braces in a template.
func placeholders(template string) (names []string) {
	for {
		_, after, found := strings.Cut(template, "{")
		if !found {
			return names
		}
		name, rest, closed := strings.Cut(after, "}")
		if !closed {
			return names
		}
		names, template = append(names, name), rest
	}
}
