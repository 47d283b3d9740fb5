package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"surety/enclave"
)

// treeTerms are mathTerms for an enclave.
func treeTerms() string {
	terms := strings.Replace(mathTerms, `"logistic"`, `"gbdt"`, 1)
	terms = strings.Replace(terms, "by-shares", "inside", 1)
	return strings.Replace(terms, `"outputs"`, `"machines": ["sim"], "outputs"`, 1)
}

// asProgram runs a command as if this were the built program: a small file stands for it, which is
// packed and never run.
func asProgram(t *testing.T, line string) outcome {
	t.Helper()
	program := filepath.Join(t.TempDir(), "surety")
	if err := os.WriteFile(program, []byte("the program"), 0o700); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	status := Main(t.Context(), Env{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr,
		Program: program, LookupEnv: func(string) (string, bool) { return "", false }},
		append([]string{"enclave", "joint"}, strings.Fields(line)...))
	return outcome{status, stdout.String(), stderr.String()}
}

// done fails the test unless the command did what it should.
func done(t *testing.T, line string) string {
	t.Helper()
	got := asProgram(t, line)
	if got.status != 0 {
		t.Fatalf("%s: status %d, %s", line, got.status, got.stderr)
	}
	return got.stdout
}

// jointWorld is two parties in the working directory, with a table each, and a contract that both have
// signed.
func jointWorld(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	var bank, shop strings.Builder
	bank.WriteString("ID,debt,branch,outcome,unnamed\n")
	shop.WriteString("ID,sales\n")
	for i := range 300 {
		fmt.Fprintf(&bank, "%d,%d,b%d,%d,planted-%d\n", i, i*7%100, i%3, i%2, i)
		fmt.Fprintf(&shop, "%d,%d\n", i+50, i*11%100)
	}
	for name, text := range map[string]string{"terms.json": treeTerms(), "bank.csv": bank.String(),
		"shop.csv": shop.String()} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	done(t, "init bank")
	done(t, "init shop --name shop")
	done(t, "propose terms.json --party shop/party.json --party bank/party.json")
	done(t, "sign bank contract.cbor")
	done(t, "sign shop contract.cbor")
}

// meetAndSeal matches the parties and seals the columns of both.
func meetAndSeal(t *testing.T) {
	t.Helper()
	match := func(party string) []string {
		return strings.Fields("enclave joint match " + party + " contract.cbor --table " + party + ".csv -o json")
	}
	shop, bank := both(t, match("shop"), match("bank"))
	for _, got := range []outcome{shop, bank} {
		if got.status != 0 || !strings.Contains(got.stdout, `"matches": 250`) ||
			!strings.Contains(got.stdout, `"guarantee": "math"`) {
			t.Fatalf("matching: %+v", got)
		}
	}
	done(t, "seal bank contract.cbor --table bank.csv")
	done(t, "seal shop contract.cbor --table shop.csv")
}

