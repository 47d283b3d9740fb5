package layer

import (
	"context"
	"crypto/sha512"
	"hash"
	"io"

	"surety/base/errs"
	"surety/enclave"
)

// Writer seals an image that is written to it from its first byte to its last.
type Writer struct {
	box    *box
	size   int64
	taken  int64
	to     io.Writer
	lanes  *lanes
	root   hash.Hash
	tags   []byte
	sealed Sealed
}

// NewWriter begins to seal an image of size bytes, and writes the sealed file's header. The id must
// never have been used with the key before. Kinds Invalid for a size of nothing, TooLarge past the
// limit. Close has to be called, also after an error.
func NewWriter(to io.Writer, size int64, key Key, id [16]byte) (*Writer, error) {
	if size <= 0 {
		return nil, errs.New(errs.Invalid, "layer.seal: an image of %d bytes", size)
	}
	if size > maxBytes {
		return nil, errs.New(errs.TooLarge, "layer.seal: %d bytes, the limit is %d", size, int64(maxBytes))
	}
	b, err := newBox(key, id, size)
	if err != nil {
		return nil, err
	}
	w := &Writer{box: b, size: size, to: to, root: sha512.New384()}
	w.sealed = Sealed{ID: id, Bytes: uint64(size)}
	header := b.header()
	w.root.Write(header)
	if _, err := to.Write(header); err != nil {
		return nil, errs.Wrap(err, "layer.seal: header")
	}
	w.tags = make([]byte, 0, blocksOf(size)*tagBytes)
	w.lanes = newLanes(w.seal, w.emit)
	return w, nil
}

// Write takes more of the image. After an error the file is of no use. Kind TooLarge for more bytes
// than NewWriter was told.
func (w *Writer) Write(p []byte) (int, error) {
	if int64(len(p)) > w.size-w.taken {
		return 0, errs.New(errs.TooLarge, "layer.seal: more than the %d bytes that were said", w.size)
	}
	w.taken += int64(len(p))
	return len(p), w.lanes.write(p)
}

// seal encrypts the blocks of a piece. The tag of each lies behind it until the next one takes its
// place.
func (w *Writer) seal(p *piece) {
	if p.out == nil {
		p.out = make([]byte, pieceBytes+tagBytes)
	}
	p.extra = p.extra[:0]
	for at := 0; at < len(p.data); at += BlockBytes {
		block := p.data[at:min(at+BlockBytes, len(p.data))]
		number := p.number*(pieceBytes/BlockBytes) + int64(at/BlockBytes)
		w.box.aead.Seal(p.out[:at], nonce(number), block, w.box.bound[:])
		end := at + len(block)
		p.extra = append(p.extra, p.out[end:end+tagBytes]...)
	}
	clear(p.data)
}

// emit writes a piece's ciphertext and keeps its tags.
func (w *Writer) emit(p *piece) error {
	w.tags = append(w.tags, p.extra...)
	_, err := w.to.Write(p.out[:len(p.data)])
	return errs.Wrap(err, "layer.seal: piece %d", p.number)
}

// Close writes what is left and the tags, and returns what the file is. Kind Invalid where the image
// was shorter than said. The plaintext that went through is no longer in memory.
func (w *Writer) Close() (Sealed, error) {
	if err := w.lanes.close(); err != nil {
		return Sealed{}, err
	}
	if w.taken != w.size {
		return Sealed{}, errs.New(errs.Invalid, "layer.seal: %d bytes, %d were said", w.taken, w.size)
	}
	if _, err := w.to.Write(w.tags); err != nil {
		return Sealed{}, errs.Wrap(err, "layer.seal: tags")
	}
	w.root.Write(w.tags)
	w.sealed.Root = enclave.Digest(w.root.Sum(nil))
	return w.sealed, nil
}

// Seal encrypts size bytes of plain and writes the sealed file. The id must never have been used
// with the key before. Blocks are sealed on all processors.
func Seal(ctx context.Context, plain io.ReaderAt, size int64, key Key, id [16]byte, to io.Writer,
) (Sealed, error) {
	w, err := NewWriter(to, size, key, id)
	if err != nil {
		return Sealed{}, err
	}
	err = feed(ctx, w, plain, size)
	sealed, closed := w.Close()
	if err != nil {
		return Sealed{}, errs.Wrap(err, "layer.seal")
	}
	return sealed, closed
}

// feed reads size bytes and writes them, a piece at a time.
func feed(ctx context.Context, to io.Writer, from io.ReaderAt, size int64) error {
	buffer := make([]byte, min(size, pieceBytes))
	defer clear(buffer)
	for at := int64(0); at < size; at += int64(len(buffer)) {
		if err := ctx.Err(); err != nil {
			return errs.As(errs.Canceled, err, "stopped at byte %d", at)
		}
		part := buffer[:min(int64(len(buffer)), size-at)]
		if err := readFull(from, part, at); err != nil {
			return err
		}
		if _, err := to.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// readFull fills p; an end before that is kind Corrupt.
func readFull(from io.ReaderAt, p []byte, at int64) error {
	n, err := from.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	if err == io.EOF || err == nil {
		return errs.New(errs.Corrupt, "%d of %d bytes at byte %d", n, len(p), at)
	}
	return errs.Wrap(err, "read at byte %d", at)
}
