package state

import (
	"cmp"
	"slices"

	"surety/base/errs"
	"surety/sys/inode"
)

// batchBytes is how much is sealed before it is given to the disk.
const batchBytes = 1 << 20

// batch is chunks that were sealed for the current segment and are not in it yet.
type batch struct {
	frames []byte
	chunks []sealedChunk
}

type sealedChunk struct {
	n     *node
	index uint64
	ref   ref
}

// segmentLimit is the size that the current segment ends at.
func (v *Volume) segmentLimit() int64 {
	least := cmp.Or(v.config.segmentBytes, int64(minSegmentBytes))
	return min(max(v.disk.live()/8, treeShare*v.treeLen, least), maxSegmentBytes)
}

// live is what the tree refers to, in bytes of the log.
func (d *disk) live() int64 {
	total := int64(0)
	for _, s := range d.segments {
		total += s.live
	}
	return total
}

// room makes sure that there is a segment to append to. mu is held.
func (v *Volume) room() error {
	if v.current != nil && v.current.size < v.segmentLimit() {
		return nil
	}
	if err := v.leave(); err != nil {
		return err
	}
	var id [32]byte
	v.config.Entropy.Fill(id[:])
	s, err := v.disk.create(v.volume, id)
	if err != nil {
		return errs.Wrap(err, "state.write")
	}
	v.current, v.synced, v.full = s, false, true
	return nil
}

// leave ends the current segment: it is never appended to again. What it holds is on disk then.
func (v *Volume) leave() error {
	s := v.current
	if s == nil {
		return nil
	}
	v.current, v.full = nil, true
	if err := s.file.Sync(); err != nil {
		return v.breakDown(errs.Wrap(err, "state.sync: segment %d", s.number))
	}
	return nil
}

// put appends bytes to the current segment. A segment that took some of them is left: no offset is
// written twice.
func (v *Volume) put(frames []byte) error {
	s := v.current
	n, err := s.file.WriteAt(frames, s.size)
	if err == nil {
		s.size += int64(n)
		v.disk.reach += int64(n)
		v.written += int64(n)
		return nil
	}
	if left := v.leave(); left != nil {
		return left
	}
	return errs.Wrap(err, "state.write: segment %d", s.number)
}

// appendChunk seals a chunk into the batch, and writes the batch where it is full.
func (v *Volume) appendChunk(b *batch, n *node, index uint64, plain []byte) error {
	if len(b.frames) == 0 {
		if err := v.room(); err != nil {
			return err
		}
	}
	s := v.current
	at := ref{segment: s.number, offset: s.size + int64(len(b.frames)), length: uint32(len(plain))}
	b.frames = sealFrame(b.frames, s.aead, frameChunk, at.offset, plain)
	at.tag = [tagBytes]byte(b.frames[len(b.frames)-tagBytes:])
	b.chunks = append(b.chunks, sealedChunk{n, index, at})
	if len(b.frames) < batchBytes {
		return nil
	}
	return v.finishBatch(b)
}

// finishBatch writes the batch; from then on the tree refers to its chunks.
func (v *Volume) finishBatch(b *batch) error {
	if len(b.frames) == 0 {
		return nil
	}
	err := v.put(b.frames)
	if err == nil {
		for _, c := range b.chunks {
			v.refer(c.n, c.index, c.ref)
		}
	}
	b.frames, b.chunks = b.frames[:0], b.chunks[:0]
	return err
}

// refer makes a chunk be what stands at r, which has the chunk's present content.
func (v *Volume) refer(n *node, index uint64, r ref) {
	v.unrefer(n, index)
	n.chunks[index] = r
	n.moved[index] = struct{}{}
	v.news.nodes[n.number] = struct{}{}
	v.disk.segments[r.segment].live += frameBytes(int(r.length))
	if content, there := n.dirty[index]; there {
		v.dirty -= int64(cap(content))
		delete(n.dirty, index)
	}
}

