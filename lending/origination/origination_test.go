package origination_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/base/money"
	"surety/lending"
	"surety/lending/lendingtest"
	"surety/lending/origination"
	"surety/lending/store"
)

func TestApprove(t *testing.T) {
	w := lendingtest.New(t)
	s := lendingtest.Merchant(1)
	answer := w.Lent(s)
	row, loan := answer.Application, answer.Loan
	if row.Outcome != "approve" || row.Loan != loan.ID || loan.Status != store.LoanActive {
		t.Errorf("application %s with loan %s, loan %s %s", row.Outcome, row.Loan, loan.ID, loan.Status)
	}
	want := " application.received limit.granted limit.reserved application.decided"
	if got := w.Kinds(row.ID); got != want {
		t.Errorf("events of the application:%s", got)
	}
	if got := w.Kinds(loan.ID); got != " contract.signed loan.disbursed" {
		t.Errorf("events of the loan:%s", got)
	}
	fee := money.Minor(300_00)
	held, _ := s.Form.Amount.Sub(fee)
	if got := w.Balance(lending.ClassDeposit, row.Customer); got != held {
		t.Errorf("the customer has %s, want %s", got, held)
	}
	w.Settled()
	stored, err := w.Store.Application(t.Context(), row.ID)
	if err != nil || stored.Status != store.StatusDisbursed {
		t.Errorf("stored as %s, %v", stored.Status, err)
	}
	form, err := w.Origination.Form(t.Context(), &stored)
	if err != nil || form != s.Form {
		t.Errorf("form %+v, %v", form, err)
	}
	replayed(t, w, &stored)
	w.Audit()
}

func TestDecline(t *testing.T) {
	w := lendingtest.New(t)
	answer := submit(t, w, lendingtest.Hopeless(1))
	row := answer.Application
	if answer.Loan != nil || row.Status != store.StatusDeclined || row.Outcome != "decline" {
		t.Errorf("%+v", answer)
	}
	if got := reasons(t, &row); !strings.HasPrefix(got, "months_in_business debt") {
		t.Errorf("reasons %s", got)
	}
	if got := w.Kinds(row.ID); got != " application.received application.decided" {
		t.Errorf("events:%s", got)
	}
	w.Audit()
}

// TestSameKey sends one application again in every way.
func TestSameKey(t *testing.T) {
	w := lendingtest.New(t)
	s := lendingtest.Merchant(1)
	first := w.Lent(s)
	for range 3 {
		again := submit(t, w, s)
		if again.Application.ID != first.Application.ID || again.Loan.ID != first.Loan.ID ||
			again.Application.Status != store.StatusDisbursed || again.Loan.Status != store.LoanActive {
			t.Errorf("again: %+v", again)
		}
		w.Reopen()
	}
	// What comes beside the form may differ: the first counts.
	other := s
	other.Features = nil
	if again := submit(t, w, other); again.Application.ID != first.Application.ID {
		t.Errorf("other features: %+v", again)
	}
	for _, change := range []func(*origination.Submission){
		func(s *origination.Submission) { s.Form.Amount = money.Minor(50_000_00) },
		func(s *origination.Submission) { s.Form.Name = "Somebody Else" },
		func(s *origination.Submission) { s.Form.IDNumber = "OTHER-1" },
		func(s *origination.Submission) { s.Product = "consumer-310" },
	} {
		changed := s
		change(&changed)
		_, err := w.Origination.Submit(t.Context(), changed)
		wantKind(t, err, errs.Exists)
	}
	if n := applications(t, w); n != 1 {
		t.Errorf("%d applications", n)
	}
	w.Audit()
}

// TestKeyOfItsOwn sends two applications without keys: they are two.
func TestKeyOfItsOwn(t *testing.T) {
	w := lendingtest.New(t)
	s := lendingtest.Hopeless(1)
	s.Key = ""
	first, second := submit(t, w, s), submit(t, w, s)
	if first.Application.ID == second.Application.ID || first.Application.Key == "" {
		t.Errorf("%q and %q", first.Application.Key, second.Application.Key)
	}
	s.Key = first.Application.Key
	if again := submit(t, w, s); again.Application.ID != first.Application.ID {
		t.Error("the key that was chosen is not the application's")
	}
}

