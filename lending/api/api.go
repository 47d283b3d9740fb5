// Package api serves the lending service over Connect: applications, decisions, loans, repayments.
//
// It turns texts into values and values into texts. What an application may hold and what becomes
// of it is decided behind it.
//
// # Boundaries
//
// Who may call what is decided by the node's rules of access. A form is shown to whoever may see
// applications until its subject is erased.
package api

import (
	"context"
	"log/slog"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	lendingv1 "surety/api/lending/v1"
	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/lending"
	"surety/lending/origination"
	"surety/lending/servicing"
	"surety/lending/store"
)

// reasonMax bounds a reason in bytes.
const reasonMax = 256

// Deps are what the service stands on.
type Deps struct {
	Store       *store.Store
	Origination *origination.Desk
	Servicing   *servicing.Desk
	Catalogue   origination.Catalogue
	Today       func() clock.Date
	Synthetic   bool // the node makes its applications up
	Log         *slog.Logger
}

// Service serves one set of lending records.
type Service struct{ deps Deps }

// New returns a service.
func New(deps Deps) *Service { return &Service{deps: deps} }

// Submit decides an application and, where it is approved, pays it out before it answers.
func (s *Service) Submit(ctx context.Context, request *connect.Request[lendingv1.SubmitRequest],
) (*connect.Response[lendingv1.SubmitResponse], error) {
	submission, err := Submission(request.Msg)
	if err != nil {
		return nil, err
	}
	submission.Origin = "api"
	submission.TruePD = -1
	answer, err := s.deps.Origination.Submit(ctx, submission)
	if err != nil {
		return nil, err
	}
	response := &lendingv1.SubmitResponse{}
	if response.Application, err = s.ApplicationText(ctx, &answer.Application, true); err != nil {
		return nil, err
	}
	if answer.Loan != nil {
		response.Loan, err = s.answeredLoan(ctx, answer.Loan)
	}
	return connect.NewResponse(response), err
}

// answeredLoan is a loan as the answer has it, which may be ahead of its row, with its events.
func (s *Service) answeredLoan(ctx context.Context, row *store.Loan) (*lendingv1.Loan, error) {
	events, err := s.deps.Store.SubjectEvents(ctx, row.ID)
	if err != nil {
		return nil, err
	}
	loan, err := s.loanText(row, events)
	if err != nil {
		return nil, err
	}
	for i := range events {
		loan.Events = append(loan.Events, eventText(&events[i]))
	}
	return loan, nil
}

// Submission turns a request into a submission; the caller says where it comes from. An amount that
// is no number is left to the desk, which tells it with all else that is wrong with the form. Kind
// Invalid where there is no form.
func Submission(m *lendingv1.SubmitRequest) (origination.Submission, error) {
	s := origination.Submission{Key: m.IdempotencyKey, Product: m.Product, Features: m.Features}
	f := m.Form
	if f == nil {
		return s, errs.New(errs.Invalid, "lending.submit: there is no form")
	}
	s.Form = lending.Application{Name: f.Name, IDNumber: f.IdNumber, Phone: f.Phone,
		BusinessName: f.BusinessName, Purpose: f.Purpose, Consent: f.Consent,
		Figures: lending.Figures{MonthsInBusiness: int(f.MonthsInBusiness),
			Employees: int(f.Employees), TermMonths: int(f.TermMonths)}}
	for _, field := range []struct {
		name string
		text string
		into *money.Amount
	}{
		{"monthly_turnover", f.MonthlyTurnover, &s.Form.MonthlyTurnover},
		{"existing_debt", f.ExistingDebt, &s.Form.ExistingDebt},
		{"amount", f.Amount, &s.Form.Amount},
	} {
		amount, err := money.ParseMinor(field.text)
		if err != nil {
			s.Unread = append(s.Unread, lending.FieldError{Field: field.name,
				Limit: "digits of minor units", Given: strconv.Quote(clip(field.text))})
		}
		*field.into = amount
	}
	return s, nil
}

// GetApplication returns one application with its decision in full.
func (s *Service) GetApplication(ctx context.Context,
	request *connect.Request[lendingv1.GetApplicationRequest],
) (*connect.Response[lendingv1.Application], error) {
	id, err := ident.Parse(request.Msg.Id)
	if err != nil {
		return nil, err
	}
	application, err := s.application(ctx, id)
	return connect.NewResponse(application), err
}

