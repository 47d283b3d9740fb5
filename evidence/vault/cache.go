package vault

import (
	"container/list"
	"sync"

	"surety/base/ident"
)

// cache keeps the data keys used last. A key that leaves is overwritten.
type cache struct {
	limit int

	mu     sync.Mutex
	epoch  uint64 // counts erasures begun; a key read before one may not be kept after it
	recent list.List
	bySub  map[ident.ID]*list.Element // of *cached
}

type cached struct {
	subject ident.ID
	data    key
}

func newCache(limit int) *cache {
	return &cache{limit: limit, bySub: make(map[ident.ID]*list.Element, limit)}
}

// get returns the subject's key where it is kept, and the epoch to hand to put where it is not.
func (c *cache) get(subject ident.ID) (data key, found bool, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, found := c.bySub[subject]
	if !found {
		return key{}, false, c.epoch
	}
	c.recent.MoveToFront(e)
	return e.Value.(*cached).data, true, c.epoch
}

// put keeps the key, unless an erasure has begun since get gave the epoch.
func (c *cache) put(subject ident.ID, data key, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch != epoch || c.bySub[subject] != nil {
		return
	}
	if c.recent.Len() >= c.limit {
		c.drop(c.recent.Back())
	}
	c.bySub[subject] = c.recent.PushFront(&cached{subject: subject, data: data})
}

// erase drops the subject's key and begins a new epoch.
func (c *cache) erase(subject ident.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	if e := c.bySub[subject]; e != nil {
		c.drop(e)
	}
}

// wipe drops every key.
func (c *cache) wipe() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	for c.recent.Len() > 0 {
		c.drop(c.recent.Back())
	}
}

func (c *cache) drop(e *list.Element) {
	kept := c.recent.Remove(e).(*cached)
	delete(c.bySub, kept.subject)
	kept.data.wipe()
}
