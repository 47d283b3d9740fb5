package joint

import (
	"time"

	"surety/enclave/psi"
)

// The limits of joint scoring.
const (
	// handshakePatience is how long the other party has to show who it is: some network turns.
	handshakePatience = 30 * time.Second

	// MaxRows bounds the rows of a party: what can be matched.
	MaxRows = psi.MaxIDs

	// MaxCell bounds one value of a table, in bytes: a number or the name of a level.
	MaxCell = 512

	// MaxDataBytes bounds a party's file of columns, in bytes: MaxRows of some hundred bytes each.
	MaxDataBytes = 512 << 20

	// MaxAboutBytes bounds the file that says what the columns belong to.
	MaxAboutBytes = 4 << 10

	// MaxAnswerBytes bounds what the program writes: a line for each row, and a model, in base 64.
	MaxAnswerBytes = 256 << 20

	// MaxMatchBytes bounds a party's file of matches: a line of some 80 bytes for each row.
	MaxMatchBytes = MaxRows * 160
)
