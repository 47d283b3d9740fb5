package api_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"

	lendingv1 "surety/api/lending/v1"
	"surety/base/clock"
	"surety/base/errs"
	"surety/lending"
	"surety/lending/api"
	"surety/lending/lendingtest"
	"surety/lending/origination"
	"surety/lending/store"
)

func service(w *lendingtest.World) *api.Service {
	return api.New(api.Deps{Store: w.Store, Origination: w.Origination, Servicing: w.Servicing,
		Catalogue: w.Catalogue, Today: w.Today, Synthetic: true, Log: slog.New(slog.DiscardHandler)})
}

// request is a submission as it comes over the wire.
func request(s origination.Submission) *lendingv1.SubmitRequest {
	f := &s.Form
	return &lendingv1.SubmitRequest{IdempotencyKey: s.Key, Product: s.Product, Features: s.Features,
		Form: &lendingv1.Form{Name: f.Name, IdNumber: f.IDNumber, Phone: f.Phone,
			BusinessName: f.BusinessName, MonthsInBusiness: int32(f.MonthsInBusiness),
			MonthlyTurnover: f.MonthlyTurnover.String(), Employees: int32(f.Employees),
			ExistingDebt: f.ExistingDebt.String(), Amount: f.Amount.String(),
			TermMonths: int32(f.TermMonths), Purpose: f.Purpose, Consent: f.Consent}}
}

// ask calls a method and returns its message.
func ask[In, Out any](t *testing.T, method func(context.Context, *connect.Request[In]) (
	*connect.Response[Out], error), in *In) *Out {
	t.Helper()
	response, err := method(t.Context(), connect.NewRequest(in))
	if err != nil {
		t.Fatal(err)
	}
	return response.Msg
}

// refused calls a method that must answer with an error of the kind.
func refused[In, Out any](t *testing.T, method func(context.Context, *connect.Request[In]) (
	*connect.Response[Out], error), in *In, kind errs.Kind) error {
	t.Helper()
	_, err := method(t.Context(), connect.NewRequest(in))
	if !errs.Is(err, kind) {
		t.Errorf("%+v: %v, want kind %v", in, err, kind)
	}
	return err
}

func TestSubmit(t *testing.T) {
	w := lendingtest.New(t)
	s := service(w)
	in := request(lendingtest.Merchant(1))
	out := ask(t, s.Submit, in)
	a, loan := out.Application, out.Loan
	if a.Status != "disbursed" || a.Origin != "api" || a.Requested != "6000000" || a.TermMonths != 12 ||
		a.Loan != loan.Id || a.Erased || a.Currency != "CNY" || a.Product != "merchant-310" {
		t.Errorf("%v", a)
	}
	if got, want := protojson.Format(a.Form), protojson.Format(in.Form); got != want {
		t.Errorf("form %s, want %s", got, want)
	}
	d := a.Decision
	points, odds := d.BasePoints, d.BaseMicroLogOdds
	for _, c := range d.Contributions {
		if c.Source == "card" {
			points += int32(c.Contribution)
		} else {
			odds += c.Contribution
		}
	}
	if d.Outcome != "approve" || points != d.Points || odds != d.ModelMicroLogOdds || d.Offered != "6000000" {
		t.Errorf("contributions add up to %d points and %d: %v", points, odds, d)
	}
	if loan.Status != "active" || loan.PrincipalOutstanding != "6000000" || loan.NextDue != "2026-02-15" ||
		len(loan.Contract.Schedule) != 12 || loan.Contract.Fee != "30000" || loan.Bucket != "current" ||
		loan.DisbursedAt != "2026-01-15T00:00:00Z" {
		t.Errorf("%v", loan)
	}
	if len(loan.Events) != 2 || loan.Events[1].Kind != "loan.disbursed" ||
		loan.Events[1].Amounts["principal"] != "6000000" {
		t.Errorf("%v", loan.Events)
	}
	again := ask(t, s.Submit, in)
	if protojson.Format(again.Application) != protojson.Format(a) {
		t.Errorf("again: %v, first %v", again.Application, a)
	}
	in.Form.Name = "Somebody Else"
	refused(t, s.Submit, in, errs.Exists)
	refused(t, s.Submit, &lendingv1.SubmitRequest{}, errs.Invalid)
	declined := ask(t, s.Submit, request(lendingtest.Hopeless(2)))
	if declined.Loan != nil || declined.Application.Decision.Outcome != "decline" ||
		declined.Application.Decision.Reasons[0].Code != "months_in_business" {
		t.Errorf("%v", declined)
	}
}

