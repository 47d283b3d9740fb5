package recovery_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/money"
	"surety/lending"
	"surety/lending/lendingtest"
	"surety/lending/origination"
	"surety/lending/servicing"
	"surety/lending/store"
)

// act is one thing that somebody asks of the service, and may ask again where he got no answer. It
// returns what he was told, which must be so for ever.
type act func(r *run) (told string, err error)

// run is one world with a script on its way.
type run struct {
	w       *lendingtest.World
	told    []string          // answers of the acts that were answered
	release map[string]func() // of freezes in force
}

func newRun(t *testing.T, programmes origination.Catalogue) *run {
	t.Helper()
	return &run{w: lendingtest.NewWith(t, programmes), release: map[string]func(){}}
}

// hasty returns the programmes with terms under which a loan is written off ten days late.
func hasty(t *testing.T) origination.Catalogue {
	t.Helper()
	terms := lending.Merchant310()
	terms.WriteOffDays, terms.PenaltyEveryDays = 10, 4
	programmes, err := origination.NewCatalogue(&terms)
	if err != nil {
		t.Fatal(err)
	}
	return programmes
}

// play performs the acts from the first that has no answer, until one gets none.
func (r *run) play(script []act) error {
	for i := len(r.told); i < len(script); i++ {
		told, err := script[i](r)
		if err == nil {
			r.w.Settled()
			told, err = script[i](r) // again: nothing more happens, and the answer is the same
		}
		if err != nil {
			return err
		}
		r.told = append(r.told, told)
	}
	return nil
}

// apply submits an application.
func apply(s origination.Submission) act {
	return func(r *run) (string, error) {
		answer, err := r.w.Origination.Submit(context.Background(), s)
		if err != nil {
			return "", err
		}
		told := answer.Application.Key + " " + answer.Application.Status
		if answer.Loan != nil {
			contract, err := lending.DecodeContract(answer.Loan.Contract)
			if err != nil {
				return "", err
			}
			told += " " + contract.Offer.Principal.String()
		}
		return told, nil
	}
}

// loanOf returns the loan of an application's key.
func loanOf(r *run, key string) store.Loan {
	r.w.T.Helper()
	row, err := r.w.Store.ApplicationByKey(context.Background(), key)
	if err != nil {
		r.w.T.Fatal(err)
	}
	loan, err := r.w.Store.Loan(context.Background(), row.Loan)
	if err != nil {
		r.w.T.Fatal(err)
	}
	return loan
}

// repay pays for the loan of an application, and may be refused.
func repay(key string, amount uint64, reference string) act {
	return func(r *run) (string, error) {
		loan := loanOf(r, key)
		repaid, err := r.w.Servicing.Repay(context.Background(), loan.ID, money.Minor(amount), reference)
		return toldOf(repaid, err)
	}
}

func toldOf(repaid servicing.Repaid, err error) (string, error) {
	if errs.Is(err, errs.Refused) {
		return "refused", nil
	}
	return fmt.Sprintf("penalty %s, interest %s, principal %s, overpaid %s", repaid.Penalty,
		repaid.Interest, repaid.Returned, repaid.Overpaid), err
}

// live moves the business date on and does each day's work.
func live(to clock.Date) act {
	return func(r *run) (string, error) {
		for on := r.w.Today(); on <= to; on++ {
			r.w.SetToday(on)
			if _, err := r.w.Servicing.DayEnd(context.Background(), on); err != nil {
				return "", err
			}
		}
		return to.String(), nil
	}
}

// day moves the business date and leaves the day's work undone.
func day(to clock.Date) act {
	return func(r *run) (string, error) {
		r.w.SetToday(to)
		return to.String(), nil
	}
}

// writeOff gives the loan of an application up.
func writeOff(key string) act {
	return func(r *run) (string, error) {
		return "written off", r.w.Servicing.WriteOff(context.Background(), loanOf(r, key).ID)
	}
}

// freeze and thaw do not pass the gate: they are the guard's, not the service's.
func freeze(name string, by func(r *run) (release func())) act {
	return func(r *run) (string, error) {
		if r.release[name] == nil {
			r.release[name] = by(r)
		}
		return "frozen", nil
	}
}

func thaw(name string) act {
	return func(r *run) (string, error) {
		if release := r.release[name]; release != nil {
			release()
			delete(r.release, name)
		}
		return "thawed", nil
	}
}

// summary is where everything stands, without the ids, which differ from run to run.
func (r *run) summary() string {
	r.w.T.Helper()
	var lines []string
	rows, err := r.w.Store.Applications(context.Background(), store.Page{Limit: store.PageMax})
	if err != nil {
		r.w.T.Fatal(err)
	}
	for i := range rows {
		line := fmt.Sprintf("%s %s %s", rows[i].Key, rows[i].Outcome, rows[i].Status)
		if !rows[i].Loan.IsZero() {
			line += r.loanSummary(rows[i].Key)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func (r *run) loanSummary(key string) string {
	r.w.T.Helper()
	row := loanOf(r, key)
	contract, err := lending.DecodeContract(row.Contract)
	if err != nil {
		r.w.T.Fatal(err)
	}
	l, err := lending.DecodeLoan(row.State, &contract)
	if err != nil {
		r.w.T.Fatal(err)
	}
	return fmt.Sprintf(": %s on %s, owes %s %s %s, fee %s, overpaid %s, paid %s, lost %s, recovered %s,"+
		" %d due, next action %s", l.Status, l.On, l.Principal, l.Interest, l.Penalty, l.DeferredFee,
		l.Overpaid, l.Paid, l.WrittenOff, l.Recovered, len(l.Dues), row.NextAction)
}

// small is the application of a merchant for 10,000 yuan.
func small(number int, suffix string) origination.Submission {
	s := lendingtest.Merchant(number)
	s.Form.Amount = money.Minor(10_000_00)
	s.Key += suffix
	return s
}
