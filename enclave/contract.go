package enclave

import (
	"crypto/ed25519"
	"slices"

	"surety/base/clock"
	"surety/base/errs"
)

// Contract is what parties agree on before a program computes over columns that none of them shows:
// who they are, what each brings, what is computed and by which program, who is told what of it, how
// often, and until when. Its one encoding is deterministic CBOR, as a manifest's; the SHA-384 of
// that stands in the manifest of the enclave that works under it, and so in its measurement. Every
// party signs it: one changed bit is another contract, which nobody has signed.
type Contract struct {
	Format  uint64  `cbor:"format" json:"format"` // 1
	Name    string  `cbor:"name" json:"name"`     // as a manifest's
	Parties []Party `cbor:"parties" json:"parties"`

	Join    Join     `cbor:"join" json:"join"`
	Target  Target   `cbor:"target" json:"target"`
	Columns []Column `cbor:"columns" json:"columns"` // in the order of the model's features
	Reasons []Reason `cbor:"reasons" json:"reasons"` // the families of columns, ascending by code

	Operation Operation `cbor:"operation" json:"operation"`
	Program   Digest    `cbor:"program" json:"program"` // ProgramDigest of the manifest; zero: no enclave, by shares alone
	Machines  []TEE     `cbor:"machines" json:"machines"`

	Outputs []Output      `cbor:"outputs" json:"outputs"` // ascending; what is not named leaves for nobody
	Rule    OutputRule    `cbor:"rule" json:"rule"`
	Budget  Budget        `cbor:"budget" json:"budget"`
	Expires clock.Instant `cbor:"expires" json:"expires"` // from then on nothing is computed
}

// Party is one of those who bring columns. Parties stand in ascending order of their names.
type Party struct {
	Name      string `cbor:"name" json:"name"`             // as a layer's; its layer is mounted at /data/NAME
	Key       []byte `cbor:"key" json:"key"`               // Ed25519 public key: signs contracts, and speaks in matching
	Seal      []byte `cbor:"seal" json:"seal"`             // X25519 public key: what the party is told is sealed to it
	Broker    string `cbor:"broker" json:"broker"`         // name of its key broker in the manifest
	BrokerKey KeyID  `cbor:"broker_key" json:"broker_key"` // of the key that signs that broker's tokens
}

// Join says by what rows of the parties belong together.
type Join struct {
	Name string `cbor:"name" json:"name"` // of the id, for people: such as "telephone"
	Rule string `cbor:"rule" json:"rule"` // exact, text or digits: how ids are made equal (package psi)
}

// Target is the outcome that is learnt from, which one party has. A row with an empty outcome is
// one to be scored.
type Target struct {
	Party  string `cbor:"party" json:"party"`
	Column string `cbor:"column" json:"column"`
	Good   string `cbor:"good" json:"good"`
	Bad    string `cbor:"bad" json:"bad"`
}

// Column is one feature, which one party has.
type Column struct {
	Party    string  `cbor:"party" json:"party"`
	Name     string  `cbor:"name" json:"name"`         // once in a contract
	Kind     string  `cbor:"kind" json:"kind"`         // numeric or categorical
	Decimals uint64  `cbor:"decimals" json:"decimals"` // of a numeric one
	Special  []int64 `cbor:"special" json:"special"`   // codes, not quantities; ascending
	Trend    string  `cbor:"trend" json:"trend"`       // empty, rises or falls: how it may move the score
	Reason   string  `cbor:"reason" json:"reason"`     // code of its family
}

// Reason is a family of columns, the finest that anybody is told about why.
type Reason struct {
	Code     string `cbor:"code" json:"code"`
	Sentence string `cbor:"sentence" json:"sentence"`
}

