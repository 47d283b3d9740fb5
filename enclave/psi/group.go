package psi

import (
	"bytes"
	"crypto/rand"
	"slices"
	"sync"

	"github.com/cloudflare/circl/group"

	"surety/base/errs"
)

// pointBytes is the size of an encoded point.
const pointBytes = 32

// The domains keep hashes for one use from being taken for another.
const (
	hashDomain     = "SURETY-PSI-V1-ristretto255_XMD:SHA-512_R255MAP_RO_"
	greetingDomain = "surety psi greeting 1\n"
	sessionDomain  = "surety psi session 1\n"
	tokenDomain    = "surety psi token 1\n"
	agreeDomain    = "surety psi agreement 1\n"
)

// secret is a party's number. It has no text form.
type secret struct{ k group.Scalar }

func newSecret() secret {
	return secret{k: group.Ristretto255.RandomNonZeroScalar(rand.Reader)}
}

// String hides it.
func (secret) String() string { return "redacted" }

// blind returns the ids' points multiplied by the secret, in the order given.
func (s secret) blind(context []byte, ids []string, order []int32, workers int) []byte {
	points := make([]byte, len(order)*pointBytes)
	// No part of it can fail: any text hashes to a point.
	_ = spread(len(order), workers, func(i int) error {
		point := hash(context, ids[order[i]])
		return write(points[i*pointBytes:], point.Mul(point, s.k))
	})
	return points
}

// multiply writes the points of from, multiplied by the secret, to to. It is errs.Corrupt for bytes
// that are no point's one encoding.
func (s secret) multiply(from, to []byte, workers int) error {
	return spread(len(from)/pointBytes, workers, func(i int) error {
		encoded := from[i*pointBytes : (i+1)*pointBytes]
		point, err := read(encoded)
		if err != nil {
			return errs.Wrap(err, "psi.intersect: point %d of the other party", i)
		}
		return write(to[i*pointBytes:], point.Mul(point, s.k))
	})
}

// hash returns the point of an id under a context: RFC 9380 appendix B over the context with its
// length before it, and the id.
func hash(context []byte, id string) group.Element {
	message := make([]byte, 0, 2+len(context)+len(id))
	message = append(message, byte(len(context)>>8), byte(len(context)))
	message = append(message, context...)
	message = append(message, id...)
	return group.Ristretto255.HashToElement(message, []byte(hashDomain))
}

// read decodes a point and refuses what is none, is not its one encoding, or is the identity.
func read(encoded []byte) (group.Element, error) {
	point := group.Ristretto255.NewElement()
	if err := point.UnmarshalBinary(encoded); err != nil {
		return nil, errs.New(errs.Corrupt, "not a point of ristretto255")
	}
	again, err := point.MarshalBinary()
	if err != nil || !bytes.Equal(again, encoded) {
		return nil, errs.New(errs.Corrupt, "not the one encoding of a point")
	}
	if point.IsIdentity() {
		return nil, errs.New(errs.Corrupt, "the identity, which hides nothing")
	}
	return point, nil
}

func write(to []byte, point group.Element) error {
	encoded, err := point.MarshalBinary()
	copy(to[:pointBytes], encoded)
	return errs.As(errs.Internal, err, "psi.intersect: point")
}

// checkDistinct refuses points that occur twice, or are ours sent back: whoever sends them could
// count or mark what is none of his.
func checkDistinct(ours, theirs []byte) error {
	seen := make(map[[pointBytes]byte]bool, (len(ours)+len(theirs))/pointBytes)
	for at := range slices.Chunk(ours, pointBytes) {
		seen[[pointBytes]byte(at)] = true
	}
	number := 0
	for at := range slices.Chunk(theirs, pointBytes) {
		if seen[[pointBytes]byte(at)] {
			return errs.New(errs.Corrupt, "psi.intersect: point %d of the other party occurs twice, or "+
				"is one of ours", number)
		}
		seen[[pointBytes]byte(at)] = true
		number++
	}
	return nil
}

// spread calls work for each number below count on some goroutines, and returns the error of the
// lowest number that a goroutine stopped at.
func spread(count, workers int, work func(i int) error) error {
	workers = max(1, min(workers, count))
	failed := make([]error, workers)
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := w; i < count && failed[w] == nil; i += workers {
				failed[w] = work(i)
			}
		})
	}
	wait.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}
