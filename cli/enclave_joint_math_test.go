package cli

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"surety/enclave"
	"surety/lending/joint"
)

const mathTerms = `{
  "name": "by-shares",
  "join": {"name": "customer number", "rule": "digits"},
  "target": {"party": "bank", "column": "outcome", "good": "0", "bad": "1"},
  "columns": [
    {"party": "bank", "name": "debt", "kind": "numeric", "reason": "B1"},
    {"party": "bank", "name": "branch", "kind": "categorical", "reason": "B1"},
    {"party": "shop", "name": "sales", "kind": "numeric", "reason": "S1"}
  ],
  "reasons": [{"code": "B1", "sentence": "The bank's view."}, {"code": "S1", "sentence": "The shop's view."}],
  "operation": {"kind": "train", "model": "logistic", "seed": 42, "holdout": 300},
  "outputs": [{"to": "bank", "what": "metrics"}, {"to": "bank", "what": "scores"}],
  "rule": {"min_rows": 100, "min_group": 1, "round": 1, "reasons": 0},
  "budget": {"runs": 1, "daily": 0, "scores": 1000},
  "days": 30
}`

// announced is a stream that tells the address that a command says it waits at.
type announced struct {
	mu   sync.Mutex
	text bytes.Buffer
	at   chan string
}

func (a *announced) Write(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.text.Write(b)
	if _, rest, found := strings.Cut(a.text.String(), "other party at "); found && a.at != nil {
		if line, _, whole := strings.Cut(rest, "\n"); whole {
			a.at <- line
			a.at = nil
		}
	}
	return len(b), nil
}

// both runs a verb as the shop, which listens, and as the bank, which connects.
func both(t *testing.T, shop, bank []string) (atShop, atBank outcome) {
	t.Helper()
	waits := &announced{at: make(chan string, 1)}
	at := waits.at
	ended := make(chan outcome, 1)
	go func() {
		var stdout bytes.Buffer
		status := Main(t.Context(), Env{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: waits,
			LookupEnv: func(string) (string, bool) { return "", false }},
			append(shop, "--listen", "127.0.0.1:0"))
		close(at)
		ended <- outcome{status, stdout.String(), waits.text.String()}
	}()
	address, found := <-at
	if !found {
		return <-ended, outcome{}
	}
	atBank = run(t, nil, append(bank, "--connect", address)...)
	return <-ended, atBank
}

// mathWorld makes two parties with a table each and a contract that both have signed.
func mathWorld(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	random := rand.New(rand.NewPCG(1, 1))
	var bank, shop strings.Builder
	bank.WriteString("ID,debt,branch,outcome\n")
	shop.WriteString("ID,sales\n")
	for i := range 1200 {
		debt, sales, outcome := random.IntN(1000), random.IntN(1000), 0
		if debt-sales+random.IntN(1000) > 600 {
			outcome = 1
		}
		fmt.Fprintf(&bank, "%d,%d,B%d,%d\n", i, debt, random.IntN(3), outcome)
		fmt.Fprintf(&shop, "%d,%d\n", i+100, sales)
	}
	for name, text := range map[string]string{"bank.csv": bank.String(), "shop.csv": shop.String(),
		"terms.json": mathTerms} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{"init bank", "init shop",
		"propose terms.json --party bank/party.json --party shop/party.json", "sign bank contract.cbor",
		"sign shop contract.cbor"} {
		if out := joint1(t, line); out.status != 0 {
			t.Fatalf("%s: %+v", line, out)
		}
	}
}

func joint1(t *testing.T, line string) outcome {
	t.Helper()
	return run(t, nil, append([]string{"enclave", "joint"}, strings.Fields(line)...)...)
}

func jointArgs(line string) []string {
	return append([]string{"enclave", "joint"}, strings.Fields(line)...)
}

