package broker

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"surety/base/errs"
)

// canonical returns a JSON value in its one form (RFC 8785): members sorted, no space, the shortest
// escapes. It takes what guests' runtime data consist of: objects, arrays, strings, whole numbers
// that a double holds exactly, true, false and null. Kind Invalid for anything else, such as a member
// that is there twice.
func canonical(data []byte) ([]byte, error) {
	if !utf8.Valid(data) {
		return nil, errs.New(errs.Invalid, "the JSON is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	out, err := canonicalValue(nil, decoder, 0)
	if err != nil {
		return nil, errs.As(errs.Invalid, err, "canonical JSON")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errs.New(errs.Invalid, "canonical JSON: something stands behind the value")
	}
	return out, nil
}

func canonicalValue(out []byte, from *json.Decoder, depth int) ([]byte, error) {
	if depth > maxJSONDepth {
		return nil, errs.New(errs.TooLarge, "values stand in each other more than %d deep", maxJSONDepth)
	}
	token, err := from.Token()
	if err != nil {
		return nil, err
	}
	switch value := token.(type) {
	case json.Delim:
		if value == '{' {
			return canonicalObject(out, from, depth)
		}
		return canonicalArray(out, from, depth)
	case string:
		return canonicalString(out, value), nil
	case json.Number:
		whole, err := strconv.ParseInt(value.String(), 10, 64)
		if err != nil || whole > 1<<53 || whole < -(1<<53) || value == "-0" {
			return nil, errs.New(errs.Invalid, "number %.40s is not whole, or too large", value)
		}
		return strconv.AppendInt(out, whole, 10), nil
	case bool:
		return strconv.AppendBool(out, value), nil
	}
	return append(out, "null"...), nil
}

func canonicalObject(out []byte, from *json.Decoder, depth int) ([]byte, error) {
	type member struct {
		order []uint16 // the name in UTF-16, by which members are sorted
		text  []byte
	}
	var members []member
	for from.More() {
		token, err := from.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string) // the decoder lets nothing else through
		text := append(canonicalString(nil, name), ':')
		if text, err = canonicalValue(text, from, depth+1); err != nil {
			return nil, err
		}
		members = append(members, member{utf16.Encode([]rune(name)), text})
	}
	if _, err := from.Token(); err != nil { // the closing brace
		return nil, err
	}
	slices.SortFunc(members, func(a, b member) int { return slices.Compare(a.order, b.order) })
	out = append(out, '{')
	for i := range members {
		if i > 0 {
			if slices.Equal(members[i].order, members[i-1].order) {
				return nil, errs.New(errs.Invalid, "a member is there twice")
			}
			out = append(out, ',')
		}
		out = append(out, members[i].text...)
	}
	return append(out, '}'), nil
}

func canonicalArray(out []byte, from *json.Decoder, depth int) (_ []byte, err error) {
	out = append(out, '[')
	for first := true; from.More(); first = false {
		if !first {
			out = append(out, ',')
		}
		if out, err = canonicalValue(out, from, depth+1); err != nil {
			return nil, err
		}
	}
	if _, err := from.Token(); err != nil { // the closing bracket
		return nil, err
	}
	return append(out, ']'), nil
}

// canonicalString writes a string with the escapes of RFC 8785 section 3.2.2.2 and no others.
func canonicalString(out []byte, text string) []byte {
	const digits = "0123456789abcdef"
	out = append(out, '"')
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c == '\b':
			out = append(out, '\\', 'b')
		case c == '\t':
			out = append(out, '\\', 't')
		case c == '\n':
			out = append(out, '\\', 'n')
		case c == '\f':
			out = append(out, '\\', 'f')
		case c == '\r':
			out = append(out, '\\', 'r')
		case c < ' ':
			out = append(out, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}
