package evaluate

import (
	"slices"

	"surety/lending/score/frame"
)

// Fairness is what a cut-off does to the groups of one protected attribute.
type Fairness struct {
	Column string  `json:"column"`
	Groups []Group `json:"groups"`

	// Reference is the group of the highest approval rate among those large enough. Adverse says
	// that a group large enough is approved at less than four fifths of that rate.
	Reference string `json:"reference"`
	Adverse   bool   `json:"adverse"`
}

// Group is one group of a protected attribute.
type Group struct {
	Name     string `json:"name"`
	Rows     int64  `json:"rows"`
	BadRate  Micro  `json:"bad_rate_micro"` // what happened
	MeanPD   Micro  `json:"mean_pd_micro"`  // what the model expected
	Approved Micro  `json:"approved_micro"` // share of the group at or above the cut-off
	Impact   Micro  `json:"impact_micro"`   // Approved / that of Reference; 0 where Small
	Small    bool   `json:"small"`          // below MinGroupPermille of the rows
}

// CutOff returns the least points at which at most the given share of a sample is approved, in
// thousandths. Ties are not divided, so fewer may be. An empty sample has a cut-off of zero.
func CutOff(s *Sample, approvedPermille int64) int32 {
	if len(s.Points) == 0 {
		return 0
	}
	points := slices.Clone(s.Points)
	slices.Sort(points)
	rows := int64(len(points))
	declined := rows - rows*approvedPermille/1000
	if declined <= 0 {
		return points[0]
	}
	if declined >= rows {
		return points[rows-1] + 1
	}
	cut := points[declined]
	if points[declined-1] == cut {
		cut++
	}
	return cut
}

// Compare returns for each protected attribute of a frame how its groups fare when rows of cutOff
// points or more are approved. The sample must be of the frame's rows, in their order.
func Compare(f *frame.Frame, s *Sample, cutOff int32) []Fairness {
	var report []Fairness
	for _, attribute := range f.Protected() {
		report = append(report, compareGroups(&attribute, s, cutOff))
	}
	return report
}

// sums is what is added up over the rows of one group.
type sums struct {
	rows, bad, pd, approved int64
}

func compareGroups(a *frame.Attribute, s *Sample, cutOff int32) Fairness {
	groups := make([]sums, len(a.Groups))
	for row, group := range a.Group {
		g := &groups[group]
		g.rows++
		g.pd += s.PD[row]
		if s.Bad[row] {
			g.bad++
		}
		if s.Points[row] >= cutOff {
			g.approved++
		}
	}
	report := Fairness{Column: a.Column}
	best := Micro(0)
	for i, g := range groups {
		group := Group{Name: a.Groups[i], Rows: g.rows, BadRate: ratio(g.bad, g.rows),
			Approved: ratio(g.approved, g.rows)}
		if g.rows > 0 {
			group.MeanPD = Micro(g.pd / g.rows)
		}
		group.Small = g.rows*1000 < int64(len(a.Group))*MinGroupPermille
		if !group.Small && group.Approved > best {
			best, report.Reference = group.Approved, group.Name
		}
		report.Groups = append(report.Groups, group)
	}
	report.setImpact(best)
	return report
}

// setImpact compares the groups with the best approval rate. If nobody is approved, nobody is worse
// off than another.
func (f *Fairness) setImpact(best Micro) {
	for i := range f.Groups {
		g := &f.Groups[i]
		if g.Small || best == 0 {
			continue
		}
		g.Impact = ratio(int64(g.Approved), int64(best))
		f.Adverse = f.Adverse || g.Impact < FourFifths
	}
}
