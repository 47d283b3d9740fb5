package tpm

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"surety/sys/entropy"
)

// emulator is a TPM in software, of Debian's package swtpm (tools/need swtpm).
type emulator struct {
	socket string
	stop   func()
}

// startEmulator starts one that lives in the directory, and ends with the test at the latest.
func startEmulator(t *testing.T, dir string) *emulator {
	t.Helper()
	program, err := exec.LookPath("swtpm")
	if err != nil {
		t.Fatalf("%v: run tools/need swtpm", err)
	}
	// The path of a unix socket has at most 107 bytes, and a test's directory may have more.
	short, err := os.MkdirTemp("", "tpm-")
	if err != nil {
		t.Fatal(err)
	}
	e := &emulator{socket: filepath.Join(short, "tpm")}
	ctx, cancel := context.WithCancel(context.Background())
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, program, "socket", "--tpm2", "--tpmstate", "dir="+dir,
		"--server", "type=unixio,path="+e.socket, "--ctrl", "type=unixio,path="+e.socket+".ctrl",
		"--flags", "not-need-init,startup-clear")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is always killed
		close(ended)
	}()
	e.stop = func() {
		cancel()
		<-ended
		_ = os.RemoveAll(short)
	}
	t.Cleanup(e.stop)
	for {
		c, err := net.Dial("unix", e.socket)
		if err == nil {
			_ = c.Close()
			return e
		}
		select {
		case <-ended:
			t.Fatalf("swtpm ended: %s", said.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// openEmulated returns an open TPM, without and with an enrolment by a new authority.
func openEmulated(t *testing.T) (*Device, *x509.Certificate) {
	t.Helper()
	d := openDevice(t, startEmulator(t, t.TempDir()))
	authority, key := newAuthority(t)
	certificate := enrol(t, d, Enroller{Certificate: authority, Key: key, Entropy: entropy.System()})
	d.certificate = certificate
	return d, authority
}

func openDevice(t *testing.T, e *emulator) *Device {
	t.Helper()
	d, err := Open(e.socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// newAuthority is one that certifies attestation keys.
func newAuthority(t *testing.T) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1),
		Subject: pkix.Name{CommonName: "enroller"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * 365 * 10 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

func enrol(t *testing.T, d *Device, e Enroller) []byte {
	t.Helper()
	id, err := d.Identity()
	if err != nil {
		t.Fatal(err)
	}
	challenge, secret, err := id.Challenge(entropy.System())
	if err != nil {
		t.Fatal(err)
	}
	answer, err := d.Answer(challenge)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := e.Certify(id, secret, answer, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}
