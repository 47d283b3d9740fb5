package api

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"

	"surety/api/event"
	lendingv1 "surety/api/lending/v1"
	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/lending"
	"surety/lending/store"
	"surety/sys/access"
)

// GetLoan returns one loan with its contract and events.
func (s *Service) GetLoan(ctx context.Context, request *connect.Request[lendingv1.GetLoanRequest],
) (*connect.Response[lendingv1.Loan], error) {
	id, err := ident.Parse(request.Msg.Id)
	if err != nil {
		return nil, err
	}
	loan, err := s.loan(ctx, id)
	return connect.NewResponse(loan), err
}

// ListLoans returns a page of loans, newest first, without events.
func (s *Service) ListLoans(ctx context.Context, request *connect.Request[lendingv1.ListLoansRequest],
) (*connect.Response[lendingv1.ListLoansResponse], error) {
	page, err := pageOf(request.Msg.Status, statuses(), request.Msg.Before, request.Msg.Limit)
	if err != nil {
		return nil, err
	}
	rows, err := s.deps.Store.Loans(ctx, page)
	if err != nil {
		return nil, err
	}
	response := &lendingv1.ListLoansResponse{}
	for i := range rows {
		loan, err := s.loanText(&rows[i], nil)
		if err != nil {
			return nil, err
		}
		response.Loans = append(response.Loans, loan)
		response.Next = strconv.FormatUint(rows[i].Number, 10)
	}
	if len(rows) < page.Limit {
		response.Next = ""
	}
	return connect.NewResponse(response), nil
}

// statuses are what a list of loans can be limited to.
func statuses() []string {
	return []string{store.LoanApproved, store.LoanActive, store.LoanClosed, store.LoanWrittenOff,
		store.LoanCancelled}
}

// Repay takes money for a loan.
func (s *Service) Repay(ctx context.Context, request *connect.Request[lendingv1.RepayRequest],
) (*connect.Response[lendingv1.RepayResponse], error) {
	id, err := ident.Parse(request.Msg.Loan)
	if err != nil {
		return nil, errs.Wrap(err, "loan")
	}
	amount, err := money.ParseMinor(request.Msg.Amount)
	if err != nil {
		return nil, errs.Wrap(err, "amount")
	}
	repaid, err := s.deps.Servicing.Repay(ctx, id, amount, request.Msg.Reference)
	if err != nil {
		return nil, err
	}
	loan, err := s.loan(ctx, id)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&lendingv1.RepayResponse{Loan: loan, Penalty: repaid.Penalty.String(),
		Interest: repaid.Interest.String(), Principal: repaid.Returned.String(),
		Overpaid: repaid.Overpaid.String(), RepeatedReference: repaid.Repeated}), nil
}

// Payoff quotes what closes a loan today.
func (s *Service) Payoff(ctx context.Context, request *connect.Request[lendingv1.PayoffRequest],
) (*connect.Response[lendingv1.PayoffResponse], error) {
	id, err := ident.Parse(request.Msg.Loan)
	if err != nil {
		return nil, err
	}
	quote, err := s.deps.Servicing.Quote(ctx, id)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&lendingv1.PayoffResponse{Amount: quote.Total.String(),
		Principal: quote.Principal.String(), Interest: quote.Interest.String(),
		Penalty: quote.Penalty.String(), Date: quote.On.String()}), nil
}

// WriteOff gives a loan up as lost.
func (s *Service) WriteOff(ctx context.Context, request *connect.Request[lendingv1.WriteOffRequest],
) (*connect.Response[lendingv1.Loan], error) {
	id, err := ident.Parse(request.Msg.Loan)
	if err != nil {
		return nil, err
	}
	if n := len(request.Msg.Reason); n == 0 || n > reasonMax {
		return nil, errs.New(errs.Invalid, "lending.write_off: the reason has %d bytes, must have 1 to %d",
			n, reasonMax)
	}
	if err := s.deps.Servicing.WriteOff(ctx, id); err != nil {
		return nil, err
	}
	s.deps.Log.Info("a loan was written off by hand", "loan", id.String(),
		"by", access.From(ctx).Name, "reason", request.Msg.Reason)
	loan, err := s.loan(ctx, id)
	return connect.NewResponse(loan), err
}

