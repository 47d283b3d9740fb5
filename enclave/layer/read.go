package layer

import (
	"bytes"
	"context"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"surety/base/errs"
)

// Reader reads a sealed layer at random. Every byte it gives was authenticated. It may be used by
// many goroutines.
type Reader struct {
	file io.ReaderAt
	size int64 // of the plaintext
	box  *box
	tags []byte
	pool sync.Pool // of *[]byte, for ciphertext and its tag

	mu    sync.Mutex
	block int64  // which the last small read was in; -1: none
	plain []byte // of that block
}

// Check compares a sealed file's header and tags with what is wanted, without a key. Kind Corrupt
// where it is another file, was cut or lengthened. Changed blocks show only when they are opened
// with the key.
func Check(file io.ReaderAt, size int64, want Sealed) error {
	_, _, err := check(file, size, want)
	return err
}

func check(file io.ReaderAt, size int64, want Sealed) (header, tags []byte, err error) {
	if want.Bytes == 0 || want.Bytes > maxBytes || size != SealedBytes(int64(want.Bytes)) {
		return nil, nil, errs.New(errs.Corrupt, "layer.open: a file of %d bytes is no layer of %d bytes",
			size, want.Bytes)
	}
	header = make([]byte, HeaderBytes)
	tags = make([]byte, blocksOf(int64(want.Bytes))*tagBytes)
	if err := readFull(file, header, 0); err != nil {
		return nil, nil, errs.Wrap(err, "layer.open: header")
	}
	if err := readFull(file, tags, HeaderBytes+int64(want.Bytes)); err != nil {
		return nil, nil, errs.Wrap(err, "layer.open: tags")
	}
	sum := sha512.New384()
	sum.Write(header)
	sum.Write(tags)
	if subtle.ConstantTimeCompare(sum.Sum(nil), want.Root[:]) != 1 {
		return nil, nil, errs.New(errs.Corrupt, "layer.open: its root is sha384:%x, want %s", sum.Sum(nil),
			want.Root)
	}
	if !bytes.HasPrefix(header, []byte(magic)) || binary.BigEndian.Uint32(header[16:]) != BlockBytes ||
		binary.BigEndian.Uint64(header[20:]) != want.Bytes || !bytes.Equal(header[28:44], want.ID[:]) {
		return nil, nil, errs.New(errs.Corrupt, "layer.open: its header is not that of layer %x with %d bytes",
			want.ID, want.Bytes)
	}
	return header, tags, nil
}

// Open checks a sealed file against what is wanted of it, before any of it is decrypted, and the
// key against the header's commitment. Kind Corrupt where it is another file, Unauthorized where it
// is another key. The file must stay open as long as the Reader is used.
func Open(file io.ReaderAt, size int64, want Sealed, key Key) (*Reader, error) {
	header, tags, err := check(file, size, want)
	if err != nil {
		return nil, err
	}
	r := &Reader{file: file, size: int64(want.Bytes), tags: tags, block: -1}
	if r.box, err = newBox(key, want.ID, r.size); err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(header[44:76], r.box.commit[:]) != 1 {
		return nil, errs.New(errs.Unauthorized, "layer.open: the key is not that of layer %x", want.ID)
	}
	if !bytes.Equal(header, r.box.header()) {
		return nil, errs.New(errs.Corrupt, "layer.open: the header has bytes that mean nothing")
	}
	r.pool.New = func() any {
		b := make([]byte, BlockBytes+tagBytes)
		return &b
	}
	return r, nil
}

// Size is the plaintext's, in bytes.
func (r *Reader) Size() int64 { return r.size }

// Close forgets the plaintext that the Reader holds. It does not close the file.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.plain)
	r.block = -1
	return nil
}

// blockSize is that of a block's plaintext: the last may be short.
func (r *Reader) blockSize(block int64) int {
	return int(min(BlockBytes, r.size-block*BlockBytes))
}

