package joint

import (
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"surety/base/errs"
	"surety/enclave"
)

// Table is what a party has about its customers: an id and the columns that a contract names, as
// texts. Columns of the file that the contract does not name were not read.
type Table struct {
	IDs     []string
	Columns []string
	Rows    [][]string // one for each id, in the order of Columns
}

// ReadTable reads a party's file: delimited text with a header, one row a customer. It is
// errs.Invalid where a column that the contract wants is missing or a row is broken, and TooLarge
// beyond the limits.
func ReadTable(from io.Reader, id string, c *enclave.Contract, party string) (*Table, error) {
	names := Columns(c, party)
	r := newCSV(from)
	header, err := r.Read()
	if err != nil {
		return nil, broken(err, 0)
	}
	header = slices.Clone(header)
	header[0] = strings.TrimPrefix(header[0], "\ufeff")
	at := make([]int, 0, len(names)+1)
	for _, name := range append([]string{id}, names...) {
		i := slices.Index(header, name)
		if i < 0 {
			return nil, errs.New(errs.Invalid, "joint.table: the file has no column %q, which %q brings", name,
				party)
		}
		at = append(at, i)
	}
	t := &Table{Columns: names}
	for number := 1; ; number++ {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err != nil {
			return nil, broken(err, number)
		}
		if err := t.add(record, at, number); err != nil {
			return nil, err
		}
	}
}

func (t *Table) add(record []string, at []int, number int) error {
	if len(t.IDs) == MaxRows {
		return errs.New(errs.TooLarge, "joint.table: more than %d rows", MaxRows)
	}
	row := make([]string, 0, len(at)-1)
	for i, from := range at {
		cell := strings.Clone(strings.TrimSpace(record[from]))
		if len(cell) > MaxCell || !utf8.ValidString(cell) || strings.ContainsAny(cell, "\r\n\"") {
			return errs.New(errs.Invalid, "joint.table: row %d: a value of %d bytes, limit %d, or with a line "+
				"break or quotation mark, or no UTF-8", number, len(cell), MaxCell)
		}
		if i == 0 {
			t.IDs = append(t.IDs, cell)
			continue
		}
		row = append(row, cell)
	}
	t.Rows = append(t.Rows, row)
	return nil
}

// Columns returns the names of what a party brings, in the order in which its data has them: its
// features, then the target where it is the party's.
func Columns(c *enclave.Contract, party string) []string {
	var names []string
	for _, column := range c.ColumnsOf(party) {
		names = append(names, column.Name)
	}
	if c.Target.Party == party {
		names = append(names, c.Target.Column)
	}
	return names
}

func newCSV(from io.Reader) *csv.Reader {
	r := csv.NewReader(from)
	r.ReuseRecord = true
	return r
}

// broken gives a reader's error its kind, without the text of the row.
func broken(err error, row int) error {
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return errs.New(errs.Invalid, "joint.table: row %d: %v", row, parse.Err)
	}
	if errors.Is(err, io.EOF) {
		return errs.New(errs.Invalid, "joint.table: the file is empty")
	}
	return errs.As(errs.Unavailable, err, "joint.table: row %d", row)
}