// TestRefused sees that what is refused at the door leaves nothing behind.
func TestRefused(t *testing.T) {
	w := lendingtest.New(t)
	many := map[string]string{}
	for i := range 257 {
		many[fmt.Sprintf("feature_%d", i)] = "1"
	}
	tests := []struct {
		what   string
		change func(*origination.Submission)
		kind   errs.Kind
	}{
		{"unknown product", func(s *origination.Submission) { s.Product = "nonesuch" }, errs.NotFound},
		{"a key too long", func(s *origination.Submission) { s.Key = strings.Repeat("k", 65) }, errs.Invalid},
		{"no consent", func(s *origination.Submission) { s.Form.Consent = false }, errs.Invalid},
		{"an amount that was not read", func(s *origination.Submission) {
			s.Unread = []lending.FieldError{{Field: "amount", Limit: "digits", Given: "x"}}
		}, errs.Invalid},
		{"too many features", func(s *origination.Submission) { s.Features = many }, errs.TooLarge},
		{"a feature that is no number", func(s *origination.Submission) {
			s.Features = map[string]string{"late_payments_12m": "some"}
		}, errs.Invalid},
	}
	for _, tt := range tests {
		s := lendingtest.Merchant(1)
		tt.change(&s)
		if _, err := w.Origination.Submit(t.Context(), s); !errs.Is(err, tt.kind) {
			t.Errorf("%s: %v, want kind %v", tt.what, err, tt.kind)
		}
	}
	if n := applications(t, w); n != 0 || w.Store.LastEvent() != 0 {
		t.Errorf("%d applications, %d events", n, w.Store.LastEvent())
	}
	// A feature that the model does not know says nothing; a huge number of digits is one number.
	s := lendingtest.Merchant(1)
	s.Features["nobody_asked"] = "1"
	s.Features["late_payments_12m"] = strings.Repeat("0", 100_000)
	w.Lent(s)
}

// TestFormError begins with every field out of its limits and mends one a row: what is wrong is told
// all at once, in the order of the form.
func TestFormError(t *testing.T) {
	w := lendingtest.New(t)
	good := lendingtest.Merchant(1)
	s := origination.Submission{Key: "form", Form: lending.Application{Figures: lending.Figures{
		MonthsInBusiness: -1, Employees: -1}},
		Unread: []lending.FieldError{{Field: "existing_debt", Limit: "digits of minor units", Given: `"-5"`}}}
	s.Form.MonthlyTurnover = money.Max
	mend := []struct {
		field string
		to    func()
	}{
		{"name", func() { s.Form.Name = good.Form.Name }},
		{"id_number", func() { s.Form.IDNumber = good.Form.IDNumber }},
		{"phone", func() { s.Form.Phone = good.Form.Phone }},
		{"business_name", func() { s.Form.BusinessName = good.Form.BusinessName }},
		{"months_in_business", func() { s.Form.MonthsInBusiness = good.Form.MonthsInBusiness }},
		{"monthly_turnover", func() { s.Form.MonthlyTurnover = good.Form.MonthlyTurnover }},
		{"employees", func() { s.Form.Employees = good.Form.Employees }},
		{"existing_debt", func() { s.Unread = nil }},
		{"amount", func() { s.Form.Amount = good.Form.Amount }},
		{"term_months", func() { s.Form.TermMonths = good.Form.TermMonths }},
		{"purpose", func() { s.Form.Purpose = good.Form.Purpose }},
		{"consent", func() { s.Form.Consent = true }},
	}
	for i, step := range mend {
		_, err := w.Origination.Submit(t.Context(), s)
		var form *origination.FormError
		if !errors.As(err, &form) || !errs.Is(err, errs.Invalid) {
			t.Fatalf("before %s: %v", step.field, err)
		}
		var got, want []string
		for _, field := range form.Fields {
			got = append(got, field.Field)
			if !strings.Contains(err.Error(), field.Error()) {
				t.Errorf("%q does not tell %q", err, field.Error())
			}
		}
		for _, rest := range mend[i:] {
			want = append(want, rest.field)
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("told %v, want %v", got, want)
		}
		step.to()
	}
	submit(t, w, s)
}

