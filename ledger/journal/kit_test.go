package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"surety/base/errs"
	"surety/base/ident"
	"surety/sys/vfs"
)

// text is a body for tests.
type text []byte

func (b text) Size() int          { return len(b) }
func (b text) Encode(into []byte) { copy(into, b) }

const testDir = "ledger"

// small makes segments that fill up fast.
var small = Options{ID: ident.ID{Lo: 7, Hi: 9}, SegmentBytes: 64 << 10, FirstSegmentBytes: 48 << 10,
	GroupBytes: 16 << 10}

// body returns the content of record seq: its number, then bytes that no other record has.
func body(seq uint64, size int) text {
	b := bytes.Repeat([]byte{byte(seq%250) + 1}, max(size, 8))
	binary.LittleEndian.PutUint64(b, seq)
	return b
}

// harness is a journal with what was acknowledged.
type harness struct {
	t       testing.TB
	fs      vfs.FS
	options Options
	j       *Journal
	acked   []text // bodies by Seq-1
}

// start opens and recovers the journal and returns what it holds.
func (h *harness) start() ([]text, error) {
	j, err := Open(h.fs, testDir, h.options)
	if err != nil {
		return nil, err
	}
	var got []text
	err = j.Recover(context.Background(), j.Start(), func(r *Record) error {
		if r.Seq != uint64(len(got)+1) {
			return errs.New(errs.Internal, "record %d came at place %d", r.Seq, len(got)+1)
		}
		got = append(got, bytes.Clone(r.Body))
		return nil
	})
	if err != nil {
		_ = j.Close()
		return nil, err
	}
	h.j = j
	return got, nil
}

// mustStart starts and takes what is there as acknowledged.
func (h *harness) mustStart() {
	h.t.Helper()
	got, err := h.start()
	if err != nil {
		h.t.Fatal(err)
	}
	h.acked = got
}

// append writes records of the sizes as one group, or as several where one does not hold them.
func (h *harness) append(sizes ...int) error {
	for len(sizes) > 0 {
		var g Group
		var bodies []text
		for len(sizes) > 0 {
			b := body(uint64(len(h.acked)+len(bodies)+1), sizes[0])
			ok, err := h.j.Admit(&g, b.Size())
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			h.j.Add(&g, Entry{Operation: 2, Count: 1, Timestamp: 5, Body: b})
			bodies, sizes = append(bodies, b), sizes[1:]
		}
		h.j.Seal(&g)
		if err := h.j.Write(&g); err != nil {
			return err
		}
		h.acked = append(h.acked, bodies...)
	}
	return nil
}

// crash cuts the power under the journal.
func (h *harness) crash(fs *vfs.Memory, seed uint64) {
	fs.SetFault(vfs.PowerOffAt(0, nil))
	if h.j != nil {
		_ = h.j.Close() // ends its goroutine; without power it can do no more
		h.j = nil
	}
	fs.Crash(seed)
}

func (h *harness) mustAppend(sizes ...int) {
	h.t.Helper()
	if err := h.append(sizes...); err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) mustClose() {
	h.t.Helper()
	if err := h.j.Close(); err != nil {
		h.t.Fatal(err)
	}
}

// same reports the first difference between two histories.
func same(got, want []text) error {
	for i := range min(len(got), len(want)) {
		if !bytes.Equal(got[i], want[i]) {
			return fmt.Errorf("record %d differs", i+1)
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d records, want %d", len(got), len(want))
	}
	return nil
}

func newHarness(t testing.TB) (*harness, *vfs.Memory) {
	fs := vfs.NewMemory()
	return &harness{t: t, fs: fs, options: small}, fs
}

func wantKind(t testing.TB, err error, kind errs.Kind) {
	t.Helper()
	if !errs.Is(err, kind) {
		t.Errorf("got %v, want kind %v", err, kind)
	}
}
