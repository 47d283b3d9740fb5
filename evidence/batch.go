package evidence

import (
	"bytes"
	"encoding/hex"
	"encoding/json"

	"surety/base/errs"
)

// KindBatch is the kind of a record whose payload is a Batch.
const KindBatch = "ledger.batch"

// Batch is the payload that commits to a batch of the ledger's operations by the root of a tree of
// its own, so that one operation can be shown without the others. A leaf is the operation's bytes
// as the ledger stores them, hashed by LeafHash.
type Batch struct {
	Number uint64 // of the batch in the ledger
	Count  uint32 // leaves, at least one
	Root   Hash
}

// batchJSON is the payload's form: one object, its keys in this order, no space.
type batchJSON struct {
	Number uint64 `json:"number"`
	Count  uint32 `json:"count"`
	Root   string `json:"root"`
}

// Encode returns the payload. A batch of nothing is kind Invalid.
func (b Batch) Encode() ([]byte, error) {
	if b.Count == 0 {
		return nil, errs.New(errs.Invalid, "evidence.batch: batch %d has no leaves", b.Number)
	}
	payload, err := json.Marshal(batchJSON{b.Number, b.Count, hex.EncodeToString(b.Root[:])})
	return payload, errs.As(errs.Internal, err, "evidence.batch")
}

// DecodeBatch returns the batch that Encode gave the payload for; kind Corrupt for anything else.
func DecodeBatch(payload []byte) (Batch, error) {
	var form batchJSON
	if len(payload) > 256 || json.Unmarshal(payload, &form) != nil {
		return Batch{}, errs.New(errs.Corrupt, "evidence.batch: payload is not a batch")
	}
	root, err := hex.DecodeString(form.Root)
	if err != nil || len(root) != len(Hash{}) {
		return Batch{}, errs.New(errs.Corrupt, "evidence.batch: root is not a hash")
	}
	b := Batch{Number: form.Number, Count: form.Count, Root: Hash(root)}
	again, err := b.Encode()
	if err != nil || !bytes.Equal(again, payload) {
		return Batch{}, errs.New(errs.Corrupt, "evidence.batch: payload is not in its one form")
	}
	return b, nil
}

// Inner shows one leaf of a batch.
type Inner struct {
	Index uint32 `json:"index"` // of the leaf in the batch
	Leaf  []byte `json:"leaf"`  // the operation's bytes
	Path  []Hash `json:"path"`  // as InclusionPath gives it
}

// verify checks the leaf against the batch.
func (i *Inner) verify(b Batch) error {
	return VerifyInclusion(LeafHash(i.Leaf), uint64(i.Index), uint64(b.Count), i.Path, b.Root)
}
