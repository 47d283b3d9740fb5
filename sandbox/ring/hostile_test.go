package ring

import (
	"encoding/binary"
	"net/netip"
	"os"
	"testing"

	"surety/base/errs"
	"surety/base/ident"
	"surety/sandbox"
)

// scribble makes a ring of what a kernel that was taken over may leave.
func scribble(r *Ring, head, tail uint64, data []byte) {
	r.store(offHead, head)
	r.store(offTail, tail)
	room := r.bytes(0, int(r.size))
	clear(room)
	for i := 0; len(data) > 0 && i < len(room); i += len(data) {
		copy(room[i:], data)
	}
}

// survive reads a ring to its end or its damage.
func survive(t *testing.T, r *Ring) error {
	t.Helper()
	c := NewConsumer(r)
	for total := uint64(0); ; {
		frames, err := c.Next(0)
		if err != nil || frames == nil {
			return err
		}
		for rest := frames; len(rest) > 0; {
			n, err := FrameSize(rest)
			if err != nil || n < 4+HeadBytes || n > len(rest) {
				t.Fatalf("a frame of %d bytes in %d, %v", n, len(rest), err)
			}
			rest = rest[n:]
		}
		if total += uint64(len(frames)); total > r.size {
			t.Fatalf("%d bytes from a ring of %d", total, r.size)
		}
		c.Advance(len(frames))
	}
}

func TestScribbledRings(t *testing.T) {
	var chain sandbox.Chain
	frame := sample(1).Append(nil)
	head := chain.Add(frame)
	frame = append(frame, head[:]...)
	length := func(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
	for name, test := range map[string]struct {
		head, tail uint64
		data       []byte
		kind       errs.Kind
		clean      bool
	}{
		"empty":              {clean: true},
		"whole":              {tail: uint64(len(frame)), data: frame, clean: true},
		"cut":                {tail: uint64(len(frame)) - 1, data: frame, kind: errs.Corrupt},
		"second cut":         {tail: uint64(len(frame)) + 3, data: frame, kind: errs.Corrupt},
		"zeros":              {tail: MinSize, kind: errs.Corrupt},
		"long record":        {tail: MinSize, data: length(sandbox.MaxRecord), kind: errs.Corrupt},
		"endless record":     {tail: MinSize, data: length(1<<32 - 1), kind: errs.Corrupt},
		"tail too far":       {tail: MinSize + 1, data: frame, kind: errs.Corrupt},
		"tail at the end":    {tail: 1<<64 - 1, data: frame, kind: errs.Corrupt},
		"tail behind head":   {head: 10, tail: 9, data: frame, kind: errs.Corrupt},
		"both at the end":    {head: 1<<64 - 1, tail: 1<<64 - 1, clean: true},
		"three bytes":        {tail: 3, data: frame, kind: errs.Corrupt},
		"head in the middle": {head: 1, tail: uint64(len(frame)), data: frame, kind: errs.Corrupt},
	} {
		r := newRing(t, MinSize)
		scribble(r, test.head, test.tail, test.data)
		if err := survive(t, r); test.clean != (err == nil) || !test.clean && !errs.Is(err, test.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDamageStays(t *testing.T) {
	r := newRing(t, MinSize)
	p, c := NewProducer(r, patient), NewConsumer(r)
	if err := p.Write(sample(1)); err != nil {
		t.Fatal(err)
	}
	first := r.load(offTail)
	if err := p.Write(sample(2)); err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(r.bytes(first, 4), 1<<30)
	frames, err := c.Next(0)
	if err != nil || uint64(len(frames)) != first {
		t.Fatalf("the frame before the damage: %d bytes, %v", len(frames), err)
	}
	c.Advance(len(frames))
	if _, err := c.Next(0); !errs.Is(err, errs.Corrupt) {
		t.Fatalf("the damage: %v", err)
	}
	r.store(offTail, first) // mended, it says
	if _, err := c.Next(0); !errs.Is(err, errs.Corrupt) {
		t.Fatalf("the damage, mended: %v", err)
	}
}

// TestAFileCutBeneathItsMapping: the next look at a page that is gone must not end the process.
func TestAFileCutBeneathItsMapping(t *testing.T) {
	r := newRing(t, MinSize)
	c := NewConsumer(r)
	if err := NewProducer(r, patient).Write(sample(1)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(r.File().Name(), controlBytes); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Next(0); !errs.Is(err, errs.Corrupt) {
		t.Fatalf("records gone: %v", err)
	}
	if err := r.SetName(netip.MustParseAddr("::1"), "a", 1); !errs.Is(err, errs.Corrupt) {
		t.Fatalf("names gone: %v", err)
	}
	if err := os.Truncate(r.File().Name(), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := NewConsumer(r).Next(0); !errs.Is(err, errs.Corrupt) {
		t.Fatalf("all gone: %v", err)
	}
	c.Advance(1)
	c.Wake()
	c.Close()
	r.Hold()
	r.Release()
	r.SetTrace(ident.ID{Lo: 1})
	if r.Counts() != (Counts{}) {
		t.Fatal("counts of a file that is gone")
	}
}

func FuzzConsumer(f *testing.F) {
	frame := sample(3).Append(nil)
	frame = append(frame, make([]byte, HeadBytes)...)
	f.Add(uint64(0), uint64(len(frame)), frame)
	f.Add(uint64(5), uint64(MinSize), []byte{1, 0, 0, 0})
	f.Add(uint64(1<<63), uint64(1<<63+100), []byte{60, 0, 0, 0, 1})
	r := newRing(f, MinSize)
	f.Fuzz(func(t *testing.T, head, tail uint64, data []byte) {
		scribble(r, head, tail, data)
		if err := survive(t, r); err != nil && !errs.Is(err, errs.Corrupt) {
			t.Fatal(err)
		}
		if again, err := Open(r.File().Name()); err != nil {
			t.Fatal(err)
		} else if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
