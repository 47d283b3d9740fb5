//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	guardv1 "surety/api/guard/v1"
	"surety/api/guard/v1/guardv1connect"
	ledgerv1 "surety/api/ledger/v1"
	"surety/api/ledger/v1/ledgerv1connect"
	lendingv1 "surety/api/lending/v1"
	"surety/api/lending/v1/lendingv1connect"
	"surety/base/money"
	"surety/lending/population"
	"surety/lending/score"
	"surety/lending/score/merchant"
)

// journal is what the client knows: what it sent, and what it was told.
type journal struct {
	mu       sync.Mutex
	sent     map[string]*lendingv1.SubmitRequest // by idempotency key
	told     map[string]*lendingv1.SubmitResponse
	repaid   map[string]*lendingv1.RepayRequest // acknowledged, by reference
	inDoubt  map[string]*lendingv1.RepayRequest // sent, not answered
	sequence uint64
}

// crashRounds is how often the node is killed; SURETY_CRASH_ROUNDS asks for more.
func crashRounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("SURETY_CRASH_ROUNDS")
	if text == "" {
		return 8
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("SURETY_CRASH_ROUNDS=%q is not a count", text)
	}
	return n
}

// TestKillLosesNothing kills the node at random moments under load, starts it again, and holds it
// to everything it had acknowledged: each application is there with the decision that was told,
// each loan told to be disbursed has its money posted once, each repayment counted once, what was
// in doubt can be sent again and happens once, debits equal credits, and the guard has no breach.
func TestKillLosesNothing(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SURETY_SEED"); text != "" {
		parsed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = parsed
	}
	t.Logf("SURETY_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	applicants := newApplicants(t, seed)
	j := &journal{sent: map[string]*lendingv1.SubmitRequest{}, told: map[string]*lendingv1.SubmitResponse{},
		repaid: map[string]*lendingv1.RepayRequest{}, inDoubt: map[string]*lendingv1.RepayRequest{}}
	dir := t.TempDir()
	args := []string{"--rate", "0", "--set", "lending.days_per_minute=0"}
	for round := range crashRounds(t) {
		n := startNode(t, dir, args...)
		j.verify(t, n, round)
		ctx, cancel := context.WithCancel(context.Background())
		var group sync.WaitGroup
		for worker := range 8 {
			group.Go(func() { j.load(ctx, n, applicants, rand.New(rand.NewPCG(seed, uint64(round*8+worker+2)))) })
		}
		<-time.After(time.Duration(50+random.IntN(900)) * time.Millisecond)
		n.kill(t)
		cancel()
		group.Wait()
	}
	n := startNode(t, dir, args...)
	j.verify(t, n, -1)
	t.Logf("%d applications acknowledged, %d repayments", len(j.told), len(j.repaid))
	if len(j.told) == 0 || len(j.repaid) == 0 {
		t.Error("the load did nothing: the test proves nothing")
	}
}

