package broker

import (
	"time"

	"surety/base/clock"
)

const (
	// maxChallenges bounds challenges that wait for their answer; each takes some 300 bytes. What
	// comes above is Busy.
	maxChallenges = 4096

	// maxChallengesHost bounds those of one address, so that one host's flood leaves room for others.
	maxChallengesHost = 512

	// challengeLife is how long a challenge may be answered: a TPM's quote takes a second or two.
	challengeLife = 30 * clock.Second

	// maxSessions bounds admitted sessions, and maxSessionBytes the manifests that they keep: a usual
	// one has some kilobytes, the largest 256 of them.
	maxSessions     = 4096
	maxSessionBytes = 64 << 20

	// sessionLife is how long an admitted session and its token last: long enough to start a program
	// with many secrets in, short enough that evidence is fresh.
	sessionLife = 15 * clock.Minute

	// maxRequests bounds what one session may ask for, refusals included: each is a record.
	maxRequests = 1024

	// maxVerifying bounds evidence being verified at once, each some milliseconds of one core and at
	// most client.MaxMessage of memory; maxServing other requests of guests, each at most maxSmall;
	// maxOrders those of administrators.
	maxVerifying = 32
	maxServing   = 256
	maxOrders    = 8
	maxSmall     = 64 << 10

	// maxWaiting bounds those that wait for one of these, and maxPatience how long they do: a hundred
	// enclaves that start at once are no flood.
	maxWaiting  = 1024
	maxPatience = 5 * clock.Second

	// bodyTimeout bounds how long a body may take to come.
	bodyTimeout = 10 * time.Second

	// maxRefusals bounds the records of evidence that did not verify within a minute: who sends it has
	// shown nothing, and shall not fill the disk. The next record says how many were left out.
	maxRefusals = 60

	// maxTenants bounds tenants: opening a state without naming one looks at each.
	maxTenants = 1024

	// maxSecrets and maxPolicies bound what a tenant stores.
	maxSecrets  = 65536
	maxPolicies = 1024

	// maxStates bounds a tenant's states, and maxStateKeys the keys that one opening hands out: of the
	// newest versions that were ever used with it.
	maxStates    = 65536
	maxStateKeys = 64

	// maxApprovals bounds approvals that one policy keeps: owners times measurements.
	maxApprovals = 4096

	// maxPolicyBytes bounds a stored policy: every list full takes some 200 KiB.
	maxPolicyBytes = 512 << 10

	// maxKeyFile bounds a key's file, in bytes.
	maxKeyFile = 4096

	// maxOutcomes bounds one listing, and maxAnswer what an administrator takes of one, in bytes.
	maxOutcomes = 1000
	maxAnswer   = 64 << 20

	// maxRSA bounds a guest's RSA key, in bits: encrypting to a larger one is an attack on our time.
	minRSA = 2048
	maxRSA = 4096

	// maxJSONDepth bounds a guest's runtime data: objects within objects.
	maxJSONDepth = 8

	// relayPage is how many records the relay takes at once, and relayRetry how long it waits after
	// the evidence log could not take them.
	relayPage  = 256
	relayRetry = clock.Second

	// maxPayload is what the evidence log takes of one record, less room for its other fields.
	maxPayload = 200 << 10

	// maxEpoch keeps epochs within what the database counts.
	maxEpoch = 1 << 62
)
