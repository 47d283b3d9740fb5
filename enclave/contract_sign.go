package enclave

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"strings"

	"surety/base/clock"
	"surety/base/errs"
)

// contractDomain keeps a party's signature from meaning anything else.
const contractDomain = "surety joint contract v1\n"

// signedContract is a contract with the signatures of its parties, ascending by party. Its encoding
// is the contract's file; a proposal is one that somebody has yet to sign.
type signedContract struct {
	Contract   []byte      `cbor:"contract"`
	Signatures []partySign `cbor:"signatures"`
}

// partySign is one party's Ed25519 signature over contractDomain and the contract's encoding.
type partySign struct {
	Party     string `cbor:"party"`
	Signature []byte `cbor:"signature"`
}

// Propose returns the file of a contract that nobody has signed; kinds as of Check.
func (c *Contract) Propose() ([]byte, error) {
	data, err := c.Encode()
	if err != nil {
		return nil, err
	}
	return encode(signedContract{Contract: data})
}

// SignContract adds a party's signature to a contract's file and returns the new file. It is kind
// Forbidden where the key is not that of a party, Corrupt where the file is none or a signature in
// it does not hold. To sign again changes nothing.
func SignContract(file []byte, key ed25519.PrivateKey) ([]byte, error) {
	s, c, err := readContract(file)
	if err != nil {
		return nil, err
	}
	if len(key) != ed25519.PrivateKeySize {
		return nil, errs.New(errs.Invalid, "enclave.contract: a key of %d bytes, want %d", len(key),
			ed25519.PrivateKeySize)
	}
	public := key.Public().(ed25519.PublicKey)
	i := slices.IndexFunc(c.Parties, func(p Party) bool { return bytes.Equal(p.Key, public) })
	if i < 0 {
		return nil, errs.New(errs.Forbidden, "enclave.contract: key %s is that of no party of %q",
			KeyIDOf(public), c.Name)
	}
	name := c.Parties[i].Name
	s.Signatures = slices.DeleteFunc(s.Signatures, func(p partySign) bool { return p.Party == name })
	s.Signatures = append(s.Signatures, partySign{name, ed25519.Sign(key, contractMessage(s.Contract))})
	slices.SortFunc(s.Signatures, func(a, b partySign) int { return strings.Compare(a.Party, b.Party) })
	return encode(s)
}

// SignedContract is a contract that all of its parties have signed.
type SignedContract struct {
	Contract *Contract
	Bytes    []byte // its encoding
	Digest   Digest // of Bytes
}

// ReadContract reads a contract's file, whoever has signed it, and names who has not. Kind Corrupt
// where it is none, or a signature in it does not hold.
func ReadContract(file []byte) (s SignedContract, missing []string, err error) {
	raw, c, err := readContract(file)
	if err != nil {
		return s, nil, err
	}
	for _, p := range c.Parties {
		signed := func(s partySign) bool { return s.Party == p.Name }
		if !slices.ContainsFunc(raw.Signatures, signed) {
			missing = append(missing, p.Name)
		}
	}
	return SignedContract{Contract: c, Bytes: raw.Contract, Digest: DigestOf(raw.Contract)}, missing, nil
}

// OpenContract reads a contract's file that every party has signed, and that is in force at now.
// Kind Corrupt as ReadContract; Unauthorized where a signature is missing; Refused where it has
// expired.
func OpenContract(file []byte, now clock.Instant) (SignedContract, error) {
	s, missing, err := ReadContract(file)
	if err != nil {
		return SignedContract{}, err
	}
	if len(missing) > 0 {
		return SignedContract{}, errs.New(errs.Unauthorized,
			"enclave.contract: %q is not signed by %s", s.Contract.Name, strings.Join(missing, " and "))
	}
	if now >= s.Contract.Expires {
		return SignedContract{}, errs.New(errs.Refused,
			"enclave.contract: %q expired at %s, and it is %s", s.Contract.Name,
			moment(s.Contract.Expires), moment(now))
	}
	return s, nil
}

// readContract reads a file and checks every signature in it.
func readContract(file []byte) (s signedContract, c *Contract, err error) {
	if len(file) > MaxSignedContract {
		return s, nil, errs.New(errs.Corrupt, "enclave.contract: %d bytes, the limit is %d", len(file),
			MaxSignedContract)
	}
	if err := decode(file, &s); err != nil {
		return s, nil, errs.As(errs.Corrupt, err, "enclave.contract: file")
	}
	if c, err = DecodeContract(s.Contract); err != nil {
		return s, nil, err
	}
	last := ""
	for _, p := range s.Signatures {
		party := c.Party(p.Party)
		if party == nil || p.Party <= last {
			return s, nil, errs.New(errs.Corrupt, "enclave.contract: a signature of %.80q, who is no party, "+
				"or has signed before", p.Party)
		}
		last = p.Party
		if !ed25519.Verify(party.Key, contractMessage(s.Contract), p.Signature) {
			return s, nil, errs.New(errs.Corrupt, "enclave.contract: the signature of %q does not hold",
				p.Party)
		}
	}
	return s, c, nil
}

func contractMessage(encoded []byte) []byte {
	return append([]byte(contractDomain), encoded...)
}
