package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"io"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
)

// A snapshot is the events of the ledger in order, each with its record, then the failed ids. That
// is all there is to know: reading one applies the records again, through the same checks, which
// gives the same balances, lists and statuses or is refused. Since events and their records never
// change, a snapshot can be written while batches go on.
//
// The bytes, little-endian:
//
//	header   magic, version, counts, timestamp of the last batch
//	blocks   length and crc32c of the payload, payload of whole items:
//	         an event is a kind byte and a record of 128 bytes, or for an expiry the timestamp and
//	         the number of the transfer or freeze, 12 bytes; a failed id is 16 bytes
//	end      a block of length zero, the fingerprint, and SHA-256 of all bytes before it
const (
	snapshotMagic   = "surety-l"
	snapshotVersion = 1
	headerSize      = 48
	footerSize      = 24
	endingSize      = 12
	failedSize      = 16

	// snapshotBlock bounds the payload of a block, and with it what a reader takes into memory
	// before it knows that the bytes are good.
	snapshotBlock = 1 << 20
)

// Snapshot is the ledger as it was when it was taken. It stays good while its State goes on.
type Snapshot struct {
	now       clock.Instant
	prints    fingerprint
	accounts  slab[Account]
	sides     slab[accountSide]
	transfers slab[Transfer]
	freezes   slab[Freeze]
	endings   slab[ending]
	events    slab[eventRef]
	failed    slab[ident.ID]
}

// Snapshot returns the ledger as it is now, in no time and little memory: it shares the records.
// Another goroutine may write it while this one applies batches.
func (s *State) Snapshot() *Snapshot {
	return &Snapshot{
		now:       s.now,
		prints:    s.prints,
		accounts:  s.accounts.prefix(),
		sides:     s.sides.prefix(),
		transfers: s.transfers.prefix(),
		freezes:   s.freezes.prefix(),
		endings:   s.endings.prefix(),
		events:    s.events.prefix(),
		failed:    s.failed.prefix(),
	}
}

// WriteSnapshot writes the ledger as it is now. Two states that came from the same batches write
// the same bytes.
func (s *State) WriteSnapshot(w io.Writer) error { return s.Snapshot().Write(w) }

// Write writes the snapshot. The error is w's, of kind Internal unless it has one.
func (n *Snapshot) Write(w io.Writer) error {
	out := &snapshotWriter{to: w, sum: sha256.New(), block: make([]byte, 0, snapshotBlock)}
	out.raw(n.header())
	for i := uint32(0); i < n.events.length; i++ {
		out.item(n.event(out.room(), *n.events.at(i)))
	}
	out.flush()
	for i := uint32(0); i < n.failed.length; i++ {
		id := binary.LittleEndian.AppendUint64(out.room(), n.failed.at(i).Lo)
		out.item(binary.LittleEndian.AppendUint64(id, n.failed.at(i).Hi))
	}
	out.flush()
	footer := make([]byte, 8, footerSize)
	footer = binary.LittleEndian.AppendUint64(footer, n.prints.events)
	out.raw(binary.LittleEndian.AppendUint64(footer, n.prints.failed))
	out.raw(out.sum.Sum(nil))
	return errs.Wrap(out.err, "ledger.snapshot: write after %d bytes", out.written)
}

func (n *Snapshot) header() []byte {
	header := make([]byte, 0, headerSize)
	header = append(header, snapshotMagic...)
	header = binary.LittleEndian.AppendUint32(header, snapshotVersion)
	header = binary.LittleEndian.AppendUint32(header, 0)
	header = binary.LittleEndian.AppendUint64(header, uint64(n.now))
	header = binary.LittleEndian.AppendUint64(header, uint64(n.events.length))
	header = binary.LittleEndian.AppendUint64(header, uint64(n.failed.length))
	return binary.LittleEndian.AppendUint64(header, 0)
}

