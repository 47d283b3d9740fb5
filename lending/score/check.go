package score

import (
	"encoding/hex"
	"math"
	"slices"
	"unicode/utf8"

	"surety/base/errs"
)

// check returns nil if the spec is a model this package can score with, and otherwise what is wrong
// first, going from the front of the file to its end: errs.TooLarge for a limit, errs.Corrupt for
// anything else, since only this package writes such files.
func (s *Spec) check() error {
	if s.Format != Format {
		return corrupt("format %d is not the supported %d", s.Format, Format)
	}
	for _, text := range [...]struct{ name, value string }{
		{"kind", string(s.Kind)}, {"name", s.Name}, {"mapping", s.Mapping},
	} {
		if err := checkText(text.name, text.value); err != nil {
			return err
		}
	}
	if err := checkDigest("mapping_sha256", s.MappingSHA256); err != nil {
		return err
	}
	if err := s.Training.check(); err != nil {
		return err
	}
	if err := s.checkReasons(); err != nil {
		return err
	}
	if err := s.checkFeatures(); err != nil {
		return err
	}
	switch {
	case s.Kind == KindCard && s.Card != nil && s.Forest == nil:
		return s.Card.check(s.Features)
	case s.Kind == KindForest && s.Forest != nil && s.Card == nil:
		return s.Forest.check(s.Features)
	}
	return corrupt("kind %.40q does not go with its content", s.Kind)
}

func (t *Training) check() error {
	if t.Rows < 1 || t.Bad < 0 || t.Bad > t.Rows {
		return corrupt("training has %d rows of which %d are bad", t.Rows, t.Bad)
	}
	if len(t.Params) > MaxParams {
		return tooLarge("parameters", len(t.Params), MaxParams)
	}
	for _, p := range t.Params {
		if err := checkText("parameter", p.Name); err != nil {
			return err
		}
	}
	return checkDigest("data_sha256", t.DataSHA256)
}

func (s *Spec) checkReasons() error {
	if len(s.Reasons) > MaxReasons {
		return tooLarge("reasons", len(s.Reasons), MaxReasons)
	}
	for i, r := range s.Reasons {
		if err := checkText("reason code", r.Code); err != nil {
			return err
		}
		if err := checkText("reason sentence", r.Sentence); err != nil {
			return err
		}
		if i > 0 && s.Reasons[i-1].Code >= r.Code {
			return corrupt("reason codes %q and %q are not ascending", s.Reasons[i-1].Code, r.Code)
		}
	}
	return nil
}

func (s *Spec) checkFeatures() error {
	if len(s.Features) == 0 {
		return corrupt("there are no features")
	}
	if len(s.Features) > MaxFeatures {
		return tooLarge("features", len(s.Features), MaxFeatures)
	}
	names := make(map[string]bool, len(s.Features))
	for i := range s.Features {
		f := &s.Features[i]
		if err := f.check(); err != nil {
			return err
		}
		if names[f.Name] {
			return corrupt("feature %q occurs twice", f.Name)
		}
		names[f.Name] = true
		if s.reasonIndex(f.Reason) < 0 {
			return corrupt("feature %q has reason %.40q, which is not listed", f.Name, f.Reason)
		}
	}
	return nil
}

// reasonIndex returns where a code stands in Reasons, or -1.
func (s *Spec) reasonIndex(code string) int {
	return slices.IndexFunc(s.Reasons, func(r ReasonText) bool { return r.Code == code })
}

func (f *Feature) check() error {
	if err := checkText("feature name", f.Name); err != nil {
		return err
	}
	if f.Decimals < 0 || f.Decimals > MaxDecimals {
		return corrupt("feature %q has %d decimals, beyond 0 to %d", f.Name, f.Decimals, MaxDecimals)
	}
	switch f.Kind {
	case Numeric:
		if len(f.Levels) != 0 {
			return corrupt("feature %q is numeric and has levels", f.Name)
		}
	case Categorical:
		return f.checkLevels()
	default:
		return corrupt("feature %q has the unknown kind %.40q", f.Name, f.Kind)
	}
	return nil
}

