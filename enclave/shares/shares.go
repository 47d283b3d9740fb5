// Package shares fits and applies a logistic regression over columns that two parties hold and
// neither shows: every number in between is in two shares, each of which alone is noise.
//
// Think of a sum torn in two. What both may not know is a number modulo 2^64, one part of it with
// each party, each part alone as likely as any other. Sums of shared numbers are sums of the parts.
// Products are the work: one party's bits choose, by oblivious transfer, between a number of noise
// and the same noise plus the other party's number, so that what both then hold are shares of the
// product (Gilboa). The choices that a party's columns make are transferred once and kept as keys;
// each product of these columns with a shared vector then costs eight bytes for each bit of a cell.
// The sigmoid is a short sum of sines: the angle of a sum splits into angles that each party has
// alone, so that it is a sum of products of numbers each party computes by itself. Truncation
// computes the carry between the two parts and so is never wrong by more than one unit.
//
// The Active party has the labels; the Passive party has columns only. Weights start at zero and
// follow the gradient with momentum for an agreed number of steps. There is no dealer, no third
// party, and no machine that has to be trusted: the guarantee is "math".
//
// # Invariants
//
//   - A party sends nothing that depends on its columns, labels or shares but what is masked by keys
//     of an oblivious transfer that the other does not have, and the outputs that Params name.
//   - How many bytes are sent, and in which order, depends on Params alone.
//   - Both parties have agreed on every parameter, or neither goes on.
//   - A message has one kind and one length that its receiver knows before: any other is refused.
//
// # Boundaries
//
// Both parties are taken to keep to the protocol (semi-honest): a party that does not can spoil the
// result, and may learn more than the outputs. Neither is prevented from choosing columns so that
// outputs say much: what is computed is what both have agreed on. The connection is the caller's:
// it must be one that only the other party is at the end of, such as TLS between keys that both know.
// Rows are aligned by the caller (enclave/psi), and columns are prepared by the caller
// (lending/joint).
//
// # Concurrency
//
// Run computes on the calling goroutine and writes on one more, which has ended when it returns.
//
// # Sources
//
// Chou and Orlandi, "The simplest protocol for oblivious transfer" (2015); Ishai, Kilian, Nissim and
// Petrank, "Extending oblivious transfers efficiently" (2003); Guo, Katz, Wang and Yu, "Efficient
// and secure multiparty computation from fixed-key block ciphers" (2020); Gilboa, "Two party RSA key
// generation" (1999); Mohassel and Zhang, "SecureML" (2017); decision 0043.
package shares

import (
	"context"
	"crypto/sha256"
	"net"
	"time"

	"surety/base/errs"
	"surety/sys/entropy"
)

// Guarantee is what a result of this package rests on.
const Guarantee = "math"

// Role says which of the two parties one is.
type Role uint8

// The roles. The numbers are sent: never renumber.
const (
	Nobody  Role = 0 // where a party is named and none is meant
	Active  Role = 1 // has the labels, and maybe columns
	Passive Role = 2 // has columns only
)

// Other returns the other party.
func (r Role) Other() Role { return Active + Passive - r }

// String names the role.
func (r Role) String() string {
	switch r {
	case Nobody:
		return "nobody"
	case Active:
		return "active"
	case Passive:
		return "passive"
	}
	return "unknown"
}

// Params are what both parties agree on beforehand; they are compared before anything else is
// sent. Everything in them is known to both.
type Params struct {
	Context        [32]byte // digest of the contract, or of whatever both have agreed on
	Rows           uint32   // rows that the model is fitted to
	ScoreRows      uint32   // rows that are scored; zero for none
	ActiveColumns  uint32
	PassiveColumns uint32
	Coarse         uint32 // first steps, over every CoarseStride-th row: far from the end that will do
	Steps          uint32 // steps after those, over all rows
	Ridge          uint32 // penalty: half of it times the sum of squared weights is added to the loss
	ScoreBits      uint32 // fraction of the log-odds that are shown, in bits, up to MaxScoreBits
	ScoresTo       Role   // who is told the scores; Nobody where there are none
	Weights        bool   // each party is told the weights of its own columns, Active the intercept
}

