package score

import "math"

// forest is the trees laid out for scoring: nodes in one slab for the sum, and for attribution the
// leaves, each with the conditions on the way to it.
type forest struct {
	ranks [][]int64
	roots []int32 // the index of each tree's first node
	nodes []node

	start      int64 // the constant of the sum
	base       int64 // the constant of the attribution: start and every leaf's mean share
	leaves     []leaf
	conditions []condition
	table      []int32
}

// node is a split or, with feature -1, a leaf whose value is in cut.
type node struct {
	cut     int64
	feature int32
	right   int32 // the left child is the next node
	missing bool  // a missing value goes left
}

// leaf is one leaf's part in attribution: which conditions lead to it, one for each distinct
// feature on the way, and where the table holds the contributions for each pattern of conditions
// met.
type leaf struct {
	first int32 // index of the first condition
	count int32
	table int32 // the entry of pattern p and condition c is table + p*count + c
}

// condition is met by values from low to high, and by Missing if missing is set.
type condition struct {
	low, high int64
	feature   int32
	missing   bool
	share     float64 // of the rows at the splits on this feature, those that went this way
}

func (c *condition) met(v int64) bool {
	if v == Missing {
		return c.missing
	}
	return c.low <= v && v <= c.high
}

func compileForest(f *Forest) *forest {
	compiled := &forest{ranks: f.Ranks, start: f.BaseMicro, base: f.BaseMicro}
	for _, tree := range f.Trees {
		compiled.roots = append(compiled.roots, int32(len(compiled.nodes)))
		b := treeBuilder{forest: compiled, tree: tree, rows: make([]int64, len(tree))}
		b.count(0)
		b.build(0, nil)
	}
	return compiled
}

// treeBuilder walks a checked tree; its recursion is bounded by MaxDepth.
type treeBuilder struct {
	forest *forest
	tree   Tree
	rows   []int64 // training rows that came through each node
}

// count fills rows for the subtree at i and returns the index after it.
func (b *treeBuilder) count(i int) int {
	if len(b.tree[i]) == leafSize {
		b.rows[i] = b.tree[i][1]
		return i + 1
	}
	right := b.count(i + 1)
	end := b.count(right)
	b.rows[i] = b.rows[i+1] + b.rows[right]
	return end
}

// build appends the subtree at i, which the conditions on path lead to, and returns the index after
// it. It leaves path as it was.
func (b *treeBuilder) build(i int, path []condition) int {
	n := b.tree[i]
	f := b.forest
	at := len(f.nodes)
	if len(n) == leafSize {
		f.nodes = append(f.nodes, node{feature: -1, cut: n[0]})
		f.addLeaf(n[0], path)
		return i + 1
	}
	split := node{feature: int32(n[0]), cut: n[1], missing: n[2] == 1}
	f.nodes = append(f.nodes, split)
	left := condition{low: math.MinInt64, high: split.cut, feature: split.feature,
		missing: split.missing, share: b.share(i+1, i)}
	right := b.build(i+1, narrow(path, left))
	f.nodes[at].right = int32(len(f.nodes))
	other := condition{low: split.cut + 1, high: math.MaxInt64, feature: split.feature,
		missing: !split.missing, share: b.share(right, i)}
	return b.build(right, narrow(path, other))
}

func (b *treeBuilder) share(child, parent int) float64 {
	return float64(b.rows[child]) / float64(b.rows[parent])
}

// narrow returns a copy of path with one more condition; a second condition on a feature is merged
// into the first.
func narrow(path []condition, c condition) []condition {
	next := append(make([]condition, 0, len(path)+1), path...)
	for i := range next {
		p := &next[i]
		if p.feature == c.feature {
			p.low, p.high = max(p.low, c.low), min(p.high, c.high)
			p.missing = p.missing && c.missing
			p.share = float64(p.share * c.share)
			return next
		}
	}
	return append(next, c)
}

// ordinal returns what the splits on a feature compare: the value, or the rank of its level, or
// Missing for what is no level.
func (f *forest) ordinal(feature int32, v int64) int64 {
	ranks := f.ranks[feature]
	if len(ranks) == 0 {
		return v
	}
	if v < 0 || v >= int64(len(ranks)) {
		return Missing
	}
	return ranks[v]
}

// sum walks each tree to the leaf the row belongs to.
func (f *forest) sum(values []int64) int64 {
	sum := f.start
	for _, root := range f.roots {
		at := root
		for f.nodes[at].feature >= 0 {
			n := &f.nodes[at]
			v := f.ordinal(n.feature, values[n.feature])
			if v == Missing && n.missing || v != Missing && v <= n.cut {
				at++
			} else {
				at = n.right
			}
		}
		sum += f.nodes[at].cut
	}
	return sum
}

// attribute adds to each feature's amount what the leaves' tables say for the row.
func (f *forest) attribute(values []int64, amounts []Contribution) {
	for i := range f.leaves {
		l := &f.leaves[i]
		conditions := f.conditions[l.first : l.first+l.count]
		pattern := int32(0)
		for c := range conditions {
			feature := conditions[c].feature
			if conditions[c].met(f.ordinal(feature, values[feature])) {
				pattern |= 1 << c
			}
		}
		entries := f.table[l.table+pattern*l.count:]
		for c := range conditions {
			amounts[conditions[c].feature].Amount += int64(entries[c])
		}
	}
}
