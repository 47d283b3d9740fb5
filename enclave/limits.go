package enclave

const (
	// MaxName bounds names of enclaves, products, layers, states and brokers, in bytes.
	MaxName = 64

	// MaxManifest bounds an encoded manifest, in bytes: a policy takes most of it.
	MaxManifest = 256 << 10

	// MaxLayers bounds the layers of an enclave: each is a mount of its own.
	MaxLayers = 16

	// MaxStates bounds its sealed states: each has a server of its own.
	MaxStates = 4

	// MaxBrokers bounds the brokers of an enclave: each is a party whose say counts.
	MaxBrokers = 16

	// MaxStrings bounds arguments, environment, entries and the like, each, and MaxString their
	// length in bytes.
	MaxStrings = 256
	MaxString  = 4096

	// MaxNonce and MinNonce bound a challenge, in bytes: fewer could repeat, more says nothing.
	MinNonce = 16
	MaxNonce = 64

	// MaxBindingKey bounds a public key that evidence is bound to, in bytes: a hybrid of ML-KEM-1024
	// takes 1,665, an RSA key of 4,096 bits as JSON some 800.
	MaxBindingKey = 4096

	// MaxReport and MaxSupport bound what a machine sends, in bytes: an SNP report has 1,184, a TDX
	// quote some 5,000, a TPM with its event log up to a few hundred thousand.
	MaxReport  = 512 << 10
	MaxSupport = 128 << 10

	// MaxEvidence bounds encoded evidence, in bytes.
	MaxEvidence = MaxReport + MaxSupport + MaxManifest + 4096

	// MaxRules bounds each list of a policy.
	MaxRules = 256

	// MaxCollateralAge is how old the vendor's word on a TCB may be where a policy does not say, in
	// seconds: 30 days, what Intel's collateral is in force for.
	MaxCollateralAge = 30 * 24 * 3600
)
