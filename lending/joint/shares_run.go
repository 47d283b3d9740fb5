package joint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math"
	"net"
	"slices"
	"strconv"
	"time"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/psi"
	"surety/enclave/shares"
	"surety/lending/score"
	"surety/lending/score/evaluate"
)

// Shared is what a party knows after a computation by shares: of the other's columns nothing but
// what the contract's outputs say.
type Shared struct {
	Guarantee enclave.Guarantee `json:"guarantee"` // math
	Contract  enclave.Digest    `json:"contract"`
	Party     string            `json:"party"`
	Rows      int               `json:"rows"`   // shared
	Learnt    int               `json:"learnt"` // that the model was fitted to
	Judged    int               `json:"judged"` // held out, or without an outcome
	Columns   []string          `json:"columns"`
	Dropped   []string          `json:"dropped"`
	Clamped   int               `json:"clamped"` // cells beyond the range of fixed point
	Weights   []Weight          `json:"weights,omitempty"`
	Intercept float64           `json:"intercept,omitempty"`
	Scores    []SharedScore     `json:"-"`
	Folded    int               `json:"folded"` // scores beyond the range that the fit is exact in
	Metrics   *evaluate.Metrics `json:"metrics,omitempty"`
	Traffic   shares.Traffic    `json:"traffic"`
	Outputs   []Sealed          `json:"-"` // what this party was told, sealed to itself
	Receipt   *enclave.Receipt  `json:"-"` // the same at both parties but for At, which its signer sets
}

// Weight is what one deviation of a prepared column adds to the log-odds of bad.
type Weight struct {
	Column string  `json:"column"`
	Value  float64 `json:"value"`
}

// SharedScore is the score of one row that was not learnt from.
type SharedScore struct {
	Token   psi.Token
	Row     int     // in the data given
	LogOdds float64 // of bad, to the contract's precision
	Points  int32   // on the common scale, a multiple of the contract's unit
}

// ByShares fits a logistic regression to the rows that both parties have matched, and scores those
// not learnt from, without an enclave: neither party shows the other, or anybody, its columns. The
// connection should be a session of Secure; it stays open. Kinds: Refused where the contract wants
// what shares do not do or the other party has something else, Invalid for values that are none, and
// those of shares.Run.
func ByShares(ctx context.Context, conn net.Conn, s enclave.SignedContract, d *Data,
	o shares.Options) (*Shared, error) {
	terms, err := termsOf(s.Contract, d.About.Party)
	if err != nil {
		return nil, err
	}
	if uint64(len(d.Rows)) < s.Contract.Rule.MinRows {
		return nil, errs.New(errs.Refused, "joint.shares: %d rows are shared, the contract wants %d",
			len(d.Rows), s.Contract.Rule.MinRows)
	}
	r := &sharesRun{contract: s.Contract, terms: terms, data: d,
		link: &link{ctx: ctx, conn: conn, idle: idleOf(o.Idle)}}
	if err := r.meet(s.Digest); err != nil {
		return nil, err
	}
	shared, err := r.compute(ctx, s.Digest, o)
	if err != nil {
		return nil, err
	}
	return shared, nil
}

// sharesRun is one party's side of a computation by shares.
type sharesRun struct {
	contract *enclave.Contract
	terms    *sharesTerms
	data     *Data
	link     *link
	agreed   [32]byte // over the contract, the session and the tokens
	learn    []int32
	judged   []int32 // held out, or without an outcome
	bad      []bool  // of every row, at the party that has the outcomes
	blank    []bool  // of every row: it has no outcome
}

