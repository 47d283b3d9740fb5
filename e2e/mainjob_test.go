//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	evidencev1 "surety/api/evidence/v1"
	lendingv1 "surety/api/lending/v1"
	nodev1 "surety/api/node/v1"
	"surety/base/money"
)

// TestMainJob runs `surety up` as it comes, in time-lapse: applications come in, loans are made,
// repaid and closed, each can be followed from its application to its postings, and a stop and a
// start go on where it was.
func TestMainJob(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	args := []string{"--rate", "20", "--days-per-minute", "1440"}
	n := startNode(t, dir, args...)
	var before *nodev1.Board
	until(t, time.Minute, "loans are made and repaid", func() (bool, string) {
		before = board(t, n)
		return before.LoansClosed > 3 && before.Declined > 0 && before.LoansActive > 0, before.String()
	})
	if !before.Synthetic || !strings.Contains(before.Input, "SYNTHETIC") || len(before.Recent) == 0 ||
		before.DecisionP99Micros == 0 || before.MoneyP99Micros == 0 || before.LogSize == 0 {
		t.Errorf("the board: %v", before)
	}
	if sum := before.Approved + before.Declined + before.Referred; sum > before.Applications {
		t.Errorf("%d applications, %d decided", before.Applications, sum)
	}
	t.Run("closed loan", func(t *testing.T) { followClosed(t, n) })
	t.Run("declined", func(t *testing.T) { followDeclined(t, n) })
	balanced(t, n)
	unbreached(t, n)

	n.stop(t)
	if status := n.command.ProcessState.ExitCode(); status != 0 {
		t.Errorf("stopped with exit status %d\n%s", status, n.output)
	}
	refused(t, dir, 1, []string{"no node runs"}, "lend", "loans")
	n = startNode(t, dir, args...)
	if strings.Contains(n.output.String(), "admin token") {
		t.Error("the second start shows a token")
	}
	after := board(t, n)
	for _, row := range []struct {
		what          string
		before, after uint64
	}{{"applications", before.Applications, after.Applications},
		{"approved", before.Approved, after.Approved}, {"closed", before.LoansClosed, after.LoansClosed},
		{"records", before.LogSize, after.LogSize}} {
		if row.after < row.before {
			t.Errorf("%s: %d before the stop, %d after", row.what, row.before, row.after)
		}
	}
	if after.BusinessDate < before.BusinessDate {
		t.Errorf("business date %s before the stop, %s after", before.BusinessDate, after.BusinessDate)
	}
	until(t, 20*time.Second, "it goes on", func() (bool, string) {
		now := board(t, n)
		return now.Applications > after.Applications+10 && now.LoansClosed > after.LoansClosed, now.String()
	})
	balanced(t, n)
	unbreached(t, n)
	if err := n.command.Process.Signal(syscall.SIGINT); err != nil { // ctrl-C
		t.Fatal(err)
	}
	<-n.exited
	if status := n.command.ProcessState.ExitCode(); status != 0 {
		t.Errorf("ctrl-C ended it with exit status %d\n%s", status, n.output)
	}
}

// followClosed reads one loan's whole life through the commands.
func followClosed(t *testing.T, n *node) {
	var list lendingv1.ListLoansResponse
	ask(t, n.dir, &list, "lend", "loans", "--status", "closed", "--limit", "1")
	if len(list.Loans) != 1 {
		t.Fatalf("closed loans: %v", &list)
	}
	var loan lendingv1.Loan
	ask(t, n.dir, &loan, "lend", "loan", list.Loans[0].Id)
	if loan.Status != "closed" || loan.PrincipalOutstanding != "0" || loan.InterestDue != "0" ||
		len(loan.Contract.GetSchedule()) != int(loan.Contract.GetTermMonths()) {
		t.Errorf("the loan: %v", &loan)
	}
	settles(t, &loan)
	var application lendingv1.Application
	ask(t, n.dir, &application, "lend", "application", loan.Application)
	if application.Loan != loan.Id || application.Status != "disbursed" || application.Origin != "synthetic" ||
		application.Form.GetName() == "" {
		t.Errorf("its application: %v", &application)
	}
	addsUp(t, application.Decision)
	var replay lendingv1.ReplayResponse
	ask(t, n.dir, &replay, "lend", "replay", application.Id)
	if !replay.Equal || replay.Computed.GetInputsDigest() != application.Decision.GetInputsDigest() {
		t.Errorf("replayed: %v", &replay)
	}
	follow(t, n, &loan, &application)
}

