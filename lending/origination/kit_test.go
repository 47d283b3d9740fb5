package origination_test

import (
	"context"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/lending"
	"surety/lending/lendingtest"
	"surety/lending/origination"
	"surety/lending/store"
)

// submit sends an application that is taken.
func submit(t *testing.T, w *lendingtest.World, s origination.Submission) origination.Answer {
	t.Helper()
	answer, err := w.Origination.Submit(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// reasons returns the names of a decision's reasons as one line.
func reasons(t *testing.T, row *store.Application) string {
	t.Helper()
	d, err := lending.DecodeDecision(row.Decision)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range d.Reasons {
		info, _ := r.Code.Info()
		names = append(names, info.Name)
	}
	return strings.Join(names, " ")
}

// applications returns how many there are.
func applications(t *testing.T, w *lendingtest.World) int {
	t.Helper()
	n := 0
	for page := (store.Page{Limit: store.PageMax}); ; {
		rows, err := w.Store.Applications(context.Background(), page)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) == 0 {
			return n
		}
		n, page.Before = n+len(rows), rows[len(rows)-1].Number
	}
}

func wantKind(t *testing.T, err error, kind errs.Kind) {
	t.Helper()
	if !errs.Is(err, kind) {
		t.Errorf("got %v, want kind %v", err, kind)
	}
}

// replayed sees that the stored decision comes out again.
func replayed(t *testing.T, w *lendingtest.World, row *store.Application) {
	t.Helper()
	_, difference, err := w.Origination.Replay(context.Background(), row)
	if err != nil || difference != "" {
		t.Errorf("application %s: %s %v", row.Key, difference, err)
	}
}
