package trail

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/sandbox"
	"surety/sandbox/ring"
	"surety/sys/vfs"
)

// written makes a finished trail of several segments and returns its directory and heads noted while
// it was written.
func written(t *testing.T, key uint64, id string) (string, []Head) {
	t.Helper()
	b := newBook(t, func(c *Config) {
		c.Key, c.Sandbox, c.SegmentBytes = testKey(key), id, 8<<10
	})
	var heads []Head
	for range 6 {
		b.write(60)
		if err := b.w.settle(); err != nil {
			t.Fatal(err)
		}
		if h, err := HeadOf(b.dir); err == nil {
			heads = append(heads, h)
		} else if !errs.Is(err, errs.NotFound) {
			t.Fatal(err)
		}
	}
	if err := b.w.Outside(sandbox.Record{Kind: sandbox.KindPause}); err != nil {
		t.Fatal(err)
	}
	b.finish()
	return b.dir, heads
}

// piece is an entry of a trail on disk, to be taken apart.
type piece struct {
	segment int
	kind    kind
	raw     []byte
}

func pieces(t *testing.T, dir string) []piece {
	t.Helper()
	s := newScanner(directory{vfs.OS{}, dir})
	var all []piece
	for {
		e, err := s.next()
		if err != nil {
			break
		}
		all = append(all, piece{e.place.segment, e.kind, slices.Clone(e.raw)})
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	return all
}

// assemble writes the pieces back as the segments they say they are in.
func assemble(t *testing.T, dir string, all []piece) {
	t.Helper()
	files := map[int][]byte{}
	for _, p := range all {
		files[p.segment] = append(files[p.segment], p.raw...)
	}
	old, err := directory{vfs.OS{}, dir}.list()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range old {
		if err := os.Remove(filepath.Join(dir, segmentName(n))); err != nil {
			t.Fatal(err)
		}
	}
	for n, content := range files {
		if err := os.WriteFile(filepath.Join(dir, segmentName(n)), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// nth returns the index of the nth piece of a kind, from 0; from the end where n is negative.
func nth(all []piece, k kind, n int) int {
	var at []int
	for i, p := range all {
		if p.kind == k {
			at = append(at, i)
		}
	}
	if n < 0 {
		n += len(at)
	}
	return at[n]
}

func remake(p piece, payload []byte) piece {
	return piece{p.segment, p.kind, appendEntry(nil, p.kind, payload)}
}

// changed returns the piece with one byte of its payload changed and its checksum made good: the
// work of somebody who knows the format.
func changed(p piece, at int) piece {
	payload := slices.Clone(p.raw[entryBytes:])
	payload[at] ^= 1
	return remake(p, payload)
}

// rechained makes the inside records one sound chain again, numbered from 1: what somebody does who
// knows the chain, and has no key.
func rechained(all []piece) []piece {
	var chain sandbox.Chain
	for i, p := range all {
		if p.kind != kindInside {
			continue
		}
		encoded := slices.Clone(p.raw[entryBytes : len(p.raw)-ring.HeadBytes])
		binary.LittleEndian.PutUint64(encoded[8:], chain.Seq+1)
		head := chain.Add(encoded)
		all[i] = remake(p, append(encoded, head[:]...))
	}
	return all
}

// TestPlantedFaults plants one fault each into a sound trail; Verify has to find it and say what it
// is.
func TestPlantedFaults(t *testing.T) {
	otherDir, _ := written(t, 1, "box")
	others := pieces(t, otherDir)
	foreignDir, _ := written(t, 2, "box")
	foreign := pieces(t, foreignDir)
	swap := func(all []piece, i, j int) []piece {
		all[i].raw, all[j].raw = all[j].raw, all[i].raw
		return all
	}
	without := func(all []piece, drop func(piece) bool) []piece { return slices.DeleteFunc(all, drop) }
	for name, test := range map[string]struct {
		plant func(all []piece) []piece
		want  string // in one of the faults
		check Check
	}{
		"flipped bit": {func(all []piece) []piece {
			all[nth(all, kindInside, 100)].raw[40] ^= 4
			return all
		}, "not what was written", Check{}},
		"flipped bit in a length": {func(all []piece) []piece {
			all[nth(all, kindInside, 100)].raw[3] ^= 0x80
			return all
		}, "not what was written", Check{}},
		"changed record": {func(all []piece) []piece {
			i := nth(all, kindInside, 100)
			all[i] = changed(all[i], 60)
			return all
		}, "record 101 does not continue the chain", Check{}},
		"changed record, chain made good": {func(all []piece) []piece {
			i := nth(all, kindInside, 100)
			all[i] = changed(all[i], 60)
			return rechained(all)
		}, "stands at record", Check{}},
		"dropped record": {func(all []piece) []piece {
			i := nth(all, kindInside, 100)
			return slices.Delete(all, i, i+1)
		}, "record 102 comes after record 100", Check{}},
		"dropped record, chain made good": {func(all []piece) []piece {
			i := nth(all, kindInside, 100)
			return rechained(slices.Delete(all, i, i+1))
		}, "stands at record", Check{}},
		"dropped outside record": {func(all []piece) []piece {
			i := nth(all, kindOutside, 0)
			return slices.Delete(all, i, i+1)
		}, "outside record 2 comes after outside record 0", Check{}},
		"swapped records": {func(all []piece) []piece {
			return swap(all, nth(all, kindInside, 100), nth(all, kindInside, 101))
		}, "record 102 comes after record 100", Check{}},
		"swapped records, chain made good": {func(all []piece) []piece {
			return rechained(swap(all, nth(all, kindInside, 100), nth(all, kindInside, 101)))
		}, "is over", Check{}},
		"doubled record": {func(all []piece) []piece {
			i := nth(all, kindInside, 100)
			return slices.Insert(all, i, all[i])
		}, "record 101 comes after record 101", Check{}},
		"inside record moved past an outside one": {func(all []piece) []piece {
			i := nth(all, kindOutside, 0)
			return swap(all, i, i-2)
		}, "is over", Check{}},
		"end cut off after a seal": {func(all []piece) []piece {
			return all[:nth(all, kindSeal, -3)+1]
		}, "does not end with a sealed final record", Check{}},
		"end cut off before the last seal": {func(all []piece) []piece {
			return all[:nth(all, kindSeal, -1)]
		}, "does not end with a sealed final record", Check{}},
		"end cut off in an entry": {func(all []piece) []piece {
			last := &all[len(all)-1]
			last.raw = last.raw[:len(last.raw)-1]
			return all
		}, "does not end with a sealed final record", Check{}},
		"last entry damaged": {func(all []piece) []piece {
			all[len(all)-1].raw[entryBytes] ^= 1
			return all
		}, "not what was written", Check{}},
		"bytes after the end": {func(all []piece) []piece {
			return append(all, piece{all[len(all)-1].segment, 0, []byte{1, 2, 3}})
		}, "bytes after the seal of the final record", Check{}},
		"entry after the end": {func(all []piece) []piece {
			extra := all[nth(all, kindOutside, 0)]
			extra.segment = all[len(all)-1].segment
			return append(all, extra)
		}, "an entry after the seal of the final record", Check{}},
		"forged seal": {func(all []piece) []piece {
			i := nth(all, kindSeal, 2)
			all[i] = changed(all[i], len(all[i].raw)-entryBytes-1)
			return all
		}, "seal 3 is not signed by", Check{}},
		"changed seal": {func(all []piece) []piece {
			i := nth(all, kindSeal, 2)
			all[i] = changed(all[i], 20)
			return all
		}, "is not signed by", Check{}},
		"dropped seal": {func(all []piece) []piece {
			i := nth(all, kindSeal, 2)
			return slices.Delete(all, i, i+1)
		}, "under no seal", Check{}},
		"seal of another trail of this key": {func(all []piece) []piece {
			i, j := nth(all, kindSeal, 3), nth(others, kindSeal, 2)
			all[i] = piece{all[i].segment, kindSeal, others[j].raw}
			return all
		}, "seal 3 follows", Check{}},
		"replaced segment": {func(all []piece) []piece {
			all = without(all, func(p piece) bool { return p.segment == 3 })
			for _, p := range foreign {
				if p.segment == 3 {
					all = append(all, p)
				}
			}
			slices.SortStableFunc(all, func(a, b piece) int { return a.segment - b.segment })
			return all
		}, "the segment is of sandbox", Check{}},
		"removed middle segment": {func(all []piece) []piece {
			return without(all, func(p piece) bool { return p.segment == 3 })
		}, "segment 3 of the trail is missing", Check{}},
		"removed middle segment, rest renumbered": {func(all []piece) []piece {
			all = without(all, func(p piece) bool { return p.segment == 3 })
			for i := range all {
				if all[i].segment > 3 {
					all[i].segment--
				}
			}
			return all
		}, "file 3 says it is segment 4", Check{}},
		"removed first segment": {func(all []piece) []piece {
			return without(all, func(p piece) bool { return p.segment == 1 })
		}, "segment 1 of the trail is missing", Check{}},
		"removed last segment": {func(all []piece) []piece {
			last := all[len(all)-1].segment
			return without(all, func(p piece) bool { return p.segment == last })
		}, "does not end with a sealed final record", Check{}},
		"changed birth": {func(all []piece) []piece {
			i := nth(all, kindInside, 0)
			text := strings.Replace(string(all[i].raw[entryBytes:]), "enforce", "observe", 1)
			all[i] = remake(all[i], []byte(text))
			return all
		}, "record 1 does not continue the chain", Check{}},
		"changed birth, chain made good": {func(all []piece) []piece {
			i := nth(all, kindInside, 0)
			text := strings.Replace(string(all[i].raw[entryBytes:]), "enforce", "observe", 1)
			all[i] = remake(all[i], []byte(text))
			return rechained(all)
		}, "seal 1 is over", Check{}},
		"changed header": {func(all []piece) []piece {
			i := nth(all, kindHeader, 2)
			all[i] = changed(all[i], 20)
			return all
		}, "the segment goes on from record", Check{}},
		"wrong key given": {func(all []piece) []piece { return all },
			"is not signed by", Check{Key: testKey(9).Public()}},
		"whole trail of another key": {func([]piece) []piece { return foreign },
			"is not signed by", Check{Key: testKey(1).Public()}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, heads := written(t, 1, "box")
			if _, err := Verify(dir, Check{Anchors: heads}); err != nil {
				t.Fatalf("sound: %v", err)
			}
			all := pieces(t, dir)
			// A trail that is taken apart and put together again is the same trail.
			assemble(t, dir, all)
			if _, err := Verify(dir, Check{}); err != nil {
				t.Fatalf("put together again: %v", err)
			}
			assemble(t, dir, test.plant(all))
			report, err := Verify(dir, test.check)
			if !errs.Is(err, errs.Corrupt) {
				t.Fatalf("not found: %v", err)
			}
			if !slices.ContainsFunc(report.Faults, func(f Fault) bool {
				return strings.Contains(f.Text, test.want)
			}) {
				t.Fatalf("no fault says %q: %v", test.want, report.Faults)
			}
		})
	}
}

// TestEveryFlippedBitIsFound flips each byte of a small trail in turn.
func TestEveryFlippedBitIsFound(t *testing.T) {
	fs := vfs.NewMemory()
	b := newBook(t, func(c *Config) { c.FS, c.Dir = fs, "trail" })
	b.write(3)
	b.finish()
	b.sound(Check{})
	name := filepath.Join("trail", segmentName(1))
	content, err := vfs.ReadWhole(fs, name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for i := range content {
		bit := int64(8*i + i%8)
		fs.Flip(name, bit)
		if report := b.verify(Check{}); len(report.Faults) == 0 {
			t.Errorf("bit %d of byte %d: not found", i%8, i)
		}
		fs.Flip(name, bit)
	}
}

// TestEveryCutIsFound cuts the end of a small trail off at each byte.
func TestEveryCutIsFound(t *testing.T) {
	fs := vfs.NewMemory()
	b := newBook(t, func(c *Config) { c.FS, c.Dir = fs, "trail" })
	b.write(3)
	b.finish()
	name := filepath.Join("trail", segmentName(1))
	content, err := vfs.ReadWhole(fs, name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for size := len(content) - 1; size >= 0; size-- {
		fs.Cut(name, int64(size))
		if report := b.verify(Check{}); len(report.Faults) == 0 {
			t.Errorf("cut to %d of %d bytes: not found", size, len(content))
		}
	}
}

func TestAnchors(t *testing.T) {
	dir, heads := written(t, 1, "box")
	if len(heads) < 3 {
		t.Fatalf("%d heads", len(heads))
	}
	last := heads[len(heads)-1]
	report, err := Verify(dir, Check{Anchors: append([]Head{{Sandbox: "another"}}, heads...)})
	if err != nil || report.Anchored != len(heads) || *report.Anchor != last {
		t.Fatalf("%+v, %v", report, err)
	}
	moved := last
	moved.Seq--
	for name, test := range map[string]struct {
		anchor Head
		want   string
	}{
		"an anchor with another record": {moved, "names record"},
		"an anchor of another history": {Head{Sandbox: "box", Seq: 5, Seal: strings.Repeat("ab", 32)},
			"is not in the trail"},
	} {
		report, err := Verify(dir, Check{Anchors: []Head{test.anchor}})
		if !errs.Is(err, errs.Corrupt) || !strings.Contains(report.Faults[0].Text, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Rolled back to an earlier seal, it looks like a trail that is still written: an anchor knows.
	all := pieces(t, dir)
	assemble(t, dir, all[:nth(all, kindSeal, 1)+1])
	if _, err := Verify(dir, Check{Running: true}); err != nil {
		t.Fatalf("without anchors: %v", err)
	}
	if _, err := Verify(dir, Check{Running: true, Anchors: heads}); !errs.Is(err, errs.Corrupt) {
		t.Fatalf("with anchors: %v", err)
	}
}

func TestDecodeAnchors(t *testing.T) {
	digest := strings.Repeat("0a", 32)
	one := fmt.Sprintf(`{"sandbox":"box","seq":7,"head":"%s","seal":"%s","image":"x"}`, digest, digest)
	for text, count := range map[string]int{
		"": 0, "[]": 0, one: 1, one + "\n" + one + "\n": 2, "[" + one + "," + one + "]": 2,
	} {
		if heads, err := DecodeAnchors([]byte(text)); err != nil || len(heads) != count {
			t.Errorf("%s: %d, %v", text, len(heads), err)
		}
	}
	for _, text := range []string{"x", "{}", one + "x", "[" + one, strings.Replace(one, "0a", "", 1),
		strings.Replace(one, "box", "", 1), `[1]`} {
		if _, err := DecodeAnchors([]byte(text)); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// FuzzSegment gives the verifier, the reader and recovery a segment of any bytes.
func FuzzSegment(f *testing.F) {
	fs := vfs.NewMemory()
	b := newBook(f, func(c *Config) { c.FS, c.Dir = fs, "trail" })
	b.write(3)
	b.finish()
	sound, err := vfs.ReadWhole(fs, filepath.Join("trail", segmentName(1)), 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sound, uint16(0), byte(0))
	f.Add(sound, uint16(100), byte(1))
	f.Add(sound[:len(sound)-1], uint16(9), byte(0))
	f.Fuzz(func(t *testing.T, data []byte, at uint16, with byte) {
		if len(data) > 0 {
			data[int(at)%len(data)] ^= with
		}
		fs := vfs.NewMemory()
		conf := b.conf
		conf.FS = fs
		if err := fs.MakeDir(conf.Dir); err != nil {
			t.Fatal(err)
		}
		if err := vfs.WriteWhole(fs, filepath.Join(conf.Dir, segmentName(1)), data); err != nil {
			t.Fatal(err)
		}
		before := verifyIn(t, conf, Check{})
		if string(data) != string(sound) && len(before.Faults) == 0 {
			t.Fatal("a changed trail was taken for the one written")
		}
		if err := Recover(conf, "no ring", "fuzz", 1); err != nil && !errs.Is(err, errs.Corrupt) {
			t.Fatal(err)
		}
		verifyIn(t, conf, Check{Running: true})
	})
}
