package evidence

import (
	"math/bits"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"surety/base/errs"
)

// Root returns the root of the tree over the leaf hashes, in order (RFC 6962 section 2.1). No
// leaves give the hash of nothing; one leaf is its own root.
func Root(leaves []Hash) Hash {
	if len(leaves) == 0 {
		return Digest(nil)
	}
	// pending[i] is the root of a full subtree of 2^i leaves that waits for its right sibling,
	// where bit i of the number of leaves so far is set.
	var pending [64]Hash
	for n, leaf := range leaves {
		level := bits.TrailingZeros64(^uint64(n))
		for i := range level {
			leaf = nodeHash(pending[i], leaf)
		}
		pending[level] = leaf
	}
	size := uint64(len(leaves))
	lowest := bits.TrailingZeros64(size)
	root := pending[lowest]
	for i := lowest + 1; i < bits.Len64(size); i++ {
		if size>>i&1 == 1 {
			root = nodeHash(pending[i], root)
		}
	}
	return root
}

// InclusionPath returns the hashes that lead from the leaf at index to the root of the tree over
// the leaves, the lowest first; none for a tree of one. Kind Invalid where there is no such leaf.
func InclusionPath(leaves []Hash, index int) ([]Hash, error) {
	if index < 0 || index >= len(leaves) {
		return nil, errs.New(errs.Invalid, "evidence.path: leaf %d of a tree of %d", index, len(leaves))
	}
	var path []Hash
	for len(leaves) > 1 {
		// The left subtree is full: the largest power of two below the number of leaves.
		left := 1 << (bits.Len64(uint64(len(leaves)-1)) - 1)
		if index < left {
			path = append(path, Root(leaves[left:]))
			leaves = leaves[:left]
		} else {
			path = append(path, Root(leaves[:left]))
			leaves, index = leaves[left:], index-left
		}
	}
	for i, j := 0, len(path)-1; i < j; i, j = i+1, j-1 {
		path[i], path[j] = path[j], path[i]
	}
	return path, nil
}

// VerifyInclusion checks that the leaf hash stands at index in the tree of size leaves with the
// root. The error, kind Corrupt, says what does not fit.
func VerifyInclusion(leaf Hash, index, size uint64, path []Hash, root Hash) error {
	if len(path) > MaxProof {
		return errs.New(errs.Corrupt, "inclusion proof has %d hashes, the limit is %d",
			len(path), MaxProof)
	}
	err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf[:], slicesOf(path),
		root[:])
	return errs.As(errs.Corrupt, err, "inclusion proof of leaf %d in a tree of %d", index, size)
}

// VerifyConsistency checks that the tree of size leaves with the root begins with the earlier one.
// The error, kind Corrupt, says what does not fit.
func VerifyConsistency(earlier uint64, earlierRoot Hash, size uint64, root Hash,
	path []Hash) error {
	if len(path) > MaxProof {
		return errs.New(errs.Corrupt, "consistency proof has %d hashes, the limit is %d",
			len(path), MaxProof)
	}
	if earlier == 0 { // every tree begins with the empty one, and there is nothing to prove
		if len(path) > 0 || earlierRoot != Digest(nil) {
			return errs.New(errs.Corrupt, "consistency proof from an empty tree: hashes do not belong")
		}
		return nil
	}
	err := proof.VerifyConsistency(rfc6962.DefaultHasher, earlier, size, slicesOf(path),
		earlierRoot[:], root[:])
	return errs.As(errs.Corrupt, err, "consistency proof from a tree of %d to one of %d", earlier,
		size)
}

func slicesOf(hashes []Hash) [][]byte {
	slices := make([][]byte, len(hashes))
	for i := range hashes {
		slices[i] = hashes[i][:]
	}
	return slices
}