func (s *Service) application(ctx context.Context, id ident.ID) (*lendingv1.Application, error) {
	row, err := s.deps.Store.Application(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.ApplicationText(ctx, &row, true)
}

// ListApplications returns a page of applications, newest first, without forms.
func (s *Service) ListApplications(ctx context.Context,
	request *connect.Request[lendingv1.ListApplicationsRequest],
) (*connect.Response[lendingv1.ListApplicationsResponse], error) {
	page, err := pageOf(request.Msg.Outcome, outcomes(), request.Msg.Before, request.Msg.Limit)
	if err != nil {
		return nil, err
	}
	rows, err := s.deps.Store.Applications(ctx, page)
	if err != nil {
		return nil, err
	}
	response := &lendingv1.ListApplicationsResponse{}
	for i := range rows {
		application, err := s.ApplicationText(ctx, &rows[i], false)
		if err != nil {
			return nil, err
		}
		response.Applications = append(response.Applications, application)
		response.Next = strconv.FormatUint(rows[i].Number, 10)
	}
	if len(rows) < page.Limit {
		response.Next = ""
	}
	return connect.NewResponse(response), nil
}

// outcomes are what a list of applications can be limited to.
func outcomes() []string { return []string{"approve", "decline", "refer"} }

// RequestReview asks for a person to look at a decision.
func (s *Service) RequestReview(ctx context.Context,
	request *connect.Request[lendingv1.RequestReviewRequest],
) (*connect.Response[lendingv1.Application], error) {
	id, err := ident.Parse(request.Msg.Application)
	if err != nil {
		return nil, err
	}
	if err := s.deps.Store.Commit(ctx, store.RequestReview(id)); err != nil {
		return nil, err
	}
	application, err := s.application(ctx, id)
	return connect.NewResponse(application), err
}

// Replay computes a decision again and compares.
func (s *Service) Replay(ctx context.Context, request *connect.Request[lendingv1.ReplayRequest],
) (*connect.Response[lendingv1.ReplayResponse], error) {
	id, err := ident.Parse(request.Msg.Application)
	if err != nil {
		return nil, err
	}
	row, err := s.deps.Store.Application(ctx, id)
	if err != nil {
		return nil, err
	}
	if row.Outcome == "" {
		return nil, errs.New(errs.Refused, "lending.replay: application %s is not decided yet", id)
	}
	told, err := s.deps.Origination.Explain(ctx, &row)
	if err != nil {
		return nil, err
	}
	computed, difference, err := s.deps.Origination.Replay(ctx, &row)
	if err != nil {
		return nil, err
	}
	again := *told
	again.Decision = computed
	return connect.NewResponse(&lendingv1.ReplayResponse{Equal: difference == "", Difference: difference,
		Stored: decisionText(&row, told), Computed: decisionText(&row, &again)}), nil
}

// Products lists what is lent, the default first.
func (s *Service) Products(context.Context, *connect.Request[lendingv1.ProductsRequest],
) (*connect.Response[lendingv1.ProductsResponse], error) {
	response := &lendingv1.ProductsResponse{BusinessDate: s.deps.Today().String(),
		Synthetic: s.deps.Synthetic}
	for _, p := range s.deps.Catalogue {
		product := &lendingv1.Product{Name: p.Product.Name, Currency: p.Product.Currency,
			Exponent: int32(p.Currency.Exponent), AnnualRatePercent: p.Product.Rate.String(),
			AmountMin: p.Product.AmountMin.String(), AmountMax: p.Product.AmountMax.String(),
			FeePermille: int32(p.Product.FeePermille)}
		for _, months := range []int32{3, 6, 9, 12, 18, 24, 36, 48, 60} {
			if int(months) >= p.Product.TermMin && int(months) <= p.Product.TermMax {
				product.Terms = append(product.Terms, months)
			}
		}
		response.Products = append(response.Products, product)
	}
	return connect.NewResponse(response), nil
}

// clip keeps hostile text out of answers and logs.
func clip(text string) string {
	if len(text) > 40 {
		return strings.ToValidUTF8(text[:40], "") + "..."
	}
	return text
}
