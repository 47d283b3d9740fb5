package cli

import "time"

const (
	// progressInterval is how often a progress bar is drawn: as fast as an eye follows.
	progressInterval = 100 * time.Millisecond

	// dialTimeout bounds how long a command waits for a node to accept a connection. A node on
	// the same continent accepts within a second or not at all.
	dialTimeout = 5 * time.Second

	// answerTimeout bounds how long a command waits for the first byte of an answer. The longest
	// answer, a day's reconciliation, begins within seconds.
	answerTimeout = 60 * time.Second
)
