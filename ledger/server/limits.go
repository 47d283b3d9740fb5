package server

import "time"

const (
	// ConnectionsMax is how many connections are open at a time. Clients pipeline: one process
	// needs one.
	ConnectionsMax = 256

	// InFlightMax is how many requests of one connection are under way at a time; more are read
	// when an answer has gone out.
	InFlightMax = 64

	// MemoryMax bounds the bytes of all requests and answers under way: sixteen full batches with
	// full answers. More wait in the sockets.
	MemoryMax = 32 << 20

	// helloTimeout is how long a caller may stay unknown; bodyTimeout how long a frame may take to
	// arrive once its header has; writeTimeout how long an answer may take to be accepted;
	// partTimeout how long a caller that is sent away may take to notice.
	helloTimeout = 10 * time.Second
	bodyTimeout  = 30 * time.Second
	writeTimeout = 30 * time.Second
	partTimeout  = time.Second
)