// loan returns one loan with its events.
func (s *Service) loan(ctx context.Context, id ident.ID) (*lendingv1.Loan, error) {
	row, err := s.deps.Store.Loan(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.answeredLoan(ctx, &row)
}

func eventText(e *store.Stored) *lendingv1.LoanEvent {
	text := &lendingv1.LoanEvent{Seq: e.Seq, Id: e.ID.String(), Kind: e.Kind, At: instantText(e.At),
		Date: e.Date.String(), Facts: e.Facts, Amounts: make(map[string]string, len(e.Amounts))}
	for name, amount := range e.Amounts {
		text.Amounts[name] = amount.String()
	}
	return text
}

// loanText returns a row as the API shows it; with its events the schedule as well.
func (s *Service) loanText(row *store.Loan, events []store.Stored) (*lendingv1.Loan, error) {
	contract, err := lending.DecodeContract(row.Contract)
	if err != nil {
		return nil, errs.Wrap(err, "lending.loan: %s", row.ID)
	}
	state, err := lending.DecodeLoan(row.State, &contract)
	if err != nil {
		return nil, errs.Wrap(err, "lending.loan: %s", row.ID)
	}
	today := max(s.deps.Today(), state.On)
	text := &lendingv1.Loan{
		Id: row.ID.String(), Application: row.Application.String(), Customer: row.Customer.String(),
		Product: row.Product, Currency: row.Currency, Status: row.Status, Origin: row.Origin,
		Bucket: state.Bucket(today).String(), DaysPastDue: int32(state.DaysPastDue(today)),
		PrincipalOutstanding: state.Principal.String(), InterestDue: state.Interest.String(),
		PenaltyDue: state.Penalty.String(), Repaid: state.Paid.String(), Overpaid: state.Overpaid.String(),
		DisbursedOn: contract.Offer.Start.String(), DisbursedAt: instantText(row.DisbursedAt),
		Contract: contractText(&contract, row.ContractDigest),
	}
	if due, more := state.NextDue(); more {
		text.NextDue = due.String()
	}
	if events != nil {
		text.Contract.Schedule = scheduleText(&contract, &state, today, lostFrom(events))
	}
	return text, nil
}

func contractText(c *lending.Contract, digest lending.Digest) *lendingv1.Contract {
	return &lendingv1.Contract{
		Digest: digest.String(), Principal: c.Offer.Principal.String(), Fee: c.Schedule.Fee.String(),
		AnnualRatePercent: c.Offer.Rate.String(), TermMonths: int32(c.Offer.Months),
		TotalInterest: c.TotalInterest.String(), TotalCost: c.TotalCost.String(),
		TotalPayable: c.TotalPayable.String(), AprPercent: c.APREU.Text(4), AprUsPercent: c.APRUS.Text(4),
		DayCount: c.Product.DayCount.String(),
	}
}

// lostFrom returns the due date of the oldest instalment that a write-off gave up; for a loan that
// was not written off, a date before all.
func lostFrom(events []store.Stored) clock.Date {
	for i := range events {
		if e := &events[i]; e.Kind == event.LoanWrittenOff {
			days, err := strconv.Atoi(e.Facts["days_past_due"])
			if err == nil {
				return e.Date.AddDays(-days)
			}
		}
	}
	return 0
}

// scheduleText returns the contract's instalments with what has become of each.
func scheduleText(c *lending.Contract, l *lending.Loan, today, lost clock.Date) []*lendingv1.Instalment {
	list := make([]*lendingv1.Instalment, len(c.Schedule.Rows))
	for i := range c.Schedule.Rows {
		row := &c.Schedule.Rows[i]
		list[i] = &lendingv1.Instalment{Number: int32(row.Number), Due: row.Due.String(),
			Payment: row.Payment.String(), Interest: row.Interest.String(),
			Principal: row.Principal.String(), Balance: row.Balance.String(),
			Status: instalmentStatus(row, l, today, lost)}
	}
	return list
}

// instalmentStatus says what has become of an instalment: future, due, late, part_paid, paid,
// written_off or cancelled.
func instalmentStatus(row *lending.Row, l *lending.Loan, today, lost clock.Date) string {
	switch {
	case l.Status == lending.Cancelled:
		return "cancelled"
	case l.Status == lending.Closed:
		return "paid"
	case l.Status == lending.WrittenOff && row.Due >= lost:
		return "written_off"
	case l.Status == lending.WrittenOff:
		return "paid"
	case row.Number >= l.Next:
		return "future"
	}
	for i := range l.Dues {
		if due := &l.Dues[i]; due.Number == row.Number {
			return dueStatus(row, due, today)
		}
	}
	return "paid"
}

// dueStatus is the status of an instalment of which something is owed.
func dueStatus(row *lending.Row, due *lending.Due, today clock.Date) string {
	owed, _ := due.Interest.Add(due.Principal)
	switch {
	case due.On < today:
		return "late"
	case owed.Less(row.Payment):
		return "part_paid"
	}
	return "due"
}

// pageOf returns the page that a list asks for. Kind Invalid for a filter that is none of the known
// ones and for a place that no list gave.
func pageOf(filter string, known []string, before string, limit int32) (store.Page, error) {
	page := store.Page{Filter: filter, Limit: int(limit)}
	if filter != "" && !slices.Contains(known, filter) {
		return page, errs.New(errs.Invalid, "filter: %.40q is none of %s", filter,
			strings.Join(known, ", "))
	}
	if page.Limit <= 0 {
		page.Limit = 50
	}
	page.Limit = min(page.Limit, store.PageMax)
	if before == "" {
		return page, nil
	}
	number, err := strconv.ParseUint(before, 10, 63)
	if err != nil {
		return page, errs.New(errs.Invalid, "before: %.40q is not what a list gave as next", before)
	}
	page.Before = number
	return page, nil
}

func instantText(t clock.Instant) string {
	if t == 0 {
		return ""
	}
	return time.Unix(0, int64(t)).UTC().Format(time.RFC3339Nano)
}
