//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ledgerv1 "surety/api/ledger/v1"
)

// TestLedger keeps a book by the command line: accounts with names, transfers in one and in two
// steps, history, balances; then moves the book to another node and verifies it stopped.
func TestLedger(t *testing.T) {
	t.Parallel()
	n := startNode(t, t.TempDir(), "--rate", "0")
	ledger := func(want int, args ...string) string {
		t.Helper()
		return run(t, n.dir, want, append([]string{"ledger"}, args...)...)
	}
	create := func(id, name string, flags ...string) {
		t.Helper()
		args := []string{"create", id, "--ledger", "978", "--code", "1", "--name", name,
			"--metadata", "desk=" + name, "--flag", "history"}
		for _, flag := range flags {
			args = append(args, "--flag", flag)
		}
		if out := ledger(0, args...); out != "ok\n" {
			t.Errorf("create %s: %q", name, out)
		}
		if out := ledger(0, args...); out != "exists\n" {
			t.Errorf("create %s again: %q", name, out)
		}
	}
	create("a1", "bank")
	create("a2", "alice", "debits_must_not_exceed_credits")
	create("a3", "bob", "debits_must_not_exceed_credits")
	move := func(from, to, amount string, more ...string) []string {
		return append([]string{"ledger", "transfer", "--debit", from, "--credit", to, "--amount", amount,
			"--ledger", "978", "--code", "7"}, more...)
	}
	run(t, n.dir, 0, move("bank", "alice", "1000", "--id", "71")...)
	if out := run(t, n.dir, 0, move("bank", "alice", "1000", "--id", "71")...); out != "exists\n" {
		t.Errorf("the same transfer again: %q", out)
	}
	overdrawn(t, n, move("alice", "bob", "1001", "--id", "72"), "exceeds_credits")
	overdrawn(t, n, move("bank", "alice", "1001", "--id", "71"), "exists_with_different_amount")
	run(t, n.dir, 0, move("alice", "bob", "300", "--id", "73", "--flag", "pending")...)
	holds(t, n, "alice", 300, 0, 0, 1000)
	run(t, n.dir, 0, "ledger", "transfer", "--id", "74", "--pending-id", "73", "--amount", "200",
		"--flag", "post_pending_transfer")
	holds(t, n, "alice", 0, 200, 0, 1000)
	run(t, n.dir, 0, move("alice", "bob", "100", "--id", "75", "--flag", "pending")...)
	run(t, n.dir, 0, "ledger", "transfer", "--id", "76", "--pending-id", "75", "--amount", "0",
		"--flag", "void_pending_transfer")
	holds(t, n, "alice", 0, 200, 0, 1000)
	holds(t, n, "bob", 0, 0, 0, 200)
	holds(t, n, "a1", 0, 1000, 0, 0)

	var accounts ledgerv1.ListAccountsResponse
	ask(t, n.dir, &accounts, "ledger", "accounts", "--limit", "2")
	if len(accounts.Accounts) != 2 || accounts.Next == "" || accounts.Accounts[1].Name != "alice" ||
		accounts.Accounts[1].Metadata["desk"] != "alice" {
		t.Errorf("accounts: %v", &accounts)
	}
	ask(t, n.dir, &accounts, "ledger", "accounts", "--after", accounts.Next)
	if len(accounts.Accounts) != 1 || accounts.Accounts[0].Name != "bob" || accounts.Next != "" {
		t.Errorf("the rest of the accounts: %v", &accounts)
	}
	var moved ledgerv1.AccountTransfersResponse
	ask(t, n.dir, &moved, "ledger", "history", "alice")
	if len(moved.Transfers) != 5 || moved.Transfers[0].Id != fmt.Sprintf("%032x", 0x76) {
		t.Errorf("history: %v", &moved)
	}
	var balances ledgerv1.AccountBalancesResponse
	ask(t, n.dir, &balances, "ledger", "history", "alice", "--balances", "--oldest-first")
	if len(balances.Balances) == 0 || balances.Balances[0].CreditsPosted != "1000" {
		t.Errorf("balances: %v", &balances)
	}
	var found ledgerv1.LookupTransfersResponse
	ask(t, n.dir, &found, "ledger", "lookup", "--transfer", "71", "72", "99")
	if len(found.Transfers) != 1 || found.Transfers[0].Amount != "1000" {
		t.Errorf("lookup: %v", &found)
	}
	if out := ledger(0, "balances"); !strings.Contains(out, "EUR") || !strings.Contains(out, "12.00") {
		t.Errorf("the trial balance:\n%s", out)
	}
	balanced(t, n)
	unbreached(t, n)
	moveBook(t, n)
}

// overdrawn wants the ledger to refuse a transfer with a result.
func overdrawn(t *testing.T, n *node, transfer []string, result string) {
	t.Helper()
	out, errOut, status := execute(t, n.dir, "", transfer...)
	if status != 1 || out != result+"\n" || !strings.Contains(errOut, result) {
		t.Errorf("%v: exit status %d, %q, %q; want %s", transfer, status, out, errOut, result)
	}
}

// holds wants an account, by its name or id, to hold the totals.
func holds(t *testing.T, n *node, name string, debitsPending, debits, creditsPending, credits int) {
	t.Helper()
	var found ledgerv1.LookupAccountsResponse
	ask(t, n.dir, &found, "ledger", "lookup", name)
	if len(found.Accounts) != 1 {
		t.Fatalf("%s: %v", name, &found)
	}
	a := found.Accounts[0]
	got := fmt.Sprintf("%s %s %s %s", a.DebitsPending, a.DebitsPosted, a.CreditsPending, a.CreditsPosted)
	if want := fmt.Sprintf("%d %d %d %d", debitsPending, debits, creditsPending, credits); got != want {
		t.Errorf("%s holds %s, want %s", name, got, want)
	}
}

// moveBook exports the ledger, imports it into another node, twice, and compares the two.
func moveBook(t *testing.T, n *node) {
	t.Helper()
	folder := t.TempDir()
	first, second := filepath.Join(folder, "first.jsonl"), filepath.Join(folder, "second.jsonl")
	run(t, n.dir, 0, "ledger", "export", "--out", first)
	other := startNode(t, t.TempDir(), "--rate", "0")
	run(t, other.dir, 0, "ledger", "import", first)
	run(t, other.dir, 0, "ledger", "import", first)
	run(t, other.dir, 0, "ledger", "export", "--out", second)
	// What came from elsewhere says so, and that is the only difference.
	marks := strings.NewReplacer(`,"imported"`, "", `"flags":["imported"],`, "")
	a, b := readFile(t, first), readFile(t, second)
	if !strings.Contains(b, "imported") || a != marks.Replace(b) {
		t.Errorf("the book before\n%s\nand after its move\n%s", a, b)
	}
	refused(t, other.dir, 1, nil, "ledger", "verify") // it runs
	n.stop(t)
	other.stop(t)
	for _, stopped := range []*node{n, other} {
		if out := run(t, stopped.dir, 0, "ledger", "verify"); !strings.Contains(out, "verified") {
			t.Errorf("verify says:\n%s", out)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
