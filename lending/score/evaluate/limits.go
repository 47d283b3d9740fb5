package evaluate

// The limits and fixed choices of evaluation. Figures are comparable only if these stay.
const (
	// MaxFolds bounds cross-validation: each fold fits a model.
	MaxFolds = 50

	// Bands is into how many bands of equal count scores are cut for calibration error and PSI.
	Bands = 10

	// MinGroupPermille is the least share of rows at which a group's approval rate is compared; that
	// of a smaller group is chance.
	MinGroupPermille = 20

	// FourFifths is the ratio of approval rates, in millionths, below which there is adverse impact.
	FourFifths Micro = 800_000
)
