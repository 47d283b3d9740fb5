package score

import (
	"math"
	"math/bits"
	"slices"

	"surety/lending/score/portable"
)

// For one leaf of value v, let each feature c on the way to it have a condition that the row meets
// (o = 1) or not (o = 0) and that a share z of the training rows met. The worth of a coalition S is
// then v times the product of o over S and of z over the rest, and the Shapley value of c depends
// on nothing but which conditions are met: at most MaxDepth of them, hence at most 64 patterns.

// addBlock works out the table of a planned block and appends it.
func (f *forest) addBlock(p *planned) {
	f.blocks = append(f.blocks, block{
		firstTest: int32(len(f.tests)), tests: int32(len(p.tests)),
		firstPlayer: int32(len(f.players)), playerCount: int32(len(p.players)),
		table: int32(len(f.table)),
	})
	f.tests = append(f.tests, p.tests...)
	f.players = append(f.players, p.players...)

	mean := 0.0
	shares := make([][]float64, len(p.leaves))
	for i := range p.leaves {
		mean += p.leaves[i].mean()
		shares[i] = p.leaves[i].shapley()
	}
	constant := portable.Round(mean)
	f.base += constant

	exact := make([]float64, len(p.players))
	entries := make([]int32, len(p.players))
	for pattern := range uint(1) << len(p.tests) {
		clear(exact)
		total := -constant
		for i := range p.leaves {
			l := &p.leaves[i]
			met, all := l.met(pattern)
			if all {
				total += l.value
			}
			for c := range l.path {
				exact[p.player(l.path[c].feature)] += shares[i][int(met)*len(l.path)+c]
			}
		}
		largestRemainder(exact, total, entries)
		f.table = append(f.table, entries...)
	}
}

// mean returns the leaf's part of the mean answer: its value times the share of rows that reach it.
func (l *plannedLeaf) mean() float64 {
	mean := float64(l.value)
	for i := range l.path {
		mean = float64(mean * l.path[i].share)
	}
	return mean
}

// met returns which of the leaf's conditions hold under a pattern of test outcomes, and whether
// all.
func (l *plannedLeaf) met(pattern uint) (met uint, all bool) {
	for c, need := range l.needs {
		if need.met(pattern) {
			met |= 1 << c
		}
	}
	return met, met == 1<<len(l.needs)-1
}

// shapley returns the Shapley value of each condition of the leaf for each set of conditions met:
// that of condition c under the set met is at met*len(path) + c.
func (l *plannedLeaf) shapley() []float64 {
	count := len(l.path)
	values := make([]float64, 0, count<<count)
	for met := range uint(1) << count {
		for c := range count {
			own := float64(met >> c & 1)
			gain := float64(float64(l.value) * (own - l.path[c].share))
			values = append(values, float64(gain*l.reach(met, c)))
		}
	}
	return values
}

// reach returns the mean, over all orders in which the features may join, of what the conditions
// other than c multiply to just before c joins: o for those that have joined and z for the others.
// Coalitions that hold an unmet condition multiply to zero, so only those within met count.
func (l *plannedLeaf) reach(met uint, c int) float64 {
	count := len(l.path)
	others := (uint(1)<<count - 1) &^ (1 << c)
	sum := 0.0
	for coalition := met & others; ; coalition = (coalition - 1) & met & others {
		term := coalitionWeight(bits.OnesCount(coalition), count)
		for rest := others &^ coalition; rest != 0; rest &= rest - 1 {
			term = float64(term * l.path[bits.TrailingZeros(rest)].share)
		}
		sum += term
		if coalition == 0 {
			return sum
		}
	}
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
			break
		}
		rounded[i]++
		wanting--
	}
	// A float a hair above a whole number that it should be a hair below was not rounded down far
	// enough; its fraction is the smallest.
	for k := len(order) - 1; k >= 0 && wanting < 0; k-- {
		rounded[order[k]]--
		wanting++
	}
}

func fraction(x float64) float64 { return x - math.Floor(x) }
