package wire

import (
	"reflect"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/base/ident"
)

func TestNamesRoundTrip(t *testing.T) {
	names := []Name{
		{AccountID: ident.ID{Lo: 1}, Name: "alice"},
		{AccountID: ident.ID{Hi: 2}, Metadata: map[string]string{"b": "", "a": "line\nbreak", "ä": "ü"}},
		{AccountID: ident.ID{Lo: 3, Hi: 4}, Name: "Käse & Co", Metadata: map[string]string{"k": "v"}},
		{AccountID: ident.ID{Lo: 5}},
	}
	encoded := AppendNames(nil, names)
	got, err := DecodeNames(encoded)
	if err != nil || !reflect.DeepEqual(got, names) {
		t.Errorf("%v came back as %v: %v", names, got, err)
	}
	for cut := range len(encoded) {
		if _, err := DecodeNames(encoded[:cut]); err != nil && !errs.Is(err, errs.Invalid) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
}

func TestNameRefusals(t *testing.T) {
	many := map[string]string{}
	for i := range MetadataMax + 1 {
		many[strings.Repeat("k", i+1)] = ""
	}
	id := ident.ID{Lo: 1}
	for _, row := range []struct {
		name Name
		want string
	}{
		{Name{Name: "x"}, "cannot be named"},
		{Name{AccountID: ident.Max}, "cannot be named"},
		{Name{AccountID: id, Name: strings.Repeat("x", NameMax+1)}, "129 bytes, want 1 to 128"},
		{Name{AccountID: id, Name: "a\x00"}, "does not print"},
		{Name{AccountID: id, Name: "a\n"}, "does not print"},
		{Name{AccountID: id, Name: "\xff"}, "not valid UTF-8"},
		{Name{AccountID: id, Name: " a"}, "begins or ends with a space"},
		{Name{AccountID: id, Metadata: many}, "33 metadata entries, the limit is 32"},
		{Name{AccountID: id, Metadata: map[string]string{"": ""}}, "metadata key of 0 bytes"},
		{Name{AccountID: id, Metadata: map[string]string{"k": strings.Repeat("v", ValueMax+1)}}, "1025 bytes"},
		{Name{AccountID: id, Metadata: map[string]string{"k": "a\x00b"}}, "is not text"},
	} {
		err := row.name.Check()
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%.40v: %v, want %q", row.name, err, row.want)
		}
	}
}

func FuzzDecodeNames(f *testing.F) {
	f.Add(AppendNames(nil, []Name{{AccountID: ident.ID{Lo: 1}, Name: "a", Metadata: map[string]string{"k": "v"}}}))
	f.Fuzz(func(t *testing.T, src []byte) {
		names, err := DecodeNames(src)
		if err != nil {
			if kind := errs.KindOf(err); kind != errs.Invalid && kind != errs.TooLarge {
				t.Errorf("kind %v", kind)
			}
			return
		}
		if again := AppendNames(nil, names); string(again) != string(src) {
			t.Errorf("%x came back as %x", src, again)
		}
	})
}
