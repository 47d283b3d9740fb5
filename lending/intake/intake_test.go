package intake

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"surety/base/errs"
)

func mapping(t *testing.T, name string) *Mapping {
	t.Helper()
	m, err := LoadMapping(name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// taiwanHeader and the two rows below it have the layout of the public file.
const taiwanHeader = `"ID","LIMIT_BAL","SEX","EDUCATION","MARRIAGE","AGE","PAY_0","PAY_2","PAY_3",` +
	`"PAY_4","PAY_5","PAY_6","BILL_AMT1","BILL_AMT2","BILL_AMT3","BILL_AMT4","BILL_AMT5","BILL_AMT6",` +
	`"PAY_AMT1","PAY_AMT2","PAY_AMT3","PAY_AMT4","PAY_AMT5","PAY_AMT6","default.payment.next.month"` + "\n"

func TestTaiwan(t *testing.T) {
	file := taiwanHeader +
		"7,500000,1,1,2,29,0,0,0,0,0,0,-20,412023,445007,542653,483003,473944,55000,40000,38000,20239,13750,13770,0\n" +
		"8,100000.0,2,2,2,23,0,-1,-1,0,0,-1,11876,380,601,221,-159,567,380,601,0,581,1687,1542,0\n"
	r, err := NewReader(strings.NewReader(file), mapping(t, "taiwan"))
	if err != nil {
		t.Fatal(err)
	}
	row, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	f := row.Form
	if f.Amount != "50000000" || f.ExistingDebt != "0" || f.MonthlyTurnover != "50000000" ||
		f.IdNumber != "UCITW7" || f.Phone != "+886900000007" || !f.Consent || f.TermMonths != 12 {
		t.Errorf("form %v", f)
	}
	if row.Features["BILL_AMT1"] != "-20" || len(row.Features) != 20 {
		t.Errorf("row %+v", row)
	}
	if _, found := row.Features["SEX"]; found {
		t.Error("a protected column is a feature")
	}
	if row, err = r.Next(); err != nil || row.Form.Amount != "10000000" || row.Number != 2 {
		t.Errorf("second row %+v, %v", row, err)
	}
	if _, err = r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("end: %v", err)
	}
}

// TestBrokenRows breaks one row after another; each is told apart and the rest goes on.
func TestBrokenRows(t *testing.T) {
	const header = "name,id_number,phone,business_name,months_in_business,monthly_turnover," +
		"employees,existing_debt,amount,term_months,purpose,consent\n"
	good := "A,1,+861,B,12,1000,1,0,500,12,stock,true\n"
	tests := []struct {
		row, column, reason string
	}{
		{"A,1,+861\n", "", "3 fields, the header has 12"},
		{"A,1,+861,B,x,1000,1,0,500,12,stock,true\n", "months_in_business", `"x" is not a whole number`},
		{"A,1,+861,B,12,1000,1,0,500,99999999999,stock,true\n", "term_months",
			`"99999999999" is not a whole number`},
		{"A,1,+861,B,12,1000,1,0,500,12,stock,perhaps\n", "consent", `"perhaps" is neither true nor false`},
		{"\"A,1,+861,B,12,1000,1,0,500,12,stock,true\n", "", `extraneous or missing " in quoted-field`},
		{strings.Repeat("x", LineMax+1) + "\n", "", "the line is longer than 1048576 bytes"},
		{strings.Repeat("x", 3*LineMax) + "\n", "", "the line is longer than 1048576 bytes"},
		{"A\"B,1,+861,B,12,1000,1,0,500,12,stock,true\n", "", `bare " in non-quoted-field`},
	}
	var file strings.Builder
	file.WriteString(header)
	for _, tt := range tests {
		file.WriteString(tt.row + "\n" + good)
	}
	r, err := NewReader(strings.NewReader(file.String()), mapping(t, "form"))
	if err != nil {
		t.Fatal(err)
	}
	for i, tt := range tests {
		_, err := r.Next()
		var broken *RowError
		if !errors.As(err, &broken) {
			t.Fatalf("row %d: %v", 2*i+1, err)
		}
		if broken.Row != 2*i+1 || broken.Column != tt.column || broken.Reason != tt.reason {
			t.Errorf("got %+v, want column %q, reason %q", broken, tt.column, tt.reason)
		}
		if row, err := r.Next(); err != nil || row.Form.Amount != "500" {
			t.Errorf("the row after it: %+v, %v", row, err)
		}
	}
}

func TestWholeNumbers(t *testing.T) {
	for _, row := range []struct {
		text string
		n    int64
		ok   bool
	}{
		{"0", 0, true}, {"-20", -20, true}, {"12.0", 12, true}, {"12.", 12, true},
		{"5e+05", 500_000, true}, {"1E6", 1_000_000, true}, {"1.25e2", 125, true},
		{"-1.50e1", -15, true}, {"9223372036854775807", 9_223_372_036_854_775_807, true},
		{"", 0, false}, {"x", 0, false}, {"12.5", 0, false}, {"1.25e1", 0, false}, {"5e-1", 0, false},
		{".5e1", 0, false}, {"1.-5e2", 0, false}, {"1e", 0, false}, {"1e+", 0, false},
		{"1e19", 0, false}, {"1e99999999999999999999", 0, false}, {"e5", 0, false},
		{"9223372036854775808", 0, false}, {"1e5e5", 0, false}, {"0x10", 0, false},
	} {
		if n, ok := whole(row.text); n != row.n && row.ok || ok != row.ok {
			t.Errorf("%q is %d, %t; want %d, %t", row.text, n, ok, row.n, row.ok)
		}
	}
}

func TestHeader(t *testing.T) {
	_, err := NewReader(strings.NewReader("a,b\n1,2\n"), mapping(t, "taiwan"))
	if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), `no column "LIMIT_BAL"`) {
		t.Errorf("missing column: %v", err)
	}
	if _, err = NewReader(strings.NewReader(""), mapping(t, "form")); !errs.Is(err, errs.Invalid) {
		t.Errorf("empty file: %v", err)
	}
	endless := strings.NewReader(strings.Repeat("x", LineMax+1))
	if _, err = NewReader(endless, mapping(t, "form")); !errs.Is(err, errs.Invalid) {
		t.Errorf("endless line: %v", err)
	}
}

