// Package tlog keeps the evidence log on disk, as a transparency log that any tlog-tiles tool can
// read.
//
// Think of three layers in one directory. In log/ is the log itself, written by tessera: entry
// bundles of 256 records, hash tiles over them, a signed checkpoint. In payloads.db are the
// payloads the records commit to. In index.db is what makes records findable; all of it follows
// from the log and is made again when lost. log.key signs, log.pub verifies.
//
// One goroutine appends. It takes whatever callers have brought since the last batch, leaves out
// what the log has already, stores the payloads, adds the records, waits until tessera has
// integrated them, indexes them, and answers.
//
// # Invariants
//
//   - An acknowledged entry survives any crash: its payload is synced before its record is added,
//     and it is acknowledged only after tessera has synced the new tree.
//   - A source's sequence number stands in the log at most once, however often it is sent and
//     wherever the process died. Positions come from the log itself, never from memory of it.
//   - A record in the log has its payload, under its own index, once Open has returned.
//   - The index never knows more than the log.
//
// # Boundaries
//
// This is the one package that imports tessera. tessera logs through a process-wide logger: the
// program's composition root calls RouteLibraryLog once, before any Open.
//
// # Concurrency
//
// The append goroutine owns the positions for writing and index.ids. Log.mu guards positions, size
// and failed; queue.mu guards the queue; neither is held while files are written, nor both at
// once. Reads go to the files and databases directly and see whole batches only. tessera runs
// goroutines of its own until Close; they end shortly after it and write nothing but checkpoints.
//
// # Sources
//
// C2SP tlog-tiles, tlog-checkpoint and signed-note; tessera v1.0.4, storage/posix. DESIGN.md in
// evidence/ says what is durable when.
package tlog

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"

	"surety/base/clock"
	"surety/base/errs"
	"surety/evidence"
	"surety/sys/entropy"
)

// DefaultOrigin names a log that nobody has named.
const DefaultOrigin = "surety.local/evidence"

// treeDirectory holds what tessera writes, and nothing else.
const treeDirectory = "log"

// Options says where the log is and how it is paced. Zero durations mean the defaults.
type Options struct {
	Directory string
	// Origin names the log in its checkpoints and its key: a URL without scheme, no space, no plus.
	// It is fixed when the log is made; empty means whatever it is, or DefaultOrigin.
	Origin             string
	Entropy            entropy.Source // makes the key; the machine's where nil
	Logger             *slog.Logger   // for recoveries; none where nil
	BatchAge           clock.Duration
	CheckpointInterval clock.Duration // at least 100 ms
}

// Log is an open log.
type Log struct {
	directory string
	key       evidence.Key
	signer    signingKey
	payloads  payloadStore
	index     *index
	appender  *tessera.Appender
	tree      tessera.LogReader
	stopTree  func() error
	logger    *slog.Logger
	queue     *queue

	mu        sync.Mutex
	positions map[string]position
	size      uint64
	failed    error // set after a failure of the disk: nothing is appended until the next Open
}

// RouteLibraryLog sends what tessera and its libraries log to the logger, for the whole process;
// without it they write to standard error. Call it once, before the first Open: the library's
// setting is not safe to change while it is used.
func RouteLibraryLog(logger *slog.Logger) { klog.SetSlogLogger(logger) }

// Open opens the log in the directory, creating it where absent, and brings payloads and index in
// line with the tree. After a clean Close that takes no time worth speaking of; after a crash, the
// last batch is looked at; where the index is damaged or missing, the whole log is read, some
// 15,000 records a second. Kinds: Locked where another process has the directory; Corrupt where its
// parts contradict each other; Invalid where Origin is not the log's; Forbidden where others may
// read log.key; NotFound where the log has lost log.key; NoSpace.
func Open(ctx context.Context, options Options) (*Log, error) {
	o := withDefaults(options)
	payloads, err := openPayloads(ctx, o.Directory, false)
	if err != nil {
		return nil, err
	}
	l := &Log{directory: o.Directory, payloads: payloads, logger: o.Logger, queue: newQueue()}
	if err := l.open(ctx, o); err != nil {
		return nil, errors.Join(err, l.release())
	}
	go l.run()
	return l, nil
}