// Input is what one party brings.
type Input struct {
	Train  *Matrix // Params.Rows rows of this party's columns
	Score  *Matrix // Params.ScoreRows rows; nil where there are none
	Labels []bool  // of the rows of Train, at the Active party; nil at the other
}

// Options are a party's own affair.
type Options struct {
	Entropy  entropy.Source // nil: the system's, and nothing else outside of tests
	Idle     time.Duration  // how long the other may be silent; zero: DefaultIdle
	Progress func(Progress) // called on the way, if there is one
}

// Progress says how far a run is.
type Progress struct {
	Stage string // "transfer", "fit", "score"
	Done  int    // of Total, in the stage's unit
	Total int
}

// Result is what a party has at the end.
type Result struct {
	Guarantee string    // "math"
	Weights   []float64 // of this party's columns; nil unless Params.Weights
	Intercept float64   // at the Active party, where Params.Weights
	Scores    []float64 // log-odds of a true label of each scored row, at Params.ScoresTo, else nil
	Traffic   Traffic
}

// Traffic counts what one party did.
type Traffic struct {
	Sent      int64 // bytes, with headers, without those of TLS and TCP
	Received  int64 // bytes
	Transfers int64 // oblivious transfers by extension, in both directions
}

// Run is one party's side of the whole protocol, over a connection with the other party that it
// does not close. It is errs.Invalid for parameters or input that make no sense, TooLarge beyond the
// limits, Refused where the other party has agreed to something else, Corrupt for anything that is
// not of the protocol, Unavailable where the connection fails or is silent, and Canceled where ctx
// ends. After an error there is no result, and the connection is of no use.
func Run(ctx context.Context, conn net.Conn, role Role, p Params, in Input, o Options) (*Result,
	error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if err := p.checkInput(role, &in); err != nil {
		return nil, err
	}
	w := newWire(ctx, conn, o.idle())
	r, err := run(w, role, p, &in, &o)
	if closed := w.close(err); err == nil {
		err = closed
	}
	if err != nil && ctx.Err() != nil {
		return nil, errs.As(errs.Canceled, ctx.Err(), "shares.run")
	}
	if err != nil {
		return nil, errs.Wrap(err, "shares.run")
	}
	r.Traffic.Sent, r.Traffic.Received = w.sent.Load(), w.received.Load()
	return r, nil
}

// run is the protocol: hello, keys, fit, outputs, farewell.
func run(w *wire, role Role, p Params, in *Input, o *Options) (*Result, error) {
	if o.Entropy == nil {
		o.Entropy = entropy.System()
	}
	session, err := greet(w, role, p, o.Entropy)
	if err != nil {
		return nil, err
	}
	party := &party{wire: w, role: role, params: p, session: session, progress: o.Progress}
	if err := party.open(o.Entropy); err != nil {
		return nil, err
	}
	weights, err := party.fit(in)
	if err != nil {
		return nil, err
	}
	r := &Result{Guarantee: Guarantee}
	if err := party.score(in.Score, weights, r); err != nil {
		return nil, err
	}
	if err := party.showWeights(weights, r); err != nil {
		return nil, err
	}
	r.Traffic.Transfers = party.transfers
	return r, party.exchange(kindFarewell, session[:], session[:])
}

// party is one side's state. It belongs to the goroutine of Run.
type party struct {
	wire      *wire
	role      Role
	params    Params
	session   [sha256.Size]byte // public: of both hellos
	progress  func(Progress)
	chooser   *chooser // our bits choose
	offerer   *offerer // the other's bits choose among our numbers
	uses      uint64   // how many products have used keys: each has a hash of its own
	transfers int64
}

// report tells the caller how far we are.
func (p *party) report(stage string, done, total int) {
	if p.progress != nil {
		p.progress(Progress{Stage: stage, Done: done, Total: total})
	}
}

// columns returns how many columns a party has.
func (p *Params) columns(r Role) int {
	if r == Active {
		return int(p.ActiveColumns)
	}
	return int(p.PassiveColumns)
}

// idle returns how long the other may be silent.
func (o *Options) idle() time.Duration {
	if o.Idle <= 0 {
		return DefaultIdle
	}
	return o.Idle
}