// TestMoneyOutStopped takes nothing in while money must not leave, and answers what was answered.
func TestMoneyOutStopped(t *testing.T) {
	w := lendingtest.New(t)
	first := w.Lent(lendingtest.Merchant(1))
	before := w.Store.LastEvent()
	w.StopMoney(errors.New("the guard is not heard of"))
	_, err := w.Origination.Submit(t.Context(), lendingtest.Merchant(2))
	wantKind(t, err, errs.Unavailable)
	if n := applications(t, w); n != 1 || w.Store.LastEvent() != before {
		t.Errorf("%d applications, %d events", n, w.Store.LastEvent())
	}
	if again := submit(t, w, lendingtest.Merchant(1)); again.Loan.ID != first.Loan.ID {
		t.Error("an earlier answer is not given")
	}
	w.StopMoney(nil)
	w.Lent(lendingtest.Merchant(2))
	w.Audit()
}

// TestStoppedUnderWay stops money-out between an application's error and its repetition.
func TestStoppedUnderWay(t *testing.T) {
	w := lendingtest.New(t)
	w.Gate.Arm(lendingtest.Fault{Step: 2, Kind: errs.Busy}) // the reservation does not reach the ledger
	_, err := w.Origination.Submit(t.Context(), lendingtest.Merchant(1))
	wantKind(t, err, errs.Busy)
	w.Gate.Clear()
	w.StopMoney(errors.New("the guard is not heard of"))
	_, err = w.Origination.Submit(t.Context(), lendingtest.Merchant(1))
	wantKind(t, err, errs.Unavailable)
	w.StopMoney(nil)
	w.Lent(lendingtest.Merchant(1))
	w.Audit()
}

// TestErased sees an applicant's form gone once he is erased, his decision still whole, and no new
// application of his taken.
func TestErased(t *testing.T) {
	w := lendingtest.New(t)
	row := w.Lent(lendingtest.Merchant(1)).Application
	w.Sealer.Erase(row.Customer)
	_, err := w.Origination.Form(t.Context(), &row)
	wantKind(t, err, errs.Refused)
	replayed(t, w, &row)
	again := lendingtest.Merchant(1)
	again.Key = "again"
	_, err = w.Origination.Submit(t.Context(), again)
	wantKind(t, err, errs.Refused)
	if n := applications(t, w); n != 1 {
		t.Errorf("%d applications", n)
	}
	w.Audit()
}

// TestOnePerson sees that a document or phone number is one however it is written.
func TestOnePerson(t *testing.T) {
	w := lendingtest.New(t)
	s := lendingtest.Hopeless(1)
	s.Form.IDNumber, s.Form.Phone = "ab-12345-x", "+8613912345678"
	first := submit(t, w, s).Application
	s.Key, s.Form.IDNumber, s.Form.Phone = "second", "AB12345X", "8613912345678"
	second := submit(t, w, s).Application
	if first.Customer != second.Customer || first.Phone != second.Phone {
		t.Error("one person is two")
	}
	s.Key, s.Form.IDNumber = "third", "AB12345Y"
	if third := submit(t, w, s).Application; third.Customer == first.Customer {
		t.Error("two persons are one")
	}
	if first.Customer == first.Phone {
		t.Error("a document and a phone number have one id")
	}
}

// TestCanceledBefore submits for a caller who is gone already: nothing is stored.
func TestCanceledBefore(t *testing.T) {
	w := lendingtest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.Origination.Submit(ctx, lendingtest.Merchant(1))
	wantKind(t, err, errs.Canceled)
	if n := applications(t, w); n != 0 {
		t.Errorf("%d applications", n)
	}
}

// TestImpatient has the caller go away at each step after the first: the application is concluded
// all the same, at once.
func TestImpatient(t *testing.T) {
	for step := range 5 {
		w := lendingtest.New(t)
		ctx, cancel := context.WithCancel(t.Context())
		w.Gate.Arm(lendingtest.Fault{Step: step, Do: cancel})
		answer, err := w.Origination.Submit(ctx, lendingtest.Merchant(1))
		if !w.Gate.Clear() {
			t.Fatalf("there is no step %d", step)
		}
		if step == 0 {
			wantKind(t, err, errs.Canceled) // the first commit had not begun
			continue
		}
		if err != nil || answer.Application.Status != store.StatusDisbursed {
			t.Errorf("step %d: %s, %v", step, answer.Application.Status, err)
		}
		w.Audit()
	}
}
