package server

import (
	"context"
	"sync"

	"surety/base/errs"
	"surety/ledger/wire"
)

const (
	smallBody = 16 << 10 // below it, a buffer is made; above, one is borrowed
	largeBody = wire.BodyMax
)

// budget is a count of bytes that may be in use. Who asks first is served first.
type budget struct {
	mu      sync.Mutex
	free    int
	whole   int
	waiting []*wish
}

// wish is somebody who waits for bytes.
type wish struct {
	bytes   int
	granted chan struct{} // closed when the bytes are his
}

func newBudget(bytes int) *budget { return &budget{free: bytes, whole: bytes} }

// acquire takes bytes, waiting until they are free. More than there are in all is taken as all.
func (b *budget) acquire(ctx context.Context, bytes int) (taken int, err error) {
	b.mu.Lock()
	bytes = min(bytes, b.whole)
	if len(b.waiting) == 0 && b.free >= bytes {
		b.free -= bytes
		b.mu.Unlock()
		return bytes, nil
	}
	w := &wish{bytes: bytes, granted: make(chan struct{})}
	b.waiting = append(b.waiting, w)
	b.mu.Unlock()
	select {
	case <-w.granted:
		return bytes, nil
	case <-ctx.Done():
		b.forget(w)
		return 0, errs.As(errs.Canceled, ctx.Err(), "ledger server: the connection ended")
	}
}

// forget takes back a wish, or the bytes where it has just been granted.
func (b *budget) forget(w *wish) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, other := range b.waiting {
		if other == w {
			b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
			b.grant()
			return
		}
	}
	b.free += w.bytes
	b.grant()
}

// release gives bytes back.
func (b *budget) release(bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += bytes
	b.grant()
}

// grant serves those who wait, in order, as far as the bytes go; mu is held.
func (b *budget) grant() {
	for len(b.waiting) > 0 && b.waiting[0].bytes <= b.free {
		b.free -= b.waiting[0].bytes
		close(b.waiting[0].granted)
		b.waiting = b.waiting[1:]
	}
}
