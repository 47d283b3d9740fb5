// Package entropy is where randomness comes from: the operating system, or a seed.
//
// Whoever needs random bytes takes a Source, so that a simulation or a test gives the same run
// again from the same seed. What protects money or people (tokens, keys) takes System and nothing
// else.
//
// # Concurrency
//
// System is safe for concurrent use. A seeded source is locked, and gives concurrent callers their
// bytes in the order they arrive: a repeatable run asks from one goroutine.
package entropy

import (
	"crypto/rand"
	"encoding/binary"
	mathrand "math/rand/v2"
	"sync"

	"surety/base/clock"
	"surety/base/ident"
)

// Source fills p with random bytes. It never fails: where the system has no entropy, the process
// cannot go on, and the runtime ends it.
type Source interface {
	Fill(p []byte)
}

// System returns the operating system's source, fit for keys and tokens.
func System() Source { return system{} }

type system struct{}

func (system) Fill(p []byte) {
	// crypto/rand.Read never returns an error: it ends the process instead.
	_, _ = rand.Read(p)
}

// Seeded returns a source that gives the same bytes for the same seed. It is not for secrets.
func Seeded(seed uint64) Source {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return &seeded{stream: mathrand.NewChaCha8(key)}
}

type seeded struct {
	mu     sync.Mutex
	stream *mathrand.ChaCha8
}

func (s *seeded) Fill(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.stream.Read(p) // ChaCha8 never fails
}

// Idents makes time-ordered ids.
type Idents struct {
	source Source
	now    func() clock.Instant
}

// NewIdents returns a maker of ids from a source and a clock.
func NewIdents(source Source, now func() clock.Instant) *Idents {
	return &Idents{source: source, now: now}
}

// New returns a new id: the milliseconds of now above 80 random bits. Ids of different
// milliseconds sort by age; within one millisecond the order is random.
func (i *Idents) New() ident.ID {
	var low [10]byte
	i.source.Fill(low[:])
	return ident.Ordered(uint64(i.now())/uint64(clock.Millisecond), low)
}
