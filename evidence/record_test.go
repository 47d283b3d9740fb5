package evidence

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
)

func sampleEntry() Entry {
	return Entry{
		Source: "lending.outbox", SourceSeq: 7, Part: "lending", Kind: "application.decided",
		Subjects: []ident.ID{{Lo: 1}, {Hi: 2, Lo: 3}}, Trace: ident.ID{Lo: 9},
		At: clock.MustDate(2026, 3, 1).Instant(), Payload: []byte(`{"decision":"approve"}`),
	}
}

func sampleRecord() Record {
	e := sampleEntry()
	return e.Record()
}

func wantKind(t testing.TB, err error, kind errs.Kind, fragment string) {
	t.Helper()
	if !errs.Is(err, kind) || !strings.Contains(err.Error(), fragment) {
		t.Fatalf("got %v (%v), want kind %v and %q in the text", err, errs.KindOf(err), kind, fragment)
	}
}

// The bytes of version 1 never change: logs are full of them.
func TestRecordGoldenBytes(t *testing.T) {
	r := sampleRecord()
	got, err := r.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := "01" + "00" + "0000000000000007" + "18988e8f6b2f0000" +
		"00000000000000000000000000000009" +
		"2ddd116c830744f5435c7391895c584921c7e83c19313ba43a30582a5e94e4ea" + "00000016" +
		"0e" + "6c656e64696e672e6f7574626f78" + "07" + "6c656e64696e67" +
		"13" + "6170706c69636174696f6e2e64656369646564" + "0002" +
		"00000000000000000000000000000001" + "00000000000000020000000000000003"
	if hexText(got) != want {
		t.Errorf("got  %s\nwant %s", hexText(got), want)
	}
	const leaf = "b60a60df734e9a8263d9c5b54459c3e0d8aaeb73d5302e15cf3d578574e50541"
	if hash := LeafHash(got).String(); hash != leaf {
		t.Errorf("leaf hash %s, want %s", hash, leaf)
	}
}

func hexText(b []byte) string {
	const digits = "0123456789abcdef"
	var text strings.Builder
	for _, c := range b {
		text.WriteByte(digits[c>>4])
		text.WriteByte(digits[c&15])
	}
	return text.String()
}

// A record with every defect, mended one a row in the order they are found.
func TestRecordRefusals(t *testing.T) {
	r := Record{
		Source: "Lending", Part: strings.Repeat("x", MaxName+1), Kind: "",
		PayloadBytes: MaxPayload + 1, Trace: ident.Max,
		Subjects: make([]ident.ID, MaxSubjects+1),
	}
	rows := []struct {
		kind     errs.Kind
		fragment string
		mend     func()
	}{
		{errs.Invalid, "source has 'L' at position 1", func() { r.Source = "lending" }},
		{errs.Invalid, "part has 65 characters, want 1 to 64", func() { r.Part = "lending" }},
		{errs.Invalid, "kind has 0 characters", func() { r.Kind = "loan.closed" }},
		{errs.Invalid, "sequence number is 0", func() { r.SourceSeq = 1 }},
		{errs.Invalid, "instant is zero", func() { r.At = 1 }},
		{errs.TooLarge, "payload has 262145 bytes, the limit is 262144", func() { r.PayloadBytes = 0 }},
		{errs.Invalid, "digest of an empty payload", func() { r.Digest = Digest(nil) }},
		{errs.Invalid, "trace is the reserved id", func() { r.Trace = ident.ID{} }},
		{errs.TooLarge, "1025 subjects, the limit is 1024", func() { r.Subjects = r.Subjects[:20] }},
		{errs.Invalid, "subject 1 names nothing", func() {
			for i := range r.Subjects {
				r.Subjects[i] = ident.ID{Hi: 1, Lo: uint64(i % 19)}
			}
		}},
		{errs.Invalid, "is named twice", func() { r.Subjects = []ident.ID{{Lo: 4}, {Lo: 5}, {Lo: 4}} }},
		{errs.Invalid, "is named twice", func() { r.Subjects = r.Subjects[:2] }},
	}
	for _, row := range rows {
		wantKind(t, r.Check(), row.kind, row.fragment)
		into := []byte("before")
		if got, err := r.Append(into); err == nil || !bytes.Equal(got, into) {
			t.Errorf("%s: appended %x, %v", row.fragment, got, err)
		}
		row.mend()
	}
	if err := r.Check(); err != nil {
		t.Fatalf("mended: %v", err)
	}
}

