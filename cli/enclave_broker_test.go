package cli

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/client"
	"surety/enclave/pack"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

// startBroker runs "enclave broker run" in this process, until stop.
func startBroker(t *testing.T, dir, simRoot string) (url string, key enclave.KeyID, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	var problems bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		status := Main(ctx, Env{Stdin: strings.NewReader(""), Stdout: writer, Stderr: &problems,
			LookupEnv: func(string) (string, bool) { return "", false }},
			[]string{"enclave", "broker", "run", "--dir", dir, "--sim-root", simRoot, "-o", "json"})
		_ = writer.Close()
		ended <- status
	}()
	var said struct {
		URL string        `json:"url"`
		Key enclave.KeyID `json:"key"`
	}
	decoder := json.NewDecoder(reader)
	if err := decoder.Decode(&said); err != nil {
		cancel()
		t.Fatalf("%v, status %d: %s", err, <-ended, problems.String())
	}
	go func() { _, _ = io.Copy(io.Discard, reader) }() // ends with the broker
	return said.URL, said.Key, func() {
		t.Helper()
		cancel()
		if status := <-ended; status != 0 {
			t.Errorf("the broker ended with %d: %s", status, problems.String())
		}
	}
}

// guest is a bundle on a simulated machine.
type guest struct {
	device attest.Device
	bundle *pack.Bundle
}

func (g *guest) TEE() enclave.TEE        { return g.device.TEE() }
func (g *guest) Measure() enclave.Digest { return g.bundle.Signed().Measure }

func (g *guest) Evidence(ctx context.Context, b enclave.Binding) (*enclave.Evidence, error) {
	return attest.Make(ctx, g.device, g.bundle.SignedBytes(), b)
}

// ask attests and asks for one secret.
func (g *guest) ask(t *testing.T, url string, key enclave.KeyID, resource string) ([]byte, error) {
	t.Helper()
	c, err := client.New(client.Config{URL: url, Key: key, Attester: g, Clock: wallclock.System()})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Attest(t.Context())
	if err != nil {
		return nil, err
	}
	return s.Release(t.Context(), resource)
}

// TestEnclaveBrokerAndRelease manages a broker that runs, in all three ways, and has a guest ask it.
func TestEnclaveBrokerAndRelease(t *testing.T) {
	bundle, _ := smallBundle(t)
	root, dir, files := t.TempDir(), filepath.Join(t.TempDir(), "b"), t.TempDir()
	simulation := attest.Options{SimDir: simulationDir(root), Program: os.Args[0]}
	device, err := attest.OpenDevice(t.Context(), enclave.Sim, simulation)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	opened, err := pack.Open(bundle)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	g := &guest{device, opened}
	url, key, stop := startBroker(t, dir, filepath.Join(simulation.SimDir, attest.SimRootFile))
	stopped := false
	defer func() {
		if !stopped {
			stop()
		}
	}()
	environment := map[string]string{}
	do := func(args ...string) string {
		t.Helper()
		o := run(t, environment, append([]string{"enclave"}, args...)...)
		if o.status != 0 {
			t.Fatalf("%v: %d %s", args, o.status, o.stderr)
		}
		return o.stdout
	}
	refuse := func(says string, args ...string) {
		t.Helper()
		o := run(t, environment, append([]string{"enclave"}, args...)...)
		if o.status == 0 || !strings.Contains(o.stderr, says) {
			t.Errorf("%v: want %q, got %d %s", args, says, o.status, o.stderr)
		}
	}
	file := func(name, text string) string {
		path := filepath.Join(files, name)
		write(t, path, text)
		return path
	}
	if got := strings.TrimSpace(do("broker", "key", "--dir", dir)); got != key.String() {
		t.Errorf("the key is %s, the broker said %s", got, key)
	}
	policy := file("policy.json", do("release", "policy", "from", bundle, "--tee", "sim", "--root", root))
	do("release", "put", "bank/key/model", file("secret", " 0a0b\n"), "--hex", "--dir", dir)
	refuse("not hexadecimal", "release", "put", "bank/key/x", policy, "--hex", "--dir", dir)
	refuse("another secret is there", "release", "put", "bank/key/model", policy, "--dir", dir)
	refuse("is not TENANT/TYPE/TAG", "release", "put", "bank/key", policy, "--dir", dir)
	if _, err := g.ask(t, url, key, "bank/key/model"); !errs.Is(err, errs.Forbidden) {
		t.Errorf("without a policy: %v", err)
	}
	do("release", "policy", "set", "bank/key/*", policy, "--dir", dir)
	if secret, err := g.ask(t, url, key, "bank/key/model"); err != nil || string(secret) != "\x0a\x0b" {
		t.Errorf("got %q, %v", secret, err)
	}
	if text := do("release", "log", "bank", "--dir", dir); !strings.Contains(text, "released") ||
		!strings.Contains(text, "simulated") || !strings.Contains(text, "no policy says") {
		t.Errorf("the records are\n%s", text)
	}
	testRemote(t, environment, do, refuse, dir, url)
	testApprovals(t, g, do, refuse, dir, url, key, bundle, root, file)
	testPublished(t, g, do, dir, url, key, bundle, root, file)
	stop()
	stopped = true
	if text := do("release", "list", "bank", "--dir", dir); !strings.Contains(text, "bank/key/model") ||
		!strings.Contains(text, "bank/key/*") {
		t.Errorf("the store alone says\n%s", text)
	}
}

