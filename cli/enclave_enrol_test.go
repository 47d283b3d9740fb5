package cli

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"surety/enclave"
	"surety/enclave/attest/tpm"
)

// softwareTPM starts a TPM in software (tools/need swtpm), which ends with the test, and returns its
// socket.
func softwareTPM(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("swtpm")
	if err != nil {
		t.Fatalf("%v: run tools/need swtpm", err)
	}
	dir, err := os.MkdirTemp("", "tpm-") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "tpm")
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, program, "socket", "--tpm2", "--tpmstate", "dir="+dir, "--server",
		"type=unixio,path="+socket, "--ctrl", "type=unixio,path="+socket+".ctrl", "--flags",
		"not-need-init,startup-clear")
	if err := command.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = command.Wait() // it is always killed
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		_ = os.RemoveAll(dir)
	})
	for {
		if c, err := net.Dial("unix", socket); err == nil {
			_ = c.Close()
			return socket
		}
		select {
		case <-ended:
			t.Fatal("swtpm ended")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// A TPM is enrolled once its endorsement key was named; its evidence is then taken by whoever trusts
// the enroller, and by nobody else.
func TestEnclaveEnrolAndAttestByTPM(t *testing.T) {
	socket, root := softwareTPM(t), t.TempDir()
	shown := run(t, nil, "enclave", "enrol", "--root", root, "--tpm", socket, "-o", "json")
	var said enrolled
	if err := json.Unmarshal([]byte(shown.stdout), &said); err != nil || len(said.Endorsement) != 64 ||
		said.Certificate != "" {
		t.Fatalf("%v: %+v", err, shown)
	}
	wrong := run(t, nil, "enclave", "enrol", "--root", root, "--tpm", socket, "--endorsement",
		strings.Repeat("0", 64))
	if wrong.status != 1 || !strings.Contains(wrong.stderr, said.Endorsement) {
		t.Fatalf("another TPM's key: %+v", wrong)
	}
	made := run(t, nil, "enclave", "enrol", "--root", root, "--tpm", socket, "--endorsement",
		said.Endorsement)
	if made.status != 0 {
		t.Fatalf("enrol: %+v", made)
	}
	bundle, _ := smallBundle(t)
	evidence := filepath.Join(root, "evidence")
	attested := run(t, nil, "enclave", "attest", bundle, "--root", root, "--tee", "tpm", "--tpm", socket,
		"--nonce", auditNonce, "--out", evidence)
	if attested.status != 0 || strings.Contains(attested.stderr, "not enrolled") {
		t.Fatalf("attest: %+v", attested)
	}
	authority := filepath.Join(root, "tpm", "authority", tpm.AuthorityFile)
	good := run(t, nil, "enclave", "verify", evidence, "--nonce", auditNonce, "--tpm-root", authority, "-o",
		"json")
	var answer verified
	if err := json.Unmarshal([]byte(good.stdout), &answer); err != nil || good.status != 0 ||
		answer.TEE != enclave.TPM || answer.Claims.Chip != said.Endorsement || answer.Simulated {
		t.Fatalf("%v: %+v", err, good)
	}
	if bad := run(t, nil, "enclave", "verify", evidence, "--nonce", auditNonce); bad.status != 1 ||
		!strings.Contains(bad.stderr, "no root is trusted for TPMs") {
		t.Errorf("nobody is trusted: %+v", bad)
	}
}