// meet agrees with the other party on the rows, and on which of them have no outcome: the one that
// has the outcomes says so, and the other learns it.
func (r *sharesRun) meet(contract enclave.Digest) error {
	h := sha256.New()
	h.Write([]byte("surety joint shares 1\n"))
	h.Write(contract[:])
	h.Write([]byte(r.data.About.Session))
	for _, token := range r.data.Tokens {
		h.Write(token[:])
	}
	r.agreed = [32]byte(h.Sum(nil))
	theirs, err := r.link.swap(r.agreed[:], len(r.agreed))
	if err != nil {
		return errs.Wrap(err, "joint.shares: rows")
	}
	if !bytes.Equal(theirs, r.agreed[:]) {
		return errs.New(errs.Refused, "joint.shares: the other party has another contract, or rows matched "+
			"in another session")
	}
	r.blank = make([]bool, len(r.data.Rows))
	if r.terms.role == shares.Active {
		if err := r.outcomes(); err != nil {
			return err
		}
	}
	return r.divide()
}

// outcomes reads the target's column, which stands last.
func (r *sharesRun) outcomes() error {
	r.bad = make([]bool, len(r.data.Rows))
	at := len(r.data.Columns) - 1
	for i, row := range r.data.Rows {
		switch row[at] {
		case "":
			r.blank[i] = true
		case r.contract.Target.Bad:
			r.bad[i] = true
		case r.contract.Target.Good:
		default:
			return errs.New(errs.Invalid, "joint.shares: row %d, column %q: neither good nor bad", i+1,
				r.contract.Target.Column)
		}
	}
	return nil
}

// divide says what is learnt from and what is judged, as the enclave does.
func (r *sharesRun) divide() error {
	bitmap := make([]byte, (len(r.blank)+7)/8)
	for i, blank := range r.blank {
		if blank {
			bitmap[i/8] |= 1 << (i % 8)
		}
	}
	theirs, err := r.link.swap(bitmap, len(bitmap))
	if err != nil {
		return errs.Wrap(err, "joint.shares: rows without an outcome")
	}
	for i := range r.blank {
		if r.terms.role == shares.Passive {
			r.blank[i] = theirs[i/8]>>(i%8)&1 == 1
		}
		if r.blank[i] || heldOut(&r.contract.Operation, r.data.Tokens[i]) {
			r.judged = append(r.judged, int32(i))
		} else {
			r.learn = append(r.learn, int32(i))
		}
	}
	if limit := r.contract.Budget.Scores; r.terms.scoresTo != shares.Nobody &&
		uint64(len(r.judged)) > limit {
		return errs.New(errs.Refused, "joint.budget: %d rows to score, the budget is %d", len(r.judged), limit)
	}
	return nil
}

// compute prepares the columns, runs the protocol and reads what it gives.
func (r *sharesRun) compute(ctx context.Context, contract enclave.Digest, o shares.Options) (*Shared,
	error) {
	features, err := expand(r.data, r.contract.ColumnsOf(r.data.About.Party), r.learn)
	if err != nil {
		return nil, err
	}
	w := whiten(features, len(r.data.Rows), r.learn)
	p, err := r.params(len(w.names))
	if err != nil {
		return nil, err
	}
	in, clamped, err := r.input(w, p)
	if err != nil {
		return nil, err
	}
	result, err := shares.Run(ctx, r.link.conn, r.terms.role, p, *in, o)
	if err != nil {
		return nil, err
	}
	s := &Shared{Guarantee: enclave.Math, Contract: contract, Party: r.data.About.Party,
		Rows: len(r.data.Rows), Learnt: len(r.learn), Judged: len(r.judged), Columns: w.names,
		Dropped: w.dropped, Clamped: clamped, Intercept: result.Intercept, Traffic: result.Traffic}
	for i, v := range w.unfold(result.Weights) {
		s.Weights = append(s.Weights, Weight{w.names[i], v})
	}
	r.judge(s, result.Scores)
	return s, r.receipt(contract, s)
}

// params tells the other party how many columns there are, and returns what both then know.
func (r *sharesRun) params(columns int) (shares.Params, error) {
	theirs, err := r.link.swap(binary.BigEndian.AppendUint32(nil, uint32(columns)), 4)
	if err != nil {
		return shares.Params{}, errs.Wrap(err, "joint.shares: columns")
	}
	var all [3]uint32
	all[r.terms.role], all[r.terms.role.Other()] = uint32(columns), binary.BigEndian.Uint32(theirs)
	if n := all[r.terms.role.Other()]; n > shares.MaxColumns {
		return shares.Params{}, errs.New(errs.TooLarge, "joint.shares: the other party has %d columns, the "+
			"limit is %d", n, shares.MaxColumns)
	}
	return r.terms.of(r.agreed, len(r.learn), len(r.judged), all), nil
}

