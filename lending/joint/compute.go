package joint

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/lending/score"
)

// Answer is all that leaves the program: what the receipt says, and outputs sealed to parties.
type Answer struct {
	Format   int            `json:"format"` // 1
	Contract enclave.Digest `json:"contract"`
	Session  string         `json:"session"` // hexadecimal
	Rows     uint64         `json:"rows"`    // joined
	Parties  []Brought      `json:"parties"` // in the order of the contract
	Model    string         `json:"model"`   // SHA-256 in hexadecimal
	Outputs  []Sealed       `json:"outputs"` // in the order of the contract
}

// Brought is how many rows a party's layer has.
type Brought struct {
	Party string `json:"party"`
	Rows  uint64 `json:"rows"`
}

// Sealed is one output, readable by the party that it is for alone.
type Sealed struct {
	To      string `json:"to"`
	What    string `json:"what"`
	Rows    uint64 `json:"rows"`
	Content []byte `json:"content"`
}

// Digest is the SHA-256 of the sealed content.
func (s *Sealed) Digest() [32]byte { return sha256.Sum256(s.Content) }

// result is what was computed, before any of it is sealed.
type result struct {
	joined   *Joined
	model    *score.Model
	verdicts []Verdict
}

// Compute opens the contract and the parties' data, computes, and seals what each party is told. The
// contract's file is "contract.cbor" in contract; data has a directory for each party. On an error
// there is no part of an answer. Kinds as of enclave.OpenContract, ReadData and Join; Refused
// besides where the budget or the rule of outputs is not kept.
func Compute(contract, data fs.FS, now clock.Instant) (*Answer, error) {
	file, err := readSome(contract, ContractFile, enclave.MaxSignedContract)
	if err != nil {
		return nil, err
	}
	s, err := enclave.OpenContract(file, now)
	if err != nil {
		return nil, err
	}
	var parties []*Data
	for i := range s.Contract.Parties {
		name := s.Contract.Parties[i].Name
		own, err := fs.Sub(data, name)
		if err != nil {
			return nil, errs.As(errs.Internal, err, "joint.compute")
		}
		d, err := ReadData(own, s, name)
		if err != nil {
			return nil, err
		}
		parties = append(parties, d)
	}
	return compute(s, parties)
}

// ContractFile is the name of the contract's file in its layer.
const ContractFile = "contract.cbor"

func compute(s enclave.SignedContract, parties []*Data) (*Answer, error) {
	joined, err := Join(s.Contract, parties)
	if err != nil {
		return nil, err
	}
	r := &result{joined: joined}
	if r.model, err = joined.obtain(parties); err != nil {
		return nil, err
	}
	if r.verdicts, err = joined.judge(r.model); err != nil {
		return nil, err
	}
	return r.answer(s, parties)
}

// obtain fits the model, or takes the one that a party brings.
func (j *Joined) obtain(parties []*Data) (*score.Model, error) {
	o := &j.Contract.Operation
	if o.Kind == enclave.OpTrain {
		return j.Fit()
	}
	for _, d := range parties {
		if d.About.Party != o.ModelParty {
			continue
		}
		m, err := score.Load(d.Model)
		if err != nil {
			return nil, errs.Wrap(err, "joint.model")
		}
		if m.Digest() != o.ModelDigest || string(m.Kind()) != o.Model {
			return nil, errs.New(errs.Refused, "joint.model: it is the %s %s, the contract names the %s %x",
				m.Kind(), m.DigestText(), o.Model, o.ModelDigest)
		}
		return m, nil
	}
	return nil, errs.New(errs.Internal, "joint.model: no data of %q", o.ModelParty)
}

// answer seals every output, or none.
func (r *result) answer(s enclave.SignedContract, parties []*Data) (*Answer, error) {
	session, err := hex.DecodeString(parties[0].About.Session)
	if err != nil || len(session) != 32 {
		return nil, errs.New(errs.Corrupt, "joint.data: %.80q is no session", parties[0].About.Session)
	}
	a := &Answer{Format: 1, Contract: s.Digest, Session: parties[0].About.Session,
		Rows: uint64(len(r.joined.Tokens)), Model: r.model.DigestText()}
	for _, d := range parties {
		a.Parties = append(a.Parties, Brought{d.About.Party, uint64(len(d.Tokens))})
	}
	for _, o := range s.Contract.Outputs {
		content, rows, err := r.contents(o)
		if err != nil {
			return nil, err
		}
		sealed, err := sealFor(s.Contract.Party(o.To), sealInfo(s.Digest, [32]byte(session), o), content)
		if err != nil {
			return nil, err
		}
		a.Outputs = append(a.Outputs, Sealed{To: o.To, What: o.What, Rows: uint64(rows), Content: sealed})
	}
	return a, nil
}
