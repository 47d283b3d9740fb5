package node

import (
	"net"
	"net/netip"

	"surety/base/clock"
	"surety/base/errs"
)

// Config is all that can be set on a node. settings.go has one row for each field, which says what
// it means, what it may be, and why.
type Config struct {
	DataDir   string
	HTTP      HTTPConfig
	Ledger    LedgerConfig
	Lending   LendingConfig
	Guard     GuardConfig
	Evidence  EvidenceConfig
	Enclave   EnclaveConfig
	Sandbox   SandboxConfig
	Access    AccessConfig
	Log       LogConfig
	Telemetry TelemetryConfig
	Limits    LimitsConfig
}

// HTTPConfig is the listener of the console, the API and the metrics.
type HTTPConfig struct {
	Address        string
	Hosts          []string
	TLSCertificate string
	TLSKey         string
	Plaintext      bool
	BodyBytes      int64
}

// LedgerConfig is the ledger's store and its own listener.
type LedgerConfig struct {
	Address       string
	SegmentBytes  int64
	SnapshotEvery int64
}

// LendingConfig is where applications come from and how time passes.
type LendingConfig struct {
	Product           string
	Applications      string
	Mapping           string
	RatePerSecond     int64
	Seed              int64
	DaysPerMinute     int64
	SimulateBorrowers bool
}

// GuardConfig is how often the guard looks and what it does about a breach.
type GuardConfig struct {
	Freeze          string
	FreezeExpiry    clock.Duration
	PostingDeadline clock.Duration
	SweepInterval   clock.Duration
	CanaryInterval  clock.Duration
	FailClosedAfter clock.Duration
}

// The values of GuardConfig.Freeze.
const (
	FreezeEnforce = "enforce" // a breach stops money
	FreezeDryRun  = "dry_run" // a breach is written down, with the stop it would have been
)

// EvidenceConfig is the evidence log.
type EvidenceConfig struct {
	Origin             string
	CheckpointInterval clock.Duration
}

// EnclaveConfig is the machine that enclaves run on.
type EnclaveConfig struct {
	TEE string
}

// The values of EnclaveConfig.TEE.
const (
	TEEAuto = "auto" // the best there is; a simulation, which says so, where there is none
	TEESim  = "sim"
	TEESNP  = "snp"
	TEETDX  = "tdx"
	TEETPM  = "tpm"
)

// SandboxConfig is what is kept apart from the node, and how.
type SandboxConfig struct {
	Scorer string
}

// The values of SandboxConfig.Scorer.
const (
	ScorerAuto    = "auto"    // in an enclave where the machine can, else in the node's process
	ScorerEnclave = "enclave" // in a sandbox that gets its models by what it proves to be
	ScorerSandbox = "sandbox" // in a sandbox; a node does not start without
	ScorerProcess = "process" // in a process of its own, with nothing around it
	ScorerOff     = "off"     // in the node's process
)

// AccessConfig is who is let in.
type AccessConfig struct {
	LoopbackOpen   bool
	BootstrapToken Secret
}

// LogConfig is the process's log.
type LogConfig struct {
	Level  string
	Format string
}

// TelemetryConfig is what the process shows of itself.
type TelemetryConfig struct {
	Profiles bool
}

// LimitsConfig bounds the process.
type LimitsConfig struct {
	MemoryBytes int64
}

// Default returns the configuration of `surety up` with nothing said.
func Default() Config {
	return Config{
		DataDir: "surety-data",
		HTTP:    HTTPConfig{Address: "127.0.0.1:7310", BodyBytes: 16 << 20},
		Ledger: LedgerConfig{
			Address: "127.0.0.1:7311", SegmentBytes: 64 << 20, SnapshotEvery: 1_000_000,
		},
		Lending: LendingConfig{RatePerSecond: 5, Seed: 1, DaysPerMinute: 30,
			SimulateBorrowers: true},
		Guard: GuardConfig{
			Freeze:          FreezeEnforce,
			FreezeExpiry:    24 * clock.Hour,
			PostingDeadline: 2 * clock.Second,
			SweepInterval:   clock.Second,
			CanaryInterval:  clock.Minute,
			FailClosedAfter: 5 * clock.Minute,
		},
		Evidence: EvidenceConfig{Origin: "surety.local/log", CheckpointInterval: clock.Second},
		Enclave:  EnclaveConfig{TEE: TEEAuto},
		Sandbox:  SandboxConfig{Scorer: ScorerAuto},
		Access:   AccessConfig{LoopbackOpen: true},
		Log:      LogConfig{Level: "info", Format: "text"},
	}
}

// check returns what is wrong between fields, each with the path of the field to change.
func (c *Config) check() []Problem {
	var problems []Problem
	say := func(path, format string, args ...any) {
		problems = append(problems, Problem{Path: path, Err: errs.New(errs.Invalid, format,
			args...)})
	}
	if (c.HTTP.TLSCertificate == "") != (c.HTTP.TLSKey == "") {
		say("http.tls_certificate",
			"the certificate and http.tls_key are set together or not at all")
	}
	secure := c.HTTP.TLSCertificate != "" || c.HTTP.Plaintext
	if !secure && !loopback(c.HTTP.Address) {
		// A token in clear text on a network is a token given away.
		say("http.address",
			"%s is reached from outside: set http.tls_certificate and http.tls_key, "+
				"or http.plaintext where a proxy on this network ends TLS", c.HTTP.Address)
	}
	if c.Ledger.Address != "" && !loopback(c.Ledger.Address) {
		say("ledger.address",
			"%s is reached from outside, and the batch protocol is not encrypted: "+
				"use a loopback address", c.Ledger.Address)
	}
	if c.Lending.Mapping != "" && c.Lending.Applications == "" {
		say("lending.mapping", "a mapping needs lending.applications, the file it is for")
	}
	if c.Guard.FailClosedAfter < 2*c.Guard.CanaryInterval {
		// One late canary must not stop all money.
		say("guard.fail_closed_after", "%s is less than two canary intervals of %s",
			formatDuration(c.Guard.FailClosedAfter), formatDuration(c.Guard.CanaryInterval))
	}
	return problems
}

// loopback reports whether only this machine can reach host:port.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	parsed, err := netip.ParseAddr(host)
	return err == nil && parsed.Unmap().IsLoopback()
}
