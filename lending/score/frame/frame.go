package frame

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"surety/base/errs"
	"surety/lending/score"
)

// Frame is a data set in memory: past loans, each with its features and its end. It does not change
// once read. A frame made by Subset shares nothing with its origin but the descriptions.
type Frame struct {
	Mapping   *Mapping
	Features  []score.Feature
	columns   [][]int64 // one for each feature
	bad       []bool
	protected []Attribute
}

// Attribute is a protected column: for each row the index of its group.
type Attribute struct {
	Column string
	Groups []string // as told to people
	Group  []int32  // of each row
}

// Report says what happened to the rows of a file.
type Report struct {
	Rows     int         // in the file, empty lines apart
	Good     int         // read, and repaid
	Bad      int         // read, and not repaid
	Broken   int         // left out
	Errors   []*RowError // of the first MaxRowErrors broken rows
	Unmapped []string    // columns the mapping does not mention
}

// Read reads a whole data set. Broken rows are left out and reported; the report is never nil. It
// is errs.Invalid where the header does not fit the mapping, the target column is missing, or no
// row could be read, errs.TooLarge beyond MaxRows or the limits of a model, and errs.Unavailable if
// the source cannot be read.
func Read(source io.Reader, m *Mapping) (*Frame, *Report, error) {
	report := &Report{}
	r, err := NewReader(source, m)
	if err != nil {
		return nil, report, err
	}
	report.Unmapped = r.Unmapped()
	if !r.Has(m.Target.Column) {
		return nil, report, errs.New(errs.Invalid,
			"frame.read: header: the target %q of mapping %s is missing", m.Target.Column, m.Name)
	}
	b := newBuilder(m, r)
	for {
		row, err := r.Next()
		if err == io.EOF {
			break
		}
		report.Rows++
		if err == nil {
			err = b.add(row)
		}
		var broken *RowError
		if err != nil && !errors.As(err, &broken) {
			return nil, report, err
		}
		report.count(b, broken)
	}
	f, err := b.finish()
	return f, report, err
}

// count books one row that has been read or is broken.
func (r *Report) count(b *builder, broken *RowError) {
	switch {
	case broken != nil:
		r.Broken++
		if len(r.Errors) < MaxRowErrors {
			r.Errors = append(r.Errors, broken)
		}
	case b.frame.bad[len(b.frame.bad)-1]:
		r.Bad++
	default:
		r.Good++
	}
}

// builder collects rows. Levels and groups are numbered as they appear and put in order at the end.
type builder struct {
	frame  *Frame
	levels []map[string]int64 // for each categorical feature, else nil
	groups []map[string]int32 // for each protected column of the file
	values []int64            // scratch: one row
}

func newBuilder(m *Mapping, r *Reader) *builder {
	b := &builder{frame: &Frame{Mapping: m}}
	f := b.frame
	for i := range m.Features {
		f.Features = append(f.Features, m.Features[i].Feature())
		b.levels = append(b.levels, nil)
		if m.Features[i].Kind == score.Categorical {
			b.levels[i] = map[string]int64{}
		}
	}
	f.columns = make([][]int64, len(f.Features))
	for i := range m.Protected {
		if r.Has(m.Protected[i].Column) {
			f.protected = append(f.protected, Attribute{Column: m.Protected[i].Column})
			b.groups = append(b.groups, map[string]int32{})
		}
	}
	return b
}

// add takes a row in, whole or not at all.
func (b *builder) add(row *Row) error {
	f := b.frame
	bad, err := f.Mapping.Target.read(row)
	if err != nil {
		return err
	}
	b.values = b.values[:0]
	for i := range f.Features {
		value, err := b.value(row, i)
		if err != nil {
			return row.broken(f.Features[i].Name, err)
		}
		b.values = append(b.values, value)
	}
	if len(f.bad) == MaxRows {
		return errs.New(errs.TooLarge, "frame.read: more than %d rows", MaxRows)
	}
	f.bad = append(f.bad, bad)
	for i, value := range b.values {
		f.columns[i] = append(f.columns[i], value)
	}
	for i := range f.protected {
		b.addGroup(row, i)
	}
	return nil
}

