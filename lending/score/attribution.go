package score

import "math"

// attribution splits a forest's score among the features by Shapley's rule. The game is the
// path-dependent one of TreeSHAP: of a coalition of features whose values are known, the worth is
// the forest's answer when each split on another feature sends the row both ways, in the proportion
// of the training rows that went each way.
//
// A forest is the sum of its leaves, and Shapley values of sums are sums of Shapley values; those
// of one leaf depend only on which of the conditions on the way to it the row meets (see
// shapley.go). So all of them can be worked out when the model is loaded. The leaves of a small
// subtree are taken together as a block: the tests that matter to it are the conditions on the way
// to the subtree and the splits in it, at most MaxDepth+1, and a table holds for each pattern of
// their outcomes what each feature contributes. Scoring makes the tests of each block, looks the
// pattern up and adds.
//
// Entries are rounded to integers, one pattern at a time, so that they sum to the value of the leaf
// the pattern leads to, or zero if it leads past the block, less a constant of the block: the mean
// of its leaves, rounded. The constants go into the base. Each entry is rounded down, and the units
// that are then wanting go one each to the entries with the largest fractions (the first of equal
// ones). So every sum is exact by construction, and an entry is within one millionth of its real
// value.
type attribution struct {
	base    int64 // the forest's constant and those of all blocks
	blocks  []block
	tests   []test
	players []int32 // features
	table   []int32
}

// blockHeight is how many levels of splits a block covers: three splits at most. One more would
// make tables sixteen times as large to save half of the blocks.
const blockHeight = 2

// block is a subtree: where its tests, the features that play in it, and its table stand. The
// contributions for a pattern of test outcomes begin at table + pattern*players.
type block struct {
	firstTest, tests         int32
	firstPlayer, playerCount int32
	table                    int32
}

// test is passed by values from low to high, and by Missing if missing is set.
type test struct {
	low, high int64
	feature   int32
	missing   bool
}

func (t *test) passes(v int64) bool {
	if v == Missing {
		return t.missing
	}
	return t.low <= v && v <= t.high
}

// attribute adds to each feature's amount what the blocks' tables say for a row, given by the
// ordinals of its values.
func (a *attribution) attribute(ordinals []int64, amounts []Contribution) {
	for i := range a.blocks {
		b := &a.blocks[i]
		pattern := int32(0)
		tests := a.tests[b.firstTest : b.firstTest+b.tests]
		for k := range tests {
			if t := &tests[k]; t.passes(ordinals[t.feature]) {
				pattern |= 1 << k
			}
		}
		players := a.players[b.firstPlayer : b.firstPlayer+b.playerCount]
		entries := a.table[b.table+pattern*b.playerCount:]
		for k, player := range players {
			amounts[player].Amount += int64(entries[k])
		}
	}
}

// step is a condition on the way to a node: the test, and the share of the training rows that
// passed it. There is one step for each feature; a second split on it narrows the first.
type step struct {
	test
	share float64
}

// narrow returns a copy of a path with one more step, merged into that on the same feature if there
// is one.
func narrow(path []step, s step) []step {
	next := append(make([]step, 0, len(path)+1), path...)
	for i := range next {
		p := &next[i]
		if p.feature == s.feature {
			p.low, p.high = max(p.low, s.low), min(p.high, s.high)
			p.missing = p.missing && s.missing
			p.share = float64(p.share * s.share)
			return next
		}
	}
	return append(next, s)
}

// sides returns the steps from a split to its left and its right child.
func (b *treeBuilder) sides(i int) (left, right step) {
	n := b.tree[i]
	left.test = test{low: math.MinInt64, high: n[1], feature: int32(n[0]), missing: n[2] == 1}
	right.test = test{low: n[1] + 1, high: math.MaxInt64, feature: int32(n[0]), missing: n[2] == 0}
	left.share = float64(b.rows[i+1]) / float64(b.rows[i])
	right.share = float64(b.rows[b.right[i]]) / float64(b.rows[i])
	return left, right
}

// attribute cuts the subtree at i, which path leads to, into blocks.
func (b *treeBuilder) attribute(i int, path []step) {
	if b.height[i] > blockHeight {
		left, right := b.sides(i)
		b.attribute(i+1, narrow(path, left))
		b.attribute(b.right[i], narrow(path, right))
		return
	}
	p := planned{path: path}
	for k := range path {
		p.tests = append(p.tests, path[k].test)
		p.player(path[k].feature)
	}
	b.plan(&p, i, path, nil)
	b.forest.addBlock(&p)
}

// planned is a block in the making.
type planned struct {
	path    []step
	tests   []test // those of the path, then the left side of each split
	players []int32
	leaves  []plannedLeaf
}

// plannedLeaf is a leaf of a block: it plays with the features on the way to it. Needs says for
// each of them, in the order of path, how the tests must come out for the row to be on the way.
type plannedLeaf struct {
	value int64
	path  []step
	needs []needed
}

// needed is met by a pattern of test outcomes that has all bits of pass and none of fail.
type needed struct {
	pass, fail uint
}

func (n needed) met(pattern uint) bool { return pattern&n.pass == n.pass && pattern&n.fail == 0 }

// turn is a split on the way from the block's top to a leaf: its test, and the side taken.
type turn struct {
	test    int
	feature int32
	left    bool
}

// player returns where a feature stands among the players, at the end if it is new.
func (p *planned) player(feature int32) int {
	for i, known := range p.players {
		if known == feature {
			return i
		}
	}
	p.players = append(p.players, feature)
	return len(p.players) - 1
}

// plan adds the splits and leaves of the subtree at i, which path leads to from the root of the
// tree and turns from the top of the block.
func (b *treeBuilder) plan(p *planned, i int, path []step, turns []turn) {
	n := b.tree[i]
	if len(n) == leafSize {
		p.leaves = append(p.leaves, plannedLeaf{value: n[0], path: path, needs: p.needs(path, turns)})
		return
	}
	left, right := b.sides(i)
	at := turn{test: len(p.tests), feature: left.feature, left: true}
	p.tests = append(p.tests, left.test)
	p.player(left.feature)
	b.plan(p, i+1, narrow(path, left), append(turns[:len(turns):len(turns)], at))
	at.left = false
	b.plan(p, b.right[i], narrow(path, right), append(turns[:len(turns):len(turns)], at))
}

// needs returns for each step of a leaf's path which tests of the block make it up.
func (p *planned) needs(path []step, turns []turn) []needed {
	needs := make([]needed, len(path))
	for i := range path {
		for k := range p.path {
			if p.path[k].feature == path[i].feature {
				needs[i].pass |= 1 << k
			}
		}
		for _, t := range turns {
			switch {
			case t.feature != path[i].feature:
			case t.left:
				needs[i].pass |= 1 << t.test
			default:
				needs[i].fail |= 1 << t.test
			}
		}
	}
	return needs
}
