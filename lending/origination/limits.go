package origination

import "surety/base/clock"

const (
	// stripes is how many customers can be served at once without meeting by chance too often.
	stripes = 1_024

	// keyMax bounds an idempotency key in bytes: it stands in an index and in every event of an
	// application's receipt.
	keyMax = 64

	// featuresMax bounds what the platform may send with one application; a model has at most as
	// many.
	featuresMax = 256

	// reserveFor is how long a reservation holds: the money follows within a second, or after a
	// restart; what is left over gives the customer his limit back within the hour.
	reserveFor = clock.Hour

	// reserveSeconds is reserveFor as the ledger takes it.
	reserveSeconds = uint32(reserveFor / clock.Second)
)