// testRemote does a tenant's work by its token.
func testRemote(t *testing.T, environment map[string]string, do func(...string) string,
	refuse func(string, ...string), dir, url string) {
	t.Helper()
	token := strings.TrimSpace(do("broker", "tenant", "bank", "--dir", dir))
	refuse("holds no token", "release", "list", "bank", "--url", url)
	environment["SURETY_BROKER_TOKEN"] = token
	if text := do("release", "list", "bank", "--url", url); !strings.Contains(text, "bank/key/model") {
		t.Errorf("from afar:\n%s", text)
	}
	refuse("this token is tenant bank's", "release", "list", "fund", "--url", url)
	refuse("the token would be seen", "release", "list", "bank", "--url", "http://192.0.2.1:1")
	refuse("different brokers", "release", "list", "bank", "--url", url, "--dir", dir)
	environment["SURETY_BROKER_TOKEN"] = ""
}

// testApprovals has two owners approve, one of them where there is no broker.
func testApprovals(t *testing.T, g *guest, do func(...string) string, refuse func(string, ...string),
	dir, url string, key enclave.KeyID, bundle, root string, file func(string, string) string) {
	t.Helper()
	var p enclave.Policy
	text := do("release", "policy", "from", bundle, "--tee", "sim", "--root", root, "--exact")
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	var owners []string
	for _, name := range []string{"one.pem", "two.pem"} {
		path := filepath.Join(t.TempDir(), name)
		made, err := pack.NewKey(path, func(b []byte) error { entropy.System().Fill(b); return nil })
		if err != nil {
			t.Fatal(err)
		}
		owners = append(owners, path)
		p.Owners = append(p.Owners, enclave.KeyIDOf(made.Public().(ed25519.PublicKey)))
	}
	p.Quorum = 2
	encoded, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	policy := file("owned.json", string(encoded))
	do("release", "policy", "set", "bank/key/model", policy, "--dir", dir)
	do("release", "approve", "bank/key/model", bundle, "--key", owners[0], "--dir", dir)
	if _, err := g.ask(t, url, key, "bank/key/model"); !errs.Is(err, errs.Forbidden) {
		t.Errorf("with one approval of two: %v", err)
	}
	refuse("give --key", "release", "approve", "bank/key/model", bundle, "--dir", dir)
	approval := file("ok.json", do("release", "approve", "bank/key/model", bundle, "--key", owners[1],
		"--policy", policy))
	refuse("is of sha384", "release", "approve", "bank/key/model", "sha384:"+strings.Repeat("ab", 48),
		"--approval", approval, "--dir", dir)
	do("release", "approve", "bank/key/model", bundle, "--approval", approval, "--dir", dir)
	if _, err := g.ask(t, url, key, "bank/key/model"); err != nil {
		t.Error(err)
	}
	do("release", "policy", "remove", "bank/key/model", "--dir", dir)
}