func (f *Feature) checkLevels() error {
	if len(f.Levels) == 0 || f.Decimals != 0 {
		return corrupt("feature %q is categorical and has %d levels and %d decimals",
			f.Name, len(f.Levels), f.Decimals)
	}
	if len(f.Levels) > MaxLevels {
		return tooLarge("levels of a feature", len(f.Levels), MaxLevels)
	}
	for i, level := range f.Levels {
		if err := checkText("level", level); err != nil {
			return err
		}
		if i > 0 && f.Levels[i-1] >= level {
			return corrupt("feature %q has levels %q and %q, not ascending",
				f.Name, f.Levels[i-1], level)
		}
	}
	return nil
}

func (c *Card) check(features []Feature) error {
	if len(c.Features) != len(features) {
		return corrupt("the card has %d features of %d", len(c.Features), len(features))
	}
	if c.BasePoints < -MaxPoints || c.BasePoints > MaxPoints {
		return corrupt("base points %d are beyond ±%d", c.BasePoints, MaxPoints)
	}
	for i := range c.Features {
		cf := &c.Features[i]
		if cf.Name != features[i].Name {
			return corrupt("card feature %d is %.40q and not %q", i, cf.Name, features[i].Name)
		}
		if err := cf.check(&features[i]); err != nil {
			return err
		}
	}
	return nil
}

// check holds the bins to their order: one missing, specials ascending, then either ranges
// ascending to an open end or levels that take each level exactly once.
func (c *CardFeature) check(f *Feature) error {
	if len(c.Bins) > MaxBins {
		return tooLarge("bins of a feature", len(c.Bins), MaxBins)
	}
	if len(c.Bins) < 2 || c.Bins[0].Kind != BinMissing {
		return corrupt("feature %q has %d bins and does not begin with missing", f.Name, len(c.Bins))
	}
	for i := range c.Bins {
		b := &c.Bins[i]
		if b.Points < -MaxPoints || b.Points > MaxPoints || b.Good < 0 || b.Bad < 0 {
			return corrupt("feature %q bin %d has %d points, %d good, %d bad",
				f.Name, i, b.Points, b.Good, b.Bad)
		}
		if (b.Kind == BinLevels) != (len(b.Levels) != 0) {
			return corrupt("feature %q bin %d: %s with %d levels", f.Name, i, b.Kind, len(b.Levels))
		}
	}
	if f.Kind == Categorical {
		return c.checkLevelBins(f)
	}
	return c.checkRangeBins(f)
}

func (c *CardFeature) checkLevelBins(f *Feature) error {
	taken := make([]bool, len(f.Levels))
	count := 0
	for _, b := range c.Bins[1:] {
		if b.Kind != BinLevels || b.Bound != nil || !slices.IsSorted(b.Levels) {
			return corrupt("feature %q has a bin %s with levels %d", f.Name, b.Kind, b.Levels)
		}
		for _, level := range b.Levels {
			if level < 0 || level >= int64(len(taken)) || taken[level] {
				return corrupt("feature %q takes level %d twice or has it not", f.Name, level)
			}
			taken[level] = true
			count++
		}
	}
	if count != len(taken) {
		return corrupt("feature %q has bins for %d of %d levels", f.Name, count, len(taken))
	}
	return nil
}

func (c *CardFeature) checkRangeBins(f *Feature) error {
	special, last := BinSpecial, int64(math.MinInt64)
	for i, b := range c.Bins[1:] {
		open := i == len(c.Bins)-2
		if special == BinSpecial && b.Kind == BinRange {
			special, last = BinRange, math.MinInt64
		}
		if b.Kind != special || (b.Bound == nil) != open {
			return corrupt("feature %q bin %d is %s out of order or bound", f.Name, i+1, b.Kind)
		}
		if b.Bound != nil && *b.Bound <= last {
			return corrupt("feature %q bound %d is not above %d", f.Name, *b.Bound, last)
		}
		if b.Bound != nil {
			last = *b.Bound
		}
	}
	if special != BinRange {
		return corrupt("feature %q has no range bin", f.Name)
	}
	return nil
}

