package origination_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"surety/base/errs"
	"surety/lending"
	"surety/lending/lendingtest"
	"surety/lending/origination"
	"surety/lending/score"
	"surety/lending/store"
)

// TestApplicants takes hundreds of synthetic applicants, many at once: every decision comes out
// again from what is stored, and is explained to the last point, also by a later process.
func TestApplicants(t *testing.T) {
	const applicants, atOnce = 800, 16
	w := lendingtest.New(t)
	of := w.Applicants(99, true)
	answers := make([]origination.Answer, applicants)
	var group sync.WaitGroup
	for worker := range atOnce {
		group.Go(func() {
			for i := worker; i < applicants; i += atOnce {
				var err error
				if answers[i], err = w.Origination.Submit(t.Context(), of(uint64(i))); err != nil {
					t.Errorf("applicant %d: %v", i, err)
				}
			}
		})
	}
	group.Wait()
	w.Audit()
	w.Reopen()
	outcomes := map[string]int{}
	for i := range answers {
		row, err := w.Store.Application(t.Context(), answers[i].Application.ID)
		if err != nil {
			t.Fatal(err)
		}
		outcomes[row.Outcome]++
		replayed(t, w, &row)
		explained(t, w, &row)
		if answers[i].Loan != nil {
			loan, err := w.Store.Loan(t.Context(), row.Loan)
			if err != nil || loan.TruePD != of(uint64(i)).TruePD {
				t.Errorf("loan %s: simulated %d, %v", row.Loan, loan.TruePD, err)
			}
		}
	}
	t.Logf("%v", outcomes)
	if outcomes["approve"] < applicants/2 || outcomes["decline"] < applicants/20 || outcomes["refer"] == 0 {
		t.Errorf("outcomes %v", outcomes)
	}
	w.Audit()
}

// explained sees that the contributions of all features, with the base, are the score, and that each
// factor of the decision has a sentence.
func explained(t *testing.T, w *lendingtest.World, row *store.Application) {
	t.Helper()
	told, err := w.Origination.Explain(t.Context(), row)
	if err != nil {
		t.Fatal(err)
	}
	for _, result := range []*score.Result{&told.Card, &told.Forest} {
		sum := result.Base
		for _, c := range result.Contributions {
			sum += c.Amount
		}
		if sum != result.Score {
			t.Errorf("%s: %s: base and contributions are %d, the score %d", row.Key, result.Kind, sum,
				result.Score)
		}
	}
	scores := told.Inputs.Scores
	if int64(scores.Points) != told.Card.Score || int64(scores.ModelPDMicro) != told.Forest.PDMicro {
		t.Errorf("%s: stored points %d and risk %d, computed %d and %d", row.Key, scores.Points,
			scores.ModelPDMicro, told.Card.Score, told.Forest.PDMicro)
	}
	for _, factor := range told.Decision.Factors {
		if told.Factors[factor.Code] == "" {
			t.Errorf("%s: factor %s has no sentence", row.Key, factor.Code)
		}
	}
}

// TestReplayFindsChanges changes what is stored of a decision, one thing at a time: each is found.
func TestReplayFindsChanges(t *testing.T) {
	w := lendingtest.New(t)
	good := w.Lent(lendingtest.Merchant(1)).Application
	tests := []struct {
		what   string
		change func(row *store.Application)
		kind   errs.Kind // of the error, where it cannot be computed at all
		want   string
	}{
		{"nothing", func(*store.Application) {}, 0, ""},
		{"a feature", func(row *store.Application) { swap(row, `"features":[120,`, `"features":[1,`) }, 0,
			"the scores of the stored features are not the stored scores"},
		{"a score", func(row *store.Application) { swap(row, `points `, `points 1`) }, 0,
			"the scores of the stored features are not the stored scores"},
		{"a signal", func(row *store.Application) { swap(row, `active_loans 0`, `active_loans 1`) }, 0,
			"the decision of the stored scores is not the stored decision"},
		{"the decision", func(row *store.Application) {
			row.Decision = []byte(strings.Replace(string(row.Decision), "approve", "decline", 1))
		}, 0, "the decision of the stored scores is not the stored decision"},
		{"a model's digest", func(row *store.Application) { swap(row, `card `, `card 00`) }, errs.Corrupt, ""},
		{"the policy's digest", func(row *store.Application) { row.Inputs = otherPolicy(row.Inputs) },
			errs.NotFound, ""},
		{"the whole", func(row *store.Application) { row.Inputs = []byte("{") }, errs.Corrupt, ""},
	}
	for _, tt := range tests {
		row := good
		tt.change(&row)
		_, difference, err := w.Origination.Replay(t.Context(), &row)
		if difference != tt.want || (tt.kind == 0) != (err == nil) || err != nil && !errs.Is(err, tt.kind) {
			t.Errorf("%s: %q, %v; want %q, kind %v", tt.what, difference, err, tt.want, tt.kind)
		}
	}
}