func TestMappingMistakes(t *testing.T) {
	good, err := os.ReadFile("mappings/form.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ old, new, want string }{
		{"name: form\n", "nome: form\n", "nome"},
		{"delimiter: \",\"", "delimiter: \";;\"", "not one character"},
		{"  purpose: {column: purpose}\n", "", "form.purpose is missing"},
		{"{column: phone}", "{column: phone, text: x}", "2 are given"},
		{"{column: phone}", "{columns: [phone, name]}", "must be max or sum"},
		{"{column: phone}", "{column: phone, times: 5000}", "must be 0 to 1000"},
	}
	for i, tt := range tests {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("m%d.yaml", i))
		text := strings.Replace(string(good), tt.old, tt.new, 1)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadMapping(path)
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v", tt.new, err)
		}
	}
	if _, err := LoadMapping("nonesuch"); !errs.Is(err, errs.Invalid) {
		t.Errorf("unknown name: %v", err)
	}
	if _, err := LoadMapping("/nonesuch.yaml"); !errs.Is(err, errs.NotFound) {
		t.Errorf("absent file: %v", err)
	}
}

// FuzzReader feeds the reader any bytes: it must end, and every row must be a form or an error.
func FuzzReader(f *testing.F) {
	f.Add([]byte(taiwanHeader + "1,2\n\"\n"))
	m, err := LoadMapping("taiwan")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := NewReader(strings.NewReader(taiwanHeader+string(data)), m)
		if err != nil {
			t.Fatal(err)
		}
		for range len(data) + 2 {
			row, err := r.Next()
			var broken *RowError
			switch {
			case errors.Is(err, io.EOF):
				return
			case err == nil && row.Form == nil:
				t.Fatal("a row without a form")
			case err != nil && !errors.As(err, &broken):
				return
			}
		}
		t.Fatal("more rows than bytes")
	})
}
