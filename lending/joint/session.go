package joint

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"time"

	"surety/base/errs"
	"surety/enclave"
)

// sessionConfig is TLS 1.3 between two keys: each end shows a certificate over its own key and takes
// one over the other's alone. What else stands in a certificate means nothing.
func sessionConfig(key ed25519.PrivateKey, peer *enclave.Party) (*tls.Config, error) {
	// The certificate is a form for a key. Its times are never looked at, so that a party without a
	// good clock can speak too: the contract's expiry is kept elsewhere.
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0),
		NotAfter: time.Unix(1<<33, 0), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	certificate, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "joint.secure: certificate")
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // no name and no authority is asked: the key is checked below
		SessionTicketsDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) != 1 {
				return errs.New(errs.Unauthorized, "%d certificates, want one", len(state.PeerCertificates))
			}
			shown, _ := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
			if !bytes.Equal(shown, peer.Key) {
				return errs.New(errs.Unauthorized, "the other end does not have the key of %q", peer.Name)
			}
			return nil
		},
	}, nil
}
