//go:build e2e

package e2e

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"surety/base/clock"
	"surety/base/ident"
	"surety/enclave"
	"surety/enclave/pack"
	"surety/evidence/tlog"
)

// jointRows is how many customers the example is run on here, and what is planted in each.
const jointRows = 3000

// jointFile is a file shaped as the public one, whose amounts at the bank and at the shop are planted:
// numbers of sixteen digits, which nothing but their owner's table may have in the clear.
func jointFile(t *testing.T, dir string) *planted {
	t.Helper()
	p := plant(t, 0)
	random := rand.New(rand.NewPCG(310, 7))
	var text strings.Builder
	text.WriteString(`"ID","LIMIT_BAL","EDUCATION","PAY_0"`)
	for month := 1; month <= 6; month++ {
		fmt.Fprintf(&text, `,"BILL_AMT%d","PAY_AMT%d"`, month, month)
	}
	text.WriteString(",\"default.payment.next.month\"\n")
	for id := 1; id <= jointRows; id++ {
		limit, bill := random.IntN(1000), random.IntN(1000)
		bad := 0
		if bill-limit+random.IntN(1400) > 900 {
			bad = 1
		}
		amount := func(says int) string { // the first digits say something, the others are noise
			text := fmt.Sprintf("%d%013d", 100+says*9/10, random.Int64N(1e13))
			p.add([]byte(text), text)
			return text
		}
		fmt.Fprintf(&text, "%d,%s,%d,%d", id, amount(limit), 1+random.IntN(4), random.IntN(3)-1)
		for month := 1; month <= 6; month++ {
			if month == 1 {
				text.WriteString("," + amount(bill) + ",0")
				continue
			}
			fmt.Fprintf(&text, ",%d,%d", random.IntN(9), random.IntN(9))
		}
		fmt.Fprintf(&text, ",%d\n", bad)
	}
	if err := os.WriteFile(filepath.Join(dir, "taiwan_default.csv"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestJointCredit runs the example on a small slice, looks for the planted values in everything that
// it left but the parties' own tables, and then changes things, each of which has to be refused.
func TestJointCredit(t *testing.T) {
	data, dir := t.TempDir(), filepath.Join(t.TempDir(), "joint")
	p := jointFile(t, data)
	script := exec.CommandContext(t.Context(), filepath.Join("..", "examples", "joint-credit", "run.sh"), dir)
	script.Env = append(os.Environ(), "SURETY_DATA="+data, "SURETY_BIN="+binary(t))
	out, err := script.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, words := range []string{"guarantee       simulated", "difference                            0.0000",
		"was released as often as the policy allows", "the budget of 1 runs is used up",
		"no policy says to whom it is released",
		`the contract does not tell "shop" the "scores"`, "no root is trusted for such reports",
		"SIMULATED: no memory protection", `"joint-credit" is not signed by bank and shop`} {
		if !strings.Contains(string(out), words) {
			t.Errorf("the example does not say %q", words)
		}
	}
	jointAUC(t, string(out))
	places := []string{"bank", "shop", "joint.bundle", "machine", "answer"}
	for i := range places {
		places[i] = filepath.Join(dir, places[i])
	}
	found, files, size := p.below(t, places...)
	t.Logf("searched %d files, %d bytes, for %d planted values", files, size, 2*jointRows)
	for _, one := range found {
		t.Errorf("a planted value: %s", one)
	}
	if found, _, _ := p.below(t, filepath.Join(dir, "bank.csv")); len(found) == 0 {
		t.Error("the search does not find what is there: the bank's own table")
	}
	if p.in(out) != "" {
		t.Error("the example prints a planted value")
	}
	jointRecorded(t, dir)
	jointTampering(t, dir)
	jointContracts(t, dir)
}

// jointRecorded looks for the receipt's record in the evidence log.
func jointRecorded(t *testing.T, dir string) {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(dir, "answer", "receipt"))
	if err != nil {
		t.Fatal(err)
	}
	receipt, _, _, err := enclave.OpenReceipt(file)
	if err != nil {
		t.Fatal(err)
	}
	run, err := ident.Parse(receipt.Run)
	if err != nil {
		t.Fatal(err)
	}
	log, err := tlog.Open(t.Context(), tlog.Options{Directory: filepath.Join(dir, "evidence")})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	leaves, err := log.Lookup(t.Context(), run, 0, tlog.MaxLookup)
	if err != nil || len(leaves) != 1 || leaves[0].Record.Kind != "joint.receipt" {
		t.Errorf("the log has %v of the run, %v", leaves, err)
	}
}

// jointAUC holds the figures that the example prints against each other.
func jointAUC(t *testing.T, out string) {
	t.Helper()
	figure := func(name string) (auc float64) {
		_, rest, found := strings.Cut(out, name)
		if _, err := fmt.Sscan(rest, &auc); !found || err != nil {
			t.Fatalf("no figure %q: %v", name, err)
		}
		return auc
	}
	bank, shop := figure("AUC, bank alone"), figure("AUC, shop alone")
	joint, inside := figure("AUC, both in plaintext"), figure("AUC, both in the enclave (simulated)")
	t.Logf("AUC: bank %.4f, shop %.4f, both %.4f, in the enclave %.4f", bank, shop, joint, inside)
	if off := joint - inside; off > 0.0005 || off < -0.0005 || joint < bank+0.02 || joint < shop+0.02 {
		t.Error("the joint model is not what it should be")
	}
}

// jointTampering flips a byte of each file of the bundle and of the answer.
func jointTampering(t *testing.T, dir string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(dir, name) }
	run := []string{"enclave", "joint", "run", at("contract.cbor"), at("joint.bundle"), "--root", at("machine"),
		"--tee", "sim", "--broker", "bank-broker=http://127.0.0.1:9", "--broker",
		"shop-broker=http://127.0.0.1:9", "--out", at("tampered")}
	verify := []string{"enclave", "joint", "verify", at("contract.cbor"), at("answer"), "--sim-root", at("root.pem")}
	for _, c := range []struct {
		file string
		args []string
	}{
		{"joint.bundle/manifest.cose", run}, {"joint.bundle/layers/program.erofs", run},
		{"joint.bundle/layers/contract.erofs", run}, {"joint.bundle/layers/columns-bank.sealed", run},
		{"joint.bundle/layers/columns-shop.sealed", run}, {"contract.cbor", run}, {"contract.cbor", verify},
		{"answer/receipt", verify}, {"answer/bank-scores.sealed", verify}, {"answer/shop-metrics.sealed", verify},
	} {
		flipByte(t, at(c.file))
		if said, problem, status := execute(t, dir, "", c.args...); status == 0 {
			t.Errorf("a byte of %s was changed, and %s said %s%s", c.file, c.args[2], said, problem)
		}
		flipByte(t, at(c.file))
	}
	if _, err := os.Stat(at("tampered")); !os.IsNotExist(err) {
		t.Errorf("a refused run left an answer: %v", err)
	}
	if _, problem, status := execute(t, dir, "", verify...); status != 0 {
		t.Errorf("what was changed back is refused: %s", problem)
	}
}

// jointContracts makes contracts that must not be worked under.
func jointContracts(t *testing.T, dir string) {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(dir, "contract.cbor"))
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := enclave.ReadContract(file)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]ed25519.PrivateKey{}
	for _, name := range []string{"bank", "shop"} {
		if keys[name], err = pack.LoadKey(filepath.Join(dir, name, "sign.pem")); err != nil {
			t.Fatal(err)
		}
	}
	write := func(change func(*enclave.Contract), signers ...string) string {
		c := *s.Contract
		change(&c)
		file, err := c.Propose()
		for _, name := range signers {
			if err == nil {
				file, err = enclave.SignContract(file, keys[name])
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "contract.cbor")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	seal := func(contract string) []string {
		return []string{"enclave", "joint", "seal", filepath.Join(dir, "bank"), contract, "--table",
			filepath.Join(dir, "bank.csv")}
	}
	same := func(*enclave.Contract) {}
	for _, c := range []struct {
		name, words string
		args        []string
	}{
		{"missing signature", `is not signed by shop`, seal(write(same, "bank"))},
		{"expired", "expired at", seal(write(func(c *enclave.Contract) {
			c.Expires = clock.Instant(clock.Day)
		}, "bank", "shop"))},
		{"another contract", "rows were matched under", seal(write(func(c *enclave.Contract) {
			c.Budget.Scores--
		}, "bank", "shop"))},
		{"wrong program", "another version", []string{"enclave", "joint", "sign", filepath.Join(dir, "bank"),
			write(func(c *enclave.Contract) { c.Program[0] ^= 1 })}},
		{"another contract's bundle", "the manifest is bound to", []string{"enclave", "joint", "admit",
			filepath.Join(dir, "shop"), write(func(c *enclave.Contract) { c.Budget.Runs++ }, "bank", "shop"),
			filepath.Join(dir, "joint.bundle"), "--sim-root", filepath.Join(dir, "root.pem")}},
	} {
		if said, problem, status := execute(t, dir, "", c.args...); status == 0 || !strings.Contains(problem, c.words) {
			t.Errorf("%s: status %d, %s%s", c.name, status, said, problem)
		}
	}
}