// value returns what a row has for a feature: for a categorical one the provisional number of its
// level.
func (b *builder) value(row *Row, i int) (int64, error) {
	text := row.Field(b.frame.Features[i].Name)
	if b.levels[i] == nil || text == "" {
		return b.frame.Features[i].Parse(text)
	}
	number, known := b.levels[i][text]
	if !known {
		number = int64(len(b.levels[i]))
		if number == score.MaxLevels {
			return 0, errs.New(errs.TooLarge, "more than %d levels", score.MaxLevels)
		}
		b.levels[i][text] = number
	}
	return number, nil
}

// read returns whether the row's loan went bad.
func (t *Target) read(row *Row) (bad bool, err error) {
	switch text := row.Field(t.Column); text {
	case t.Good:
		return false, nil
	case t.Bad:
		return true, nil
	default:
		return false, &RowError{Row: row.Number, Column: t.Column,
			Reason: fmt.Sprintf("%.40q is neither the good %q nor the bad %q", text, t.Good, t.Bad)}
	}
}

// addGroup appends the group of a protected column to which the row belongs.
func (b *builder) addGroup(row *Row, i int) {
	a := &b.frame.protected[i]
	text := b.frame.Mapping.protectedColumn(a.Column).group(row.Field(a.Column))
	number, known := b.groups[i][text]
	if !known {
		number = int32(len(a.Groups))
		b.groups[i][text] = number
		a.Groups = append(a.Groups, text)
	}
	a.Group = append(a.Group, number)
}

func (m *Mapping) protectedColumn(name string) *Protected {
	i := slices.IndexFunc(m.Protected, func(p Protected) bool { return p.Column == name })
	return &m.Protected[i]
}

// group names the group that a text of a protected column belongs to.
func (p *Protected) group(text string) string {
	if text == "" {
		return "missing"
	}
	if label, found := p.Labels[text]; found {
		return label
	}
	if len(p.Bands) == 0 {
		return text
	}
	value, err := score.ParseDecimal(text, 0)
	if err != nil {
		return "unreadable"
	}
	below := strconv.FormatInt(p.Bands[0], 10)
	if value < p.Bands[0] {
		return "below " + below
	}
	at, exact := slices.BinarySearch(p.Bands, value)
	if !exact {
		at--
	}
	name := strconv.FormatInt(p.Bands[at], 10)
	if at == len(p.Bands)-1 {
		return name + " and above"
	}
	return name + " to " + strconv.FormatInt(p.Bands[at+1]-1, 10)
}

// finish puts levels and groups in ascending order and renumbers the rows accordingly.
func (b *builder) finish() (*Frame, error) {
	f := b.frame
	if len(f.bad) == 0 {
		return nil, errs.New(errs.Invalid, "frame.read: no row could be read")
	}
	for i, levels := range b.levels {
		if levels == nil {
			continue
		}
		names, renumber := sortNames(levels, f.columns[i])
		if len(names) == 0 {
			return nil, errs.New(errs.Invalid, "frame.read: column %s has no value in any row",
				f.Features[i].Name)
		}
		f.Features[i].Levels = names
		for row, value := range f.columns[i] {
			if value != score.Missing {
				f.columns[i][row] = renumber[value]
			}
		}
	}
	for i, groups := range b.groups {
		names, renumber := sortNames(groups, f.protected[i].Group)
		f.protected[i].Groups = names
		for row, group := range f.protected[i].Group {
			f.protected[i].Group[row] = renumber[group]
		}
	}
	return f, nil
}

