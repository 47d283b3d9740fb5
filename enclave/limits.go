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

	// MaxPolicy bounds a sandbox policy in a manifest, in bytes: some two thousand rules.
	MaxPolicy = 192 << 10

	// MaxPath bounds a path, in bytes: PATH_MAX without its end.
	MaxPath = 4095

	// LayerBlock is what a layer's size is a multiple of, in bytes: the block of its file system.
	LayerBlock = 4096

	// MaxLayerBytes bounds a layer and a state, in plaintext: it has to fit in a machine's memory.
	MaxLayerBytes = 64 << 30

	// maxElements bounds a list or map while it is decoded, and maxNested how deep they stand in each
	// other: MaxStrings, and a layer in a list in a manifest.
	maxElements = MaxStrings
	maxNested   = 4

	// maxSigned bounds a signed manifest, in bytes: the headers and the signature take some 170.
	maxSigned = MaxManifest + 512

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

	// MaxPolicyName bounds a policy's name, in bytes: a tenant and a pattern of two names.
	MaxPolicyName = 3*MaxName + 2

	// MaxCollateralAge is how old the vendor's word on a TCB may be where a policy does not say, in
	// seconds: 30 days, what Intel's collateral is in force for.
	MaxCollateralAge = 30 * 24 * 3600
)
