//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	guardv1 "surety/api/guard/v1"
	ledgerv1 "surety/api/ledger/v1"
	lendingv1 "surety/api/lending/v1"
)

// TestRogueTransfer moves money of a loan behind the lending service's back, as somebody with the
// right to post transfers could: the guard finds it within seconds, stops the accounts, shows both
// sides, and keeps them stopped over a crash until people let go.
func TestRogueTransfer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	args := []string{"--rate", "0"}
	n := startNode(t, dir, args...)
	admin := n.adminToken(t)
	loan := lend(t, n, "rogue-1")
	from, to := accountsOf(t, n, loan)
	rogue := func(want int, id string) string {
		t.Helper()
		out, _, status := execute(t, dir, "", "ledger", "transfer", "--id", id, "--debit", from, "--credit", to,
			"--amount", "777", "--ledger", "156", "--code", "20")
		if status != want {
			t.Errorf("the transfer: exit status %d, want %d: %s", status, want, out)
		}
		return out
	}
	began := time.Now()
	rogue(0, "bad1")
	breach := breached(t, n)
	t.Logf("found in %s", time.Since(began).Round(time.Millisecond))
	if breach.MoneyAtRisk != "777" || breach.Currency != "CNY" || breach.State != "open" ||
		!strings.Contains(breach.Found, fmt.Sprintf("%032x", 0xbad1)) || breach.Stop == "" {
		t.Errorf("the breach: %v", breach)
	}
	if !json.Valid([]byte(breach.Found)) {
		t.Errorf("what was found is no JSON: %s", breach.Found)
	}
	if out := rogue(1, "bad2"); !strings.Contains(out, "frozen") {
		t.Errorf("a second such transfer: %s", out)
	}
	until(t, 10*time.Second, "the guard is red", func() (bool, string) {
		status := guardStatus(t, n)
		return status.State == "red" && status.BreachesOpen == 1, status.String()
	})
	lend(t, n, "rogue-2") // others are served

	n.kill(t)
	n = startNode(t, dir, args...)
	if again := breached(t, n); again.Id != breach.Id || again.State != "open" {
		t.Errorf("after a crash the breach is %v", again)
	}
	if out := rogue(1, "bad3"); !strings.Contains(out, "frozen") {
		t.Errorf("after a crash: %s", out)
	}
	resolve := []string{"guard", "breach", breach.Id, "--resolve", "confirmed", "--note", "an operator did it"}
	run(t, dir, 0, append(resolve, "--token", admin)...)
	var shown guardv1.Breach
	ask(t, dir, &shown, "guard", "breach", breach.Id)
	if shown.State != "confirmed" || shown.Note != "an operator did it" {
		t.Errorf("resolved: %v", &shown)
	}
	var freezes ledgerv1.ListFreezesResponse
	ask(t, dir, &freezes, "ledger", "freezes")
	if len(freezes.Freezes) == 0 {
		t.Error("nothing is frozen any more")
	}
	for _, freeze := range freezes.Freezes {
		run(t, dir, 0, "ledger", "request-release", freeze.Id, "--reason", "the loss is booked")
		run(t, dir, 0, "ledger", "release", freeze.Id, "--token", admin)
	}
	var repaid lendingv1.RepayResponse
	ask(t, dir, &repaid, "lend", "repay", loan.Id, "5.00", "--reference", "ROGUE-1")
	balanced(t, n)
}

// accountsOf returns the loan's principal account and the customer's deposit, by the disbursement.
func accountsOf(t *testing.T, n *node, loan *lendingv1.Loan) (principal, deposit string) {
	t.Helper()
	for _, e := range loan.Events {
		if e.Kind != "loan.disbursed" {
			continue
		}
		for _, moved := range transfersOf(t.Context(), t, n, e.Id) {
			switch moved.Code {
			case 20:
				principal = moved.DebitAccount
			case 21:
				deposit = moved.CreditAccount
			}
		}
	}
	if principal == "" || deposit == "" {
		t.Fatalf("loan %s has no accounts", loan.Id)
	}
	return principal, deposit
}

