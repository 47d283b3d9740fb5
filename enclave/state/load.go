package state

import (
	"surety/base/errs"
	"surety/enclave"
	"surety/sys/inode"
)

// found is a state as a segment's commits leave it.
type found struct {
	loader
	segment  *segment
	epoch    uint64
	root     enclave.Digest
	previous enclave.Digest // root before the last commit
	volume   [16]byte
	damaged  bool // bytes follow that are no commit
}

// load returns the state as it is on disk, nil where nothing was ever committed, and refuses one
// that the anchor does not vouch for.
//
// The newest segment with a whole commit says all: its first commit is full, and each one that
// follows adds to it. Segments above it hold no commit: a crash came before it.
func (d *disk) load(numbers []uint64, a Anchor) (*found, error) {
	anchored := ^uint64(0)
	if a != nil {
		anchored, _ = a.Last()
	}
	damaged := false
	for i := len(numbers) - 1; i >= 0; i-- {
		s, err := d.open(numbers[i])
		if errs.Is(err, errs.Corrupt) { // a crash while it was made, or worse: the anchor knows
			damaged = true
			continue
		}
		if err != nil {
			return nil, errs.Wrap(err, "state.open")
		}
		f, err := d.replay(s, anchored)
		if err != nil {
			return nil, errs.Wrap(err, "state.open: segment %d", s.number)
		}
		f.damaged = f.damaged || damaged
		if f.epoch > 0 {
			if err := f.vouched(a); err != nil {
				return nil, err
			}
			return f, d.settle(f)
		}
		damaged = f.damaged
	}
	if a == nil && len(numbers) > 0 && (len(numbers) > 1 || d.reach > firstBytes) {
		return nil, errs.New(errs.Corrupt, "state.open: no commit in %d segments can be opened: they "+
			"are damaged, or the key is another's", len(numbers))
	}
	return nil, (&found{damaged: damaged}).vouched(a)
}

// firstBytes is more than the first commit takes, of an empty tree: where that was cut short,
// nothing was ever in the state.
const firstBytes = 4096

// vouched compares the state with what the anchor remembers.
func (f *found) vouched(a Anchor) error {
	if a == nil {
		return nil
	}
	epoch, root := a.Last()
	switch {
	case f.epoch == epoch && f.root == root:
		return nil
	case f.epoch == epoch+1 && f.previous == root:
		return nil // written and synced, and not yet anchored when it ended
	case f.epoch < epoch && f.damaged:
		return errs.New(errs.Corrupt, "state.open: it is damaged behind epoch %d; the broker knows %d",
			f.epoch, epoch)
	case f.epoch < epoch:
		return errs.New(errs.Refused, "state.open: rolled back: the state is at epoch %d, the broker "+
			"knows %d", f.epoch, epoch)
	case f.epoch > epoch+1:
		return errs.New(errs.Refused, "state.open: the state is at epoch %d, the broker knows only %d: "+
			"it is of another broker or instance, or the broker was rolled back", f.epoch, epoch)
	}
	return errs.New(errs.Refused, "state.open: forked: the state at epoch %d is not the one that the "+
		"broker knows", f.epoch)
}

// replay reads the commits of a segment; its epoch is zero where it has no whole one. anchored is the
// last epoch that is known to have been synced: a commit behind it counts only with all of its
// chunks.
func (d *disk) replay(s *segment, anchored uint64) (*found, error) {
	c := scanner{s: s, offset: int64(headerBytes)}
	f := &found{segment: s, volume: s.volume,
		loader: loader{tree: newTree(), segments: map[uint64]header{}}}
	for {
		content, err := c.body()
		if err != nil {
			return nil, err
		}
		if content == nil {
			break
		}
		head, err := f.follows(content)
		if err != nil {
			return nil, err
		}
		if head.epoch > anchored || anchored == ^uint64(0) {
			whole, err := d.whole(s, content, head)
			if err != nil {
				return nil, err
			}
			if !whole {
				return f.cut(&c, head.epoch)
			}
		}
		if err := f.apply(content, head); err != nil {
			return nil, err
		}
	}
	f.damaged = c.damaged
	return f, nil
}

