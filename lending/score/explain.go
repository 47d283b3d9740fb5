package score

import (
	"fmt"
	"slices"
	"strings"
)

// Explanation is a result told feature by feature, for people.
type Explanation struct {
	Result Result `json:"result"`
	Lines  []Line `json:"lines"` // one for each feature, in the model's order
}

// Line is what one feature did.
type Line struct {
	Feature string `json:"feature"`
	Value   string `json:"value"`  // as the feature writes it
	Bin     string `json:"bin"`    // the set of values treated alike that the value fell in
	Amount  int64  `json:"amount"` // what it contributed, in the result's unit
	Reason  string `json:"reason"` // the feature's reason code
}

// Explain scores a row and says in which bin each value fell: for a scorecard the bin itself, for a
// forest the widest interval around the value that no split of any tree divides. It is errs.Invalid
// when the number of values is not that of the features.
func (m *Model) Explain(values []int64) (*Explanation, error) {
	e := &Explanation{}
	if err := m.Score(values, &e.Result); err != nil {
		return nil, err
	}
	for i := range m.spec.Features {
		f := &m.spec.Features[i]
		line := Line{Feature: f.Name, Value: f.Text(values[i]), Reason: f.Reason,
			Amount: e.Result.Contributions[i].Amount}
		if m.card != nil {
			line.Bin = f.binText(m.card[i].bins, m.card[i].Find(values[i]))
		} else {
			line.Bin = m.forest.binText(f, int32(i), values[i])
		}
		e.Lines = append(e.Lines, line)
	}
	return e, nil
}

// binText names a bin of a scorecard.
func (f *Feature) binText(bins []Bin, i int) string {
	b := &bins[i]
	switch b.Kind {
	case BinMissing:
		return "missing"
	case BinSpecial:
		return "= " + f.Text(*b.Bound)
	case BinLevels:
		return levelsText(f, b.Levels)
	}
	low := Missing
	if bins[i-1].Kind == BinRange {
		low = *bins[i-1].Bound
	}
	return rangeText(f, low, b.Bound)
}

// levelsText lists levels, the first few by name.
func levelsText(f *Feature, levels []int64) string {
	const shown = 4
	names := make([]string, 0, shown)
	for _, level := range levels[:min(shown, len(levels))] {
		names = append(names, f.Text(level))
	}
	text := strings.Join(names, " | ")
	if more := len(levels) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// rangeText writes "above low, up to high"; low Missing and high nil are open ends.
func rangeText(f *Feature, low int64, high *int64) string {
	switch {
	case low == Missing && high == nil:
		return "any"
	case low == Missing:
		return "up to " + f.Text(*high)
	case high == nil:
		return "above " + f.Text(low)
	}
	return "above " + f.Text(low) + " up to " + f.Text(*high)
}

// binText names the values of a feature that every tree treats as it treats v.
func (fo *forest) binText(f *Feature, feature int32, v int64) string {
	v = fo.ordinal(feature, v)
	if v == Missing {
		return "missing"
	}
	low, high := Missing, (*int64)(nil)
	for i := range fo.nodes {
		n := &fo.nodes[i]
		if n.feature != feature {
			continue
		}
		if n.cut < v {
			low = max(low, n.cut)
		} else if high == nil || n.cut < *high {
			high = &n.cut
		}
	}
	if f.Kind == Numeric {
		return rangeText(f, low, high)
	}
	return levelsText(f, fo.levelsBetween(feature, low, high))
}

// levelsBetween returns the levels of a feature whose rank lies above low and up to high.
func (fo *forest) levelsBetween(feature int32, low int64, high *int64) []int64 {
	var levels []int64
	for level, rank := range fo.ranks[feature] {
		if rank > low && (high == nil || rank <= *high) {
			levels = append(levels, int64(level))
		}
	}
	slices.Sort(levels)
	return levels
}
