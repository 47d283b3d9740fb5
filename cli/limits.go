package cli

import "time"

const (
	// progressInterval is how often a progress bar is drawn: as fast as an eye follows.
	progressInterval = 100 * time.Millisecond

	// dialTimeout bounds how long a command waits for a node to accept a connection. A node on
	// the same continent accepts within a second or not at all.
	dialTimeout = 5 * time.Second

	// dialAgain is how long a command that waits for another party's listener waits between tries.
	dialAgain = 250 * time.Millisecond

	// answerTimeout bounds how long a command waits for the first byte of an answer. The longest
	// answer, a day's reconciliation, begins within seconds.
	answerTimeout = 60 * time.Second

	// jointWait is how long a party waits for the other to come and match: people start both.
	jointWait = 10 * time.Minute

	// brokerRecords is how many records a broker lists at once; a party's own has a few for each run.
	brokerRecords = 1000

	// maxFirstWord bounds what a kept enclave says of its start, in bytes: 16 tokens of a few
	// kilobytes.
	maxFirstWord = 1 << 20

	// maxCarried bounds the connections that connect carries at once.
	maxCarried = 256
)
