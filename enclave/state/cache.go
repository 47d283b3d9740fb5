package state

import "sync"

// cache keeps chunks that were read, the latest ones. What it gives is not to be changed.
type cache struct {
	mu    sync.Mutex
	held  map[spot][]byte
	order [cacheChunks]spot // a ring: the next to be replaced is at next
	next  int
}

// spot is a place in the log: what stands there never changes.
type spot struct {
	segment uint64
	offset  int64
}

func (c *cache) get(r ref) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held[spot{r.segment, r.offset}]
}

func (c *cache) put(r ref, content []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		c.held = make(map[spot][]byte, cacheChunks)
	}
	at := spot{r.segment, r.offset}
	if _, there := c.held[at]; there {
		return
	}
	delete(c.held, c.order[c.next])
	c.held[at], c.order[c.next] = content, at
	c.next = (c.next + 1) % cacheChunks
}
