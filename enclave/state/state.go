// Package state keeps a writable file system sealed on an untrusted disk.
//
// Think of a log that only this enclave can write and read. Inodes and names are in memory. What
// files hold is sealed in chunks and appended to segment files; a commit appends what changed in
// the tree since the one before, with the place and tag of each chunk. A commit's root is a hash
// over its body, which holds the root before it: one root speaks for every byte that can be
// reached. After the disk has a commit, an Anchor outside of it (a key broker) is told epoch and
// root, and only then is the program's fsync answered. An old copy of the directory is a valid log
// with an older root, and that is how it is known.
//
//	program's fsync  ->  chunks and commit appended  ->  fdatasync  ->  Anchor.Commit  ->  answered
//
// # How it gets into a sandbox
//
// Serve keeps a state for a sandbox: it holds keys and anchor, and listens on a socket in the
// state's directory. The sandbox's file server, which is this program again, connects to the
// socket, is checked, gets the keys, and opens the volume itself (Guest, which cmd/surety hands to
// sandbox/kernel); each commit's anchor goes back over the socket. So the keys are in the memory of
// two processes and nowhere else, and the broker's session stays with whoever started the sandbox:
//
//	served, err := state.Serve(state.ServeConfig{Config: state.Config{Dir: dir, Keys: lease.Keys(),
//		Anchor: lease, Bytes: s.Bytes}})
//	spec.Sealed = append(spec.Sealed, runtime.Sealed{Sort: "state", Dir: served.Dir(), Target: s.Target})
//	... host.Create(ctx, spec): where it fails, served.Refusal() has the reason, if it was the state's
//	... when the sandbox has ended: served.Close(ctx), and then lease.Close(ctx)
//
// # Invariants
//
//   - What Sync (or a program's fsync) acknowledged survives any crash, as long as the disk keeps what
//     fdatasync promised. A commit that was not acknowledged may survive, whole or not at all.
//   - Nothing is read that this state's key did not seal at that place: other bytes are kind Corrupt.
//   - With an anchor, Open accepts the commit that the anchor knows, or the one that follows it and
//     was never acknowledged, and nothing else. The following commit is then anchored, so that the
//     choice is made once.
//   - No nonce is used twice under a key: a segment's key comes from 32 random bytes, its nonces are
//     offsets, and it is not appended to after a failed write or by another process.
//   - The directory holds at most about twice what lives, two segments, and what is in no commit yet,
//     which is bounded too.
//   - A version writes under its own key, from its first Open on; an older one is then refused.
//
// # Boundaries
//
// Sizes, times of access to the disk, and how much changed in a commit are not hidden. An empty
// chunk of zeros is sealed like any other. Without an anchor there is no protection from old copies,
// nor from a commit cut off at the end; Protected says so, and the caller has to say it aloud. What
// was written and not synced is committed once a second, and by Close.
//
// # Concurrency
//
// A Volume may be used by many goroutines. committing is taken before mu, and mu before the cache's.
// mu is not held while the disk syncs or the anchor answers.
//
// # Sources
//
// NIST SP 800-38D section 8.2.1 (deterministic nonces); RFC 5869 (HKDF); "ROTE" (Matetic et al.,
// USENIX Security 2017) for anchoring each commit before it is acknowledged; decision 0039.
package state

