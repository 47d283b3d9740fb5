package servicing

const (
	// stripes is how many loans can be worked on at once without meeting by chance too often.
	stripes = 1_024

	// dayWorkers is how many loans day-end works on at once: they share the syncs of the records
	// and of the ledger, so more of them cost little and gain much.
	dayWorkers = 48

	// attemptsMax bounds how often one act may be refused by the ledger and tried again: a loan
	// whose account stays frozen is asked about once a day, and by whoever else asks.
	attemptsMax = 1 << 20

	// stepsMax bounds the acts of one loan on one day: every instalment of the longest term falling
	// due at once, with its penalty.
	stepsMax = 2_000

	// referenceMax bounds a channel's reference in bytes: it stands in an index and in an event.
	referenceMax = 64

	// paymentMax bounds a payment in minor units, so that the records can hold it; what a loan takes
	// is less, and bounded in package lending.
	paymentMax = 1 << 62
)