func (f *Forest) check(features []Feature) error {
	if f.BaseMicro < -MaxBaseMicro || f.BaseMicro > MaxBaseMicro {
		return corrupt("base %d is beyond ±%d", f.BaseMicro, MaxBaseMicro)
	}
	if len(f.Ranks) != len(features) {
		return corrupt("the forest has ranks for %d features of %d", len(f.Ranks), len(features))
	}
	for i, ranks := range f.Ranks {
		if len(ranks) != len(features[i].Levels) {
			return corrupt("feature %q has %d ranks for %d levels",
				features[i].Name, len(ranks), len(features[i].Levels))
		}
		for _, rank := range ranks {
			if rank < 0 || rank >= MaxLevels {
				return corrupt("feature %q has rank %d, beyond 0 to %d",
					features[i].Name, rank, MaxLevels-1)
			}
		}
	}
	if len(f.Trees) > MaxTrees {
		return tooLarge("trees", len(f.Trees), MaxTrees)
	}
	entries := 0
	for i, tree := range f.Trees {
		n, err := tree.check(len(features))
		if err != nil {
			return errs.Wrap(err, "score.load: tree %d", i)
		}
		if entries += n; entries > MaxAttributionEntries {
			return tooLarge("attribution entries", entries, MaxAttributionEntries)
		}
	}
	return nil
}

// check walks the preorder once and returns an upper bound of the attribution entries of the tree.
func (t Tree) check(features int) (entries int, err error) {
	open := make([]int, 1, MaxDepth+1) // the depths at which a node is still owed
	for i, node := range t {
		if len(open) == 0 {
			return 0, corrupt("%d nodes follow the end of the tree", len(t)-i)
		}
		depth := open[len(open)-1]
		open = open[:len(open)-1]
		switch len(node) {
		case splitSize:
			if depth == MaxDepth {
				return 0, tooLarge("depth of a tree", depth+1, MaxDepth)
			}
			if node[0] < 0 || node[0] >= int64(features) || node[2] < 0 || node[2] > 1 ||
				node[1] == Missing || node[1] == math.MaxInt64 {
				return 0, corrupt("split %d is %d", i, node)
			}
			open = append(open, depth+1, depth+1)
		case leafSize:
			if node[0] < -MaxLeafMicro || node[0] > MaxLeafMicro || node[1] < 1 ||
				node[1] > math.MaxInt32 {
				return 0, corrupt("leaf %d is %d", i, node)
			}
			entries += depth << depth
		default:
			return 0, corrupt("node %d has %d numbers", i, len(node))
		}
	}
	if len(open) != 0 {
		return 0, corrupt("the tree ends with %d nodes missing", len(open))
	}
	return entries, nil
}

// checkText admits 1 to MaxTextBytes bytes of printable UTF-8.
func checkText(name, text string) error {
	if len(text) > MaxTextBytes {
		return tooLarge("bytes of a "+name, len(text), MaxTextBytes)
	}
	if text == "" || !utf8.ValidString(text) {
		return corrupt("the %s is empty or not UTF-8: %.40q", name, text)
	}
	for _, r := range text {
		if r < ' ' || r == utf8.RuneError || r == 0x7f {
			return corrupt("the %s holds a control character: %.40q", name, text)
		}
	}
	return nil
}

// checkDigest admits the 64 lower-case hexadecimal digits of a SHA-256.
func checkDigest(name, text string) error {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 32 || hex.EncodeToString(raw) != text {
		return corrupt("%s is not a SHA-256 in hexadecimal: %.80q", name, text)
	}
	return nil
}

func corrupt(format string, args ...any) error {
	return errs.New(errs.Corrupt, "score.load: "+format, args...)
}

func tooLarge(what string, amount, limit int) error {
	return errs.New(errs.TooLarge, "score.load: %d %s, limit %d", amount, what, limit)
}
