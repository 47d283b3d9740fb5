package intake

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	lendingv1 "surety/api/lending/v1"
	"surety/base/errs"
)

// Row is one application from a file.
type Row struct {
	Number   int // of the line's record in the file: the first after the header is 1
	Form     *lendingv1.Form
	Features map[string]string // inputs of the mapping's model, as they stand; nil where it has none
}

// RowError is a row that does not fit.
type RowError struct {
	Row    int    // as Row.Number
	Column string // empty where the row as a whole is broken
	Reason string
}

// Error returns "row 7, column AGE: reason".
func (e *RowError) Error() string {
	if e.Column == "" {
		return fmt.Sprintf("row %d: %s", e.Row, e.Reason)
	}
	return fmt.Sprintf("row %d, column %s: %s", e.Row, e.Column, e.Reason)
}

// Reader reads applications one by one. A record is one line: a line break inside quotes is not
// taken as part of a field, so that one stray quote spoils its own row and no other.
type Reader struct {
	mapping *Mapping
	lines   *bufio.Reader
	comma   rune
	index   map[string]int // column name to its place
	width   int
	number  int
}

// NewReader reads the header; it owns nothing and closes nothing. A column that the mapping needs
// and the file lacks is an error of kind Invalid.
func NewReader(from io.Reader, mapping *Mapping) (*Reader, error) {
	r := &Reader{mapping: mapping, lines: bufio.NewReaderSize(from, LineMax), comma: ',',
		index: make(map[string]int)}
	if mapping.Delimiter != "" {
		r.comma = []rune(mapping.Delimiter)[0]
	}
	header, err := r.record()
	if errors.Is(err, io.EOF) {
		return nil, errs.New(errs.Invalid, "intake.reader: the file is empty")
	}
	if err != nil {
		return nil, errs.As(errs.Invalid, err, "intake.reader: header")
	}
	if len(header) > ColumnsMax {
		return nil, errs.New(errs.TooLarge, "intake.reader: %d columns, the limit is %d",
			len(header), ColumnsMax)
	}
	r.width, r.number = len(header), 0
	for i, name := range header {
		r.index[strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))] = i
	}
	for _, name := range mapping.columns() {
		if _, found := r.index[name]; !found {
			return nil, errs.New(errs.Invalid,
				"intake.reader: the file has no column %q, which mapping %s needs", name, mapping.Name)
		}
	}
	return r, nil
}

// Next returns the next application. A row that does not fit is a *RowError, after which reading
// goes on; io.EOF ends the file, and any other error is of reading itself.
func (r *Reader) Next() (Row, error) {
	record, err := r.record()
	if err != nil {
		return Row{}, err
	}
	if len(record) != r.width {
		return Row{}, &RowError{Row: r.number,
			Reason: fmt.Sprintf("%d fields, the header has %d", len(record), r.width)}
	}
	return r.row(record)
}

// record reads and splits the next line that is not blank.
func (r *Reader) record() ([]string, error) {
	for {
		line, err := r.lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, r.pass()
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, errs.As(errs.Internal, err, "intake.reader: row %d", r.number+1)
		}
		if len(bytes.TrimSpace(line)) > 0 {
			return r.split(line)
		}
		if err != nil {
			return nil, io.EOF
		}
	}
}

// pass passes over the rest of a line that is too long, which is one broken row like any other.
func (r *Reader) pass() error {
	r.number++
	for {
		_, err := r.lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err == nil, errors.Is(err, io.EOF):
			return &RowError{Row: r.number,
				Reason: fmt.Sprintf("the line is longer than %d bytes", LineMax)}
		default:
			return errs.As(errs.Internal, err, "intake.reader: row %d", r.number)
		}
	}
}

func (r *Reader) split(line []byte) ([]string, error) {
	r.number++
	records := csv.NewReader(bytes.NewReader(line))
	records.Comma = r.comma
	fields, err := records.Read()
	if err == nil {
		return fields, nil
	}
	var broken *csv.ParseError
	if errors.As(err, &broken) {
		return nil, &RowError{Row: r.number, Reason: broken.Err.Error()}
	}
	return nil, &RowError{Row: r.number, Reason: err.Error()}
}

func (r *Reader) row(record []string) (Row, error) {
	values := make(map[string]string, len(formFields))
	for _, name := range formFields {
		field := r.mapping.Form[name]
		value, err := r.value(record, &field)
		if err != nil {
			return Row{}, err
		}
		values[name] = value
	}
	form, err := r.form(values)
	if err != nil {
		return Row{}, err
	}
	row := Row{Number: r.number, Form: form}
	if len(r.mapping.Features) == 0 {
		return row, nil
	}
	row.Features = make(map[string]string, len(r.mapping.Features))
	for _, column := range r.mapping.Features {
		row.Features[column] = strings.TrimSpace(record[r.index[column]])
	}
	return row, nil
}

