// Package layer seals a file-system image into blocks that can be read at random and changed by
// nobody, and computes what is measured of a layer.
package layer

import (
	"context"
	"io"

	"surety/enclave"
)

// KeyBytes is the size of a layer key.
const KeyBytes = 32

// Key seals layers. Its text forms say "redacted".
type Key [KeyBytes]byte

// Sealed says what a sealed layer is: all that is needed beside the key to read it.
type Sealed struct {
	ID    [16]byte
	Bytes uint64 // of the plaintext
	Root  enclave.Digest
}

// Seal encrypts size bytes of plain and writes the sealed file. The id must never have been used
// with the key before. Blocks are sealed on all processors.
func Seal(ctx context.Context, plain io.ReaderAt, size int64, key Key, id [16]byte, to io.Writer,
) (Sealed, error) {
	panic("unimplemented")
}

// Reader reads a sealed layer at random. Every byte it gives was authenticated. It may be used by
// many goroutines.
type Reader struct{}

// Open checks a sealed file against what is wanted of it, before any of it is decrypted, and the
// key against its first block. Kind Corrupt where it is another file, Unauthorized where it is
// another key.
func Open(file io.ReaderAt, size int64, want Sealed, key Key) (*Reader, error) {
	panic("unimplemented")
}

// ReadAt implements io.ReaderAt over the plaintext. A block that was changed is kind Corrupt, with
// its number.
func (r *Reader) ReadAt(p []byte, at int64) (int, error) { panic("unimplemented") }

// Size is the plaintext's, in bytes.
func (r *Reader) Size() int64 { panic("unimplemented") }

// CopyTo decrypts everything into to, on all processors.
func (r *Reader) CopyTo(ctx context.Context, to io.WriterAt) error { panic("unimplemented") }

// Verity returns the root of the dm-verity tree over size bytes (a multiple of 4096) of an image:
// SHA-256, data and hash blocks of 4096, as `veritysetup format` computes it.
func Verity(ctx context.Context, image io.ReaderAt, size int64, salt [32]byte) ([32]byte, error) {
	panic("unimplemented")
}
