package replica

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

func TestHasher(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	h, want := newHasher(), sha256.New()
	defer h.stop()
	for range 200 {
		p := make([]byte, random.IntN(3*hasherBytes/2))
		for i := range p {
			p[i] = byte(random.Uint32())
		}
		_, _ = h.Write(p)
		_, _ = want.Write(p)
		clear(p) // the caller uses its bytes again
		if random.IntN(20) == 0 && !bytes.Equal(h.Sum(nil), want.Sum(nil)) {
			t.Fatal("another sum")
		}
	}
	h.Reset()
	if empty := sha256.Sum256(nil); !bytes.Equal(h.Sum(nil), empty[:]) {
		t.Error("reset left something")
	}
}

func TestReadAhead(t *testing.T) {
	for _, size := range []int{0, 1, snapshotPiece, snapshotPiece + 1, 7*snapshotPiece - 5} {
		content := bytes.Repeat([]byte("0123456789x"), size/11+1)[:size]
		a := readAhead(iotest.HalfReader(bytes.NewReader(content)))
		got, err := io.ReadAll(a)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes: %d came, %v", size, len(got), err)
		}
		a.stop()
		a = readAhead(bytes.NewReader(content)) // left in the middle
		_, _ = io.ReadFull(a, make([]byte, min(size, 10)))
		a.stop()
	}
	a := readAhead(iotest.ErrReader(io.ErrClosedPipe))
	if _, err := io.ReadAll(a); err != io.ErrClosedPipe {
		t.Errorf("got %v", err)
	}
	a.stop()
}
