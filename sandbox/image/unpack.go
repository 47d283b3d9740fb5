package image

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"surety/base/errs"
)

// bounds are the limits on what comes out of compressed bytes.
type bounds struct {
	layer int64 // bytes of one layer, uncompressed
	free  int64 // bytes that may come out before ratio holds
	ratio int64
}

func defaultBounds() bounds { return bounds{layer: maxLayer, free: ratioFree, ratio: maxRatio} }

// unpacker reads a layer uncompressed, whatever it is compressed with, and hashes both forms.
type unpacker struct {
	packed  *counter
	plain   io.Reader
	decoder io.Closer // nil where nothing has to be closed
	diff    hash.Hash
	out     int64
	bounds  bounds
}

// counter hashes and counts the bytes that pass.
type counter struct {
	r   io.Reader
	sum hash.Hash
	n   int64
	err error // of r, other than its end
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.sum.Write(p[:n]) // a hash takes everything
	c.n += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// newUnpacker looks at the first bytes of r for what it is compressed with: media types and file
// names have been known to be wrong about it. With an error it returns an unpacker too, for what it
// has counted so far.
func newUnpacker(r io.Reader, b bounds) (*unpacker, error) {
	packed := &counter{r: r, sum: sha256.New()}
	head := bufio.NewReaderSize(packed, copyBytes/8)
	u := &unpacker{packed: packed, plain: head, diff: sha256.New(), bounds: b}
	first, err := head.Peek(4)
	if err != nil && err != io.EOF {
		return u, err
	}
	switch {
	case bytes.HasPrefix(first, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(head)
		if err != nil {
			return u, errs.As(errs.Invalid, err, "gzip")
		}
		u.plain, u.decoder = z, z
	case bytes.Equal(first, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(head, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return u, errs.As(errs.Invalid, err, "zstd")
		}
		u.plain, u.decoder = z, z.IOReadCloser()
	}
	return u, nil
}

// Read implements io.Reader. It fails with kind TooLarge where more comes out than the bounds
// allow, and Invalid where the compressed bytes are damaged or cut.
func (u *unpacker) Read(p []byte) (int, error) {
	n, err := u.plain.Read(p)
	u.diff.Write(p[:n])
	u.out += int64(n)
	if u.out > u.bounds.layer {
		return n, errs.New(errs.TooLarge, "more than %d bytes come out, which is the limit", u.bounds.layer)
	}
	if u.decoder != nil && u.out > u.bounds.free && u.out/u.bounds.ratio > u.packed.n {
		return n, errs.New(errs.TooLarge, "%d bytes come out of %d, the limit is %d for one", u.out,
			u.packed.n, u.bounds.ratio)
	}
	switch {
	case err == nil || err == io.EOF:
		return n, err
	case u.packed.err != nil:
		return n, u.packed.err
	}
	return n, errs.As(errs.Invalid, err, "decompress at byte %d", u.packed.n)
}

// Close frees the decoder.
func (u *unpacker) Close() error {
	if u.decoder == nil {
		return nil
	}
	return u.decoder.Close()
}

// drain reads to the end of both forms, so that their digests are of everything.
func (u *unpacker) drain() error {
	if _, err := io.Copy(io.Discard, u); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, u.packed)
	return err
}

func (u *unpacker) digest() string { return digestOf(u.packed.sum) }
func (u *unpacker) diffID() string { return digestOf(u.diff) }

// digestOf writes a SHA-256 as images and registries do.
func digestOf(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

func digestBytes(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