// cut ends the reading before a commit that was not synced. A commit is written after the one
// before it was synced: where another follows, what is missing was lost later.
func (f *found) cut(c *scanner, epoch uint64) (*found, error) {
	content, err := c.body()
	if err == nil && content != nil {
		err = errs.New(errs.Corrupt, "chunks of epoch %d are not what was written", epoch)
	}
	f.damaged = true
	return f, err
}

// settle makes a tree of what was read.
func (d *disk) settle(f *found) error {
	if err := f.finish(); err != nil {
		return errs.Wrap(err, "state.open: segment %d", f.segment.number)
	}
	return errs.Wrap(d.reopen(f), "state.open")
}

// follows checks that a commit comes next.
func (f *found) follows(content []byte) (body, error) {
	head, err := decodeHead(content)
	first := f.epoch == 0
	switch {
	case err != nil:
		return head, err
	case head.volume != f.volume:
		return head, errs.New(errs.Corrupt, "its commits are of another volume")
	case first != (head.kind == kindFull):
		return head, errs.New(errs.Corrupt, "the commit of epoch %d is of kind %d", head.epoch, head.kind)
	case !first && (head.epoch != f.epoch+1 || head.previous != f.root):
		return head, errs.New(errs.Corrupt, "epoch %d does not follow %d", head.epoch, f.epoch)
	}
	return head, nil
}

// apply takes over what a commit says.
func (f *found) apply(content []byte, head body) error {
	f.next = max(f.next, head.next)
	f.chunks = nil
	if err := walkBody(content, f.volume, &f.loader); err != nil {
		return err
	}
	f.epoch, f.previous, f.root = head.epoch, head.previous, rootOf(content)
	return nil
}

// whole reports whether the chunks that a commit names in its own segment are there. After a power
// cut a commit may be on the disk and what was written before it not, where nobody was told that
// it was.
func (d *disk) whole(s *segment, content []byte, head body) (bool, error) {
	check := &wholeness{disk: d, in: s.number, whole: true}
	err := walkBody(content, head.volume, check)
	return check.whole, err
}

// reopen opens the segments that a state's chunks stand in, and counts what lives in each.
func (d *disk) reopen(f *found) error {
	for _, n := range f.nodes {
		for _, r := range n.chunks {
			s, err := d.open(r.segment)
			if errs.Is(err, errs.NotFound) {
				err = errs.New(errs.Corrupt, "segment %d is missing", r.segment)
			}
			if err != nil {
				return err
			}
			if s.header != f.segments[r.segment] {
				return errs.New(errs.Corrupt, "segment %d is another's", r.segment)
			}
			if r.offset > s.size-frameBytes(int(r.length)) {
				return errs.New(errs.Corrupt, "segment %d is cut off at byte %d", r.segment, s.size)
			}
			s.live += frameBytes(int(r.length))
		}
	}
	return nil
}

// forget closes every segment that nothing refers to, and removes its file.
func (d *disk) forget(f *found, numbers []uint64) {
	for _, number := range numbers {
		if s := d.segments[number]; s == nil || s.live == 0 && (f == nil || s != f.segment) {
			d.remove(number)
		}
	}
}

// wholeness looks for the chunks of a commit.
type wholeness struct {
	*disk
	in    uint64
	whole bool
}

func (w *wholeness) segment(header) error     { return nil }
func (w *wholeness) node(*node, uint64) error { return nil }
func (w *wholeness) chunk(_ inode.Number, _ uint64, r ref) error {
	if r.segment != w.in || !w.whole || r.length > chunkBytes || r.offset < 0 {
		return nil
	}
	_, err := w.fetch(r)
	if errs.Is(err, errs.Corrupt) {
		w.whole, err = false, nil
	}
	return err
}
func (w *wholeness) entry(_, _ inode.Number, _ string) error { return nil }
func (w *wholeness) unentry(inode.Number, string) error      { return nil }
func (w *wholeness) gone(inode.Number) error                 { return nil }
