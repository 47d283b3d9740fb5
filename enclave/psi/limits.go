package psi

import "time"

// The limits of an intersection.
const (
	// MaxIDs bounds the ids of one party. At 32 bytes a point and five points an id it is 320 MB,
	// and some two minutes of one core.
	MaxIDs = 2_000_000

	// MaxID bounds one id, in bytes: a hash of it goes further, longer ones are documents.
	MaxID = 256

	// MaxContext bounds what both parties agreed on beforehand, in bytes: a digest, or a few.
	MaxContext = 1024

	// chunkPoints is how many points are written, and read, at a time: 128 kB, after which a party
	// that was told to stop stops.
	chunkPoints = 4096

	// idle is how long a peer may be silent: it may be computing over MaxIDs points on one slow core.
	idle = 10 * time.Minute
)
