//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	ledgerv1 "surety/api/ledger/v1"
)

// TestCommands runs every command of the reference against a node, for people and with -o json:
// each succeeds, says something, and its JSON can be read.
func TestCommands(t *testing.T) {
	t.Parallel()
	n := startNode(t, t.TempDir(), "--rate", "0")
	token := n.adminToken(t)
	loan := lend(t, n, "commands-1")
	var freeze ledgerv1.FreezeState
	ask(t, n.dir, &freeze, "ledger", "freeze", "ledger", "--ledger", "840", "--reason", "none of our business")
	form, err := protojson.Marshal(goodForm("commands-2"))
	if err != nil {
		t.Fatal(err)
	}
	scratch := t.TempDir()
	file := func(name string) string { return filepath.Join(scratch, name) }
	// Each row is run as it stands and then with -o json; what can be done once is told both times.
	rows := []struct{ command, args string }{
		{"version", ""}, {"doctor", ""}, {"config show", ""},
		{"config check", writeFile(t, "c.yaml", "log: {level: warn}\n")},
		{"access token create", "--name ann --role viewer"}, {"access token list", ""},
		{"lend submit", "--form " + writeFile(t, "form.json", string(form)) + " --key commands-2"},
		{"lend applications", "--limit 5"}, {"lend application", loan.Application},
		{"lend loans", "--limit 5"}, {"lend loan", loan.Id}, {"lend products", ""},
		{"lend repay", loan.Id + " 1.00 --reference COMMANDS-1"}, {"lend payoff", loan.Id},
		{"lend replay", loan.Application}, {"lend review", loan.Application},
		{"lend train", "--synthetic --kind scorecard --rows 3000 --out " + file("card.json")},
		{"lend evaluate", "--synthetic --rows 2000 --model " + file("card.json")},
		{"lend explain", "--model " + file("card.json") + " months_in_business=5"},
		{"trace", loan.Id}, {"evidence checkpoint", ""}, {"evidence check", ""},
		{"evidence export", loan.Id + " --out " + file("bundle")}, {"evidence verify", file("bundle")},
		{"evidence erase", loan.Customer + " --reason asked --token " + token},
		{"guard status", ""}, {"guard breaches", ""},
		{"ledger create", "b1 --ledger 978 --code 1 --name left"},
		{"ledger create", "b2 --ledger 978 --code 1 --name right"},
		{"ledger transfer", "--id b3 --debit left --credit right --amount 5 --ledger 978 --code 1"},
		{"ledger accounts", "--limit 5"}, {"ledger lookup", "left"}, {"ledger history", "left"},
		{"ledger balances", ""}, {"ledger freezes", ""},
		{"ledger freeze", "account --account left --reason test"},
		{"ledger request-release", freeze.Id + " --reason over"},
		{"ledger export", "--out " + file("ledger.jsonl")},
	}
	covered := map[string]bool{}
	for _, row := range rows {
		covered[row.command] = true
		args := append(strings.Fields(row.command), strings.Fields(row.args)...)
		silent := row.command == "evidence export" || row.command == "ledger export" // to a file
		if out := run(t, n.dir, 0, args...); strings.TrimSpace(out) == "" && !silent {
			t.Errorf("surety %s %s says nothing", row.command, row.args)
		}
		if row.command == "access token create" {
			run(t, n.dir, 0, "access", "token", "revoke", "ann") // before it is made again
			covered["access token revoke"] = true
		}
		out := run(t, n.dir, 0, append(args, "-o", "json")...)
		if err := objects(out); err != nil && !silent {
			t.Errorf("surety %s %s -o json: %v\n%s", row.command, row.args, err, out)
		}
	}
	for _, elsewhere := range []string{
		"up", "help", "completion", // every test has the first, TestUsage the others
		"bench ledger", "bench lending", "bench sandbox", "bench enclave", "ledger bench", // measure for long
		"guard drill", "guard breach", // TestRogueTransfer has a breach to show
		"lend write-off",                 // TestLateLoan has one late enough
		"lend score",                     // TestScore has a file
		"ledger release",                 // TestFreeze has two people
		"ledger import", "ledger verify", // TestLedger has another node, and a stopped one
	} {
		covered[elsewhere] = true
	}
	for _, command := range reference(t) {
		others := strings.HasPrefix(command, "sandbox ") || strings.HasPrefix(command, "enclave ")
		if !covered[command] && !others { // TestSandboxCommands and TestEnclaveCommands have those
			t.Errorf("surety %s is in the reference and in no test", command)
		}
		if out := run(t, n.dir, 0, append(strings.Fields(command), "--help")...); !strings.Contains(out, "Usage:") {
			t.Errorf("surety %s --help:\n%s", command, out)
		}
	}
}

// objects reads a stream of JSON values, of which there must be at least one.
func objects(text string) error {
	decoder := json.NewDecoder(strings.NewReader(text))
	for count := 0; ; count++ {
		var value any
		err := decoder.Decode(&value)
		if errors.Is(err, io.EOF) && count > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// reference returns the commands that docs/reference/commands.md lists, without those that only
// group others.
func reference(t *testing.T) (list []string) {
	t.Helper()
	text := readFile(t, filepath.Join("..", "docs", "reference", "commands.md"))
	var all []string
	for _, found := range regexp.MustCompile(`(?m)^## (.+)$`).FindAllStringSubmatch(text, -1) {
		all = append(all, found[1])
	}
	for i, command := range all {
		if i+1 < len(all) && strings.HasPrefix(all[i+1], command+" ") {
			continue
		}
		list = append(list, command)
	}
	if len(list) < 30 {
		t.Fatalf("the reference lists %v", list)
	}
	return list
}

// TestUsage wants wrong usage to end with status 2 and to say what is wrong.
func TestUsage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, row := range []struct {
		args  string
		words []string
	}{
		{"nosuch", []string{"nosuch", "--help"}},
		{"lend nosuch", []string{"nosuch"}},
		{"lend loans --nosuch", []string{"--nosuch"}},
		{"lend loan", []string{"ID"}},
		{"lend loan a b", []string{"b"}},
		{"lend loans --limit many", []string{"many"}},
		{"lend repay x 1.00", []string{"reference"}},
		{"lend loans -o xml", []string{"xml"}},
		{"up --set nosuch.key=1", []string{"nosuch.key"}},
		{"up --set lending.seed", []string{"lending.seed"}},
		{"up --rate -1", []string{"-1", "0 to 10000"}},
		{"up --days-per-minute 100000", []string{"100000", "1440"}},
		{"up --http nowhere", []string{"nowhere"}},
		{"up --http 0.0.0.0:0", []string{"http.tls_certificate"}},
		{"up --set ledger.address=0.0.0.0:0", []string{"loopback"}},
		{"lend loans --address http://example.com:1 --token surety_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
			[]string{"clear text"}},
		{"completion nosuch", []string{"nosuch"}},
	} {
		refused(t, dir, 2, row.words, strings.Fields(row.args)...)
	}
	refused(t, dir, 1, []string{"no node runs", "surety up"}, "lend", "loans")
	refused(t, dir, 1, nil, "lend", "loans", "--address", "127.0.0.1:1")
	refused(t, dir, 1, []string{"not a token"}, "lend", "loans", "--address", "127.0.0.1:1", "--token", "x")
	if out := run(t, dir, 0, "completion", "bash"); !strings.Contains(out, "surety") {
		t.Errorf("completion bash says:\n%s", out)
	}
	// A mistyped word gets a suggestion.
	refused(t, dir, 2, []string{"loans"}, "lend", "lons")
}