// settles checks that what a closed loan took in covers what it lent, by its events.
func settles(t *testing.T, loan *lendingv1.Loan) {
	t.Helper()
	var returned money.Amount
	for _, e := range loan.Events {
		if e.Kind != "loan.repaid" {
			continue
		}
		part, err := money.ParseMinor(e.Amounts["principal"])
		if err != nil {
			t.Fatal(err)
		}
		returned, _ = returned.Add(part)
	}
	if returned.String() != loan.Contract.Principal {
		t.Errorf("loan %s lent %s and got %s back", loan.Id, loan.Contract.Principal, returned)
	}
}

// addsUp checks that the base and the contributions of every feature add up to both scores.
func addsUp(t *testing.T, d *lendingv1.Decision) {
	t.Helper()
	points, odds := int64(d.BasePoints), d.BaseMicroLogOdds
	for _, c := range d.Contributions {
		switch c.Source {
		case "card":
			points += c.Contribution
		case "model":
			odds += c.Contribution
		}
	}
	if len(d.Contributions) == 0 || points != int64(d.Points) || odds != d.ModelMicroLogOdds {
		t.Errorf("contributions give %d points and %d log-odds, told are %d and %d", points, odds,
			d.Points, d.ModelMicroLogOdds)
	}
}

// follow reads the trace of a loan: every event of it, in order, the ledger's batches, all proved.
func follow(t *testing.T, n *node, loan *lendingv1.Loan, application *lendingv1.Application) {
	t.Helper()
	var trace evidencev1.TraceResponse
	ask(t, n.dir, &trace, "trace", loan.Id)
	var kinds []string
	inLog := map[string]bool{}
	batches := 0
	for _, step := range trace.Steps {
		if !step.Proved || step.Digest == "" {
			t.Errorf("step %d, %s, is not proved", step.Index, step.Kind)
		}
		switch step.Part {
		case "ledger":
			batches++
		case "lending":
			var e struct{ ID string }
			if err := json.Unmarshal([]byte(step.Payload), &e); err != nil {
				t.Errorf("step %d: %v", step.Index, err)
			}
			inLog[e.ID] = true
			kinds = append(kinds, step.Kind)
		}
	}
	if want := []string{"application.received", "application.decided", "contract.signed",
		"loan.disbursed"}; !inOrder(kinds, want) {
		t.Errorf("the trace has %v, not %v in this order", kinds, want)
	}
	for _, e := range loan.Events {
		if !inLog[e.Id] {
			t.Errorf("event %s of loan %s is not in the log", e.Kind, loan.Id)
		}
		if moved := transfersOf(t.Context(), t, n, e.Id); len(moved) == 0 && e.Kind == "loan.disbursed" {
			t.Errorf("event %s has no postings", e.Kind)
		}
	}
	if batches < 2 {
		t.Errorf("%d batches of the ledger on the trace, want the reservation's and the payment's", batches)
	}
	text := run(t, n.dir, 0, "trace", application.Id)
	if !strings.Contains(text, application.Decision.FeaturesDigest[:16]) ||
		!strings.Contains(text, application.Decision.ModelDigest[:16]) ||
		!strings.Contains(text, loan.Contract.Digest[:16]) || !strings.Contains(text, "log size") {
		t.Errorf("the trace does not name the digests:\n%s", text)
	}
}

// inOrder reports whether the wanted words stand among the given ones, in their order.
func inOrder(given, wanted []string) bool {
	for _, word := range wanted {
		at := slices.Index(given, word)
		if at < 0 {
			return false
		}
		given = given[at+1:]
	}
	return true
}

// followDeclined wants a declined application to have its reasons, no loan and no money.
func followDeclined(t *testing.T, n *node) {
	var list lendingv1.ListApplicationsResponse
	ask(t, n.dir, &list, "lend", "applications", "--outcome", "decline", "--limit", "3")
	if len(list.Applications) == 0 {
		t.Fatal("nobody was declined")
	}
	for _, row := range list.Applications {
		var a lendingv1.Application
		ask(t, n.dir, &a, "lend", "application", row.Id)
		if a.Status != "declined" || a.Loan != "" || len(a.Decision.GetReasons()) == 0 {
			t.Errorf("declined: %v", &a)
		}
		addsUp(t, a.Decision)
	}
	a := list.Applications[0]
	var reviewed lendingv1.Application
	ask(t, n.dir, &reviewed, "lend", "review", a.Id)
	if !reviewed.ReviewRequested {
		t.Errorf("asked for a review: %v", &reviewed)
	}
	ask(t, n.dir, &reviewed, "lend", "application", a.Id)
	if !reviewed.ReviewRequested {
		t.Error("the wish for a review is forgotten")
	}
}

