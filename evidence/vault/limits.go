package vault

const (
	// MaxPlaintext bounds what is sealed at once, in bytes: a contract with its annexes is some
	// tens of kilobytes, and all of it stands in memory twice while it is sealed.
	MaxPlaintext = 192 << 10

	// MaxContext bounds the context that is bound into the seal, in bytes: the name of a record
	// kind, not a document.
	MaxContext = 128

	// MaxReason bounds the reason of an erasure, in bytes: a sentence and a case number.
	MaxReason = 512

	// DefaultCacheKeys bounds the data keys kept in memory, 32 bytes and some 150 of bookkeeping
	// each: the subjects of a few seconds at full load.
	DefaultCacheKeys = 4096
)
