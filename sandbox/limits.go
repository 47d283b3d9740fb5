package sandbox

const (
	// MaxText is the longest string of a record, in bytes: PATH_MAX, so that no path is ever cut.
	MaxText = 4096
	// MaxArgs bounds the arguments a record keeps; the rest are counted in Cut.
	MaxArgs = 64
	// MaxArgBytes bounds all arguments of a record together.
	MaxArgBytes = 4096
	// MaxRecord bounds an encoded record: header, six words, two paths, arguments, text.
	MaxRecord = 20 << 10
	// MaxRules bounds the rules of a policy: each act looks at them all in the worst case.
	MaxRules = 4096
	// MaxName bounds the name of a policy: it stands in every listing.
	MaxName = 128
	// MaxProcesses is Linux's greatest process number (PID_MAX_LIMIT): more cannot run.
	MaxProcesses = 4 << 20
	// MaxLearned is how many siblings a learnt policy names one by one before it names their folder.
	MaxLearned = 16

	// maxEffort bounds the steps taken to find rules that others hide: a tenth of a second or so,
	// where thousands of wild patterns would take minutes to hold against each other.
	maxEffort = 20_000_000
)
