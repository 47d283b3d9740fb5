package client

import "surety/base/clock"

const (
	// MaxMessage bounds a request or answer, in bytes: evidence as base64 in JSON.
	MaxMessage = 2 << 20

	// MaxSecret bounds a secret, in bytes: keys, certificates, small models. What is larger is a secret
	// layer, whose key is the secret.
	MaxSecret = 1 << 20

	// MaxResource bounds REPOSITORY/TYPE/TAG, in bytes: three names of 64.
	MaxResource = 3*64 + 2

	// maxReleases bounds what a session remembers of its releases: it is shown to people.
	maxReleases = 1024

	// attempts bounds how often a request is made that found nobody, and pauseFirst is the pause after
	// the first; it is four times as long after each further one. A broker that restarts is back by
	// then.
	attempts   = 4
	pauseFirst = 100 * clock.Millisecond

	// LeaseTime is how long a lease lasts that is not renewed: long enough for a broker to restart in,
	// short enough to wait for after a crash.
	LeaseTime = 30 * clock.Second

	// renewEvery is how often a lease is renewed, and renewAgain after how long once more where the
	// broker was not there: both leave room for several attempts within LeaseTime.
	renewEvery = 8 * clock.Second
	renewAgain = 2 * clock.Second
)
