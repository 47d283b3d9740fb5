package score

import (
	"math"
	"math/bits"
	"testing"

	"surety/lending/score/portable"
)

// worth is the game itself, written from its definition: the mean answer of a tree when the
// features in known have the row's values and every other split sends the row both ways by training
// rows.
func worth(
	f *Forest, tree Tree, at int, values []int64, known uint,
) (value float64, rows int64, end int) {
	n := tree[at]
	if len(n) == leafSize {
		return float64(n[0]), n[1], at + 1
	}
	left, leftRows, middle := worth(f, tree, at+1, values, known)
	right, rightRows, end := worth(f, tree, middle, values, known)
	rows = leftRows + rightRows
	if known>>n[0]&1 == 0 {
		return (left*float64(leftRows) + right*float64(rightRows)) / float64(rows), rows, end
	}
	v := values[n[0]]
	if ranks := f.Ranks[n[0]]; len(ranks) > 0 {
		if v < 0 || v >= int64(len(ranks)) {
			v = Missing
		} else {
			v = ranks[v]
		}
	}
	if v == Missing && n[2] == 1 || v != Missing && v <= n[1] {
		return left, rows, end
	}
	return right, rows, end
}

// bruteForce returns the Shapley values of a row over all coalitions of all features.
func bruteForce(f *Forest, features int, values []int64) (base float64, shares []float64) {
	total := func(known uint) float64 {
		sum := float64(f.BaseMicro)
		for _, tree := range f.Trees {
			value, _, _ := worth(f, tree, 0, values, known)
			sum += value
		}
		return sum
	}
	shares = make([]float64, features)
	for known := uint(0); known < 1<<features; known++ {
		without := total(known)
		for i := range features {
			if known>>i&1 == 0 {
				weight := 1.0
				for k := 1; k <= bits.OnesCount(known); k++ {
					weight *= float64(k) / float64(features-k)
				}
				weight /= float64(features)
				shares[i] += weight * (total(known|1<<i) - without)
			}
		}
	}
	return total(0), shares
}

// TestAttributionIsShapley compares contributions with Shapley values by definition. Each leaf
// rounds each entry by less than one millionth, so a feature is off by at most the number of
// leaves.
func TestAttributionIsShapley(t *testing.T) {
	stream := portable.NewStream(20)
	const features = 6
	for round := range 40 {
		depth := 1 + round%MaxDepth
		spec := randomForest(stream, features, 3, depth)
		m := newModel(t, spec)
		leaves := m.leafCount()
		out := &Result{}
		for range 5 {
			values := randomRow(stream, features)
			if err := m.Score(values, out); err != nil {
				t.Fatal(err)
			}
			base, shares := bruteForce(spec.Forest, features, values)
			if off := math.Abs(float64(out.Base) - base); off > float64(leaves)/2+1e-3 {
				t.Fatalf("round %d: base %d, by definition %v", round, out.Base, base)
			}
			for i, share := range shares {
				got := out.Contributions[i].Amount
				if off := math.Abs(float64(got) - share); off > float64(leaves) {
					t.Fatalf("round %d, values %d: feature %d has %d, by definition %v, %d leaves",
						round, values, i, got, share, leaves)
				}
			}
		}
	}
}

// TestContributionsAddUp is the promise itself, over many rows.
func TestContributionsAddUp(t *testing.T) {
	stream := portable.NewStream(21)
	const features = 8
	out := &Result{}
	for range 20 {
		m := newModel(t, randomForest(stream, features, 60, 5))
		for range 500 {
			values := randomRow(stream, features)
			if err := m.Score(values, out); err != nil {
				t.Fatal(err)
			}
			walked, err := m.Sum(values)
			if err != nil {
				t.Fatal(err)
			}
			sum := out.Base
			for _, c := range out.Contributions {
				sum += c.Amount
			}
			if sum != walked || out.Score != walked {
				t.Fatalf("values %d: contributions add up to %d, the trees to %d", values, sum, walked)
			}
		}
	}
}

func TestLargestRemainder(t *testing.T) {
	for _, c := range []struct {
		exact []float64
		total int64
		want  []int32
	}{
		{[]float64{0.5, 0.5}, 1, []int32{1, 0}},
		{[]float64{-0.5, -0.5}, -1, []int32{0, -1}},
		{[]float64{1.2, 2.7, -3.4}, 0, []int32{1, 3, -4}},
		{[]float64{1.2, 2.7, -3.4}, 1, []int32{1, 3, -3}},
		{[]float64{3, 4}, 7, []int32{3, 4}},
		{[]float64{1.0000001, 2.0000002}, 2, []int32{0, 2}},
		{nil, 0, nil},
	} {
		got := make([]int32, len(c.exact))
		largestRemainder(c.exact, c.total, got)
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%v to %d = %d, want %d", c.exact, c.total, got, c.want)
				break
			}
		}
	}
}

func (m *Model) leafCount() int {
	count := 0
	for _, tree := range m.spec.Forest.Trees {
		count += (len(tree) + 1) / 2
	}
	return count
}
