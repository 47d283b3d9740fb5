package score

// The limits of a model file. A file beyond any of them is refused with errs.TooLarge, whatever its
// digest says: digests show that a file is whole, not that it is sensible.
const (
	// MaxFileBytes bounds what Load reads. The largest forest that MaxTrees and MaxDepth admit
	// would be larger, and is not useful.
	MaxFileBytes = 16 << 20

	// MaxFeatures bounds the columns of a model: each costs a term in every score.
	MaxFeatures = 512

	// MaxLevels bounds the named values of one categorical feature; more is an identifier, not a
	// category.
	MaxLevels = 1024

	// MaxDecimals bounds the scale of a feature: 10^9 units to one leaves nine digits before the
	// point in an int64.
	MaxDecimals = 9

	// MaxBins bounds the bins of one feature of a scorecard, missing and special ones included.
	MaxBins = 64

	// MaxTrees bounds the trees of a forest. Beyond it a row takes longer than a decision allows.
	MaxTrees = 2000

	// MaxDepth bounds the splits between root and leaf. Attribution takes 2^depth entries a leaf.
	MaxDepth = 6

	// MaxAttributionEntries bounds the table that attribution looks contributions up in, of 4 bytes
	// each, hence 16 MiB of memory. Before the table is made, depth * 2^depth entries are counted
	// for each leaf, which is the most its blocks can take: all MaxTrees at depth 4, or 170 bushy
	// trees of depth 6.
	MaxAttributionEntries = 4 << 20

	// MaxReasons bounds the reason codes of a model.
	MaxReasons = 256

	// TopReasons is how many principal reasons a result names; United States Regulation B says of
	// more than four that they are not likely to be helpful (comment 9(b)(2)-1 to 12 CFR 1002.9).
	TopReasons = 4

	// MaxTextBytes bounds every name, code, level and sentence.
	MaxTextBytes = 512

	// MaxParams bounds the training parameters a file records.
	MaxParams = 64

	// MaxPoints bounds the points of one bin and of the base, so that a sum over MaxFeatures fits
	// 32 bits with room to spare.
	MaxPoints = 100_000

	// MaxLeafMicro bounds the value of one leaf, in millionths of a unit of log-odds: twenty units
	// are odds of half a billion to one.
	MaxLeafMicro = 20_000_000

	// MaxBaseMicro bounds the constant of a forest in the same unit.
	MaxBaseMicro = 50_000_000

	// maxOddsMicro is where log-odds are cut before they become points or a probability: at fifty
	// units the probability of default is 2e-22, and products of the scale still fit an int64.
	maxOddsMicro = 50_000_000
)
