package lending

import (
	"strconv"

	"surety/base/errs"
)

// The enumerations of this package are stored by number and written by name. names[n] is the name
// of n; the empty name marks a number that is not used.

func enumText(names []string, n int) string {
	if n >= 0 && n < len(names) && names[n] != "" {
		return names[n]
	}
	return "unknown(" + strconv.Itoa(n) + ")"
}

func enumKnown(names []string, n int) bool { return n >= 0 && n < len(names) && names[n] != "" }

func enumMarshal(what string, names []string, n int) ([]byte, error) {
	if !enumKnown(names, n) {
		return nil, errs.New(errs.Invalid, "lending.%s: number %d is not known", what, n)
	}
	return []byte(names[n]), nil
}

func enumParse(what string, names []string, text string) (int, error) {
	for n, name := range names {
		if name == text && name != "" {
			return n, nil
		}
	}
	return 0, errs.New(errs.Invalid, "lending.%s: %q is not one of %s", what, clip(text),
		enumList(names))
}

func enumList(names []string) string {
	list := ""
	for _, name := range names {
		if name == "" {
			continue
		}
		if list != "" {
			list += ", "
		}
		list += name
	}
	return list
}

// clip keeps hostile text out of messages.
func clip(text string) string {
	if len(text) > 40 {
		return text[:40] + "..."
	}
	return text
}
