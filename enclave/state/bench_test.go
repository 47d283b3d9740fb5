package state

import (
	"fmt"
	"testing"

	"surety/sys/inode"
)

// benchVolume is a volume on the machine's disk.
func benchVolume(b *testing.B) (*Volume, inode.Number) {
	b.Helper()
	v, err := Open(b.Context(), Config{Dir: b.TempDir(), Keys: keysUpTo(1), Anchor: &anchorage{},
		Bytes: 1 << 30})
	must(b, err)
	b.Cleanup(func() { _ = v.Close(b.Context()) })
	return v, create(b, v, "a", nil)
}

const benchBytes = 64 << 20

// BenchmarkWrite writes 64 MiB in pieces of 128 KiB and syncs.
func BenchmarkWrite(b *testing.B) {
	v, n := benchVolume(b)
	piece := make([]byte, 128<<10)
	b.SetBytes(benchBytes)
	for b.Loop() {
		for at := uint64(0); at < benchBytes; at += uint64(len(piece)) {
			if _, err := v.Write(n, piece, at); err != nil {
				b.Fatal(err)
			}
		}
		must(b, v.Sync(b.Context()))
	}
}

// BenchmarkRead reads 64 MiB in pieces of 128 KiB, which is more than the cache holds.
func BenchmarkRead(b *testing.B) {
	v, n := benchVolume(b)
	_, err := v.Write(n, make([]byte, benchBytes), 0)
	must(b, err)
	must(b, v.Sync(b.Context()))
	piece := make([]byte, 128<<10)
	b.SetBytes(benchBytes)
	for b.Loop() {
		for at := uint64(0); at < benchBytes; at += uint64(len(piece)) {
			if _, err := v.Read(n, piece, at); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkSync writes 4 KiB somewhere in 8 MiB and syncs.
func BenchmarkSync(b *testing.B) {
	v, n := benchVolume(b)
	_, err := v.Write(n, make([]byte, 8<<20), 0)
	must(b, err)
	piece := make([]byte, 4<<10)
	at := uint64(0)
	for b.Loop() {
		at = (at*5 + 12289<<12) % (8 << 20)
		if _, err := v.Write(n, piece, at&^4095); err != nil {
			b.Fatal(err)
		}
		must(b, v.Sync(b.Context()))
	}
}

// BenchmarkMake makes a file of a few bytes, in a directory that grows, and syncs every hundredth.
func BenchmarkMake(b *testing.B) {
	v, _ := benchVolume(b)
	i := 0
	for b.Loop() {
		a, err := v.Make(inode.Root, fmt.Sprint("file-", i), inode.New{Mode: inode.Regular | 0o600})
		must(b, err)
		_, err = v.Write(a.Number, []byte("a few bytes"), 0)
		must(b, err)
		if i++; i%100 == 0 {
			must(b, v.Sync(b.Context()))
		}
	}
}
