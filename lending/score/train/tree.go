package train

import (
	"math"

	"surety/lending/score"
	"surety/lending/score/frame"
	"surety/lending/score/portable"
)

// grower grows one tree, level by level.
type grower struct {
	*booster
	features []int32
	rows     []int32 // drawn rows, those of a node together
	scratch  []int32 // for the partition of rows
	nodes    []treeNode
	offsets  []int // of each drawn feature's bins in a histogram
	width    int   // of a histogram
}

// treeNode is a node of a growing tree. Low and high bound its leaf values, so that nodes on either
// side of a split on a feature with a trend stay on their sides of it.
type treeNode struct {
	begin, end int // its rows in grower.rows
	sum        cell
	low, high  float64
	histogram  []cell // nil once its children have theirs
	split      split  // of an inner node
	left       int    // index of the left child, the right one is next; 0 for a leaf
	value      int64  // of a leaf, in millionths
}

// split is a way to divide a node. Gain is zero where there is none.
type split struct {
	gain        float64
	feature     int  // index into grower.features
	bin         int  // bins 1 to bin go left
	missingLeft bool // bin 0 goes left
	left        cell // sums of the left side
	middle      float64
}

func (b *booster) newGrower() *grower {
	g := &grower{booster: b, rows: b.drawRows(), features: b.drawFeatures()}
	g.scratch = make([]int32, len(g.rows))
	for _, feature := range g.features {
		g.offsets = append(g.offsets, g.width)
		g.width += len(b.cuts[feature]) + 2
	}
	return g
}

// grow splits nodes while that gains something, down to the depth.
func (g *grower) grow() {
	root := treeNode{end: len(g.rows), low: math.Inf(-1), high: math.Inf(1)}
	g.nodes = append(g.nodes, root)
	g.nodes[0].histogram = g.count(0, len(g.rows))
	g.nodes[0].sum = g.total(g.nodes[0].histogram)
	level := []int{0}
	for depth := 0; depth < g.params.Depth && len(level) > 0; depth++ {
		var next []int
		for _, at := range level {
			if g.divide(at, depth+1 < g.params.Depth) {
				next = append(next, g.nodes[at].left, g.nodes[at].left+1)
			}
		}
		level = next
	}
	for i := range g.nodes {
		n := &g.nodes[i]
		n.histogram = nil
		value := g.leafValue(n.sum, n.low, n.high)
		micro := float64(float64(value*float64(g.params.LearningPermille))*score.Micro) / 1000
		n.value = min(max(portable.Round(micro), -score.MaxLeafMicro), score.MaxLeafMicro)
	}
}

// divide splits a node in two if that gains enough, and reports whether it did. Children that may
// be divided in turn get histograms: the smaller is counted, the other is what remains.
func (g *grower) divide(at int, further bool) bool {
	best := g.bestSplit(&g.nodes[at])
	if best.gain <= float64(g.params.MinGainMilli)/1000 {
		return false
	}
	n := &g.nodes[at]
	n.split = best
	middle := g.partition(n)
	left := treeNode{begin: n.begin, end: middle, sum: best.left, low: n.low, high: n.high}
	right := treeNode{begin: middle, end: n.end, sum: n.sum.minus(best.left), low: n.low, high: n.high}
	switch g.trend[g.features[best.feature]] {
	case frame.TrendRises:
		left.high, right.low = best.middle, best.middle
	case frame.TrendFalls:
		left.low, right.high = best.middle, best.middle
	}
	if further {
		small, large := &left, &right
		if right.end-right.begin < left.end-left.begin {
			small, large = large, small
		}
		small.histogram = g.count(small.begin, small.end)
		large.histogram = n.histogram
		for i := range large.histogram {
			large.histogram[i] = large.histogram[i].minus(small.histogram[i])
		}
	}
	n.histogram = nil
	n.left = len(g.nodes)
	g.nodes = append(g.nodes, left, right)
	return true
}

// partition puts the rows of a node that go left before those that go right, keeps the order within
// each, and returns where the right ones begin.
func (g *grower) partition(n *treeNode) int {
	bins := g.bins[g.features[n.split.feature]]
	left, right := n.begin, 0
	for _, row := range g.rows[n.begin:n.end] {
		if n.split.goesLeft(bins[row]) {
			g.rows[left] = row
			left++
		} else {
			g.scratch[right] = row
			right++
		}
	}
	copy(g.rows[left:n.end], g.scratch[:right])
	return left
}

func (s *split) goesLeft(bin uint8) bool {
	if bin == 0 {
		return s.missingLeft
	}
	return int(bin) <= s.bin
}

// answer returns the value of the leaf a row of the frame belongs to.
func (g *grower) answer(row int) int64 {
	at := 0
	for g.nodes[at].left != 0 {
		n := &g.nodes[at]
		at = n.left
		if !n.split.goesLeft(g.bins[g.features[n.split.feature]][row]) {
			at++
		}
	}
	return g.nodes[at].value
}

// preorder appends the subtree at a node, as the model file has it, to tree.
func (g *grower) preorder(at int, tree score.Tree) score.Tree {
	n := &g.nodes[at]
	if n.left == 0 {
		return append(tree, []int64{n.value, n.sum.rows})
	}
	feature := g.features[n.split.feature]
	missing := int64(0)
	if n.split.missingLeft {
		missing = 1
	}
	tree = append(tree, []int64{int64(feature), g.cuts[feature][n.split.bin-1], missing})
	return g.preorder(n.left+1, g.preorder(n.left, tree))
}
