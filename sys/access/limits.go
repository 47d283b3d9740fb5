package access

import "surety/base/clock"

const (
	// tokensMax bounds the tokens kept, live and revoked. Each check compares with all of them,
	// at about 20 ns each.
	tokensMax = 1000

	// fileMax bounds the token file in bytes: tokensMax entries of at most 500 bytes.
	fileMax = 512 << 10

	// nameMax bounds a principal's name: it stands in headers of tables and in logs.
	nameMax = 64

	// reloadInterval is how long a change of the token file, such as a revocation, may take to be
	// seen by a running node.
	reloadInterval = clock.Second

	// failureBurst and failureInterval bound failed attempts from one address: a burst, then one
	// an interval. 256-bit tokens cannot be guessed at any rate; the bound keeps the log readable.
	failureBurst    = 10
	failureInterval = 6 * clock.Second

	// failureAddresses bounds the addresses remembered; beyond it strangers share one budget.
	failureAddresses = 4096
)
