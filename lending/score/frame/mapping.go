package frame

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"surety/base/errs"
	"surety/lending/score"
)

// Mapping says what the columns of a data set mean.
type Mapping struct {
	Name      string          `yaml:"name"`
	Title     string          `yaml:"title"`
	Source    string          `yaml:"source"`    // where a user gets the data
	Synthetic bool            `yaml:"synthetic"` // the data is generated
	Delimiter string          `yaml:"delimiter"` // one byte; empty means a comma
	Missing   []string        `yaml:"missing"`   // texts, besides the empty one, for "not known"
	Target    Target          `yaml:"target"`
	Features  []Column        `yaml:"features"`
	Protected []Protected     `yaml:"protected"`
	Ignored   []string        `yaml:"ignored"` // known and not used, each for a reason in a comment
	Reasons   []ReasonMapping `yaml:"reasons"`

	digest [32]byte
}

// Target says how a row ended.
type Target struct {
	Column string `yaml:"column"`
	Good   string `yaml:"good"` // the text of a loan that was repaid
	Bad    string `yaml:"bad"`  // and of one that was not; any other text breaks the row
}

// Column is one feature.
type Column struct {
	Column   string            `yaml:"column"`
	Kind     score.FeatureKind `yaml:"kind"` // empty means numeric
	Decimals int               `yaml:"decimals"`
	Special  []int64           `yaml:"special"` // codes, not quantities: bins of their own in a card
	Trend    Trend             `yaml:"trend"`
	Reason   string            `yaml:"reason"` // a code of Reasons
}

// Trend says how a feature may move the score, where that is known beforehand. Trainers keep to it,
// so that no applicant is told that paying late less often would have made things worse.
type Trend string

// The trends.
const (
	TrendAny   Trend = ""      // the data decides
	TrendRises Trend = "rises" // a greater value never lowers the score
	TrendFalls Trend = "falls" // a greater value never raises the score
)

// Protected is a column that is kept aside for the fairness report.
type Protected struct {
	Column string            `yaml:"column"`
	Labels map[string]string `yaml:"labels"` // how a text is told; a text not listed is told as it is
	Bands  []int64           `yaml:"bands"`  // a number is told as a band: below the first, from each
}

// ReasonMapping is what an applicant is told under a code.
type ReasonMapping struct {
	Code     string `yaml:"code"`
	Sentence string `yaml:"sentence"`
}

//go:embed mappings/*.yaml
var shipped embed.FS

// Shipped returns the names of the mappings that ship with the program, in alphabetic order.
func Shipped() []string { return []string{"german", "lendingclub", "merchant", "taiwan"} }

// Ship returns a mapping that ships with the program; errs.NotFound if there is none of the name.
func Ship(name string) (*Mapping, error) {
	text, err := ShippedText(name)
	if err != nil {
		return nil, err
	}
	return ParseMapping(text)
}

// ShippedText returns the YAML of a mapping that ships, comments and all, as a start for a user's
// own; errs.NotFound if there is none of the name.
func ShippedText(name string) ([]byte, error) {
	if !slices.Contains(Shipped(), name) {
		return nil, errs.New(errs.NotFound, "frame.ship: no mapping %.40q ships; there are %s",
			name, strings.Join(Shipped(), ", "))
	}
	text, err := shipped.ReadFile("mappings/" + name + ".yaml")
	return text, errs.As(errs.Internal, err, "frame.ship: mapping %s", name)
}

// ParseMapping reads a mapping. It is errs.Invalid, naming the line where there is one, for an
// unknown or repeated key or a mapping that contradicts itself, and errs.TooLarge beyond the
// limits.
func ParseMapping(text []byte) (*Mapping, error) {
	if len(text) > MaxMappingBytes {
		return nil, errs.New(errs.TooLarge, "frame.mapping: %d bytes, limit %d", len(text),
			MaxMappingBytes)
	}
	if depth := nesting(text); depth > MaxMappingNesting {
		return nil, errs.New(errs.Invalid, "frame.mapping: brackets nest %d deep, limit %d", depth,
			MaxMappingNesting)
	}
	m := &Mapping{digest: sha256.Sum256(text)}
	if err := decodeYAML(text, m); err != nil {
		return nil, errs.As(errs.Invalid, err, "frame.mapping")
	}
	for i := range m.Features {
		if m.Features[i].Kind == "" {
			m.Features[i].Kind = score.Numeric
		}
	}
	if m.Delimiter == "" {
		m.Delimiter = ","
	}
	if err := m.check(); err != nil {
		return nil, errs.As(errs.Invalid, err, "frame.mapping: %.40q", m.Name)
	}
	slices.SortFunc(m.Reasons, func(a, b ReasonMapping) int { return strings.Compare(a.Code, b.Code) })
	return m, nil
}

// nesting returns how deep brackets nest in a text, quoted ones included.
func nesting(text []byte) int {
	deepest, depth := 0, 0
	for _, c := range text {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		}
		deepest = max(deepest, depth)
	}
	return deepest
}

