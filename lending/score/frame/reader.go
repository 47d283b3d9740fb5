package frame

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"surety/base/errs"
	"surety/lending/score"
)

// Reader gives the rows of a delimited text one at a time, as lines of a file of loans or of loan
// applications. A record is one line: a line break inside quotation marks breaks the row, and a
// quotation mark that is never closed breaks one row and not the rest of the file. It has one user
// at a time.
type Reader struct {
	mapping *Mapping
	lines   lineReader
	columns map[string]int // position of each header
	row     Row
}

// Row is one record. It is valid until the next call of Next; its texts stay valid.
type Row struct {
	Number int // 1 is the first line after the header; empty lines count
	fields []string
	reader *Reader
}

// RowError is why a row was left out. Its text is "row N, column C: reason".
type RowError struct {
	Row    int
	Column string // empty where the row as a whole is broken
	Reason string
}

// Error returns the row, the column and the reason in one line.
func (e *RowError) Error() string {
	if e.Column == "" {
		return fmt.Sprintf("row %d: %s", e.Row, e.Reason)
	}
	return fmt.Sprintf("row %d, column %s: %s", e.Row, e.Column, e.Reason)
}

// NewReader reads the header of a text and returns a Reader of its rows. Every feature of the
// mapping must have its column; target and protected columns may be absent. It is errs.Invalid if
// the text is empty or the header is broken, repeats a name or lacks a feature, errs.TooLarge
// beyond MaxColumns or MaxLineBytes, and errs.Unavailable if the source cannot be read.
func NewReader(source io.Reader, m *Mapping) (*Reader, error) {
	r := &Reader{mapping: m, columns: map[string]int{}}
	r.lines.source = bufio.NewReaderSize(source, 64<<10)
	r.row.reader = r
	line, err := r.lines.next()
	if err == io.EOF {
		return nil, errs.New(errs.Invalid, "frame.read: header: the file is empty")
	}
	if err != nil {
		return nil, errs.Wrap(err, "frame.read: header")
	}
	header, err := splitLine(strings.TrimPrefix(line, "\ufeff"), m.Delimiter[0], nil)
	if err != nil {
		return nil, errs.As(errs.Invalid, err, "frame.read: header")
	}
	if err := r.readHeader(header); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Reader) readHeader(header []string) error {
	if len(header) > MaxColumns {
		return errs.New(errs.TooLarge, "frame.read: header: %d columns, limit %d", len(header),
			MaxColumns)
	}
	for i, name := range header {
		name = strings.TrimSpace(name)
		if _, taken := r.columns[name]; taken {
			return errs.New(errs.Invalid, "frame.read: header: column %.40q occurs twice", name)
		}
		r.columns[name] = i
	}
	for _, f := range r.mapping.Features {
		if !r.Has(f.Column) {
			return errs.New(errs.Invalid, "frame.read: header: column %q of mapping %s is missing",
				f.Column, r.mapping.Name)
		}
	}
	return nil
}

// Next returns the next row and passes over empty lines. At the end it returns io.EOF. A *RowError
// says that one row is broken and that Next may be called again; any other error is final, of kind
// errs.Unavailable if the source cannot be read.
func (r *Reader) Next() (*Row, error) {
	for {
		line, err := r.lines.next()
		if err == io.EOF {
			return nil, io.EOF
		}
		r.row.Number++
		if errs.Is(err, errs.TooLarge) {
			return nil, &RowError{Row: r.row.Number, Reason: err.Error()}
		}
		if err != nil {
			return nil, errs.Wrap(err, "frame.read: row %d", r.row.Number)
		}
		if line == "" {
			continue
		}
		if r.row.fields, err = splitLine(line, r.mapping.Delimiter[0], r.row.fields[:0]); err != nil {
			return nil, &RowError{Row: r.row.Number, Reason: err.Error()}
		}
		if len(r.row.fields) != len(r.columns) {
			return nil, &RowError{Row: r.row.Number, Reason: fmt.Sprintf("%d fields for %d columns",
				len(r.row.fields), len(r.columns))}
		}
		return &r.row, nil
	}
}

// Has reports whether the file has a column.
func (r *Reader) Has(column string) bool {
	_, found := r.columns[column]
	return found
}

// Unmapped returns the columns that the mapping does not mention, which are read past.
func (r *Reader) Unmapped() []string {
	known := map[string]bool{r.mapping.Target.Column: true}
	for _, f := range r.mapping.Features {
		known[f.Column] = true
	}
	for _, p := range r.mapping.Protected {
		known[p.Column] = true
	}
	for _, column := range r.mapping.Ignored {
		known[column] = true
	}
	names := make([]string, len(r.columns))
	for name, i := range r.columns {
		names[i] = name
	}
	var unmapped []string
	for _, name := range names {
		if !known[name] {
			unmapped = append(unmapped, name)
		}
	}
	return unmapped
}

// Field returns the text of a column, without spaces around it; "" where the mapping calls it
// missing or the file has no such column.
func (row *Row) Field(column string) string {
	i, found := row.reader.columns[column]
	if !found {
		return ""
	}
	text := strings.TrimSpace(row.fields[i])
	if row.reader.mapping.isMissing(text) {
		return ""
	}
	return text
}

// Values appends to values the integers of the row for a model's features, in their order, and
// returns it. A level the model has not seen, and a feature the file has no column for, are
// score.Missing; a number that cannot be read is a *RowError.
func (row *Row) Values(features []score.Feature, values []int64) ([]int64, error) {
	for i := range features {
		value, err := features[i].Parse(row.Field(features[i].Name))
		if err != nil {
			return nil, row.broken(features[i].Name, err)
		}
		values = append(values, value)
	}
	return values, nil
}

func (row *Row) broken(column string, err error) error {
	return &RowError{Row: row.Number, Column: column, Reason: err.Error()}
}