func withDefaults(o Options) Options {
	if o.Entropy == nil {
		o.Entropy = entropy.System()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.BatchAge <= 0 {
		o.BatchAge = DefaultBatchAge
	}
	if o.CheckpointInterval <= 0 {
		o.CheckpointInterval = DefaultCheckpointInterval
	}
	return o
}

func (l *Log) open(ctx context.Context, o Options) error {
	if err := l.openKey(o); err != nil {
		return err
	}
	if err := l.openTree(o); err != nil {
		return err
	}
	if err := l.openIndex(ctx); err != nil {
		return err
	}
	return l.recover(ctx)
}

// openKey loads the key, or makes it where there is no log yet, and checks that its halves match.
func (l *Log) openKey(o Options) error {
	signer, err := loadKey(o.Directory)
	if errs.Is(err, errs.NotFound) {
		if l.treeExists() {
			return errs.New(errs.NotFound, "tlog.open: %s is missing, and only it continues the log",
				filepath.Join(o.Directory, keyFile))
		}
		origin := o.Origin
		if origin == "" {
			origin = DefaultOrigin
		}
		signer, err = createKey(o.Directory, origin, o.Entropy)
	}
	if err != nil {
		return err
	}
	if o.Origin != "" && o.Origin != signer.Name() {
		return errs.New(errs.Invalid, "tlog.open: the log is %q, not %q", signer.Name(), o.Origin)
	}
	key, err := ReadKey(o.Directory)
	if err != nil {
		return errs.Wrap(err, "tlog.open")
	}
	l.signer, l.key = signer, key
	return l.matchKeys()
}

// matchKeys signs an empty checkpoint and opens it with the public key.
func (l *Log) matchKeys() error {
	text := l.signer.Name() + "\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
	signed, err := note.Sign(&note.Note{Text: text}, l.signer)
	if err == nil {
		_, err = evidence.OpenCheckpoint(string(signed), l.key)
	}
	return errs.As(errs.Corrupt, err, "tlog.open: %s does not belong to %s", publicFile, keyFile)
}

// openTree starts tessera. Its context outlives the caller's, since it ends tessera's goroutines.
func (l *Log) openTree(o Options) error {
	if err := l.checkTree(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	driver, err := posix.New(ctx, posix.Config{Path: l.treePath()})
	if err != nil {
		cancel()
		return errs.As(errs.Internal, err, "tlog.open: tree")
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(l.signer.Signer).
		WithBatching(MaxBatch, time.Duration(o.BatchAge)).
		WithCheckpointInterval(time.Duration(o.CheckpointInterval)).
		WithGarbageCollectionInterval(sweepInterval).
		WithPushback(2*MaxBatch))
	if err != nil {
		cancel()
		return errs.As(treeKind(err), err, "tlog.open: tree")
	}
	l.appender, l.tree = appender, reader
	l.stopTree = func() error {
		defer cancel()
		// Of the library's own: it polls for the checkpoint that covers the last record.
		waiting, done := context.WithTimeout(ctx, closeTimeout)
		defer done()
		return errs.As(errs.Unavailable, shutdown(waiting), "tlog.close: last checkpoint")
	}
	return nil
}

func (l *Log) treePath() string { return filepath.Join(l.directory, treeDirectory) }

// openIndex opens the index, and begins an empty one where it is damaged.
func (l *Log) openIndex(ctx context.Context) error {
	x, err := openIndex(ctx, l.directory, false)
	if errs.Is(err, errs.Corrupt) {
		l.logger.Warn("evidence index is damaged and is made again from the log", "error", err)
		if err := discardIndex(l.directory); err != nil {
			return err
		}
		x, err = openIndex(ctx, l.directory, false)
	}
	l.index = x
	return err
}

// Key returns the log's public key.
func (l *Log) Key() evidence.Key { return l.key }

// Size returns the number of records in the log.
func (l *Log) Size() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// LastSeq returns the source's last sequence number in the log, zero where there is none.
func (l *Log) LastSeq(source string) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.positions[source].last, nil
}

// Close appends what is queued, waits for a checkpoint that covers it, and releases the directory.
// An Append after it is kind Unavailable; closing twice does nothing.
func (l *Log) Close() error {
	l.queue.stop()
	<-l.queue.stopped
	return l.release()
}

// release closes what is open, the payloads with the directory's lock last.
func (l *Log) release() error {
	var failures []error
	if l.stopTree != nil {
		failures = append(failures, l.stopTree())
		l.stopTree = nil
	}
	if l.index != nil {
		failures = append(failures, l.index.db.Close())
	}
	failures = append(failures, l.payloads.db.Close())
	return errors.Join(failures...)
}

// treeKind gives an error of tessera its kind. tessera keeps the cause of some of its errors and
// only the text of others.
func treeKind(err error) errs.Kind {
	switch {
	case errors.Is(err, errNoSpace), errors.Is(err, errQuota):
		return errs.NoSpace
	case errors.Is(err, errReadOnly), errors.Is(err, errDenied):
		return errs.Forbidden
	}
	return errs.Internal
}
