//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"

	ledgerv1 "surety/api/ledger/v1"
	lendingv1 "surety/api/lending/v1"
)

// TestFreeze stops money: no loan is paid out until two people have let it go again, and every
// applicant meanwhile gets an end with a reason.
func TestFreeze(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := startNode(t, dir, "--rate", "0")
	admin := n.adminToken(t)
	before := lend(t, n, "freeze-before")

	var freeze ledgerv1.FreezeState
	ask(t, dir, &freeze, "ledger", "freeze", "code", "--ledger", "156", "--code", "20",
		"--reason", "wrong rate released")
	if freeze.State != "in_force" || freeze.By != "local" || freeze.Code != 20 {
		t.Errorf("the freeze: %v", &freeze)
	}
	stopped := apply(t, n, "freeze-during")
	if a := stopped.Application; a.Status != "cancelled" || a.CancelledReason != "code_frozen" ||
		stopped.Loan.GetStatus() != "cancelled" {
		t.Errorf("while payments are frozen: %v", stopped)
	}
	unpaid(t, n, stopped)
	if again := apply(t, n, "freeze-during"); again.Application.Status != "cancelled" {
		t.Errorf("the same application again: %v", again)
	}
	// Other money still moves: the freeze is as small as it was said to be.
	var repaid lendingv1.RepayResponse
	ask(t, dir, &repaid, "lend", "repay", before.Id, "10.00", "--reference", "FREEZE-1")

	// The reservation of the limit is refused: then the policy decides again, and has a reason.
	var second ledgerv1.FreezeState
	ask(t, dir, &second, "ledger", "freeze", "code", "--ledger", "156", "--code", "11",
		"--reason", "limits under review")
	declined := apply(t, n, "freeze-reserve")
	if a := declined.Application; a.Status == "disbursed" || a.Decision.GetOutcome() == "approve" ||
		len(a.Decision.GetReasons()) == 0 || declined.Loan != nil {
		t.Errorf("while reservations are frozen: %v", declined)
	}
	list := run(t, dir, 0, "ledger", "freezes")
	if !strings.Contains(list, "wrong rate released") || !strings.Contains(list, "limits under review") {
		t.Errorf("the freezes in force:\n%s", list)
	}

	// A start does not let money go.
	n.stop(t)
	n = startNode(t, dir, "--rate", "0")
	if a := apply(t, n, "freeze-after-start").Application; a.Status == "disbursed" {
		t.Errorf("after a start: %v", a)
	}
	release(t, n, admin, freeze.Id)
	release(t, n, admin, second.Id)
	lend(t, n, "freeze-after")
	frozenAccount(t, n, before)
	balanced(t, n)
	unbreached(t, n)
}

// unpaid wants nothing of a loan in the ledger, and the withdrawal on its trace.
func unpaid(t *testing.T, n *node, stopped *lendingv1.SubmitResponse) {
	t.Helper()
	var kinds []string
	for _, e := range stopped.Loan.GetEvents() {
		kinds = append(kinds, e.Kind)
		if e.Kind != "loan.disbursed" {
			continue
		}
		if moved := transfersOf(t.Context(), t, n, e.Id); len(moved) != 0 {
			t.Errorf("a loan that was stopped has postings: %v", moved)
		}
	}
	for _, step := range trace(t, n, stopped.Application.Id).Steps {
		kinds = append(kinds, step.Kind)
	}
	if !slices.Contains(kinds, "event.cancelled") {
		t.Errorf("nothing withdraws the payment: %v", kinds)
	}
}

// release ends a freeze in twos, after everyone who may not do it alone has tried.
func release(t *testing.T, n *node, admin, freeze string) {
	t.Helper()
	let := []string{"ledger", "release", freeze}
	propose := []string{"ledger", "request-release", freeze, "--reason", "looked at"}
	refused(t, n.dir, 1, []string{"risk"}, let...)
	refused(t, n.dir, 1, []string{"nobody has proposed"}, append(let, "--token", admin)...)
	run(t, n.dir, 0, append(propose, "--token", admin)...)
	refused(t, n.dir, 1, []string{"second person"}, append(let, "--token", admin)...)
	// Two tokens of one name are one person.
	other := strings.TrimSpace(run(t, n.dir, 0, "access", "token", "create", "--name", "admin",
		"--role", "risk"))
	until(t, tokenLimit, "the node knows the new token", func() (bool, string) {
		_, complaint, status := execute(t, n.dir, "", append(let, "--token", other)...)
		return status == 1 && strings.Contains(complaint, "second person"), complaint
	})
	var state ledgerv1.FreezeState
	ask(t, n.dir, &state, propose...)
	if state.State != "release_requested" || state.ReleaseRequestedBy != "local" {
		t.Errorf("proposed: %v", &state)
	}
	ask(t, n.dir, &state, append(let, "--token", admin)...)
	if state.State != "released" || state.ReleasedBy != "admin" {
		t.Errorf("released: %v", &state)
	}
	refused(t, n.dir, 1, []string{"no freeze"}, append(let, "--token", admin)...)
}

// frozenAccount stops the principal account of one loan: its repayments are refused with nothing
// half done, and those of others are not.
func frozenAccount(t *testing.T, n *node, loan *lendingv1.Loan) {
	t.Helper()
	var principal string
	for _, e := range loan.Events {
		if e.Kind != "loan.disbursed" {
			continue
		}
		for _, moved := range transfersOf(t.Context(), t, n, e.Id) {
			if moved.Code == 20 {
				principal = moved.DebitAccount
			}
		}
	}
	var freeze ledgerv1.FreezeState
	ask(t, n.dir, &freeze, "ledger", "freeze", "account", "--account", principal, "--sides", "both",
		"--reason", "disputed", "--expires-in", "1h")
	if freeze.ExpiresAt == "" || freeze.Account != principal {
		t.Errorf("the freeze: %v", &freeze)
	}
	count := func() int {
		all, err := n.ledger().AccountTransfers(t.Context(),
			connect.NewRequest(&ledgerv1.AccountTransfersRequest{Account: principal}))
		if err != nil {
			t.Fatal(err)
		}
		return len(all.Msg.Transfers)
	}
	before, trial := count(), run(t, n.dir, 0, "ledger", "balances")
	refused(t, n.dir, 1, []string{"frozen"}, "lend", "repay", loan.Id, "500.00", "--reference", "FREEZE-2")
	if after := count(); after != before || trial != run(t, n.dir, 0, "ledger", "balances") {
		t.Error("a refused repayment has moved money")
	}
	lend(t, n, "freeze-other")
}
