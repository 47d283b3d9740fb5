package trail

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"path/filepath"
	"sync"
	"time"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sandbox"
	"surety/sandbox/ring"
	"surety/sys/vfs"
)

// Writer writes one trail: one per sandbox, in its supervisor.
type Writer struct {
	config Config
	lock   io.Closer
	born   chan struct{} // closed once the first record is stored
	over   chan struct{} // closed once no more records will be

	mu       sync.Mutex
	birth    *sandbox.Birth
	state    state
	segment  int
	file     vfs.File
	offset   int64  // of the segment's end
	total    int64  // bytes of all segments
	buffer   []byte // entries that are not in the file yet; they go to offset
	hashed   int    // bytes of buffer that digest has seen
	digest   hash.Hash
	pending  uint64        // entries since the last seal
	since    clock.Instant // of the first of them
	sealed   hint          // the last seal
	synced   clock.Instant // when the last sync began
	syncing  chan error    // of the sync under way; nil where there is none
	covered  hint          // the last seal that it covers
	dirty    bool          // something was written since it began
	consumer Source
	unread   int   // bytes of the ring that are in buffer
	again    bool  // records that the trail has already are passed over: recovery
	forced   bool  // MaxBytes does not hold: the end is being written
	err      error // the first that kept the trail from going on
	broken   error // a sync failed: nothing is written any more
	ended    bool
}

// Create begins a trail. Errors: Invalid; Exists where the directory holds one; Locked; NoSpace.
func Create(c Config) (*Writer, error) {
	w, err := lockTrail(c)
	if err != nil {
		return nil, err
	}
	numbers, err := directory{w.config.FS, c.Dir}.list()
	if err == nil && len(numbers) > 0 {
		err = errs.New(errs.Exists, "trail.create: %s holds %d segments", c.Dir, len(numbers))
	}
	if err == nil {
		err = w.begin(1)
	}
	if err != nil {
		_ = w.letGo() // the error at hand says more
		return nil, err
	}
	return w, nil
}

// lockTrail makes the directory and takes its lock.
func lockTrail(c Config) (*Writer, error) {
	c, err := c.filled()
	if err != nil {
		return nil, err
	}
	if err := c.FS.MakeDir(c.Dir); err != nil {
		return nil, errs.Wrap(err, "trail")
	}
	lock, err := c.FS.Lock(filepath.Join(c.Dir, lockName))
	if err != nil {
		return nil, errs.Wrap(err, "trail")
	}
	return &Writer{config: c, lock: lock, born: make(chan struct{}), over: make(chan struct{}),
		digest: sha256.New(), synced: c.Clock.Now()}, nil
}

func (w *Writer) path(name string) string { return filepath.Join(w.config.Dir, name) }

// begin starts a segment; the one before is complete and closed. An empty file of the name, or one
// with a header that was cut short, is taken over.
func (w *Writer) begin(segment int) error {
	file, err := w.config.FS.Open(w.path(segmentName(segment)), vfs.Create)
	if err != nil {
		return errs.Wrap(err, "trail.begin")
	}
	w.file, w.segment, w.offset = file, segment, 0
	w.pending = 0
	w.digest.Reset()
	h := header{sandbox: w.config.Sandbox, segment: uint64(segment), state: w.state,
		key: w.config.Key.Public()}
	w.add(kindHeader, h.append(nil))
	if err := w.flush(); err != nil {
		return err
	}
	return errs.Wrap(w.config.FS.SyncDir(w.config.Dir), "trail.begin")
}

// add appends an entry to what is to be written.
func (w *Writer) add(k kind, parts ...[]byte) {
	if w.pending == 0 {
		w.since = w.config.Clock.Now()
	}
	w.pending++
	w.buffer = appendEntry(w.buffer, k, parts...)
}

// flush writes what is to be written. After an error it can be tried again: the bytes go to the
// same place.
func (w *Writer) flush() error {
	if w.broken != nil {
		return w.broken
	}
	w.digest.Write(w.buffer[w.hashed:])
	w.hashed = len(w.buffer)
	if len(w.buffer) > 0 {
		if err := w.write(); err != nil {
			return err
		}
	}
	if w.unread > 0 {
		w.consumer.Advance(w.unread)
		w.unread = 0
	}
	return nil
}

