package origination_test

import (
	"context"
	"testing"

	"surety/lending"
	"surety/lending/lendingtest"
)

func TestSmoke(t *testing.T) {
	w := lendingtest.New(t)
	a := w.Lent(lendingtest.Merchant(1))
	w.Audit()
	d, err := w.Origination.Submit(context.Background(), lendingtest.Hopeless(2))
	t.Log(d.Application.Status, err)
	b := w.Lent(lendingtest.Merchant(3))
	t.Log(a.Loan.ID, b.Loan.ID, w.Kinds(a.Loan.ID), w.Kinds(a.Application.ID), w.Balance(lending.ClassPrincipal, a.Loan.ID))
	w.Reopen()
	w.Audit()
}
