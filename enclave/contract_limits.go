package enclave

// The limits of contracts.
const (
	// MaxContract bounds an encoded contract, in bytes: MaxStrings columns of a few hundred each.
	MaxContract = 128 << 10

	// MaxSignedContract bounds a contract with its signatures, in bytes.
	MaxSignedContract = MaxContract + MaxParties*256

	// MaxParties bounds the parties of a contract. Matching is between two.
	MaxParties = 2

	// MaxTerm bounds names of columns, codes and sentences, in bytes, as a model's are.
	MaxTerm = 512

	// MaxSpecial bounds the special values of a column, and MaxParams the parameters of training.
	MaxSpecial = 32
	MaxParams  = 64

	// MaxReceipt bounds a receipt with its evidence, in bytes.
	MaxReceipt = MaxEvidence + MaxParties*1024 + MaxStrings*512

	// maxDecimals and maxReasons are those of models.
	maxDecimals = 9
	maxReasons  = 4
)
