package guard

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"surety/ledger"
)

const eventsDocument = "../docs/reference/events.md"

// cells returns the rows of a document's tables, by cell.
func cells(t *testing.T, path string) (rows [][]string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		var row []string
		for cell := range strings.SplitSeq(line[1:len(line)-1], "|") {
			row = append(row, strings.TrimSpace(cell))
		}
		rows = append(rows, row)
	}
	return rows
}

// posting is a leg in the notation of the document: "110 > 300, 21" or "120 > 220, 51".
var posting = regexp.MustCompile(`(\d+) > (\d+)(?: total)?(?:, (\d+)| posts the reservation)`)

// TestTableIsTheDocument holds the guard's own table against the public contract.
func TestTableIsTheDocument(t *testing.T) {
	seen := map[Kind]bool{}
	for _, row := range cells(t, eventsDocument) {
		kind := ParseKind(strings.Trim(row[0], "`"))
		if kind == KindUnknown || len(row) < 5 {
			continue
		}
		seen[kind] = true
		var want []string
		for _, m := range posting.FindAllStringSubmatch(row[4], -1) {
			code := m[3]
			if code == "" {
				code = "11" // a posted reservation keeps its code
			}
			want = append(want, m[1]+">"+m[2]+","+code)
		}
		var got []string
		for _, r := range table {
			if r.kind == kind {
				got = append(got, decimal(uint64(r.debit))+">"+decimal(uint64(r.credit))+","+decimal(uint64(r.code)))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the table has %v, %s has %v", kind, got, eventsDocument, want)
		}
	}
	for kind := ApplicationReceived; kind < kindMax; kind++ {
		if !seen[kind] {
			t.Errorf("%s is not in %s", kind, eventsDocument)
		}
	}
}

// TestChartIsTheDocument holds the guard's chart of accounts against the public contract.
func TestChartIsTheDocument(t *testing.T) {
	owners := map[string]owner{"product": ownerProduct, "loan": ownerLoan, "customer": ownerCustomer}
	limits := map[string]ledger.AccountFlags{"": 0, "credits must not exceed debits": noOverpay,
		"debits must not exceed credits": noOverdraft}
	seen := 0
	for _, row := range cells(t, eventsDocument) {
		class, err := strconv.ParseUint(row[0], 10, 16)
		if err != nil {
			continue
		}
		seen++
		entry := chartOf(uint16(class))
		if entry == nil {
			t.Errorf("class %d is not on the chart", class)
			continue
		}
		limit := ""
		if len(row) > 3 {
			limit = row[3]
		}
		clearing := strings.HasPrefix(limit, "returns to zero")
		if clearing {
			limit = ""
		}
		if entry.owner != owners[row[2]] || entry.limit != limits[limit] || (entry.clearing != 0) != clearing {
			t.Errorf("class %d: the chart says %+v, the document %v", class, *entry, row)
		}
	}
	if seen != len(chart) {
		t.Errorf("the document has %d classes of account, the chart %d", seen, len(chart))
	}
}

func TestTaxonomyIsWhole(t *testing.T) {
	if got := len(Classes()); got != 44 {
		t.Errorf("%d classes, want 44", got)
	}
	used := map[Class]bool{}
	last := Rule(0)
	for _, r := range Rules() {
		if r.Rule <= last {
			t.Errorf("rule %s is out of order", r.Name)
		}
		last = r.Rule
		if _, known := r.Class.Info(); !known {
			t.Errorf("rule %s is of class %s, which does not exist", r.Name, r.Class)
		}
		if r.Rule.Info() != r {
			t.Errorf("rule %s is not found by its number", r.Name)
		}
		used[r.Class] = true
	}
	prevented := map[Class]bool{404: true, 803: true} // by the ledger, which the drill shows
	for i, c := range Classes() {
		if i > 0 && classes[i-1].Class >= c.Class {
			t.Errorf("class %s is out of order", c.Class)
		}
		if covered := used[c.Class] || prevented[c.Class]; covered == (c.Layer == LayerAbsent) {
			t.Errorf("class %s is %s, and a rule covers it: %v", c.Class, c.Layer, covered)
		}
		if back, ok := ParseClass(c.Class.String()); !ok || back != c.Class {
			t.Errorf("class %s does not read back", c.Class)
		}
	}
}
