package joint

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"surety/base/errs"
	"surety/enclave"
)

// toldBytes is what a party says of one output that it was told: a digest and how many rows it speaks
// of.
const toldBytes = sha256.Size + 4

// receipt seals to the party itself what it was told, exchanges digests of that with the other, and
// fills in the receipt. The digests are of sealed contents, so that nobody can try guesses on them.
func (r *sharesRun) receipt(contract enclave.Digest, s *Shared) error {
	session, err := hex.DecodeString(r.data.About.Session)
	if err != nil || len(session) != 32 {
		return errs.New(errs.Corrupt, "joint.data: %.80q is no session", r.data.About.Session)
	}
	var ours []byte
	others := 0
	for _, o := range r.contract.Outputs {
		if o.To != s.Party {
			others++
			continue
		}
		content, rows, err := s.content(o)
		if err != nil {
			return err
		}
		sealed, err := sealFor(r.contract.Party(o.To), sealInfo(contract, [32]byte(session), o), content)
		if err != nil {
			return err
		}
		out := Sealed{To: o.To, What: o.What, Rows: uint64(rows), Content: sealed}
		s.Outputs = append(s.Outputs, out)
		digest := out.Digest()
		ours = binary.BigEndian.AppendUint32(append(ours, digest[:]...), uint32(rows))
	}
	theirs, err := r.link.swap(ours, others*toldBytes)
	if err != nil {
		return errs.Wrap(err, "joint.shares: receipt")
	}
	s.Receipt = &enclave.Receipt{Format: enclave.FormatNow, Contract: contract,
		Guarantee: enclave.Math, Session: [32]byte(session), Rows: uint64(len(r.data.Rows))}
	for _, p := range r.contract.Parties {
		s.Receipt.Inputs = append(s.Receipt.Inputs,
			enclave.ReceiptInput{Party: p.Name, Rows: uint64(len(r.data.Rows))})
	}
	r.commit(s, ours, theirs)
	return nil
}

// commit puts both parties' digests into the receipt, in the contract's order, and names the run.
func (r *sharesRun) commit(s *Shared, ours, theirs []byte) {
	h := sha256.New()
	h.Write([]byte("surety joint shares run 1\n"))
	h.Write(r.agreed[:])
	for _, o := range r.contract.Outputs {
		from := &theirs
		if o.To == s.Party {
			from = &ours
		}
		told := (*from)[:toldBytes]
		*from = (*from)[toldBytes:]
		h.Write(told)
		s.Receipt.Outputs = append(s.Receipt.Outputs, enclave.ReceiptOutput{To: o.To, What: o.What,
			SHA256: [32]byte(told), Rows: uint64(binary.BigEndian.Uint32(told[sha256.Size:]))})
	}
	s.Receipt.Run = hex.EncodeToString(h.Sum(nil)[:16])
}

// content returns what one output holds, and of how many rows it speaks.
func (s *Shared) content(o enclave.Output) (content []byte, rows int, err error) {
	var value any
	switch o.What {
	case enclave.OutScores:
		var b bytes.Buffer
		b.WriteString("token,points\n")
		for _, v := range s.Scores {
			fmt.Fprintf(&b, "%x,%d\n", v.Token, v.Points)
		}
		return b.Bytes(), len(s.Scores), nil
	case enclave.OutModel:
		value, rows = map[string]any{"intercept": s.Intercept, "weights": s.Weights}, s.Learnt
	case enclave.OutMetrics:
		value, rows = s.Metrics, int(s.Metrics.Rows)
	default:
		return nil, 0, errs.New(errs.Internal, "joint.shares: nothing is called %.40q", o.What)
	}
	content, err = json.Marshal(value)
	return append(content, '\n'), rows, errs.As(errs.Internal, err, "joint.shares: %s", o.What)
}