func TestDecodeRefusals(t *testing.T) {
	r := sampleRecord()
	good, err := r.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for _, row := range []struct {
		name     string
		data     []byte
		kind     errs.Kind
		fragment string
	}{
		{"empty", nil, errs.Corrupt, "end too early"},
		{"too long", make([]byte, MaxRecord+1), errs.Corrupt, "the limit is"},
		{"later version", change(0, 2), errs.Corrupt, "version 2, known is 1"},
		{"unknown flag", change(1, 2), errs.Corrupt, "unknown flags 0x02"},
		{"trailing byte", append(bytes.Clone(good), 0), errs.Corrupt, "1 bytes too many"},
		{"against a rule", change(71, 'L'), errs.Invalid, "source has 'L'"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := Decode(row.data)
			wantKind(t, err, row.kind, row.fragment)
		})
	}
	for n := range good {
		if _, err := Decode(good[:n]); err == nil {
			t.Errorf("the first %d of %d bytes decode", n, len(good))
		}
	}
}

func TestLargestRecordFits(t *testing.T) {
	r := sampleRecord()
	name := strings.Repeat("n", MaxName)
	r.Source, r.Part, r.Kind = name, name, name
	r.Subjects = nil
	for i := range MaxSubjects {
		r.Subjects = append(r.Subjects, ident.ID{Lo: uint64(i + 1)})
	}
	encoded, err := r.Append(nil)
	if err != nil || len(encoded) != MaxRecord {
		t.Fatalf("got %d bytes, %v, want MaxRecord %d", len(encoded), err, MaxRecord)
	}
	back, err := Decode(encoded)
	if err != nil || !reflect.DeepEqual(back, r) {
		t.Fatalf("got %v back", err)
	}
}

func drawRecord(t *rapid.T) Record {
	name := rapid.StringMatching(`[a-z0-9._-]{1,64}`)
	id := rapid.Custom(func(t *rapid.T) ident.ID {
		return ident.ID{Hi: rapid.Uint64().Draw(t, "hi"), Lo: rapid.Uint64Range(1, 1<<63).Draw(t, "lo")}
	})
	payload := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "payload")
	return Record{
		Source: name.Draw(t, "source"), Part: name.Draw(t, "part"), Kind: name.Draw(t, "kind"),
		SourceSeq: rapid.Uint64Range(1, ^uint64(0)).Draw(t, "seq"),
		Subjects: rapid.SliceOfNDistinct(id, 1, 30, func(id ident.ID) ident.ID { return id }).
			Draw(t, "subjects"),
		Trace: id.Draw(t, "trace"), At: clock.Instant(rapid.Uint64Min(1).Draw(t, "at")),
		Digest: Digest(payload), PayloadBytes: uint32(len(payload)),
		Sealed: rapid.Bool().Draw(t, "sealed"),
	}
}

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRecord(t)
		encoded, err := r.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(encoded)
		if err != nil || !reflect.DeepEqual(back, r) {
			t.Fatalf("got %+v, %v, want %+v", back, err, r)
		}
	})
}

func FuzzDecode(f *testing.F) {
	r := sampleRecord()
	encoded, err := r.Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded)
	f.Add(encoded[:80])
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Decode(data)
		if err != nil {
			return
		}
		again, err := r.Append(nil)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("accepted %x, encodes to %x, %v", data, again, err)
		}
	})
}

func BenchmarkAppendRecord(b *testing.B) {
	r := sampleRecord()
	buffer := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		encoded, err := r.Append(buffer)
		if err != nil {
			b.Fatal(err)
		}
		LeafHash(encoded)
	}
}
