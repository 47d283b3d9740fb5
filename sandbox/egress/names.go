package egress

import (
	"net/netip"
	"strings"
	"sync"

	"surety/base/clock"
)

// nameTable remembers the name each address was given for, like the ring does for the kernel inside.
type nameTable struct {
	mu    sync.Mutex
	names map[netip.Addr]named // at most maxNames
}

type named struct {
	name  string
	until clock.Instant
}

// set notes a name until an instant. Where the table is full the name that lapses first goes.
func (t *nameTable) set(addr netip.Addr, name string, until clock.Instant) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.names == nil {
		t.names = make(map[netip.Addr]named)
	}
	if _, known := t.names[addr]; !known && len(t.names) >= maxNames {
		var first netip.Addr
		for a, n := range t.names {
			if !first.IsValid() || n.until < t.names[first].until {
				first = a
			}
		}
		delete(t.names, first)
	}
	t.names[addr] = named{name, until}
}

// of returns the name of addr, "" where it has none or it has lapsed.
func (t *nameTable) of(addr netip.Addr, now clock.Instant) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, known := t.names[addr]
	if !known {
		return ""
	}
	if n.until <= now {
		delete(t.names, addr)
		return ""
	}
	return n.name
}

// canonicalName is a DNS name as policies write it: lower case, without the dot at its end.
func canonicalName(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// plainName reports whether name is made of labels that hosts have: letters, digits, hyphens and
// underscores, 1 to 63 of them, 253 characters in all.
func plainName(name string) bool {
	if len(name) == 0 || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) == 0 || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
