package shares

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/cloudflare/circl/group"
	"surety/sys/entropy"
)

// pair runs something as both parties, over a connection in memory, and waits for both.
func pair(t testing.TB, each func(role Role, conn net.Conn) error) (active, passive error) {
	t.Helper()
	left, right := net.Pipe()
	return pairOver(left, right, each)
}

func pairOver(left, right net.Conn, each func(role Role, conn net.Conn) error) (a, b error) {
	ended := make(chan error)
	go func() {
		err := each(Passive, right)
		right.Close()
		ended <- err
	}()
	a = each(Active, left)
	left.Close()
	return a, <-ended
}

// tcp returns two ends of a connection over loopback.
func tcp(t testing.TB) (left, right net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialled := make(chan error, 1)
	go func() {
		var err error
		right, err = net.Dial("tcp", listener.Addr().String())
		dialled <- err
	}()
	left, err = listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := <-dialled; err != nil {
		t.Fatal(err)
	}
	return left, right
}

// parties opens the two sides of a session without a hello, and runs something on each.
func parties(t testing.TB, params Params, each func(p *party) error) {
	t.Helper()
	sides(t, params, func(p *party) error {
		if err := p.open(entropy.Seeded(uint64(p.role))); err != nil {
			return err
		}
		return each(p)
	})
}

// runParties is parties with base transfers that were dealt beforehand: for many short runs.
func runParties(t fataler, params Params, each func(p *party) error) {
	sides(t, params, func(p *party) error {
		p.deal()
		return each(p)
	})
}

// deal gives a party its side of base transfers drawn from a fixed seed.
func (p *party) deal() {
	for chooses := Active; chooses <= Passive; chooses++ {
		random := rand.New(rand.NewPCG(uint64(chooses), 99))
		var pairs [bases][2]seed
		for i := range pairs {
			for k := range pairs[i] {
				binary.LittleEndian.PutUint64(pairs[i][k][:], random.Uint64())
			}
		}
		difference := block{random.Uint64(), random.Uint64()}
		if chooses == p.role {
			p.chooser = newChooser(pairs)
			continue
		}
		var seeds [bases]seed
		for i := range seeds {
			seeds[i] = pairs[i][difference.bit(i)]
		}
		p.offerer = newOfferer(difference, seeds)
	}
}

func sides(t fataler, params Params, each func(p *party) error) {
	left, right := net.Pipe()
	active, passive := pairOver(left, right, func(role Role, conn net.Conn) error {
		w := newWire(context.Background(), conn, DefaultIdle)
		err := each(&party{wire: w, role: role, params: params})
		if closed := w.close(err); err == nil {
			err = closed
		}
		return err
	})
	if active != nil || passive != nil {
		t.Fatalf("%v; %v", active, passive)
	}
}

// base returns a point.
func base() group.Element { return group.Ristretto255.Generator() }

// sample is made data: columns of variance one, correlated between the parties, and labels drawn.
type sample struct {
	active, passive [][]float64
	labels          []bool
}

func newSample(rows, activeColumns, passiveColumns int, seed uint64) *sample {
	random := rand.New(rand.NewPCG(seed, 1))
	s := &sample{}
	for range rows {
		odds, common := -0.8, random.NormFloat64()
		draw := func(columns int, sign float64) []float64 {
			row := make([]float64, columns)
			for j := range row {
				row[j] = random.NormFloat64()
				if j == 0 {
					row[j] = 0.6*common + 0.8*row[j]
				}
				odds += sign * row[j] / float64(1+j)
			}
			return row
		}
		s.active = append(s.active, draw(activeColumns, 0.7))
		s.passive = append(s.passive, draw(passiveColumns, -0.9))
		s.labels = append(s.labels, random.Float64() < 1/(1+math.Exp(-odds)))
	}
	return s
}

func (s *sample) params(steps int) Params {
	return Params{Rows: uint32(len(s.labels)), ScoreRows: uint32(len(s.labels)),
		ActiveColumns: uint32(len(s.active[0])), PassiveColumns: uint32(len(s.passive[0])),
		Steps: uint32(steps), Ridge: 1, ScoreBits: 12, Weights: true, ScoresTo: Active}
}

func (s *sample) input(t testing.TB, role Role) Input {
	t.Helper()
	rows, labels := s.active, s.labels
	if role == Passive {
		rows, labels = s.passive, nil
	}
	m, _, err := NewMatrix(rows)
	if err != nil {
		t.Fatal(err)
	}
	return Input{Train: m, Score: m, Labels: labels}
}

