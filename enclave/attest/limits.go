package attest

import "surety/base/clock"

const (
	// minRawData is the least report data of evidence by another's rule, in bytes: a SHA-256.
	minRawData = 32

	// maxToken bounds a token, in bytes: the annotations and a hybrid key take some 6,000.
	maxToken = 32 << 10

	// maxLifetime bounds what a token may be in force for: afterwards the machine is asked again.
	maxLifetime = 24 * clock.Hour

	// leeway is how far the clock of a token's reader may lie behind its issuer's.
	leeway = clock.Minute
)
