package replica

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"path"
	"strings"

	"surety/base/clock"
	"surety/base/errs"
	"surety/ledger"
	"surety/ledger/journal"
	"surety/ledger/wire"
	"surety/sys/vfs"
)

// A snapshot file is a header, the names, and the core's own snapshot, which ends with its SHA-256.
//
//	header   8 bytes magic, 4 version, 4 zero, 8 sequence, 8 timestamp, 32 chain hash,
//	         4 number of chunks of names, 4 accounts and 4 transfers for a reader to make room for,
//	         zeros, 4 crc32c; 128 bytes in all
//	chunks   4 bytes length, 4 crc32c, entries
//	core     ledger.Snapshot
//
// Its digest, which the journal's superblock keeps, is SHA-256 over header, chunks, and the last 32
// bytes of the core's snapshot; those stand for the rest of it.
const (
	snapshotMagic   = 0x4e53_5954_4552_5553 // "SURETYSN" in the file
	snapshotVersion = 1
	snapshotHeader  = 128
	snapshotSuffix  = ".snapshot"
	draftSuffix     = ".draft"
)

// capture is the ledger as it was between two batches. It stays good while the ledger goes on.
type capture struct {
	core                *ledger.Snapshot
	names               [][]byte
	accounts, transfers int
	seq                 uint64
	at                  clock.Instant
}

// capture takes the ledger as it is now. It belongs to the writer.
func (r *Replica) capture() *capture {
	return &capture{core: r.state.Snapshot(), names: r.names.prefix(), seq: r.applied,
		accounts: r.state.AccountsLen(), transfers: r.state.TransfersLen(), at: r.state.Now()}
}

func snapshotName(seq uint64) string { return fmt.Sprintf("%020d%s", seq, snapshotSuffix) }

// saveSnapshot writes the snapshot to a file of its own, makes it durable and has the journal adopt
// it. It gives up where stop is closed. An error leaves the snapshots there were.
func (r *Replica) saveSnapshot(c *capture, at journal.Position, stop <-chan struct{}) error {
	name := snapshotName(c.seq)
	draft := path.Join(r.config.Dir, name+draftSuffix)
	file, err := r.fs.Open(draft, vfs.Create|vfs.Direct)
	if err != nil {
		return errs.Wrap(err, "ledger.snapshot")
	}
	out := &fileWriter{file: file, buffer: vfs.Aligned(snapshotPiece), stop: stop}
	digest, err := c.write(out, at.Chain)
	if err == nil {
		err = out.finish()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = r.fs.Rename(draft, path.Join(r.config.Dir, name))
	}
	if err == nil {
		err = r.fs.SyncDir(r.config.Dir)
	}
	if err != nil {
		_ = r.fs.Remove(draft) // the next start removes what is left
		return errs.As(errs.KindOf(err), err, "ledger.snapshot: %s", name)
	}
	adopted := journal.Snapshot{Position: at, Timestamp: c.at, Size: out.size, Digest: digest}
	if err := r.journal.Adopt(adopted); err != nil {
		return errs.Wrap(err, "ledger.snapshot: %s", name)
	}
	return r.sweepSnapshots()
}

