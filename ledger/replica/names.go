package replica

import (
	"crypto/sha256"

	"surety/base/errs"
	"surety/base/ident"
	"surety/base/invariant"
	"surety/ledger/client"
	"surety/ledger/wire"
)

// names holds names and metadata. Entries are appended to chunks in the encoding of the journal and
// never change; two maps without pointers say which entry counts. So the garbage collector sees
// only the list of chunks, and a snapshot is the chunks as far as they were filled.
type names struct {
	chunks [][]byte
	byID   map[ident.ID]place
	byName map[nameKey]place
}

// place is where an entry starts: the chunk's number and the offset in it.
type place struct{ chunk, offset uint32 }

// nameKey stands for a name: half of its SHA-256, so that nobody can choose names that collide.
type nameKey [16]byte

// nameChunk is the size of a chunk; an entry is at most about 35 kB.
const nameChunk = 1 << 20

func newNames() *names {
	return &names{byID: map[ident.ID]place{}, byName: map[nameKey]place{}}
}

func keyOf(name string) nameKey {
	sum := sha256.Sum256([]byte(name))
	return nameKey(sum[:16])
}

// count returns how many ids have a name or metadata.
func (n *names) count() int { return len(n.byID) }

// at decodes the entry at a place.
func (n *names) at(p place) client.Name {
	entry, _, err := wire.CutName(n.chunks[p.chunk][p.offset:])
	if err != nil {
		invariant.Fail("ledger: a stored name does not decode: %v", err)
	}
	return entry
}

// of returns the entry of the id.
func (n *names) of(id ident.ID) (client.Name, bool) {
	p, ok := n.byID[id]
	if !ok {
		return client.Name{}, false
	}
	return n.at(p), true
}

// resolve returns the id that bears the name.
func (n *names) resolve(name string) (ident.ID, bool) {
	p, ok := n.byName[keyOf(name)]
	if !ok {
		return ident.ID{}, false
	}
	return n.at(p).AccountID, true
}

// list returns up to limit entries that count, in the order in which they were set, from the place
// that cursor says on, and the cursor of the next; zero at the end. A page has at most
// wire.NamesPageBytes in the journal's encoding.
func (n *names) list(cursor uint64, limit int) (page []client.Name, next uint64) {
	p := place{chunk: uint32(cursor >> 32), offset: uint32(cursor)}
	for bytes := 0; int(p.chunk) < len(n.chunks); {
		chunk := n.chunks[p.chunk]
		if int(p.offset) >= len(chunk) {
			p = place{chunk: p.chunk + 1}
			continue
		}
		entry, rest, err := wire.CutName(chunk[p.offset:])
		if err != nil {
			return page, 0 // not a cursor that was handed out
		}
		size := len(chunk) - int(p.offset) - len(rest)
		if current, ok := n.byID[entry.AccountID]; ok && current == p {
			if bytes += size; len(page) == limit || bytes > wire.NamesPageBytes {
				return page, uint64(p.chunk)<<32 | uint64(p.offset)
			}
			page = append(page, entry)
		}
		p.offset += uint32(size)
	}
	return page, 0
}

// check returns nil where the entries, set in order, leave each name with one id; kind Exists
// otherwise.
func (n *names) check(entries []client.Name) error {
	taken := map[string]ident.ID{} // by this batch
	given := map[ident.ID]string{} // what this batch gives an id
	for i := range entries {
		e := &entries[i]
		holder, found := taken[e.Name]
		if !found {
			holder, found = n.resolve(e.Name)
			if _, renamed := given[holder]; found && renamed {
				found = false // its holder has another name by now
			}
		}
		if e.Name != "" && found && holder != e.AccountID {
			return errs.New(errs.Exists, "names[%d]: name %q belongs to %s", i, e.Name, holder)
		}
		if before, ok := given[e.AccountID]; ok {
			delete(taken, before)
		}
		given[e.AccountID] = e.Name
		if e.Name != "" {
			taken[e.Name] = e.AccountID
		}
	}
	return nil
}

// apply sets the entries, which have been checked.
func (n *names) apply(entries []client.Name) {
	for i := range entries {
		n.set(&entries[i])
	}
}

func (n *names) set(e *client.Name) {
	if before, ok := n.of(e.AccountID); ok && before.Name != "" {
		delete(n.byName, keyOf(before.Name))
	}
	p := n.append(e)
	if e.Name == "" && len(e.Metadata) == 0 {
		delete(n.byID, e.AccountID)
		return
	}
	n.byID[e.AccountID] = p
	if e.Name != "" {
		n.byName[keyOf(e.Name)] = p
	}
}

// append stores the entry.
func (n *names) append(e *client.Name) place {
	encoded := wire.AppendName(nil, e)
	last := len(n.chunks) - 1
	if last < 0 || len(n.chunks[last])+len(encoded) > cap(n.chunks[last]) {
		n.chunks = append(n.chunks, make([]byte, 0, max(nameChunk, len(encoded))))
		last++
	}
	p := place{chunk: uint32(last), offset: uint32(len(n.chunks[last]))}
	n.chunks[last] = append(n.chunks[last], encoded...)
	return p
}

// prefix returns the chunks as far as they are filled now. Later entries do not show in it.
func (n *names) prefix() [][]byte {
	chunks := make([][]byte, len(n.chunks))
	copy(chunks, n.chunks)
	return chunks
}