// TestSubmitForms sends amounts that are no numbers with all else that can be wrong: every field is
// told, in the order of the form, and what was written about a person is not repeated.
func TestSubmitForms(t *testing.T) {
	w := lendingtest.New(t)
	s := service(w)
	in := request(lendingtest.Merchant(1))
	in.Form.IdNumber, in.Form.Consent, in.Form.TermMonths = "a secret?", false, 1<<31-1
	in.Form.MonthlyTurnover, in.Form.ExistingDebt, in.Form.Amount = "-1", "", strings.Repeat("9é", 60)
	err := refused(t, s.Submit, in, errs.Invalid)
	var form *origination.FormError
	if !errors.As(err, &form) {
		t.Fatal(err)
	}
	var told []string
	for _, field := range form.Fields {
		told = append(told, field.Field)
	}
	if got := strings.Join(told, " "); got != "id_number monthly_turnover existing_debt amount term_months"+
		" consent" {
		t.Errorf("told %s", got)
	}
	if strings.Contains(err.Error(), "secret") || len(err.Error()) > 600 {
		t.Errorf("%v", err)
	}
	if !strings.Contains(err.Error(), `monthly_turnover: "-1", want digits of minor units`) {
		t.Errorf("%v", err)
	}
}

func TestErased(t *testing.T) {
	w := lendingtest.New(t)
	s := service(w)
	row := w.Lent(lendingtest.Merchant(1)).Application
	w.Sealer.Erase(row.Customer)
	a := ask(t, s.GetApplication, &lendingv1.GetApplicationRequest{Id: row.ID.String()})
	if !a.Erased || a.Form != nil || a.Decision == nil {
		t.Errorf("%v", a)
	}
}

// TestUnderWay shows an application that has no decision yet.
func TestUnderWay(t *testing.T) {
	w := lendingtest.New(t)
	s := service(w)
	w.Gate.Arm(lendingtest.Fault{Step: 1, Kind: errs.Busy})
	refused(t, s.Submit, request(lendingtest.Merchant(1)), errs.Busy)
	w.Gate.Clear()
	row, err := w.Store.ApplicationByKey(t.Context(), "merchant-1")
	if err != nil {
		t.Fatal(err)
	}
	a := ask(t, s.GetApplication, &lendingv1.GetApplicationRequest{Id: row.ID.String()})
	if a.Status != "received" || a.Decision != nil || a.Form == nil || a.Loan != "" {
		t.Errorf("%v", a)
	}
	refused(t, s.Replay, &lendingv1.ReplayRequest{Application: a.Id}, errs.Refused)
	if out := ask(t, s.Submit, request(lendingtest.Merchant(1))); out.Application.Status != "disbursed" {
		t.Errorf("%v", out.Application)
	}
	replay := ask(t, s.Replay, &lendingv1.ReplayRequest{Application: a.Id})
	if !replay.Equal || replay.Difference != "" ||
		protojson.Format(replay.Stored) != protojson.Format(replay.Computed) {
		t.Errorf("%v", replay)
	}
}

func TestReview(t *testing.T) {
	w := lendingtest.New(t)
	s := service(w)
	row := ask(t, s.Submit, request(lendingtest.Hopeless(1))).Application
	if row.ReviewRequested {
		t.Error("nobody has asked for a review")
	}
	a := ask(t, s.RequestReview, &lendingv1.RequestReviewRequest{Application: row.Id})
	if !a.ReviewRequested || a.Decision.Outcome != "decline" {
		t.Errorf("%v", a)
	}
	refused(t, s.RequestReview, &lendingv1.RequestReviewRequest{Application: "1"}, errs.NotFound)
}