// testPublished releases once the measurement is in the evidence log, and not before.
func testPublished(t *testing.T, g *guest, do func(...string) string, dir, url string,
	key enclave.KeyID, bundle, root string, file func(string, string) string) {
	t.Helper()
	policy := file("logged.json", do("release", "policy", "from", bundle, "--tee", "sim", "--root", root,
		"--logged"))
	do("release", "policy", "set", "bank/key/model", policy, "--dir", dir)
	_, err := g.ask(t, url, key, "bank/key/model")
	if !errs.Is(err, errs.Forbidden) || !strings.Contains(err.Error(), "not published") {
		t.Errorf("before it is published: %v", err)
	}
	do("release", "publish", "bank", bundle, "--dir", dir)
	for err != nil && t.Context().Err() == nil { // the log takes it within a second or two
		if _, err = g.ask(t, url, key, "bank/key/model"); err != nil && !errs.Is(err, errs.Forbidden) {
			t.Fatal(err)
		}
	}
	do("release", "policy", "remove", "bank/key/model", "--dir", dir)
}

// TestEnclaveBrokerListens refuses to be reached without TLS from elsewhere.
func TestEnclaveBrokerListens(t *testing.T) {
	o := run(t, nil, "enclave", "broker", "run", "--dir", filepath.Join(t.TempDir(), "b"), "--listen",
		"0.0.0.0:0")
	if o.status == 0 || !strings.Contains(o.stderr, "is not on loopback") {
		t.Errorf("got %d %s", o.status, o.stderr)
	}
	o = run(t, nil, "enclave", "broker", "run", "--dir", filepath.Join(t.TempDir(), "b"),
		"--collateral", t.TempDir())
	if o.status == 0 || !strings.Contains(o.stderr, "index.json") {
		t.Errorf("collateral without an index: %d %s", o.status, o.stderr)
	}
	o = run(t, nil, "enclave", "broker", "run", "--dir", "x", "--tls-cert", "x")
	if o.status != 2 || !strings.Contains(o.stderr, "go together") {
		t.Errorf("got %d %s", o.status, o.stderr)
	}
	if _, err := os.Stat("x"); !errors.Is(err, os.ErrNotExist) {
		t.Error("wrong usage made a directory")
	}
}

// TestEnclaveBrokerTLS serves with a certificate, and guests that trust it are answered.
func TestEnclaveBrokerTLS(t *testing.T) {
	certificate, key, pool := selfSigned(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reader, writer := io.Pipe()
	var problems bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		status := Main(ctx, Env{Stdin: strings.NewReader(""), Stdout: writer, Stderr: &problems,
			LookupEnv: func(string) (string, bool) { return "", false }},
			[]string{"enclave", "broker", "run", "--dir", filepath.Join(t.TempDir(), "b"),
				"--tls-cert", certificate, "--tls-key", key, "-o", "json"})
		_ = writer.Close()
		ended <- status
	}()
	var said struct{ URL string }
	if err := json.NewDecoder(reader).Decode(&said); err != nil {
		cancel()
		t.Fatalf("%v, status %d: %s", err, <-ended, problems.String())
	}
	go func() { _, _ = io.Copy(io.Discard, reader) }() // ends with the broker
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	answer, err := (&http.Client{Transport: transport}).Post(said.URL+client.PathAuth, "application/json",
		strings.NewReader(`{"version":"0.4.0","tee":"snp","extra-params":""}`))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK || answer.TLS.Version != tls.VersionTLS13 ||
		len(answer.Cookies()) != 1 || !answer.Cookies()[0].Secure {
		t.Errorf("got %s, %v", answer.Status, answer.Cookies())
	}
	transport.CloseIdleConnections()
	cancel()
	if status := <-ended; status != 0 {
		t.Errorf("the broker ended with %d: %s", status, problems.String())
	}
}

// selfSigned writes a certificate for loopback and its key.
func selfSigned(t *testing.T) (certificate, key string, pool *x509.CertPool) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	write(t, certificate, string(text))
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})))
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return certificate, key, pool
}
