package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"io"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
)

// ReadSnapshot reads what WriteSnapshot wrote and returns the ledger it holds, equal in every answer
// and every later result. An error is of kind Corrupt where the bytes are not what was written or do
// not add up, with the block and what is wrong; Invalid where they are of a version this program
// does not know; NoSpace where they do not fit into limits; r's own otherwise. It takes little
// memory beyond the ledger's, whatever the bytes say, and never panics on them.
func ReadSnapshot(r io.Reader, limits Limits) (*State, error) {
	return ReadSnapshotWith(r, limits, sha256.New())
}

// ReadSnapshotWith is ReadSnapshot with the SHA-256 to use, which nothing was written to yet: hashing
// is a quarter of the work, and a caller may have it done on another processor. What is written to
// sum is good until that Write returns.
func ReadSnapshotWith(r io.Reader, limits Limits, sum hash.Hash) (*State, error) {
	in := &snapshotReader{from: r, sum: sum}
	expected, err := in.header()
	if err != nil {
		return nil, err
	}
	load := &loader{state: NewState(limits), expected: expected}
	for {
		block, err := in.block()
		if err != nil {
			return nil, err
		}
		if block == nil {
			break
		}
		if err := load.block(block); err != nil {
			return nil, errs.Wrap(err, "ledger.snapshot: block %d", in.blocks)
		}
	}
	if err := in.footer(&load.expected.prints); err != nil {
		return nil, err
	}
	return load.finish()
}

// snapshotHeader is what a snapshot says of itself.
type snapshotHeader struct {
	now    clock.Instant
	events uint64
	failed uint64
	prints fingerprint // from the footer
}

type snapshotReader struct {
	from   io.Reader
	sum    hash.Hash
	blocks int
	buffer []byte
}

func (r *snapshotReader) read(b []byte, what string) error {
	if _, err := io.ReadFull(r.from, b); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return errs.New(errs.Corrupt, "ledger.snapshot: ends within %s, after %d blocks",
				what, r.blocks)
		}
		return errs.Wrap(err, "ledger.snapshot: read %s, after %d blocks", what, r.blocks)
	}
	r.sum.Write(b)
	return nil
}

func (r *snapshotReader) header() (snapshotHeader, error) {
	var b [headerSize]byte
	if err := r.read(b[:], "the header"); err != nil {
		return snapshotHeader{}, err
	}
	if string(b[:8]) != snapshotMagic {
		return snapshotHeader{}, errs.New(errs.Corrupt, "ledger.snapshot: not a ledger snapshot")
	}
	if version := binary.LittleEndian.Uint32(b[8:]); version != snapshotVersion {
		return snapshotHeader{}, errs.New(errs.Invalid,
			"ledger.snapshot: version %d, this program reads version %d", version, snapshotVersion)
	}
	return snapshotHeader{
		now:    clock.Instant(binary.LittleEndian.Uint64(b[16:])),
		events: binary.LittleEndian.Uint64(b[24:]),
		failed: binary.LittleEndian.Uint64(b[32:]),
	}, nil
}

// block returns the next block's payload, good until the next call; nil at the end.
func (r *snapshotReader) block() ([]byte, error) {
	var head [8]byte
	if err := r.read(head[:], "a block's head"); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint32(head[:])
	check := binary.LittleEndian.Uint32(head[4:])
	if length == 0 && check == 0 {
		return nil, nil
	}
	if length == 0 || length > snapshotBlock {
		return nil, errs.New(errs.Corrupt, "ledger.snapshot: block %d has %d bytes, the limit is %d",
			r.blocks+1, length, snapshotBlock)
	}
	if int(length) > len(r.buffer) {
		r.buffer = make([]byte, length)
	}
	payload := r.buffer[:length]
	if err := r.read(payload, "a block"); err != nil {
		return nil, err
	}
	r.blocks++
	if crc32.Checksum(payload, castagnoli()) != check {
		return nil, errs.New(errs.Corrupt, "ledger.snapshot: block %d: checksum differs", r.blocks)
	}
	return payload, nil
}

