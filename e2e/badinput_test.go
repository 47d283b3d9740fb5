//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
)

// TestBadRequests sends what a mistaken or hostile caller would. Each gets an answer that says what
// is wrong, none is a failure of the node, and nothing of it is in the books afterwards.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	n := startNode(t, t.TempDir(), "--rate", "0")
	loan := lend(t, n, "bad-requests")
	run(t, n.dir, 0, "ledger", "create", "e1", "--ledger", "978", "--code", "1", "--name", "euro")
	run(t, n.dir, 0, "ledger", "create", "e2", "--ledger", "978", "--code", "1")
	run(t, n.dir, 0, "ledger", "create", "d1", "--ledger", "840", "--code", "1", "--name", "dollar")
	before := run(t, n.dir, 0, "ledger", "balances")

	form, err := protojson.Marshal(goodForm("bad-form-1"))
	if err != nil {
		t.Fatal(err)
	}
	with := func(field, value string) string {
		return fmt.Sprintf(`{"form": %s}`, changed(t, string(form), field, value))
	}
	transfers := 0
	transfer := func(field, value string) string {
		transfers++ // an id that was refused for what may pass is spent
		return fmt.Sprintf(`{"transfers": [%s]}`, changed(t, fmt.Sprintf(`{"id": "f%d", "ledger": 978,
			"debitAccount": "euro", "creditAccount": "e2", "amount": "1", "code": 1}`, transfers), field, value))
	}
	const overflow = "340282366920938463463374607431768211456" // 2^128
	digits := strings.Repeat("9", 40)
	submit, repay, create := lendingService+"Submit", lendingService+"Repay", ledgerService+"CreateTransfers"
	for _, row := range []struct {
		name   string
		status int
		words  string
		call
	}{
		{"malformed", 400, "unexpected EOF", call{path: submit, body: `{"form":`}},
		{"not an object", 400, "invalid_argument", call{path: submit, body: `[]`}},
		{"wrong type", 400, "invalid_argument", call{path: submit, body: with("employees", `"many"`)}},
		{"no form", 400, "no form", call{path: submit, body: `{}`}},
		{"empty form", 400, "amount", call{path: submit, body: `{"form": {}}`}},
		{"negative amount", 400, "amount", call{path: submit, body: with("amount", `"-5"`)}},
		{"fraction", 400, "amount", call{path: submit, body: with("amount", `"12000.50"`)}},
		{"overflow", 400, "amount", call{path: submit, body: with("amount", `"`+overflow+`"`)}},
		{"40 digits", 400, "amount", call{path: submit, body: with("amount", `"`+digits+`"`)}},
		{"above the product", 400, "amount", call{path: submit, body: with("amount", `"99999999999"`)}},
		{"turnover overflow", 400, "monthly_turnover", call{path: submit, body: with("monthlyTurnover", `"`+digits+`"`)}},
		{"negative months", 400, "months_in_business", call{path: submit, body: with("monthsInBusiness", `-1`)}},
		{"no term", 400, "term_months", call{path: submit, body: with("termMonths", `7000`)}},
		{"no consent", 400, "consent", call{path: submit, body: with("consent", `false`)}},
		{"control characters", 400, "name", call{path: submit, body: with("name", `"Wei\u0000Li"`)}},
		{"long name", 400, "name", call{path: submit, body: with("name", `"`+strings.Repeat("x", 10_000)+`"`)}},
		{"long key", 400, "64", call{path: submit,
			body: fmt.Sprintf(`{"idempotencyKey": %q, "form": %s}`, strings.Repeat("k", 65), form)}},
		{"unknown product", 404, "nosuch", call{path: submit, body: fmt.Sprintf(`{"product": "nosuch", "form": %s}`, form)}},
		{"bad feature", 400, "features.employees", call{path: submit,
			body: fmt.Sprintf(`{"features": {"employees": "NaN"}, "form": %s}`, form)}},
		{"told too large", 413, "16777216", call{path: submit, body: strings.Repeat("x", 17<<20)}},
		{"found too large", 429, "16777216", call{path: submit, body: strings.Repeat("x", 17<<20), chunked: true}},

		{"repay nothing", 400, "amount", call{path: repay, body: `{"loan": "` + loan.Id + `", "amount": "0", "reference": "B"}`}},
		{"repay less than nothing", 400, "amount", call{path: repay, body: `{"loan": "` + loan.Id + `", "amount": "-1", "reference": "B"}`}},
		{"repay overflow", 400, "amount", call{path: repay, body: `{"loan": "` + loan.Id + `", "amount": "` + overflow + `", "reference": "B"}`}},
		{"repay too much", 400, "loan", call{path: repay, body: `{"loan": "` + loan.Id + `", "amount": "340282366920938463463374607431768211455", "reference": "B"}`}},
		{"repay without reference", 400, "reference", call{path: repay, body: `{"loan": "` + loan.Id + `", "amount": "100"}`}},
		{"repay an unknown loan", 404, "not found", call{path: repay, body: `{"loan": "77", "amount": "100", "reference": "B"}`}},
		{"repay no id", 400, "loan", call{path: repay, body: `{"loan": "xyz", "amount": "100", "reference": "B"}`}},

		{"transfer of nothing known", 404, "nosuch", call{path: create, body: transfer("creditAccount", `"nosuch"`)}},
		{"negative transfer", 400, "amount", call{path: create, body: transfer("amount", `"-1"`)}},
		{"transfer overflow", 400, "amount", call{path: create, body: transfer("amount", `"`+overflow+`"`)}},
		{"unknown flag", 400, "nosuch", call{path: create, body: transfer("flags", `["nosuch"]`)}},
		{"code beyond 16 bits", 400, "code", call{path: create, body: transfer("code", `65536`)}},
		{"to itself", 200, "accounts_must_be_different", call{path: create, body: transfer("creditAccount", `"euro"`)}},
		{"unknown account", 200, "credit_account_not_found", call{path: create, body: transfer("creditAccount", `"77"`)}},
		{"wrong currency", 200, "accounts_must_have_the_same_ledger", call{path: create, body: transfer("creditAccount", `"dollar"`)}},
		{"wrong ledger", 200, "transfer_must_have_the_same_ledger_as_accounts", call{path: create,
			body: transfer("ledger", `840`)}},
		{"too many", 429, "1000", call{path: create, body: `{"transfers": [` + strings.Repeat(`{},`, 1000) + `{}]}`}},

		{"unknown procedure", 404, "", call{path: lendingService + "Nosuch", body: `{}`}},
		{"unknown service", 404, "", call{path: "/surety.nosuch.v1.NoService/Do", body: `{}`}},
		{"wrong method", 405, "", call{method: http.MethodDelete, path: submit}},
		{"a change by GET", 405, "", call{method: http.MethodGet, path: submit + "?connect=v1&encoding=json&message=%7B%7D"}},
		{"wrong content type", 415, "", call{path: submit, body: `{}`, header: map[string]string{"Content-Type": "text/plain"}}},
		{"another origin", 403, "cross-origin", call{path: submit, body: `{}`, header: map[string]string{"Origin": "https://evil.example"}}},
		{"another site", 403, "cross-origin", call{path: submit, body: `{}`, header: map[string]string{"Sec-Fetch-Site": "cross-site"}}},
		{"another host", 403, "not a name of this machine", call{path: submit, body: `{}`, header: map[string]string{"Host": "evil.example"}}},
		{"through a proxy", 401, "token", call{path: submit, body: `{}`, header: map[string]string{"X-Forwarded-For": "192.0.2.1"}}},
		{"no token", 401, "not a token", call{path: submit, body: `{}`, header: map[string]string{"Authorization": "Bearer x"}}},
	} {
		status, answer := row.do(t, n)
		if status != row.status || !strings.Contains(answer, row.words) {
			t.Errorf("%s: %d, want %d and %q: %.400s", row.name, status, row.status, row.words, answer)
		}
	}
	if after := run(t, n.dir, 0, "ledger", "balances"); after != before {
		t.Errorf("refused requests have changed the books from\n%s\nto\n%s", before, after)
	}
	if applications := board(t, n).Applications; applications != 1 {
		t.Errorf("refused applications are counted: %d", applications)
	}
	if strings.Contains(n.output.String(), "panic") {
		t.Errorf("a request made the node panic:\n%s", n.output)
	}
	unbreached(t, n)
}

