package shares

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net"
	"testing"

	"pgregory.net/rapid"

	"surety/sys/entropy"
)

// TestTransposeAgainstTwin moves every bit by itself.
func TestTransposeAgainstTwin(t *testing.T) {
	const width = 24
	random := rand.New(rand.NewPCG(1, 2))
	columns := make([]byte, bases*width)
	for i := range columns {
		columns[i] = byte(random.Uint32())
	}
	rows := make([]block, width*8)
	transpose(columns, width, rows)
	for row := range rows {
		for column := range bases {
			want := int(columns[column*width+row/8] >> (row % 8) & 1)
			if got := rows[row].bit(column); got != want {
				t.Fatalf("row %d, column %d: %d, want %d", row, column, got, want)
			}
		}
	}
}

// TestChooserLearnsTheChosen sees that of each extended transfer the chooser has the key it chose,
// that the offerer has both, and that the chooser has not the other: neither as it is nor hashed.
func TestChooserLearnsTheChosen(t *testing.T) {
	const transfers = 1000
	choices := make([]byte, transfers)
	random := rand.New(rand.NewPCG(3, 4))
	for i := range choices {
		choices[i] = byte(random.Uint32() & 1)
	}
	chosen, offered := make([]block, words(transfers)*64), make([]block, words(transfers)*64)
	masked := make(chan []byte, 1)
	var difference block
	parties(t, Params{}, func(p *party) error {
		if p.role == Passive {
			message := make([]byte, extensionBytes(transfers))
			p.chooser.extend(choices, message, chosen)
			masked <- message
			return nil
		}
		p.offerer.extend(<-masked, offered)
		difference = p.offerer.difference
		return nil
	})
	seen := map[block]bool{}
	for i, choice := range choices {
		keys := [2]block{offered[i], offered[i].xor(difference)}
		if chosen[i] != keys[choice] {
			t.Fatalf("transfer %d: the chooser does not have key %d", i, choice)
		}
		if chosen[i] == keys[1-choice] || seen[chosen[i]] {
			t.Fatalf("transfer %d: the chooser has the other key, or the same as before", i)
		}
		seen[chosen[i]] = true
	}
	if difference == (block{}) {
		t.Error("both keys of each transfer are the same")
	}
}

// TestSeedsDiffer sees that the base transfers' two seeds differ, that the chooser has one of each,
// and that other sessions have other seeds.
func TestSeedsDiffer(t *testing.T) {
	var difference [3]block
	parties(t, Params{}, func(p *party) error {
		difference[p.role] = p.offerer.difference
		return nil
	})
	if difference[Active] == difference[Passive] {
		t.Error("both parties have chosen the same")
	}
	one := (&party{role: Active}).seed(Active, 1, nil, nil, base())
	for name, other := range map[string]seed{
		"session": (&party{session: [32]byte{1}}).seed(Active, 1, nil, nil, base()),
		"chooser": (&party{}).seed(Passive, 1, nil, nil, base()),
		"number":  (&party{}).seed(Active, 2, nil, nil, base()),
	} {
		if one == other {
			t.Errorf("seeds do not depend on the %s", name)
		}
	}
}

// TestCorrelate compares products of bits and numbers with plain ones, over more than one chunk too.
func TestCorrelate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{0, 1, 63, 64, 65, 300, 300, 300, chunkTransfers + 7})
		checkCorrelate(t, size.Draw(t, "active bits"), size.Draw(t, "passive bits"),
			rapid.Uint64().Draw(t, "seed"))
	})
}

// TestCorrelateLong has more chunks than are on their way at a time, and not the same number each way.
func TestCorrelateLong(t *testing.T) {
	checkCorrelate(t, (2*window+4)*chunkTransfers+5, 3*chunkTransfers+7, 1)
}

type fataler interface {
	Fatalf(format string, args ...any)
}

func checkCorrelate(t fataler, active, passive int, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 5))
	draw := func(n int) (bits []byte, numbers []uint64) {
		for range n {
			bits, numbers = append(bits, byte(random.Uint32()&1)), append(numbers, random.Uint64())
		}
		return bits, numbers
	}
	activeBits, passiveNumbers := draw(active)
	passiveBits, activeNumbers := draw(passive)
	var ofBits, ofNumbers [3][]uint64
	runParties(t, Params{}, func(p *party) (err error) {
		bits, numbers := activeBits, activeNumbers
		if p.role == Passive {
			bits, numbers = passiveBits, passiveNumbers
		}
		ofBits[p.role], ofNumbers[p.role], err = p.correlate(bits, numbers)
		return err
	})
	for i, bit := range activeBits {
		if ofBits[Active][i]+ofNumbers[Passive][i] != uint64(bit)*passiveNumbers[i] {
			t.Fatalf("active bit %d: not the product", i)
		}
	}
	for i, bit := range passiveBits {
		if ofBits[Passive][i]+ofNumbers[Active][i] != uint64(bit)*activeNumbers[i] {
			t.Fatalf("passive bit %d: not the product", i)
		}
	}
}

