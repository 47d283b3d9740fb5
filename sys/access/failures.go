package access

import (
	"net/netip"
	"sync"

	"surety/base/clock"
)

// failures counts failed attempts by address. A valid token is let in whatever its address has
// done before: otherwise a stranger behind the same proxy could lock everybody out.
type failures struct {
	mu      sync.Mutex
	budgets map[netip.Prefix]budget
}

// budget is a bucket that holds failureBurst attempts and gains one each failureInterval. It is
// kept as the instant at which the bucket is full again.
type budget struct{ full clock.Instant }

// strangers is the address under which attempts are counted once there are too many addresses.
func strangers() netip.Prefix { return netip.Prefix{} }

// exceeded counts one failure from an address at now, and reports whether it was one too many.
func (f *failures) exceeded(address netip.Prefix, now clock.Instant) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.budgets == nil {
		f.budgets = make(map[netip.Prefix]budget)
	}
	if _, known := f.budgets[address]; !known && len(f.budgets) >= failureAddresses {
		f.forget(now)
		if len(f.budgets) >= failureAddresses {
			address = strangers()
		}
	}
	b := f.budgets[address]
	b.full = max(b.full, now).Add(failureInterval)
	if b.full.Sub(now) > failureBurst*failureInterval {
		return true
	}
	f.budgets[address] = b
	return false
}

// forget drops the addresses whose budget is full again; f.mu is held.
func (f *failures) forget(now clock.Instant) {
	for address, b := range f.budgets {
		if b.full <= now {
			delete(f.budgets, address)
		}
	}
}

// addressOf returns what failures are counted under: an IPv4 address, or the /64 that one IPv6
// subscriber has; strangers where remote is not host:port.
func addressOf(remote string) netip.Prefix {
	endpoint, err := netip.ParseAddrPort(remote)
	if err != nil {
		return strangers()
	}
	address := endpoint.Addr().Unmap()
	bits := 64
	if address.Is4() {
		bits = 32
	}
	prefix, err := address.Prefix(bits)
	if err != nil {
		return strangers()
	}
	return prefix
}
