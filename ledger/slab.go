package ledger

import "surety/base/invariant"

// Chunks of 8192 records: a mebibyte for the 128-byte ones. Large enough that the list of chunks
// stays small, small enough that making one takes no time anyone notices.
const (
	chunkBits = 13
	chunkSize = 1 << chunkBits
)

// slab is a growing array of records that never moves them: growth adds a chunk and copies nothing.
// T has no pointers, so the garbage collector sees the list of chunks and not the records.
type slab[T any] struct {
	chunks []*[chunkSize]T
	length uint32
}

// count returns the number of records.
func (s *slab[T]) count() int { return int(s.length) }

// at returns the record i, which must be below the length. The pointer stays good until the record
// is cut off.
func (s *slab[T]) at(i uint32) *T { return &s.chunks[i>>chunkBits][i%chunkSize] }

// push adds a record and returns its number and its place. What stands there is left over from
// records cut off earlier: the caller writes all of it.
func (s *slab[T]) push() (uint32, *T) {
	i := s.length
	if int(i>>chunkBits) == len(s.chunks) {
		s.grow()
	}
	s.length++
	return i, &s.chunks[i>>chunkBits][i%chunkSize]
}

func (s *slab[T]) grow() {
	invariant.Check(s.length <= RecordsMax, "ledger: slab is full")
	s.chunks = append(s.chunks, new([chunkSize]T))
}

// cut drops all records from i on.
func (s *slab[T]) cut(i uint32) { s.length = i }

// reserve makes room for n records in all, so that pushes up to there do not allocate.
func (s *slab[T]) reserve(n int) {
	for len(s.chunks) < (n+chunkSize-1)>>chunkBits {
		s.grow()
	}
}

// prefix returns the records there are now as a slab of its own that shares the chunks. Later pushes
// to s do not show in it; it may be read while s is written, as far as its records do not change.
func (s *slab[T]) prefix() slab[T] {
	used := (int(s.length) + chunkSize - 1) >> chunkBits
	return slab[T]{chunks: s.chunks[:used:used], length: s.length}
}
