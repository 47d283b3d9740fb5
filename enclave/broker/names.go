package broker

import (
	"strings"

	"surety/base/errs"
	"surety/enclave"
)

// anyName in a pattern stands for every name.
const anyName = "*"

// checkTenant takes a tenant's name: [a-z0-9][a-z0-9._-]{0,63}.
func checkTenant(name string) error {
	if !isName(name, false) {
		return errs.New(errs.Invalid, "tenant is %.80q, want 1 to %d of a-z, 0-9, point, dash and "+
			"underscore, the first a letter or digit", name, enclave.MaxName)
	}
	return nil
}

// checkNames takes the names of a secret: a tenant's, with capitals besides.
func checkNames(kind, tag string) error {
	for _, name := range [...]struct{ what, text string }{{"type", kind}, {"tag", tag}} {
		if !isName(name.text, true) {
			return errs.New(errs.Invalid, "%s is %.80q, want 1 to %d letters, digits, points, dashes and "+
				"underscores, the first a letter or digit", name.what, name.text, enclave.MaxName)
		}
	}
	return nil
}

func isName(text string, capitals bool) bool {
	if text == "" || len(text) > enclave.MaxName {
		return false
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		plain := c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || capitals && c >= 'A' && c <= 'Z'
		if !plain && (i == 0 || c != '.' && c != '-' && c != '_') {
			return false
		}
	}
	return true
}

// checkPattern takes KIND/TAG, each a name or "*".
func checkPattern(pattern string) error {
	kind, tag, found := strings.Cut(pattern, "/")
	if kind == anyName {
		kind = "any"
	}
	if tag == anyName {
		tag = "any"
	}
	if !found || checkNames(kind, tag) != nil {
		return errs.New(errs.Invalid, "pattern is %.160q, want TYPE/TAG, each a name or *", pattern)
	}
	return nil
}

// patternsOf lists the patterns that match a resource, the most exact first.
func patternsOf(kind, tag string) [4]string {
	return [...]string{kind + "/" + tag, kind + "/" + anyName, anyName + "/" + tag,
		anyName + "/" + anyName}
}
