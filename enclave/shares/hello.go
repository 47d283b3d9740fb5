package shares

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"surety/base/errs"
	"surety/sys/entropy"
)

// hello is a party's first message: a line that names the protocol, the role, a random number, and
// every parameter.
const (
	helloLine  = "surety shares 1\n"
	nonceBytes = 32
	helloBytes = len(helloLine) + 1 + nonceBytes + paramsBytes
)

// paramsBytes is what encoded parameters take: the context, the numbers, a flag and a role.
const paramsBytes = 32 + 4*fields + 2

// fields are the numbers that must be equal, in the order in which they are sent and compared.
const fields = 8

// greet exchanges hellos and returns a hash over both, the Active party's first. It is never the
// same for two sessions.
func greet(w *wire, role Role, p Params, source entropy.Source) (session [sha256.Size]byte,
	err error) {
	ours, theirs := w.message(kindHello, helloBytes), make([]byte, helloBytes)
	payload := append(ours[headerBytes:headerBytes], helloLine...)
	payload = append(payload, byte(role))
	var nonce [nonceBytes]byte
	source.Fill(nonce[:])
	payload = append(payload, nonce[:]...)
	payload = p.appendTo(payload)
	first, second := slices.Clone(payload), theirs
	w.send(ours)
	if err := w.receive(kindHello, theirs); err != nil {
		return session, errs.Wrap(err, "hello")
	}
	if err := p.compare(role, theirs); err != nil {
		return session, err
	}
	if role == Passive {
		first, second = second, first
	}
	return sha256.Sum256(slices.Concat(first, second)), nil
}

// appendTo appends the parameters in their one encoding.
func (p *Params) appendTo(to []byte) []byte {
	to = append(to, p.Context[:]...)
	for _, n := range p.numbers() {
		to = binary.BigEndian.AppendUint32(to, n.value)
	}
	weights := byte(0)
	if p.Weights {
		weights = 1
	}
	return append(to, weights, byte(p.ScoresTo))
}

// number is a parameter with what it is called.
type number struct {
	name  string
	value uint32
}

// numbers returns the parameters that are numbers, in the order in which they are sent.
func (p *Params) numbers() [fields]number {
	return [fields]number{
		{"rows", p.Rows}, {"rows to score", p.ScoreRows},
		{"columns of the active party", p.ActiveColumns},
		{"columns of the passive party", p.PassiveColumns},
		{"coarse steps", p.Coarse}, {"steps", p.Steps}, {"ridge", p.Ridge},
		{"bits of scores", p.ScoreBits},
	}
}

// compare refuses a hello that differs in anything, and names the first thing.
func (p *Params) compare(role Role, hello []byte) error {
	if string(hello[:len(helloLine)]) != helloLine {
		return errs.New(errs.Corrupt, "hello: the other side does not speak this protocol")
	}
	rest := hello[len(helloLine):]
	if theirs := Role(rest[0]); theirs != role.Other() {
		return errs.New(errs.Refused, "hello: the other party is %s, not %s", theirs, role.Other())
	}
	rest = rest[1+nonceBytes:]
	if [32]byte(rest[:32]) != p.Context {
		return errs.New(errs.Refused, "hello: the other party has another context")
	}
	rest = rest[32:]
	for _, n := range p.numbers() {
		if theirs := binary.BigEndian.Uint32(rest); theirs != n.value {
			return errs.New(errs.Refused, "hello: the other party has %d %s, not %d", theirs, n.name,
				n.value)
		}
		rest = rest[4:]
	}
	if string(rest) != string(p.appendTo(nil)[paramsBytes-len(rest):]) {
		return errs.New(errs.Refused, "hello: the other party expects other outputs")
	}
	return nil
}

// check says whether the parameters make sense.
func (p *Params) check() error {
	columns := p.ActiveColumns + p.PassiveColumns
	switch {
	case p.Rows == 0 || p.Rows > MaxRows || p.ScoreRows > MaxRows:
		return errs.New(errs.TooLarge, "shares.run: %d rows and %d to score, not 1 to %d and up to %d",
			p.Rows, p.ScoreRows, MaxRows, MaxRows)
	case p.PassiveColumns == 0 || p.PassiveColumns > MaxColumns || p.ActiveColumns > MaxColumns:
		return errs.New(errs.TooLarge, "shares.run: %d and %d columns, not up to %d and 1 to %d",
			p.ActiveColumns, p.PassiveColumns, MaxColumns, MaxColumns)
	case uint64(p.Rows)*uint64(max(p.ActiveColumns, p.PassiveColumns))*cellBits > MaxKeys:
		return errs.New(errs.TooLarge, "shares.run: %d rows of %d columns of %d bits, over %d bits",
			p.Rows, max(p.ActiveColumns, p.PassiveColumns), cellBits, MaxKeys)
	case p.Rows < columns*MinRowsPerColumn:
		return errs.New(errs.Refused, "shares.run: %d rows for %d columns, and %d are needed", p.Rows,
			columns, columns*MinRowsPerColumn)
	case p.Steps == 0 || p.Steps > MaxSteps || p.Coarse > MaxSteps:
		return errs.New(errs.Invalid, "shares.run: %d steps after %d coarse ones, not 1 to %d after up to %d",
			p.Steps, p.Coarse, MaxSteps, MaxSteps)
	case p.Coarse > 0 && p.Rows < columns*CoarseRowsPerColumn*CoarseStride:
		return errs.New(errs.Invalid, "shares.run: coarse steps over %d rows, and %d are needed", p.Rows,
			columns*CoarseRowsPerColumn*CoarseStride)
	case p.Ridge > min(MaxRidge, p.Rows/RowsPerRidge):
		return errs.New(errs.Invalid, "shares.run: ridge %d, not up to %d", p.Ridge,
			min(MaxRidge, p.Rows/RowsPerRidge))
	case p.ScoreBits > MaxScoreBits:
		return errs.New(errs.Invalid, "shares.run: scores of %d bits, not up to %d", p.ScoreBits, MaxScoreBits)
	case p.ScoresTo > Passive || (p.ScoresTo == Nobody) != (p.ScoreRows == 0):
		return errs.New(errs.Invalid, "shares.run: %d rows to score, to be shown to %s", p.ScoreRows,
			p.ScoresTo)
	case !p.Weights && p.ScoreRows == 0:
		return errs.New(errs.Invalid, "shares.run: neither weights nor scores are asked for")
	}
	return nil
}

// checkInput says whether a party's input is what the parameters promise.
func (p *Params) checkInput(role Role, in *Input) error {
	if role != Active && role != Passive {
		return errs.New(errs.Invalid, "shares.run: role %d is none", role)
	}
	columns := p.columns(role)
	if err := in.Train.fits(int(p.Rows), columns); err != nil {
		return errs.Wrap(err, "shares.run: rows to fit")
	}
	if err := in.Score.fits(int(p.ScoreRows), columns); err != nil {
		return errs.Wrap(err, "shares.run: rows to score")
	}
	labels := 0
	if role == Active {
		labels = int(p.Rows)
	}
	if len(in.Labels) != labels {
		return errs.New(errs.Invalid, "shares.run: %d labels at the %s party, not %d", len(in.Labels),
			role, labels)
	}
	return nil
}
