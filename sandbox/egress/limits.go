package egress

import (
	"time"

	"surety/base/clock"
)

const (
	// maxConnections bounds TCP connections at once, both ways: each costs a socket of the host,
	// whose processes have 20 000 at best, and buffers on both sides.
	maxConnections = 1024
	// maxSessions bounds UDP sessions at once: each costs a socket of the host and lingers idle.
	maxSessions = 512
	// connectionFlood is how many unanswered connection requests the stack keeps beyond the limit,
	// so that those above it are refused in words (a reset) and not by silence.
	connectionFlood = 8192
	// bufferBudget is what all connections together may hold in the stack's buffers. The share of
	// each is a 256th of what is left, between minBuffer and maxBuffer: one connection gets all it
	// can use, a thousand stalled ones hold the budget and 32 MiB.
	bufferBudget = 256 << 20
	bufferShare  = 256
	minBuffer    = 16 << 10
	maxBuffer    = 1 << 20
	// sessionBuffer is what a UDP session may hold: two of the largest datagrams.
	sessionBuffer = 128 << 10
	// copyBytes is what one read moves between the two sides: an offloaded run of segments, or the
	// largest datagram. Larger ones were no faster.
	copyBytes = 64 << 10

	// frameBytes is the longest frame: an IP packet of 65535 bytes and its Ethernet header.
	frameBytes = 65535 + ethernetBytes
	// maxMTU is what Linux lets a tap device have: 65535 less its Ethernet header.
	maxMTU = 65521
	// minMTU is what IPv6 needs of every link (RFC 8200 section 5).
	minMTU = 1280
	// defaultMTU fits every guest; with offloads the frames are 64 KiB long all the same.
	defaultMTU = 1500
	// queueFrames and queueBytes bound what waits for a virtual machine monitor that reads slowly;
	// more is dropped, as by a full wire, and TCP sends it again.
	queueFrames = 1024
	queueBytes  = 8 << 20

	// dialPatience is how long the host may take to connect before the sandbox is told that it
	// cannot: above Linux's three first tries (1 s, 2 s, 4 s).
	dialPatience = 10 * clock.Second
	// sessionIdle ends a UDP session without packets (RFC 4787 asks for two minutes at least).
	sessionIdle = 2 * clock.Minute
	// questionIdle ends one to port 53, which is a question and its answer.
	questionIdle = 15 * clock.Second

	// timeWait and finWait end what is left of a closed connection: the wire has no old segments.
	timeWait = 500 * time.Millisecond
	finWait  = 10 * time.Second

	// maxLookups bounds questions in work at once; one more is answered SERVFAIL.
	maxLookups = 64
	// maxStreams bounds TCP connections to the resolver, and streamIdle their silence.
	maxStreams = 16
	streamIdle = 10 * clock.Second
	// serverPatience is how long one upstream server has, and maxServers how many are tried: a
	// program's own resolver gives up after five seconds.
	serverPatience = 2 * clock.Second
	maxServers     = 3
	// maxAnswers bounds the records of an answer that are passed on.
	maxAnswers = 64
	// messageBytes is the largest DNS message, and datagramAnswer the largest we send in a datagram
	// (what fits every path, RFC 9715).
	messageBytes   = 65535
	datagramAnswer = 1232
	plainAnswer    = 512
	// maxNames bounds the addresses whose names are known; the ring holds as many.
	maxNames = 1024
	// nameFloor is the least time an address keeps its name, so that a program may connect after an
	// answer that says zero; nameCap the most, so that an answer does not bind for ever; nameGrace
	// what is added so that a cached answer is still good when it is used.
	nameFloor = clock.Minute
	nameCap   = clock.Hour
	nameGrace = 30 * clock.Second
	// hostNamed is how long the host's alias keeps its name: longer than any sandbox runs.
	hostNamed = 36500 * clock.Day

	// refusalsPerSecond bounds the records of refusals: a program can make a hundred thousand of
	// them a second. What is above is counted in the next record.
	refusalsPerSecond = 64
	// maxPublished bounds the published ports of one sandbox.
	maxPublished = 128
)