func TestUnknown(t *testing.T) {
	s := service(lendingtest.New(t))
	for id, kind := range map[string]errs.Kind{"": errs.Invalid, "not hex": errs.Invalid, "12": errs.NotFound} {
		refused(t, s.GetApplication, &lendingv1.GetApplicationRequest{Id: id}, kind)
		refused(t, s.GetLoan, &lendingv1.GetLoanRequest{Id: id}, kind)
		refused(t, s.Repay, &lendingv1.RepayRequest{Loan: id, Amount: "1", Reference: "r"}, kind)
		refused(t, s.Payoff, &lendingv1.PayoffRequest{Loan: id}, kind)
		refused(t, s.WriteOff, &lendingv1.WriteOffRequest{Loan: id, Reason: "lost"}, kind)
		refused(t, s.Replay, &lendingv1.ReplayRequest{Application: id}, kind)
	}
}

func TestProducts(t *testing.T) {
	w := lendingtest.New(t)
	out := ask(t, service(w).Products, &lendingv1.ProductsRequest{})
	if len(out.Products) != 2 || out.BusinessDate != "2026-01-15" || !out.Synthetic {
		t.Fatalf("%v", out)
	}
	p := out.Products[0]
	if p.Name != "merchant-310" || p.Exponent != 2 || fmt.Sprint(p.Terms) != "[3 6 9 12 18 24]" ||
		p.AmountMin != "100000" {
		t.Errorf("%v", p)
	}
}

// TestPages walks lists in pages of every size: each row comes once, the newest first.
func TestPages(t *testing.T) {
	w := lendingtest.New(t)
	s := service(w)
	for i := range 5 {
		w.Lent(lendingtest.Merchant(i))
		ask(t, s.Submit, request(lendingtest.Hopeless(100+i)))
	}
	for outcome, want := range map[string]int{"": 10, "approve": 5, "decline": 5, "refer": 0} {
		for limit := range int32(12) {
			var seen []string
			for before := ""; ; {
				page := ask(t, s.ListApplications, &lendingv1.ListApplicationsRequest{Outcome: outcome,
					Limit: limit, Before: before})
				for _, a := range page.Applications {
					if a.Form != nil || a.Decision == nil {
						t.Fatalf("a row of a list: %v", a)
					}
					seen = append(seen, a.Id)
				}
				if before = page.Next; before == "" {
					break
				}
			}
			if len(seen) != want || limit > 0 && hasTwice(seen) {
				t.Errorf("%q by %d: %d rows", outcome, limit, len(seen))
			}
		}
	}
	w.Settled()
	for status, want := range map[string]int{"": 5, "active": 5, "closed": 0} {
		page := ask(t, s.ListLoans, &lendingv1.ListLoansRequest{Status: status, Limit: 1 << 30})
		if len(page.Loans) != want || page.Next != "" {
			t.Errorf("%q: %d loans, next %q", status, len(page.Loans), page.Next)
		}
		for _, loan := range page.Loans {
			if len(loan.Events) != 0 || len(loan.Contract.Schedule) != 0 {
				t.Errorf("a row of a list: %v", loan)
			}
		}
	}
	refused(t, s.ListApplications, &lendingv1.ListApplicationsRequest{Outcome: "approved"}, errs.Invalid)
	refused(t, s.ListLoans, &lendingv1.ListLoansRequest{Status: "late"}, errs.Invalid)
	for _, before := range []string{"x", "-1", "99999999999999999999"} {
		refused(t, s.ListLoans, &lendingv1.ListLoansRequest{Before: before}, errs.Invalid)
	}
}

func hasTwice(list []string) bool {
	seen := map[string]bool{}
	for _, text := range list {
		if seen[text] {
			return true
		}
		seen[text] = true
	}
	return false
}

