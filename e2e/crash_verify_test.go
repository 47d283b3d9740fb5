//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	evidencev1 "surety/api/evidence/v1"
	guardv1 "surety/api/guard/v1"
	ledgerv1 "surety/api/ledger/v1"
	lendingv1 "surety/api/lending/v1"
	nodev1 "surety/api/node/v1"
	"surety/base/money"
)

// verify settles what was in doubt by sending it again, and holds the node to the journal: by its
// totals for everything, and in detail for the newest answers and a random choice of older ones.
func (j *journal) verify(t *testing.T, n *node, detail int) {
	t.Helper()
	j.settle(t, n)
	chosen := j.choose(detail)
	eachOf(t, chosen, func(ctx context.Context, answer told) { j.verifyTold(ctx, t, n, answer) })
	references := slices.Collect(maps.Keys(j.repaid)) // in the random order of a map
	references = references[:min(detail, len(references))]
	eachOf(t, references, func(ctx context.Context, reference string) {
		j.verifyRepaid(ctx, t, n, j.repaid[reference])
	})
	j.verifyTotals(t, n)
	unbreached(t, n)
	size := checkpoint(t, n).Size
	if size < j.logSize {
		t.Errorf("the evidence log has %d records and had %d", size, j.logSize)
	}
	j.logSize = size
}

// settle sends again what was not answered.
func (j *journal) settle(t *testing.T, n *node) {
	t.Helper()
	ctx := t.Context()
	openCrashAccounts(t, n)
	j.doubts += len(j.doubt) + len(j.repaying) + len(j.moving)
	eachOf(t, slices.Collect(maps.Values(j.doubt)), func(ctx context.Context, index uint64) {
		if err := j.submit(ctx, n, index); err != nil {
			t.Errorf("applicant %d sent again: %v", index, err)
		}
	})
	eachOf(t, slices.Collect(maps.Values(j.repaying)),
		func(ctx context.Context, request *lendingv1.RepayRequest) {
			if err := j.repayAgain(ctx, n, request); err != nil {
				t.Errorf("repayment %v sent again: %v", request, err)
			}
		})
	for batch := range slices.Chunk(slices.Collect(maps.Values(j.moving)), 500) {
		if err := j.moveAgain(ctx, n, batch); err != nil {
			t.Errorf("transfers sent again: %v", err)
		}
	}
}

func openCrashAccounts(t *testing.T, n *node) {
	t.Helper()
	accounts := &ledgerv1.CreateAccountsRequest{Accounts: []*ledgerv1.Account{
		{Id: crashDebit, Ledger: crashLedger, Code: crashCode},
		{Id: crashCredit, Ledger: crashLedger, Code: crashCode}}}
	created, err := n.ledger().CreateAccounts(t.Context(), connect.NewRequest(accounts))
	if err != nil {
		t.Fatal(err)
	}
	for _, result := range created.Msg.Results {
		if result != "ok" && result != "exists" {
			t.Fatalf("the accounts of the test: %v", created.Msg.Results)
		}
	}
}

// choose returns up to count answers: half of them the newest, the others spread over the rest.
func (j *journal) choose(count int) []told {
	if count >= len(j.told) {
		return slices.Clone(j.told)
	}
	newest := len(j.told) - count/2
	chosen := slices.Clone(j.told[newest:])
	for i := range count / 2 {
		chosen = append(chosen, j.told[i*newest/(count/2)])
	}
	return chosen
}

// verifyTold asks again and compares; of a loan, the money must be in the ledger, once and whole.
func (j *journal) verifyTold(ctx context.Context, t *testing.T, n *node, before told) {
	response, err := j.ask(ctx, n, before.applicant)
	if err != nil {
		t.Errorf("applicant %d asked again: %v", before.applicant, err)
		return
	}
	now, err := toldOf(before.applicant, response)
	if err != nil || now != before {
		t.Errorf("applicant %d was told %+v and is now told %+v, %v", before.applicant, before, now, err)
		return
	}
	if before.loan == "" {
		return
	}
	lent := 0
	for _, transfer := range transfersOf(ctx, t, n, before.disbursement) {
		if transfer.Code == 20 && transfer.Amount == before.principal.String() {
			lent++
		}
	}
	if lent != 1 {
		t.Errorf("loan %s: its principal was lent %d times", before.loan, lent)
	}
}

// verifyRepaid finds the business event of a repayment, which must be the only one of its
// reference, and its money, which must have come in once.
func (j *journal) verifyRepaid(ctx context.Context, t *testing.T, n *node, request *lendingv1.RepayRequest) {
	loan, err := n.lending().GetLoan(ctx, connect.NewRequest(&lendingv1.GetLoanRequest{Id: request.Loan}))
	if err != nil {
		t.Error(err)
		return
	}
	taken := 0
	for _, e := range loan.Msg.Events {
		if e.Facts["reference"] != request.Reference {
			continue
		}
		for _, transfer := range transfersOf(ctx, t, n, e.Id) {
			if (transfer.Code == 50 || transfer.Code == 80) && transfer.Amount == request.Amount {
				taken++
			}
		}
	}
	if taken != 1 {
		t.Errorf("repayment %v came in %d times", request, taken)
	}
}

func transfersOf(ctx context.Context, t *testing.T, n *node, event string) []*ledgerv1.Transfer {
	found, err := n.ledger().LookupTransfers(ctx, connect.NewRequest(
		&ledgerv1.LookupTransfersRequest{UserData_128: event}))
	if err != nil {
		t.Error(err)
		return nil
	}
	return found.Msg.Transfers
}

