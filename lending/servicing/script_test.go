package servicing_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/lending"
	"surety/lending/lendingtest"
	"surety/lending/store"
)

// TestScripts runs the scripts in testdata/scripts, each on one loan of 10,000.00 for so many months. Run the
// test with -rewrite to take the answers down anew. After each command the records are audited.
//
//	lend months=N                  -> the loan
//	day DATE                       business dates up to it, with the work of each
//	date DATE                      the date alone, with its work undone
//	repay AMOUNT REF [loan=other]  -> what it paid, or why not
//	quote                          -> what closes the loan today
//	write-off
//	freeze principal|limit, thaw
//	reopen                         a crash, and what a start makes of it
//	events                         -> the loan's since last asked
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := &script{w: lendingtest.New(t)}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out := s.run(t, d)
			s.w.Audit()
			return out
		})
	})
}

type script struct {
	w     *lendingtest.World
	loan  ident.ID
	owner ident.ID
	seen  uint64
	thaw  func()
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	ctx := context.Background()
	argument := func(i int) string { return d.CmdArgs[i].Key }
	switch d.Cmd {
	case "lend":
		var months int
		d.ScanArgs(t, "months", &months)
		application := lendingtest.Merchant(1)
		application.Form.Amount, application.Form.TermMonths = money.Minor(10_000_00), months
		loan := s.w.Lent(application).Loan
		s.w.Settled()
		s.loan, s.owner = loan.ID, loan.Customer
	case "day", "date":
		on, err := clock.ParseDate(argument(0))
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		if d.Cmd == "day" {
			s.w.Live(on)
		}
		s.w.SetToday(on)
	case "repay":
		return s.repay(ctx, d, argument(0), argument(1))
	case "quote":
		q, err := s.w.Servicing.Quote(ctx, s.loan)
		if err != nil {
			return s.said(err)
		}
		return fmt.Sprintf("%s: %s = penalty %s, interest %s, principal %s\n", q.On, q.Total, q.Penalty,
			q.Interest, q.Principal)
	case "write-off":
		if err := s.w.Servicing.WriteOff(ctx, s.loan); err != nil {
			return s.said(err)
		}
	case "freeze":
		class, owner := lending.ClassPrincipal, s.loan
		if argument(0) == "limit" {
			class, owner = lending.ClassLimit, s.owner
		}
		s.thaw = s.w.Freeze(lending.AccountID(class, owner, "CNY"))
		return "frozen\n"
	case "thaw":
		s.thaw()
		return "thawed\n"
	case "reopen":
		s.w.Reopen()
	case "events":
		return s.events(t)
	default:
		d.Fatalf(t, "unknown command")
	}
	return s.state(t)
}

func (s *script) repay(ctx context.Context, d *datadriven.TestData, amount, reference string) string {
	minor, err := money.ParseMinor(amount)
	if err != nil {
		return err.Error() + "\n"
	}
	loan := s.loan
	if d.HasArg("other") {
		loan = ident.Derive("another loan")
	}
	r, err := s.w.Servicing.Repay(ctx, loan, minor, strings.ReplaceAll(reference, "empty", ""))
	if err != nil {
		return s.said(err)
	}
	again := ""
	if r.Repeated {
		again = " (again)"
	}
	return fmt.Sprintf("penalty %s, interest %s, principal %s, overpaid %s%s\n", r.Penalty, r.Interest,
		r.Returned, r.Overpaid, again)
}

// said returns an error without the ids, which differ from run to run.
func (s *script) said(err error) string {
	text := strings.ReplaceAll(err.Error(), s.loan.String(), "LOAN")
	return errs.KindOf(err).String() + ": " + text + "\n"
}

func (s *script) state(t *testing.T) string {
	t.Helper()
	row, l := stateOf(t, s.w, s.loan)
	out := fmt.Sprintf("%s on %s: principal %s, interest %s, penalty %s, fee %s, overpaid %s", row.Status,
		l.On, l.Principal, l.Interest, l.Penalty, l.DeferredFee, l.Overpaid)
	if late := l.DaysPastDue(max(s.w.Today(), l.On)); late > 0 {
		out += fmt.Sprintf(", %d days late", late)
	}
	return out + fmt.Sprintf("; look at it on %s\n", row.NextAction)
}

func (s *script) events(t *testing.T) (out string) {
	t.Helper()
	events, err := s.w.Store.SubjectEvents(context.Background(), s.loan)
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		e := &events[i]
		if e.Seq <= s.seen {
			continue
		}
		s.seen = e.Seq
		out += fmt.Sprintf("%s %s", e.Date, e.Kind)
		for _, name := range []string{"interest", "penalty", "principal", "fee", "fee_amortised", "total",
			"overpaid", "amount", "limit"} {
			if amount, has := e.Amounts[name]; has && !amount.IsZero() {
				out += fmt.Sprintf(" %s=%s", name, amount)
			}
		}
		for _, name := range []string{"number", "reference", "reason", "days_past_due"} {
			if fact, has := e.Facts[name]; has {
				out += fmt.Sprintf(" %s=%s", name, fact)
			}
		}
		out += "\n"
	}
	return out
}

// stateOf returns a loan's row and what it says.
func stateOf(t *testing.T, w *lendingtest.World, id ident.ID) (store.Loan, lending.Loan) {
	t.Helper()
	row, err := w.Store.Loan(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	contract, err := lending.DecodeContract(row.Contract)
	if err != nil {
		t.Fatal(err)
	}
	l, err := lending.DecodeLoan(row.State, &contract)
	if err != nil {
		t.Fatal(err)
	}
	return row, l
}