// unrefer takes a chunk's place in the log from it.
func (v *Volume) unrefer(n *node, index uint64) {
	old, there := n.chunks[index]
	if !there {
		return
	}
	if s := v.disk.segments[old.segment]; s != nil { // nil: closed
		s.live -= frameBytes(int(old.length))
	}
	delete(n.chunks, index)
}

// spill appends all content that is only in memory. mu is held.
func (v *Volume) spill() error {
	if v.dirty == 0 {
		return nil
	}
	var b batch
	for _, number := range sortedKeys(v.news.nodes) {
		n := v.tree.nodes[number]
		if n == nil || len(n.dirty) == 0 {
			continue
		}
		for _, index := range sortedKeys(n.dirty) {
			if err := v.appendChunk(&b, n, index, n.dirty[index]); err != nil {
				return err
			}
		}
	}
	return v.finishBatch(&b)
}

// appendBody appends a commit's body.
func (v *Volume) appendBody(content []byte) error {
	s := v.current
	var frames []byte
	for {
		kind, part := frameEnd, content
		if len(content) > partBytes {
			kind, part = framePart, content[:partBytes]
		}
		content = content[len(part):]
		frames = sealFrame(frames, s.aead, kind, s.size+int64(len(frames)), part)
		if kind == frameEnd {
			return v.put(frames)
		}
	}
}

// compact moves what lives in segments that are mostly dead, so that they die: as much as keeps
// pace with what is written. mu is held.
func (v *Volume) compact() error {
	live := v.disk.live()
	if v.disk.reach <= 2*live+2*v.segmentLimit() {
		return nil
	}
	var b batch
	for _, p := range v.moves(max(moveBytes, 2*v.written)) {
		if err := v.move(&b, p); err != nil {
			_ = v.leave() // frames may be sealed for offsets that others would be sealed for
			return err
		}
	}
	return v.finishBatch(&b)
}

// move appends a chunk again. One that cannot be read stays where it is, unreadable.
func (v *Volume) move(b *batch, p sealedChunk) error {
	if p.n.chunks[p.index] != p.ref {
		return nil
	}
	if _, newer := p.n.dirty[p.index]; newer {
		return nil // it is about to be written anyway
	}
	plain, err := v.disk.fetch(p.ref)
	if errs.Is(err, errs.Corrupt) {
		return nil
	}
	if err != nil {
		return err
	}
	return v.appendChunk(b, p.n, p.index, plain)
}

// worst is the segments that are more dead than alive, the deadest first.
func (v *Volume) worst() []*segment {
	var found []*segment
	for _, number := range sortedKeys(v.disk.segments) {
		if s := v.disk.segments[number]; s != v.current && s.live > 0 && s.live*4 < s.size*3 {
			found = append(found, s)
		}
	}
	slices.SortStableFunc(found, func(a, b *segment) int {
		return cmp.Compare(a.live*(b.size>>10+1), b.live*(a.size>>10+1))
	})
	return found
}

// moves lists chunks of the worst segments, in the order they stand, of about so many bytes.
func (v *Volume) moves(quota int64) []sealedChunk {
	chosen, left := map[uint64]bool{}, quota
	for _, s := range v.worst() {
		if left <= 0 {
			break
		}
		chosen[s.number] = true
		left -= s.live
	}
	var found []sealedChunk
	for _, n := range v.tree.nodes {
		for index, r := range n.chunks {
			if chosen[r.segment] {
				found = append(found, sealedChunk{n, index, r})
			}
		}
	}
	slices.SortFunc(found, func(a, b sealedChunk) int {
		return cmp.Or(cmp.Compare(a.ref.segment, b.ref.segment), cmp.Compare(a.ref.offset, b.ref.offset))
	})
	for i, c := range found {
		if quota -= frameBytes(int(c.ref.length)); quota <= 0 {
			return found[:i+1]
		}
	}
	return found
}

var _ inode.FS = (*Volume)(nil)
