//go:build e2e

package e2e

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
)

// softwareTPM starts a TPM in software (tools/need swtpm), which ends with the test, and returns its
// socket.
func softwareTPM(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tpm-") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "tpm")
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, "swtpm", "socket", "--tpm2", "--tpmstate", "dir="+dir, "--server",
		"type=unixio,path="+socket, "--ctrl", "type=unixio,path="+socket+".ctrl", "--flags",
		"not-need-init,startup-clear")
	if err := command.Start(); err != nil {
		cancel()
		t.Fatalf("%v: run tools/need swtpm", err)
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
	until(t, time.Minute, "the TPM answers", func() (bool, string) {
		c, err := net.Dial("unix", socket)
		if err != nil {
			return false, err.Error()
		}
		_ = c.Close() // it answered
		return true, ""
	})
	return socket
}

// TestEnclaveByTPM proves an enclave by a TPM: not before it is enrolled, and then its secrets and
// state are opened. A broker and a state that are set back together agree with each other; the TPM
// remembers.
func TestEnclaveByTPM(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	socket := softwareTPM(t)
	project := k.project(design{name: "counting", command: []string{"count", "/state/count"}, layers: "[]",
		more: "args: true\nstate: [{name: book, target: /state, bytes: 64m, broker: local}]\n"})
	run := []string{"run", "--tee", "tpm", "--tpm", socket, project}
	k.refused([]string{"no root is trusted for TPMs"}, run...)
	var id struct{ Endorsement, Certificate string }
	if err := json.Unmarshal([]byte(k.must("enrol", "--tpm", socket, "-o", "json")), &id); err != nil ||
		id.Certificate != "" {
		t.Fatalf("%+v, %v", id, err)
	}
	k.refused([]string{id.Endorsement}, "enrol", "--tpm", socket, "--endorsement", strings.Repeat("0", 64))
	k.must("enrol", "--tpm", socket, "--endorsement", id.Endorsement)
	k.counts("first", 1, run...)
	k.counts("second", 2, run...)
	live := []string{filepath.Join(k.root, "broker"), k.book()}
	for _, dir := range live {
		if out, err := exec.Command("cp", "-a", dir, dir+".old").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	k.counts("third", 3, run...)
	move := func(from, to string) {
		t.Helper()
		for _, dir := range live {
			if err := os.Rename(dir+from, dir+to); err != nil {
				t.Fatal(err)
			}
		}
	}
	move("", ".new")
	move(".old", "")
	k.refused([]string{"the broker was set back"}, run...)
	move("", ".old")
	move(".new", "")
	k.counts("with both as they were", 4, run...)
	k.noneLeft()
}