// changed returns a JSON object with one field set to another JSON value.
func changed(t *testing.T, object, field, value string) string {
	t.Helper()
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(object), &fields); err != nil {
		t.Fatal(err)
	}
	fields[field] = json.RawMessage(value)
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRepeatedRequests sends the same again, and other things under the same names.
func TestRepeatedRequests(t *testing.T) {
	t.Parallel()
	n := startNode(t, t.TempDir(), "--rate", "0")
	form, err := protojson.Marshal(goodForm("repeated-1"))
	if err != nil {
		t.Fatal(err)
	}
	submit := call{path: lendingService + "Submit", body: fmt.Sprintf(`{"idempotencyKey": "r", "form": %s}`, form)}
	var answers [16]string
	var statuses [16]int
	eachOf(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, func(_ context.Context, i int) {
		statuses[i], answers[i] = submit.do(t, n)
	})
	loans := map[string]bool{}
	for i := range answers {
		var answer struct{ Application, Loan struct{ ID, Status string } }
		if err := json.Unmarshal([]byte(answers[i]), &answer); err != nil || statuses[i] != 200 ||
			answer.Loan.Status != "active" || answer.Application.Status != "disbursed" {
			t.Errorf("at the same time: %d %v %.300s", statuses[i], err, answers[i])
		}
		loans[answer.Loan.ID] = true
	}
	if len(loans) != 1 {
		t.Errorf("one key at the same time made loans %v", loans)
	}
	other := submit
	other.body = strings.Replace(submit.body, "1200000", "1300000", 1)
	if status, answer := other.do(t, n); status != 409 || !strings.Contains(answer, "another form") {
		t.Errorf("another form under the key: %d %s", status, answer)
	}
	var loan string
	for loan = range loans {
	}
	repayOnce(t, n, loan)
	transferOnce(t, n)
	if totals := balanced(t, n); totals[account{156, 200}].GetAccounts() != 1 {
		t.Errorf("the books: %v", totals)
	}
	unbreached(t, n)
}

