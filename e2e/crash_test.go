//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	ledgerv1 "surety/api/ledger/v1"
	lendingv1 "surety/api/lending/v1"
	"surety/base/money"
	"surety/lending/population"
	"surety/lending/score"
	"surety/lending/score/merchant"
)

// crashWorkers is how many clients load the node at once.
const crashWorkers = 8

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

// testSeed returns the seed of a random test: a new one, or the one that SURETY_SEED says.
func testSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SURETY_SEED"); text != "" {
		parsed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("SURETY_SEED: %v", err)
		}
		seed = parsed
	}
	t.Logf("SURETY_SEED=%d", seed)
	return seed
}

// TestKillLosesNothing kills the node at random moments under load, starts it again, and holds it
// to everything it had acknowledged: each application with the decision that was told, each loan
// that was told to be paid out with its money posted once, each repayment and each transfer counted
// once. What was in doubt is sent again and happens once. Debits equal credits, the guard has no
// breach, and the evidence log has each business event once.
func TestKillLosesNothing(t *testing.T) {
	seed := testSeed(t)
	random := rand.New(rand.NewPCG(seed, 1))
	j := newJournal(t, seed)
	plain := []string{"--rate", "0"}
	dir, lapse := t.TempDir(), timeLapse(t)
	for round := range crashRounds(t) {
		// Every fourth round is in time-lapse, so that instalments fall due and loans are written off
		// under the load and between the kills.
		args := plain
		if round%4 == 2 {
			args = lapse
		}
		n := startNode(t, dir, args...)
		j.verify(t, n, 40)
		j.loadAndKill(t, n, random, round)
		if random.IntN(4) == 0 { // and once more while it recovers
			n := launchNode(t, dir, args...)
			n.wait(t, random.IntN(150), true)
			n.kill(t)
		}
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	n := startNode(t, dir, plain...)
	j.verify(t, n, len(j.told))
	j.verifyLog(t, n)
	if len(j.told) == 0 || len(j.repaid) == 0 || len(j.moved) == 0 {
		t.Error("the load did nothing: the test proves nothing")
	}
	t.Logf("acknowledged and found: %d applications, %d loans, %d repayments, %d transfers; "+
		"in doubt at a kill: %d", len(j.told), len(j.loans), len(j.repaid), len(j.moved), j.doubts)
}

// loadAndKill loads the node and ends it at a random moment: at once, or while it is stopping.
func (j *journal) loadAndKill(t *testing.T, n *node, random *rand.Rand, round int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stopping := random.IntN(6) == 0
	var group sync.WaitGroup
	for worker := range crashWorkers {
		own := rand.New(rand.NewPCG(j.seed, uint64(round*crashWorkers+worker+2)))
		group.Go(func() { j.load(ctx, t, n, own, stopping) })
	}
	n.wait(t, 50+random.IntN(900), false)
	if stopping {
		if err := n.command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		n.wait(t, random.IntN(60), true)
	}
	n.kill(t)
	cancel()
	group.Wait()
}

// journal is what the client knows: what it sent, and what it was told.
type journal struct {
	seed       uint64
	applicants *population.Population

	mu       sync.Mutex
	next     uint64                             // the applicant whose turn it is
	told     []told                             // applications that were answered
	doubt    map[string]uint64                  // applicants sent and not answered, by key
	loans    []string                           // told to be paid out
	repaid   map[string]*lendingv1.RepayRequest // acknowledged, by reference
	repaying map[string]*lendingv1.RepayRequest // sent and not answered
	moved    map[string]uint64                  // transfers acknowledged: amount by id
	moving   map[string]*ledgerv1.Transfer      // sent and not answered
	doubts   int                                // how much was ever in doubt
	logSize  uint64                             // of the evidence log, as last told
}

// told is an answered application, as much of it as never changes.
type told struct {
	applicant                    uint64
	id, customer, received       string
	outcome, inputs              string
	loan, contract, disbursement string
	principal                    money.Amount
}

func newJournal(t *testing.T, seed uint64) *journal {
	t.Helper()
	model, err := merchant.Shipped(score.KindCard)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, feature := range model.Features() {
		names = append(names, feature.Name)
	}
	applicants, err := population.New(seed, names)
	if err != nil {
		t.Fatal(err)
	}
	return &journal{seed: seed, applicants: applicants, doubt: map[string]uint64{},
		repaid:   map[string]*lendingv1.RepayRequest{},
		repaying: map[string]*lendingv1.RepayRequest{},
		moved:    map[string]uint64{}, moving: map[string]*ledgerv1.Transfer{}}
}

// load sends applications, repayments and transfers until ctx ends or the node is gone. A node that
// answers with an error, rather than not at all, fails the test, unless it is stopping.
func (j *journal) load(ctx context.Context, t *testing.T, n *node, random *rand.Rand, stopping bool) {
	for ctx.Err() == nil {
		err := j.one(ctx, n, random)
		if err == nil {
			continue
		}
		if !stopping && connect.CodeOf(err) != connect.CodeUnavailable && !cutOff(err) {
			t.Errorf("under load: %v", err)
		}
		return
	}
}

// one sends one application, repayment or batch of transfers.
func (j *journal) one(ctx context.Context, n *node, random *rand.Rand) error {
	switch random.IntN(8) {
	case 0:
		return j.move(ctx, n, random)
	case 1, 2:
		return j.repay(ctx, n, random)
	}
	return j.submit(ctx, n, j.take())
}

// cutOff reports whether a call ended without an answer.
func cutOff(err error) bool {
	for _, sign := range []string{"EOF", "connection reset", "connection refused", "broken pipe",
		"context canceled", "use of closed network connection"} {
		if strings.Contains(err.Error(), sign) {
			return true
		}
	}
	return false
}

// take returns the applicant whose turn it is and notes that he is in doubt.
func (j *journal) take() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	index := j.next
	j.next++
	j.doubt[j.applicants.At(index).Key] = index
	return index
}

