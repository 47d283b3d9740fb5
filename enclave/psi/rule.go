package psi

import (
	"strings"
	"unicode/utf8"

	"surety/base/errs"
)

// Rule says how ids are made equal before they are compared. Both parties use the same.
type Rule string

// The rules.
const (
	Exact  Rule = "exact"  // byte for byte
	Text   Rule = "text"   // lower case, one space for any white space, none around it
	Digits Rule = "digits" // the decimal digits alone: telephone and document numbers
)

// Known reports whether it is one of the rules.
func (r Rule) Known() bool { return r == Exact || r == Text || r == Digits }

// All returns the ids as they are compared. It is errs.Invalid, with the number of the row, where
// one is empty, no UTF-8, too long, or equal to another: an error never shows an id.
func (r Rule) All(ids []string) ([]string, error) {
	if !r.Known() {
		return nil, errs.New(errs.Invalid, "psi.rule: %.40q is none of exact, text, digits", string(r))
	}
	normal := make([]string, len(ids))
	rows := make(map[string]int, len(ids))
	for row, id := range ids {
		if len(id) > MaxID || !utf8.ValidString(id) {
			return nil, errs.New(errs.Invalid, "psi.rule: row %d: an id of %d bytes, limit %d, or no UTF-8",
				row, len(id), MaxID)
		}
		normal[row] = r.one(id)
		if normal[row] == "" {
			return nil, errs.New(errs.Invalid, "psi.rule: row %d: nothing is left of the id", row)
		}
		if before, found := rows[normal[row]]; found {
			return nil, errs.New(errs.Invalid, "psi.rule: rows %d and %d have the same id", before, row)
		}
		rows[normal[row]] = row
	}
	return normal, nil
}

// one returns one id as it is compared.
func (r Rule) one(id string) string {
	switch r {
	case Text:
		return strings.Join(strings.Fields(strings.ToLower(id)), " ")
	case Digits:
		return strings.Map(func(c rune) rune {
			if c < '0' || c > '9' {
				return -1
			}
			return c
		}, id)
	}
	return id
}
