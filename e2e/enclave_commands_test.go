//go:build e2e

package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"path/filepath"
	"strings"
	"testing"
)

// TestEnclaveCommands gives every command about enclaves something to do, in the order of a day's work,
// for people and where it can be done twice with -o json, and sees that the reference lists none besides.
func TestEnclaveCommands(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	word, says := secretWord(t)
	k.write(filepath.Join(k.dir, "word"), word, 0o600)
	k.write(filepath.Join(k.dir, "owner.pem"), ownerKey(t), 0o600)
	program := keeperProgram(t)
	const nonce = "00112233445566778899aabbccddeeff"
	covered := map[string]bool{"broker run": true, // newOwner
		"enrol": true, "connect": true} // TestEnclaveByTPM, TestEnclaveLife
	do := func(words, want string) string {
		t.Helper()
		split := strings.Fields(words)
		for n := range split {
			covered[strings.Join(split[:n+1], " ")] = true
		}
		out := k.must(split...)
		if !strings.Contains(out, want) {
			t.Errorf("surety enclave %s: no %q in %q", words, want, out)
		}
		return out
	}
	both := func(words, want string) {
		t.Helper()
		do(words, want)
		if err := objects(do(words+" -o json", "")); err != nil {
			t.Errorf("surety enclave %s -o json: %v", words, err)
		}
	}
	do("new day --command /bin/keeper", "day")
	both("add day "+program+" --to /bin/keeper", "")
	do("add day word --secret word:/secret", "word")
	both("build day", "sha384:")
	both("inspect day --check", "/secret")
	k.design(filepath.Join(k.dir, "day"), design{name: "day", command: []string{"sum", "/secret/word"},
		layers: "[{name: word, kind: secret, target: /secret}]"})
	do("build day", "")
	do("run day", says)
	both("diff day day", "")
	both("attest day --nonce "+nonce+" --out day.evidence", "")
	both("verify day.evidence --nonce "+nonce+" --sim-root root/simulated/root.pem", "SIMULATED")
	both("doctor", "simulation")

	o := newOwner(t, k)
	d := o.entrusted(oneSecret("evening", word))
	d.command, d.more = []string{"wait"}, d.more+"debug: true\n"
	project := k.project(d)
	at := " --dir " + o.dir
	both("broker key"+at, o.key.String())
	both("broker tenant "+ownerTenant+at, "suretykb_")
	do("release put bank/layer-key/word --replace --hex "+filepath.Join(project, "keys", "word.key")+at, "")
	k.write(filepath.Join(k.dir, "policy.json"), []byte(strings.Replace(do("release policy from "+project+
		" --tee sim", "sim"), `"name": ""`, `"name": "", "debug": true`, 1)), 0o644)
	do("release policy set bank/layer-key/word policy.json"+at, "")
	do("release policy show bank/layer-key/word"+at, "signers")
	both("release list bank"+at, "layer-key/word")
	both("release publish bank "+project+at, "")
	both("release approve bank/layer-key/word "+project+" --policy policy.json --key owner.pem", "")

	do("start --name evening --broker owner="+o.address()+" "+project, "evening")
	both("list --all", "simulated")
	both("status evening", "simulated")
	do("exec evening -- /bin/keeper tell /etc/hosts", "localhost")
	do("logs evening", "waiting")
	do("stop evening", "")
	both("release log bank"+at, "released")
	do("release policy remove bank/layer-key/word"+at, "")
	do("release remove bank/layer-key/word"+at, "")

	k.design(project, o.entrusted(oneSecret("evening", word)))
	do("build "+project, "")
	do("package "+project+" evening.enclave", "sha384:")
	do("inspect evening.enclave", "evening")
	for _, command := range reference(t) {
		words, ours := strings.CutPrefix(command, "enclave ")
		if ours && !covered[words] && !strings.HasPrefix(words, "joint ") { // TestJointCredit has those
			t.Errorf("surety %s is in the reference and in no test", command)
		}
	}
}

// ownerKey is a signing key as openssl writes it.
func ownerKey(t *testing.T) []byte {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
