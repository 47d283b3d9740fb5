package train

// The limits of training.
const (
	// MaxFineBins bounds the quantile bins that the scorecard's binning starts from: its dynamic
	// programme takes their third power of steps for each bin and direction.
	MaxFineBins = 100

	// MaxCardBins bounds the bins of one feature, missing and special ones apart; more than ten is
	// not a table a person reads.
	MaxCardBins = 16

	// MaxHistogramBins is what one byte can number, with zero kept for missing values.
	MaxHistogramBins = 256

	// MaxWorkers bounds the goroutines of one Fit; there is one feature to each at most.
	MaxWorkers = 64

	// MinClassRows is how few good or bad rows a model can be fitted to.
	MinClassRows = 10

	// maxNewtonSteps bounds the logistic regression, which needs five to eight.
	maxNewtonSteps = 50
)
