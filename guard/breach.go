package guard

import (
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
)

// Field is one named value of a record.
type Field struct {
	Name  string
	Value string
}

// Record is what a breach shows of one side: fields in an order that people can read.
type Record []Field

// Get returns the named value, empty where there is none.
func (r Record) Get(name string) string {
	for i := range r {
		if r[i].Name == name {
			return r[i].Value
		}
	}
	return ""
}

// JSON returns the record as an object of strings, in the record's order.
func (r Record) JSON() string {
	b := []byte{'{'}
	for i := range r {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, r[i].Name)
		b = append(b, ':')
		b = appendText(b, r[i].Value)
	}
	return string(append(b, '}'))
}

// appendText appends the text as a JSON string. Texts come here from events, so control characters
// and what browsers take for markup are escaped, and bytes that are no UTF-8 are replaced.
func appendText(b []byte, text string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20 || r == '<' || r == '>' || r == '&' || r == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}

// Differing returns the names that stand in both records with different values, in order.
func Differing(expected, found Record) []string {
	var names []string
	for i := range expected {
		for j := range found {
			if expected[i].Name == found[j].Name && expected[i].Value != found[j].Value {
				names = append(names, expected[i].Name)
			}
		}
	}
	return names
}

// Breach is a rule that does not hold for certain records: what was expected, what was found, and
// what is to be stopped. It belongs to whoever received it.
type Breach struct {
	ID    ident.ID // derived from the rule and the records: the same fault is the same breach
	Rule  Rule
	Class Class

	Event       ident.ID // the business event; zero for a breach of sums
	EventKind   Kind
	EventSeq    uint64 // its place in the outbox
	Application ident.ID
	Loan        ident.ID
	Customer    ident.ID
	Trace       ident.ID
	Product     string
	Transfer    ident.ID // the posting, zero where it is missing
	Code        uint16   // its code, or the code of the event's first leg
	Ledger      uint32   // the currency's ISO number
	AtRisk      money.Amount

	Expected Record
	Found    Record

	FirstSeen   clock.Instant // the first of the records reached the checker
	DecidableAt clock.Instant // from here on the breach could have been known
	DetectedAt  clock.Instant

	Stops []Stop // the smallest scope that holds the loss; empty for none
}

// Subject returns the loan, the application, or the customer, the first there is.
func (b *Breach) Subject() ident.ID {
	for _, id := range [...]ident.ID{b.Loan, b.Application} {
		if !id.IsZero() {
			return id
		}
	}
	return b.Customer
}

// Severity returns the severity of the breach's class.
func (b *Breach) Severity() Severity {
	info, _ := b.Class.Info()
	return info.Severity
}

// breachID derives a breach's id.
func breachID(rule Rule, key ...ident.ID) ident.ID {
	names := [4]string{"breach", rule.String()}
	list := names[:2]
	for _, k := range key {
		list = append(list, k.String())
	}
	return ident.Derive(list...)
}

// clip bounds a text that came from outside.
func clip(text string) string {
	if len(text) > textMax {
		return text[:textMax] + "..."
	}
	return text
}
