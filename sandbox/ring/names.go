package ring

import (
	"encoding/binary"
	"net/netip"

	"surety/base/clock"
	"surety/base/errs"
)

// Words of an entry of the name table, after its sequence word.
const (
	entryUntil  = 8
	entryHigh   = 16
	entryLow    = 24
	entryLength = 32 // bytes of the name; zero in an entry never used
	entryName   = 40
)

// SetName notes that the sandbox's resolver answered name with addr, until the instant given; an
// address has the last name it was given. Where all MaxNames entries are taken, the one that
// lapses first makes room. Errors: Invalid for an address or name that is none.
func (r *Ring) SetName(addr netip.Addr, name string, until clock.Instant) error {
	if !addr.IsValid() || name == "" || len(name) > MaxName {
		return errs.New(errs.Invalid, "ring.set_name: address %v, name of %d bytes, limit %d", addr,
			len(name), MaxName)
	}
	return r.guarded("ring.set_name", func() error {
		r.naming.Lock()
		defer r.naming.Unlock()
		high, low := split(addr.Unmap().As16())
		r.putName(r.placeOf(high, low), high, low, name, until)
		return nil
	})
}

// placeOf returns the entry for an address: the one it has, else one never used, else the one that
// lapses first. Entries are searched from the address's own place on, and one once used stays in
// use, so that a search may end at the first that is not.
func (r *Ring) placeOf(high, low uint64) uintptr {
	oldest, lapses := uintptr(0), ^uint64(0)
	for i := range uint64(MaxNames) {
		at := entryAt(high, low, i)
		if r.load(at+entryLength) == 0 || r.load(at+entryHigh) == high && r.load(at+entryLow) == low {
			return at
		}
		if until := r.load(at + entryUntil); oldest == 0 || until < lapses {
			oldest, lapses = at, until
		}
	}
	return oldest
}

func (r *Ring) putName(at uintptr, high, low uint64, name string, until clock.Instant) {
	var padded [(MaxName + 7) / 8 * 8]byte
	copy(padded[:], name)
	r.publish(at, func() {
		r.store(at+entryUntil, uint64(until))
		r.store(at+entryHigh, high)
		r.store(at+entryLow, low)
		r.store(at+entryLength, uint64(len(name)))
		for i := 0; i < len(name); i += 8 {
			r.store(at+entryName+uintptr(i), binary.LittleEndian.Uint64(padded[i:]))
		}
	})
}

// NameOf is what the kernel inside asks: the name that addr was last given for; "" when there is
// none or it has lapsed at now.
func (r *Ring) NameOf(addr netip.Addr, now clock.Instant) string {
	if !addr.IsValid() {
		return ""
	}
	high, low := split(addr.Unmap().As16())
	for i := range uint64(MaxNames) {
		at := entryAt(high, low, i)
		name, same, used := r.nameAt(at, high, low, now)
		if same || !used {
			return name
		}
	}
	return ""
}

// nameAt reads one entry: whether it is the address's, whether it was ever used, and its name where
// that has not lapsed.
func (r *Ring) nameAt(at uintptr, high, low uint64, now clock.Instant) (string, bool, bool) {
	var text [(MaxName + 7) / 8 * 8]byte
	var length, until uint64
	same := false
	read := func() {
		length, until = r.load(at+entryLength), r.load(at+entryUntil)
		same = r.load(at+entryHigh) == high && r.load(at+entryLow) == low && length != 0
		for i := uint64(0); same && i < min(length, MaxName); i += 8 {
			binary.LittleEndian.PutUint64(text[i:], r.load(at+entryName+uintptr(i)))
		}
	}
	if !r.consistent(at, read) {
		return "", false, true // half-written for good: nobody's
	}
	if !same || uint64(now) > until {
		return "", same, length != 0
	}
	return string(text[:min(length, MaxName)]), true, true
}

// entryAt returns the offset of the i-th entry to look at for an address.
func entryAt(high, low, i uint64) uintptr {
	hash := (high ^ low*0x9e3779b97f4a7c15) * 0xd6e8feb86659fd93 // both sides must agree on it
	return controlBytes + uintptr((hash>>32+i)%MaxNames)*nameBytes
}