func (r *snapshotReader) footer(prints *fingerprint) error {
	var b [footerSize - 8]byte // the empty head was read as a block
	if err := r.read(b[:], "the footer"); err != nil {
		return err
	}
	prints.events = binary.LittleEndian.Uint64(b[:])
	prints.failed = binary.LittleEndian.Uint64(b[8:])
	want := r.sum.Sum(nil)
	var have [sha256.Size]byte
	if err := r.read(have[:], "the digest"); err != nil {
		return err
	}
	if have != [sha256.Size]byte(want) {
		return errs.New(errs.Corrupt, "ledger.snapshot: digest differs")
	}
	return nil
}

// loader applies the items of a snapshot.
type loader struct {
	state    *State
	expected snapshotHeader
	run      []Transfer // transfers in a row, looked up together
}

func (l *loader) block(b []byte) error {
	for len(b) > 0 {
		if l.state.EventsLen()+uint64(len(l.run)) == l.expected.events {
			if err := l.flush(); err != nil {
				return err
			}
			return l.failed(b)
		}
		kind := EventKind(b[0])
		size := RecordSize
		if kind == EventPendingExpired || kind == EventFreezeExpired {
			size = endingSize
		}
		if len(b) < 1+size {
			return errs.New(errs.Corrupt, "event %d is cut short", l.state.EventsLen())
		}
		if err := l.event(kind, b[1:1+size]); err != nil {
			return err
		}
		b = b[1+size:]
	}
	return l.flush()
}

func (l *loader) event(kind EventKind, b []byte) error {
	if kind == EventTransferCreated {
		l.run = append(l.run, Transfer{})
		l.run[len(l.run)-1].decode((*[RecordSize]byte)(b))
		if len(l.run) == blockSize {
			return l.flush()
		}
		return nil
	}
	if err := l.flush(); err != nil {
		return err
	}
	switch kind {
	case EventAccountCreated:
		return l.account(b)
	case EventFreezeApplied, EventFreezeReleased:
		return l.freeze(kind, b)
	case EventPendingExpired, EventFreezeExpired:
		return l.ending(kind, b)
	}
	return errs.New(errs.Corrupt, "event %d is of kind %d", l.state.EventsLen(), kind)
}

func (l *loader) account(b []byte) error {
	var a Account
	a.decode((*[RecordSize]byte)(b))
	if err := l.state.Room(OperationCreateAccounts, 1); err != nil {
		return err
	}
	timestamp := a.Timestamp
	if err := l.checkTimestamp(timestamp, l.state.lastAccountTimestamp()); err != nil {
		return err
	}
	imported := a.Flags & AccountImported
	if imported == 0 {
		a.Timestamp = 0
	}
	first := timestamp
	if imported != 0 {
		first = TimestampMax
	}
	if result := l.state.createAccount(&a, first, 0, imported); result != AccountOK {
		return errs.New(errs.Corrupt, "event %d: account %s: %s", l.state.EventsLen(), a.ID, result)
	}
	return nil
}

// flush applies the transfers in the run.
func (l *loader) flush() error {
	if len(l.run) == 0 {
		return nil
	}
	s := l.state
	if err := s.Room(OperationCreateTransfers, len(l.run)); err != nil {
		return err
	}
	s.lookAhead(l.run)
	for i := range l.run {
		t := l.run[i]
		var last clock.Instant
		if s.transfers.length > 0 {
			last = s.transfers.at(s.transfers.length - 1).Timestamp
		}
		if err := l.checkTimestamp(t.Timestamp, last); err != nil {
			return err
		}
		at := event{first: TimestampMax, now: t.Timestamp, found: &s.scratch[i],
			imported: t.Flags & TransferImported}
		if at.imported == 0 {
			t.Timestamp = 0
		}
		amount := t.Amount
		if result := s.createTransfer(&t, &at); result != TransferOK {
			return errs.New(errs.Corrupt, "event %d: transfer %s: %s", s.EventsLen(), t.ID, result)
		}
		if s.transfers.at(s.transfers.length-1).Amount != amount {
			return errs.New(errs.Corrupt, "event %d: transfer %s: moved less than recorded",
				s.EventsLen()-1, t.ID)
		}
	}
	l.run = l.run[:0]
	return nil
}

