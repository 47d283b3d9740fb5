package joint

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"math"
	"net"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/shares"
	"surety/lending/score/evaluate"
	"surety/lending/score/portable"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

// SharesBench says what is measured: both parties in this process, over TLS on loopback, with rows
// drawn from a seed.
type SharesBench struct {
	Rows    int // learnt from
	Judged  int
	Columns int // of each party
	Seed    uint64
}

// SharesFigures is what was measured.
type SharesFigures struct {
	Guarantee enclave.Guarantee `json:"guarantee"`
	Rows      int               `json:"rows"`
	Judged    int               `json:"judged"`
	Columns   int               `json:"columns"` // of each party
	Steps     uint32            `json:"steps"`
	Coarse    uint32            `json:"coarse"`
	Took      clock.Duration    `json:"took_nanos"`
	Bytes     int64             `json:"bytes"` // both ways
	Transfers int64             `json:"transfers"`
	AUC       evaluate.Micro    `json:"auc_micro"`
	Plain     evaluate.Micro    `json:"plain_auc_micro"` // of a fit in floats that has all columns
	Alone     evaluate.Micro    `json:"alone_auc_micro"` // of the party that has the outcomes
	Worst     float64           `json:"worst"`           // greatest distance of two probabilities of a row
}

// Run measures. Kinds as of shares.Run.
func (b SharesBench) Run(ctx context.Context, clk wallclock.Clock) (*SharesFigures, error) {
	p := shares.Params{Rows: uint32(b.Rows), ScoreRows: uint32(b.Judged),
		ActiveColumns: uint32(b.Columns), PassiveColumns: uint32(b.Columns), Coarse: defaultCoarse,
		Steps: defaultSteps, Ridge: defaultRidge, ScoreBits: shares.MaxScoreBits, ScoresTo: shares.Active}
	if b.Rows < 2*b.Columns*shares.CoarseStride*shares.CoarseRowsPerColumn {
		p.Coarse, p.Steps = 0, defaultCoarse+defaultSteps
	}
	if b.Rows < 1 || b.Judged < 1 || b.Columns < 1 || b.Rows > shares.MaxRows ||
		b.Judged > shares.MaxRows || b.Columns > shares.MaxColumns {
		return nil, errs.New(errs.Invalid, "joint.bench: %d rows, %d judged and %d columns, not 1 to %d, %d "+
			"and %d", b.Rows, b.Judged, b.Columns, shares.MaxRows, shares.MaxRows, shares.MaxColumns)
	}
	active, passive, bad := b.draw()
	inputs, err := b.inputs(active, passive, bad)
	if err != nil {
		return nil, err
	}
	begin := clk.Now()
	r, err := bothShare(ctx, p, inputs)
	if err != nil {
		return nil, err
	}
	f := &SharesFigures{Guarantee: enclave.Math, Rows: b.Rows, Judged: b.Judged, Columns: b.Columns,
		Steps: p.Steps, Coarse: p.Coarse, Took: clk.Now().Sub(begin),
		Bytes: r.Traffic.Sent + r.Traffic.Received, Transfers: r.Traffic.Transfers}
	b.compare(f, r.Scores, active, passive, bad)
	return f, nil
}

// draw makes rows whose outcome hangs on both parties' columns, the first of which are correlated.
func (b SharesBench) draw() (active, passive [][]float64, bad []bool) {
	stream := portable.NewStream(b.Seed)
	normal := func() float64 { // twelve uniform numbers add up to variance one
		sum := -6.0
		for range 12 {
			sum += float64(stream.Below(1<<30)) / (1 << 30)
		}
		return sum
	}
	for range b.Rows + b.Judged {
		common, odds := normal(), -1.5
		row := func(strength float64) []float64 {
			values := make([]float64, b.Columns)
			for j := range values {
				values[j] = normal()
				if j == 0 {
					values[j] = 0.6*common + 0.8*values[j]
				}
				odds += strength * values[j] / math.Sqrt(float64(1+j))
			}
			return values
		}
		active, passive = append(active, row(0.4)), append(passive, row(-0.3))
		bad = append(bad, float64(stream.Below(1<<30))/(1<<30) < 1/(1+math.Exp(-odds)))
	}
	return active, passive, bad
}

