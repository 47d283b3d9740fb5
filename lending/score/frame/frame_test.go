package frame

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"surety/base/errs"
	"surety/lending/score"
)

const header = "id,income,trade,sex,age,end,note\n"

func read(t testing.TB, rows string) (*Frame, *Report) {
	t.Helper()
	f, report, err := Read(strings.NewReader(header+rows), parse(t, small))
	if err != nil {
		t.Fatal(err)
	}
	return f, report
}

func TestRead(t *testing.T) {
	f, report, err := Read(strings.NewReader("\ufeff"+header+"1,1000.50, shop ,1,29,ok,x\r\n"+
		"2,NA,bar,2,30,late,\"a, \"\"b\"\"\"\n\n"+
		"3,-0.01,,1,40,ok,\n"+
		"4,5e2,bar,,x,ok,"), parse(t, small))
	if err != nil {
		t.Fatal(err)
	}
	if report.Rows != 4 || report.Good != 3 || report.Bad != 1 || report.Broken != 0 {
		t.Errorf("the report is %+v", report)
	}
	if got := fmt.Sprint(report.Unmapped); got != "[note]" {
		t.Errorf("columns not mapped are %s, want note", got)
	}
	want := [][]int64{{1000_50, 1}, {score.Missing, 0}, {-1, score.Missing}, {500_00, 0}}
	for row := range want {
		if got := f.Row(row, nil); fmt.Sprint(got) != fmt.Sprint(want[row]) {
			t.Errorf("row %d is %d, want %d", row, got, want[row])
		}
	}
	if fmt.Sprint(f.Features[1].Levels) != "[bar shop]" {
		t.Errorf("levels are %v, want them in order", f.Features[1].Levels)
	}
	groups := ""
	for _, a := range f.Protected() {
		for _, g := range a.Group {
			groups += a.Groups[g] + "; "
		}
	}
	if groups != "male; 2; male; missing; below 30; 30 to 39; 40 and above; unreadable; " {
		t.Errorf("groups are %q", groups)
	}
	if f.BadRows() != 1 || !f.Bad(1) || f.Rows() != 4 {
		t.Errorf("%d bad rows of %d", f.BadRows(), f.Rows())
	}
}

