package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"surety/base/errs"
)

// format is the value of -o.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
)

// Set implements pflag.Value.
func (f *format) Set(text string) error {
	switch format(text) {
	case formatTable, formatJSON:
		*f = format(text)
		return nil
	}
	return errs.New(errs.Invalid, "%q is not table or json", text)
}

// String implements pflag.Value; the zero format is a table.
func (f *format) String() string {
	if *f == "" {
		return string(formatTable)
	}
	return string(*f)
}

// Type implements pflag.Value: what help shows for the value.
func (f *format) Type() string { return "format" }

// wantsJSON reports whether -o json was given.
func (e *Env) wantsJSON() bool { return e.format == formatJSON }

// show writes value as indented JSON under -o json, and otherwise lets human write it.
func (e *Env) show(value any, human func(w io.Writer) error) error {
	if !e.wantsJSON() {
		return wrote(human(e.Stdout))
	}
	encoder := json.NewEncoder(e.Stdout)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return wrote(encoder.Encode(value))
}

// line writes value as one line of JSON: for commands that stream.
func (e *Env) line(value any) error {
	encoder := json.NewEncoder(e.Stdout)
	encoder.SetEscapeHTML(false)
	return wrote(encoder.Encode(value))
}

// note writes a line for people to Stderr. That nobody reads it is no error.
func (e *Env) note(format string, args ...any) { fmt.Fprintf(e.Stderr, format+"\n", args...) }

// wrote gives the error of writing the answer its text.
func wrote(err error) error { return errs.Wrap(err, "write output") }

// column is one column of a grid.
type column struct {
	title string
	right bool // for numbers
}

// left and right are columns by their alignment.
func left(title string) column  { return column{title: title} }
func right(title string) column { return column{title: title, right: true} }

// grid is a table for people. Every row has one cell for each column.
type grid struct {
	columns []column
	rows    [][]string
}

// newGrid returns a grid without rows.
func newGrid(columns ...column) *grid { return &grid{columns: columns} }

// row adds a row; cells are written as fmt.Sprint does.
func (g *grid) row(cells ...any) {
	texts := make([]string, len(g.columns))
	for i := range texts {
		texts[i] = printable(fmt.Sprint(cells[i]))
	}
	g.rows = append(g.rows, texts)
}

// write writes the grid, two spaces between columns and none at the ends of lines.
func (g *grid) write(w io.Writer) error {
	titles := make([]string, len(g.columns))
	widths := make([]int, len(g.columns))
	for i, c := range g.columns {
		titles[i] = strings.ToUpper(c.title)
		widths[i] = utf8.RuneCountInString(c.title)
	}
	for _, row := range g.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range append([][]string{titles}, g.rows...) {
		if _, err := fmt.Fprintln(w, g.join(row, widths)); err != nil {
			return err
		}
	}
	return nil
}

func (g *grid) join(row []string, widths []int) string {
	var line strings.Builder
	for i, cell := range row {
		space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if i > 0 {
			line.WriteString("  ")
		}
		if g.columns[i].right {
			line.WriteString(space + cell)
		} else {
			line.WriteString(cell + space)
		}
	}
	return strings.TrimRight(line.String(), " ")
}

// pair is a name and its value.
type pair struct {
	name  string
	value any
}

// writePairs writes one line for each pair, the values aligned.
func writePairs(w io.Writer, pairs ...pair) error {
	width := 0
	for _, p := range pairs {
		width = max(width, utf8.RuneCountInString(p.name))
	}
	for _, p := range pairs {
		space := strings.Repeat(" ", width-utf8.RuneCountInString(p.name))
		value := printable(fmt.Sprint(p.value))
		if _, err := fmt.Fprintf(w, "%s%s  %s\n", p.name, space, value); err != nil {
			return err
		}
	}
	return nil
}

// printable replaces control characters, so that stored text cannot drive the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '.'
		}
		return r
	}, text)
}
