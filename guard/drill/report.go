package drill

import (
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"surety/base/clock"
	"surety/base/money"
	"surety/guard"
)

// Report is what came of a drill.
type Report struct {
	Seed        uint64        `json:"seed"`
	Instances   int           `json:"instances"`
	Classes     []ClassReport `json:"classes"`
	Planted     int           `json:"planted"`
	Prevented   int           `json:"prevented"`
	Caught      int           `json:"caught"`
	Missed      int           `json:"missed"`
	FalseAlarms int           `json:"false_alarms"`
	False       []FalseAlarm  `json:"false,omitempty"`
	CleanActs   int           `json:"clean_acts"`
	Events      int           `json:"events"`
	// P50 and P99 are of all caught instances, in milliseconds since the fault could be known.
	P50Millis  float64 `json:"p50_millis"`
	P99Millis  float64 `json:"p99_millis"`
	StopMillis float64 `json:"stop_p99_millis"` // from the alarm to the stop in force
	Unstopped  int     `json:"unstopped"`       // caught, and the stop did not come into force
	Disk       bool    `json:"disk"`            // the ledger's journal was on a disk
	Seconds    float64 `json:"seconds"`
	Absent     []Gap   `json:"absent"` // classes of the taxonomy that a drill does not plant
}

// ClassReport is what came of one class.
type ClassReport struct {
	Class     string  `json:"class"`
	Title     string  `json:"title"`
	Planted   int     `json:"planted"`
	Prevented int     `json:"prevented"` // the ledger refused
	Caught    int     `json:"caught"`    // the guard found it, whether or not the ledger refused
	Missed    int     `json:"missed"`
	P50Millis float64 `json:"p50_millis"`
	P99Millis float64 `json:"p99_millis"`
	// Leaked is what was moved on before the stop was in force, in minor units, of the sum AtRisk
	// that lay open; both are empty where no money could run.
	Leaked      string   `json:"leaked,omitempty"`
	AtRisk      string   `json:"at_risk,omitempty"`
	Faults      []string `json:"faults"`
	MissedNames []string `json:"missed_names,omitempty"`
	Also        []string `json:"also,omitempty"` // other classes that the same faults raised
}

// FalseAlarm is an alarm that no fault explains.
type FalseAlarm struct {
	Class    string          `json:"class"`
	Rule     string          `json:"rule"`
	Event    string          `json:"event"`
	Expected json.RawMessage `json:"expected"`
	Found    json.RawMessage `json:"found"`
}

func falseAlarm(b *guard.Breach) FalseAlarm {
	return FalseAlarm{b.Class.String(), b.Rule.String(), b.EventKind.String(),
		json.RawMessage(b.Expected.JSON()), json.RawMessage(b.Found.JSON())}
}

// String returns the alarm in one line.
func (f *FalseAlarm) String() string {
	return fmt.Sprintf("class %s, rule %s, %s: expected %s, found %s", f.Class, f.Rule, f.Event,
		f.Expected, f.Found)
}

// Gap is a class that is not planted, and why.
type Gap struct {
	Class string `json:"class"`
	Title string `json:"title"`
}

// Passed reports whether nothing was missed and no alarm was false.
func (r *Report) Passed() bool { return r.Missed == 0 && r.FalseAlarms == 0 }

// report sums up the run.
func (d *drill) report() *Report {
	r := &Report{Seed: d.cfg.Seed, Disk: d.cfg.Ledger != nil, Instances: d.cfg.Instances,
		CleanActs: d.clean, Events: d.world.outbox.len(), FalseAlarms: len(d.false),
		Seconds: float64(d.ended.Sub(d.began)/clock.Millisecond) / 1000}
	var all, stops []clock.Duration
	for _, info := range guard.Classes() {
		c := d.class(info)
		if c == nil {
			if !slices.Contains(Classes(), info.Class) {
				r.Absent = append(r.Absent, Gap{info.Class.String(), info.Title})
			}
			continue
		}
		r.Classes = append(r.Classes, *c)
		r.Planted, r.Prevented = r.Planted+c.Planted, r.Prevented+c.Prevented
		r.Caught, r.Missed = r.Caught+c.Caught, r.Missed+c.Missed
	}
	for _, i := range d.instances {
		if i.caught != nil {
			all = append(all, i.latency())
		}
		switch {
		case i.unstopped != "":
			r.Unstopped++
		case i.hasStop:
			stops = append(stops, max(0, i.stopped))
		}
	}
	r.P50Millis, r.P99Millis = millis(all, 50), millis(all, 99)
	r.StopMillis = millis(stops, 99)
	for _, b := range d.false {
		if len(r.False) < alarmsKept {
			r.False = append(r.False, falseAlarm(b))
		}
	}
	return r
}