// submit sends an applicant and notes the answer.
func (j *journal) submit(ctx context.Context, n *node, index uint64) error {
	response, err := j.ask(ctx, n, index)
	if err != nil {
		return err
	}
	answer, err := toldOf(index, response)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.doubt, j.applicants.At(index).Key)
	j.told = append(j.told, answer)
	if answer.loan != "" {
		j.loans = append(j.loans, answer.loan)
	}
	return nil
}

func (j *journal) ask(ctx context.Context, n *node, index uint64) (*lendingv1.SubmitResponse, error) {
	a := j.applicants.At(index)
	response, err := n.lending().Submit(ctx, connect.NewRequest(&lendingv1.SubmitRequest{
		IdempotencyKey: a.Key, Form: a.Form, Features: a.Features}))
	if err != nil {
		return nil, err
	}
	return response.Msg, nil
}

// toldOf reads an answer, which must be final: declined, referred, or paid out.
func toldOf(index uint64, response *lendingv1.SubmitResponse) (told, error) {
	a, loan := response.Application, response.Loan
	answer := told{applicant: index, id: a.Id, customer: a.Customer, received: a.ReceivedAt,
		outcome: a.Decision.GetOutcome(), inputs: a.Decision.GetInputsDigest(), loan: loan.GetId(),
		contract: loan.GetContract().GetDigest()}
	switch status := a.Status; {
	case status == "declined" && answer.outcome == "decline" && loan == nil,
		status == "referred" && answer.outcome == "refer" && loan == nil:
		return answer, nil
	case status != "disbursed" || answer.outcome != "approve" || loan == nil:
		return told{}, fmt.Errorf("the answer is not final: %v, %v", a, loan)
	}
	switch loan.Status {
	case "active", "closed", "written_off":
	default:
		return told{}, fmt.Errorf("a loan that was paid out is %s: %v", loan.Status, loan)
	}
	var err error
	if answer.principal, err = money.ParseMinor(loan.Contract.Principal); err != nil {
		return told{}, err
	}
	for _, e := range loan.Events {
		if e.Kind == "loan.disbursed" {
			answer.disbursement = e.Id
			return answer, nil
		}
	}
	return told{}, fmt.Errorf("loan %s has no disbursement: %v", loan.Id, loan.Events)
}

// repay pays a little of a loan that was told to be paid out.
func (j *journal) repay(ctx context.Context, n *node, random *rand.Rand) error {
	j.mu.Lock()
	if len(j.loans) == 0 {
		j.mu.Unlock()
		return nil
	}
	request := &lendingv1.RepayRequest{Loan: j.loans[random.IntN(len(j.loans))],
		Amount:    strconv.Itoa(100 + random.IntN(900)),
		Reference: fmt.Sprintf("crash-%016x", random.Uint64())}
	j.repaying[request.Reference] = request
	j.mu.Unlock()
	return j.repayAgain(ctx, n, request)
}

func (j *journal) repayAgain(ctx context.Context, n *node, request *lendingv1.RepayRequest) error {
	if _, err := n.lending().Repay(ctx, connect.NewRequest(request)); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.repaying, request.Reference)
	j.repaid[request.Reference] = request
	return nil
}

// The accounts between which the clients move money, in a ledger that lending does not use.
const (
	crashLedger = 978
	crashCode   = 7
	crashDebit  = "c0de0001"
	crashCredit = "c0de0002"
)

// move sends some transfers.
func (j *journal) move(ctx context.Context, n *node, random *rand.Rand) error {
	var batch []*ledgerv1.Transfer
	j.mu.Lock()
	for range 1 + random.IntN(20) {
		t := &ledgerv1.Transfer{Id: fmt.Sprintf("%032x", random.Uint64()|1<<63),
			DebitAccount: crashDebit, CreditAccount: crashCredit, Ledger: crashLedger,
			Code: crashCode, Amount: strconv.Itoa(1 + random.IntN(1_000))}
		j.moving[t.Id] = t
		batch = append(batch, t)
	}
	j.mu.Unlock()
	return j.moveAgain(ctx, n, batch)
}

func (j *journal) moveAgain(ctx context.Context, n *node, batch []*ledgerv1.Transfer) error {
	response, err := n.ledger().CreateTransfers(ctx,
		connect.NewRequest(&ledgerv1.CreateTransfersRequest{Transfers: batch}))
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, result := range response.Msg.Results {
		if result != "ok" && result != "exists" {
			return fmt.Errorf("transfer %v: %s", batch[i], result)
		}
		amount, err := strconv.ParseUint(batch[i].Amount, 10, 64)
		if err != nil {
			return err
		}
		delete(j.moving, batch[i].Id)
		j.moved[batch[i].Id] = amount
	}
	return nil
}
