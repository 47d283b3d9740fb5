package lending

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
)

// What is signed, stored for replay or proved later is encoded as text: a first line that names
// the format and its version, then one "key value" to a line, always all keys and always in one
// order. A person can read it, any tool can hash it, and there is one encoding of one value: a
// decoder accepts nothing that it would not write.

// Digest is a SHA-256 of a canonical encoding.
type Digest [sha256.Size]byte

// DigestOf returns the digest of the bytes.
func DigestOf(data []byte) Digest { return sha256.Sum256(data) }

// IsZero reports whether the digest is absent.
func (d Digest) IsZero() bool { return d == Digest{} }

// String returns 64 lower-case hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText encodes the digest as String does.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText accepts what MarshalText gives; kind Invalid otherwise.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != 2*sha256.Size {
		return errs.New(errs.Invalid, "lending.digest: %d characters, want %d", len(text), 2*sha256.Size)
	}
	var parsed Digest
	if _, err := hex.Decode(parsed[:], text); err != nil {
		return errs.As(errs.Invalid, err, "lending.digest")
	}
	*d = parsed
	return nil
}

// encoder appends lines.
type encoder struct{ b []byte }

func newEncoder(format string, size int) *encoder {
	e := &encoder{b: make([]byte, 0, size)}
	e.b = append(append(e.b, format...), '\n')
	return e
}

func (e *encoder) key(key string) { e.b = append(append(e.b, key...), ' ') }
func (e *encoder) end()           { e.b = append(e.b, '\n') }
func (e *encoder) space()         { e.b = append(e.b, ' ') }

func (e *encoder) word(key, value string) {
	e.key(key)
	e.b = append(e.b, value...)
	e.end()
}

func (e *encoder) number(key string, n uint64) {
	e.key(key)
	e.b = strconv.AppendUint(e.b, n, 10)
	e.end()
}

func (e *encoder) signed(key string, n int64) {
	e.key(key)
	e.b = strconv.AppendInt(e.b, n, 10)
	e.end()
}

func (e *encoder) amount(key string, a money.Amount) {
	e.key(key)
	e.appendAmount(a)
	e.end()
}

func (e *encoder) appendAmount(a money.Amount) {
	if n, fits := a.Uint64(); fits {
		e.b = strconv.AppendUint(e.b, n, 10)
		return
	}
	e.b = append(e.b, a.String()...)
}

func (e *encoder) date(key string, d clock.Date) { e.word(key, d.String()) }
func (e *encoder) rate(key string, r Rate)       { e.word(key, r.String()) }
func (e *encoder) digest(key string, d Digest)   { e.word(key, d.String()) }

func (e *encoder) id(key string, id ident.ID) { e.word(key, id.String()) }

// text writes what a person wrote: a backslash and control characters as \xHH, so that no text can
// hold a line end or pass for another line.
func (e *encoder) text(key, value string) {
	const digits = "0123456789abcdef"
	e.key(key)
	for i := 0; i < len(value); i++ {
		if c := value[i]; c < ' ' || c == '\\' || c == 0x7f {
			e.b = append(e.b, '\\', 'x', digits[c>>4], digits[c&15])
		} else {
			e.b = append(e.b, c)
		}
	}
	e.end()
}

// decoder reads the lines that an encoder wrote. The first thing out of place is kept as the error
// and everything after it reads as zero.
type decoder struct {
	op   string
	rest string
	line int // of the current line, from 1
	err  error
}

// newDecoder checks the size and the first line.
func newDecoder(op, format string, data []byte) *decoder {
	d := &decoder{op: op, rest: string(data)}
	if len(data) > encodedMax {
		d.err = errs.New(errs.TooLarge, "%s: %d bytes, the limit is %d", op, len(data), encodedMax)
		return d
	}
	if first := d.next(); d.err == nil && first != format {
		d.fail("format %q, want %q", clip(first), format)
	}
	return d
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		args = append([]any{d.op, d.line}, args...)
		d.err = errs.New(errs.Corrupt, "%s: line %d: "+format, args...)
	}
}

