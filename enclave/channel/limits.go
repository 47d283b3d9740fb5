package channel

import (
	"time"

	"surety/base/clock"
)

const (
	// nonceBytes is the size of a client's challenge: two clients, or one twice, do not have the same.
	nonceBytes = 32
	// exportBytes is how much of the session is put into the evidence.
	exportBytes = 32

	// provePatience is how long a server waits for a handshake and a challenge, and a client for a
	// handshake and evidence: a TPM takes half a second for a quote, and others may be waiting for it.
	provePatience = 20 * time.Second

	// maxProofs bounds the evidence that a server makes at once: a device makes one at a time, and what
	// waits for it longer than the client's patience is waste.
	maxProofs = 8
	// maxConnections bounds the connections of a server, proved or not: each has two descriptors, two
	// goroutines and two buffers of copyBytes.
	maxConnections = 1024
	// acceptPause is how long a server waits where it has no descriptor for another connection.
	acceptPause = 100 * clock.Millisecond
	// endOfTime is the last second that a certificate can name, 9999-12-31 (RFC 5280 section 4.1.2.5), in
	// seconds since 1970: ours does not end before its server does.
	endOfTime = 253402300799
	// copyBytes is the buffer of one direction of a connection.
	copyBytes = 32 << 10
)
