package node

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sys/access"
)

// value reads and shows one field. The same text means the same in the file, in the environment
// and on the command line.
type value interface {
	set(text string) error // kind Invalid, naming the text and the limit
	String() string        // what set accepts; "redacted" for a secret
	kind() string          // for help: what set accepts, in a word or two
}

// listed is a value of several texts: a sequence in a file, separated by commas elsewhere.
type listed interface{ setAll(texts []string) error }

func invalid(format string, args ...any) error { return errs.New(errs.Invalid, format, args...) }

type textValue struct {
	field       *string
	least, most int // length in bytes
}

func text(field *string, least, most int) value { return textValue{field, least, most} }

func (v textValue) set(text string) error {
	if len(text) < v.least || len(text) > v.most {
		return invalid("has %d bytes, want %d to %d", len(text), v.least, v.most)
	}
	*v.field = text
	return nil
}
func (v textValue) String() string { return *v.field }
func (v textValue) kind() string   { return "text" }

type listValue struct {
	field *[]string
	most  int // entries
}

func list(field *[]string, most int) value { return listValue{field, most} }

func (v listValue) set(text string) error {
	if text == "" {
		return v.setAll(nil)
	}
	return v.setAll(strings.Split(text, ","))
}

func (v listValue) setAll(texts []string) error {
	if len(texts) > v.most {
		return invalid("has %d entries, the limit is %d", len(texts), v.most)
	}
	entries := make([]string, len(texts))
	for i, text := range texts {
		entries[i] = strings.TrimSpace(text)
		if entries[i] == "" || len(entries[i]) > 255 {
			return invalid("entry %d has %d bytes, want 1 to 255", i+1, len(entries[i]))
		}
	}
	*v.field = entries
	return nil
}
func (v listValue) String() string { return strings.Join(*v.field, ",") }
func (v listValue) kind() string   { return "list" }

type toggleValue struct{ field *bool }

func toggle(field *bool) value { return toggleValue{field} }

func (v toggleValue) set(text string) error {
	switch text {
	case "true":
		*v.field = true
	case "false":
		*v.field = false
	default:
		return invalid("%q is not true or false", clip(text))
	}
	return nil
}
func (v toggleValue) String() string { return strconv.FormatBool(*v.field) }
func (v toggleValue) kind() string   { return "true or false" }

type wholeValue struct {
	field       *int64
	least, most int64
}

func whole(field *int64, least, most int64) value { return wholeValue{field, least, most} }

func (v wholeValue) set(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return invalid("%q is not a whole number", clip(text))
	}
	if n < v.least || n > v.most {
		return invalid("%d is not within %d to %d", n, v.least, v.most)
	}
	*v.field = n
	return nil
}
func (v wholeValue) String() string { return strconv.FormatInt(*v.field, 10) }
func (v wholeValue) kind() string {
	return strconv.FormatInt(v.least, 10) + " to " + strconv.FormatInt(v.most, 10)
}

type sizeValue struct {
	field       *int64
	least, most int64 // bytes
	zero        bool  // zero is allowed besides
}

func size(field *int64, least, most int64) value { return sizeValue{field, least, most, false} }
func sizeOrZero(field *int64, least, most int64) value {
	return sizeValue{field, least, most, true}
}

func (v sizeValue) set(text string) error {
	n, err := parseSize(text)
	if err != nil {
		return err
	}
	if (n < v.least || n > v.most) && !(v.zero && n == 0) {
		return invalid("%s is not within %s", clip(text), v.kind())
	}
	*v.field = n
	return nil
}
func (v sizeValue) String() string { return formatSize(*v.field) }
func (v sizeValue) kind() string {
	kind := formatSize(v.least) + " to " + formatSize(v.most)
	if v.zero {
		kind += ", or 0"
	}
	return kind
}

// sizeUnits stand from the greatest, so that formatSize takes the first that divides.
func sizeUnits() []sizeUnit {
	return []sizeUnit{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}
}

