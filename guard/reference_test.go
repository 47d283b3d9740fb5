package guard

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"surety/base/clock"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the tables of docs/reference/guard.md")

const reference = "../docs/reference/guard.md"

// classTable, ruleTable, invariantTable and limitTable are the tables of the reference.
func classTable() string {
	var b strings.Builder
	b.WriteString("| class | loss | found | severity | stop | rules |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, c := range Classes() {
		var names []string
		for _, r := range Rules() {
			if r.Class == c.Class {
				names = append(names, "`"+r.Name+"`")
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", c.Class, c.Title, c.Layer, c.Severity, c.Stop,
			strings.Join(names, ", "))
	}
	return b.String()
}

func ruleTable() string {
	var b strings.Builder
	b.WriteString("| rule | class | invariant | what is wrong |\n| --- | --- | --- | --- |\n")
	for _, r := range Rules() {
		name := ""
		for _, i := range Invariants() {
			if i.Invariant == r.Invariant {
				name = i.Name
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s |\n", r.Name, r.Class, name, r.Text)
	}
	return b.String()
}

func invariantTable() string {
	var b strings.Builder
	b.WriteString("| invariant | promise |\n| --- | --- |\n")
	for _, i := range Invariants() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", i.Name, i.Title)
	}
	return b.String()
}

func limitTable() string {
	l := Limits{}.filled()
	var b strings.Builder
	b.WriteString("| limit | default |\n| --- | --- |\n")
	for _, row := range [...]struct {
		name string
		span clock.Duration
	}{
		{"an event waits for its postings", l.PostingDeadline}, {"a posting waits for its event", l.OrphanGrace},
		{"a reservation is open beyond its timeout", l.HoldGrace},
		{"a reservation without a timeout is open", l.HoldMax},
		{"a clearing account is away from zero", l.ClearingMax},
		{"a stream lacks an entry while later ones exist", l.GapMax},
	} {
		fmt.Fprintf(&b, "| %s | %d s |\n", row.name, row.span/clock.Second)
	}
	fmt.Fprintf(&b, "| an application's event lies before the latest business date | %d days |\n", l.BackDays)
	fmt.Fprintf(&b, "| a payment lies before the latest business date | %d days |\n", l.MakeGoodDays)
	fmt.Fprintf(&b, "| an approval may be used | %d days |\n", l.DecisionDays)
	fmt.Fprintf(&b, "| accounts frozen in a minute | %d |\n", AccountFreezes)
	fmt.Fprintf(&b, "| codes frozen in a minute | %d |\n", CodeFreezes)
	return b.String()
}

// TestReferenceIsCurrent holds the tables of docs/reference/guard.md against the code.
func TestReferenceIsCurrent(t *testing.T) {
	data, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for name, table := range map[string]string{"classes": classTable(), "rules": ruleTable(),
		"invariants": invariantTable(), "limits": limitTable()} {
		begin, end := "<!-- "+name+" -->\n", "<!-- end -->"
		before, rest, found := strings.Cut(text, begin)
		old, after, closed := strings.Cut(rest, end)
		if !found || !closed {
			t.Errorf("%s has no place for %s", reference, name)
			continue
		}
		if old == table {
			continue
		}
		if !*rewrite {
			t.Errorf("%s: the table of %s is not what the code says: go test ./guard -run Reference -rewrite",
				reference, name)
			continue
		}
		text = before + begin + table + end + after
	}
	if *rewrite {
		if err := os.WriteFile(reference, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
