package joint

import (
	"crypto/ecdh"
	"crypto/hpke"
	"fmt"

	"surety/base/errs"
	"surety/enclave"
)

// sealInfo binds a sealed output to the contract, the run's session, and what it is.
func sealInfo(contract enclave.Digest, session [32]byte, o enclave.Output) []byte {
	return fmt.Appendf(nil, "surety joint output 1\n%s\n%x\n%s\n%s\n", contract, session, o.To, o.What)
}

// sealFor encrypts an output to a party: HPKE (RFC 9180) in base mode, DHKEM(X25519, HKDF-SHA256),
// HKDF-SHA256, AES-256-GCM.
func sealFor(party *enclave.Party, info, content []byte) ([]byte, error) {
	public, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(party.Seal)
	if err != nil {
		return nil, errs.As(errs.Invalid, err, "joint.seal: the key of %q", party.Name)
	}
	sealed, err := hpke.Seal(public, hpke.HKDFSHA256(), hpke.AES256GCM(), info, content)
	return sealed, errs.As(errs.Internal, err, "joint.seal")
}

// Open decrypts an output with the key of the party that it is for. Kind Corrupt where it is of
// another contract, session, party or kind, or was changed.
func Open(key *ecdh.PrivateKey, contract enclave.Digest, session [32]byte, o enclave.Output,
	sealed []byte) ([]byte, error) {
	private, err := hpke.NewDHKEMPrivateKey(key)
	if err != nil {
		return nil, errs.As(errs.Invalid, err, "joint.open")
	}
	content, err := hpke.Open(private, hpke.HKDFSHA256(), hpke.AES256GCM(), sealInfo(contract, session, o),
		sealed)
	return content, errs.As(errs.Corrupt, err, "joint.open: %s for %s", o.What, o.To)
}
