package node

// setting is one row of the table: where a value stands in the file, what it means, and how it is
// read. The reference (docs/reference/configuration.md) is written from these rows.
type setting struct {
	path  string // section.key, as in the file
	about string // one sentence for people
	value func(*Config) value
}

// settings lists every setting in the order of Config's fields. A new one is a field, a default
// and a row. The reason for each bound stands above its row.
func settings() []setting {
	return []setting{
		{"data_dir", "directory that holds everything the node keeps",
			func(c *Config) value { return text(&c.DataDir, 1, pathMax) }},

		{"http.address",
			"host:port of the console, the API and the metrics; port 0 picks a free one",
			func(c *Config) value { return address(&c.HTTP.Address, false) }},
		{"http.hosts", "names, besides loopback ones, by which an open loopback door may be called",
			func(c *Config) value { return list(&c.HTTP.Hosts, 16) }},
		{"http.tls_certificate", "PEM file with the certificate chain; empty serves plain HTTP",
			func(c *Config) value { return text(&c.HTTP.TLSCertificate, 0, pathMax) }},
		{"http.tls_key", "PEM file with the certificate's private key",
			func(c *Config) value { return text(&c.HTTP.TLSKey, 0, pathMax) }},
		{"http.plaintext", "allow plain HTTP on an address that other machines reach",
			func(c *Config) value { return toggle(&c.HTTP.Plaintext) }},
		// Below 1 MiB the batches of our own client do not fit; above 256 MiB a few requests at
		// once fill the memory of a small machine.
		{"http.body_bytes", "largest request body",
			func(c *Config) value { return size(&c.HTTP.BodyBytes, 1<<20, 256<<20) }},

		{"ledger.address", "host:port of the ledger's batch protocol; empty does not serve it",
			func(c *Config) value { return address(&c.Ledger.Address, true) }},
		// A segment holds several batches of 1 MiB at least; above 1 GiB recycling one takes
		// seconds.
		{"ledger.segment_bytes", "size of one journal file",
			func(c *Config) value { return size(&c.Ledger.SegmentBytes, 4<<20, 1<<30) }},
		// A snapshot more often than each 10,000 transfers costs more than the replay it saves.
		{"ledger.snapshot_every", "transfers between two snapshots",
			func(c *Config) value { return whole(&c.Ledger.SnapshotEvery, 10_000, 1_000_000_000) }},

		{"lending.product", "YAML file of the loan product; empty is the built-in one",
			func(c *Config) value { return text(&c.Lending.Product, 0, pathMax) }},
		{"lending.applications", "CSV file of loan applications; empty runs the generator",
			func(c *Config) value { return text(&c.Lending.Applications, 0, pathMax) }},
		{"lending.mapping",
			"how the file's columns are read: the name of a built-in mapping, or a file",
			func(c *Config) value { return text(&c.Lending.Mapping, 0, pathMax) }},
		// Beyond 10,000 a second the generator outruns any machine this was measured on.
		{"lending.rate_per_second",
			"applications taken from the file or made each second; 0 makes none",
			func(c *Config) value { return whole(&c.Lending.RatePerSecond, 0, 10_000) }},
		{"lending.seed", "seed of the generator and of the simulated borrowers",
			func(c *Config) value { return whole(&c.Lending.Seed, 0, 1<<62) }},
		// 1,440 is a day each 42 ms, which day-end work for 100,000 loans cannot follow.
		{"lending.days_per_minute",
			"business days that pass in a minute; 0 keeps the calendar, as does a node fed by the API",
			func(c *Config) value { return whole(&c.Lending.DaysPerMinute, 0, 1440) }},
		{"lending.simulate_borrowers",
			"let simulated borrowers repay loans of synthetic applicants",
			func(c *Config) value { return toggle(&c.Lending.SimulateBorrowers) }},

		{"guard.freeze", "what a breach does: enforce stops money, dry_run only writes it down",
			func(c *Config) value { return choice(&c.Guard.Freeze, FreezeEnforce, FreezeDryRun) }},
		// A freeze shorter than a minute ends before a person has read why.
		{"guard.freeze_expiry", "how long a freeze lasts unless two people release it",
			func(c *Config) value { return span(&c.Guard.FreezeExpiry, "1m", "8760h") }},
		// Below 100 ms a slow disk is taken for a missing posting.
		{"guard.posting_deadline", "how long a business event may be without its postings",
			func(c *Config) value { return span(&c.Guard.PostingDeadline, "100ms", "1h") }},
		{"guard.sweep_interval", "time between two sweeps of the invariants",
			func(c *Config) value { return span(&c.Guard.SweepInterval, "100ms", "1h") }},
		{"guard.canary_interval", "time between two planted faults that prove the guard awake",
			func(c *Config) value { return span(&c.Guard.CanaryInterval, "1s", "1h") }},
		{"guard.fail_closed_after", "silence of the guard after which money-out stops",
			func(c *Config) value { return span(&c.Guard.FailClosedAfter, "2s", "24h") }},

		{"evidence.origin",
			"name of the evidence log in its checkpoints; fixed once the log exists",
			func(c *Config) value { return text(&c.Evidence.Origin, 1, 255) }},
		// Shorter than 100 ms signs more checkpoints than anybody reads; longer than a minute
		// leaves records unproved.
		{"evidence.checkpoint_interval", "time between two signed checkpoints",
			func(c *Config) value { return span(&c.Evidence.CheckpointInterval, "100ms", "1m") }},

		{"enclave.tee",
			"what vouches for enclaves of this machine: auto (the best there is), sim (simulated: no " +
				"protection from whoever runs the machine), snp, tdx or tpm",
			func(c *Config) value {
				return choice(&c.Enclave.TEE, TEEAuto, TEESim, TEESNP, TEETDX, TEETPM)
			}},

		{"sandbox.scorer",
			"where credit models run: auto (an enclave where the machine can, else this process), " +
				"enclave, sandbox (whose models the node hands over), process (a plain process of its " +
				"own) or off (this process)",
			func(c *Config) value {
				return choice(&c.Sandbox.Scorer, ScorerAuto, ScorerEnclave, ScorerSandbox,
					ScorerProcess, ScorerOff)
			}},

		{"access.loopback_open",
			"let this machine's own user in without a token, on loopback alone",
			func(c *Config) value { return toggle(&c.Access.LoopbackOpen) }},
		{"access.bootstrap_token", "first admin token, where the one who deploys chooses it",
			func(c *Config) value { return secret(&c.Access.BootstrapToken) }},

		{"log.level", "least severity that is logged: debug, info, warn or error",
			func(c *Config) value {
				return choice(&c.Log.Level, "debug", "info", "warn",
					"error")
			}},
		{"log.format", "form of log lines: text or json",
			func(c *Config) value { return choice(&c.Log.Format, "text", "json") }},

		{"telemetry.profiles", "serve the runtime's profiles below /debug/pprof/, to admins",
			func(c *Config) value { return toggle(&c.Telemetry.Profiles) }},

		// Below 128 MiB the embedded stores do not fit; 0 leaves the runtime to itself.
		{"limits.memory_bytes", "memory the process tries to stay within; 0 sets no limit",
			func(c *Config) value { return sizeOrZero(&c.Limits.MemoryBytes, 128<<20, 1<<46) }},
	}
}

// pathMax bounds a path in bytes, as Linux does (PATH_MAX).
const pathMax = 4096
