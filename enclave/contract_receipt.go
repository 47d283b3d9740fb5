package enclave

import (
	"crypto/ed25519"

	"surety/base/clock"
	"surety/base/errs"
)

// Receipt says what one run under a contract took in, what it computed, and what it gave out. It is
// signed by a key that lives for the run and that the run's evidence is bound to, so that whoever
// trusts the machine's root can check it years later without asking anybody.
type Receipt struct {
	Format   uint64        `cbor:"format" json:"format"` // 1
	Run      string        `cbor:"run" json:"run"`       // id of the run
	At       clock.Instant `cbor:"at" json:"at"`         // by the clock of whoever ran it
	Contract Digest        `cbor:"contract" json:"contract"`
	Program  Digest        `cbor:"program" json:"program"`

	// Who computed: zero where it was computed by shares.
	Measure Digest `cbor:"measure" json:"measure"`
	Signer  KeyID  `cbor:"signer" json:"signer"`
	Product string `cbor:"product" json:"product"`
	SVN     uint64 `cbor:"svn" json:"svn"`

	TEE       TEE       `cbor:"tee" json:"tee"`
	Guarantee Guarantee `cbor:"guarantee" json:"guarantee"` // what all of it rests on

	Session [32]byte        `cbor:"session" json:"session"` // in which rows were matched
	Rows    uint64          `cbor:"rows" json:"rows"`       // that were joined
	Inputs  []ReceiptInput  `cbor:"inputs" json:"inputs"`   // in the order of the contract's parties
	Model   [32]byte        `cbor:"model" json:"model"`     // SHA-256 that names the model; zero: it has none
	Outputs []ReceiptOutput `cbor:"outputs" json:"outputs"` // in the order of the contract's
}

// ReceiptInput commits to what a party brought, and says by whose word it was opened.
type ReceiptInput struct {
	Party  string `cbor:"party" json:"party"`
	Root   Digest `cbor:"root" json:"root"` // of the sealed layer
	Rows   uint64 `cbor:"rows" json:"rows"`
	Token  string `cbor:"token" json:"token"`   // id of its broker's appraisal
	Record string `cbor:"record" json:"record"` // of its broker's log
}

// ReceiptOutput commits to one thing that left.
type ReceiptOutput struct {
	To     string   `cbor:"to" json:"to"`
	What   string   `cbor:"what" json:"what"`
	SHA256 [32]byte `cbor:"sha256" json:"sha256"` // of the sealed file
	Rows   uint64   `cbor:"rows" json:"rows"`     // that it speaks of
}

// receiptType stands in the protected header of a receipt's signature.
const receiptType = "application/vnd.surety.joint-receipt+cbor"

// receiptFile is a receipt with what vouches for the key that signed it.
type receiptFile struct {
	Receipt  []byte `cbor:"receipt"`  // COSE_Sign1
	Evidence []byte `cbor:"evidence"` // bound to the key; empty where the guarantee is math
}

// ReceiptBinding is what the evidence of a run's receipt key is made for. There is nobody yet to
// make a challenge: the nonce is the contract's own digest, and what is fresh is the key.
func ReceiptBinding(contract, measure Digest, key ed25519.PublicKey) Binding {
	return Binding{Purpose: ForReceipt, Nonce: contract[:32], Key: key, Measure: measure}
}

// Check returns what contradicts itself first: kind Invalid.
func (r *Receipt) Check() error {
	bad := func(format string, args ...any) error {
		return errs.New(errs.Invalid, "enclave.receipt: "+format, args...)
	}
	switch {
	case r.Format != FormatNow:
		return bad("format: %d, want %d", r.Format, FormatNow)
	case r.Run == "" || len(r.Run) > MaxName:
		return bad("run: %.80q is no id", r.Run)
	case r.Contract.IsZero():
		return bad("contract: it is missing")
	case len(r.Inputs) < 2 || len(r.Inputs) > MaxParties:
		return bad("inputs: %d, want 2 to %d", len(r.Inputs), MaxParties)
	case len(r.Outputs) > MaxStrings:
		return bad("outputs: %d, the limit is %d", len(r.Outputs), MaxStrings)
	case r.Guarantee == Math && (r.TEE != "" || !r.Measure.IsZero()):
		return bad("guarantee: %s needs no machine, and it names %q", Math, r.TEE)
	case r.Guarantee != Math && (!r.TEE.Known() || r.Guarantee != r.TEE.Guarantee()):
		return bad("guarantee: a machine of kind %.40q does not give %.40q", r.TEE, r.Guarantee)
	case r.Guarantee != Math && (r.Measure.IsZero() || r.Program.IsZero()):
		return bad("measure: it is missing")
	}
	return nil
}

