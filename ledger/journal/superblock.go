package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"path"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/sys/vfs"
)

const superName = "superblock"

// Snapshot names a file, kept beside the journal by its caller, that holds the state after the
// record Position.Seq.
type Snapshot struct {
	Position
	Timestamp clock.Instant // of that record
	Size      int64         // bytes of the file
	Digest    Hash          // SHA-256 of the file
}

// superblock is the journal's root. Two copies of it lie in one file, a page each; they are written
// in turn, so that a torn write leaves the one before.
type superblock struct {
	generation uint64 // of this writing: the copy with the greater one counts
	id         ident.ID
	first      uint64 // number of the oldest segment kept
	closed     bool   // nothing was written after floor
	floor      Position
	snapshots  []Snapshot // the newest first, at most snapshotsKept
}

// encode returns the superblock's page.
func (s *superblock) encode() []byte {
	b := vfs.Aligned(PageSize)
	put := binary.LittleEndian
	put.PutUint64(b[0:], superMagic)
	put.PutUint32(b[8:], version)
	if s.closed {
		b[12] = 1
	}
	b[13] = byte(len(s.snapshots))
	put.PutUint64(b[16:], s.generation)
	putID(b[24:], s.id)
	put.PutUint64(b[40:], s.first)
	putPosition(b[64:], &s.floor)
	for i := range s.snapshots {
		at := b[128+i*128:]
		putPosition(at, &s.snapshots[i].Position)
		put.PutUint64(at[56:], uint64(s.snapshots[i].Timestamp))
		put.PutUint64(at[64:], uint64(s.snapshots[i].Size))
		copy(at[72:], s.snapshots[i].Digest[:])
	}
	put.PutUint32(b[PageSize-4:], crc32.Checksum(b[:PageSize-4], castagnoli))
	return b
}

// decodeSuper reads a superblock's page; the error is of kind Corrupt.
func decodeSuper(b []byte) (superblock, error) {
	get := binary.LittleEndian
	if get.Uint64(b) != superMagic {
		return superblock{}, errs.New(errs.Corrupt, "not a superblock")
	}
	sum, want := crc32.Checksum(b[:PageSize-4], castagnoli), get.Uint32(b[PageSize-4:])
	if sum != want {
		return superblock{}, errs.New(errs.Corrupt, "superblock has checksum %08x, want %08x", sum, want)
	}
	if v := get.Uint32(b[8:]); v != version {
		return superblock{}, errs.New(errs.Corrupt, "superblock has format %d, this program reads %d",
			v, version)
	}
	if b[13] > snapshotsKept {
		return superblock{}, errs.New(errs.Corrupt, "superblock names %d snapshots", b[13])
	}
	s := superblock{
		generation: get.Uint64(b[16:]), id: getID(b[24:]), first: get.Uint64(b[40:]),
		closed: b[12] == 1, floor: getPosition(b[64:]),
	}
	for i := range int(b[13]) {
		at := b[128+i*128:]
		s.snapshots = append(s.snapshots, Snapshot{
			Position: getPosition(at), Timestamp: clock.Instant(get.Uint64(at[56:])),
			Size: int64(get.Uint64(at[64:])), Digest: Hash(at[72:104]),
		})
	}
	return s, nil
}

func putPosition(into []byte, p *Position) {
	binary.LittleEndian.PutUint64(into, p.Seq)
	binary.LittleEndian.PutUint64(into[8:], p.Segment)
	binary.LittleEndian.PutUint64(into[16:], uint64(p.Offset))
	copy(into[24:56], p.Chain[:])
}

func getPosition(b []byte) Position {
	return Position{
		Seq:     binary.LittleEndian.Uint64(b),
		Segment: binary.LittleEndian.Uint64(b[8:]),
		Offset:  int64(binary.LittleEndian.Uint64(b[16:])),
		Chain:   Hash(b[24:56]),
	}
}

// openSuperblock reads the superblock, or makes the first one of a new journal.
func (j *Journal) openSuperblock() error {
	mode := vfs.Writable
	if j.options.ReadOnly {
		mode = 0
	}
	name := path.Join(j.dir, superName)
	file, err := j.fs.Open(name, mode)
	if errs.Is(err, errs.NotFound) && !j.options.ReadOnly {
		if err := j.createSuperblock(name); err != nil {
			return err
		}
		file, err = j.fs.Open(name, mode)
	}
	if err != nil {
		return err
	}
	j.file = file
	return j.readSuperblock()
}

