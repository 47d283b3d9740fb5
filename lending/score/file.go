package score

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"

	"surety/base/errs"
)

// A model file is one JSON object of two members: the digest, then the model, whose text the digest
// is taken over. The text is canonical: fields in the order of Spec, one line for each field and
// one for each element of the long lists, no spaces. Load writes again what it has read and refuses
// a file that differs in a byte, so no two texts stand for one model and none is partly understood.
const (
	filePrefix = `{"digest":"sha256:`
	fileMiddle = `","model":`
	fileSuffix = "}\n"
)

// encodeFile wraps a body, the canonical text of a model, and its digest into a file.
func encodeFile(body []byte, digest [32]byte) []byte {
	file := make([]byte, 0, len(body)+128)
	file = append(file, filePrefix...)
	file = hex.AppendEncode(file, digest[:])
	file = append(file, fileMiddle...)
	file = append(file, body...)
	return append(file, fileSuffix...)
}

// decodeFile takes a file apart and verifies its digest. The body shares memory with data.
func decodeFile(data []byte) (body []byte, digest [32]byte, err error) {
	if len(data) > MaxFileBytes {
		return nil, digest, tooLarge("bytes", len(data), MaxFileBytes)
	}
	rest, ok := bytes.CutPrefix(data, []byte(filePrefix))
	if !ok || len(rest) < 2*len(digest) {
		return nil, digest, corrupt("the file does not begin as a model file does")
	}
	text := string(rest[:2*len(digest)])
	if err := checkDigest("digest", text); err != nil {
		return nil, digest, err
	}
	if _, err := hex.Decode(digest[:], rest[:2*len(digest)]); err != nil {
		return nil, digest, errs.As(errs.Corrupt, err, "score.load: digest")
	}
	body, ok = bytes.CutPrefix(rest[2*len(digest):], []byte(fileMiddle))
	if !ok {
		return nil, digest, corrupt("no model follows the digest")
	}
	if body, ok = bytes.CutSuffix(body, []byte(fileSuffix)); !ok {
		return nil, digest, corrupt("the file is cut off after %d bytes", len(data))
	}
	if sum := sha256.Sum256(body); sum != digest {
		return nil, digest, corrupt("the digest says %x and the content has %x", digest, sum)
	}
	return body, digest, nil
}

// encodeBody writes the canonical text of a spec.
func encodeBody(s *Spec) ([]byte, error) {
	w := &canonical{}
	w.begin()
	w.field("format", s.Format)
	w.field("kind", s.Kind)
	w.field("name", s.Name)
	w.field("synthetic", s.Synthetic)
	w.field("mapping", s.Mapping)
	w.field("mapping_sha256", s.MappingSHA256)
	w.field("training", s.Training)
	writeList(w, "reasons", s.Reasons)
	writeList(w, "features", s.Features)
	if s.Card != nil {
		w.key("card")
		w.begin()
		w.field("base_points", s.Card.BasePoints)
		writeList(w, "features", s.Card.Features)
		w.end()
	}
	if s.Forest != nil {
		w.key("forest")
		w.begin()
		w.field("base_micro", s.Forest.BaseMicro)
		writeList(w, "ranks", s.Forest.Ranks)
		writeList(w, "trees", s.Forest.Trees)
		w.end()
	}
	w.end()
	return w.text.Bytes(), w.err
}

// decodeBody reads the canonical text of a spec and checks that it is one: known fields only,
// within the limits, and equal to what encodeBody writes.
func decodeBody(body []byte) (*Spec, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	spec := &Spec{}
	if err := decoder.Decode(spec); err != nil {
		return nil, errs.As(errs.Corrupt, err, "score.load")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, corrupt("bytes follow the model")
	}
	if err := spec.check(); err != nil {
		return nil, err
	}
	again, err := encodeBody(spec)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, body) {
		return nil, corrupt("the text is not the canonical one: it differs at byte %d",
			differsAt(again, body))
	}
	return spec, nil
}

// differsAt returns the first index at which two unequal texts differ.
func differsAt(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// canonical writes JSON with one member or list element to a line. The first error sticks.
type canonical struct {
	text  bytes.Buffer
	inner bool // a member stands before in the innermost object
	err   error
}

func (w *canonical) begin() {
	w.text.WriteString("{\n")
	w.inner = false
}

func (w *canonical) end() {
	w.text.WriteString("\n}")
	w.inner = true
}

func (w *canonical) key(name string) {
	if w.inner {
		w.text.WriteString(",\n")
	}
	w.inner = true
	w.text.WriteString(`"` + name + `":`)
}

func (w *canonical) field(name string, value any) {
	w.key(name)
	w.value(value)
}

// value writes one value without spaces and with <, > and & as they are.
func (w *canonical) value(value any) {
	encoder := json.NewEncoder(&w.text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil && w.err == nil {
		w.err = errs.As(errs.Internal, err, "score.encode")
	}
	w.text.Truncate(w.text.Len() - 1) // the encoder ends each value with a line feed
}

// writeList writes a list, each element on its own line; nil and empty are both "[]".
func writeList[T any](w *canonical, name string, list []T) {
	w.key(name)
	w.text.WriteByte('[')
	for i := range list {
		if i > 0 {
			w.text.WriteByte(',')
		}
		w.text.WriteByte('\n')
		w.value(list[i])
	}
	w.text.WriteByte(']')
}
