package shares

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"github.com/cloudflare/circl/group"

	"surety/base/errs"
	"surety/sys/entropy"
)

// bases is how many base transfers an extension stands on: its security in bits.
const bases = 128

const pointBytes = 32

// The domains keep hashes for one use from being taken for another.
const (
	scalarDomain = "surety shares scalar 1"
	baseDomain   = "surety shares base transfer 1\n"
	hashDomain   = "surety shares product 1\n"
)

// seed is a key of a base transfer.
type seed [16]byte

// open makes the base transfers of both directions and from them the extensions. In each, the one
// who will offer is the one who chooses: the roles of base and extension are crossed.
func (p *party) open(source entropy.Source) error {
	var choices block
	var raw [16]byte
	source.Fill(raw[:])
	choices.lo, choices.hi = binary.LittleEndian.Uint64(raw[:]), binary.LittleEndian.Uint64(raw[8:])
	secret := newScalar(source)
	ours := encode(group.Ristretto255.NewElement().MulGen(secret))
	theirs, err := p.swap(kindBase, ours)
	if err != nil {
		return err
	}
	offered, err := decode(theirs)
	if err != nil {
		return errs.Wrap(err, "the base transfers' first point")
	}
	chosen, seeds := p.chooseBase(source, choices, offered, theirs)
	answer, err := p.swap(kindChoices, chosen)
	if err != nil {
		return err
	}
	pairs, err := p.offerBase(secret, ours, answer)
	if err != nil {
		return err
	}
	p.offerer, p.chooser = newOfferer(choices, seeds), newChooser(pairs)
	p.report("transfer", bases, bases)
	return nil
}

// swap sends a payload and receives one of the same kind and length.
func (p *party) swap(k kind, payload []byte) ([]byte, error) {
	m := p.wire.message(k, len(payload))
	copy(m[headerBytes:], payload)
	p.wire.send(m)
	got := make([]byte, len(payload))
	return got, p.wire.receive(k, got)
}

// chooseBase answers the other's point A with one point for each choice, b·G or A + b·G, and
// returns the seed of each that the choice opens: a hash of b·A.
func (p *party) chooseBase(source entropy.Source, choices block, offered group.Element,
	encoded []byte) (points []byte, seeds [bases]seed) {
	zero := group.Ristretto255.Identity()
	for i := range bases {
		b := newScalar(source)
		point := group.Ristretto255.NewElement().MulGen(b)
		mask := group.Ristretto255.NewElement().CSelect(choices.bit(i), offered, zero)
		chosen := encode(point.Add(point, mask))
		points = append(points, chosen...)
		shared := group.Ristretto255.NewElement().Mul(offered, b)
		seeds[i] = p.seed(p.role, i, encoded, chosen, shared)
	}
	return points, seeds
}

// offerBase returns both seeds of each base transfer that the other has chosen in: hashes of a·B
// and of a·(B - A). The other knows one of them.
func (p *party) offerBase(secret group.Scalar, ours, points []byte) (pairs [bases][2]seed,
	err error) {
	first := group.Ristretto255.NewElement().MulGen(secret)
	back := group.Ristretto255.NewElement().Mul(first, secret)
	back.Neg(back)
	for i := range bases {
		encoded := points[i*pointBytes : (i+1)*pointBytes]
		point, err := decode(encoded)
		if err != nil {
			return pairs, errs.Wrap(err, "point %d of the base transfers", i)
		}
		point.Mul(point, secret)
		pairs[i][0] = p.seed(p.role.Other(), i, ours, encoded, point)
		pairs[i][1] = p.seed(p.role.Other(), i, ours, encoded, point.Add(point, back))
	}
	return pairs, nil
}

// seed hashes a shared point, with everything that it belongs to.
func (p *party) seed(chooser Role, i int, offered, chosen []byte, shared group.Element) seed {
	h := sha256.New()
	h.Write([]byte(baseDomain))
	h.Write(p.session[:])
	h.Write([]byte{byte(chooser), byte(i)})
	h.Write(offered)
	h.Write(chosen)
	h.Write(encode(shared))
	return seed(h.Sum(nil)[:16])
}

// newScalar draws a scalar. It hashes 64 random bytes, so that a seeded source gives the same again.
func newScalar(source entropy.Source) group.Scalar {
	var raw [64]byte
	source.Fill(raw[:])
	return group.Ristretto255.HashToScalar(raw[:], []byte(scalarDomain))
}

// encode returns a point's one encoding.
func encode(point group.Element) []byte {
	// No point lacks an encoding.
	encoded, _ := point.MarshalBinary()
	return encoded
}

// decode reads a point: errs.Corrupt for what is none, is the identity, or is not in the one
// encoding it has.
func decode(encoded []byte) (group.Element, error) {
	point := group.Ristretto255.NewElement()
	if err := point.UnmarshalBinary(encoded); err != nil {
		return nil, errs.As(errs.Corrupt, err, "no point")
	}
	if point.IsIdentity() {
		return nil, errs.New(errs.Corrupt, "the identity")
	}
	if !bytes.Equal(encode(point), encoded) {
		return nil, errs.New(errs.Corrupt, "a point in another than its one encoding")
	}
	return point, nil
}
