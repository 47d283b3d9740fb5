package replica

import (
	"io"
	"sync"
)

// ahead reads a stream in another goroutine, so that the disk works while what came is decoded.
type ahead struct {
	full  chan piece  // read and not yet taken, in order
	free  chan []byte // to be filled
	quit  chan struct{}
	done  sync.WaitGroup
	now   piece
	taken int // bytes of now that were handed out
}

type piece struct {
	bytes  []byte
	buffer []byte
	err    error // of the read that ended the stream
}

// aheadPieces is how many pieces of snapshotPiece bytes are in use: one being decoded, one ready,
// one being read.
const aheadPieces = 3

// readAhead starts reading; the caller calls stop.
func readAhead(from io.Reader) *ahead {
	a := &ahead{full: make(chan piece, aheadPieces), free: make(chan []byte, aheadPieces),
		quit: make(chan struct{})}
	for range aheadPieces {
		a.free <- make([]byte, snapshotPiece)
	}
	a.done.Go(func() {
		defer close(a.full)
		for {
			select {
			case buffer := <-a.free:
				n, err := io.ReadFull(from, buffer)
				if err == io.ErrUnexpectedEOF {
					err = io.EOF
				}
				a.full <- piece{bytes: buffer[:n], buffer: buffer, err: err}
				if err != nil {
					return
				}
			case <-a.quit:
				return
			}
		}
	})
	return a
}

// stop ends the reading and waits for it.
func (a *ahead) stop() {
	close(a.quit)
	a.done.Wait()
}

// Read implements io.Reader.
func (a *ahead) Read(p []byte) (int, error) {
	for a.taken == len(a.now.bytes) {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.buffer != nil {
			a.free <- a.now.buffer
		}
		next, more := <-a.full
		if !more {
			next.err = io.EOF
		}
		a.now, a.taken = next, 0
	}
	n := copy(p, a.now.bytes[a.taken:])
	a.taken += n
	return n, nil
}
