package state

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"surety/base/errs"
	"surety/sys/entropy"
	"surety/sys/inode"
	"surety/sys/vfs"
)

// whatItHolds is each file's content by its name, or the error of reading it.
func whatItHolds(v *Volume) (map[string][]byte, error) {
	list, err := v.Entries(inode.Root)
	if err != nil {
		return nil, err
	}
	all := map[string][]byte{}
	for _, e := range list {
		a, err := v.Stat(e.Number)
		if err != nil {
			return nil, err
		}
		content := make([]byte, a.Size)
		if _, err := v.Read(e.Number, content, 0); err != nil {
			return nil, err
		}
		all[e.Name] = content
	}
	return all, nil
}

func equalFiles(a, b map[string][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for name, content := range a {
		if other, there := b[name]; !there || !bytes.Equal(content, other) {
			return false
		}
	}
	return true
}

// grown is a state of some segments, closed.
func grown(t *testing.T) (*bench, map[string][]byte) {
	t.Helper()
	b := newBench()
	b.config.segmentBytes = 100 << 10
	v := b.open(t)
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 12 {
		content := make([]byte, random.IntN(60<<10))
		for j := range content {
			content[j] = byte(random.Uint32())
		}
		create(t, v, fmt.Sprint("f", i%9, "-", i), content)
		must(t, v.Sync(t.Context()))
	}
	all, err := whatItHolds(v)
	must(t, err)
	must(t, v.Close(t.Context()))
	return b, all
}

// judge opens a damaged copy: it is refused, or reading it is, or nothing that counts was damaged.
func judge(t *testing.T, b *bench, disk *vfs.Memory, all map[string][]byte, what string) (noticed bool) {
	t.Helper()
	config := b.config
	config.Disk = disk
	at := b.anchor.at
	defer func() { b.anchor.at = at }()
	v, err := Open(t.Context(), config)
	if err != nil {
		if k := errs.KindOf(err); k != errs.Corrupt && k != errs.Refused && k != errs.Unauthorized {
			t.Errorf("%s: %v", what, err)
		}
		return true
	}
	defer abandon(v)
	got, err := whatItHolds(v)
	if err != nil {
		if !errs.Is(err, errs.Corrupt) {
			t.Errorf("%s: %v", what, err)
		}
		return true
	}
	if !equalFiles(got, all) {
		t.Errorf("%s: other content was accepted", what)
	}
	return false
}

// TestEveryFlippedBit flips bits of every byte region: all of the first bytes of each segment, and a
// sample of the rest.
func TestEveryFlippedBit(t *testing.T) {
	b, all := grown(t)
	random := rand.New(rand.NewPCG(5, 6))
	flips, noticed := 0, 0
	for _, name := range b.disk.Names("/state/0") {
		content, err := vfs.ReadWhole(b.disk, name, 1<<30)
		must(t, err)
		bits := int64(len(content)) * 8
		var chosen []int64
		for bit := int64(0); bit < 8*200 && bit < bits; bit += 3 {
			chosen = append(chosen, bit)
		}
		for range 300 {
			chosen = append(chosen, random.Int64N(bits), bits-1-random.Int64N(min(bits, 8*600)))
		}
		for _, bit := range chosen {
			disk := b.disk.Clone()
			disk.Flip(name, bit)
			flips++
			if judge(t, b, disk, all, fmt.Sprintf("%s bit %d", name, bit)) {
				noticed++
			}
		}
	}
	t.Logf("%d flips, %d noticed; the others were in chunks and trees that nothing refers to", flips,
		noticed)
	if noticed < flips/4 {
		t.Error("too few: the test damages what does not count")
	}
}

// TestMixedFiles swaps, cuts, drops and mixes segments.
func TestMixedFiles(t *testing.T) {
	b, all := grown(t)
	names := b.disk.Names("/state/0")
	if len(names) < 3 {
		t.Fatalf("only %v", names)
	}
	for i, name := range names {
		gone := b.disk.Clone()
		must(t, gone.Remove(name))
		if !judge(t, b, gone, all, name+" removed") {
			t.Errorf("%s is not missed", name)
		}
		content, err := vfs.ReadWhole(b.disk, name, 1<<30)
		must(t, err)
		for _, size := range []int{0, 10, headerBytes, len(content) / 2, len(content) - 1} {
			cut := b.disk.Clone()
			cut.Cut(name, int64(size))
			judge(t, b, cut, all, fmt.Sprintf("%s cut to %d", name, size))
		}
		swapped, other := b.disk.Clone(), names[(i+1)%len(names)]
		must(t, swapped.Rename(name, "/state/x"))
		must(t, swapped.Rename(other, name))
		must(t, swapped.Rename("/state/x", other))
		if !judge(t, b, swapped, all, name+" and "+other+" swapped") {
			t.Errorf("%s and %s were swapped unnoticed", name, other)
		}
	}
}

// TestAnothersSegments puts files of another state of the same key in.
func TestAnothersSegments(t *testing.T) {
	b, all := grown(t)
	other, _ := grown(t)
	for _, name := range other.disk.Names("/state/0") {
		content, err := vfs.ReadWhole(other.disk, name, 1<<30)
		must(t, err)
		mixed := b.disk.Clone()
		must(t, vfs.WriteWhole(mixed, name, content))
		judge(t, b, mixed, all, name+" of another state")
	}
}

// TestSwappedFrames swaps two frames of one length within a segment, which AEAD alone must notice.
func TestSwappedFrames(t *testing.T) {
	b := newBench()
	v := b.open(t)
	create(t, v, "a", bytes.Repeat([]byte{1}, chunkBytes))
	create(t, v, "b", bytes.Repeat([]byte{2}, chunkBytes))
	must(t, v.Sync(t.Context()))
	all, err := whatItHolds(v)
	must(t, err)
	var refs []ref
	for _, n := range v.tree.nodes {
		for _, r := range n.chunks {
			refs = append(refs, r)
		}
	}
	must(t, v.Close(t.Context()))
	name := "/state/" + segmentName(refs[0].segment)
	content, err := vfs.ReadWhole(b.disk, name, 1<<30)
	must(t, err)
	size := frameBytes(chunkBytes)
	disk := b.disk.Clone()
	disk.Overwrite(name, refs[0].offset, content[refs[1].offset:refs[1].offset+size])
	disk.Overwrite(name, refs[1].offset, content[refs[0].offset:refs[0].offset+size])
	if !judge(t, b, disk, all, "swapped chunks") {
		t.Error("not noticed")
	}
}

// FuzzBody has the decoder of commits read anything.
func FuzzBody(f *testing.F) {
	b := newBench()
	b.config.Entropy = entropy.Seeded(1) // the same volume in every process
	v, err := Open(f.Context(), b.config)
	must(f, err)
	create(f, v, "a", []byte("content"))
	must(f, v.SetXattr(inode.Root, "user.a", "b", 0))
	must(f, v.Sync(f.Context()))
	v.mu.Lock()
	v.full = true
	whole := v.describe(3)
	f.Add(whole)
	v.touch(v.tree.nodes[inode.Root])
	v.touchName(inode.Root, "gone")
	v.full = false
	f.Add(v.describe(3))
	v.mu.Unlock()
	abandon(v)
	f.Fuzz(func(t *testing.T, content []byte) {
		found := &found{volume: v.volume, loader: loader{tree: newTree(),
			segments: map[uint64]header{}}}
		head, err := decodeHead(content)
		if err == nil && head.kind == kindDelta { // behind a whole tree
			first, _ := decodeHead(whole)
			must(t, found.apply(whole, first))
			found.epoch, found.root = head.epoch-1, head.previous
		}
		if err == nil {
			head, err = found.follows(content)
		}
		if err == nil {
			err = found.apply(content, head)
		}
		if err == nil {
			err = found.finish()
		}
		if err != nil && !errs.Is(err, errs.Corrupt) {
			t.Errorf("%v", err)
		}
	})
}

// FuzzSegment has the reader of segments read anything.
func FuzzSegment(f *testing.F) {
	b := newBench()
	b.config.Entropy = entropy.Seeded(1)
	v, err := Open(f.Context(), b.config)
	must(f, err)
	create(f, v, "a", []byte("content"))
	must(f, v.Close(f.Context()))
	name := b.disk.Names("/state/0")[0]
	content, err := vfs.ReadWhole(b.disk, name, 1<<30)
	must(f, err)
	f.Add(content)
	f.Fuzz(func(t *testing.T, content []byte) {
		disk := vfs.NewMemory()
		must(t, disk.MakeDir("/state"))
		must(t, vfs.WriteWhole(disk, name, content))
		config := b.config
		config.Disk = disk
		config.Anchor = &anchorage{at: b.anchor.at}
		v, err := Open(t.Context(), config)
		if err == nil {
			abandon(v)
			return
		}
		if k := errs.KindOf(err); k != errs.Corrupt && k != errs.Refused && k != errs.Unauthorized {
			t.Errorf("%v", err)
		}
	})
}

// liar is a disk that answers a sync and does nothing.
type liar struct{ vfs.FS }

type lyingFile struct{ vfs.File }

func (l liar) Open(name string, mode vfs.Mode) (vfs.File, error) {
	f, err := l.FS.Open(name, mode)
	return lyingFile{f}, err
}

func (lyingFile) Sync() error { return nil }

// TestLyingDiskIsFoundOut cuts the power under a disk that lied: the anchor knows better.
func TestLyingDiskIsFoundOut(t *testing.T) {
	refused := 0
	for seed := range uint64(40) {
		b := newBench()
		config := b.config
		config.Disk = liar{b.disk}
		v, err := Open(t.Context(), config)
		must(t, err)
		create(t, v, "a", make([]byte, 50<<10))
		must(t, v.Sync(t.Context()))
		all, err := whatItHolds(v)
		must(t, err)
		abandon(v)
		b.disk.Crash(seed)
		if judge(t, b, b.disk, all, fmt.Sprint("seed ", seed)) {
			refused++
		}
	}
	t.Logf("%d of 40 crashes lost something, and were refused", refused)
	if refused == 0 {
		t.Error("nothing was lost: the test proves nothing")
	}
}