// TestJointByShares matches, computes by shares, opens, verifies, and meets the end of the budget.
func TestJointByShares(t *testing.T) {
	mathWorld(t)
	atShop, atBank := both(t, jointArgs("match shop contract.cbor --table shop.csv"),
		jointArgs("match bank contract.cbor --table bank.csv"))
	if atShop.status != 0 || atBank.status != 0 {
		t.Fatalf("%+v; %+v", atShop, atBank)
	}
	atShop, atBank = both(t, jointArgs("math shop contract.cbor --table shop.csv --out told"),
		jointArgs("math bank contract.cbor --table bank.csv --out answer -o json"))
	if atShop.status != 0 || atBank.status != 0 {
		t.Fatalf("%+v; %+v", atShop, atBank)
	}
	var r joint.Shared
	if err := json.Unmarshal([]byte(atBank.stdout), &r); err != nil {
		t.Fatal(err)
	}
	if r.Guarantee != enclave.Math || r.Rows != 1100 || r.Metrics == nil || r.Metrics.AUC < 700_000 ||
		r.Weights != nil {
		t.Errorf("%s", atBank.stdout)
	}
	if !strings.Contains(atShop.stdout, "math") || strings.Contains(atShop.stdout, "AUC") {
		t.Errorf("the shop was told %s", atShop.stdout)
	}
	scores := joint1(t, "open bank contract.cbor answer scores --table bank.csv")
	if scores.status != 0 || strings.Count(scores.stdout, "\n") != r.Judged+1 ||
		!strings.HasPrefix(scores.stdout, "ID,points\n") {
		t.Errorf("%+v", scores)
	}
	for _, answer := range []string{"answer", "told"} {
		if out := joint1(t, "verify contract.cbor "+answer); out.status != 0 {
			t.Errorf("%s: %+v", answer, out)
		}
	}
	atShop, atBank = both(t, jointArgs("math shop contract.cbor --table shop.csv --out told2"),
		jointArgs("math bank contract.cbor --table bank.csv --out answer2"))
	if atShop.status != 1 || atBank.status != 1 || !strings.Contains(atBank.stderr, "1 runs of 1 were made") {
		t.Errorf("over the budget: %+v; %+v", atShop, atBank)
	}
}

// TestJointReceiptOfAStranger changes who signed a receipt: nobody may vouch for others' arithmetic.
func TestJointReceiptOfAStranger(t *testing.T) {
	mathWorld(t)
	file, err := os.ReadFile("contract.cbor")
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := enclave.ReadContract(file)
	if err != nil {
		t.Fatal(err)
	}
	receipt := &enclave.Receipt{Format: 1, Run: "1", At: s.Contract.Expires - 1, Contract: s.Digest,
		Guarantee: enclave.Math, Rows: 200,
		Inputs: []enclave.ReceiptInput{{Party: "bank", Rows: 200}, {Party: "shop", Rows: 200}}}
	for _, o := range s.Contract.Outputs {
		receipt.Outputs = append(receipt.Outputs, enclave.ReceiptOutput{To: o.To, What: o.What, Rows: 1})
	}
	owner, err := openParty("bank")
	if err != nil {
		t.Fatal(err)
	}
	for status, key := range map[int]ed25519.PrivateKey{0: owner.sign,
		1: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))} {
		signed, err := enclave.SignReceipt(receipt, key, nil)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), "receipt")
		if err := os.WriteFile(name, signed, 0o600); err != nil {
			t.Fatal(err)
		}
		out := joint1(t, "verify contract.cbor "+name)
		if out.status != status || status == 1 && !strings.Contains(out.stdout, "that of no party") {
			t.Errorf("%+v", out)
		}
	}
}

// TestJointMathUsage names what is missing, and measures.
func TestJointMathUsage(t *testing.T) {
	for _, line := range []string{"math", "math bank", "math bank contract.cbor --table t",
		"math bank contract.cbor --listen 127.0.0.1:0", "math bank c --table t --listen :1 --connect :2"} {
		if out := joint1(t, line); out.status != 2 || !strings.Contains(out.stderr, "are needed") {
			t.Errorf("%s: %+v", line, out)
		}
	}
	out := joint1(t, "math --bench --rows 400 --judged 100 --columns 2")
	if out.status != 0 || !strings.Contains(out.stdout, "guarantee    math") ||
		!strings.Contains(out.stdout, "MB, both ways") {
		t.Errorf("%+v", out)
	}
}
