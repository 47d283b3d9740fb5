package state

import "surety/base/clock"

const (
	// chunkBytes is what is sealed in one piece. Smaller ones cost more metadata, larger ones more
	// writing for a small change: a database's page of 4 KiB makes a whole chunk be written again.
	chunkBytes = 32 << 10

	// partBytes is the most of a commit's body that is sealed in one frame.
	partBytes = 256 << 10

	// maxBodyBytes bounds a commit: the metadata of MaxInodes files and of 1 TiB of content fit.
	maxBodyBytes = 4 << 30

	// Segments are between these: a new one begins with the whole tree, and old ones are freed
	// whole.
	minSegmentBytes = 4 << 20
	maxSegmentBytes = 256 << 20

	// treeShare is how many times the size of the whole tree's metadata a segment is at least, so
	// that writing it again at each segment's beginning stays a small part of what is written.
	treeShare = 8

	// dirtyBytes is how much unwritten content is kept in memory before it is written to the log,
	// without waiting for the disk.
	dirtyBytes = 16 << 20

	// backlogBytes is how much may be in the log and in no commit: a write beyond it commits first.
	// It bounds the disk, also while the anchor does not answer.
	backlogBytes = 256 << 20

	// cacheChunks is how many chunks are kept open: 8 MiB. The kernel of the sandbox has its own
	// cache; this one is for reads that are smaller than a chunk.
	cacheChunks = 256

	// moveBytes is the least that compaction may move in one commit; more where more was written.
	moveBytes = 8 << 20

	// commitEvery is how long a change waits at most for a commit that nobody asked for.
	commitEvery = clock.Second

	// MaxBytes is the largest limit of a state: its metadata are in memory, some 100 bytes for each
	// chunk of 32 KiB.
	MaxBytes = 1 << 40

	// MaxInodes bounds the files of a state, whose metadata are in memory: some 500 bytes each.
	MaxInodes = 1 << 20

	maxFileBytes   = 1 << 42 // holes included
	maxNameBytes   = 255     // Linux's
	maxTargetBytes = 4095    // Linux's
	maxXattrBytes  = 64 << 10
	maxXattrName   = 255
	maxLinks       = 65000 // ext4's
	maxKeys        = 1024  // versions that ever wrote

	// maxSegments bounds the files of a directory: MaxBytes twice over in the largest segments.
	maxSegments = 1 << 16
)