// repayOnce repays at the same time under one reference.
func repayOnce(t *testing.T, n *node, loan string) {
	t.Helper()
	repay := func(amount, reference string) call {
		return call{path: lendingService + "Repay", body: fmt.Sprintf(
			`{"loan": %q, "amount": %q, "reference": %q}`, loan, amount, reference)}
	}
	eachOf(t, make([]int, 16), func(context.Context, int) {
		if status, answer := repay("500", "same").do(t, n); status != 200 || !strings.Contains(answer, `"repaid":"500"`) {
			t.Errorf("repaid at the same time: %d %.300s", status, answer)
		}
	})
	if status, answer := repay("501", "same").do(t, n); status != 409 || !strings.Contains(answer, "same") {
		t.Errorf("another amount under the reference: %d %s", status, answer)
	}
	if status, answer := repay("500", "other").do(t, n); status != 200 || !strings.Contains(answer, `"repaid":"1000"`) {
		t.Errorf("another reference: %d %.300s", status, answer)
	}
}

// transferOnce sends a transfer's id again with every field that can differ.
func transferOnce(t *testing.T, n *node) {
	t.Helper()
	for _, id := range []string{"c1", "c2", "c3"} {
		run(t, n.dir, 0, "ledger", "create", id, "--ledger", "978", "--code", "1")
	}
	transfer := func(fields string) call {
		return call{path: ledgerService + "CreateTransfers", body: `{"transfers": [{"id": "c9", "ledger": 978, ` + fields + `}]}`}
	}
	const same = `"debitAccount": "c1", "creditAccount": "c2", "amount": "10", "code": 1`
	for _, row := range []struct{ fields, result string }{
		{same, "ok"}, {same, "exists"},
		{same + `, "flags": ["pending"]`, "exists_with_different_flags"},
		{strings.Replace(same, `"c1"`, `"c3"`, 1), "exists_with_different_debit_account_id"},
		{strings.Replace(same, `"c2"`, `"c3"`, 1), "exists_with_different_credit_account_id"},
		{strings.Replace(same, `"10"`, `"11"`, 1), "exists_with_different_amount"},
		{same + `, "userData128": "5"`, "exists_with_different_user_data_128"},
		{same + `, "userData64": "5"`, "exists_with_different_user_data_64"},
		{same + `, "userData32": 5`, "exists_with_different_user_data_32"},
		{strings.Replace(same, `"code": 1`, `"code": 2`, 1), "exists_with_different_code"},
	} {
		if status, answer := transfer(row.fields).do(t, n); status != 200 || answer != `{"results":["`+row.result+`"]}` {
			t.Errorf("%s: %d %s, want %s", row.fields, status, answer, row.result)
		}
	}
	holds(t, n, "c1", 0, 10, 0, 0)
	holds(t, n, "c2", 0, 0, 0, 10)
}