// goodForm is an application that the default policy approves on its form alone.
func goodForm(idNumber string) *lendingv1.Form {
	return &lendingv1.Form{Name: "Wei Li", IdNumber: idNumber,
		Phone:        fmt.Sprintf("+86%011d", crc32.ChecksumIEEE([]byte(idNumber))),
		BusinessName: "Noodles & Sons", MonthsInBusiness: 84, MonthlyTurnover: "18000000",
		Employees: 6, ExistingDebt: "0", Amount: "1200000", TermMonths: 12, Purpose: "stock",
		Consent: true}
}

// lend submits a good form by the command line and returns the loan that was paid out. The same
// number is the same application.
func lend(t *testing.T, n *node, idNumber string) *lendingv1.Loan {
	t.Helper()
	response := apply(t, n, idNumber)
	if response.Loan.GetStatus() != "active" || response.Application.Origin != "api" {
		t.Fatalf("lend submit: %v", response)
	}
	return response.Loan
}

// apply submits a good form and returns what became of it.
func apply(t *testing.T, n *node, idNumber string) *lendingv1.SubmitResponse {
	t.Helper()
	form, err := protojson.Marshal(goodForm(idNumber))
	if err != nil {
		t.Fatal(err)
	}
	out, errOut, status := execute(t, n.dir, string(form), "lend", "submit", "--form", "-",
		"--key", fmt.Sprintf("key-%08x", crc32.ChecksumIEEE([]byte(idNumber))), "-o", "json")
	if status != 0 {
		t.Fatalf("lend submit: exit status %d\n%s\n%s", status, errOut, n.output)
	}
	response := &lendingv1.SubmitResponse{}
	if err := protojson.Unmarshal([]byte(out), response); err != nil {
		t.Fatal(err)
	}
	return response
}

// TestLendByHand takes one loan through its life by the command line: it is submitted, repaid in
// part, quoted and paid off.
func TestLendByHand(t *testing.T) {
	t.Parallel()
	n := startNode(t, t.TempDir(), "--rate", "0")
	loan := lend(t, n, "hand-1")
	if again := lend(t, n, "hand-1"); again.Id != loan.Id {
		t.Errorf("the same key made loans %s and %s", loan.Id, again.Id)
	}
	var repaid lendingv1.RepayResponse
	for _, repeated := range []bool{false, true} {
		ask(t, n.dir, &repaid, "lend", "repay", loan.Id, "250.00", "--reference", "BANK-1")
		if repaid.RepeatedReference != repeated || repaid.Loan.GetRepaid() != "25000" {
			t.Errorf("repaid 250.00: %v", &repaid)
		}
	}
	refused(t, n.dir, 1, []string{"BANK-1"}, "lend", "repay", loan.Id, "250.01", "--reference", "BANK-1")
	refused(t, n.dir, 1, []string{"write-off", "risk"}, "lend", "write-off", loan.Id, "--reason", "gone")
	var quote lendingv1.PayoffResponse
	ask(t, n.dir, &quote, "lend", "payoff", loan.Id)
	total, err := money.ParseMinor(quote.Amount)
	if err != nil {
		t.Fatal(err)
	}
	currency, err := money.CurrencyOf(loan.Currency)
	if err != nil {
		t.Fatal(err)
	}
	ask(t, n.dir, &repaid, "lend", "repay", loan.Id, currency.Format(total), "--reference", "BANK-2")
	if repaid.Loan.GetStatus() != "closed" || repaid.Overpaid != "0" {
		t.Errorf("paid off with %s: %v", quote.Amount, &repaid)
	}
	refused(t, n.dir, 1, []string{"not active"}, "lend", "payoff", loan.Id)
	refused(t, n.dir, 1, []string{"not in a status"}, "lend", "repay", loan.Id, "1.00", "--reference", "BANK-3")
	var application lendingv1.Application
	ask(t, n.dir, &application, "lend", "application", loan.Application)
	var closed lendingv1.Loan
	ask(t, n.dir, &closed, "lend", "loan", loan.Id)
	settles(t, &closed)
	follow(t, n, &closed, &application)
	balanced(t, n)
	unbreached(t, n)
	for _, unknown := range [][]string{{"lend", "loan"}, {"lend", "application"}, {"lend", "replay"},
		{"lend", "payoff"}, {"trace"}, {"lend", "review"}, {"evidence", "export"}} {
		refused(t, n.dir, 1, nil, append(unknown, fmt.Sprintf("%032x", 77))...)
	}
}
