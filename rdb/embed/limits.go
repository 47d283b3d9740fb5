package embed

import "time"

const (
	// MaxBatch bounds the closures in one transaction: enough to hide the disk's sync under load,
	// few enough that one transaction stays in the page cache and one failure touches few callers.
	MaxBatch = 256

	// MaxQueue bounds the closures that wait for the writer, some sixteen batches. Past it Write
	// answers Busy: a longer queue would only hide that the disk does not keep up.
	MaxQueue = 4096

	// DefaultReaders bounds the reading connections, each with its own page cache.
	DefaultReaders = 4

	// DefaultCacheBytes is the writer's page cache; MinCacheBytes is the least that still holds
	// the upper levels of a few indexes.
	DefaultCacheBytes = 4 << 20
	MinCacheBytes     = 256 << 10

	// readerCacheBytes is each reader's page cache. The kernel caches the file besides.
	readerCacheBytes = 1 << 20

	// statementCache bounds the prepared statements kept by one connection. A part has a few dozen
	// distinct texts; a program that builds texts from values would turn the cache over.
	statementCache = 96

	// checkpointPages is the size of the write-ahead log, in pages of 4 KiB, at which a commit
	// moves it into the database: 8 MiB, so that a checkpoint's two syncs are rare.
	checkpointPages = 2048

	// walKeptBytes is what a checkpoint leaves of the write-ahead log's file for reuse.
	walKeptBytes = 16 << 20

	// pageBytes is SQLite's default page, which is also the block of common file systems.
	pageBytes = 4096

	// busyTimeout bounds the wait for another process that reads, and so holds up a checkpoint.
	busyTimeout = 5 * time.Second
)
