package channel

import (
	"io"
	"net"
	"sync"
)

// Join carries bytes between two connections until both directions have ended, and closes both. An end
// of one direction is passed on: the other may still be answered.
func Join(a, b net.Conn) {
	var ways sync.WaitGroup
	for _, way := range [...]struct{ to, from net.Conn }{{a, b}, {b, a}} {
		ways.Go(func() { carry(way.to, way.from) })
	}
	ways.Wait()
	_ = a.Close()
	_ = b.Close()
}

// carry copies one direction. What cannot be written any more need not be read.
func carry(to, from net.Conn) {
	_, err := io.CopyBuffer(onlyWriter{to}, onlyReader{from}, make([]byte, copyBytes))
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil && half.CloseWrite() == nil {
		return
	}
	_ = to.Close()
	_ = from.Close()
}

// onlyReader and onlyWriter hide shorter ways that would pass by the buffer.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)
