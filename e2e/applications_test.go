//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"connectrpc.com/connect"

	lendingv1 "surety/api/lending/v1"
)

const formHeader = "name,id_number,phone,business_name,months_in_business,monthly_turnover,employees," +
	"existing_debt,amount,term_months,purpose,consent\n"

// formRow is a row of the plain mapping that becomes an application.
func formRow(number int) string {
	return fmt.Sprintf("Mei %d,FILE%06d,+8613900%06d,\"Tea, and %d cakes\",60,9000000,3,0,800000,12,stock,true\n",
		number, number, number, number)
}

// TestApplicationsFromFile feeds a file with every kind of broken row: each is told by its row,
// column and reason, and all the others become applications, once, however often the node starts.
func TestApplicationsFromFile(t *testing.T) {
	t.Parallel()
	broken := map[int]struct{ row, says string }{
		3:  {"Mei,FILE,+861390\n", "3 fields, the header has 12"},
		7:  {strings.Replace(formRow(7), ",60,", ",many,", 1), `column months_in_business: "many" is not a whole number`},
		9:  {strings.Replace(formRow(9), ",800000,", ",-800000,", 1), "amount"},
		11: {strings.Replace(formRow(11), ",800000,", ","+strings.Repeat("9", 40)+",", 1), "amount"},
		13: {strings.Replace(formRow(13), "cakes\"", "cakes", 1), `missing "`},
		17: {strings.Replace(formRow(17), ",true", ",maybe", 1), `column consent: "maybe"`},
		19: {strings.Replace(formRow(19), ",true", ",false", 1), "consent"},
		23: {strings.Replace(formRow(23), ",stock,", ",gambling,", 1), "purpose"},
		29: {strings.Repeat("x", 1<<20+1) + "\n", "longer than 1048576 bytes"},
		31: {strings.Replace(formRow(31), ",9000000,", ",9e6,", 1), "monthly_turnover"},
	}
	const rows = 60
	var file strings.Builder
	file.WriteString("\ufeff" + formHeader)
	for number := 1; number <= rows; number++ {
		row := formRow(number)
		if b, found := broken[number]; found {
			row = b.row
		}
		if number%5 == 0 {
			row = strings.TrimSuffix(row, "\n") + "\r\n\r\n" // as Windows ends lines; a blank one besides
		}
		file.WriteString(row)
	}
	path := writeFile(t, "applications.csv", file.String())
	dir := t.TempDir()
	args := []string{"--applications", path, "--rate", "500", "--days-per-minute", "0"}
	for start := range 3 {
		n := startNode(t, dir, args...)
		n.says(t, "all applications are taken")
		if start == 0 {
			for number, b := range broken {
				toldRow(t, n, number, b.says)
			}
			if said := strings.Count(n.output.String(), "a row is not an application"); said != len(broken) {
				t.Errorf("%d rows are told, %d are broken", said, len(broken))
			}
		}
		now := board(t, n)
		if now.Applications != uint64(rows-len(broken)) || now.Synthetic {
			t.Errorf("start %d: %v", start, now)
		}
		balanced(t, n)
		n.stop(t)
	}
	n := startNode(t, dir, args...)
	var list lendingv1.ListApplicationsResponse
	ask(t, dir, &list, "lend", "applications", "--limit", "100")
	for _, a := range list.Applications {
		if a.Origin != "file" || a.Status == "received" || a.Decision.GetOutcome() == "" {
			t.Errorf("application %v", a)
		}
	}
	unbreached(t, n)
}

// toldRow wants a line of the log that names a row and has the words.
func toldRow(t *testing.T, n *node, row int, words string) {
	t.Helper()
	for line := range strings.Lines(n.output.String()) {
		plain := strings.ReplaceAll(line, `\"`, `"`)
		if strings.Contains(line, fmt.Sprintf(" row=%d ", row)) && strings.Contains(plain, words) {
			return
		}
	}
	t.Errorf("row %d: no line says %q:\n%s", row, words, n.output)
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestApplicationsSurviveKills kills the node several times in the middle of a file: in the end
// every row has become one application.
func TestApplicationsSurviveKills(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(testSeed(t), 3))
	const rows = 400
	var file strings.Builder
	file.WriteString(formHeader)
	for number := 1; number <= rows; number++ {
		file.WriteString(formRow(number))
	}
	dir := t.TempDir()
	args := []string{"--applications", writeFile(t, "applications.csv", file.String()),
		"--rate", "200", "--days-per-minute", "0"}
	for range 4 {
		n := startNode(t, dir, args...)
		n.wait(t, random.IntN(400), false)
		n.kill(t)
	}
	n := startNode(t, dir, args...)
	n.says(t, "all applications are taken")
	seen := map[string]int{}
	request := &lendingv1.ListApplicationsRequest{Limit: 200}
	for {
		page, err := n.lending().ListApplications(t.Context(), connect.NewRequest(request))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.Msg.Applications {
			seen[a.Customer]++
		}
		if request.Before = page.Msg.Next; request.Before == "" {
			break
		}
	}
	if len(seen) != rows {
		t.Errorf("%d of %d rows are applications", len(seen), rows)
	}
	for customer, count := range seen {
		if count != 1 {
			t.Errorf("customer %s applied once and has %d applications", customer, count)
		}
	}
	balanced(t, n)
	unbreached(t, n)
}