func swap(row *store.Application, from, to string) {
	row.Inputs = []byte(strings.Replace(string(row.Inputs), from, to, 1))
}

func otherPolicy(inputs []byte) []byte {
	var stored map[string]json.RawMessage
	if err := json.Unmarshal(inputs, &stored); err != nil {
		panic(err)
	}
	stored["policy"] = json.RawMessage(`"` + strings.Repeat("ab", 32) + `"`)
	changed, err := json.Marshal(stored)
	if err != nil {
		panic(err)
	}
	return changed
}

// TestOldProgrammes decides under one catalogue, changes it, and replays and concludes under what
// was decided by.
func TestOldProgrammes(t *testing.T) {
	w := lendingtest.New(t)
	decided := w.Lent(lendingtest.Merchant(1)).Application
	w.Settled()
	w.Gate.Arm(lendingtest.Fault{Step: 1, Crash: true, Kind: errs.Unavailable})
	if _, err := w.Origination.Submit(t.Context(), lendingtest.Merchant(2)); err == nil {
		t.Fatal("the crash did not come")
	}
	terms := lending.Merchant310()
	terms.Version, terms.FeePermille = 2, 50
	changed, err := origination.NewCatalogue(&terms)
	if err != nil {
		t.Fatal(err)
	}
	changed[0].Policy.Bands = changed[0].Policy.Bands[:1]
	w.Catalogue = changed
	w.Reopen()
	replayed(t, w, &decided)
	row, err := w.Store.ApplicationByKey(t.Context(), "merchant-2")
	if err != nil || row.Status != store.StatusDisbursed {
		t.Fatalf("%s, %v", row.Status, err)
	}
	loan, err := w.Store.Loan(t.Context(), row.Loan)
	if err != nil {
		t.Fatal(err)
	}
	contract, err := lending.DecodeContract(loan.Contract)
	if err != nil || contract.Product.FeePermille != 5 || contract.Product.Version != 1 {
		t.Errorf("contracted under version %d, %v", contract.Product.Version, err)
	}
	w.Audit()
}

