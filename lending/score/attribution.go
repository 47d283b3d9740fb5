package score

import (
	"math"
	"math/bits"
	"slices"

	"surety/lending/score/portable"
)

// Attribution splits a forest's score among the features by Shapley's rule. The game is the
// path-dependent one of TreeSHAP: of a coalition of features whose values are known, the worth is
// the forest's answer when each split on another feature sends the row both ways, in the
// proportion of the training rows that went each way.
//
// A forest is the sum of its leaves, and Shapley values of sums are sums of Shapley values. For one
// leaf of value v, let each distinct feature c on the way to it have a condition that the row meets
// (o = 1) or not (o = 0) and that a share z of the training rows met. The worth of a coalition S is
// then v times the product of o over S and of z over the rest, and the Shapley value of c depends
// on nothing but the pattern of conditions met. There are at most MaxDepth conditions, hence at
// most 64 patterns, and compileForest works all of them out. Scoring looks them up and adds.
//
// Entries are rounded to integers here, one pattern at a time, so that the entries of a pattern sum
// to the leaf's value if all conditions are met, or zero if not, less a constant of the leaf: its
// mean share, rounded. The constants go into the base. Each entry is rounded down, and the units
// that are then wanting go one each to the entries with the largest fractions (the first of equal
// ones). So every sum is exact by construction, and an entry is within one millionth of its real
// value.

// addLeaf appends the conditions and the table of one leaf.
func (f *forest) addLeaf(value int64, path []condition) {
	l := leaf{first: int32(len(f.conditions)), count: int32(len(path)), table: int32(len(f.table))}
	f.leaves = append(f.leaves, l)
	f.conditions = append(f.conditions, path...)

	mean := float64(value)
	for i := range path {
		mean = float64(mean * path[i].share)
	}
	share := portable.Round(mean)
	f.base += share

	exact := make([]float64, len(path))
	entries := make([]int32, len(path))
	full := uint(1)<<len(path) - 1
	for pattern := uint(0); pattern <= full; pattern++ {
		for c := range path {
			exact[c] = shapley(value, path, pattern, c)
		}
		total := -share
		if pattern == full {
			total += value
		}
		largestRemainder(exact, total, entries)
		f.table = append(f.table, entries...)
	}
}

// shapley returns the Shapley value of condition c of a leaf when the conditions in pattern are
// met. A coalition that holds an unmet condition is worth nothing, so only those within pattern
// count.
func shapley(value int64, path []condition, pattern uint, c int) float64 {
	count := len(path)
	others := (uint(1)<<count - 1) &^ (1 << c)
	sum := 0.0
	for rest := others; ; rest = (rest - 1) & others { // rest runs over the complements of coalitions
		coalition := others &^ rest
		if coalition&^pattern == 0 {
			term := coalitionWeight(bits.OnesCount(coalition), count)
			for i := range path {
				if rest>>i&1 == 1 {
					term = float64(term * path[i].share)
				}
			}
			sum += term
		}
		if rest == 0 {
			break
		}
	}
	met := float64(pattern >> c & 1)
	return float64(float64(float64(value)*(met-path[c].share)) * sum)
}

// coalitionWeight returns size! (count - size - 1)! / count!, the share of all orders of count
// players in which just the given size of them come before a certain one.
func coalitionWeight(size, count int) float64 {
	return float64(factorial[size]*factorial[count-size-1]) / factorial[count]
}

var factorial = [MaxDepth + 1]float64{1, 1, 2, 6, 24, 120, 720}

// largestRemainder writes to rounded the exact numbers, each rounded down or up, so that they sum
// to total, which differs from the sum of the exact ones by at most a half and the error of floats.
func largestRemainder(exact []float64, total int64, rounded []int32) {
	order := make([]int, len(exact))
	wanting := total
	for i, x := range exact {
		order[i] = i
		rounded[i] = int32(math.Floor(x))
		wanting -= int64(rounded[i])
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch left, right := fraction(exact[a]), fraction(exact[b]); {
		case left > right:
			return -1
		case left < right:
			return 1
		}
		return 0
	})
	for _, i := range order {
		if wanting <= 0 {
			return
		}
		rounded[i]++
		wanting--
	}
}

func fraction(x float64) float64 { return x - math.Floor(x) }