// open decrypts one block into plain, which has exactly its size.
func (r *Reader) open(block int64, plain []byte) error {
	held := r.pool.Get().(*[]byte)
	defer r.pool.Put(held)
	sealed := (*held)[:len(plain)+tagBytes]
	if err := readFull(r.file, sealed[:len(plain)], HeaderBytes+block*BlockBytes); err != nil {
		return errs.Wrap(err, "layer.read: block %d", block)
	}
	copy(sealed[len(plain):], r.tags[block*tagBytes:])
	return r.decrypt(block, plain, sealed)
}

func (r *Reader) decrypt(block int64, plain, sealed []byte) error {
	if _, err := r.box.aead.Open(plain[:0], nonce(block), sealed, r.box.bound[:]); err != nil {
		return errs.New(errs.Corrupt, "layer.read: block %d was changed", block)
	}
	return nil
}

// ReadAt implements io.ReaderAt over the plaintext. A block that was changed is kind Corrupt, with
// its number. Reads of less than a block decrypt the whole block, which is kept for the next one.
func (r *Reader) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 {
		return 0, errs.New(errs.Invalid, "layer.read: byte %d", at)
	}
	n := 0
	for n < len(p) && at < r.size {
		block, within := at/BlockBytes, int(at%BlockBytes)
		took := min(r.blockSize(block)-within, len(p)-n)
		into := p[n : n+took]
		var err error
		if took == r.blockSize(block) {
			err = r.open(block, into)
		} else {
			err = r.part(block, within, into)
		}
		if err != nil {
			return n, err
		}
		n, at = n+took, at+int64(took)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// part copies a part of a block's plaintext.
func (r *Reader) part(block int64, within int, into []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.block != block {
		if r.plain == nil {
			r.plain = make([]byte, BlockBytes)
		}
		r.block = -1 // in case it fails
		if err := r.open(block, r.plain[:r.blockSize(block)]); err != nil {
			return err
		}
		r.block = block
	}
	copy(into, r.plain[within:])
	return nil
}

// CopyTo decrypts everything into to, on all processors. After an error, what was written before
// stays there.
func (r *Reader) CopyTo(ctx context.Context, to io.WriterAt) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			if err := r.copyPieces(ctx, to, &next); err != nil {
				stop(err)
			}
		})
	}
	workers.Wait()
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return errs.As(errs.Canceled, err, "layer.copy")
	}
	return err
}

// copyPieces decrypts the pieces that no other worker takes.
func (r *Reader) copyPieces(ctx context.Context, to io.WriterAt, next *atomic.Int64) error {
	sealed, plain := make([]byte, pieceBytes+tagBytes), make([]byte, min(pieceBytes, r.size))
	defer clear(plain)
	for ctx.Err() == nil {
		at := (next.Add(1) - 1) * pieceBytes
		if at >= r.size {
			return nil
		}
		n := int(min(pieceBytes, r.size-at))
		if err := readFull(r.file, sealed[:n], HeaderBytes+at); err != nil {
			return errs.Wrap(err, "layer.copy")
		}
		if err := r.openPiece(at/BlockBytes, sealed, plain[:n]); err != nil {
			return err
		}
		if _, err := to.WriteAt(plain[:n], at); err != nil {
			return errs.Wrap(err, "layer.copy: write at byte %d", at)
		}
	}
	return nil
}

// openPiece decrypts the blocks of a piece, the last one first: the tag of each is put behind it,
// over the beginning of the next, which is no longer needed.
func (r *Reader) openPiece(first int64, sealed, plain []byte) error {
	for i := (len(plain) - 1) / BlockBytes; i >= 0; i-- {
		at := i * BlockBytes
		end := min(at+BlockBytes, len(plain))
		block := first + int64(i)
		copy(sealed[end:end+tagBytes], r.tags[block*tagBytes:])
		if err := r.decrypt(block, plain[at:end], sealed[at:end+tagBytes]); err != nil {
			return err
		}
	}
	return nil
}
