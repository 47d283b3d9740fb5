package score

// forest is the trees laid out for scoring: nodes in one slab for the sum, and blocks for the
// attribution.
type forest struct {
	ranks [][]int64
	roots []int32 // the index of each tree's first node
	nodes []node
	start int64 // the constant of the sum

	attribution
}

// node is a split or, with feature -1, a leaf whose value is in cut.
type node struct {
	cut     int64
	feature int32
	right   int32 // the left child is the next node
	missing bool  // a missing value goes left
}

// compileForest lays out a forest that has been checked.
func compileForest(f *Forest) *forest {
	compiled := &forest{ranks: f.Ranks, start: f.BaseMicro}
	compiled.base = f.BaseMicro
	for _, tree := range f.Trees {
		b := treeBuilder{forest: compiled, tree: tree, rows: make([]int64, len(tree)),
			height: make([]int, len(tree)), right: make([]int, len(tree))}
		b.survey(0)
		b.layOut()
		b.attribute(0, nil)
	}
	return compiled
}

// treeBuilder walks a checked tree; its recursion is bounded by MaxDepth.
type treeBuilder struct {
	forest *forest
	tree   Tree
	rows   []int64 // training rows that came through each node
	height []int   // splits between each node and the deepest leaf below it
	right  []int   // index of each split's right child; the left one is next
}

// survey fills rows, height and right for the subtree at i and returns the index after it.
func (b *treeBuilder) survey(i int) int {
	if len(b.tree[i]) == leafSize {
		b.rows[i] = b.tree[i][1]
		return i + 1
	}
	right := b.survey(i + 1)
	end := b.survey(right)
	b.right[i] = right
	b.rows[i] = b.rows[i+1] + b.rows[right]
	b.height[i] = 1 + max(b.height[i+1], b.height[right])
	return end
}

// layOut appends the nodes as they stand: preorder is the order of the slab.
func (b *treeBuilder) layOut() {
	f := b.forest
	root := len(f.nodes)
	f.roots = append(f.roots, int32(root))
	for i, n := range b.tree {
		if len(n) == leafSize {
			f.nodes = append(f.nodes, node{feature: -1, cut: n[0]})
			continue
		}
		f.nodes = append(f.nodes, node{feature: int32(n[0]), cut: n[1], missing: n[2] == 1,
			right: int32(root + b.right[i])})
	}
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

// ordinals appends the ordinal of each value of a row and returns the result.
func (f *forest) ordinals(values, to []int64) []int64 {
	for feature, v := range values {
		to = append(to, f.ordinal(int32(feature), v))
	}
	return to
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