func (b SharesBench) inputs(active, passive [][]float64, bad []bool) (in [3]shares.Input, err error) {
	for role, rows := range [3][][]float64{shares.Active: active, shares.Passive: passive} {
		if role == int(shares.Nobody) {
			continue
		}
		if in[role].Train, _, err = shares.NewMatrix(rows[:b.Rows]); err != nil {
			return in, err
		}
		if in[role].Score, _, err = shares.NewMatrix(rows[b.Rows:]); err != nil {
			return in, err
		}
	}
	in[shares.Active].Labels = bad[:b.Rows]
	return in, nil
}

// bothShare runs both parties and returns the Active one's result.
func bothShare(ctx context.Context, p shares.Params, in [3]shares.Input) (*shares.Result, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errs.As(errs.Unavailable, err, "joint.bench")
	}
	defer listener.Close()
	var keys [3]ed25519.PrivateKey
	var known [3]*enclave.Party
	for role := range keys {
		var seed [ed25519.SeedSize]byte
		entropy.System().Fill(seed[:])
		keys[role] = ed25519.NewKeyFromSeed(seed[:])
		known[role] = &enclave.Party{Name: shares.Role(role).String(),
			Key: keys[role].Public().(ed25519.PublicKey)}
	}
	ended := make(chan error, 1)
	go func() {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err == nil {
			_, err = shareOver(ctx, conn, shares.Passive, keys[shares.Passive], known[shares.Active], p, in)
		}
		ended <- err
	}()
	conn, err := listener.Accept()
	var r *shares.Result
	if err == nil {
		r, err = shareOver(ctx, conn, shares.Active, keys[shares.Active], known[shares.Passive], p, in)
	}
	if other := <-ended; err == nil {
		err = other
	}
	return r, err
}

// shareOver is one party of a measurement.
func shareOver(ctx context.Context, conn net.Conn, role shares.Role, key ed25519.PrivateKey,
	peer *enclave.Party, p shares.Params, in [3]shares.Input) (*shares.Result, error) {
	defer conn.Close()
	config, err := sessionConfig(key, peer)
	if err != nil {
		return nil, err
	}
	session := tls.Client(conn, config)
	if role == shares.Active {
		session = tls.Server(conn, config)
	}
	p.Context = sha256.Sum256([]byte("surety joint bench 1\n"))
	return shares.Run(ctx, session, role, p, in[role], shares.Options{})
}

// compare fits the same rows in floats.
func (b SharesBench) compare(f *SharesFigures, odds []float64, active, passive [][]float64, bad []bool) {
	all := make([][]float64, len(active))
	for i := range active {
		all[i] = append(append([]float64(nil), active[i]...), passive[i]...)
	}
	judged := bad[b.Rows:]
	plain := fitPlain(all[:b.Rows], bad[:b.Rows], defaultRidge)
	alone := fitPlain(active[:b.Rows], bad[:b.Rows], defaultRidge)
	var plainOdds, aloneOdds []float64
	for i := range judged {
		plainOdds = append(plainOdds, oddsOf(plain, all[b.Rows+i]))
		aloneOdds = append(aloneOdds, oddsOf(alone, active[b.Rows+i]))
		off := 1/(1+math.Exp(-plainOdds[i])) - 1/(1+math.Exp(-odds[i]))
		f.Worst = max(f.Worst, math.Abs(off))
	}
	f.AUC = evaluate.Measure(sampleOf(odds, judged)).AUC
	f.Plain = evaluate.Measure(sampleOf(plainOdds, judged)).AUC
	f.Alone = evaluate.Measure(sampleOf(aloneOdds, judged)).AUC
}
