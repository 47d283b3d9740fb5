package frame

import (
	"strings"
	"testing"

	"surety/base/errs"
	"surety/lending/score"
)

const small = `
name: small
target: {column: end, good: ok, bad: late}
missing: [NA]
features:
  - {column: income, decimals: 2, special: [-1], trend: rises, reason: R1}
  - {column: trade, kind: categorical, reason: R2}
protected:
  - {column: sex, labels: {"1": male}}
  - {column: age, bands: [30, 40]}
ignored: [id]
reasons:
  - {code: R2, sentence: The trade.}
  - {code: R1, sentence: The income.}
`

func parse(t testing.TB, text string) *Mapping {
	t.Helper()
	m, err := ParseMapping([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestParseMapping(t *testing.T) {
	m := parse(t, small)
	if m.Delimiter != "," || m.Features[0].Kind != score.Numeric || len(m.Digest()) != 64 {
		t.Errorf("defaults: delimiter %q, kind %q, digest %q", m.Delimiter, m.Features[0].Kind,
			m.Digest())
	}
	if texts := m.ReasonTexts(); texts[0].Code != "R1" || texts[1].Code != "R2" {
		t.Errorf("reasons are not in order: %v", texts)
	}
	if other := parse(t, small+"# a comment\n"); other.Digest() == m.Digest() {
		t.Error("another text has the same digest")
	}
}

func TestShippedMappings(t *testing.T) {
	for _, name := range Shipped() {
		m, err := Ship(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m.Name != name || m.Title == "" || m.Source == "" || len(m.Protected) == 0 {
			t.Errorf("%s: name %q, title %q, source %q, %d protected", name, m.Name, m.Title, m.Source,
				len(m.Protected))
		}
		used := map[string]bool{}
		for _, f := range m.Features {
			used[f.Reason] = true
		}
		for _, r := range m.Reasons {
			if !used[r.Code] {
				t.Errorf("%s: no feature has the reason %s", name, r.Code)
			}
		}
		if m.Synthetic != (name == "merchant") {
			t.Errorf("%s: synthetic is %v", name, m.Synthetic)
		}
	}
	if _, err := Ship("../limits"); !errs.Is(err, errs.NotFound) {
		t.Errorf("a mapping that does not ship: %v", err)
	}
}

// TestProtectedColumnsAreNoFeatures names what must never come back as a feature.
func TestProtectedColumnsAreNoFeatures(t *testing.T) {
	for name, columns := range map[string][]string{
		"taiwan":      {"SEX", "MARRIAGE", "AGE"},
		"german":      {"personal_status_and_sex", "foreign_worker", "age_in_years"},
		"lendingclub": {"addr_state"},
	} {
		m, err := Ship(name)
		if err != nil {
			t.Fatal(err)
		}
		kept := map[string]bool{}
		for _, p := range m.Protected {
			kept[p.Column] = true
		}
		for _, column := range columns {
			if !kept[column] {
				t.Errorf("%s: %s is not protected", name, column)
			}
			for _, f := range m.Features {
				if f.Column == column {
					t.Errorf("%s: %s is a feature", name, column)
				}
			}
		}
	}
}

func TestMappingRefusals(t *testing.T) {
	change := func(old, replacement string) string {
		changed := strings.Replace(small, old, replacement, 1)
		if changed == small {
			t.Fatalf("%q is not in the mapping", old)
		}
		return changed
	}
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "frame.mapping"},
		{"not YAML", "a: [", "frame.mapping"},
		{"deep brackets", "name: " + strings.Repeat("[", MaxMappingBytes-6), "brackets nest 65530 deep"},
		{"deep braces", "name: " + strings.Repeat("{a: ", MaxMappingBytes/4-2), "brackets nest 16382 deep"},
		{"an unknown key", change("ignored: [id]", "colour: red"), "colour"},
		{"an unknown key inside", change("decimals: 2", "digits: 2"), "digits"},
		{"a key twice", change("name: small", "name: small\nname: again"), "name"},
		{"no name", change("name: small", "name: ''"), "name is missing"},
		{"a delimiter of two", change("name: small", "name: small\ndelimiter: ';;'"), "delimiter"},
		{"a delimiter that quotes", change("name: small", "name: small\ndelimiter: '\"'"), "delimiter"},
		{"no target", change("column: end, ", ""), "target"},
		{"one end", change("bad: late", "bad: ok"), "two different values"},
		{"no features", "name: x\ntarget: {column: end, good: a, bad: b}", "0 features"},
		{"a reason twice", change("code: R2", "code: R1"), "given twice"},
		{"a reason not listed", change("reason: R2", "reason: R9"), `"R9", which is not listed`},
		{"protected and a feature", change("column: trade", "column: sex"), "is protected and cannot also be"},
		{"target and a feature", change("column: trade", "column: end"), "is the target and cannot"},
		{"ignored and protected", change("[id]", "[age]"), "is protected and cannot also be ignored"},
		{"a column without name", change("column: trade", "column: ''"), "cannot also be a feature"},
		{"bands that fall", change("[30, 40]", "[40, 30]"), "bands"},
		{"an unknown trend", change("rises", "sideways"), "unknown trend"},
		{"an unknown kind", change("categorical", "ordinal"), "unknown kind"},
		{"decimals of a category", change("kind: categorical", "kind: categorical, decimals: 1"), "mean nothing"},
		{"too many decimals", change("decimals: 2", "decimals: 10"), "10 decimals"},
		{"specials that fall", change("[-1]", "[1, -1]"), "special values"},
	} {
		_, err := ParseMapping([]byte(c.text))
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want invalid with %q", c.name, err, c.want)
		}
	}
	if _, err := ParseMapping(make([]byte, MaxMappingBytes+1)); !errs.Is(err, errs.TooLarge) {
		t.Errorf("a mapping too large: %v", err)
	}
}

// TestUnknownKeyNamesItsLine: a person mends a mapping by its line numbers.
func TestUnknownKeyNamesItsLine(t *testing.T) {
	_, err := ParseMapping([]byte("name: x\ntarget: {column: a, good: b, bad: c}\ncolour: red\n"))
	if err == nil || !strings.Contains(err.Error(), "3") {
		t.Errorf("got %v, want the line 3", err)
	}
}

func FuzzParseMapping(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte("name: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 4096 {
			return
		}
		if _, err := ParseMapping(text); err != nil && !errs.Is(err, errs.Invalid) {
			t.Fatalf("refused with %v", err)
		}
	})
}
