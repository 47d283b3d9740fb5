package cli

import (
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/pack"
)

const auditNonce = "00112233445566778899aabbccddeeff"

// smallBundle builds an enclave of one file.
func smallBundle(t *testing.T) (path string, signer ed25519.PrivateKey) {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "score"), []byte("a program"), 0o755); err != nil {
		t.Fatal(err)
	}
	signer = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	path = filepath.Join(dir, "build")
	b, err := pack.Build(t.Context(), path, enclave.Manifest{Format: 1, Name: "scorer", Product: "credit",
		SVN: 2, Command: []string{"/score"}, Cwd: "/", Network: "none"},
		[]pack.Part{{Name: "root", Kind: enclave.Public, Target: "/", Dir: root}}, signer, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return path, signer
}

// attestSmall makes simulated evidence of it and returns the file and the simulation's root.
func attestSmall(t *testing.T) (evidence, root string, signer ed25519.PrivateKey) {
	t.Helper()
	bundle, signer := smallBundle(t)
	dir := t.TempDir()
	evidence = filepath.Join(dir, "evidence")
	made := run(t, nil, "enclave", "attest", bundle, "--root", dir, "--tee", "sim", "--nonce", auditNonce,
		"--out", evidence)
	if made.status != 0 || !strings.Contains(made.stderr, "SIMULATED") {
		t.Fatalf("attest: %+v", made)
	}
	return evidence, filepath.Join(dir, "simulated", attest.SimRootFile), signer
}

// What attest makes, verify takes with the simulation's root and for the nonce, and says what it is.
func TestEnclaveAttestAndVerify(t *testing.T) {
	evidence, root, signer := attestSmall(t)
	good := run(t, nil, "enclave", "verify", evidence, "--nonce", auditNonce, "--sim-root", root)
	if good.status != 0 || !strings.HasPrefix(good.stdout, "SIMULATED: ") ||
		!strings.Contains(good.stdout, "credit, 2") {
		t.Fatalf("verify: %+v", good)
	}
	refusals := []struct {
		name, says string
		args       []string
	}{
		{"no root of a simulation", "no root is trusted", []string{"--nonce", auditNonce}},
		{"another nonce", "report data is", []string{"--nonce", auditNonce[2:] + "ff", "--sim-root", root}},
		{"a policy for hardware", "admits no such machine", []string{"--nonce", auditNonce, "--sim-root", root,
			"--policy", writePolicy(t, enclave.Policy{Name: "hardware",
				Machines: []enclave.MachineRule{{TEE: enclave.SNP, Platforms: [][]byte{make([]byte, 48)}}},
				Signers: []enclave.SignerRule{{Signer: enclave.KeyIDOf(signer.Public().(ed25519.PublicKey)),
					Product: "credit"}}})}},
	}
	for _, r := range refusals {
		t.Run(r.name, func(t *testing.T) {
			got := run(t, nil, append([]string{"enclave", "verify", evidence}, r.args...)...)
			if got.status != 1 || !strings.Contains(got.stdout+got.stderr, r.says) {
				t.Errorf("status %d, want 1 and %q:\n%s%s", got.status, r.says, got.stdout, got.stderr)
			}
		})
	}
}

// A policy that names the simulation takes it, and every check is in the answer.
func TestEnclaveVerifyByPolicy(t *testing.T) {
	evidence, root, signer := attestSmall(t)
	certificate, err := os.ReadFile(root)
	if err != nil {
		t.Fatal(err)
	}
	id, err := attest.SimRootID(certificate)
	if err != nil {
		t.Fatal(err)
	}
	policy := writePolicy(t, enclave.Policy{Name: "simulated",
		Machines: []enclave.MachineRule{{TEE: enclave.Sim, Roots: []enclave.KeyID{id}, HostData: true}},
		Signers: []enclave.SignerRule{{Signer: enclave.KeyIDOf(signer.Public().(ed25519.PublicKey)),
			Product: "credit", MinSVN: 2}}})
	got := run(t, nil, "enclave", "verify", evidence, "--nonce", auditNonce, "--sim-root", root,
		"--policy", policy, "-o", "json")
	var answer verified
	if err := json.Unmarshal([]byte(got.stdout), &answer); err != nil || got.status != 0 {
		t.Fatalf("%v: %+v", err, got)
	}
	if !answer.Accepted || !answer.Simulated || answer.Guarantee != enclave.Simulated ||
		answer.Claims.SVN != 2 || len(answer.Checks) < 10 {
		t.Errorf("%+v", answer)
	}
}

func writePolicy(t *testing.T, p enclave.Policy) string {
	t.Helper()
	content, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Doctor shows the devices, what could write secrets to a disk, and where the simulation's root is.
func TestEnclaveDoctor(t *testing.T) {
	_, root, _ := attestSmall(t)
	got := run(t, nil, "enclave", "doctor", "--root", filepath.Dir(filepath.Dir(root)))
	for _, want := range []string{"AMD SEV-SNP", "Intel TDX", "TPM", "SIMULATED", root, "swap",
		"configfs-tsm", "sealed memory"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %q in:\n%s", want, got.stdout)
		}
	}
}

// What vendors say is read from a directory, by the URLs in its index.
func TestEnclaveVerifyCollateral(t *testing.T) {
	evidence, root, _ := attestSmall(t)
	dir := t.TempDir()
	verify := func() outcome {
		return run(t, nil, "enclave", "verify", evidence, "--nonce", auditNonce, "--sim-root", root,
			"--collateral", dir)
	}
	if got := verify(); got.status != 1 || !strings.Contains(got.stderr, "index.json") {
		t.Errorf("no index: %+v", got)
	}
	index := filepath.Join(dir, "index.json")
	for content, says := range map[string]string{
		"[]":                          "index.json",
		`{"https://x": "../y"}`:       "not a file's name",
		`{"https://x": "absent"}`:     "absent",
		`{"https://x": "index.json"}`: "",
	} {
		write(t, index, content)
		got := verify()
		if says == "" && got.status != 0 || says != "" && (got.status == 0 ||
			!strings.Contains(got.stderr, says)) {
			t.Errorf("%s: %+v", content, got)
		}
	}
}

func TestEnclaveVerifyUsage(t *testing.T) {
	for _, args := range [][]string{{"verify", "x"}, {"verify", "x", "--nonce", "zz"}, {"verify"},
		{"attest", "x", "--nonce", "00"}, {"attest"}} {
		if got := run(t, nil, append([]string{"enclave"}, args...)...); got.status != 2 {
			t.Errorf("%v: %+v", args, got)
		}
	}
	if got := run(t, nil, "enclave", "verify", "/nowhere", "--nonce", auditNonce); got.status != 1 {
		t.Errorf("no evidence: %+v", got)
	}
}
