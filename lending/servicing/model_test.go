package servicing_test

import (
	"context"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/lending"
	"surety/lending/lendingtest"
)

// TestModel does anything to a few loans in any order: days pass, money comes in any amount, accounts
// are frozen and released, steps fail, the process ends. After each the records and the ledger must
// hold together, down to the balance of every account.
func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := lendingtest.New(t)
		defer w.Close()
		m := &model{w: w, r: r, release: map[ident.ID]func(){}, paid: map[string]payment{}}
		for i := range rapid.IntRange(1, 3).Draw(r, "loans") {
			s := lendingtest.Merchant(i)
			s.Form.Amount = money.Minor(uint64(rapid.IntRange(10, 600).Draw(r, "amount")) * 100_00)
			s.Form.TermMonths = rapid.SampledFrom([]int{3, 6, 12}).Draw(r, "months")
			if rapid.Bool().Draw(r, "simulated") {
				s.TruePD = 300_000
			}
			m.loans = append(m.loans, w.Lent(s).Loan.ID)
		}
		r.Repeat(map[string]func(*rapid.T){
			"days":    m.days,
			"repay":   m.repay,
			"again":   m.again,
			"freeze":  m.freeze,
			"thaw":    m.thaw,
			"fault":   m.fault,
			"crash":   func(*rapid.T) { w.Reopen() },
			"givenUp": func(*rapid.T) { _ = w.Servicing.WriteOff(context.Background(), m.loan()) },
			"":        func(*rapid.T) { m.settled() },
		})
		if t.Failed() {
			r.FailNow() // what the audit found is told above; the draws follow
		}
	})
}

// payment is one that was taken.
type payment struct {
	loan   ident.ID
	amount money.Amount
	told   string
}

type model struct {
	w       *lendingtest.World
	r       *rapid.T
	loans   []ident.ID
	release map[ident.ID]func()
	paid    map[string]payment
	last    string // reference of the last payment taken
	count   int
}

func (m *model) loan() ident.ID { return rapid.SampledFrom(m.loans).Draw(m.r, "loan") }

// settled waits for what is on its way and audits. An act that failed on the way is finished first,
// as it would be within a minute.
func (m *model) settled() {
	if done, err := m.w.Recovery.Finish(context.Background()); err != nil || done.Left != 0 {
		m.r.Fatalf("recovery: %+v, %v", done, err)
	}
	m.w.Audit()
}

func (m *model) days(r *rapid.T) {
	on := m.w.Today().AddDays(rapid.IntRange(0, 45).Draw(r, "days"))
	if rapid.Bool().Draw(r, "each") {
		m.w.Live(on)
		return
	}
	m.w.SetToday(on)
	if rapid.Bool().Draw(r, "worked") {
		if _, err := m.w.Servicing.DayEnd(context.Background(), on); err != nil {
			r.Fatal(err)
		}
	}
}

func (m *model) repay(r *rapid.T) {
	loan := m.loan()
	amount := money.Minor(uint64(rapid.IntRange(1, 7_000_000).Draw(r, "paid")))
	if rapid.IntRange(0, 9).Draw(r, "payoff") == 0 {
		if q, err := m.w.Servicing.Quote(context.Background(), loan); err == nil {
			amount = q.Total
		}
	}
	m.count++
	m.pay(r, fmt.Sprintf("r%d", m.count), payment{loan: loan, amount: amount})
}

// again repeats the last payment that was taken: the answer is the same.
func (m *model) again(r *rapid.T) {
	if m.last != "" {
		m.pay(r, m.last, m.paid[m.last])
	}
}

func (m *model) pay(r *rapid.T, reference string, p payment) {
	repaid, err := m.w.Servicing.Repay(context.Background(), p.loan, p.amount, reference)
	known, taken := m.paid[reference]
	if err != nil {
		if taken || !errs.Is(err, errs.Refused) && !errs.Is(err, errs.Busy) {
			r.Fatalf("payment %s: %v", reference, err)
		}
		return
	}
	p.told = fmt.Sprint(repaid.Event, repaid.Penalty, repaid.Interest, repaid.Returned, repaid.Overpaid)
	if taken && p.told != known.told {
		r.Fatalf("payment %s: %s, before it was %s", reference, p.told, known.told)
	}
	m.paid[reference], m.last = p, reference
}

func (m *model) freeze(r *rapid.T) {
	row, _ := m.w.Store.Loan(context.Background(), m.loan())
	account := lending.AccountID(lending.ClassPrincipal, row.ID, "CNY")
	if rapid.Bool().Draw(r, "limit") {
		account = lending.AccountID(lending.ClassLimit, row.Customer, "CNY")
	}
	if m.release[account] == nil {
		m.release[account] = m.w.Freeze(account)
	}
}

func (m *model) thaw(*rapid.T) {
	for _, loan := range m.loans {
		row, _ := m.w.Store.Loan(context.Background(), loan)
		for _, account := range []ident.ID{lending.AccountID(lending.ClassPrincipal, loan, "CNY"),
			lending.AccountID(lending.ClassLimit, row.Customer, "CNY")} {
			if release := m.release[account]; release != nil {
				release()
				delete(m.release, account)
			}
		}
	}
}

// fault fails one of the next steps, before it happens or after, in a payment.
func (m *model) fault(r *rapid.T) {
	m.w.Gate.Arm(lendingtest.Fault{Step: rapid.IntRange(0, 12).Draw(r, "step"),
		After: rapid.Bool().Draw(r, "after"), Kind: errs.Busy})
	m.repay(r)
	m.w.Gate.Clear()
}