import (
	"context"
	"io"
	"path/filepath"
	"sync"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/client"
	"surety/sys/entropy"
	"surety/sys/inode"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

// Anchor remembers, outside the disk, how far a state has come. *client.Lease is one; so is a TPM's
// counter. Commit returns once epoch and root are kept for good; told the same twice it is content.
type Anchor interface {
	Last() (epoch uint64, root enclave.Digest)
	Commit(ctx context.Context, epoch uint64, root enclave.Digest) error
}

// Config says which state.
type Config struct {
	Dir    string            // on the host, untrusted; made where absent, mode 0700
	Keys   []client.StateKey // the newest first; new data is sealed under the first
	Anchor Anchor            // nil: no protection against rollback, which Open's caller has to say aloud
	Bytes  uint64            // limit of contents; at most MaxBytes

	Disk    vfs.FS          // nil: the machine's
	Clock   wallclock.Clock // nil: the machine's
	Entropy entropy.Source  // nil: the machine's; anything else is for tests

	segmentBytes int64 // of the smallest segments; zero: minSegmentBytes. Smaller for tests
	backlogBytes int64 // zero: backlogBytes. Smaller for tests
}

// Volume is an open state.
type Volume struct {
	config Config
	lock   io.Closer
	volume [16]byte

	stop    chan struct{} // ends the goroutine of timed commits
	stopped chan struct{}

	committing sync.Mutex // held for the whole of a commit
	anchored   mark       // what the anchor knows
	durable    mark       // what the disk has; at most one epoch further
	held       uint64     // the last change that is in durable
	dead       []uint64   // segments that nothing refers to once durable is anchored

	mu      sync.RWMutex
	disk    *disk
	tree    *tree
	current *segment // appended to; nil: the next append makes one
	synced  bool     // the current segment's name is on disk
	full    bool     // the next commit has to hold the whole tree
	news    news
	dirty   int64  // bytes of dirty chunks
	written int64  // bytes appended since the last commit
	treeLen int64  // bytes of the last full commit
	serial  uint64 // of the last change; each has one
	covered uint64 // the last change that is in an acknowledged commit
	broken  error  // nothing may be written any more

	cache cache
}

// mark is a commit.
type mark struct {
	epoch uint64
	root  enclave.Digest
}

// news is what the last commit does not have.
type news struct {
	nodes map[inode.Number]struct{} // changed or new
	gone  map[inode.Number]struct{} // that an earlier commit has
	names map[place]struct{}        // entries that changed
}

// place is a name in a directory.
type place struct {
	parent inode.Number
	name   string
}

func noNews() news {
	return news{nodes: map[inode.Number]struct{}{}, gone: map[inode.Number]struct{}{},
		names: map[place]struct{}{}}
}

// Open reads the state and checks it against the anchor: kind Refused where it is older than the
// anchor (a rollback), or has more than one commit that the anchor does not know; Corrupt where it was
// changed; Unauthorized where none of the keys opens it (written by a newer build); Locked where
// another process has it open. A directory without a state becomes an empty one.
func Open(ctx context.Context, c Config) (*Volume, error) {
	v, err := prepare(c)
	if err != nil {
		return nil, err
	}
	if err := v.open(ctx); err != nil {
		_ = v.disk.close() // nothing of it counts
		_ = v.lock.Close()
		return nil, err
	}
	go v.commitTimed()
	return v, nil
}

// prepare checks the configuration and locks the directory.
func prepare(c Config) (*Volume, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Disk == nil {
		c.Disk = vfs.OS{}
	}
	if c.Clock == nil {
		c.Clock = wallclock.System()
	}
	if c.Entropy == nil {
		c.Entropy = entropy.System()
	}
	keys := map[uint64][32]byte{}
	for _, k := range c.Keys {
		keys[k.SVN] = k.Key
	}
	if err := c.Disk.MakeDir(c.Dir); err != nil {
		return nil, errs.Wrap(err, "state.open")
	}
	lock, err := c.Disk.Lock(filepath.Join(c.Dir, "lock"))
	if err != nil {
		return nil, errs.Wrap(err, "state.open: %s is in use", c.Dir)
	}
	return &Volume{config: c, lock: lock, news: noNews(), stop: make(chan struct{}),
		stopped: make(chan struct{}), disk: &disk{fs: c.Disk, dir: c.Dir, keys: keys,
			newest: c.Keys[0].SVN, segments: map[uint64]*segment{}}}, nil
}

// check refuses a configuration that no state can be opened with.
func (c *Config) check() error {
	switch {
	case !filepath.IsAbs(c.Dir):
		return errs.New(errs.Invalid, "state.open: directory %q is not an absolute path", c.Dir)
	case len(c.Keys) == 0 || len(c.Keys) > maxKeys:
		return errs.New(errs.Invalid, "state.open: %d keys, want 1 to %d", len(c.Keys), maxKeys)
	case c.Bytes == 0 || c.Bytes > MaxBytes:
		return errs.New(errs.Invalid, "state.open: a limit of %d bytes, want 1 to %d", c.Bytes,
			uint64(MaxBytes))
	}
	for _, k := range c.Keys {
		if k.SVN > c.Keys[0].SVN {
			return errs.New(errs.Invalid, "state.open: the key of SVN %d stands behind %d's", k.SVN,
				c.Keys[0].SVN)
		}
	}
	return nil
}

// open loads the tree, anchors an unanchored commit, and begins an empty or an older version's state.
func (v *Volume) open(ctx context.Context) error {
	numbers, err := v.disk.list()
	if err != nil {
		return err
	}
	f, err := v.disk.load(numbers, v.config.Anchor)
	if err != nil {
		return err
	}
	v.full = true
	if f == nil {
		v.tree = newTree()
		v.config.Entropy.Fill(v.volume[:])
		v.disk.forget(nil, numbers)
		v.touch(v.tree.plant(v.now()))
		return v.Sync(ctx)
	}
	v.tree, v.volume = f.tree, f.volume
	v.durable = mark{f.epoch, f.root}
	if v.config.Anchor != nil {
		v.anchored.epoch, v.anchored.root = v.config.Anchor.Last()
	}
	if err := v.anchor(ctx); err != nil {
		return err
	}
	v.disk.forget(f, numbers)
	if f.segment.svn < v.disk.newest {
		v.touch(v.tree.nodes[inode.Root]) // from now on it is this version's
		return v.Sync(ctx)
	}
	return nil
}

// Protected reports whether an old copy of the directory would be noticed.
func (v *Volume) Protected() bool { return v.config.Anchor != nil }

// Epoch is that of the last acknowledged commit.
func (v *Volume) Epoch() uint64 {
	v.committing.Lock()
	defer v.committing.Unlock()
	return v.anchored.epoch
}

// Close commits what is not yet, and closes. The volume is closed whatever it returns.
func (v *Volume) Close(ctx context.Context) error {
	select {
	case <-v.stop:
		return nil
	default:
	}
	close(v.stop)
	<-v.stopped
	err := v.Sync(ctx)
	v.committing.Lock()
	defer v.committing.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.broken == nil {
		v.broken = errs.New(errs.Unavailable, "state: it is closed")
	}
	if bad := v.disk.close(); err == nil {
		err = bad
	}
	if bad := v.lock.Close(); err == nil {
		err = bad
	}
	return err
}

// now is the time of a change.
func (v *Volume) now() int64 { return int64(v.config.Clock.Now()) }