func (l *loader) freeze(kind EventKind, b []byte) error {
	var z Freeze
	z.decode((*[RecordSize]byte)(b))
	if err := l.state.Room(OperationFreezes, 1); err != nil {
		return err
	}
	var last clock.Instant
	if n := l.state.freezes.length; n > 0 {
		last = l.state.freezes.at(n - 1).Timestamp
	}
	timestamp := z.Timestamp
	if err := l.checkTimestamp(timestamp, last); err != nil {
		return err
	}
	if (z.Flags&FreezeRelease != 0) != (kind == EventFreezeReleased) {
		return errs.New(errs.Corrupt, "event %d: freeze %s is not a %s", l.state.EventsLen(), z.ID, kind)
	}
	z.Timestamp = 0
	if result := l.state.applyFreeze(&z, timestamp); result != FreezeOK {
		return errs.New(errs.Corrupt, "event %d: freeze %s: %s", l.state.EventsLen(), z.ID, result)
	}
	return nil
}

// ending lets the pending transfer or freeze that is first to expire do so: it must be the one
// recorded, and due.
func (l *loader) ending(kind EventKind, b []byte) error {
	at := clock.Instant(binary.LittleEndian.Uint64(b))
	index := binary.LittleEndian.Uint32(b[8:])
	next := l.state.timers.first()
	if next == nil || next.index != index || next.freeze != (kind == EventFreezeExpired) {
		return errs.New(errs.Corrupt, "event %d: %s of record %d, which is not the next to expire",
			l.state.EventsLen(), kind, index)
	}
	if at > l.expected.now || next.expiresAt >= at+BatchMax {
		return errs.New(errs.Corrupt, "event %d: %s of record %d at %d, due at %d",
			l.state.EventsLen(), kind, index, at, next.expiresAt)
	}
	if next.freeze {
		l.state.lapseFreeze(index, at)
	} else {
		l.state.lapsePending(index, at)
	}
	return nil
}

func (l *loader) checkTimestamp(timestamp, last clock.Instant) error {
	if timestamp == 0 || timestamp <= last || timestamp > l.expected.now {
		return errs.New(errs.Corrupt, "event %d: timestamp %d, not above %d and up to %d",
			l.state.EventsLen(), timestamp, last, l.expected.now)
	}
	return nil
}

func (l *loader) failed(b []byte) error {
	if len(b)%failedSize != 0 {
		return errs.New(errs.Corrupt, "a failed id is cut short")
	}
	for ; len(b) > 0; b = b[failedSize:] {
		if uint64(l.state.failed.count()) == l.expected.failed {
			return errs.New(errs.Corrupt, "more than the %d failed ids announced", l.expected.failed)
		}
		if err := l.state.Room(OperationCreateTransfers, 1); err != nil {
			return err
		}
		id := ident.ID{Lo: binary.LittleEndian.Uint64(b), Hi: binary.LittleEndian.Uint64(b[8:])}
		if id.IsZero() || id == ident.Max || l.state.findTransfer(id) != 0 {
			return errs.New(errs.Corrupt, "failed id %s cannot be", id)
		}
		l.state.poison(id)
	}
	return nil
}

// finish checks that everything announced has come and that it gave the same balances.
func (l *loader) finish() (*State, error) {
	s := l.state
	s.book.checkTouched()
	if s.EventsLen() != l.expected.events || uint64(s.failed.count()) != l.expected.failed {
		return nil, errs.New(errs.Corrupt, "ledger.snapshot: %d events and %d failed ids, announced %d and %d",
			s.EventsLen(), s.failed.count(), l.expected.events, l.expected.failed)
	}
	if l.expected.now > TimestampMax {
		return nil, errs.New(errs.Corrupt, "ledger.snapshot: timestamp %d is out of range", l.expected.now)
	}
	if s.prints != l.expected.prints {
		return nil, errs.New(errs.Corrupt, "ledger.snapshot: the records do not give the balances they gave")
	}
	s.now = l.expected.now
	return s, nil
}
