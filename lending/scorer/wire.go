package scorer

import (
	"encoding/binary"
	"io"

	"surety/base/errs"
	"surety/base/ident"
	"surety/lending/score"
)

// A frame is a 32-bit length of what follows, one byte of kind, and a body; numbers are
// little-endian. Parent and child are the same program, so there is one version of it.
const (
	frameModel  = 1 // parent: a model file
	frameLoaded = 2 // child: the digest of the model it has loaded
	frameAsk    = 3 // parent: number, trace, digests of card and forest, values
	frameAnswer = 4 // child: number, two results
)

const (
	frameHead = 4 + 1
	askHead   = 8 + 16 + 32 + 32 + 2
	// resultHead is kind, points, probability, score, base and two counts.
	resultHead = 1 + 4 + 8 + 8 + 8 + 2 + 1
	reasonSize = 2 + 8
)

// begin appends the head of a frame, whose length end fills in.
func begin(into []byte, kind byte) []byte { return append(into, 0, 0, 0, 0, kind) }

// end fills in the length of the frame that began at start.
func end(into []byte, start int) []byte {
	binary.LittleEndian.PutUint32(into[start:], uint32(len(into)-start-4))
	return into
}

// appendModel appends a model's file.
func appendModel(into []byte, file []byte) []byte {
	start := len(into)
	return end(append(begin(into, frameModel), file...), start)
}

func appendLoaded(into []byte, digest [32]byte) []byte {
	start := len(into)
	return end(append(begin(into, frameLoaded), digest[:]...), start)
}

// appendAsk appends an ask under a number.
func appendAsk(into []byte, number uint64, ask *Ask) []byte {
	start := len(into)
	into = binary.LittleEndian.AppendUint64(begin(into, frameAsk), number)
	trace := ask.Trace.Bytes()
	card, forest := ask.Card.Digest(), ask.Forest.Digest()
	into = append(append(append(into, trace[:]...), card[:]...), forest[:]...)
	into = binary.LittleEndian.AppendUint16(into, uint16(len(ask.Values)))
	for _, value := range ask.Values {
		into = binary.LittleEndian.AppendUint64(into, uint64(value))
	}
	return end(into, start)
}

// asked is an ask as the child reads it.
type asked struct {
	number       uint64
	trace        ident.ID
	card, forest [32]byte
	values       []int64
}

// decodeAsk reads the body of an ask into a, using its memory again.
func decodeAsk(body []byte, a *asked) error {
	if len(body) < askHead {
		return malformed("an ask of %d bytes", len(body))
	}
	a.number = binary.LittleEndian.Uint64(body)
	a.trace = ident.FromBytes([16]byte(body[8:]))
	a.card, a.forest = [32]byte(body[24:]), [32]byte(body[56:])
	count := int(binary.LittleEndian.Uint16(body[88:]))
	body = body[askHead:]
	if len(body) != 8*count {
		return malformed("an ask of %d values in %d bytes", count, len(body))
	}
	a.values = a.values[:0]
	for ; len(body) > 0; body = body[8:] {
		a.values = append(a.values, int64(binary.LittleEndian.Uint64(body)))
	}
	return nil
}

// appendAnswer appends what both models say.
func appendAnswer(into []byte, number uint64, card, forest *score.Result, models [2]*score.Model,
) []byte {
	start := len(into)
	into = binary.LittleEndian.AppendUint64(begin(into, frameAnswer), number)
	into = appendResult(into, card, models[0])
	return end(appendResult(into, forest, models[1]), start)
}

// appendResult appends a result, without the names that the model gives its features.
func appendResult(into []byte, r *score.Result, m *score.Model) []byte {
	order := binary.LittleEndian
	into = order.AppendUint32(append(into, kindNumber(r.Kind)), uint32(r.ScorePoints))
	for _, n := range [...]int64{r.PDMicro, r.Score, r.Base} {
		into = order.AppendUint64(into, uint64(n))
	}
	into = append(order.AppendUint16(into, uint16(len(r.Contributions))), byte(len(r.Reasons)))
	for i := range r.Contributions {
		into = order.AppendUint64(into, uint64(r.Contributions[i].Amount))
	}
	for i := range r.Reasons {
		into = order.AppendUint16(into, uint16(featureIndex(m, r.Reasons[i].Feature)))
		into = order.AppendUint64(into, uint64(r.Reasons[i].Amount))
	}
	return into
}

func kindNumber(kind score.Kind) byte {
	if kind == score.KindCard {
		return 1
	}
	return 2
}

// featureIndex returns the place of a feature that the model has.
func featureIndex(m *score.Model, name string) int {
	for i := range m.Features() {
		if m.Features()[i].Name == name {
			return i
		}
	}
	return len(m.Features())
}

