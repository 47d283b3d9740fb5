package journal

import (
	"context"
	"testing"

	"surety/base/errs"
	"surety/base/ident"
	"surety/sys/vfs"
)

// FuzzDecode feeds foreign bytes to the three decoders: they answer or refuse, and what they accept
// encodes to the same bytes.
func FuzzDecode(f *testing.F) {
	h := header{Record: Record{Seq: 3, Operation: 2, Count: 1, Segment: 1, Offset: 4096}, bodySize: 128,
		groupFirst: 3, groupCount: 1, groupUsed: HeaderSize + 128}
	page := make([]byte, PageSize)
	h.encode(page)
	h.seal(page, Hash{1})
	f.Add(page)
	f.Add((&superblock{generation: 4, id: ident.ID{Lo: 1}, first: 1, snapshots: make([]Snapshot, 2)}).encode())
	segmentPage := make([]byte, PageSize)
	(&segment{number: 2, first: 9, size: 1 << 20}).encodeHeader(segmentPage, ident.ID{Lo: 1})
	f.Add(segmentPage)
	f.Fuzz(func(t *testing.T, data []byte) {
		page := make([]byte, PageSize)
		copy(page, data)
		if got, err := decodeHeader(page); err == nil {
			again := make([]byte, PageSize)
			got.encode(again)
			got.seal(again, got.Chain)
			if other, err := decodeHeader(again); err != nil || !equal(other, got) {
				t.Errorf("header %+v came back as %+v, %v", got, other, err)
			}
		} else {
			wantKind(t, err, errs.Corrupt)
		}
		if got, err := decodeSuper(page); err == nil {
			if _, err := decodeSuper(got.encode()); err != nil {
				t.Error(err)
			}
		} else {
			wantKind(t, err, errs.Corrupt)
		}
		s := segment{number: 2, size: 1 << 20}
		if _, err := s.decodeHeader(page, ident.ID{Lo: 1}); err != nil {
			wantKind(t, err, errs.Corrupt)
		}
	})
}

func equal(a, b header) bool {
	a.Body, b.Body = nil, nil
	return a.Seq == b.Seq && a.Chain == b.Chain && a.Previous == b.Previous && a.journal == b.journal &&
		a.bodySize == b.bodySize && a.groupFirst == b.groupFirst && a.groupUsed == b.groupUsed &&
		a.Timestamp == b.Timestamp && a.Operation == b.Operation && a.Offset == b.Offset
}

// FuzzRecover writes foreign bytes somewhere into a journal's files and starts it. It refuses, or
// it holds a beginning of what was there; it never holds anything else and never fails otherwise.
func FuzzRecover(f *testing.F) {
	f.Add(uint8(0), uint32(0), []byte{1}, false)
	f.Add(uint8(1), uint32(4096), make([]byte, 4096), true)
	f.Add(uint8(2), uint32(8192+100), []byte("garbage"), false)
	f.Add(uint8(5), uint32(60000), []byte{0xff}, false)
	closed, want := grown(f, true)
	open, _ := grown(f, false)
	f.Fuzz(func(t *testing.T, file uint8, at uint32, bytes []byte, useClosed bool) {
		fs := open.Clone()
		if useClosed {
			fs = closed.Clone()
		}
		names := fs.Names(testDir + "/")
		name := names[int(file)%len(names)]
		size := uint32(len(read(t, fs, name)))
		if size == 0 {
			return
		}
		fs.Overwrite(name, int64(at%size), bytes)
		h := &harness{t: t, fs: fs, options: small}
		got, err := h.start()
		if err != nil {
			wantKind(t, err, errs.Corrupt)
			return
		}
		if len(got) > len(want) {
			t.Fatalf("%d records, want at most %d", len(got), len(want))
		}
		if err := same(got, want[:len(got)]); err != nil {
			t.Fatal(err)
		}
		h.mustAppend(100)
		err = h.j.Read(context.Background(), 1, 1000, func(*Record) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		h.mustClose()
	})
}

// BenchmarkCommit measures one small commit after the other, and the disk's own rate of the same
// writes beside it: a page, then fdatasync.
func BenchmarkCommit(b *testing.B) {
	b.Run("journal", func(b *testing.B) {
		b.Chdir(b.TempDir())
		j, err := Open(vfs.OS{}, testDir, Options{ID: ident.ID{Lo: 1}})
		if err != nil {
			b.Fatal(err)
		}
		if err := j.Recover(context.Background(), j.Start(), nil); err != nil {
			b.Fatal(err)
		}
		var g Group
		record := body(1, 128)
		for b.Loop() {
			g.Reset()
			if _, err := j.Admit(&g, record.Size()); err != nil {
				b.Fatal(err)
			}
			j.Add(&g, Entry{Operation: 2, Count: 1, Body: record})
			j.Seal(&g)
			if err := j.Write(&g); err != nil {
				b.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
	})
	b.Run("disk", func(b *testing.B) {
		b.Chdir(b.TempDir())
		f, err := vfs.OS{}.Open("f", vfs.Create|vfs.Direct)
		if err != nil {
			b.Fatal(err)
		}
		page := vfs.Aligned(PageSize)
		zeros := vfs.Aligned(16 << 20)
		if _, err := f.WriteAt(zeros, 0); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		page[0] = 1
		at := int64(0)
		for b.Loop() {
			if _, err := f.WriteAt(page, at); err != nil {
				b.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
			at = (at + PageSize) % int64(len(zeros))
		}
	})
}