// breached waits for the one breach there is.
func breached(t *testing.T, n *node) *guardv1.Breach {
	t.Helper()
	var list []*guardv1.Breach
	until(t, 15*time.Second, "the guard finds it", func() (bool, string) {
		response, err := n.guard().ListBreaches(t.Context(), connect.NewRequest(&guardv1.ListBreachesRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		list = slices.DeleteFunc(response.Msg.Breaches,
			func(b *guardv1.Breach) bool { return b.State == "drilled" })
		return len(list) > 0, "no breach"
	})
	if len(list) != 1 {
		t.Errorf("one posting is %d breaches: %v", len(list), list)
	}
	return list[0]
}

func guardStatus(t *testing.T, n *node) *guardv1.StatusResponse {
	t.Helper()
	response, err := n.guard().Status(t.Context(), connect.NewRequest(&guardv1.StatusRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	return response.Msg
}

// TestGuardIsGreen wants a sound node under load to be green, with every invariant fresh, and
// nothing left open once the load has passed.
func TestGuardIsGreen(t *testing.T) {
	t.Parallel()
	n := startNode(t, t.TempDir(), "--rate", "50", "--days-per-minute", "1440")
	until(t, 30*time.Second, "the guard has seen some", func() (bool, string) {
		status := guardStatus(t, n)
		return status.EventsChecked > 1_000 && status.State == "green", status.String()
	})
	status := guardStatus(t, n)
	for _, i := range status.Invariants {
		if i.State != "holds" || i.AgeMillis > i.StaleAfterMillis {
			t.Errorf("invariant %v", i)
		}
	}
	if len(status.Invariants) < 6 || status.BreachesTotal != 0 || !status.MoneyOutAllowed {
		t.Errorf("the guard: %v", status)
	}
	unbreached(t, n)
	n.stop(t)
	n = startNode(t, n.dir, "--rate", "0")
	until(t, 20*time.Second, "nothing is open", func() (bool, string) {
		status := guardStatus(t, n)
		return status.OpenExpectations == 0 && status.State == "green", status.String()
	})
	unbreached(t, n)
}

// TestLateLoan lets time pass over a loan that nobody repays: penalties, the buckets of
// delinquency, and a write-off, after which money still counts.
func TestLateLoan(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := startNode(t, dir, "--rate", "0")
	admin := n.adminToken(t)
	loan := lend(t, n, "late-1")
	off := []string{"lend", "write-off", loan.Id, "--reason", "gone", "--token", admin}
	refused(t, dir, 1, []string{loan.Id}, off...) // not late at all
	n.stop(t)
	n = startNode(t, dir, timeLapse(t)...)
	buckets := map[string]bool{}
	var late lendingv1.Loan
	until(t, 60*time.Second, "the loan is written off", func() (bool, string) {
		ask(t, dir, &late, "lend", "loan", loan.Id)
		buckets[late.Bucket] = true
		return late.Status == "written_off", late.Status + " " + late.Bucket
	})
	if len(buckets) < 4 {
		t.Errorf("on its way it was %v", buckets)
	}
	kinds := map[string]int{}
	for _, e := range late.Events {
		kinds[e.Kind]++
	}
	if kinds["interest.accrued"] < 3 || kinds["penalty.charged"] < 3 || kinds["loan.written_off"] != 1 {
		t.Errorf("its events: %v", kinds)
	}
	n.stop(t)
	n = startNode(t, dir, "--rate", "0")
	run(t, dir, 0, "lend", "repay", loan.Id, "100.00", "--reference", "LATE-1")
	ask(t, dir, &late, "lend", "loan", loan.Id)
	if last := late.Events[len(late.Events)-1]; last.Kind != "loan.recovered" || last.Amounts["amount"] != "10000" {
		t.Errorf("recovered: %v", last)
	}
	principal := balanced(t, n)[account{156, 200}]
	if principal.GetDebitsPosted() != principal.GetCreditsPosted() {
		t.Errorf("principal is left in the books: %v", principal)
	}
	var application lendingv1.Application
	ask(t, dir, &application, "lend", "application", loan.Application)
	follow(t, n, &late, &application)
	unbreached(t, n)
}

// TestScore fits a card, and scores a file with it, broken rows and all.
func TestScore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	card, other := filepath.Join(dir, "card.json"), filepath.Join(dir, "other.json")
	path := writeFile(t, "taiwan.csv", syntheticTaiwan(400)+"401,broken\n")
	train := []string{"lend", "train", "--mapping", "taiwan", "--data", path, "--kind", "scorecard", "--out"}
	for _, out := range []string{card, other} {
		if _, complaint, status := execute(t, dir, "", append(train, out)...); status != 0 ||
			!strings.Contains(complaint, "401") {
			t.Fatalf("train: exit status %d\n%s", status, complaint)
		}
	}
	if readFile(t, card) != readFile(t, other) {
		t.Error("the same rows gave two models")
	}
	out, complaint, status := execute(t, dir, "", "lend", "score", "--model", card, "--mapping", "taiwan",
		"--data", path, "-o", "json")
	if err := objects(out); status != 0 || err != nil || strings.Count(out, "pd_ppm") != 400 ||
		!strings.Contains(complaint, "401") {
		t.Errorf("score: exit status %d, %v, %d rows\n%s", status, err, strings.Count(out, "pd_ppm"), complaint)
	}
	model := readFile(t, card)
	at := strings.Index(model, `"base"`)
	damaged := writeFile(t, "damaged.json", model[:max(at, 0)]+strings.Replace(model[max(at, 0):], "1", "2", 1))
	refused(t, dir, 1, nil, "lend", "score", "--model", damaged, "--mapping", "taiwan", "--data", path)
}
