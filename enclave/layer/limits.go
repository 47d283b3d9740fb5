package layer

import "surety/enclave"

const (
	// maxBytes bounds an image, in bytes; its tags, which are held in memory, take a 4096th of it.
	maxBytes = enclave.MaxLayerBytes

	// pieceBytes is how much a processor works on at a time: enough that handing it over costs
	// nothing, and little enough to stay in its cache.
	pieceBytes = 16 * BlockBytes

	// piecesEach is how many pieces there are for each processor: one it works on, one that waits for
	// it, and one that waits to be written.
	piecesEach = 3
)
