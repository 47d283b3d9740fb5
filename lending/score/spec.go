package score

// Format is the version of the model file this package writes. Files of another are refused.
const Format = 1

// Kind is what a model is. The texts stand in model files and in stored decisions.
type Kind string

// The kinds of model.
const (
	KindCard   Kind = "scorecard" // points for each bin
	KindForest Kind = "gbdt"      // boosted trees
)

// Unit returns what the model's score, base and contributions are counted in.
func (k Kind) Unit() string {
	if k == KindCard {
		return "points"
	}
	return "micro_log_odds"
}

// Spec is the content of a model file: everything a model is, as plain data. Exactly one of Card
// and Forest is set, as Kind says. Every number is an integer.
type Spec struct {
	Format        int          `json:"format"`
	Kind          Kind         `json:"kind"`
	Name          string       `json:"name"`
	Synthetic     bool         `json:"synthetic"`      // trained on generated data
	Mapping       string       `json:"mapping"`        // the mapping the data was read through
	MappingSHA256 string       `json:"mapping_sha256"` // of that mapping's text, in hexadecimal
	Training      Training     `json:"training"`
	Reasons       []ReasonText `json:"reasons"`  // ascending by code
	Features      []Feature    `json:"features"` // in the order of the values to score
	Card          *Card        `json:"card,omitempty"`
	Forest        *Forest      `json:"forest,omitempty"`
}

// Training says what a model was fitted to and how, enough to fit it again.
type Training struct {
	Rows       int64   `json:"rows"`
	Bad        int64   `json:"bad"` // of the rows, those that defaulted
	Seed       uint64  `json:"seed"`
	DataSHA256 string  `json:"data_sha256"` // of the frame's content, in hexadecimal
	Params     []Param `json:"params"`      // in the order of the trainer's parameters
}

// Param is one training parameter.
type Param struct {
	Name  string `json:"name"`
	Value int64  `json:"value"`
}

// ReasonText is what an applicant is told under a reason code.
type ReasonText struct {
	Code     string `json:"code"`
	Sentence string `json:"sentence"`
}

// Card is a scorecard: score = BasePoints + for each feature the points of the bin it falls in.
type Card struct {
	BasePoints int64         `json:"base_points"`
	Features   []CardFeature `json:"features"` // one for each of Spec.Features, in order
}

// CardFeature is the bins of one feature. A feature that did not enter the card has a coefficient
// of zero and zero points in every bin; its bins and information value are kept for the record.
type CardFeature struct {
	Name             string `json:"name"`
	IVMicro          int64  `json:"iv_micro"`          // information value, in millionths
	CoefficientMicro int64  `json:"coefficient_micro"` // of the logistic regression on WOE
	Bins             []Bin  `json:"bins"`              // missing, then special, then range or levels
}

// BinKind is how a bin takes its values.
type BinKind string

// The kinds of bin, in the order in which they stand and are tried.
const (
	BinMissing BinKind = "missing" // Missing, and levels the feature does not have: always first
	BinSpecial BinKind = "special" // exactly Bound
	BinRange   BinKind = "range"   // above the bin before, up to and with Bound; the last has none
	BinLevels  BinKind = "levels"  // one of Levels
)

// Bin is a set of values of one feature that are treated alike.
type Bin struct {
	Kind     BinKind `json:"kind"`
	Bound    *int64  `json:"bound,omitempty"`
	Levels   []int64 `json:"levels,omitempty"` // ascending indexes of Feature.Levels
	Points   int64   `json:"points"`
	WOEMicro int64   `json:"woe_micro"` // ln(share of the good / share of the bad), in millionths
	Good     int64   `json:"good"`      // training rows in the bin that repaid
	Bad      int64   `json:"bad"`       // and that defaulted
}

// Forest is a sum of trees: log-odds of good = BaseMicro + for each tree the value of a leaf.
type Forest struct {
	BaseMicro int64     `json:"base_micro"`
	Ranks     [][]int64 `json:"ranks"` // for each feature: the rank of each level; empty if numeric
	Trees     []Tree    `json:"trees"`
}

// Tree is the nodes of a binary tree in preorder: a split, then all of its left side, then all of
// its right. A split is [feature, cut, missing], and sends a row left if the feature's value (for a
// categorical one the rank of its level) is at most cut; a missing value goes left if missing is 1
// and right if 0. A leaf is [value in millionths of log-odds, training rows that came here].
type Tree [][]int64

const (
	splitSize = 3 // [feature, cut, missing]
	leafSize  = 2 // [value, rows]
)
