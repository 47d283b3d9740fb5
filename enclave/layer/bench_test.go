package layer

import (
	"bytes"
	"context"
	"io"
	"testing"
)

// benchBytes is the size of the image that is sealed and read, in bytes.
const benchBytes = 256 << 20

func BenchmarkSeal(b *testing.B) {
	plain := bytes.NewReader(image(benchBytes))
	b.SetBytes(benchBytes)
	for b.Loop() {
		if _, err := Seal(context.Background(), plain, benchBytes, testKey, testID, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead reads an encrypted image in order (by one goroutine), in parts at random places, and
// copies it on all processors.
func BenchmarkRead(b *testing.B) {
	file, s := seal(b, image(benchBytes))
	r, err := open(file, s)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("order", func(b *testing.B) {
		b.SetBytes(benchBytes)
		p := make([]byte, 1<<20)
		for b.Loop() {
			for at := int64(0); at < benchBytes; at += int64(len(p)) {
				if _, err := r.ReadAt(p, at); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("random 4 KiB", func(b *testing.B) {
		p, at := make([]byte, 4096), int64(0)
		b.SetBytes(int64(len(p)))
		for b.Loop() {
			at = (at*6364136223846793005 + 1442695040888963407) & (benchBytes - 1)
			if _, err := r.ReadAt(p, at&^4095); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(benchBytes)
		to := &unlocked{make([]byte, benchBytes)}
		for b.Loop() {
			if err := r.CopyTo(context.Background(), to); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// unlocked is memory whose parts are written by one goroutine each.
type unlocked struct{ b []byte }

func (u *unlocked) WriteAt(p []byte, at int64) (int, error) { return copy(u.b[at:], p), nil }

func BenchmarkVerity(b *testing.B) {
	plain := bytes.NewReader(image(benchBytes))
	b.SetBytes(benchBytes)
	for b.Loop() {
		if _, err := Verity(context.Background(), plain, benchBytes, [32]byte{}); err != nil {
			b.Fatal(err)
		}
	}
}
