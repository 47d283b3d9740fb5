package settlement

const (
	// recordsMax bounds the accounts and the transfers of one order: the longest chain of the
	// accounting table has five legs between six accounts. It must fit a byte.
	recordsMax = 64

	// accountsMax bounds the accounts that a settler remembers, twice over: the accounts of some ten
	// thousand loans, about six megabytes.
	accountsMax = 1 << 16

	// finishMax bounds the writes of one commit of the finisher: a few milliseconds of the
	// database's writer, which others wait for.
	finishMax = 256

	// finishQueue bounds what waits for the finisher, and apart from that what it holds back until
	// the records take it again: a burst of acts, a few hundred bytes each.
	finishQueue = 8_192
)
