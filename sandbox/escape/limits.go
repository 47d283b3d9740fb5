package escape

import "surety/base/clock"

const (
	// attemptTime ends an attempt that hangs: the slowest, a race, runs for raceTime.
	attemptTime = 20 * clock.Second
	// attemptGrace is how much longer an attempt is waited for once it was killed.
	attemptGrace = 3 * clock.Second
	// raceTime is how long the threads of a race swap and open: some ten thousand rounds.
	raceTime = 700 * clock.Millisecond
	// outputMax bounds what one attempt may say; the rest is dropped.
	outputMax = 64 << 10
	// fuzzRound is the life of one fuzzing child: by then most of its threads hang in a call.
	fuzzRound = 1500 * clock.Millisecond
	// fuzzThreads is how many threads of a child call at once: races between calls need two.
	fuzzThreads = 4
	// fuzzCalls bounds the calls of one thread, so that a child that never dies is replaced.
	fuzzCalls = 20_000
	// forkMax is how many processes the fork bomb tries to have: above every limit a drill sets.
	forkMax = 600
	// descriptorMax is how many descriptors are opened when they are to run out.
	descriptorMax = 70_000
	// memoryMax is how much memory is touched when it is to run out: above every limit a drill sets.
	memoryMax = 4 << 30
	// fileMax is how much is written to one file when space is to run out: memory holds it.
	fileMax = 64 << 20
)