func (w *Writer) write() error {
	limit, size := w.config.MaxBytes, int64(len(w.buffer))
	if limit > 0 && !w.forced && w.total+size > limit {
		return errs.New(errs.NoSpace, "trail.write: %d bytes and %d more, limit %d", w.total, size,
			limit)
	}
	if _, err := w.file.WriteAt(w.buffer, w.offset); err != nil {
		return errs.Wrap(err, "trail.write: segment %d at byte %d, %d bytes", w.segment, w.offset, size)
	}
	w.offset += size
	w.total += size
	w.buffer, w.hashed = w.buffer[:0], 0
	w.dirty = true
	return nil
}

// seal signs what stands above.
func (w *Writer) seal(final bool) {
	w.digest.Write(w.buffer[w.hashed:])
	s := seal{sandbox: w.config.Sandbox, final: final, number: w.state.seals + 1,
		at: w.config.Clock.Now(), chain: w.state.chain, outside: w.state.outside, entries: w.pending,
		prev: w.state.seal}
	w.digest.Sum(s.digest[:0])
	payload := s.sign(w.config.Key)
	w.sealed = hint{number: s.number, place: place{w.segment, w.offset + int64(len(w.buffer))}}
	w.buffer = appendEntry(w.buffer, kindSeal, payload)
	w.hashed = len(w.buffer)
	w.state.seals, w.state.seal = s.number, digestOf(payload)
	w.pending = 0
	w.digest.Reset()
}

// Source is what a trail is drained from: a ring.Consumer, or what stands for one far away.
type Source interface {
	// Size is how many bytes of frames it can hold at most.
	Size() int
	// Next waits up to wait and returns whole frames, valid until Advance; none: nil, nil.
	Next(wait time.Duration) ([]byte, error)
	// Advance gives back n bytes of what Next returned: they are stored.
	Advance(n int)
	// Wake ends a wait.
	Wake()
	// Close says that nobody reads any more.
	Close()
}

// Drain moves records from the ring into the trail, seals and syncs, until ctx is done and the ring
// is empty (nil), or an error: Corrupt for a record that does not continue the chain, NoSpace for a
// full disk or trail. After an error nobody reads the ring any more, as its producer learns with its
// next record; the sandbox must be killed, then Finish called.
func (w *Writer) Drain(ctx context.Context, c Source) error {
	if err := w.attach(c); err != nil {
		return w.fail(err)
	}
	defer context.AfterFunc(ctx, c.Wake)()
	for {
		stopping := ctx.Err() != nil
		frames, err := c.Next(w.pause(stopping))
		if err != nil {
			return w.fail(err)
		}
		if err := w.store(frames); err != nil {
			return w.fail(err)
		}
		if stopping && len(frames) == 0 {
			return nil
		}
	}
}

// attach takes the ring to drain, and reserves as much room as it holds.
func (w *Writer) attach(c Source) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	w.consumer = c
	// An entry takes twelve bytes more than its frame, which has at least a header and a head.
	return w.reserve(int64(c.Size())*9/8 + reserveSlack)
}

func (w *Writer) fail(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
		close(w.over)
	}
	if w.consumer != nil {
		w.consumer.Close()
	}
	return w.err
}

