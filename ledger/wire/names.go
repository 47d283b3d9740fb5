package wire

import (
	"encoding/binary"
	"maps"
	"slices"
	"unicode"
	"unicode/utf8"

	"surety/base/errs"
	"surety/base/ident"
)

// AppendName appends the entry's encoding: the same bytes for the same entry, whatever the order in
// which its metadata was set. It is stored in the journal as well as sent.
//
//	id        16 bytes, low half first
//	name      2 bytes of length, then the name
//	metadata  2 bytes of count, then by key in order: 2 bytes of length and the key,
//	          2 bytes of length and the value
func AppendName(dst []byte, n *Name) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, n.AccountID.Lo)
	dst = binary.LittleEndian.AppendUint64(dst, n.AccountID.Hi)
	dst = appendText(dst, n.Name)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(n.Metadata)))
	for _, key := range slices.Sorted(maps.Keys(n.Metadata)) {
		dst = appendText(dst, key)
		dst = appendText(dst, n.Metadata[key])
	}
	return dst
}

func appendText(dst []byte, text string) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(text)))
	return append(dst, text...)
}

// CutName decodes the entry at the beginning of src and returns what follows it. An error is of
// kind Invalid: the bytes end too early, or the entry breaks a limit, or it is not in the one form
// that AppendName gives it.
func CutName(src []byte) (n Name, rest []byte, err error) {
	if len(src) < 16 {
		return Name{}, src, errs.New(errs.Invalid, "wire: a name ends within its id")
	}
	n.AccountID.Lo = binary.LittleEndian.Uint64(src)
	n.AccountID.Hi = binary.LittleEndian.Uint64(src[8:])
	n.Name, rest, err = cutText(src[16:], NameMax)
	if err != nil {
		return Name{}, src, err
	}
	if len(rest) < 2 {
		return Name{}, src, errs.New(errs.Invalid, "wire: a name ends before its metadata")
	}
	count := int(binary.LittleEndian.Uint16(rest))
	rest = rest[2:]
	last := ""
	for i := range count {
		var key, value string
		if key, rest, err = cutText(rest, KeyMax); err != nil {
			return Name{}, src, err
		}
		if value, rest, err = cutText(rest, ValueMax); err != nil {
			return Name{}, src, err
		}
		if i > 0 && key <= last {
			return Name{}, src, errs.New(errs.Invalid, "wire: metadata keys are not in order")
		}
		if n.Metadata == nil {
			n.Metadata = make(map[string]string, min(count, MetadataMax))
		}
		n.Metadata[key], last = value, key
	}
	return n, rest, n.Check()
}

func cutText(src []byte, limit int) (text string, rest []byte, err error) {
	if len(src) < 2 {
		return "", src, errs.New(errs.Invalid, "wire: a text ends within its length")
	}
	size := int(binary.LittleEndian.Uint16(src))
	if size > limit {
		return "", src, errs.New(errs.Invalid, "wire: a text of %d bytes, the limit is %d", size, limit)
	}
	if len(src) < 2+size {
		return "", src, errs.New(errs.Invalid, "wire: a text ends after %d of %d bytes", len(src)-2, size)
	}
	return string(src[2 : 2+size]), src[2+size:], nil
}

// AppendNames appends the encoding of all entries, one after the other.
func AppendNames(dst []byte, names []Name) []byte {
	for i := range names {
		dst = AppendName(dst, &names[i])
	}
	return dst
}

// DecodeNames is the inverse of AppendNames. Kind Invalid as for CutName, TooLarge for more than
// NamesMax entries.
func DecodeNames(src []byte) ([]Name, error) {
	var names []Name
	for len(src) > 0 {
		if len(names) == NamesMax {
			return nil, errs.New(errs.TooLarge, "wire: more than %d names", NamesMax)
		}
		n, rest, err := CutName(src)
		if err != nil {
			return nil, errs.Wrap(err, "names[%d]", len(names))
		}
		names, src = append(names, n), rest
	}
	return names, nil
}

// AppendNamePage appends a page of names: the cursor to go on from, then the entries.
func AppendNamePage(dst []byte, names []Name, next uint64) []byte {
	return AppendNames(putUint64(dst, next), names)
}

// DecodeNamePage is the inverse of AppendNamePage.
func DecodeNamePage(body []byte) (names []Name, next uint64, err error) {
	c := cursor{rest: body}
	next = c.uint64()
	if c.bad {
		return nil, 0, c.end("page of names")
	}
	names, err = DecodeNames(c.rest)
	return names, next, err
}

// Check returns nil where the entry keeps the limits: an id; a name and keys of printable text with
// no space at either end; values of valid UTF-8 without zeros. Kind Invalid otherwise.
func (n *Name) Check() error {
	if n.AccountID.IsZero() || n.AccountID == ident.Max {
		return errs.New(errs.Invalid, "name: account id %s cannot be named", n.AccountID)
	}
	if n.Name != "" {
		if err := checkText("name", n.Name, NameMax); err != nil {
			return err
		}
	}
	if len(n.Metadata) > MetadataMax {
		return errs.New(errs.Invalid, "name: %d metadata entries, the limit is %d",
			len(n.Metadata), MetadataMax)
	}
	for _, key := range slices.Sorted(maps.Keys(n.Metadata)) {
		if err := checkText("metadata key", key, KeyMax); err != nil {
			return err
		}
		if value := n.Metadata[key]; len(value) > ValueMax {
			return errs.New(errs.Invalid, "name: metadata %q has %d bytes, the limit is %d",
				key, len(value), ValueMax)
		} else if !utf8.ValidString(value) || slices.Contains([]byte(value), 0) {
			return errs.New(errs.Invalid, "name: metadata %q is not text", key)
		}
	}
	return nil
}

func checkText(what, text string, limit int) error {
	if text == "" || len(text) > limit {
		return errs.New(errs.Invalid, "name: a %s of %d bytes, want 1 to %d", what, len(text), limit)
	}
	if !utf8.ValidString(text) {
		return errs.New(errs.Invalid, "name: a %s is not valid UTF-8", what)
	}
	for _, c := range text {
		if !unicode.IsPrint(c) {
			return errs.New(errs.Invalid, "name: %s %q has a character that does not print", what, text)
		}
	}
	if text[0] == ' ' || text[len(text)-1] == ' ' {
		return errs.New(errs.Invalid, "name: %s %q begins or ends with a space", what, text)
	}
	return nil
}
