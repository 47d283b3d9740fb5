package shares

import "time"

const (
	// MaxRows bounds the rows of a fit, and of a scoring. The sum over that many rows of a cell and a
	// residual takes 54 of 64 bits, and the step size times it 61.
	MaxRows = 1 << 17

	// MaxColumns bounds the columns of one party: a scorecard has some tens.
	MaxColumns = 256

	// MaxKeys bounds the bits of one party's cells in a fit: a key of 16 bytes is kept for each, on
	// both sides, 1 GiB at most for each direction.
	MaxKeys = 1 << 26

	// MinRowsPerColumn is how many rows there must be for each column of both: weights of fewer would
	// speak of single rows.
	MinRowsPerColumn = 8

	// MaxSteps bounds the steps of a fit, of each sort: more than a hundred gain nothing.
	MaxSteps = 200

	// CoarseStride is which rows a coarse step takes, and CoarseRowsPerColumn how many of those there
	// must be for each column: of fewer, columns would be correlated by chance.
	CoarseStride        = 4
	CoarseRowsPerColumn = 50

	// MaxScoreBits bounds the precision of scores: finer ones would be noise of fixed point.
	MaxScoreBits = 12

	// MaxRidge bounds the penalty, so that it fits beside the gradient, and RowsPerRidge is how many
	// rows there must be for each unit of it: the step is for curvatures up to five eighths.
	MaxRidge     = 1 << 12
	RowsPerRidge = 8

	// CellRange is the greatest magnitude of a cell: prepared columns have variance one, and beyond
	// eight deviations it is their order that speaks.
	CellRange = 8

	// DefaultIdle is how long the other party may be silent where Options do not say: some parties
	// compute on slow machines, and none for minutes between two messages.
	DefaultIdle = 2 * time.Minute

	// queueFrames is how many messages may wait to be written. The parties are never further apart
	// than two windows of two messages, so that the queue does not fill while the other reads.
	queueFrames = 64

	// chunkTransfers is how many transfers are extended at a time: 256 kB of a message.
	chunkTransfers = 1 << 14

	// window is how many chunks are on their way before the first answer is waited for.
	window = 8

	// productBytes is about how long a message of a product is.
	productBytes = 256 << 10

	// sigmoidRows is how many rows go through the sigmoid at a time: some 30 MB of choices.
	sigmoidRows = 8192

	// scoreRows is how many rows are scored at a time, so that their keys need not be kept.
	scoreRows = 8192
)