// verifyTotals compares what the node has in all with what was acknowledged in all: something lost
// or done twice anywhere shows here.
func (j *journal) verifyTotals(t *testing.T, n *node) {
	t.Helper()
	var lent, repaid, moved money.Amount
	for _, answer := range j.told {
		lent, _ = lent.Add(answer.principal)
	}
	for _, request := range j.repaid {
		amount, err := money.ParseMinor(request.Amount)
		if err != nil {
			t.Fatal(err)
		}
		repaid, _ = repaid.Add(amount)
	}
	for _, amount := range j.moved {
		moved, _ = moved.Add(money.Minor(amount))
	}
	totals := balanced(t, n)
	principals := totals[account{156, 200}]
	for _, row := range []struct{ what, got, want string }{
		{"applications", strconv.FormatUint(board(t, n).Applications, 10), strconv.Itoa(len(j.told))},
		{"loans", strconv.FormatUint(principals.GetAccounts(), 10), strconv.Itoa(len(j.loans))},
		{"principal lent", amountOf(principals.GetDebitsPosted()), lent.String()},
		{"money from borrowers", amountOf(totals[account{156, 100}].GetDebitsPosted()), repaid.String()},
		{"money moved", amountOf(totals[account{crashLedger, crashCode}].GetCreditsPosted()), moved.String()},
	} {
		if row.got != row.want {
			t.Errorf("%s: %s in the node, %s acknowledged", row.what, row.got, row.want)
		}
	}
}

func amountOf(text string) string {
	if text == "" {
		return "0"
	}
	return text
}

// account is a class of accounts in a ledger.
type account struct{ ledger, code uint32 }

// balanced returns the trial balance, having checked that debits equal credits in every ledger.
func balanced(t *testing.T, n *node) map[account]*ledgerv1.ClassTotal {
	t.Helper()
	response, err := n.ledger().ClassTotals(t.Context(), connect.NewRequest(&ledgerv1.ClassTotalsRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	totals := map[account]*ledgerv1.ClassTotal{}
	type side struct {
		ledger  uint32
		pending bool
	}
	debits, credits := map[side]money.Amount{}, map[side]money.Amount{}
	for _, total := range response.Msg.Totals {
		totals[account{total.Ledger, total.Code}] = total
		for _, row := range []struct {
			into    map[side]money.Amount
			pending bool
			text    string
		}{{debits, false, total.DebitsPosted}, {credits, false, total.CreditsPosted},
			{debits, true, total.DebitsPending}, {credits, true, total.CreditsPending}} {
			amount, err := money.ParseMinor(row.text)
			if err != nil {
				t.Fatal(err)
			}
			key := side{total.Ledger, row.pending}
			row.into[key], _ = row.into[key].Add(amount)
		}
	}
	for key := range debits {
		if debits[key] != credits[key] {
			t.Errorf("%+v: debits %s, credits %s", key, debits[key], credits[key])
		}
	}
	return totals
}

// verifyLog proves the evidence log from its files, and wants every business event in it once: as
// many as the outbox has.
func (j *journal) verifyLog(t *testing.T, n *node) {
	t.Helper()
	if len(j.loans) == 0 {
		return
	}
	loan := j.loans[len(j.loans)-1]
	var trace *connect.Response[evidencev1.TraceResponse]
	until(t, 20*time.Second, "the log has caught up with the loan", func() (bool, string) {
		var err error
		trace, err = n.evidence().Trace(t.Context(), connect.NewRequest(&evidencev1.TraceRequest{Id: loan}))
		return err == nil, fmt.Sprintf("%v\n%s", err, n.output)
	})
	seen := map[string]bool{}
	for _, step := range trace.Msg.Steps {
		if !step.Proved {
			t.Errorf("step %d of loan %s is not proved", step.Index, loan)
		}
		if step.Part != "lending" {
			continue
		}
		var e struct{ ID string }
		if err := json.Unmarshal([]byte(step.Payload), &e); err != nil || e.ID == "" || seen[e.ID] {
			t.Errorf("event %q of loan %s stands twice, or is none: %v", e.ID, loan, err)
		}
		seen[e.ID] = true
	}
	n.stop(t)
	run(t, n.dir, 0, "evidence", "check")
}

// unbreached checks that the guard has found nothing.
func unbreached(t *testing.T, n *node) {
	t.Helper()
	breaches, err := n.guard().ListBreaches(t.Context(),
		connect.NewRequest(&guardv1.ListBreachesRequest{Limit: 10}))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range breaches.Msg.Breaches {
		if b.State != "drilled" {
			t.Errorf("breach %s %s: expected %s, found %s", b.Class, b.Title, b.Expected, b.Found)
		}
	}
}

func checkpoint(t *testing.T, n *node) *evidencev1.CheckpointResponse {
	t.Helper()
	response, err := n.evidence().Checkpoint(t.Context(), connect.NewRequest(&evidencev1.CheckpointRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	return response.Msg
}

func board(t *testing.T, n *node) *nodev1.Board {
	t.Helper()
	response, err := n.board().GetBoard(t.Context(), connect.NewRequest(&nodev1.GetBoardRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	return response.Msg
}

// eachOf does the same for all of a list, crashWorkers at once.
func eachOf[T any](t *testing.T, list []T, do func(context.Context, T)) {
	t.Helper()
	items := make(chan T)
	var group sync.WaitGroup
	for range crashWorkers {
		group.Go(func() {
			for item := range items {
				do(t.Context(), item)
			}
		})
	}
	for _, item := range list {
		items <- item
	}
	close(items)
	group.Wait()
}
