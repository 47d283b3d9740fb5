package joint

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/psi"
)

// The files of a party's layer.
const (
	AboutFile   = "about.json"
	ColumnsFile = "columns.csv"
	ModelFile   = "model.json" // of a party that brings the model
)

// About says what a party's columns belong to.
type About struct {
	Format   int            `json:"format"` // 1
	Party    string         `json:"party"`
	Contract enclave.Digest `json:"contract"`
	Session  string         `json:"session"` // hexadecimal: in which rows were matched
	Rows     int            `json:"rows"`
}

// Data is a party's columns for the rows that both parties have, ascending by token.
type Data struct {
	About   About
	Columns []string
	Tokens  []psi.Token
	Rows    [][]string
	Model   []byte // nil: the party brings none
}

// Prepare returns the part of a table that was matched, under the tokens of the matching.
func Prepare(s enclave.SignedContract, party string, t *Table, m *Matches) (*Data, error) {
	if m.Contract != s.Digest {
		return nil, errs.New(errs.Refused, "joint.prepare: rows were matched under %s, the contract is %s",
			m.Contract, s.Digest)
	}
	d := &Data{Columns: t.Columns, About: About{Format: 1, Party: party, Contract: s.Digest,
		Session: hex.EncodeToString(m.Session[:]), Rows: len(m.Rows)}}
	for _, match := range m.Rows {
		if match.Row < 0 || match.Row >= len(t.Rows) {
			return nil, errs.New(errs.Invalid, "joint.prepare: row %d was matched, the table has %d", match.Row,
				len(t.Rows))
		}
		d.Tokens = append(d.Tokens, match.Token)
		d.Rows = append(d.Rows, t.Rows[match.Row])
	}
	return d, nil
}

// Files returns the files of the party's layer, by name. The same data gives the same bytes.
func (d *Data) Files() (map[string][]byte, error) {
	about, err := json.Marshal(d.About)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "joint.data")
	}
	var b bytes.Buffer
	writeLine(&b, append([]string{enclave.TokenColumn}, d.Columns...))
	for i, token := range d.Tokens {
		writeLine(&b, append([]string{hex.EncodeToString(token[:])}, d.Rows[i]...))
	}
	if b.Len() > MaxDataBytes {
		return nil, errs.New(errs.TooLarge, "joint.data: %d bytes, the limit is %d", b.Len(), MaxDataBytes)
	}
	files := map[string][]byte{AboutFile: append(about, '\n'), ColumnsFile: b.Bytes()}
	if d.Model != nil {
		files[ModelFile] = d.Model
	}
	return files, nil
}

// writeLine writes cells in quotation marks, which none of them has inside.
func writeLine(b *bytes.Buffer, cells []string) {
	for i, cell := range cells {
		if i > 0 {
			b.WriteByte(',')
		}
		if strings.ContainsAny(cell, ", ") {
			cell = `"` + cell + `"`
		}
		b.WriteString(cell)
	}
	b.WriteByte('\n')
}

// ReadData reads a party's layer and holds it against the contract: kind Refused where it belongs to
// another contract or party, Corrupt where it is not what Files gives, TooLarge beyond the limits.
func ReadData(from fs.FS, s enclave.SignedContract, party string) (*Data, error) {
	d := &Data{Columns: Columns(s.Contract, party)}
	if err := d.readAbout(from); err != nil {
		return nil, err
	}
	a := &d.About
	if a.Format != 1 || a.Party != party || a.Contract != s.Digest {
		return nil, errs.New(errs.Refused, "joint.data: it is of %.80q under contract %s, want %q under %s",
			a.Party, a.Contract, party, s.Digest)
	}
	if err := d.readColumns(from); err != nil {
		return nil, err
	}
	if len(d.Tokens) != a.Rows {
		return nil, errs.New(errs.Corrupt, "joint.data: %q has %d rows, and says %d", party, len(d.Tokens),
			a.Rows)
	}
	if o := s.Contract.Operation; o.Kind == enclave.OpScore && o.ModelParty == party {
		model, err := readSome(from, ModelFile, MaxDataBytes)
		d.Model = model
		return d, err
	}
	return d, nil
}

func (d *Data) readAbout(from fs.FS) error {
	about, err := readSome(from, AboutFile, MaxAboutBytes)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(about))
	decoder.DisallowUnknownFields()
	return errs.As(errs.Corrupt, decoder.Decode(&d.About), "joint.data: %s", AboutFile)
}

func readSome(from fs.FS, name string, limit int64) ([]byte, error) {
	file, err := from.Open(name)
	if err != nil {
		return nil, errs.As(errs.NotFound, err, "joint.data")
	}
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	err = errors.Join(err, file.Close())
	if err == nil && int64(len(content)) > limit {
		return nil, errs.New(errs.TooLarge, "joint.data: %s has more than %d bytes", name, limit)
	}
	return content, errs.As(errs.Unavailable, err, "joint.data: %s", name)
}

func (d *Data) readColumns(from fs.FS) error {
	file, err := from.Open(ColumnsFile)
	if err != nil {
		return errs.As(errs.NotFound, err, "joint.data")
	}
	err = d.readRows(bufio.NewReaderSize(io.LimitReader(file, MaxDataBytes), 256<<10))
	return errors.Join(err, file.Close())
}

func (d *Data) readRows(from io.Reader) error {
	r := newCSV(from)
	header, err := r.Read()
	if err != nil || len(header) == 0 || header[0] != enclave.TokenColumn ||
		!slices.Equal(header[1:], d.Columns) {
		return errs.New(errs.Corrupt, "joint.data: %q has other columns than %q", d.About.Party, d.Columns)
	}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = d.add(record)
		}
		if err != nil {
			return errs.As(errs.Corrupt, err, "joint.data: %q, row %d", d.About.Party, len(d.Tokens)+1)
		}
	}
}

// add takes a row, whose token must stand after the one before.
func (d *Data) add(record []string) error {
	raw, err := hex.DecodeString(record[0])
	if err != nil || len(raw) != len(psi.Token{}) {
		return fmt.Errorf("not a token")
	}
	token := psi.Token(raw)
	if n := len(d.Tokens); n > 0 && bytes.Compare(d.Tokens[n-1][:], token[:]) >= 0 {
		return fmt.Errorf("its token does not stand after the one before")
	}
	row := make([]string, len(record)-1)
	for i, cell := range record[1:] {
		row[i] = strings.Clone(cell)
	}
	d.Tokens, d.Rows = append(d.Tokens, token), append(d.Rows, row)
	return nil
}