// TestBrokenRows: each is told by number, column and reason, and the rows around it are read.
func TestBrokenRows(t *testing.T) {
	const good = "1,1,bar,1,30,ok,\n"
	for _, c := range []struct{ name, row, want string }{
		{"a number that is none", "1,12x,bar,1,30,ok,", `row 2, column income: score.parse: "12x" is not a decimal number`},
		{"a number too large", "1,1e30,bar,1,30,ok,", `row 2, column income: score.parse: "1e30" does not fit 64 bits at 2 decimals`},
		{"an end that is none", "1,1,bar,1,30,maybe,", `row 2, column end: "maybe" is neither the good "ok" nor the bad "late"`},
		{"no end", "1,1,bar,1,30,NA,", `row 2, column end: "" is neither the good "ok" nor the bad "late"`},
		{"a field too few", "1,1,bar,1,30,ok", "row 2: 6 fields for 7 columns"},
		{"a field too many", "1,1,bar,1,30,ok,,", "row 2: 8 fields for 7 columns"},
		{"an open quotation", `1,"1,bar,1,30,ok,`, "row 2: byte 3: a quotation mark is not closed"},
		{"text after a quotation", `1,"1"x,bar,1,30,ok,`, "row 2: byte 6: text follows a quotation mark"},
		{"a quotation inside", `1,1"1,bar,1,30,ok,`, "row 2: byte 4: a quotation mark inside a field that does not begin with one"},
		{"not UTF-8", "1,1,b\xffr,1,30,ok,", "row 2: not UTF-8"},
		{"a line too long", strings.Repeat("x", MaxLineBytes+1), "row 2: a line of 1048578 bytes, limit 1048576"},
	} {
		f, report := read(t, good+c.row+"\n"+good)
		if f.Rows() != 2 || report.Broken != 1 || len(report.Errors) != 1 || report.Rows != 3 {
			t.Errorf("%s: %d rows read, report %+v", c.name, f.Rows(), report)
			continue
		}
		if got := report.Errors[0].Error(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestABrokenRowLeavesNothing: a level that only broken rows have is no level.
func TestABrokenRowLeavesNothing(t *testing.T) {
	f, _ := read(t, "1,1,bar,1,30,ok,\n1,1,zoo,1,30,maybe,\n1,x,arc,1,30,ok,\n")
	alone, _ := read(t, "1,1,bar,1,30,ok,\n")
	if f.Digest() != alone.Digest() {
		t.Errorf("levels %v, alone %v", f.Features[1].Levels, alone.Features[1].Levels)
	}
}

func TestManyBrokenRowsAreCounted(t *testing.T) {
	_, report := read(t, strings.Repeat("x\n", 3*MaxRowErrors)+"1,1,bar,1,30,ok,\n")
	if report.Broken != 3*MaxRowErrors || len(report.Errors) != MaxRowErrors || report.Good != 1 {
		t.Errorf("%d broken, %d told, %d good", report.Broken, len(report.Errors), report.Good)
	}
}

func TestReadRefusals(t *testing.T) {
	wide := strings.Repeat("c,", MaxColumns) + "c\n"
	levels := &strings.Builder{}
	for i := range score.MaxLevels + 1 {
		fmt.Fprintf(levels, "1,1,level %d,1,30,ok,\n", i)
	}
	for _, c := range []struct {
		name, text, want string
		kind             errs.Kind
	}{
		{"empty", "", "the file is empty", errs.Invalid},
		{"a column too many", wide, "2049 columns, limit 2048", errs.TooLarge},
		{"a column twice", "id,id\n", `column "id" occurs twice`, errs.Invalid},
		{"a feature less", "income,end\n", `column "trade" of mapping small is missing`, errs.Invalid},
		{"no target", "income,trade\n", `the target "end" of mapping small is missing`, errs.Invalid},
		{"an open quotation", "\"income,trade\n", "quotation mark", errs.Invalid},
		{"a header too long", strings.Repeat("x", MaxLineBytes+1), "limit 1048576", errs.TooLarge},
		{"no rows", header, "no row could be read", errs.Invalid},
		{"only broken rows", header + "x\n", "no row could be read", errs.Invalid},
		{"a category without values", header + "1,1,,1,30,ok,\n", "column trade has no value", errs.Invalid},
	} {
		_, report, err := Read(strings.NewReader(c.text), parse(t, small))
		if !errs.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || report == nil {
			t.Errorf("%s: %v, want %s with %q", c.name, err, c.kind, c.want)
		}
	}
	_, report := read(t, levels.String())
	if report.Broken != 1 || !strings.Contains(report.Errors[0].Reason, "more than 1024 levels") {
		t.Errorf("a level too many: %+v", report)
	}
}

// TestASourceThatFails at the header and in the rows.
func TestASourceThatFails(t *testing.T) {
	broken := errors.New("cable cut")
	for _, before := range []string{"", header, header + "1,1,bar,1,30,ok,\n"} {
		source := io.MultiReader(strings.NewReader(before), iotest.ErrReader(broken))
		_, _, err := Read(source, parse(t, small))
		if !errs.Is(err, errs.Unavailable) || !errors.Is(err, broken) {
			t.Errorf("after %d bytes: %v, want unavailable", len(before), err)
		}
	}
}

// TestReaderOfApplications reads rows for a model: no target, a column less, a level unseen.
func TestReaderOfApplications(t *testing.T) {
	m := parse(t, small)
	features := []score.Feature{
		{Name: "trade", Kind: score.Categorical, Levels: []string{"bar", "shop"}, Reason: "R2"},
		{Name: "income", Kind: score.Numeric, Decimals: 2, Reason: "R1"},
		{Name: "extra", Kind: score.Numeric, Reason: "R1"},
	}
	r, err := NewReader(strings.NewReader("trade,income\nshop,10.5\nzoo,NA\nbar,x\nbar\nbar,1\n"), m)
	if err != nil {
		t.Fatal(err)
	}
	if r.Has("sex") || !r.Has("trade") {
		t.Error("Has is wrong")
	}
	var got []string
	for {
		row, err := r.Next()
		if err == io.EOF {
			break
		}
		var broken *RowError
		if err == nil {
			var values []int64
			values, err = row.Values(features, nil)
			if err == nil {
				got = append(got, fmt.Sprint(row.Number, values[0], values[1], values[2] == score.Missing,
					row.Field("sex")))
				continue
			}
		}
		if !errors.As(err, &broken) {
			t.Fatal(err)
		}
		got = append(got, broken.Error())
	}
	want := []string{"1 1 1050 true",
		fmt.Sprint(2, score.Missing, score.Missing, true, ""),
		`row 3, column income: score.parse: "x" is not a decimal number`,
		"row 4: 1 fields for 2 columns", "5 0 100 true"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

func TestSubsetAndAlign(t *testing.T) {
	f, _ := read(t, "1,1,bar,1,30,ok,\n2,2,shop,2,50,late,\n3,3,zoo,1,30,ok,\n4,4,,1,30,ok,\n")
	s := f.Subset([]int32{2, 1})
	if s.Rows() != 2 || s.Row(0, nil)[0] != 300 || !s.Bad(1) || s.Protected()[1].Group[1] != 1 {
		t.Errorf("the subset has %d rows, %v", s.Rows(), s.Row(0, nil))
	}
	model := []score.Feature{
		{Name: "trade", Kind: score.Categorical, Levels: []string{"shop", "zoo"}, Reason: "R"},
		{Name: "income", Kind: score.Numeric, Decimals: 2, Reason: "R"},
	}
	a, err := f.Align(model)
	if err != nil {
		t.Fatal(err)
	}
	var trades []int64
	for row := range a.Rows() {
		trades = append(trades, a.Row(row, nil)[0])
	}
	if fmt.Sprint(trades) != fmt.Sprint([]int64{score.Missing, 0, 1, score.Missing}) {
		t.Errorf("trades are %d", trades)
	}
	for _, c := range []struct {
		harm func(*score.Feature)
		want string
	}{
		{func(f *score.Feature) { f.Name = "wealth" }, `no feature "wealth"`},
		{func(f *score.Feature) { f.Decimals = 3 }, "of 2 decimals in the data"},
		{func(f *score.Feature) { f.Kind = score.Categorical }, "is numeric of 2"},
	} {
		changed := append([]score.Feature(nil), model...)
		c.harm(&changed[1])
		if _, err := f.Align(changed); !errs.Is(err, errs.Invalid) ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func TestDigestIsOfTheContent(t *testing.T) {
	const rows = "1,1,bar,1,30,ok,\n2,2,shop,2,50,late,\n"
	f, _ := read(t, rows)
	same, _ := read(t, strings.ReplaceAll(rows, ",\n", ",note\n"))
	if f.Digest() != same.Digest() {
		t.Error("a column that is not mapped changes the digest")
	}
	for _, c := range []struct{ old, new string }{
		{"1,1,bar", "1,1.01,bar"}, {"ok", "late"}, {"shop", "ship"}, {"bar", ""},
	} {
		other, _ := read(t, strings.Replace(rows, c.old, c.new, 1))
		if f.Digest() == other.Digest() {
			t.Errorf("%q for %q leaves the digest", c.new, c.old)
		}
	}
	group, _ := read(t, strings.Replace(rows, ",1,30", ",2,60", 1))
	if f.Digest() != group.Digest() {
		t.Error("a protected attribute changes the digest")
	}
}

// FuzzSplitLine holds the splitting of a line to encoding/csv where that accepts the line.
func FuzzSplitLine(f *testing.F) {
	f.Add(`a,"b ""c"", d",`)
	f.Add(`"",x,""""`)
	f.Add(`a"b,"c"d`)
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, "\r\n") || line == "" {
			return
		}
		fields, err := splitLine(line, ',', nil)
		want, wantErr := csv.NewReader(strings.NewReader(line)).Read()
		if !strings.ContainsRune(line, '\ufffd') && strings.ToValidUTF8(line, "") == line &&
			(err == nil) != (wantErr == nil) {
			t.Fatalf("%q: %v, by the library %v", line, err, wantErr)
		}
		if err == nil && fmt.Sprintf("%q", fields) != fmt.Sprintf("%q", want) {
			t.Fatalf("%q is %q, by the library %q", line, fields, want)
		}
	})
}

// FuzzRead reads any bytes as a data set: it ends, and every row is read or told.
func FuzzRead(f *testing.F) {
	f.Add([]byte(header + "1,1,bar,1,30,ok,\nx\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := parse(t, small)
		frame, report, err := Read(bytes.NewReader(data), m)
		if report.Good+report.Bad+report.Broken != report.Rows {
			t.Fatalf("the report does not add up: %+v", report)
		}
		if err == nil && frame.Rows() != report.Good+report.Bad {
			t.Fatalf("%d rows, report %+v", frame.Rows(), report)
		}
	})
}

func TestLinesOfAnyLength(t *testing.T) {
	for _, size := range []int{0, 1, 15, 16, 17, 100, MaxLineBytes - 2, MaxLineBytes - 1} {
		line := strings.Repeat("y", size)
		l := lineReader{source: bufio.NewReaderSize(strings.NewReader(line+"\n"+line), 16)}
		for range 2 {
			got, err := l.next()
			if size == 0 && err == io.EOF {
				break
			}
			if err != nil || got != line {
				t.Fatalf("a line of %d bytes comes as %d, %v", size, len(got), err)
			}
		}
		if _, err := l.next(); err != io.EOF {
			t.Errorf("after the last line: %v", err)
		}
	}
}

// TestDataSets reads the public data sets where they are present; their figures are those published
// with them.
func TestDataSets(t *testing.T) {
	for _, c := range []struct {
		mapping, file string
		rows, bad     int
	}{
		{"taiwan", "taiwan_default.csv", 30_000, 6_636},
		{"german", "german_credit.csv", 1_000, 300},
		{"lendingclub", "lendingclub_2016q1.csv", 9_857, 517},
	} {
		file := openData(t, c.file)
		if file == nil {
			continue
		}
		m, err := Ship(c.mapping)
		if err != nil {
			t.Fatal(err)
		}
		f, report, err := Read(file, m)
		if err != nil {
			t.Fatal(err)
		}
		if f.Rows() != c.rows || f.BadRows() != c.bad || report.Broken != 0 || report.Unmapped != nil {
			t.Errorf("%s: %d rows, %d bad, report %+v", c.mapping, f.Rows(), f.BadRows(), report)
		}
	}
}

// openData opens a file of $SURETY_DATA or of shared/data beside the repository; nil where there is
// none, which the log says.
func openData(t testing.TB, name string) *os.File {
	t.Helper()
	folders := []string{os.Getenv("SURETY_DATA")}
	if here, err := os.Getwd(); err == nil {
		for ; here != filepath.Dir(here); here = filepath.Dir(here) {
			folders = append(folders, filepath.Join(here, "shared", "data"))
		}
	}
	for _, folder := range folders {
		if file, err := os.Open(filepath.Join(folder, name)); folder != "" && err == nil {
			t.Cleanup(func() { file.Close() })
			return file
		}
	}
	t.Logf("%s is in none of $SURETY_DATA and shared/data: not read", name)
	return nil
}
