// Package layer seals a file-system image into blocks that can be read at random and changed by
// nobody, and computes what is measured of a layer.
//
// Think of a book whose pages are locked one by one, with the list of all seals at its end. Each
// block of the image is encrypted and authenticated for itself, so that any of them can be read
// without the others. The tags of all blocks stand apart from the ciphertext: their hash, with the
// header's, is the root that an enclave's manifest measures, and it is checked before anything is
// decrypted. So a block that was changed, moved, or taken from another file is found where it is
// read, and a file that was cut, lengthened or exchanged is not even opened.
//
// A sealed file is a header of HeaderBytes, the ciphertext of as many bytes as the plaintext, and a
// tag of 16 bytes for each block:
//
//	header   0  "surety layer 1\n" and a zero
//	        16  size of a block, 4 bytes, the highest first
//	        20  size of the plaintext, 8 bytes
//	        28  id, 16 bytes
//	        44  commitment to the key, 32 bytes
//	        76  zeros
//
// # Invariants
//
// A key and an id together encrypt one image: the cipher's key is HKDF-SHA-256 of both, and so a
// nonce, which is the number of the block, is used once. Whoever calls Seal sees to fresh ids.
//
// The header commits to the key (HKDF again): another key is known as such, and no file opens under
// two keys, which AES-GCM by itself would not prevent.
//
// The ciphertext says nothing of a block's content, and the root nothing of the plaintext: it cannot
// be used to confirm a guess. The size is not hidden.
//
// # Boundaries
//
// Nothing here knows file systems or opens files. A public layer is not encrypted: Tree computes the
// dm-verity root that is measured of it, which Linux and veritysetup compute too.
//
// # Concurrency
//
// A Reader may be used by many goroutines. A Writer and a Tree belong to one, and work on all
// processors with a bounded number of pieces in memory.
//
// # Sources
//
// NIST SP 800-38D (GCM), RFC 5869 (HKDF), Linux Documentation/admin-guide/device-mapper/verity.rst.
package layer

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"

	"surety/base/errs"
	"surety/enclave"
)

// KeyBytes is the size of a layer key.
const KeyBytes = 32

// Key seals layers. Its text forms say "redacted".
type Key [KeyBytes]byte

// ParseKey reads 64 hexadecimal digits; kind Invalid otherwise.
func ParseKey(digits string) (k Key, err error) {
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) != KeyBytes {
		return k, errs.New(errs.Invalid, "layer.key: %d characters, want %d hexadecimal digits", len(digits),
			2*KeyBytes)
	}
	return Key(raw), nil
}

const redacted = "redacted"

// String hides the key.
func (Key) String() string { return redacted }

// Format hides the key from every verb of fmt.
func (Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides the key.
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the key, in JSON too.
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Sealed says what a sealed layer is: all that is needed beside the key to read it.
type Sealed struct {
	ID    [16]byte
	Bytes uint64 // of the plaintext
	Root  enclave.Digest
}

// Sizes of the format.
const (
	HeaderBytes = 4096 // so that a block of the ciphertext begins at a page of the file
	BlockBytes  = 64 << 10
	tagBytes    = 16
	magic       = "surety layer 1\n\x00"
)

// SealedBytes is the size of the sealed file of an image of so many bytes.
func SealedBytes(size int64) int64 { return HeaderBytes + size + blocksOf(size)*tagBytes }

func blocksOf(size int64) int64 { return (size + BlockBytes - 1) / BlockBytes }

// box seals and opens the blocks of one image.
type box struct {
	aead   cipher.AEAD
	bound  [24]byte // id and size: what every tag covers beside its block
	commit [32]byte
}

func newBox(key Key, id [16]byte, size int64) (*box, error) {
	b := &box{}
	copy(b.bound[:], id[:])
	binary.BigEndian.PutUint64(b.bound[16:], uint64(size))
	secret, err := hkdf.Key(sha256.New, key[:], id[:], "surety layer 1: AES-256-GCM", 32)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "layer.key")
	}
	defer clear(secret)
	commit, err := hkdf.Key(sha256.New, key[:], id[:], "surety layer 1: commitment", len(b.commit))
	if err != nil {
		return nil, errs.As(errs.Internal, err, "layer.key")
	}
	copy(b.commit[:], commit)
	block, err := aes.NewCipher(secret)
	if err == nil {
		b.aead, err = cipher.NewGCM(block)
	}
	return b, errs.As(errs.Internal, err, "layer.key")
}

// nonce of a block is its number: a cipher's key is used for one image.
func nonce(block int64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 4, 12), uint64(block))
}

// header returns the sealed file's first bytes.
func (b *box) header() []byte {
	h := make([]byte, HeaderBytes)
	copy(h, magic)
	binary.BigEndian.PutUint32(h[16:], BlockBytes)
	copy(h[20:28], b.bound[16:])
	copy(h[28:44], b.bound[:16])
	copy(h[44:76], b.commit[:])
	return h
}
