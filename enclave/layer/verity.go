package layer

import (
	"context"
	"crypto/sha256"
	"io"

	"surety/base/errs"
)

// Sizes of a dm-verity tree.
const (
	verityBlock    = 4096
	verityChildren = verityBlock / sha256.Size // digests in a block of a level
)

// Tree computes the root of a dm-verity tree over what is written to it: SHA-256, data and hash
// blocks of 4096, the salt before each block, as `veritysetup format` computes it.
type Tree struct {
	salt   [32]byte
	lanes  *lanes
	levels []*level
	taken  int64
}

// level is a level of the tree, the lowest first, as far as it has come.
type level struct {
	block []byte // digests not yet hashed, fewer than verityChildren
	last  [32]byte
	full  int // digests it has had
}

// NewTree begins a tree. Root has to be called, also after an error.
func NewTree(salt [32]byte) *Tree {
	t := &Tree{salt: salt}
	t.lanes = newLanes(t.hash, t.emit)
	return t
}

// Write takes more of the image. It never fails.
func (t *Tree) Write(p []byte) (int, error) {
	t.taken += int64(len(p))
	return len(p), t.lanes.write(p)
}

// hash makes the digests of a piece's blocks.
func (t *Tree) hash(p *piece) {
	p.extra = p.extra[:0]
	sum := sha256.New()
	for at := 0; at < len(p.data); at += verityBlock {
		sum.Reset()
		sum.Write(t.salt[:])
		sum.Write(p.data[at:min(at+verityBlock, len(p.data))])
		p.extra = sum.Sum(p.extra)
	}
}

func (t *Tree) emit(p *piece) error {
	for at := 0; at < len(p.extra); at += sha256.Size {
		t.add(0, [32]byte(p.extra[at:]))
	}
	return nil
}

// add puts a digest into a level; a full block of it is a digest of the one above.
func (t *Tree) add(at int, digest [32]byte) {
	if at == len(t.levels) {
		t.levels = append(t.levels, &level{block: make([]byte, 0, verityBlock)})
	}
	l := t.levels[at]
	l.block, l.last, l.full = append(l.block, digest[:]...), digest, l.full+1
	if len(l.block) == verityBlock {
		t.add(at+1, t.digest(l.block))
		l.block = l.block[:0]
	}
}

// digest is that of a block of digests, the rest of it zeros.
func (t *Tree) digest(block []byte) [32]byte {
	return sha256.Sum256(append(t.salt[:], append(block, make([]byte, verityBlock-len(block))...)...))
}

// Root returns the tree's root. Kind Invalid where nothing was written, or no whole number of blocks.
func (t *Tree) Root() ([32]byte, error) {
	if err := t.lanes.close(); err != nil {
		return [32]byte{}, err
	}
	if t.taken == 0 || t.taken%verityBlock != 0 {
		return [32]byte{}, errs.New(errs.Invalid, "layer.verity: %d bytes, want a multiple of %d", t.taken,
			verityBlock)
	}
	for at := 0; ; at++ {
		l := t.levels[at]
		if l.full == 1 {
			return l.last, nil // a level of one digest is the root
		}
		if len(l.block) > 0 {
			t.add(at+1, t.digest(l.block))
			l.block = l.block[:0]
		}
	}
}

// Verity returns the root of the dm-verity tree over size bytes (a multiple of 4096) of an image.
func Verity(ctx context.Context, image io.ReaderAt, size int64, salt [32]byte) ([32]byte, error) {
	t := NewTree(salt)
	err := feed(ctx, t, image, size)
	root, closed := t.Root()
	if err != nil {
		return [32]byte{}, errs.Wrap(err, "layer.verity")
	}
	return root, closed
}