func newApplicants(t *testing.T, seed uint64) *population.Population {
	t.Helper()
	model, err := merchant.Shipped(score.KindCard)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, feature := range model.Features() {
		names = append(names, feature.Name)
	}
	p, err := population.New(seed, names)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// load sends applications and repayments until ctx ends or the node is gone.
func (j *journal) load(ctx context.Context, n *node, from *population.Population, random *rand.Rand) {
	lending := lendingv1connect.NewLendingServiceClient(http.DefaultClient, n.url(""))
	for ctx.Err() == nil {
		if random.IntN(4) == 0 && j.repay(ctx, lending, random) != nil {
			return
		}
		request := j.next(from)
		response, err := lending.Submit(ctx, connect.NewRequest(request))
		if err != nil {
			return
		}
		j.mu.Lock()
		j.told[request.IdempotencyKey] = response.Msg
		j.mu.Unlock()
	}
}

func (j *journal) next(from *population.Population) *lendingv1.SubmitRequest {
	j.mu.Lock()
	defer j.mu.Unlock()
	a := from.At(j.sequence)
	j.sequence++
	request := &lendingv1.SubmitRequest{IdempotencyKey: a.Key, Form: a.Form, Features: a.Features}
	j.sent[a.Key] = request
	return request
}

// repay pays a little of a loan that was told to be disbursed.
func (j *journal) repay(ctx context.Context, lending lendingv1connect.LendingServiceClient, random *rand.Rand) error {
	j.mu.Lock()
	var loan string
	for _, response := range j.told { // any will do
		if response.Loan != nil && response.Loan.Status == "active" {
			loan = response.Loan.Id
			break
		}
	}
	request := &lendingv1.RepayRequest{Loan: loan, Amount: strconv.Itoa(100 + random.IntN(900)),
		Reference: fmt.Sprintf("crash-%016x", random.Uint64())}
	if loan == "" {
		j.mu.Unlock()
		return nil
	}
	j.inDoubt[request.Reference] = request
	j.mu.Unlock()
	_, err := lending.Repay(ctx, connect.NewRequest(request))
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil {
		j.repaid[request.Reference] = request
		delete(j.inDoubt, request.Reference)
	}
	return err
}

// verify holds the node to the journal, and settles what was in doubt by sending it again.
func (j *journal) verify(t *testing.T, n *node, round int) {
	t.Helper()
	ctx := t.Context()
	lending := lendingv1connect.NewLendingServiceClient(http.DefaultClient, n.url(""))
	ledger := ledgerv1connect.NewLedgerServiceClient(http.DefaultClient, n.url(""))
	for key, request := range j.sent {
		response, err := lending.Submit(ctx, connect.NewRequest(request))
		if err != nil {
			t.Fatalf("round %d: %s sent again: %v\n%s", round, key, err, n.output)
		}
		if told := j.told[key]; told != nil {
			sameAnswer(t, round, told, response.Msg)
		}
		j.told[key] = response.Msg
		if response.Msg.Loan != nil {
			postedOnce(t, ctx, ledger, response.Msg)
		}
	}
	for reference, request := range j.inDoubt {
		if _, err := lending.Repay(ctx, connect.NewRequest(request)); err != nil {
			t.Fatalf("round %d: repayment %s sent again: %v", round, reference, err)
		}
		j.repaid[reference] = request
	}
	clear(j.inDoubt)
	j.repaidOnce(t, ctx, lending)
	balanced(t, ctx, ledger)
	guard := guardv1connect.NewGuardServiceClient(http.DefaultClient, n.url(""))
	breaches, err := guard.ListBreaches(ctx, connect.NewRequest(&guardv1.ListBreachesRequest{Limit: 10}))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range breaches.Msg.Breaches {
		t.Fatalf("round %d: breach %s %s: expected %s, found %s", round, b.Class, b.Title, b.Expected, b.Found)
	}
	// Some of what is known is forgotten, so that rounds stay short.
	for key := range j.sent {
		if len(j.sent) > 400 {
			delete(j.sent, key)
		}
	}
}

func sameAnswer(t *testing.T, round int, told, now *lendingv1.SubmitResponse) {
	t.Helper()
	a, b := told.Application, now.Application
	if a.Id != b.Id || a.Decision.GetInputsDigest() != b.Decision.GetInputsDigest() ||
		a.Decision.GetOutcome() != b.Decision.GetOutcome() || told.Loan.GetId() != now.Loan.GetId() ||
		told.Loan.GetContract().GetDigest() != now.Loan.GetContract().GetDigest() {
		t.Fatalf("round %d: application %s was told as\n%v, %v\nand is now\n%v, %v", round, a.Id, a,
			told.Loan, b, now.Loan)
	}
	if told.Loan.GetStatus() == "active" && now.Loan.GetStatus() == "cancelled" {
		t.Fatalf("round %d: loan %s was told to be paid out and is cancelled", round, told.Loan.Id)
	}
}

// postedOnce checks that a loan's disbursement is in the ledger, once and whole.
func postedOnce(t *testing.T, ctx context.Context, ledger ledgerv1connect.LedgerServiceClient,
	response *lendingv1.SubmitResponse) {
	t.Helper()
	if response.Loan.Status == "cancelled" {
		return
	}
	for _, e := range response.Loan.Events {
		if e.Kind != "loan.disbursed" {
			continue
		}
		found, err := ledger.LookupTransfers(ctx, connect.NewRequest(
			&ledgerv1.LookupTransfersRequest{UserData_128: e.Id}))
		if err != nil {
			t.Fatal(err)
		}
		lent := 0
		for _, transfer := range found.Msg.Transfers {
			if transfer.Code == 20 && transfer.Amount == response.Loan.Contract.Principal {
				lent++
			}
		}
		if lent != 1 {
			t.Fatalf("loan %s: its principal was lent %d times: %v", response.Loan.Id, lent, found.Msg)
		}
		return
	}
	t.Fatalf("loan %s has no disbursement: %v", response.Loan.Id, response.Loan)
}

// repaidOnce compares what loans say was repaid with the acknowledged repayments.
func (j *journal) repaidOnce(t *testing.T, ctx context.Context, lending lendingv1connect.LendingServiceClient) {
	t.Helper()
	want := map[string]money.Amount{}
	for _, request := range j.repaid {
		amount, err := money.ParseMinor(request.Amount)
		if err != nil {
			t.Fatal(err)
		}
		want[request.Loan], _ = want[request.Loan].Add(amount)
	}
	for id, amount := range want {
		loan, err := lending.GetLoan(ctx, connect.NewRequest(&lendingv1.GetLoanRequest{Id: id}))
		if err != nil {
			t.Fatal(err)
		}
		if loan.Msg.Repaid != amount.String() {
			t.Fatalf("loan %s: %s repaid, %s was acknowledged", id, loan.Msg.Repaid, amount)
		}
	}
}

// balanced checks that debits equal credits in every ledger.
func balanced(t *testing.T, ctx context.Context, ledger ledgerv1connect.LedgerServiceClient) {
	t.Helper()
	totals, err := ledger.ClassTotals(ctx, connect.NewRequest(&ledgerv1.ClassTotalsRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	debits, credits := map[uint32]money.Amount{}, map[uint32]money.Amount{}
	for _, total := range totals.Msg.Totals {
		add(t, debits, total.Ledger, total.DebitsPosted)
		add(t, credits, total.Ledger, total.CreditsPosted)
	}
	for number := range debits {
		if debits[number] != credits[number] {
			t.Fatalf("ledger %d: debits %s, credits %s", number, debits[number], credits[number])
		}
	}
}

func add(t *testing.T, into map[uint32]money.Amount, number uint32, text string) {
	t.Helper()
	amount, err := money.ParseMinor(text)
	if err != nil {
		t.Fatal(err)
	}
	into[number], _ = into[number].Add(amount)
}