// TestProgrammes refuses parts that do not fit together.
func TestProgrammes(t *testing.T) {
	programmes, err := origination.NewCatalogue(nil)
	if err != nil {
		t.Fatal(err)
	}
	p, other := programmes[0], programmes[1]
	terms := p.Product
	terms.Version = 0
	policy := p.Policy
	policy.Bands = nil
	tests := []struct {
		what string
		make func() (*origination.Programme, error)
	}{
		{"terms out of limits", func() (*origination.Programme, error) {
			return origination.NewProgramme(terms, p.Policy, p.Card, p.Forest)
		}},
		{"a policy without bands", func() (*origination.Programme, error) {
			return origination.NewProgramme(p.Product, policy, p.Card, p.Forest)
		}},
		{"models the wrong way round", func() (*origination.Programme, error) {
			return origination.NewProgramme(p.Product, p.Policy, p.Forest, p.Card)
		}},
		{"models of other features", func() (*origination.Programme, error) {
			return origination.NewProgramme(p.Product, p.Policy, p.Card, other.Forest)
		}},
	}
	for _, tt := range tests {
		if _, err := tt.make(); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
	if _, err := programmes.Named("consumer-310"); err != nil {
		t.Error(err)
	}
	if _, err := programmes.Named("nonesuch"); !errs.Is(err, errs.NotFound) {
		t.Errorf("unknown product: %v", err)
	}
	if _, err := origination.NewCatalogue(&terms); !errs.Is(err, errs.Invalid) {
		t.Errorf("a catalogue of terms out of limits: %v", err)
	}
}

// TestLapsed comes back an hour after the crash between the two commits of a payment: the
// reservation has lapsed, the approval is withdrawn and the limit is whole.
func TestLapsed(t *testing.T) {
	w := lendingtest.New(t)
	w.Gate.Arm(lendingtest.Fault{Step: 4, Crash: true, Kind: errs.Unavailable})
	_, err := w.Origination.Submit(t.Context(), lendingtest.Merchant(1))
	wantKind(t, err, errs.Unavailable)
	w.Clock.Advance(2 * 3_600_000_000_000)
	w.Reopen()
	row, err := w.Store.ApplicationByKey(t.Context(), "merchant-1")
	if err != nil || row.Status != store.StatusCancelled || row.CancelledReason != "pending_transfer_expired" {
		t.Errorf("%s for %q, %v", row.Status, row.CancelledReason, err)
	}
	w.Audit()
	w.Lent(next(lendingtest.Merchant(1), 2))
	if sum, unused := granted(t, w, row.Customer); sum.Lo != 270_000_00 || unused.Lo != 210_000_00 {
		t.Errorf("granted %s, unused %s", sum, unused)
	}
	w.Audit()
}

// TestConclude is harmless for whatever is at its end, and says what it does not know.
func TestConclude(t *testing.T) {
	w := lendingtest.New(t)
	lent := w.Lent(lendingtest.Merchant(1)).Application
	declined := submit(t, w, lendingtest.Hopeless(2)).Application
	before := w.Store.LastEvent()
	for _, row := range []store.Application{lent, declined} {
		if err := w.Origination.Conclude(t.Context(), row.ID); err != nil {
			t.Error(err)
		}
	}
	if w.Store.LastEvent() != before {
		t.Error("something happened")
	}
	if err := w.Origination.Conclude(t.Context(), lent.Trace); !errs.Is(err, errs.NotFound) {
		t.Errorf("unknown application: %v", err)
	}
}

// TestUnfinishable damages the inputs of an application without a decision: recovery passes over it
// and finishes the rest.
func TestUnfinishable(t *testing.T) {
	w := lendingtest.New(t)
	for i := range 3 {
		w.Gate.Arm(lendingtest.Fault{Step: 1, Kind: errs.Busy})
		if _, err := w.Origination.Submit(t.Context(), lendingtest.Merchant(i)); !errs.Is(err, errs.Busy) {
			t.Fatal(err)
		}
		w.Gate.Clear()
	}
	damage(t, w, "merchant-1")
	done, err := w.Recovery.Finish(t.Context())
	if err != nil || done.Finished != 2 || done.Left != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	for key, status := range map[string]string{"merchant-0": "disbursed", "merchant-1": "received",
		"merchant-2": "disbursed"} {
		row, err := w.Store.ApplicationByKey(t.Context(), key)
		if err != nil || row.Status != status {
			t.Errorf("%s is %s, %v", key, row.Status, err)
		}
	}
	_, err = w.Origination.Submit(t.Context(), lendingtest.Merchant(1))
	var form *origination.FormError
	if !errs.Is(err, errs.Corrupt) || errors.As(err, &form) {
		t.Errorf("again: %v", err)
	}
}

// damage writes what is no inputs into an application.
func damage(t *testing.T, w *lendingtest.World, key string) {
	t.Helper()
	err := w.Store.Commit(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE applications SET inputs = '{' WHERE idempotency_key = ?`, key)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