// createSuperblock makes the file under another name first: a journal exists from the moment its
// superblock has its name, whole. A directory that has segments and no superblock is not new.
func (j *Journal) createSuperblock(name string) error {
	names, err := j.fs.List(j.dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if number, ok := segmentNumber(n); ok {
			return errs.New(errs.Corrupt, "segment %s is there and the superblock is not",
				segmentName(number))
		}
	}
	if j.options.ID.IsZero() {
		return errs.New(errs.Invalid, "a new journal needs an id")
	}
	first := superblock{generation: 1, id: j.options.ID, first: 1}
	first.floor = Position{Segment: 1, Offset: PageSize, Chain: Genesis(j.options.ID)}
	second := first
	second.generation = 2
	draft := name + ".draft"
	file, err := j.fs.Open(draft, vfs.Create)
	if err != nil {
		return err
	}
	for i, s := range []superblock{first, second} {
		if err == nil {
			_, err = file.WriteAt(s.encode(), int64(i)*PageSize)
		}
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errs.As(errs.KindOf(err), err, "write superblock")
	}
	if err := j.fs.Rename(draft, name); err != nil {
		return err
	}
	return j.fs.SyncDir(j.dir)
}

// readSuperblock takes the newer good copy. With one copy rotten the other still holds, but says
// nothing about how the journal was closed: the rotten one may have been written after it.
func (j *Journal) readSuperblock() error {
	var copies []superblock
	var broken error
	for i := range int64(2) {
		page := make([]byte, PageSize)
		err := vfs.ReadFull(j.file, page, i*PageSize)
		var s superblock
		if err == nil {
			s, err = decodeSuper(page)
		}
		if err != nil {
			broken = errs.As(errs.Corrupt, err, "file %s at byte %d", superName, i*PageSize)
			continue
		}
		copies = append(copies, s)
	}
	switch {
	case len(copies) == 0:
		return broken
	case len(copies) == 1:
		j.options.Log.Warn("ledger journal: one of two superblocks is broken, the other is used",
			"error", broken)
		copies[0].closed = false
	case copies[0].id != copies[1].id:
		return errs.New(errs.Corrupt, "file %s: its copies are of two journals", superName)
	case copies[1].generation > copies[0].generation:
		copies[0] = copies[1]
	}
	j.super, j.id = copies[0], copies[0].id
	if j.super.id.IsZero() || j.super.first == 0 || j.super.floor.Segment < j.super.first {
		return errs.New(errs.Corrupt, "file %s contradicts itself", superName)
	}
	return nil
}

// writeSuper makes the change durable in the older copy, and in both where twice is said; superMu
// is held. A failure stops the journal.
func (j *Journal) writeSuper(twice bool, change func(*superblock)) error {
	if err := j.Err(); err != nil {
		return err
	}
	next := j.super
	change(&next)
	rounds := 1
	if twice {
		rounds = 2
	}
	for range rounds {
		next.generation++
		_, err := j.file.WriteAt(next.encode(), int64(next.generation%2^1)*PageSize)
		if err == nil {
			err = j.file.Sync()
		}
		if err != nil {
			return j.fail(err)
		}
		j.super = next
	}
	return nil
}

// Mark raises the floor to the durable end, so that losing what is durable now can be told from a
// torn write. It costs one write and one sync, and nothing where the floor is there already.
func (j *Journal) Mark() error {
	j.superMu.Lock()
	defer j.superMu.Unlock()
	durable := j.Durable()
	if j.super.floor.Seq == durable.Seq {
		return j.Err()
	}
	return j.writeSuper(false, func(s *superblock) { s.floor = durable })
}

// markOpen notes, in both copies, that records may follow the floor.
func (j *Journal) markOpen() error {
	j.superMu.Lock()
	defer j.superMu.Unlock()
	durable := j.Durable()
	return j.writeSuper(true, func(s *superblock) { s.floor, s.closed = durable, false })
}

// markClosed notes, in both copies, that the journal ends at the floor.
func (j *Journal) markClosed() error {
	j.superMu.Lock()
	defer j.superMu.Unlock()
	durable := j.Durable()
	return j.writeSuper(true, func(s *superblock) { s.floor, s.closed = durable, true })
}

// Snapshots returns the snapshots that the superblock names, the newest first.
func (j *Journal) Snapshots() []Snapshot {
	j.superMu.Lock()
	defer j.superMu.Unlock()
	return append([]Snapshot(nil), j.super.snapshots...)
}

// Adopt names a new snapshot, whose file the caller has synced, in place of the oldest, and lets go
// of segments that neither snapshot needs and Options.Retain does not keep. A snapshot that is not
// newer than the newest replaces that one. The error is the one that stopped the journal.
func (j *Journal) Adopt(snapshot Snapshot) error {
	j.superMu.Lock()
	defer j.superMu.Unlock()
	kept := []Snapshot{snapshot}
	for _, s := range j.super.snapshots {
		if s.Seq < snapshot.Seq && len(kept) < snapshotsKept {
			kept = append(kept, s)
		}
	}
	durable := j.Durable()
	first := j.releasable(kept)
	err := j.writeSuper(false, func(s *superblock) {
		s.snapshots, s.floor, s.first = kept, durable, first
	})
	if err != nil {
		return err
	}
	return j.recycle(first)
}
