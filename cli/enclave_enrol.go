package cli

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"time"

	"surety/base/errs"
	"surety/enclave/attest/tpm"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

// enrolment is what enrol was asked.
type enrolment struct {
	root, tpm, authority, endorsement, out string
	makers                                 []string
}

// enrolled is what enrol says with -o json.
type enrolled struct {
	Endorsement string `json:"endorsement"` // digest of the key
	Maker       string `json:"maker"`       // of the TPM, by its certificate; empty: it has none
	Certificate string `json:"certificate"` // file; empty: nothing was signed
	Authority   string `json:"authority"`   // file for --tpm-root
}

func (e *enrolment) run(_ context.Context, env *Env) error {
	path := e.tpm
	if path == "" {
		path = tpm.DefaultPath
	}
	device, err := tpm.Open(path, nil)
	if err != nil {
		return err
	}
	defer func() { _ = device.Close() }() // all is said
	identity, err := device.Identity()
	if err != nil {
		return err
	}
	digest, err := identity.EKDigest()
	if err != nil {
		return err
	}
	said := enrolled{Endorsement: hex.EncodeToString(digest[:])}
	if c, bad := x509.ParseCertificate(identity.Certificate); bad == nil {
		said.Maker = c.Issuer.String()
	}
	now := time.Unix(0, int64(wallclock.System().Now()))
	if named, err := e.vouched(identity, said.Endorsement, now); err != nil || !named {
		return e.answer(env, said, err)
	}
	if err := e.certify(device, identity, now, &said); err != nil {
		return err
	}
	return e.answer(env, said, nil)
}

// vouched sees that somebody other than the TPM says that its endorsement key is a TPM's; false
// where nobody was named.
func (e *enrolment) vouched(i tpm.Identity, digest string, now time.Time) (bool, error) {
	if e.endorsement != "" {
		if e.endorsement != digest {
			return false, errs.New(errs.Forbidden, "the TPM's endorsement key is %s, want %s", digest,
				e.endorsement)
		}
		return true, nil
	}
	if len(e.makers) == 0 {
		return false, nil
	}
	makers := x509.NewCertPool()
	files, err := readRoots(e.makers)
	if err != nil {
		return false, err
	}
	for n, content := range files {
		if !makers.AppendCertsFromPEM(content) {
			return false, errs.New(errs.Invalid, "%s has no certificate in PEM", e.makers[n])
		}
	}
	return true, i.Trust(makers, makers, now)
}

func (e *enrolment) certify(d *tpm.Device, i tpm.Identity, now time.Time, said *enrolled) error {
	dir := e.authority
	if dir == "" {
		dir = filepath.Join(e.root, "tpm", "authority")
	}
	enroller, err := tpm.OpenEnroller(dir, now, entropy.System())
	if err != nil {
		return err
	}
	challenge, secret, err := i.Challenge(entropy.System())
	if err != nil {
		return err
	}
	answer, err := d.Answer(challenge)
	if err != nil {
		return err
	}
	certificate, err := enroller.Certify(i, secret, answer, now)
	if err != nil {
		return err
	}
	said.Authority = filepath.Join(dir, tpm.AuthorityFile)
	said.Certificate = e.out
	if e.out == "" {
		said.Certificate = filepath.Join(e.root, "tpm", "certificate.pem")
	}
	if err := os.MkdirAll(filepath.Dir(said.Certificate), 0o700); err != nil {
		return fileError(err, "certificate")
	}
	if err := os.WriteFile(said.Certificate, certificate, 0o644); err != nil {
		return fileError(err, "certificate")
	}
	return nil
}

func (e *enrolment) answer(env *Env, said enrolled, err error) error {
	if err != nil {
		return err
	}
	return env.show(said, func(w io.Writer) error {
		g := newGrid(left("what"), left("value"))
		g.row("endorsement key", said.Endorsement)
		g.row("maker, by its certificate", orDash(said.Maker))
		if said.Certificate == "" {
			g.row("certificate", "none: name the key by --endorsement, or its makers by --makers")
			return g.write(w)
		}
		g.row("certificate", said.Certificate)
		g.row("for verifiers (--tpm-root)", said.Authority)
		return g.write(w)
	})
}