// decodeYAML decodes strictly. The decoder panics on some texts that are not quite YAML (the corpus
// of FuzzParseMapping has one); to a caller such a text is invalid like any other.
func decodeYAML(text []byte, m *Mapping) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = errs.New(errs.Invalid, "the YAML cannot be decoded: %v", cause)
		}
	}()
	return yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(m)
}

// Digest returns the SHA-256 of the mapping's text in hexadecimal.
func (m *Mapping) Digest() string { return hex.EncodeToString(m.digest[:]) }

// check returns what is wrong with the mapping first.
func (m *Mapping) check() error {
	if m.Name == "" {
		return errs.New(errs.Invalid, "name is missing")
	}
	if d := m.Delimiter; len(d) != 1 || d == "\"" || d == "\n" || d == "\r" || d[0] >= 0x80 {
		return errs.New(errs.Invalid, "delimiter %q is not one plain character", d)
	}
	t := m.Target
	if t.Column == "" || t.Good == t.Bad {
		return errs.New(errs.Invalid, "target needs a column and two different values, not %q and %q",
			t.Good, t.Bad)
	}
	if len(m.Features) == 0 || len(m.Features) > score.MaxFeatures {
		return errs.New(errs.Invalid, "%d features, not 1 to %d", len(m.Features), score.MaxFeatures)
	}
	if err := m.checkReasons(); err != nil {
		return err
	}
	return m.checkColumns()
}

func (m *Mapping) checkReasons() error {
	known := map[string]bool{}
	for _, r := range m.Reasons {
		if r.Code == "" || r.Sentence == "" || known[r.Code] {
			return errs.New(errs.Invalid, "reason %q is empty or given twice", r.Code)
		}
		known[r.Code] = true
	}
	for _, f := range m.Features {
		if !known[f.Reason] {
			return errs.New(errs.Invalid, "feature %q has the reason %q, which is not listed",
				f.Column, f.Reason)
		}
	}
	return nil
}

// checkColumns holds every column to one role.
func (m *Mapping) checkColumns() error {
	role := map[string]string{m.Target.Column: "the target"}
	take := func(column, as string) error {
		if was, taken := role[column]; taken || column == "" {
			return errs.New(errs.Invalid, "column %q is %s and cannot also be %s", column, was, as)
		}
		role[column] = as
		return nil
	}
	for _, p := range m.Protected {
		if err := take(p.Column, "protected"); err != nil {
			return err
		}
		if len(p.Bands) > MaxBands || !ascending(p.Bands) {
			return errs.New(errs.Invalid, "column %q: bands %d are not ascending or above %d",
				p.Column, p.Bands, MaxBands)
		}
	}
	for _, f := range m.Features {
		if err := take(f.Column, "a feature"); err != nil {
			return err
		}
		if err := f.check(); err != nil {
			return err
		}
	}
	for _, column := range m.Ignored {
		if err := take(column, "ignored"); err != nil {
			return err
		}
	}
	return nil
}

func (c *Column) check() error {
	switch c.Trend {
	case TrendAny, TrendRises, TrendFalls:
	default:
		return errs.New(errs.Invalid, "feature %q has the unknown trend %q", c.Column, c.Trend)
	}
	switch c.Kind {
	case score.Numeric:
	case score.Categorical:
		if c.Decimals != 0 || len(c.Special) != 0 || c.Trend != TrendAny {
			return errs.New(errs.Invalid,
				"feature %q is categorical: decimals, special and trend mean nothing", c.Column)
		}
	default:
		return errs.New(errs.Invalid, "feature %q has the unknown kind %q", c.Column, c.Kind)
	}
	if c.Decimals < 0 || c.Decimals > score.MaxDecimals || !ascending(c.Special) {
		return errs.New(errs.Invalid, "feature %q has %d decimals (0 to %d), special values %d",
			c.Column, c.Decimals, score.MaxDecimals, c.Special)
	}
	return nil
}

// Feature returns the description of a feature as models hold it, as yet without levels.
func (c *Column) Feature() score.Feature {
	return score.Feature{Name: c.Column, Kind: c.Kind, Decimals: c.Decimals, Reason: c.Reason}
}

// ReasonTexts returns the reasons as models hold them, ascending by code.
func (m *Mapping) ReasonTexts() []score.ReasonText {
	texts := make([]score.ReasonText, len(m.Reasons))
	for i, r := range m.Reasons {
		texts[i] = score.ReasonText{Code: r.Code, Sentence: r.Sentence}
	}
	return texts
}

// isMissing reports whether a text stands for "not known".
func (m *Mapping) isMissing(text string) bool {
	return text == "" || slices.Contains(m.Missing, text)
}

func ascending(v []int64) bool {
	for i := 1; i < len(v); i++ {
		if v[i-1] >= v[i] {
			return false
		}
	}
	return true
}