// TestApplicationsRefused wants a start refused where the file or its mapping can never work.
func TestApplicationsRefused(t *testing.T) {
	t.Parallel()
	good := writeFile(t, "good.csv", formHeader+formRow(1))
	for _, row := range []struct {
		name   string
		status int
		words  []string
		args   []string
	}{
		{"no file", 1, []string{"absent.csv", "no such file"}, []string{"--applications", "absent.csv"}},
		{"empty", 2, []string{"empty"}, []string{"--applications", writeFile(t, "empty.csv", "")}},
		{"missing column", 2, []string{`"id_number"`}, []string{"--applications",
			writeFile(t, "columns.csv", "name,phone\nMei,+86139\n")}},
		{"no mapping", 2, []string{"nosuch"}, []string{"--applications", good, "--mapping", "nosuch"}},
		{"broken mapping", 2, []string{"nome"}, []string{"--applications", good, "--mapping",
			writeFile(t, "mapping.yaml", "nome: x\n")}},
		{"mapping alone", 2, []string{"lending.mapping", "lending.applications"}, []string{"--mapping", "form"}},
		{"a directory", 1, []string{"directory"}, []string{"--applications", t.TempDir()}},
	} {
		refused(t, t.TempDir(), row.status, row.words, append(upArgs(), row.args...)...)
	}
}

// upArgs starts a node on free ports; the data directory is SURETY_DATA_DIR's.
func upArgs() []string {
	return []string{"up", "--http", "127.0.0.1:0", "--set", "ledger.address=127.0.0.1:0"}
}

// TestTaiwan takes the first rows of the public file of card holders, or of one of the same columns
// where it is absent, under the mapping that ships.
func TestTaiwan(t *testing.T) {
	t.Parallel()
	const rows = 300
	path := taiwanFile(t, rows)
	n := startNode(t, t.TempDir(), "--applications", path, "--mapping", "taiwan", "--rate", "500",
		"--days-per-minute", "0")
	n.says(t, "all applications are taken")
	now := board(t, n)
	if now.Applications != rows || now.Approved+now.Declined+now.Referred != rows || now.Approved == 0 ||
		now.Declined == 0 || now.Currency != "TWD" {
		t.Errorf("of %d rows: %v", rows, now)
	}
	t.Logf("%d approved, %d declined, %d referred", now.Approved, now.Declined, now.Referred)
	var list lendingv1.ListLoansResponse
	ask(t, n.dir, &list, "lend", "loans", "--limit", "5")
	for _, loan := range list.Loans {
		if loan.Product != "consumer-310" || loan.Currency != "TWD" || loan.Origin != "file" {
			t.Errorf("loan %v", loan)
		}
	}
	var a lendingv1.Application
	ask(t, n.dir, &a, "lend", "application", list.Loans[0].Application)
	addsUp(t, a.Decision)
	for _, c := range a.Decision.Contributions {
		switch c.Feature {
		case "SEX", "AGE", "MARRIAGE":
			t.Errorf("the protected column %s is a feature", c.Feature)
		}
	}
	var replay lendingv1.ReplayResponse
	ask(t, n.dir, &replay, "lend", "replay", a.Id)
	if !replay.Equal {
		t.Errorf("replayed: %v", &replay)
	}
	totals := balanced(t, n)
	if principals := totals[account{901, 200}]; principals.GetAccounts() != now.LoansActive {
		t.Errorf("%d loans, and in the ledger of TWD %v", now.LoansActive, principals)
	}
	unbreached(t, n)
}

// taiwanFile returns a file with the header and the first rows of the public one.
func taiwanFile(t *testing.T, rows int) string {
	t.Helper()
	folder := os.Getenv("SURETY_DATA")
	if folder == "" {
		folder = filepath.Join("..", "..", "shared", "data")
	}
	source, err := os.Open(filepath.Join(folder, "taiwan_default.csv"))
	if err != nil {
		t.Logf("%v: a synthetic file of the same 25 columns is used", err)
		return writeFile(t, "synthetic.csv", syntheticTaiwan(rows))
	}
	defer source.Close()
	var head strings.Builder
	lines := bufio.NewScanner(source)
	for i := 0; i <= rows && lines.Scan(); i++ {
		head.WriteString(lines.Text() + "\n")
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "taiwan.csv", head.String())
}

// syntheticTaiwan makes rows in which good payers and bad ones alternate.
func syntheticTaiwan(rows int) string {
	var file strings.Builder
	file.WriteString("ID,LIMIT_BAL,SEX,EDUCATION,MARRIAGE,AGE,PAY_0,PAY_2,PAY_3,PAY_4,PAY_5,PAY_6,BILL_AMT1," +
		"BILL_AMT2,BILL_AMT3,BILL_AMT4,BILL_AMT5,BILL_AMT6,PAY_AMT1,PAY_AMT2,PAY_AMT3,PAY_AMT4,PAY_AMT5," +
		"PAY_AMT6,default.payment.next.month\n")
	for i := 1; i <= rows; i++ {
		status, paid := -1, 12_000
		if i%2 == 0 {
			status, paid = 2, 0
		}
		fields := []int{i, 50_000 + i%10*50_000, 1 + i%2, 1 + i%3, 1 + i%2, 25 + i%40}
		for range 6 {
			fields = append(fields, status)
		}
		for month := range 6 {
			fields = append(fields, 12_000+month*100)
		}
		for range 6 {
			fields = append(fields, paid)
		}
		for i, field := range append(fields, i%2) {
			if i > 0 {
				file.WriteByte(',')
			}
			file.WriteString(strconv.Itoa(field))
		}
		file.WriteByte('\n')
	}
	return file.String()
}
