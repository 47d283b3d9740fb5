package evaluate

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"surety/lending/score"
	"surety/lending/score/frame"
	"surety/lending/score/portable"
)

// Micro is a ratio in millionths.
type Micro int64

// String returns the ratio with four decimals, rounded half away from zero: "0.7695".
func (m Micro) String() string {
	sign, v := "", int64(m)
	if v < 0 {
		sign, v = "-", -v
	}
	v = (v + 50) / 100
	return fmt.Sprintf("%s%d.%04d", sign, v/10_000, v%10_000)
}

// Sample is what a model said about rows whose end is known. The slices are of one length.
type Sample struct {
	Scores []int64 // in the model's unit; higher is safer
	Points []int32
	PD     []int64 // in parts per million
	Bad    []bool
}

// Metrics is how well a sample's scores and probabilities fit its ends.
type Metrics struct {
	Rows   int64 `json:"rows"`
	Bad    int64 `json:"bad"`
	AUC    Micro `json:"auc_micro"`   // share of pairs of good and bad in which good scores higher
	KS     Micro `json:"ks_micro"`    // greatest distance between the distributions of good and bad
	Gini   Micro `json:"gini_micro"`  // 2 AUC - 1
	Brier  Micro `json:"brier_micro"` // mean square of probability less outcome
	ECE    Micro `json:"ece_micro"`   // mean distance of probability from bad share over Bands bands
	MeanPD Micro `json:"mean_pd_micro"`
	PSI    Micro `json:"psi_micro"` // shift from the scores of the rows trained on; 0 if not compared
}

// Score returns what a model says about the rows of a frame. The frame's features are aligned to
// the model's; errs.Invalid where that cannot be done.
func Score(m *score.Model, f *frame.Frame) (*Sample, error) {
	f, err := f.Align(m.Features())
	if err != nil {
		return nil, err
	}
	s := &Sample{}
	var values []int64
	for row := range f.Rows() {
		values = f.Row(row, values[:0])
		sum, err := m.Sum(values)
		if err != nil {
			return nil, err
		}
		points, pd := m.Scale(sum)
		s.Scores = append(s.Scores, sum)
		s.Points = append(s.Points, points)
		s.PD = append(s.PD, pd)
		s.Bad = append(s.Bad, f.Bad(row))
	}
	return s, nil
}

// Measure returns the metrics of a sample. Where there are no good or no bad rows, AUC is a half
// and KS zero; all else is zero for an empty sample.
func Measure(s *Sample) Metrics {
	m := Metrics{Rows: int64(len(s.Bad)), AUC: score.Micro / 2}
	if m.Rows == 0 {
		return m
	}
	squares, probabilities := int64(0), int64(0)
	for i, bad := range s.Bad {
		off := s.PD[i]
		probabilities += off
		if bad {
			m.Bad++
			off -= score.Micro
		}
		squares += off * off / score.Micro
	}
	m.Brier = Micro(squares / m.Rows)
	m.MeanPD = Micro(probabilities / m.Rows)
	m.rank(s)
	m.Gini = 2*m.AUC - score.Micro
	m.calibrate(s)
	return m
}

// rank sets AUC and KS in one pass over the rows in ascending order of score, equal scores
// together.
func (m *Metrics) rank(s *Sample) {
	goodRows := m.Rows - m.Bad
	if goodRows == 0 || m.Bad == 0 {
		return
	}
	order := orderBy(s.Scores)
	good, bad := int64(0), int64(0) // rows with lower scores
	twice, distance := int64(0), int64(0)
	for begin := 0; begin < len(order); {
		end := begin
		ownGood, ownBad := int64(0), int64(0)
		for ; end < len(order) && s.Scores[order[end]] == s.Scores[order[begin]]; end++ {
			if s.Bad[order[end]] {
				ownBad++
			} else {
				ownGood++
			}
		}
		twice += ownGood * (2*bad + ownBad)
		good, bad = good+ownGood, bad+ownBad
		distance = max(distance, abs(bad*goodRows-good*m.Bad))
		begin = end
	}
	m.AUC = ratio(twice, 2*goodRows*m.Bad)
	m.KS = ratio(distance, goodRows*m.Bad)
}

// calibrate sets ECE: rows in ascending order of probability are cut into bands, and in each the
// sum of probabilities is held against the count of bad rows.
func (m *Metrics) calibrate(s *Sample) {
	order := orderBy(s.PD)
	total := int64(0)
	for band := range Bands {
		off := int64(0)
		for _, row := range order[len(order)*band/Bands : len(order)*(band+1)/Bands] {
			off += s.PD[row]
			if s.Bad[row] {
				off -= score.Micro
			}
		}
		total += abs(off)
	}
	m.ECE = Micro(total / m.Rows)
}

// PSI returns the population stability index of scores against a reference: the reference is cut
// into Bands bands of equal count, and the shares of both in each are compared. Below 0.1 is taken
// for stable, above 0.25 for another population. Half a row is added to every count. Zero if either
// is empty.
func PSI(reference, scores []int64) Micro {
	if len(reference) == 0 || len(scores) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(reference))
	var cuts []int64
	for band := 1; band < Bands; band++ {
		cut := sorted[(len(sorted)-1)*band/Bands]
		if len(cuts) == 0 || cuts[len(cuts)-1] < cut {
			cuts = append(cuts, cut)
		}
	}
	was, is := bandCounts(cuts, reference), bandCounts(cuts, scores)
	sum := 0.0
	for band := range was {
		before := (float64(was[band]) + 0.5) / (float64(len(reference)) + 0.5*Bands)
		now := (float64(is[band]) + 0.5) / (float64(len(scores)) + 0.5*Bands)
		sum += float64((now - before) * portable.Ln(now/before))
	}
	return Micro(portable.Round(float64(sum * score.Micro)))
}

// bandCounts returns how many values fall in each band: above the cut before, up to and with its
// own.
func bandCounts(cuts, values []int64) []int64 {
	counts := make([]int64, len(cuts)+1)
	for _, v := range values {
		band, _ := slices.BinarySearch(cuts, v)
		counts[band]++
	}
	return counts
}

// orderBy returns the indexes of values in ascending order of value, equal ones in their order.
func orderBy(values []int64) []int32 {
	order := make([]int32, len(values))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(values[a], values[b]), cmp.Compare(a, b))
	})
	return order
}

// ratio returns part / whole in millionths, rounded down. The parts are below 2^63 / 10^6 in no way
// that is promised, so the division comes in two steps.
func ratio(part, whole int64) Micro {
	if whole == 0 {
		return 0
	}
	if part <= math.MaxInt64/score.Micro {
		return Micro(part * score.Micro / whole)
	}
	return Micro(part / (whole / score.Micro))
}

func abs(v int64) int64 { return max(v, -v) }
