package frame

import (
	"bufio"
	"io"
	"strings"
	"unicode/utf8"

	"surety/base/errs"
)

// lineReader cuts a text into lines of at most MaxLineBytes.
type lineReader struct {
	source *bufio.Reader
	line   []byte // scratch: a line longer than the source's buffer
}

// next returns a line without its end, which is a line feed with or without a carriage return
// before it, or the end of the text. At the end it returns io.EOF. A line beyond the limit is
// errs.TooLarge and passed over; a failure of the source is errs.Unavailable.
func (l *lineReader) next() (string, error) {
	l.line = l.line[:0]
	length := 0
	for {
		part, err := l.source.ReadSlice('\n')
		length += len(part)
		if length <= MaxLineBytes {
			l.line = append(l.line, part...)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil && err != io.EOF {
			return "", errs.As(errs.Unavailable, err, "read")
		}
		if length == 0 {
			return "", io.EOF
		}
		break
	}
	if length > MaxLineBytes {
		return "", errs.New(errs.TooLarge, "a line of %d bytes, limit %d", length, MaxLineBytes)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(l.line), "\n"), "\r"), nil
}

// splitLine appends the fields of a line to fields. A field that begins with a quotation mark ends
// with one, may hold delimiters, and holds a quotation mark where two stand. The error of a line
// that is not so, or not UTF-8, says what was found at which byte.
func splitLine(line string, delimiter byte, fields []string) ([]string, error) {
	if !utf8.ValidString(line) {
		return fields, errs.New(errs.Invalid, "not UTF-8")
	}
	for at := 0; ; {
		field, next, err := nextField(line, at, delimiter)
		if err != nil {
			return fields, err
		}
		fields = append(fields, field)
		if next > len(line) {
			return fields, nil
		}
		at = next
	}
}

// nextField returns the field that begins at a byte and where the next one begins, which is beyond
// the end of the line if there is none.
func nextField(line string, at int, delimiter byte) (field string, next int, err error) {
	if at == len(line) || line[at] != '"' {
		end := strings.IndexByte(line[at:], delimiter)
		if end < 0 {
			end = len(line) - at
		}
		field = line[at : at+end]
		if quote := strings.IndexByte(field, '"'); quote >= 0 {
			return "", 0, errs.New(errs.Invalid,
				"byte %d: a quotation mark inside a field that does not begin with one", at+quote+1)
		}
		return field, at + end + 1, nil
	}
	begin := at
	for at++; ; at++ {
		end := strings.IndexByte(line[at:], '"')
		if end < 0 {
			return "", 0, errs.New(errs.Invalid, "byte %d: a quotation mark is not closed", begin+1)
		}
		at += end + 1
		if at == len(line) || line[at] != '"' {
			break
		}
	}
	if at < len(line) && line[at] != delimiter {
		return "", 0, errs.New(errs.Invalid, "byte %d: text follows a quotation mark", at+1)
	}
	return strings.ReplaceAll(line[begin+1:at-1], `""`, `"`), at + 1, nil
}