// statuses returns what has become of a loan's instalments, as one line.
func statuses(t *testing.T, s *api.Service, loan string) string {
	t.Helper()
	out := ask(t, s.GetLoan, &lendingv1.GetLoanRequest{Id: loan})
	var list []string
	for _, row := range out.Contract.Schedule {
		list = append(list, row.Status)
	}
	return out.Status + ": " + strings.Join(list, " ")
}

// TestInstalments follows the instalments of loans through everything that can become of them.
func TestInstalments(t *testing.T) {
	w := lendingtest.New(t)
	s := service(w)
	lend := func(number int) string {
		application := lendingtest.Merchant(number)
		application.Form.TermMonths = 3
		return w.Lent(application).Loan.ID.String()
	}
	pay := func(loan, amount string) *lendingv1.RepayResponse {
		return ask(t, s.Repay, &lendingv1.RepayRequest{Loan: loan, Amount: amount,
			Reference: loan[:20] + "-" + amount + "-" + w.Today().String()})
	}
	want := func(loan, line string) {
		t.Helper()
		if got := statuses(t, s, loan); got != line {
			t.Errorf("on %s: %s; want %s", w.Today(), got, line)
		}
	}
	paid, lost := lend(1), lend(2)
	w.Settled()
	want(paid, "active: future future future")
	w.Live(clock.MustDate(2026, 2, 15))
	want(paid, "active: due future future")
	r := pay(paid, "500000")
	if r.Interest != "36000" || r.Principal != "464000" || r.Penalty != "0" || r.Overpaid != "0" ||
		r.Loan.PrincipalOutstanding != "5536000" || r.RepeatedReference {
		t.Errorf("%v", r)
	}
	if r = pay(paid, "500000"); !r.RepeatedReference || r.Principal != "464000" {
		t.Errorf("again: %v", r)
	}
	want(paid, "active: part_paid future future")
	pay(paid, "1600000")
	want(paid, "active: paid future future")
	w.Live(clock.MustDate(2026, 2, 16))
	want(lost, "active: late future future")
	pay(lost, "1000000")
	want(lost, "active: late future future")
	pay(lost, "1100000")
	want(lost, "active: paid future future")
	w.Live(clock.MustDate(2026, 3, 20))
	q := ask(t, s.Payoff, &lendingv1.PayoffRequest{Loan: paid})
	if q.Date != "2026-03-20" || q.Penalty == "0" || q.Amount == q.Principal {
		t.Errorf("%v", q)
	}
	pay(paid, q.Amount)
	want(paid, "closed: paid paid paid")
	refused(t, s.Payoff, &lendingv1.PayoffRequest{Loan: paid}, errs.Refused)
	refused(t, s.WriteOff, &lendingv1.WriteOffRequest{Loan: lost, Reason: "gone"}, errs.Refused)
	w.SetToday(clock.MustDate(2026, 3, 15).AddDays(180))
	for _, reason := range []string{"", strings.Repeat("r", 257)} {
		refused(t, s.WriteOff, &lendingv1.WriteOffRequest{Loan: lost, Reason: reason}, errs.Invalid)
	}
	ask(t, s.WriteOff, &lendingv1.WriteOffRequest{Loan: lost, Reason: "gone"})
	want(lost, "written_off: paid written_off written_off")
	pay(lost, "1000")
	want(lost, "written_off: paid written_off written_off")
	for _, amount := range []string{"", "1.5", "-1", "1e3"} {
		refused(t, s.Repay, &lendingv1.RepayRequest{Loan: paid, Amount: amount, Reference: "r"}, errs.Invalid)
	}
	release := w.FreezeCode(lending.LegDisburse)
	defer release()
	cancelled := ask(t, s.Submit, request(lendingtest.Merchant(3)))
	if cancelled.Application.Status != store.StatusCancelled || cancelled.Loan.Status != "cancelled" ||
		cancelled.Application.CancelledReason != "code_frozen" || cancelled.Loan.DisbursedAt != "" {
		t.Errorf("%v", cancelled)
	}
	want(cancelled.Loan.Id, "cancelled:"+strings.Repeat(" cancelled", 12))
	w.Audit()
}