// sortNames returns the names that occur in a column of numbers, in ascending order, and for each
// old number the new one. Names that only broken rows had do not occur.
func sortNames[N int32 | int64](numbers map[string]N, column []N) (names []string, renumber []N) {
	occurs := make([]bool, len(numbers))
	for _, number := range column {
		if number >= 0 {
			occurs[number] = true
		}
	}
	for name, number := range numbers {
		if occurs[number] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	renumber = make([]N, len(numbers))
	for i, name := range names {
		renumber[numbers[name]] = N(i)
	}
	return names, renumber
}

// Rows returns the number of rows.
func (f *Frame) Rows() int { return len(f.bad) }

// Bad reports whether a row's loan went bad.
func (f *Frame) Bad(row int) bool { return f.bad[row] }

// BadRows returns how many rows went bad.
func (f *Frame) BadRows() int {
	count := 0
	for _, bad := range f.bad {
		if bad {
			count++
		}
	}
	return count
}

// Column returns a feature's values, one for each row. The caller must not change them.
func (f *Frame) Column(feature int) []int64 { return f.columns[feature] }

// Row appends a row's values to values, in the order of Features, and returns it.
func (f *Frame) Row(row int, values []int64) []int64 {
	for _, column := range f.columns {
		values = append(values, column[row])
	}
	return values
}

// Protected returns the protected attributes. The caller must not change them.
func (f *Frame) Protected() []Attribute { return f.protected }

// Subset returns a frame of the given rows, in the order given.
func (f *Frame) Subset(rows []int32) *Frame {
	s := &Frame{Mapping: f.Mapping, Features: f.Features}
	s.bad = pick(f.bad, rows)
	for _, column := range f.columns {
		s.columns = append(s.columns, pick(column, rows))
	}
	for _, a := range f.protected {
		s.protected = append(s.protected,
			Attribute{Column: a.Column, Groups: a.Groups, Group: pick(a.Group, rows)})
	}
	return s
}

func pick[T any](from []T, rows []int32) []T {
	picked := make([]T, len(rows))
	for i, row := range rows {
		picked[i] = from[row]
	}
	return picked
}

// Align returns the frame's rows as a model with the given features takes them: its columns, in its
// order, its numbers for the levels. Levels the model has not seen are score.Missing. It is
// errs.Invalid if the frame lacks a feature or has it in another kind or scale.
func (f *Frame) Align(features []score.Feature) (*Frame, error) {
	aligned := &Frame{Mapping: f.Mapping, Features: features, bad: f.bad, protected: f.protected}
	for i := range features {
		want := &features[i]
		at := slices.IndexFunc(f.Features, func(h score.Feature) bool { return h.Name == want.Name })
		if at < 0 {
			return nil, errs.New(errs.Invalid, "frame.align: the data has no feature %q", want.Name)
		}
		have := &f.Features[at]
		if have.Kind != want.Kind || have.Decimals != want.Decimals {
			return nil, errs.New(errs.Invalid,
				"frame.align: feature %q is %s of %d decimals in the data and %s of %d in the model",
				want.Name, have.Kind, have.Decimals, want.Kind, want.Decimals)
		}
		aligned.columns = append(aligned.columns, alignColumn(f.columns[at], have, want))
	}
	return aligned, nil
}

// alignColumn returns a column with its levels numbered as want has them.
func alignColumn(column []int64, have, want *score.Feature) []int64 {
	if have.Kind != score.Categorical || slices.Equal(have.Levels, want.Levels) {
		return column
	}
	renumber := make([]int64, len(have.Levels))
	for i, level := range have.Levels {
		renumber[i], _ = want.Parse(level) // the name of a level never fails to parse
	}
	moved := make([]int64, len(column))
	for row, value := range column {
		moved[row] = score.Missing
		if value != score.Missing {
			moved[row] = renumber[value]
		}
	}
	return moved
}

// Digest returns the SHA-256, in hexadecimal, over what a model is trained on: the descriptions of
// the features, then for each row its values and its end. Protected attributes do not enter.
func (f *Frame) Digest() string {
	h := sha256.New()
	for i := range f.Features {
		feature := &f.Features[i]
		fmt.Fprintf(h, "%q %s %d %q\n", feature.Name, feature.Kind, feature.Decimals, feature.Levels)
	}
	var row []byte
	for i := range f.bad {
		row = row[:0]
		for _, column := range f.columns {
			row = binary.BigEndian.AppendUint64(row, uint64(column[i]))
		}
		end := byte(0)
		if f.bad[i] {
			end = 1
		}
		h.Write(append(row, end))
	}
	return hex.EncodeToString(h.Sum(nil))
}