// Operation is what is computed.
type Operation struct {
	Kind string `cbor:"kind" json:"kind"` // train: fit a model and score; score: with a model that a party brings
	// Model is scorecard, gbdt or logistic. An enclave computes the first two; the last is computed by
	// shares.
	Model   string  `cbor:"model" json:"model"`
	Seed    uint64  `cbor:"seed" json:"seed"`
	Params  []Param `cbor:"params" json:"params"`   // that differ from the trainer's own; ascending by name
	Holdout uint64  `cbor:"holdout" json:"holdout"` // thousandths of the rows with an outcome that are kept apart and measured on
	// Of score: who brings the model, and the SHA-256 that names it.
	ModelParty  string   `cbor:"model_party" json:"model_party"`
	ModelDigest [32]byte `cbor:"model_digest" json:"model_digest"`
}

// Param is one parameter of training.
type Param struct {
	Name  string `cbor:"name" json:"name"`
	Value int64  `cbor:"value" json:"value"`
}

// Output is one thing that one party is told.
type Output struct {
	To   string `cbor:"to" json:"to"`
	What string `cbor:"what" json:"what"`
}

// What a party may be told.
const (
	OutScores  = "scores"  // points of each of its rows that was not learnt from
	OutReasons = "reasons" // codes of the families that count against it; only with scores
	OutMetrics = "metrics" // how well the model does on the rows held out
	OutModel   = "model"   // the model itself
)

// OutputRule bounds how fine the answers are.
type OutputRule struct {
	MinRows  uint64 `cbor:"min_rows" json:"min_rows"`   // joined rows below which nothing is computed
	MinGroup uint64 `cbor:"min_group" json:"min_group"` // rows that have the same points, or that a figure is over, at least
	Round    uint64 `cbor:"round" json:"round"`         // points are multiples of it
	Reasons  uint64 `cbor:"reasons" json:"reasons"`     // families named for a row, at most
}

// Budget bounds how much is computed under the contract.
type Budget struct {
	Runs   uint64 `cbor:"runs" json:"runs"`     // ever: each broker counts the releases of its key
	Daily  uint64 `cbor:"daily" json:"daily"`   // in a day of UTC; zero: as Runs
	Scores uint64 `cbor:"scores" json:"scores"` // rows scored in one run
}

// Encode returns the contract's one encoding; kinds as of Check.
func (c *Contract) Encode() ([]byte, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	data, err := encode(c)
	if err == nil && len(data) > MaxContract {
		err = errs.New(errs.TooLarge, "enclave.contract: %d bytes, the limit is %d", len(data), MaxContract)
	}
	return data, err
}

// DecodeContract reads what Encode gives; kind Corrupt for any other bytes.
func DecodeContract(data []byte) (*Contract, error) {
	if len(data) > MaxContract {
		return nil, errs.New(errs.Corrupt, "enclave.contract: %d bytes, the limit is %d", len(data),
			MaxContract)
	}
	c := &Contract{}
	if err := decode(data, c); err != nil {
		return nil, errs.As(errs.Corrupt, err, "enclave.contract")
	}
	return c, errs.As(errs.Corrupt, c.Check(), "enclave.contract: its encoding is well made")
}

// Digest returns the SHA-384 of the contract's encoding; kinds as of Check.
func (c *Contract) Digest() (Digest, error) {
	data, err := c.Encode()
	if err != nil {
		return Digest{}, err
	}
	return DigestOf(data), nil
}

// Party returns the party of a name, or nil.
func (c *Contract) Party(name string) *Party {
	i := slices.IndexFunc(c.Parties, func(p Party) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &c.Parties[i]
}

// ColumnsOf returns what a party brings, in the contract's order; the target is not among them.
func (c *Contract) ColumnsOf(party string) []Column {
	var own []Column
	for _, column := range c.Columns {
		if column.Party == party {
			own = append(own, column)
		}
	}
	return own
}

// Tells reports whether a party is told something.
func (c *Contract) Tells(party, what string) bool {
	return slices.Contains(c.Outputs, Output{To: party, What: what})
}

// ID returns the id of the party's signing key.
func (p *Party) ID() KeyID { return KeyIDOf(p.Key) }

// contractKeyBytes is the size of both of a party's public keys.
const contractKeyBytes = ed25519.PublicKeySize
