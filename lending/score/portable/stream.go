package portable

import "math/bits"

// Stream is a seeded sequence of pseudo-random numbers, the same on every machine and in every
// release: files and tests depend on its values. It is not for secrets. The zero value is the
// stream of seed zero. A Stream has one user at a time.
type Stream struct {
	state uint64
}

// NewStream returns the stream of a seed. Streams of different seeds are unrelated, also those of
// neighbouring seeds.
func NewStream(seed uint64) *Stream { return &Stream{state: Mix(seed)} }

// Mix scrambles a number so that neighbouring inputs have unrelated outputs; it is a bijection.
func Mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb
	return x ^ (x >> 31)
}

// Next returns 64 uniform bits.
func (s *Stream) Next() uint64 {
	v := Mix(s.state)
	s.state += 0x9e3779b97f4a7c15
	return v
}

// Below returns a uniform whole number in [0, n); n must be positive. The bias is below n / 2^64.
func (s *Stream) Below(n int64) int64 {
	high, _ := bits.Mul64(s.Next(), uint64(n))
	return int64(high)
}

// Unit returns a uniform number in (0, 1): never 0, so that its logarithm exists.
func (s *Stream) Unit() float64 {
	return (float64(s.Next()>>12) + 0.5) / (1 << 52)
}

// Normal returns a number of roughly normal distribution with mean 0 and variance 1, within ±6:
// the sum of twelve uniform ones. The tails are cut, which suits populations of plausible people.
func (s *Stream) Normal() float64 {
	sum := 0.0
	for range 12 {
		sum += s.Unit()
	}
	return sum - 6
}

// Shuffle puts the numbers into a uniformly random order.
func (s *Stream) Shuffle(v []int32) {
	for i := len(v) - 1; i > 0; i-- {
		j := s.Below(int64(i) + 1)
		v[i], v[j] = v[j], v[i]
	}
}