// value returns the text of one field.
func (r *Reader) value(record []string, f *Field) (string, error) {
	switch {
	case f.Constant != "":
		return f.Constant, nil
	case f.Text != "":
		return r.fill(record, f.Text, f.Pad), nil
	case f.Column != "" && f.Times == 0 && f.Floor == nil && f.Ceiling == nil:
		text := strings.TrimSpace(record[r.index[f.Column]])
		if replaced, found := f.Values[text]; found {
			return replaced, nil
		}
		return text, nil
	}
	n, err := r.taken(record, f)
	if err != nil {
		return "", err
	}
	if f.Times != 0 {
		n *= f.Times
	}
	if f.Floor != nil {
		n = max(n, *f.Floor)
	}
	if f.Ceiling != nil {
		n = min(n, *f.Ceiling)
	}
	return strconv.FormatInt(n, 10), nil
}

// taken returns the number of a column, or the largest or the sum of several.
func (r *Reader) taken(record []string, f *Field) (int64, error) {
	columns := f.Columns
	if f.Column != "" {
		columns = []string{f.Column}
	}
	var result int64
	for i, column := range columns {
		n, err := r.number64(record, column)
		if err != nil {
			return 0, err
		}
		switch {
		case i == 0:
			result = n
		case f.Take == "sum":
			result += n
		default:
			result = max(result, n)
		}
	}
	return result, nil
}

// number64 reads a whole number; "12.0" counts as 12 and "5e+05" as 500000, since public files write
// numbers so.
func (r *Reader) number64(record []string, column string) (int64, error) {
	text := strings.TrimSpace(record[r.index[column]])
	n, ok := whole(text)
	if !ok {
		return 0, &RowError{Row: r.number, Column: column,
			Reason: fmt.Sprintf("%q is not a whole number", clip(text))}
	}
	if n > numberMax || n < -numberMax {
		return 0, &RowError{Row: r.number, Column: column,
			Reason: fmt.Sprintf("%d is beyond the limit of %d", n, int64(numberMax))}
	}
	return n, nil
}

// whole reads a decimal number with or without an exponent; false where it is none, is not whole,
// or does not fit 64 bits.
func whole(text string) (n int64, ok bool) {
	mantissa, exponent := text, 0
	if at := strings.IndexAny(text, "eE"); at >= 0 {
		var err error
		if exponent, err = strconv.Atoi(text[at+1:]); err != nil || exponent < 0 || exponent > exponentMax {
			return 0, false
		}
		mantissa = text[:at]
	}
	integer, fraction, _ := strings.Cut(mantissa, ".")
	fraction = strings.TrimRight(fraction, "0")
	if integer == "" || len(fraction) > exponent {
		return 0, false
	}
	digits := integer + fraction + strings.Repeat("0", exponent-len(fraction))
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil
}

// fill puts columns into a template. With pad, a value of digits is filled to that many with zeros.
func (r *Reader) fill(record []string, template string, pad int) string {
	for _, name := range placeholders(template) {
		value := strings.TrimSpace(record[r.index[name]])
		if missing := pad - len(value); missing > 0 {
			value = strings.Repeat("0", missing) + value
		}
		template = strings.ReplaceAll(template, "{"+name+"}", value)
	}
	return template
}

// form turns texts into the form's types; the rules of the form itself are checked later.
func (r *Reader) form(values map[string]string) (*lendingv1.Form, error) {
	form := &lendingv1.Form{
		Name: values["name"], IdNumber: values["id_number"], Phone: values["phone"],
		BusinessName: values["business_name"], MonthlyTurnover: values["monthly_turnover"],
		ExistingDebt: values["existing_debt"], Amount: values["amount"], Purpose: values["purpose"],
	}
	numbers := []struct {
		field string
		into  *int32
	}{
		{"months_in_business", &form.MonthsInBusiness},
		{"employees", &form.Employees},
		{"term_months", &form.TermMonths},
	}
	for _, number := range numbers {
		n, err := strconv.ParseInt(values[number.field], 10, 32)
		if err != nil {
			return nil, &RowError{Row: r.number, Column: r.column(number.field),
				Reason: fmt.Sprintf("%q is not a whole number", clip(values[number.field]))}
		}
		*number.into = int32(n)
	}
	consent, err := strconv.ParseBool(values["consent"])
	if err != nil {
		return nil, &RowError{Row: r.number, Column: r.column("consent"),
			Reason: fmt.Sprintf("%q is neither true nor false", clip(values["consent"]))}
	}
	form.Consent = consent
	return form, nil
}

// column names the column behind a field, or the field where there is none.
func (r *Reader) column(field string) string {
	if column := r.mapping.Form[field].Column; column != "" {
		return column
	}
	return field
}

func clip(text string) string {
	if len(text) > 40 {
		return text[:40] + "..."
	}
	return text
}