type sizeUnit struct {
	name  string
	bytes int64
}

// parseSize reads "64MiB", or a number of bytes.
func parseSize(text string) (int64, error) {
	factor := int64(1)
	digits := text
	for _, unit := range sizeUnits() {
		if rest, found := strings.CutSuffix(text, unit.name); found {
			factor, digits = unit.bytes, strings.TrimSpace(rest)
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/factor {
		return 0, invalid("%q is not a size such as 64MiB", clip(text))
	}
	return n * factor, nil
}

func formatSize(n int64) string {
	for _, unit := range sizeUnits() {
		if n != 0 && n%unit.bytes == 0 {
			return strconv.FormatInt(n/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(n, 10)
}

type spanValue struct {
	field       *clock.Duration
	least, most string
}

// span is a duration within bounds written as in the file.
func span(field *clock.Duration, least, most string) value { return spanValue{field, least, most} }

func (v spanValue) set(text string) error {
	d, err := parseDuration(text)
	if err != nil {
		return err
	}
	least, lowErr := parseDuration(v.least)
	most, highErr := parseDuration(v.most)
	if lowErr != nil || highErr != nil || d < least || d > most {
		return invalid("%s is not within %s", clip(text), v.kind())
	}
	*v.field = d
	return nil
}
func (v spanValue) String() string { return formatDuration(*v.field) }
func (v spanValue) kind() string   { return v.least + " to " + v.most }

func parseDuration(text string) (clock.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, invalid("%q is not a duration such as 1m30s", clip(text))
	}
	return clock.Duration(d), nil
}

// formatDuration leaves out what is zero: 24h and not 24h0m0s.
func formatDuration(d clock.Duration) string {
	text := time.Duration(d).String()
	if short, found := strings.CutSuffix(text, "m0s"); found {
		text = short + "m"
	}
	if short, found := strings.CutSuffix(text, "h0m"); found {
		text = short + "h"
	}
	return text
}

type choiceValue struct {
	field   *string
	choices []string
}

func choice(field *string, choices ...string) value { return choiceValue{field, choices} }

func (v choiceValue) set(text string) error {
	if !slices.Contains(v.choices, text) {
		return invalid("%q is not %s", clip(text), v.kind())
	}
	*v.field = text
	return nil
}
func (v choiceValue) String() string { return *v.field }
func (v choiceValue) kind() string {
	last := len(v.choices) - 1
	return strings.Join(v.choices[:last], ", ") + " or " + v.choices[last]
}

type addressValue struct {
	field *string
	empty bool // may be left empty
}

func address(field *string, empty bool) value { return addressValue{field, empty} }

func (v addressValue) set(text string) error {
	if text == "" && v.empty {
		*v.field = ""
		return nil
	}
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return invalid("%q is not host:port", clip(text))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 {
		return invalid("%q has port %q, want 0 to 65535", clip(text), clip(port))
	}
	*v.field = text
	return nil
}
func (v addressValue) String() string { return *v.field }
func (v addressValue) kind() string   { return "host:port" }

// Secret is a value that is never shown.
type Secret struct{ text string }

// Reveal returns the secret to what uses it; empty where none was set.
func (s Secret) Reveal() string { return s.text }

// String returns "redacted", or nothing where none was set.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return "redacted"
}

// GoString returns what String does.
func (s Secret) GoString() string { return s.String() }

// MarshalText returns what String does.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

type secretValue struct{ field *Secret }

func secret(field *Secret) value { return secretValue{field} }

func (v secretValue) set(text string) error {
	if text != "" {
		if _, err := access.ParseSecret(text); err != nil {
			return invalid("is not a token as \"surety access token create\" makes them")
		}
	}
	v.field.text = text
	return nil
}
func (v secretValue) String() string { return v.field.String() }
func (v secretValue) kind() string   { return "token" }

// clip keeps long texts out of messages.
func clip(text string) string {
	if len(text) > 80 {
		return text[:80] + "..."
	}
	return text
}