// TestMultiply compares shares of products of cells and shared vectors with plain products, both
// ways, with every stride, and with keys that are used again.
func TestMultiply(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SampledFrom([]int{1, 3, 64, 501}).Draw(t, "rows")
		columns := [3]int{0, rapid.IntRange(0, 4).Draw(t, "active"), rapid.IntRange(1, 5).Draw(t, "passive")}
		stride := rapid.IntRange(1, 4).Draw(t, "stride")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 6))
		params := Params{ActiveColumns: uint32(columns[1]), PassiveColumns: uint32(columns[2])}
		matrices := [3]*Matrix{nil, randomMatrix(random, rows, columns[1]),
			randomMatrix(random, rows, columns[2])}
		for _, d := range []direction{forward, backward} {
			checkMultiply(t, params, matrices, d, stride, random.Uint64())
		}
	})
}

func randomMatrix(random *rand.Rand, rows, columns int) *Matrix {
	m := &Matrix{rows: rows, columns: columns}
	for range rows * columns {
		m.cells = append(m.cells, int16(random.IntN(2*cellMax+1)-cellMax))
	}
	return m
}

func checkMultiply(t fataler, params Params, matrices [3]*Matrix, d direction, stride int,
	seed uint64) {
	random := rand.New(rand.NewPCG(seed, 7))
	rows := strided(matrices[Active].rows, stride)
	// For the cells of each party a vector, in two shares.
	var vectors [3][3][]uint64
	for owner := Active; owner <= Passive; owner++ {
		n := rows
		if d == forward {
			n = matrices[owner].columns
		}
		for holder := Active; holder <= Passive; holder++ {
			for range n {
				vectors[owner][holder] = append(vectors[owner][holder], random.Uint64())
			}
		}
	}
	var results [3]*sums
	runParties(t, params, func(p *party) error {
		keys, err := p.keep(matrices[p.role])
		if err != nil {
			return err
		}
		for range 2 { // the second time with the same keys
			results[p.role], err = keys.multiply(d, stride, vectors[p.role][p.role],
				vectors[p.role.Other()][p.role])
			if err != nil {
				return err
			}
		}
		return nil
	})
	for owner := Active; owner <= Passive; owner++ {
		vector := make([]uint64, len(vectors[owner][Active]))
		for i := range vector {
			vector[i] = vectors[owner][Active][i] + vectors[owner][Passive][i]
		}
		want := plainProduct(matrices[owner], d, stride, vector)
		for i := range want {
			if got := results[owner].ours[i] + results[owner.Other()].theirs[i]; got != want[i] {
				t.Fatalf("%s cells, %d: %d, want %d", owner, i, got, want[i])
			}
		}
	}
}

// plainProduct multiplies cell by cell.
func plainProduct(m *Matrix, d direction, stride int, vector []uint64) []uint64 {
	into := make([]uint64, m.columns)
	if d == forward {
		into = make([]uint64, strided(m.rows, stride))
	}
	for i := 0; i*stride < m.rows; i++ {
		for j := range m.columns {
			cell := uint64(int64(m.cells[i*stride*m.columns+j]))
			if d == forward {
				into[i] += cell * vector[j]
			} else {
				into[j] += cell * vector[i]
			}
		}
	}
	return into
}

// TestTruncate sees that no number is more than one unit below its quotient rounded down, whatever
// the shares: at the ends of the range, where dropping bits of shares goes wrong, too.
func TestTruncate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.IntRange(1, 40).Draw(t, "bits")
		value := rapid.Int64Range(-1<<62, 1<<62-1)
		values := rapid.SliceOfN(rapid.OneOf(value, rapid.SampledFrom([]int64{0, 1, -1, 1<<62 - 1, -1 << 62})),
			1, 8).Draw(t, "values")
		masks := rapid.SliceOfN(rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, 1 << 63,
			math.MaxUint64})), len(values), len(values)).Draw(t, "shares")
		checkTruncate(t, values, masks, bits)
	})
}

func checkTruncate(t fataler, values []int64, masks []uint64, bits int) {
	shares := [3][]uint64{nil, masks, make([]uint64, len(values))}
	for i, v := range values {
		shares[Passive][i] = uint64(v) - masks[i]
	}
	var got [3][]uint64
	runParties(t, Params{}, func(p *party) (err error) {
		got[p.role], err = p.truncate(shares[p.role], bits)
		return err
	})
	for i, v := range values {
		sum := int64(got[Active][i] + got[Passive][i])
		if off := v>>bits - sum; off != 0 && off != 1 {
			t.Fatalf("%d >> %d is %d, not %d", v, bits, sum, v>>bits)
		}
	}
}

