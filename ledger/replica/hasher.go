package replica

import (
	"crypto/sha256"
	"hash"
	"sync"
)

// hasher is a SHA-256 that is computed in another goroutine: what is written is copied and hashed
// while the writer goes on. The caller calls stop.
type hasher struct {
	sum    hash.Hash // of the goroutine, until sync has returned
	full   chan []byte
	free   chan []byte
	buffer []byte // being filled
	under  sync.WaitGroup
	done   sync.WaitGroup
}

const (
	hasherPieces = 3
	hasherBytes  = 256 << 10
)

var _ hash.Hash = (*hasher)(nil)

func newHasher() *hasher {
	h := &hasher{sum: sha256.New(), full: make(chan []byte, hasherPieces),
		free: make(chan []byte, hasherPieces)}
	for range hasherPieces {
		h.free <- make([]byte, 0, hasherBytes)
	}
	h.buffer = <-h.free
	h.done.Go(func() {
		for piece := range h.full {
			h.sum.Write(piece)
			h.free <- piece[:0]
			h.under.Done()
		}
	})
	return h
}

// stop ends the goroutine.
func (h *hasher) stop() {
	close(h.full)
	h.done.Wait()
}

// Write implements hash.Hash. It never fails.
func (h *hasher) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), hasherBytes-len(h.buffer))
		h.buffer = append(h.buffer, rest[:n]...)
		rest = rest[n:]
		if len(h.buffer) == hasherBytes {
			h.hand()
		}
	}
	return len(p), nil
}

// hand gives the buffer to the goroutine and takes an empty one.
func (h *hasher) hand() {
	h.under.Add(1)
	h.full <- h.buffer
	h.buffer = <-h.free
}

// sync returns when everything written is hashed.
func (h *hasher) sync() {
	if len(h.buffer) > 0 {
		h.hand()
	}
	h.under.Wait()
}

// Sum implements hash.Hash.
func (h *hasher) Sum(b []byte) []byte {
	h.sync()
	return h.sum.Sum(b)
}

// Reset implements hash.Hash.
func (h *hasher) Reset() {
	h.sync()
	h.sum.Reset()
}

// Size implements hash.Hash.
func (h *hasher) Size() int { return sha256.Size }

// BlockSize implements hash.Hash.
func (h *hasher) BlockSize() int { return sha256.BlockSize }
