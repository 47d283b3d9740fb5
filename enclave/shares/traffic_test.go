package shares

import (
	"encoding/binary"
	"math"
	"net"
	"sync"
	"testing"
)

// recorder keeps every byte that crosses a connection, as either end sees it: what it writes, and
// what it reads.
type recorder struct {
	net.Conn
	mu    sync.Mutex
	bytes []byte // written by this end
	read  []byte
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	r.bytes = append(r.bytes, b...)
	r.mu.Unlock()
	return r.Conn.Write(b)
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.mu.Lock()
	r.read = append(r.read, b[:n]...)
	r.mu.Unlock()
	return n, err
}

// patterns are the ways in which eight bytes would show a party's columns: each value as a float in
// either order of bytes, and four neighbouring cells as they lie in memory.
func patterns(t *testing.T, rows [][]float64, m *Matrix) map[[8]byte]bool {
	t.Helper()
	found := map[[8]byte]bool{}
	for _, row := range rows {
		for _, v := range row {
			found[[8]byte(binary.LittleEndian.AppendUint64(nil, math.Float64bits(v)))] = true
			found[[8]byte(binary.BigEndian.AppendUint64(nil, math.Float64bits(v)))] = true
		}
	}
	for i := 0; i+4 <= len(m.cells); i++ {
		var four []byte
		for _, cell := range m.cells[i : i+4] {
			four = binary.LittleEndian.AppendUint16(four, uint16(cell))
		}
		found[[8]byte(four)] = true
	}
	return found
}

// search counts the patterns that occur at any byte of some traffic.
func search(traffic []byte, for8 map[[8]byte]bool) (hits int) {
	// A table of the first three bytes answers nearly always, and the map is asked for the rest.
	likely := make([]bool, 1<<24)
	for p := range for8 {
		likely[int(p[0])|int(p[1])<<8|int(p[2])<<16] = true
	}
	for at := 0; at+8 <= len(traffic); at++ {
		if likely[int(traffic[at])|int(traffic[at+1])<<8|int(traffic[at+2])<<16] &&
			for8[[8]byte(traffic[at:])] {
			hits++
		}
	}
	return hits
}

// TestTrafficShowsNoValue looks for the 10,000 values of each party's columns in all that crosses the
// connection; and then plants one, which the same search must find.
func TestTrafficShowsNoValue(t *testing.T) {
	s := newSample(2500, 4, 4, 11)
	p := s.params(2)
	p.ScoreRows, p.ScoresTo, p.Coarse = 0, Nobody, 1
	record := &recorder{}
	s.record(t, p, record)
	for role, rows := range map[Role][][]float64{Active: s.active, Passive: s.passive} {
		wanted := patterns(t, rows, s.input(t, role).Train)
		if len(wanted) < 20_000 {
			t.Fatalf("only %d patterns", len(wanted))
		}
		for name, traffic := range map[string][]byte{"written": record.bytes, "read": record.read} {
			if hits := search(traffic, wanted); hits != 0 {
				t.Errorf("%d values of the %s party in %d bytes %s", hits, role, len(traffic), name)
			}
			planted := append([]byte(nil), traffic...)
			binary.LittleEndian.PutUint64(planted[len(planted)/2+3:], math.Float64bits(rows[77][2]))
			if hits := search(planted, wanted); hits == 0 {
				t.Error("the search does not find a value that is there")
			}
		}
	}
	t.Logf("%d and %d bytes searched", len(record.bytes), len(record.read))
}

// TestTrafficLooksTheSame sees that what a party receives has the same size whatever the other's
// columns and labels are, and that its bytes are as evenly spread.
func TestTrafficLooksTheSame(t *testing.T) {
	var sizes []int
	for _, seed := range []uint64{1, 2, 0} {
		s := newSample(400, 2, 2, 3)
		if seed == 0 { // all the other party's columns are one constant
			for i := range s.passive {
				s.passive[i] = []float64{1, 1}
			}
		} else {
			s.passive = newSample(400, 2, 2, seed).passive
		}
		record := &recorder{}
		s.record(t, s.params(3), record)
		sizes = append(sizes, len(record.read))
		if spread := chiSquare(offers(t, record.read)); spread > 380 {
			t.Errorf("passive columns %d: bytes are uneven: %.0f for 255 degrees of freedom", seed, spread)
		}
	}
	if sizes[0] != sizes[1] || sizes[1] != sizes[2] {
		t.Errorf("sizes %d depend on the columns", sizes)
	}
}

// offers returns the payloads of masked choices and masked numbers in a party's traffic.
func offers(t *testing.T, traffic []byte) (payloads []byte) {
	t.Helper()
	for len(traffic) > 0 {
		size := headerBytes + int(binary.BigEndian.Uint32(traffic[1:]))
		if k := kind(traffic[0]); k == kindExtend || k == kindOffer {
			payloads = append(payloads, traffic[headerBytes:size]...)
		}
		traffic = traffic[size:]
	}
	if len(payloads) < 1<<20 {
		t.Fatalf("only %d bytes", len(payloads))
	}
	return payloads
}

// chiSquare measures how unevenly bytes are spread: 255 is usual, above 380 is one in a million.
func chiSquare(data []byte) (sum float64) {
	var counts [256]int
	for _, b := range data {
		counts[b]++
	}
	mean := float64(len(data)) / 256
	for _, n := range counts {
		sum += (float64(n) - mean) * (float64(n) - mean) / mean
	}
	return sum
}
