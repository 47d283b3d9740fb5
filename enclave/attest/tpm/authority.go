package tpm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"surety/base/errs"
	"surety/sys/entropy"
)

// AuthorityFile is the certificate of an enroller's authority, which verifiers are given.
const (
	AuthorityFile = "authority.pem"
	authorityKey  = "authority-key.pem"
)

// OpenEnroller opens the authority in a directory, and makes one there at the first use, mode 0700:
// a key on P-256 and a certificate for twenty years. Kind Corrupt where only half of it is there.
func OpenEnroller(dir string, now time.Time, source entropy.Source) (Enroller, error) {
	if _, err := os.Stat(filepath.Join(dir, AuthorityFile)); os.IsNotExist(err) {
		if err := makeAuthority(dir, now, source); err != nil {
			return Enroller{}, err
		}
	}
	e := Enroller{Entropy: source}
	der, err := readPEM(filepath.Join(dir, AuthorityFile))
	if err != nil {
		return e, err
	}
	if e.Certificate, err = x509.ParseCertificate(der); err != nil {
		return e, errs.As(errs.Corrupt, err, "tpm.enroller: %s", AuthorityFile)
	}
	if der, err = readPEM(filepath.Join(dir, authorityKey)); err != nil {
		return e, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return e, errs.As(errs.Corrupt, err, "tpm.enroller: %s", authorityKey)
	}
	signer, able := key.(*ecdsa.PrivateKey)
	if !able || !signer.PublicKey.Equal(e.Certificate.PublicKey) {
		return e, errs.New(errs.Corrupt, "tpm.enroller: %s is not the key of %s", authorityKey,
			AuthorityFile)
	}
	e.Key = signer
	return e, nil
}

func readPEM(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, errs.As(errs.Corrupt, err, "tpm.enroller")
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, errs.New(errs.Corrupt, "tpm.enroller: %s is not PEM", path)
	}
	return block.Bytes, nil
}

// makeAuthority writes the key before the certificate: what has a certificate is whole.
func makeAuthority(dir string, now time.Time, source entropy.Source) error {
	random := reader{source}
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return errs.As(errs.Internal, err, "tpm.enroller")
	}
	var serial [16]byte
	source.Fill(serial[:])
	template := &x509.Certificate{SerialNumber: new(big.Int).SetBytes(serial[:]),
		Subject:   pkix.Name{CommonName: "Surety TPM enrolment"},
		NotBefore: now.Add(-backdate), NotAfter: now.AddDate(authorityYears, 0, 0), IsCA: true,
		BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(random, template, template, key.Public(), key)
	if err != nil {
		return errs.As(errs.Internal, err, "tpm.enroller")
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return errs.As(errs.Internal, err, "tpm.enroller")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return errs.As(errs.Internal, err, "tpm.enroller")
	}
	for _, f := range []struct {
		name, kind string
		der        []byte
	}{{authorityKey, "PRIVATE KEY", secret}, {AuthorityFile, "CERTIFICATE", der}} {
		block := pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der})
		if err := os.WriteFile(filepath.Join(dir, f.name), block, 0o600); err != nil {
			return errs.As(errs.Internal, err, "tpm.enroller")
		}
	}
	return nil
}