// run runs both parties and returns their results.
func (s *sample) run(t testing.TB, p Params) (active, passive *Result) {
	t.Helper()
	inputs := [...]Input{{}, s.input(t, Active), s.input(t, Passive)}
	results := [3]*Result{}
	a, b := pair(t, func(role Role, conn net.Conn) (err error) {
		results[role], err = Run(context.Background(), conn, role, p, inputs[role],
			Options{Entropy: entropy.Seeded(uint64(role))})
		return err
	})
	if a != nil || b != nil {
		t.Fatal(a, b)
	}
	return results[Active], results[Passive]
}

// twin fits the same penalised likelihood by Newton's method in floats.
func (s *sample) twin(ridge float64) (weights []float64) {
	size := 1 + len(s.active[0]) + len(s.passive[0])
	weights = make([]float64, size)
	for range 25 {
		gradient, hessian := make([]float64, size), make([][]float64, size)
		for i := range hessian {
			hessian[i] = make([]float64, size+1)
			hessian[i][i] = ridge
			gradient[i] = -ridge * weights[i]
		}
		hessian[0][0], gradient[0] = 0, 0
		for row := range s.labels {
			x := s.row(row)
			p := 1 / (1 + math.Exp(-dot(x, weights)))
			residual := -p
			if s.labels[row] {
				residual++
			}
			for i := range x {
				gradient[i] += residual * x[i]
				for j := range x {
					hessian[i][j] += p * (1 - p) * x[i] * x[j]
				}
			}
		}
		for i := range gradient {
			hessian[i][size] = gradient[i]
		}
		for i, v := range eliminate(hessian) {
			weights[i] += v
		}
	}
	return weights
}

func (s *sample) row(i int) []float64 {
	x := append([]float64{1}, s.active[i]...)
	return append(x, s.passive[i]...)
}

func dot(x, y []float64) (sum float64) {
	for i := range x {
		sum += x[i] * y[i]
	}
	return sum
}

// eliminate solves a system whose last column is the right side.
func eliminate(a [][]float64) []float64 {
	for c := range a {
		for r := range a {
			if r == c {
				continue
			}
			f := a[r][c] / a[c][c]
			for k := c; k < len(a[r]); k++ {
				a[r][k] -= f * a[c][k]
			}
		}
	}
	x := make([]float64, len(a))
	for i := range x {
		x[i] = a[i][len(a)] / a[i][i]
	}
	return x
}

// TestAgainstTwin compares scores and weights with a fit in floats.
func TestAgainstTwin(t *testing.T) {
	for _, rows := range []int{200, 1001} {
		s := newSample(rows, 3, 4, uint64(rows))
		active, passive := s.run(t, s.params(40))
		want := s.twin(1)
		got := append([]float64{active.Intercept}, active.Weights...)
		got = append(got, passive.Weights...)
		worstWeight, worst := 0.0, 0.0
		for i := range want {
			worstWeight = max(worstWeight, math.Abs(got[i]-want[i]))
		}
		for i, z := range active.Scores {
			p, twin := 1/(1+math.Exp(-z)), 1/(1+math.Exp(-dot(s.row(i), want)))
			worst = max(worst, math.Abs(p-twin))
		}
		t.Logf("%d rows: weights within %.5f, scores within %.5f; %+v", rows, worstWeight, worst,
			active.Traffic)
		if worst > 1e-3 {
			t.Errorf("%d rows: a score is %.5f off", rows, worst)
		}
		if passive.Scores != nil || active.Guarantee != "math" || passive.Guarantee != "math" {
			t.Error("scores at the wrong party, or no guarantee")
		}
	}
}

// BenchmarkRun is the whole run, both parties in this process.
func BenchmarkRun(b *testing.B) {
	s := newSample(24000, 12, 12, 1)
	p := s.params(20)
	p.ScoreRows, p.Coarse, p.Steps = 6000, 10, 10
	score := func(in Input) Input {
		in.Score = in.Train.slice(0, 6000)
		return in
	}
	inputs := [...]Input{{}, score(s.input(b, Active)), score(s.input(b, Passive))}
	for b.Loop() {
		left, right := tcp(b)
		results := [3]*Result{}
		x, y := pairOver(left, right, func(role Role, conn net.Conn) (err error) {
			results[role], err = Run(context.Background(), conn, role, p, inputs[role], Options{})
			return err
		})
		if x != nil || y != nil {
			b.Fatal(x, y)
		}
		b.ReportMetric(float64(results[1].Traffic.Sent+results[2].Traffic.Sent)/1e6, "MB")
		b.ReportMetric(float64(results[1].Traffic.Transfers), "transfers")
	}
}