// write writes the snapshot's bytes and returns their digest.
func (c *capture) write(to io.Writer, chain journal.Hash) (journal.Hash, error) {
	sum := sha256.New()
	both := io.MultiWriter(to, sum)
	b := make([]byte, snapshotHeader)
	put := binary.LittleEndian
	put.PutUint64(b, snapshotMagic)
	put.PutUint32(b[8:], snapshotVersion)
	put.PutUint64(b[16:], c.seq)
	put.PutUint64(b[24:], uint64(c.at))
	copy(b[32:64], chain[:])
	put.PutUint32(b[64:], uint32(len(c.names)))
	put.PutUint32(b[68:], uint32(c.accounts))
	put.PutUint32(b[72:], uint32(c.transfers))
	put.PutUint32(b[snapshotHeader-4:], checksum(b[:snapshotHeader-4]))
	if _, err := both.Write(b); err != nil {
		return journal.Hash{}, err
	}
	for _, chunk := range c.names {
		head := put.AppendUint32(nil, uint32(len(chunk)))
		head = put.AppendUint32(head, checksum(chunk))
		if _, err := both.Write(head); err != nil {
			return journal.Hash{}, err
		}
		if _, err := both.Write(chunk); err != nil {
			return journal.Hash{}, err
		}
	}
	end := &ending{to: to}
	if err := c.core.Write(end); err != nil {
		return journal.Hash{}, err
	}
	sum.Write(end.last[:])
	return journal.Hash(sum.Sum(nil)), nil
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// ending passes bytes on and keeps the last 32.
type ending struct {
	to   io.Writer
	from io.Reader
	last [sha256.Size]byte
}

func (e *ending) Write(p []byte) (int, error) {
	e.note(p)
	return e.to.Write(p)
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.from.Read(p)
	e.note(p[:n])
	return n, err
}

func (e *ending) note(p []byte) {
	if len(p) >= len(e.last) {
		copy(e.last[:], p[len(p)-len(e.last):])
		return
	}
	copy(e.last[:], e.last[len(p):])
	copy(e.last[len(e.last)-len(p):], p)
}

// fileWriter writes a file from its start in aligned pieces.
type fileWriter struct {
	file   vfs.File
	buffer []byte
	filled int
	size   int64 // bytes given so far
	stop   <-chan struct{}
}

func (w *fileWriter) Write(p []byte) (int, error) {
	for written := 0; written < len(p); {
		n := copy(w.buffer[w.filled:], p[written:])
		w.filled += n
		w.size += int64(n)
		written += n
		if w.filled == len(w.buffer) {
			if err := w.flush(); err != nil {
				return written, err
			}
		}
	}
	return len(p), nil
}

// flush writes the buffer, with zeros up to a whole page.
func (w *fileWriter) flush() error {
	select {
	case <-w.stop:
		return errs.New(errs.Unavailable, "the ledger is closing")
	default:
	}
	whole := (w.filled + vfs.PageSize - 1) / vfs.PageSize * vfs.PageSize
	clear(w.buffer[w.filled:whole])
	_, err := w.file.WriteAt(w.buffer[:whole], w.size-int64(w.filled))
	w.filled = 0
	return err
}

func (w *fileWriter) finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	return w.file.Sync()
}

// sweepSnapshots removes the snapshots that the journal does not name, and drafts.
func (r *Replica) sweepSnapshots() error {
	keep := map[string]bool{}
	for _, s := range r.journal.Snapshots() {
		keep[snapshotName(s.Seq)] = true
	}
	names, err := r.fs.List(r.config.Dir)
	if err != nil {
		return errs.Wrap(err, "ledger.snapshot")
	}
	for _, name := range names {
		stale := strings.HasSuffix(name, snapshotSuffix) && !keep[name]
		if stale || strings.HasSuffix(name, snapshotSuffix+draftSuffix) {
			if err := r.fs.Remove(path.Join(r.config.Dir, name)); err != nil {
				return errs.Wrap(err, "ledger.snapshot")
			}
		}
	}
	return nil
}