// next returns the next line without its end.
func (d *decoder) next() string {
	d.line++
	for i := 0; i < len(d.rest) && i <= lineMax; i++ {
		if d.rest[i] == '\n' {
			line := d.rest[:i]
			d.rest = d.rest[i+1:]
			return line
		}
	}
	d.fail("no end within %d bytes", min(len(d.rest), lineMax))
	return ""
}

// word returns the value of the next line, which must have the key.
func (d *decoder) word(key string) string {
	if d.err != nil {
		return ""
	}
	line := d.next()
	if d.err == nil && (len(line) <= len(key) || line[:len(key)] != key || line[len(key)] != ' ') {
		d.fail("%q, want %s", clip(line), key)
	}
	if d.err != nil {
		return ""
	}
	return line[len(key)+1:]
}

// read gives the next line's value to a parser.
func (d *decoder) read(key string, parse func(string) error) {
	word := d.word(key)
	if d.err != nil {
		return
	}
	if err := parse(word); err != nil {
		d.fail("%s: %v", key, err)
	}
}

func (d *decoder) number(key string, limit uint64) (n uint64) {
	d.read(key, func(s string) (err error) { n, err = parseNumber(s, limit); return err })
	return n
}

func (d *decoder) signed(key string) (n int64) {
	d.read(key, func(s string) (err error) {
		if n, err = strconv.ParseInt(s, 10, 64); err == nil && strconv.FormatInt(n, 10) != s {
			err = errs.New(errs.Corrupt, "%q is not canonical", clip(s))
		}
		return err
	})
	return n
}

func (d *decoder) amount(key string) (a money.Amount) {
	d.read(key, func(s string) (err error) { a, err = money.ParseMinor(s); return err })
	return a
}

func (d *decoder) date(key string) (at clock.Date) {
	d.read(key, func(s string) (err error) { at, err = clock.ParseDate(s); return err })
	return at
}

func (d *decoder) rate(key string) (r Rate) {
	d.read(key, func(s string) (err error) { r, err = ParseRate(s); return err })
	return r
}

func (d *decoder) id(key string) (id ident.ID) {
	d.read(key, func(s string) (err error) { id, err = ident.Parse(s); return err })
	return id
}

func (d *decoder) digest(key string) (digest Digest) {
	d.read(key, func(s string) error { return digest.UnmarshalText([]byte(s)) })
	return digest
}

func (d *decoder) enum(key string, names []string) (n int) {
	d.read(key, func(s string) (err error) { n, err = enumParse(key, names, s); return err })
	return n
}

func (d *decoder) text(key string) string {
	word := d.word(key)
	var b []byte
	for i := 0; i < len(word); i++ {
		if word[i] != '\\' {
			b = append(b, word[i])
			continue
		}
		if i+4 > len(word) || word[i+1] != 'x' {
			d.fail("%s: a broken escape at byte %d", key, i+1)
			return ""
		}
		c, err := strconv.ParseUint(word[i+2:i+4], 16, 8)
		if err != nil {
			d.fail("%s: a broken escape at byte %d", key, i+1)
			return ""
		}
		b = append(b, byte(c))
		i += 3
	}
	return string(b)
}

// words splits the next line's value into exactly n words.
func (d *decoder) words(key string, n int) []string {
	word := d.word(key)
	list := make([]string, n)
	for i := range list {
		end := len(word)
		for k := 0; k < len(word); k++ {
			if word[k] == ' ' {
				end = k
				break
			}
		}
		list[i] = word[:end]
		word = word[min(end+1, len(word)):]
	}
	if d.err == nil && (word != "" || list[n-1] == "") {
		d.fail("%s: not %d words", key, n)
	}
	return list
}

// close returns the first error; what is left over is one, and so is a text that the encoder would
// have written otherwise.
func (d *decoder) close(data []byte, again func() []byte) error {
	if d.err == nil && d.rest != "" {
		d.fail("%d bytes too many", len(d.rest))
	}
	if d.err == nil && string(again()) != string(data) {
		d.fail("not in canonical form")
	}
	return d.err
}

func parseNumber(s string, limit uint64) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, errs.New(errs.Corrupt, "%q is not a number", clip(s))
	}
	if n > limit {
		return 0, errs.New(errs.Corrupt, "%d is above %d", n, limit)
	}
	return n, nil
}