// SignReceipt returns a receipt's file: the receipt signed, and the evidence for the key. Kind
// Invalid where Check refuses it, or evidence is missing or there without need.
func SignReceipt(r *Receipt, key ed25519.PrivateKey, evidence []byte) ([]byte, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	if len(key) != ed25519.PrivateKeySize || (len(evidence) == 0) != (r.Guarantee == Math) {
		return nil, errs.New(errs.Invalid, "enclave.receipt: a key of %d bytes and evidence of %d under %s",
			len(key), len(evidence), r.Guarantee)
	}
	payload, err := encode(r)
	if err != nil {
		return nil, err
	}
	signed, err := sign(payload, receiptType, key)
	if err != nil {
		return nil, err
	}
	return encode(receiptFile{Receipt: signed, Evidence: evidence})
}

// OpenReceipt checks the signature of a receipt's file and returns the receipt, the key that signed
// it, and the evidence, which it does not verify: that is enclave/attest's, for ReceiptBinding. Kind
// Corrupt for anything that SignReceipt does not give.
func OpenReceipt(file []byte) (r *Receipt, key ed25519.PublicKey, evidence []byte, err error) {
	f := receiptFile{}
	if len(file) > MaxReceipt {
		return nil, nil, nil, errs.New(errs.Corrupt, "enclave.receipt: %d bytes, the limit is %d", len(file),
			MaxReceipt)
	}
	if err := decode(file, &f); err != nil {
		return nil, nil, nil, errs.As(errs.Corrupt, err, "enclave.receipt")
	}
	r, key, err = openReceipt(f.Receipt)
	if err == nil && (len(f.Evidence) == 0) != (r.Guarantee == Math) {
		err = errs.New(errs.Corrupt, "enclave.receipt: %d bytes of evidence under %s", len(f.Evidence),
			r.Guarantee)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	return r, key, f.Evidence, nil
}

func openReceipt(signed []byte) (*Receipt, ed25519.PublicKey, error) {
	var outer sign1
	var header protected
	if len(signed) == 0 || signed[0] != tagSign1 {
		return nil, nil, errs.New(errs.Corrupt, "enclave.receipt: it is no COSE_Sign1")
	}
	if err := decode(signed[1:], &outer); err != nil {
		return nil, nil, errs.As(errs.Corrupt, err, "enclave.receipt")
	}
	if err := decode(outer.Protected, &header); err != nil {
		return nil, nil, errs.As(errs.Corrupt, err, "enclave.receipt: protected header")
	}
	if header.Algorithm != algEdDSA || header.ContentType != receiptType ||
		len(header.Key) != ed25519.PublicKeySize {
		return nil, nil, errs.New(errs.Corrupt, "enclave.receipt: algorithm %d, content %.80q, key of "+
			"%d bytes", header.Algorithm, header.ContentType, len(header.Key))
	}
	message, err := signedBytes(outer.Protected, outer.Payload)
	if err != nil {
		return nil, nil, err
	}
	if !ed25519.Verify(header.Key, message, outer.Signature) {
		return nil, nil, errs.New(errs.Corrupt, "enclave.receipt: its signature does not hold")
	}
	r := &Receipt{}
	if err := decode(outer.Payload, r); err != nil {
		return nil, nil, errs.As(errs.Corrupt, err, "enclave.receipt")
	}
	return r, header.Key, errs.As(errs.Corrupt, r.Check(), "enclave.receipt: well signed")
}

// Fits checks that a receipt speaks of a run that the contract allows: kind Refused with the first
// thing that does not hold. Whether a machine vouches for it is not its business.
func (s *SignedContract) Fits(r *Receipt) error {
	c := s.Contract
	if r.Contract != s.Digest || r.Program != c.Program {
		return unbound("the receipt is of contract %s and program %s, not of %s and %s", r.Contract,
			r.Program, s.Digest, c.Program)
	}
	if len(r.Inputs) != len(c.Parties) || len(r.Outputs) != len(c.Outputs) {
		return unbound("the receipt has %d inputs and %d outputs, want %d and %d", len(r.Inputs),
			len(r.Outputs), len(c.Parties), len(c.Outputs))
	}
	for i, in := range r.Inputs {
		if in.Party != c.Parties[i].Name || in.Rows < r.Rows || in.Root.IsZero() == (r.Guarantee != Math) {
			return unbound("input %d is of %.80q with %d rows, of which %d were joined", i, in.Party, in.Rows,
				r.Rows)
		}
	}
	for i, out := range r.Outputs {
		if (Output{To: out.To, What: out.What}) != c.Outputs[i] {
			return unbound("output %d is %.80q for %.80q, want %q for %q", i, out.What, out.To,
				c.Outputs[i].What, c.Outputs[i].To)
		}
		if out.What == OutScores && out.Rows > c.Budget.Scores {
			return unbound("%d scores, the budget is %d", out.Rows, c.Budget.Scores)
		}
	}
	if r.Rows < c.Rule.MinRows || r.At >= c.Expires {
		return unbound("%d rows at %s; it wants %d rows, before %s", r.Rows, moment(r.At),
			c.Rule.MinRows, moment(c.Expires))
	}
	return nil
}