// loadSnapshot reads a snapshot into the replica. Kind Corrupt where it is not what was written,
// NotFound where the file is missing; the replica is then unchanged.
func (r *Replica) loadSnapshot(s journal.Snapshot) error {
	file, err := r.fs.Open(path.Join(r.config.Dir, snapshotName(s.Seq)), 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	size, err := file.Size()
	if err != nil {
		return err
	}
	if size < s.Size {
		return errs.New(errs.Corrupt, "the file has %d bytes, it had %d", size, s.Size)
	}
	sum := sha256.New()
	from := readAhead(io.NewSectionReader(file, 0, s.Size))
	defer from.stop()
	head, err := readHead(io.TeeReader(from, sum), s)
	if err != nil {
		return err
	}
	stored, err := readNames(from, sum, head.chunks)
	if err != nil {
		return err
	}
	end := &ending{from: from}
	beside := newHasher()
	defer beside.stop()
	limits := r.config.Limits
	limits.ReserveAccounts = max(limits.ReserveAccounts, int(head.accounts))
	limits.ReserveTransfers = max(limits.ReserveTransfers, int(head.transfers))
	state, err := ledger.ReadSnapshotWith(end, limits, beside)
	if err != nil {
		return err
	}
	sum.Write(end.last[:])
	if journal.Hash(sum.Sum(nil)) != s.Digest {
		return errs.New(errs.Corrupt, "the digest is not the one it was written with")
	}
	if n, _ := from.Read(make([]byte, 1)); n > 0 {
		return errs.New(errs.Corrupt, "bytes follow the end")
	}
	if state.Now() != s.Timestamp {
		return errs.New(errs.Corrupt, "it is of %d, not of %d", state.Now(), s.Timestamp)
	}
	r.state, r.names, r.applied = state, stored, s.Seq
	return nil
}

// head is what the header says of what follows.
type head struct{ chunks, accounts, transfers uint32 }

// readHead reads the header of the snapshot that the journal names.
func readHead(from io.Reader, s journal.Snapshot) (head, error) {
	b := make([]byte, snapshotHeader)
	if _, err := io.ReadFull(from, b); err != nil {
		return head{}, cutShort(err)
	}
	get := binary.LittleEndian
	sum := get.Uint32(b[snapshotHeader-4:])
	if get.Uint64(b) != snapshotMagic || checksum(b[:snapshotHeader-4]) != sum {
		return head{}, errs.New(errs.Corrupt, "not a snapshot, or its header is broken")
	}
	if v := get.Uint32(b[8:]); v != snapshotVersion {
		return head{}, errs.New(errs.Invalid, "format %d, this program reads %d", v, snapshotVersion)
	}
	if get.Uint64(b[16:]) != s.Seq || journal.Hash(b[32:64]) != s.Chain {
		return head{}, errs.New(errs.Corrupt, "it is of another place in the journal")
	}
	h := head{get.Uint32(b[64:]), get.Uint32(b[68:]), get.Uint32(b[72:])}
	if int64(h.accounts)+int64(h.transfers) > s.Size/ledger.RecordSize {
		return head{}, errs.New(errs.Corrupt, "%d accounts and %d transfers in %d bytes",
			h.accounts, h.transfers, s.Size)
	}
	return h, nil
}

// readNames reads the chunks of names.
func readNames(from io.Reader, sum hash.Hash, chunks uint32) (*names, error) {
	stored := newNames()
	buffer := make([]byte, 0, 4096)
	for i := range chunks {
		var head [8]byte
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return nil, cutShort(err)
		}
		size := int(binary.LittleEndian.Uint32(head[:]))
		if size > nameChunk {
			return nil, errs.New(errs.Corrupt, "chunk %d of names has %d bytes", i, size)
		}
		if cap(buffer) < size {
			buffer = make([]byte, size)
		}
		buffer = buffer[:size]
		if _, err := io.ReadFull(from, buffer); err != nil {
			return nil, cutShort(err)
		}
		if checksum(buffer) != binary.LittleEndian.Uint32(head[4:]) {
			return nil, errs.New(errs.Corrupt, "chunk %d of names: checksum differs", i)
		}
		sum.Write(head[:])
		sum.Write(buffer)
		if err := stored.load(buffer); err != nil {
			return nil, errs.As(errs.Corrupt, err, "chunk %d of names", i)
		}
	}
	return stored, nil
}

// load sets the entries of a chunk.
func (n *names) load(chunk []byte) error {
	for len(chunk) > 0 {
		entry, rest, err := wire.CutName(chunk)
		if err != nil {
			return err
		}
		n.set(&entry)
		chunk = rest
	}
	return nil
}

func cutShort(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errs.New(errs.Corrupt, "it is cut short")
	}
	return err
}
