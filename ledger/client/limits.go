package client

import (
	"time"

	"surety/ledger"
)

const (
	// dialTimeout bounds connecting and the exchange of hellos.
	dialTimeout = 10 * time.Second

	// writeTimeout bounds how long a request may take to be accepted by the socket.
	writeTimeout = 30 * time.Second

	// mergeInFlight is how many merged batches are under way: one that the ledger works on and one
	// that travels. Calls that come meanwhile make up the next.
	mergeInFlight = 2

	// mergeMax is the largest call that is merged with others: larger ones gain nothing.
	mergeMax = ledger.BatchMax / 4

	// waitingMax bounds the calls that wait to be merged; more are Busy.
	waitingMax = 16 * 1024
)