// TestSigmoid sees that the sigmoid is within its bound over its range, for shares of every sort,
// and what becomes of it beyond.
func TestSigmoid(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 9))
	var odds []float64
	var shares [3][]uint64
	for z := -16.0; z <= 16; z += 1.0 / 64 {
		share := random.Uint64()
		odds = append(odds, z)
		shares[Active] = append(shares[Active], share)
		shares[Passive] = append(shares[Passive], uint64(int64(z*(1<<oddsFraction)))-share)
	}
	var got [3][]uint64
	parties(t, Params{}, func(p *party) (err error) {
		got[p.role], err = p.sigmoid(shares[p.role])
		return err
	})
	worst, square := 0.0, 0.0
	for i, z := range odds {
		p := float64(int64(got[Active][i]+got[Passive][i])) / (1 << residualFraction)
		folded := z
		if math.Abs(z) > SigmoidRange {
			folded = math.Copysign(2*SigmoidRange-math.Abs(z), z)
		}
		off := math.Abs(p - 1/(1+math.Exp(-folded)))
		worst, square = max(worst, off), square+off*off
	}
	t.Logf("worst %.5f, root of the mean square %.5f", worst, math.Sqrt(square/float64(len(odds))))
	if worst > SigmoidError+0.002 {
		t.Errorf("worst %.5f", worst)
	}
	for z := -float64(SigmoidRange); z <= SigmoidRange; z += 1.0 / 128 {
		sum := 0.5
		for k := range sines {
			sum += sineTerm(k) * math.Sin(float64(2*k+1)*2*math.Pi*z/(1<<periodBits))
		}
		if off := math.Abs(sum - 1/(1+math.Exp(-z))); off > SigmoidError {
			t.Fatalf("at %.4f the sines are %.5f off", z, off)
		}
	}
}

// TestStepFactor sees that the step is never above its size, and not half of it.
func TestStepFactor(t *testing.T) {
	for _, rows := range []int{8, 9, 127, 128, 129, 24000, MaxRows - 1, MaxRows} {
		factor, shift := stepFactor(rows)
		step := float64(factor) / math.Ldexp(1, shift) * float64(rows)
		if step > stepSize || step < 0.97*stepSize || factor > 1<<factorBits {
			t.Errorf("%d rows: %d / 2^%d is a step of %.3f", rows, factor, shift, step)
		}
	}
}

// TestMatrix rounds, clamps and counts.
func TestMatrix(t *testing.T) {
	m, clamped, err := NewMatrix([][]float64{{0.5, -1.0 / 512}, {9, -1e300}})
	if err != nil || clamped != 2 || m.At(0, 0) != 0.5 || m.At(0, 1) != -1.0/512 ||
		m.At(1, 0) != float64(cellMax)/512 || m.At(1, 1) != -float64(cellMax)/512 {
		t.Errorf("%+v, %d clamped: %v", m, clamped, err)
	}
	for name, rows := range map[string][][]float64{
		"ragged": {{1, 2}, {1}}, "not a number": {{math.NaN()}},
	} {
		if _, _, err := NewMatrix(rows); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// BenchmarkCorrelate makes fresh transfers, both ways, over a connection in memory.
func BenchmarkCorrelate(b *testing.B) {
	const transfers = 1 << 20
	bits, numbers := make([]byte, transfers), make([]uint64, transfers)
	for i := range bits {
		bits[i], numbers[i] = byte(i&1), uint64(i)
	}
	parties(b, Params{}, func(p *party) error {
		if p.role == Passive {
			for p.uses < 4 {
				if _, _, err := p.correlate(bits, numbers); err != nil {
					return err
				}
			}
			return nil
		}
		for i := 0; i < 4; i++ {
			if i == 1 {
				b.ResetTimer()
			}
			if _, _, err := p.correlate(bits, numbers); err != nil {
				return err
			}
		}
		b.ReportMetric(3*2*transfers/b.Elapsed().Seconds(), "transfers/s")
		return nil
	})
}

// TestSeededIsRepeatable sees that the same seeds give the same traffic.
func TestSeededIsRepeatable(t *testing.T) {
	s := newSample(64, 1, 2, 1)
	var sums [2]uint64
	for i := range sums {
		record := &recorder{}
		s.record(t, s.params(2), record)
		for at := 0; at+8 <= len(record.bytes); at += 8 {
			sums[i] = sums[i]*31 + binary.LittleEndian.Uint64(record.bytes[at:])
		}
	}
	if sums[0] != sums[1] {
		t.Error("the same seeds, and other bytes")
	}
}

// record runs both parties over a connection whose bytes are kept.
func (s *sample) record(t testing.TB, p Params, into *recorder) (active, passive *Result) {
	t.Helper()
	inputs := [...]Input{{}, s.input(t, Active), s.input(t, Passive)}
	if p.ScoreRows == 0 {
		inputs[Active].Score, inputs[Passive].Score = nil, nil
	}
	left, right := net.Pipe()
	into.Conn = left
	results := [3]*Result{}
	a, b := pairOver(into, right, func(role Role, conn net.Conn) (err error) {
		results[role], err = Run(t.Context(), conn, role, p, inputs[role],
			Options{Entropy: entropy.Seeded(uint64(role))})
		return err
	})
	if a != nil || b != nil {
		t.Fatal(a, b)
	}
	return results[Active], results[Passive]
}