// input encodes a party's columns and outcomes.
func (r *sharesRun) input(w *whitened, p shares.Params) (in *shares.Input, clamped int, err error) {
	in = &shares.Input{}
	if in.Train, clamped, err = shares.NewMatrix(w.take(r.learn)); err != nil {
		return nil, 0, err
	}
	if p.ScoreRows > 0 {
		more := 0
		if in.Score, more, err = shares.NewMatrix(w.take(r.judged)); err != nil {
			return nil, 0, err
		}
		clamped += more
	}
	if r.terms.role == shares.Active {
		for _, row := range r.learn {
			in.Labels = append(in.Labels, r.bad[row])
		}
	}
	return in, clamped, nil
}

// judge fills in scores, and measures them on the rows held out where that is this party's to know.
func (r *sharesRun) judge(s *Shared, odds []float64) {
	unit := int32(r.contract.Rule.Round)
	var known []float64
	var bad []bool
	for i, z := range odds {
		row := int(r.judged[i])
		points := score.PointsOfOdds(int64(math.Round(-z * score.Micro)))
		s.Scores = append(s.Scores, SharedScore{Token: r.data.Tokens[row], Row: row, LogOdds: z,
			Points: roundDown(points, unit)})
		if math.Abs(z) > shares.SigmoidRange {
			s.Folded++
		}
		if r.terms.metrics && !r.blank[row] {
			known, bad = append(known, z), append(bad, r.bad[row])
		}
	}
	if r.terms.metrics {
		m := evaluate.Measure(sampleOf(known, bad))
		s.Metrics = &m
	}
}

// WriteScores writes the scores as text: the party's own id of each row, and its points.
func (s *Shared) WriteScores(to io.Writer, id string, ids []string) error {
	var b bytes.Buffer
	writeLine(&b, []string{id, "points", "log_odds_of_bad", "guarantee"})
	for _, v := range s.Scores {
		odds := strconv.FormatFloat(v.LogOdds, 'f', 4, 64)
		writeLine(&b, []string{ids[v.Row], strconv.Itoa(int(v.Points)), odds, string(s.Guarantee)})
	}
	_, err := to.Write(b.Bytes())
	return errs.As(errs.Unavailable, err, "joint.shares: scores")
}

// link exchanges the few short messages before the protocol.
type link struct {
	ctx  context.Context // of the one call that the link lives in
	conn net.Conn
	idle time.Duration
}

// swap writes some bytes and reads as many as are due. Writing has a goroutine of its own, which has
// ended when swap returns.
func (l *link) swap(send []byte, due int) ([]byte, error) {
	abort := func() { _ = l.conn.SetDeadline(time.Unix(1, 0)) }
	silence := time.AfterFunc(l.idle, abort)
	defer silence.Stop()
	defer context.AfterFunc(l.ctx, abort)()
	sent := make(chan error, 1)
	message := slices.Clone(send)
	go func() {
		_, err := l.conn.Write(message)
		sent <- err
	}()
	got := make([]byte, due)
	_, failed := io.ReadFull(l.conn, got)
	if failed != nil {
		abort() // the writer must not wait for a peer that is gone
	}
	if err := <-sent; failed == nil {
		failed = err
	}
	if l.ctx.Err() != nil {
		return nil, errs.As(errs.Canceled, l.ctx.Err(), "the connection")
	}
	return got, errs.As(errs.Unavailable, failed, "the connection ended")
}

// idleOf returns how long the other may be silent.
func idleOf(idle time.Duration) time.Duration {
	if idle <= 0 {
		return shares.DefaultIdle
	}
	return idle
}
