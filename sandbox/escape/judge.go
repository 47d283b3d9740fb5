package escape

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"surety/sandbox"
)

// Witness reads a trail in order and finds the acts of each attempt in it.
type Witness struct {
	attempts map[string]Attempt
	tried    map[uint32]string // process: the attempt it makes, or descends from
	seen     map[string]bool
	records  uint64
}

// NewWitness makes a witness that has seen nothing.
func NewWitness() *Witness {
	w := &Witness{attempts: map[string]Attempt{}, tried: map[uint32]string{}, seen: map[string]bool{}}
	for _, a := range append(Attempts(), planted()) {
		w.attempts[a.Name] = a
	}
	return w
}

// Add shows it the next record.
func (w *Witness) Add(r *sandbox.Record) {
	w.records++
	if r.Kind == sandbox.KindExec && len(r.Args) >= 3 && r.Args[1] == "attempt" {
		w.tried[r.Process] = r.Args[2]
		return
	}
	name, known := w.tried[r.Process]
	if !known {
		if name, known = w.tried[r.Parent]; !known || r.Outside {
			return
		}
		w.tried[r.Process] = name
	}
	if r.Kind == sandbox.KindClone && r.Result > 0 && r.Flags&0x10000 == 0 { // not a thread
		w.tried[uint32(r.Result)] = name
	}
	if !w.seen[name] && marked(w.attempts[name].Marks, r) {
		w.seen[name] = true
	}
}

// marked reports whether a record is one of the marks.
func marked(marks []Mark, r *sandbox.Record) bool {
	return slices.ContainsFunc(marks, func(m Mark) bool {
		return (m.Call < 0 || int(r.Sysno) == m.Call) && (strings.Contains(r.Path, m.Path) ||
			strings.Contains(r.Path2, m.Path) || strings.Contains(r.Text, m.Path))
	})
}

// Records is how many records the witness was shown.
func (w *Witness) Records() uint64 { return w.records }

// Saw reports whether the act of an attempt was in the trail.
func (w *Witness) Saw(name string) bool { return w.seen[name] }

// Row is what came of one class of attempts.
type Row struct {
	Class     string `json:"class"`
	Attempts  int    `json:"attempts"`
	Refused   int    `json:"refused"`
	Contained int    `json:"contained"`
	Killed    int    `json:"killed"`
	Odd       int    `json:"odd"`
	Reached   int    `json:"reached"`
	Audited   int    `json:"audited"`
}

// Report is what came of a drill.
type Report struct {
	Rows     []Row        `json:"classes"`
	Attempts int          `json:"attempts"`
	Reached  int          `json:"reached"` // attempts that did, and changes and hits on the host
	Odd      []Finding    `json:"odd"`
	Breaches []Finding    `json:"breaches"`
	Missing  []string     `json:"missing"` // attempts whose act is not in the trail
	Changes  []string     `json:"changes"` // of the host
	Hits     []string     `json:"hits"`    // on the host's listeners
	Records  uint64       `json:"records"`
	Things   int          `json:"things"`           // of the host that were compared
	Planted  bool         `json:"planted_found"`    // the planted fault was found
	Fuzz     []FuzzReport `json:"fuzz,omitempty"`   // one for each sandbox
	Trails   []string     `json:"trails,omitempty"` // that were verified
}

// Add counts the findings of one sandbox, with the witness of its trail.
func (r *Report) Add(findings []Finding, w *Witness) {
	for _, f := range findings {
		row := r.row(f.Class)
		row.Attempts++
		r.Attempts++
		switch f.Outcome {
		case Refused:
			row.Refused++
		case Contained:
			row.Contained++
		case Killed:
			row.Killed++
		case Reached:
			row.Reached++
			r.Reached++
			r.Breaches = append(r.Breaches, f)
		default:
			row.Odd++
			r.Odd = append(r.Odd, f)
		}
		if w.Saw(f.Name) {
			row.Audited++
		} else {
			r.Missing = append(r.Missing, f.Name)
		}
	}
	r.Records += w.Records()
}

// Host adds what the pictures of the host and its listeners say.
func (r *Report) Host(changes, hits []string) {
	r.Changes, r.Hits = append(r.Changes, changes...), append(r.Hits, hits...)
	r.Reached += len(changes) + len(hits)
}

func (r *Report) row(class string) *Row {
	for i := range r.Rows {
		if r.Rows[i].Class == class {
			return &r.Rows[i]
		}
	}
	r.Rows = append(r.Rows, Row{Class: class})
	return &r.Rows[len(r.Rows)-1]
}

// Clean reports whether nothing reached the host, nothing was odd, every act is in the trail and
// the planted fault was found.
func (r *Report) Clean() bool {
	return r.Reached == 0 && len(r.Odd) == 0 && len(r.Missing) == 0 && r.Planted
}

// Write writes the report for people.
func (r *Report) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	audited := 0
	fmt.Fprintln(t, "class\tattempts\trefused\tcontained\tkilled\todd\treached\tin the audit\t")
	for _, row := range r.Rows {
		audited += row.Audited
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", row.Class, row.Attempts, row.Refused,
			row.Contained, row.Killed, row.Odd, row.Reached, row.Audited)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, f := range append(slices.Clone(r.Breaches), r.Odd...) {
		fmt.Fprintf(w, "%s  %s/%s: %s\n", f.Outcome, f.Class, f.Name, f.Detail)
	}
	writeAll(w, "not in the audit", r.Missing)
	writeAll(w, "changed on the host", r.Changes)
	writeAll(w, "reached the host's listener", r.Hits)
	for _, f := range r.Fuzz {
		fmt.Fprintf(w, "fuzzing from seed %d: %d calls in %d processes, which ended: %v\n", f.Seed,
			f.Calls, f.Rounds, f.Ended)
	}
	found := "was found"
	if !r.Planted {
		found = "was NOT found"
	}
	_, err := fmt.Fprintf(w, "the planted fault %s; %d records, %d things of the host compared\n"+
		"%d attempts of %d classes, %d reached the host, %d in the audit\n", found, r.Records,
		r.Things, r.Attempts, len(r.Rows), r.Reached, audited)
	return err
}

func writeAll(w io.Writer, what string, list []string) {
	for _, text := range list {
		fmt.Fprintf(w, "%s: %s\n", what, text)
	}
}
