package journal

import "surety/ledger"

// The sizes of the format. They are stored in every file: never change them without a new version.
const (
	// HeaderSize is the bytes of a record's header. It divides a sector, and records start at its
	// multiples, so that a header never lies in two sectors: it was written or it was not.
	HeaderSize = 256

	// PageSize is where groups start and how long, in multiples, a write is: the block of the file
	// system, so that no write touches a block that an earlier one made durable.
	PageSize = 4096

	// BodyMax bounds a record's body: a full batch with a result for every record in it.
	BodyMax = ledger.BatchMax * (ledger.RecordSize + ResultSize)

	// ResultSize is the bytes of one stored result: the record's index and the result's number.
	ResultSize = 4

	// GroupMax bounds the records written with one sync, in bytes: one record of BodyMax, and a
	// whole number of pages. It is also how far from the end a torn write can reach.
	GroupMax = (HeaderSize + BodyMax + PageSize - 1) / PageSize * PageSize
)

// The sizes that only this process cares about.
const (
	// SegmentBytes is the default size of a segment: at one page a commit it lasts 16,000 commits,
	// and writing its zeros takes a disk a tenth of a second, spread over half the segment before.
	SegmentBytes = 64 << 20

	// FirstSegmentBytes is the default size of the first segment, which an opener waits for.
	FirstSegmentBytes = 16 << 20

	// zeroBytes is how much of a segment is prepared at a time: what a sync that comes in between
	// waits for, less than a millisecond.
	zeroBytes = 1 << 20

	// markBytes is the distance between remembered places in a segment: what a read of an old
	// record looks through at most.
	markBytes = 256 << 10

	// snapshotsKept is the number of snapshots the superblock names. The older one is the way back
	// when the newer is rotten.
	snapshotsKept = 2
)