// class sums up one class, nil where none of it was planted.
func (d *drill) class(info guard.ClassInfo) *ClassReport {
	c := &ClassReport{Class: info.Class.String(), Title: info.Title}
	var waits []clock.Duration
	var leaked, open money.Amount
	var fled bool
	also := map[guard.Class]int{}
	for _, i := range d.instances {
		if i.fault.class != info.Class {
			continue
		}
		c.Planted++
		if !slices.Contains(c.Faults, i.fault.name) {
			c.Faults = append(c.Faults, i.fault.name)
		}
		if i.prevented {
			c.Prevented++
		}
		if i.caught != nil {
			c.Caught++
			waits = append(waits, i.latency())
		}
		if i.missed() {
			c.Missed++
			c.MissedNames = append(c.MissedNames, i.product+": "+i.fault.name)
		}
		if i.flight {
			fled = true
			increase(&leaked, i.leaked)
			increase(&open, i.open)
		}
		for class, n := range i.also {
			also[class] += n
		}
	}
	if c.Planted == 0 {
		return nil
	}
	c.P50Millis, c.P99Millis = millis(waits, 50), millis(waits, 99)
	if fled {
		c.Leaked, c.AtRisk = leaked.String(), open.String()
	}
	for _, other := range guard.Classes() {
		if n := also[other.Class]; n > 0 {
			c.Also = append(c.Also, fmt.Sprintf("%s x %d", other.Class, n))
		}
	}
	return c
}

// millis returns a percentile in milliseconds, zero of none.
func millis(list []clock.Duration, percent int) float64 {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	at := min(len(sorted)-1, (len(sorted)*percent+99)/100-1)
	return float64(sorted[max(0, at)]/clock.Microsecond) / 1000
}

// WriteTable writes the report for a terminal.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "class\tloss\tplanted\trefused\tcaught\tmissed\tp50 ms\tp99 ms\tleaked")
	for i := range r.Classes {
		c := &r.Classes[i]
		leaked := "-"
		if c.Leaked != "" {
			leaked = c.Leaked + " of " + c.AtRisk
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%.1f\t%.1f\t%s\n", c.Class, c.Title, c.Planted,
			c.Prevented, c.Caught, c.Missed, c.P50Millis, c.P99Millis, leaked)
	}
	fmt.Fprintf(t, "all\t%d classes\t%d\t%d\t%d\t%d\t%.1f\t%.1f\t\n", len(r.Classes), r.Planted,
		r.Prevented, r.Caught, r.Missed, r.P50Millis, r.P99Millis)
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", r.Sentence())
	return err
}

// Sentence says in words what came of the drill.
func (r *Report) Sentence() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d classes, %d instances, %d missed, %d false alarms in %d clean acts; ",
		len(r.Classes), r.Planted, r.Missed, r.FalseAlarms, r.CleanActs)
	fmt.Fprintf(&b, "alarm p99 %.0f ms, stop p99 %.0f ms (seed %d, %.0f s)", r.P99Millis,
		r.StopMillis, r.Seed, r.Seconds)
	for _, f := range r.False {
		fmt.Fprintf(&b, "\nfalse alarm: %s", &f)
	}
	for i := range r.Classes {
		for _, name := range r.Classes[i].MissedNames {
			fmt.Fprintf(&b, "\nmissed: class %s, %s", r.Classes[i].Class, name)
		}
	}
	return b.String()
}

// WriteJSON writes the report as one object.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// WriteHTML writes the report as a page that needs nothing else.
func (r *Report) WriteHTML(w io.Writer) error { return page.Execute(w, r) }

var page = template.Must(template.New("drill").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Drill: {{.Planted}} faults, {{.Missed}} missed</title>
<style>
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}
th,td{padding:.35rem .6rem;text-align:right;border-bottom:1px solid #8884}
th:nth-child(-n+2),td:nth-child(-n+2){text-align:left}
.bad{color:#c22;font-weight:600}
small{opacity:.75;display:block}
</style></head><body>
<h1>Drill</h1>
<p>{{len .Classes}} classes, {{.Planted}} instances, <span{{if .Missed}} class="bad"{{end}}>{{.Missed}} missed</span>,
<span{{if .FalseAlarms}} class="bad"{{end}}>{{.FalseAlarms}} false alarms</span> in {{.CleanActs}} clean acts
({{.Events}} events in all). Alarm p50 {{printf "%.1f" .P50Millis}} ms, p99 {{printf "%.1f" .P99Millis}} ms since
the fault could be known; stop in force p99 {{printf "%.1f" .StopMillis}} ms after the alarm.
Seed {{.Seed}}, {{printf "%.0f" .Seconds}} s.</p>
<table><thead><tr><th>class</th><th>loss</th><th>planted</th><th>refused</th><th>caught</th><th>missed</th>
<th>p50 ms</th><th>p99 ms</th><th>leaked</th></tr></thead><tbody>
{{range .Classes}}<tr><td>{{.Class}}</td><td>{{.Title}}<small>{{range $i, $f := .Faults}}{{if $i}}; {{end}}{{$f}}{{end}}</small></td>
<td>{{.Planted}}</td><td>{{.Prevented}}</td><td>{{.Caught}}</td>
<td{{if .Missed}} class="bad"{{end}}>{{.Missed}}</td>
<td>{{printf "%.1f" .P50Millis}}</td><td>{{printf "%.1f" .P99Millis}}</td><td>{{if .Leaked}}{{.Leaked}} of {{.AtRisk}}{{end}}</td></tr>
{{end}}</tbody></table>
{{if .False}}<h2>False alarms</h2><ul>{{range .False}}<li>class {{.Class}}, rule {{.Rule}}, {{.Event}}</li>{{end}}</ul>{{end}}
{{if .Absent}}<h2>Not planted</h2><ul>{{range .Absent}}<li>{{.Class}} {{.Title}}</li>{{end}}</ul>{{end}}
</body></html>
`))