// decodeAnswer reads the two results that follow an answer's number, and checks them against the
// models that were asked.
func decodeAnswer(body []byte, ask *Ask, out *Answer) (err error) {
	if body, err = decodeResult(body, ask.Card, &out.Card); err != nil {
		return err
	}
	if body, err = decodeResult(body, ask.Forest, &out.Forest); err != nil {
		return err
	}
	if len(body) > 0 {
		return malformed("%d bytes after an answer", len(body))
	}
	return nil
}

// decodeResult reads one result and returns what follows it. What a result must be by the rules of
// its model it is held to: the process that gave it is not trusted.
func decodeResult(body []byte, m *score.Model, r *score.Result) ([]byte, error) {
	if len(body) < resultHead {
		return nil, malformed("a result of %d bytes", len(body))
	}
	order, features := binary.LittleEndian, m.Features()
	r.Kind = m.Kind()
	r.ScorePoints = int32(order.Uint32(body[1:]))
	r.PDMicro = int64(order.Uint64(body[5:]))
	r.Score, r.Base = int64(order.Uint64(body[13:])), int64(order.Uint64(body[21:]))
	contributions, reasons := int(order.Uint16(body[29:])), int(body[31])
	if body[0] != kindNumber(m.Kind()) || contributions != len(features) ||
		reasons > score.TopReasons {
		return nil, malformed("a result of kind %d with %d contributions and %d reasons", body[0],
			contributions, reasons)
	}
	if body = body[resultHead:]; len(body) < 8*contributions+reasonSize*reasons {
		return nil, malformed("a result cut off after %d bytes", len(body))
	}
	r.Contributions = make([]score.Contribution, contributions)
	sum := r.Base
	for i := range r.Contributions {
		amount := int64(order.Uint64(body[8*i:]))
		r.Contributions[i] = score.Contribution{Feature: features[i].Name, Amount: amount}
		sum += amount
	}
	if points, pd := m.Scale(r.Score); sum != r.Score || points != r.ScorePoints ||
		pd != r.PDMicro {
		return nil, malformed("a score of %d that is %d points and a sum of %d", r.Score,
			r.ScorePoints, sum)
	}
	return decodeReasons(body[8*contributions:], reasons, m, r)
}

// decodeReasons reads the reasons and returns what follows them. There is always a slice, as Score
// leaves one.
func decodeReasons(body []byte, count int, m *score.Model, r *score.Result) ([]byte, error) {
	r.Reasons = nil
	for range count {
		feature := int(binary.LittleEndian.Uint16(body))
		amount := int64(binary.LittleEndian.Uint64(body[2:]))
		if feature >= len(m.Features()) || amount >= 0 {
			return nil, malformed("a reason of feature %d and amount %d", feature, amount)
		}
		reason := score.Reason{Code: m.Features()[feature].Reason,
			Feature: m.Features()[feature].Name, Amount: amount}
		for _, text := range m.Spec().Reasons {
			if text.Code == reason.Code {
				reason.Sentence = text.Sentence
			}
		}
		r.Reasons = append(r.Reasons, reason)
		body = body[reasonSize:]
	}
	return body, nil
}

func malformed(format string, args ...any) error {
	return errs.New(errs.Corrupt, "scorer.wire: "+format, args...)
}

// frames reads frames off a stream: as many at a time as have arrived.
type frames struct {
	from   io.Reader
	buffer []byte
	filled int // bytes of buffer that were read
	taken  int // bytes of those that were given out
}

func newFrames(from io.Reader) *frames {
	return &frames{from: from, buffer: make([]byte, batchBytes)}
}

// buffered returns the next frame that has arrived whole: found is false where there is none. The
// body is valid until the next fill.
func (f *frames) buffered() (kind byte, body []byte, found bool, _ error) {
	rest := f.buffer[f.taken:f.filled]
	if len(rest) < frameHead {
		return 0, nil, false, nil
	}
	size := int(binary.LittleEndian.Uint32(rest))
	if size < 1 || size > frameMax {
		return 0, nil, false, malformed("a frame of %d bytes, must have 1 to %d", size, frameMax)
	}
	if len(rest) < 4+size {
		return 0, nil, false, nil
	}
	f.taken += 4 + size
	return rest[4], rest[frameHead : 4+size], true, nil
}

// fill reads once. It returns io.EOF where the stream ends between two frames.
func (f *frames) fill() error {
	copy(f.buffer, f.buffer[f.taken:f.filled])
	f.filled, f.taken = f.filled-f.taken, 0
	if f.filled == len(f.buffer) { // a frame is longer: its size was checked
		f.buffer = append(f.buffer, make([]byte, len(f.buffer))...)
	}
	n, err := f.from.Read(f.buffer[f.filled:])
	f.filled += n
	if n > 0 {
		return nil
	}
	if err == io.EOF && f.filled > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// next returns the next frame, waiting for it.
func (f *frames) next() (kind byte, body []byte, _ error) {
	for {
		kind, body, found, err := f.buffered()
		if found || err != nil {
			return kind, body, err
		}
		if err := f.fill(); err != nil {
			return 0, nil, err
		}
	}
}