// event appends one event with its record.
func (n *Snapshot) event(dst []byte, ref eventRef) []byte {
	dst = append(dst, byte(ref.kind()))
	switch i := ref.index(); ref.kind() {
	case EventAccountCreated:
		a := asCreated(n.accounts.at(i), n.sides.at(i).created)
		return EncodeAccounts(dst, []Account{a})
	case EventTransferCreated:
		dst, at := extend(dst, 1)
		n.transfers.at(i).encode((*[RecordSize]byte)(dst[at:]))
		return dst
	case EventFreezeApplied, EventFreezeReleased:
		dst, at := extend(dst, 1)
		n.freezes.at(i).encode((*[RecordSize]byte)(dst[at:]))
		return dst
	default:
		dst = binary.LittleEndian.AppendUint64(dst, uint64(n.endings.at(i).timestamp))
		return binary.LittleEndian.AppendUint32(dst, n.endings.at(i).index)
	}
}

// snapshotWriter gathers items into blocks. After an error it does nothing more.
type snapshotWriter struct {
	to      io.Writer
	sum     hash.Hash
	block   []byte
	written int64
	err     error
}

// room returns the block so far, with room for another item.
func (w *snapshotWriter) room() []byte {
	if len(w.block)+1+RecordSize > snapshotBlock {
		w.flush()
	}
	return w.block
}

func (w *snapshotWriter) item(block []byte) { w.block = block }

func (w *snapshotWriter) flush() {
	if len(w.block) == 0 {
		return
	}
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(w.block)))
	w.raw(binary.LittleEndian.AppendUint32(head, crc32.Checksum(w.block, castagnoli())))
	w.raw(w.block)
	w.block = w.block[:0]
}

func (w *snapshotWriter) raw(b []byte) {
	if w.err != nil {
		return
	}
	w.sum.Write(b)
	n, err := w.to.Write(b)
	w.written += int64(n)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	w.err = err
}

// castagnoli returns the crc32c table; the package that owns it makes it once.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// Digest returns SHA-256 over the whole state: every record, balance and status. It reads all of
// it; Fingerprint is the cheap question.
func (s *State) Digest() [32]byte {
	sum := sha256.New()
	sum.Write(s.Snapshot().header())
	record := make([]byte, 0, RecordSize+1)
	for i := uint32(0); i < s.accounts.length; i++ {
		record, _ = extend(record[:0], 1)
		s.accounts.at(i).encode((*[RecordSize]byte)(record))
		sum.Write(record)
	}
	for i := uint32(0); i < s.transfers.length; i++ {
		record, _ = extend(record[:0], 1)
		s.transfers.at(i).encode((*[RecordSize]byte)(record))
		sum.Write(append(record, byte(s.links.at(i).status())))
	}
	for i := uint32(0); i < s.freezes.length; i++ {
		record, _ = extend(record[:0], 1)
		s.freezes.at(i).encode((*[RecordSize]byte)(record))
		sum.Write(append(record, byte(s.freezeStates.at(i).status)))
	}
	s.digestRest(sum)
	return [32]byte(sum.Sum(nil))
}

func (s *State) digestRest(sum hash.Hash) {
	var rest bytes.Buffer
	drain := func() {
		if rest.Len() >= snapshotBlock {
			sum.Write(rest.Bytes())
			rest.Reset()
		}
	}
	put := func(words ...uint64) {
		for _, w := range words {
			rest.Write(binary.LittleEndian.AppendUint64(nil, w))
		}
		drain()
	}
	for i := uint32(0); i < s.failed.length; i++ {
		put(s.failed.at(i).Lo, s.failed.at(i).Hi)
	}
	for i := uint32(0); i < s.endings.length; i++ {
		put(uint64(s.endings.at(i).timestamp), uint64(s.endings.at(i).index))
	}
	for i := uint32(0); i < s.history.length; i++ {
		b := &s.history.at(i).balance
		put(b.DebitsPending.Lo, b.DebitsPending.Hi, b.DebitsPosted.Lo, b.DebitsPosted.Hi,
			b.CreditsPending.Lo, b.CreditsPending.Hi, b.CreditsPosted.Lo, b.CreditsPosted.Hi,
			uint64(b.Timestamp))
	}
	for i := uint32(0); i < s.events.length; i++ {
		put(uint64(*s.events.at(i)))
	}
	put(s.prints.events, s.prints.failed)
	sum.Write(rest.Bytes())
}
