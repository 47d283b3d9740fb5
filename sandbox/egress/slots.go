package egress

import (
	"sync"
	"sync/atomic"
)

// slots counts what is open against the limits, and shares out the buffers.
type slots struct {
	connections, sessions int // limits

	in, out atomic.Uint64 // bytes of TCP payload

	mu                         sync.Mutex
	openConnections, openTotal int // openTotal: connections and sessions since the start
	openSessions               int
	buffered                   int // bytes promised to connections
	published                  int
}

// connect takes a slot for a connection and returns the size of its two buffers, each; false where
// all are taken.
func (s *slots) connect() (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.openConnections >= s.connections {
		return 0, false
	}
	size := min(max((bufferBudget-s.buffered)/bufferShare, minBuffer), maxBuffer)
	s.openConnections++
	s.openTotal++
	s.buffered += 2 * size
	return size, true
}

func (s *slots) disconnect(size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.openConnections--
	s.buffered -= 2 * size
}

// begin takes a slot for a UDP session; false where all are taken.
func (s *slots) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.openSessions >= s.sessions {
		return false
	}
	s.openSessions++
	s.openTotal++
	return true
}

func (s *slots) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.openSessions--
}

// now returns what is open, and how much was ever opened.
func (s *slots) now() (connections, sessions int, total uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.openConnections, s.openSessions, uint64(s.openTotal)
}

// publish takes a slot for a published port; false where all are taken.
func (s *slots) publish() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.published >= maxPublished {
		return false
	}
	s.published++
	return true
}

func (s *slots) unpublish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.published--
}
