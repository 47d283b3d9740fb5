package scorer

import (
	"surety/base/clock"
	"surety/lending/score"
)

const (
	// askMax bounds the asks that wait or are with the child: what arrives in a fifth of a second
	// at the highest rate a node is fed at. More is a queue that only makes everybody late.
	askMax = 2_048

	// askDeadline is how long one ask may take, restarts of the child included: shorter than any
	// caller's patience, longer than a sandbox takes to start on a busy machine.
	askDeadline = 10 * clock.Second

	// hangAfter is how long a child may leave an ask without an answer before it counts as hung. A
	// full pipeline is worked off in a tenth of that.
	hangAfter = 2 * clock.Second

	// watchPeriod is how often the oldest ask is looked at.
	watchPeriod = 250 * clock.Millisecond

	// startDeadline bounds the time between a child's start and its word that it has the models.
	startDeadline = 10 * clock.Second

	// attemptsMax is how many children an ask may see die before it is taken for the cause.
	attemptsMax = 3

	// backoffLeast and backoffMost bound the pause before a child is started again; it doubles with
	// each one that never answered.
	backoffLeast = 20 * clock.Millisecond
	backoffMost  = 5 * clock.Second

	// modelsMax bounds the models a child is given: far more than there are products.
	modelsMax = 64

	// frameMax bounds a frame in bytes: a model file with its head.
	frameMax = score.MaxFileBytes + 64

	// batchBytes is how much is written at once: what a pipe takes without blocking.
	batchBytes = 64 << 10
)