// pause is how long nothing is due.
func (w *Writer) pause(stopping bool) time.Duration {
	if stopping {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now, wait := w.config.Clock.Now(), idleWait
	if w.pending > 0 {
		wait = min(wait, w.config.SealEvery-elapsed(w.since, now))
	}
	if w.dirty {
		wait = min(wait, w.config.SyncEvery-elapsed(w.synced, now))
	}
	return max(wait, time.Millisecond)
}

func elapsed(from, to clock.Instant) time.Duration { return time.Duration(to.Sub(from)) }

// store takes a batch of frames and does what is due.
func (w *Writer) store(frames []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	taken, bad := w.take(frames)
	w.unread = taken
	now := w.config.Clock.Now()
	if w.pending >= uint64(w.config.SealRecords) ||
		w.pending > 0 && elapsed(w.since, now) >= w.config.SealEvery {
		w.seal(false)
	}
	if err := w.flush(); err != nil {
		return err
	}
	if bad != nil {
		return bad
	}
	w.announce()
	if w.offset >= w.config.SegmentBytes {
		return w.rotate()
	}
	return w.sync(now)
}

func (w *Writer) announce() {
	if w.birth == nil {
		return
	}
	select {
	case <-w.born:
	default:
		close(w.born)
	}
}

// take checks frames and adds them to what is to be written. It returns how many bytes it took: all,
// or those before the first that is not the next record.
func (w *Writer) take(frames []byte) (int, error) {
	taken := 0
	for taken < len(frames) {
		n, err := ring.FrameSize(frames[taken:])
		if err != nil || n == 0 {
			return taken, errs.New(errs.Corrupt, "trail.drain: after record %d: no frame: %v",
				w.state.chain.Seq, err)
		}
		frame := frames[taken : taken+n]
		fresh, err := w.check(frame)
		if err != nil {
			return taken, err
		}
		if fresh {
			w.add(kindInside, frame)
		}
		taken += n
	}
	return taken, nil
}

// check reports whether a frame is the next inside record, and moves the chain on to it; false
// without an error for one that recovery finds stored already.
func (w *Writer) check(frame []byte) (bool, error) {
	encoded := frame[:len(frame)-ring.HeadBytes]
	rec, n, err := sandbox.DecodeRecord(encoded)
	if err == nil && n != len(encoded) {
		err = errs.New(errs.Corrupt, "%d bytes after it", len(encoded)-n)
	}
	if err != nil {
		return false, errs.As(errs.Corrupt, err, "trail.drain: after record %d", w.state.chain.Seq)
	}
	if w.again && rec.Seq <= w.state.chain.Seq {
		return false, nil
	}
	next := w.state.chain
	head := next.Add(encoded)
	switch {
	case rec.Seq != next.Seq:
		return false, errs.New(errs.Corrupt, "trail.drain: record %d came after record %d", rec.Seq,
			w.state.chain.Seq)
	case string(head[:]) != string(frame[len(encoded):]):
		return false, errs.New(errs.Corrupt, "trail.drain: record %d does not continue the chain",
			rec.Seq)
	case rec.Outside || rec.Kind == sandbox.KindFinal:
		return false, errs.New(errs.Corrupt, "trail.drain: record %d from inside says it is the host's",
			rec.Seq)
	}
	if rec.Seq == 1 {
		if err := w.bear(&rec); err != nil {
			return false, err
		}
	}
	w.state.chain = next
	return true, nil
}

// bear checks the first record.
func (w *Writer) bear(rec *sandbox.Record) error {
	birth, err := birthOf(rec)
	if err != nil {
		return errs.Wrap(err, "trail.drain")
	}
	if key := w.config.Key.Public().String(); birth.Key != key || birth.Sandbox != w.config.Sandbox {
		return errs.New(errs.Corrupt, "trail.drain: the birth record is of sandbox %q under key %q, "+
			"this is %q under %q", birth.Sandbox, birth.Key, w.config.Sandbox, key)
	}
	w.birth = &birth
	return nil
}

// birthOf reads the content of a trail's first record. Errors: Corrupt.
func birthOf(rec *sandbox.Record) (sandbox.Birth, error) {
	if rec.Kind != sandbox.KindBirth && rec.Kind != sandbox.KindRestore {
		return sandbox.Birth{}, errs.New(errs.Corrupt, "record 1 is of kind %v and not a birth", rec.Kind)
	}
	birth, err := sandbox.DecodeBirth(rec.Text)
	return birth, errs.As(errs.Corrupt, err, "record 1")
}

// Birth waits until the first record is stored, and returns its content. Errors: Canceled once ctx
// is done, Unavailable where the trail ended before.
func (w *Writer) Birth(ctx context.Context) (sandbox.Birth, error) {
	select {
	case <-w.born:
	case <-ctx.Done():
		return sandbox.Birth{}, errs.As(errs.Canceled, ctx.Err(), "trail.birth")
	case <-w.over:
		select {
		case <-w.born:
		default:
			return sandbox.Birth{}, errs.New(errs.Unavailable, "trail.birth: the trail ended before it")
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return *w.birth, nil
}

// Outside stores a record of the host's own; Seq, Outside and At (where zero) are set here. It is
// sealed with the next records, by Drain. Errors: Invalid for a final record, which is Finish's; what
// keeps the trail from going on.
func (w *Writer) Outside(rec sandbox.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case rec.Kind == sandbox.KindFinal:
		return errs.New(errs.Invalid, "trail.outside: a final record is written by Finish")
	case w.ended:
		return errs.New(errs.Unavailable, "trail.outside: the trail of %s has ended", w.config.Sandbox)
	case w.err != nil:
		return w.err
	}
	w.addOutside(&rec)
	return w.flush()
}

func (w *Writer) addOutside(rec *sandbox.Record) {
	w.state.outside++
	rec.Seq, rec.Outside = w.state.outside, true
	if rec.At == 0 {
		rec.At = w.config.Clock.Now()
	}
	w.add(kindOutside, rec.Append(nil))
}