func TestJointFromTermsToAdmission(t *testing.T) {
	jointWorld(t)
	meetAndSeal(t)
	sealed, err := os.ReadFile(filepath.Join("bank", "columns.sealed"))
	if err != nil || bytes.Contains(sealed, []byte("planted-")) || bytes.Contains(sealed, []byte("columns.csv")) {
		t.Fatal("the sealed columns can be read", err)
	}
	var built builtJoint
	if err := json.Unmarshal([]byte(done(t, "build contract.cbor --columns bank=bank --columns shop=shop -o json")),
		&built); err != nil {
		t.Fatal(err)
	}
	root := done(t, "root --root machine")
	if err := os.WriteFile("root.pem", []byte(root), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, party := range []string{"bank", "shop"} {
		var policy enclave.Policy
		said := done(t, "admit "+party+" contract.cbor joint.bundle --sim-root root.pem -o json")
		if err := json.Unmarshal([]byte(said), &policy); err != nil {
			t.Fatal(err)
		}
		if len(policy.Measures) != 1 || policy.Measures[0] != built.Measure || policy.Contract != built.Contract ||
			policy.Uses != 1 || len(policy.Machines) != 1 || policy.Machines[0].TEE != enclave.Sim ||
			len(policy.Machines[0].Roots) != 1 || policy.Expires == 0 || len(policy.Signers) != 0 {
			t.Errorf("%s releases by %+v", party, policy)
		}
	}
	done(t, "admit bank contract.cbor joint.bundle --sim-root root.pem") // again: nothing was released
	done(t, "withdraw bank")
	if got := asProgram(t, "withdraw bank"); got.status == 0 {
		t.Error("what was withdrawn is withdrawn again")
	}
	jointRefusals(t)
}

// jointRefusals are commands on a world that is sealed and built.
func jointRefusals(t *testing.T) {
	t.Helper()
	done(t, "init other --name other")
	again := strings.Replace(treeTerms(), `"runs": 1`, `"runs": 2`, 1)
	if err := os.WriteFile("again.json", []byte(again), 0o600); err != nil {
		t.Fatal(err)
	}
	done(t, "propose again.json --party bank/party.json --party shop/party.json --out again.cbor")
	half := "propose again.json --party bank/party.json --party shop/party.json --out half.cbor"
	done(t, half)
	done(t, "sign bank half.cbor")
	done(t, "sign bank again.cbor")
	done(t, "sign shop again.cbor")
	for _, c := range []struct{ line, words string }{
		{"init bank", "is there already"},
		{"init X", "is no name"},
		{half, "is there already"},
		{"propose again.json --party bank/party.json --out one.cbor", "parties: 1"},
		{"propose bank.csv --out one.cbor", "file bank.csv"},
		{"sign other contract.cbor", "of no party"},
		{"show bank.csv", "enclave.contract: file"},
		{"match bank contract.cbor", "--table"},
		{"match other contract.cbor --table bank.csv --listen 127.0.0.1:0", "no party of contract"},
		{"seal bank half.cbor --table bank.csv", "not signed by shop"},
		{"seal bank again.cbor --table bank.csv", "rows were matched under"},
		{"seal bank contract.cbor --table shop.csv", `no column "debt"`},
		{"build contract.cbor --columns bank=bank", `--columns shop=DIRECTORY`},
		{"build contract.cbor --columns bank=bank --columns shop=bank --out x", `want "shop" under`},
		{"build again.cbor --columns bank=bank --columns shop=shop --out x", `want "bank" under`},
		{"build contract.cbor --columns bank", "is not NAME=PATH"},
		{"admit bank again.cbor joint.bundle --sim-root root.pem", "the manifest is bound to"},
		{"admit bank contract.cbor joint.bundle", "no machine would be admitted"},
		{"admit bank contract.cbor joint.bundle --platform zz", "no machine would be admitted"},
		{"run contract.cbor joint.bundle --root machine", "--broker bank-broker=URL is missing"},
		{"run half.cbor joint.bundle --root machine", "not signed by shop"},
		{"run contract.cbor joint.bundle --root machine --out bank", "is there already"},
		{"run again.cbor joint.bundle --root machine --tee sim --broker bank-broker=http://127.0.0.1:9 " +
			"--broker shop-broker=http://127.0.0.1:9", "the manifest is bound to"},
		{"open bank contract.cbor nothing scores", "no such file"},
		{"verify contract.cbor nothing", "no such file"},
		{"compare contract.cbor", `--dir and --table of "bank"`},
	} {
		got := asProgram(t, c.line)
		if got.status == 0 || !strings.Contains(got.stderr, c.words) {
			t.Errorf("%s: status %d, %s", c.line, got.status, got.stderr)
		}
	}
	// What was sealed anew is not what was built.
	done(t, "seal shop contract.cbor --table shop.csv")
	got := asProgram(t, "admit shop contract.cbor joint.bundle --sim-root root.pem")
	if got.status == 0 || !strings.Contains(got.stderr, `does not hold the columns that "shop" sealed`) {
		t.Errorf("another's columns: %+v", got)
	}
}

// TestJointPlainly fits the plaintext of both, and opens nothing where there is no answer.
func TestJointPlainly(t *testing.T) {
	jointWorld(t)
	meetAndSeal(t)
	said := done(t, "compare contract.cbor --dir bank=bank --dir shop=shop --table bank=bank.csv "+
		"--table shop=shop.csv -o json")
	var c comparison
	if err := json.Unmarshal([]byte(said), &c); err != nil || c.Rows != 250 || len(c.Alone) != 2 || c.Joint == 0 {
		t.Errorf("%s, %v", said, err)
	}
	lines := strings.Split(strings.TrimSpace(done(t, "sample --rows 3 --seed 1")), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "merchant,") {
		t.Errorf("%q", lines)
	}
}
