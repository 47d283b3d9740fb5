package sev

import "time"

const (
	// maxCertificates bounds a certificate table: a VCEK, a VLEK, an ASK, an ARK, a list of what was
	// revoked, and as many of the host's own.
	maxCertificates = 16

	// maxMinimum bounds a statement of a minimum firmware version, in bytes.
	maxMinimum = 4096

	// rootYears and chipYears are how long a simulation's certificates are in force, as AMD's are.
	rootYears = 25
	chipYears = 7

	// crlLife is how long a simulation's list of revoked certificates is in force, and crlRenew how
	// old one gets before the simulation issues another: what it hands out is in force for weeks.
	crlLife  = 30 * 24 * time.Hour
	crlRenew = 24 * time.Hour

	// backdate lies before the issue of a simulation's certificates, so that a verifier whose clock
	// is slow takes them.
	backdate = time.Hour

	// simBits is the size of a simulation's RSA keys. AMD's have 4096, which take seconds to make;
	// these stand on the disk of whoever could forge them.
	simBits = 2048
)
