package launch

import "surety/base/clock"

const (
	// maxArgs and maxEnv bound what whoever starts an enclave may add: as many as the manifest may
	// have itself.
	maxArgs, maxEnv = 256, 256

	// maxLabels bounds what is noted of an enclave from outside.
	maxLabels = 64

	// undoPatience is how long giving leases back may take where a start has failed: what is not given
	// back by then lapses by itself.
	undoPatience = 10 * clock.Second

	// localPatience is how long the local broker's store is waited for: others who start an enclave have
	// it for as long as a device needs for its evidence, a TPM some seconds.
	localPatience = 30 * clock.Second

	// localPace is how often it is tried: opening it takes some milliseconds.
	localPace = 15 * clock.Millisecond
)
