package journal

import (
	"errors"
	"path"
	"sync"

	"surety/base/errs"
	"surety/sys/vfs"
)

// preparer keeps one segment of zeros ready ahead of the writer. It works at the writer's pace, so
// that it neither fills the disk's queue nor writes zeros for a journal nobody uses: it begins when
// the current segment is an eighth full and is done before it is two thirds full.
type preparer struct {
	started bool
	done    chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	changed *sync.Cond
	number  uint64   // of the segment to prepare
	size    int64    // bytes it will have
	share   float64  // how much of it may be prepared by now, 0 to 1
	urgent  bool     // somebody waits: no pace
	ready   *segment // prepared and not yet taken
	err     error    // of the last attempt; kept until the next
	tries   uint64   // attempts finished
	spare   []uint64 // segments to write over
	quit    bool
}

// spareMax is how many old segments wait to be written over; more are removed.
const spareMax = 1

func (p *preparer) init() {
	p.changed = sync.NewCond(&p.mu)
	p.done = make(chan struct{})
}

// start begins the goroutine; number is the segment after the current one.
func (j *Journal) startPreparing(number uint64) {
	p := &j.prepare
	p.number, p.size = number, j.options.SegmentBytes
	p.started = true
	go func() {
		defer close(p.done)
		for {
			number, ok := p.await()
			if !ok {
				return
			}
			p.deliver(j.prepareSegment(number, j.options.SegmentBytes, p.hold))
		}
	}()
}

// stop ends the goroutine and waits for it.
func (p *preparer) stop() {
	p.mu.Lock()
	p.quit = true
	p.changed.Broadcast()
	p.mu.Unlock()
	if p.started {
		<-p.done
	}
}

// await blocks until there is work; ok is false when it is time to end.
func (p *preparer) await() (number uint64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.quit:
			return 0, false
		case p.ready == nil && (p.urgent || p.share > 0 && p.err == nil):
			return p.number, true
		}
		p.changed.Wait()
	}
}

// hold blocks until the part of the segment before the offset may be prepared; false says that it
// is time to end.
func (p *preparer) hold(offset int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.quit && !p.urgent && float64(offset) > p.share*float64(p.size) {
		p.changed.Wait()
	}
	return !p.quit
}

// deliver ends an attempt.
func (p *preparer) deliver(s *segment, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready, p.err, p.urgent = s, err, false
	p.tries++
	p.changed.Broadcast()
}

// pace tells how far the current segment is used.
func (p *preparer) pace(current *segment, used int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if current.number+1 != p.number {
		return
	}
	share := 2 * (float64(used)/float64(current.size) - 0.125)
	if share > p.share {
		p.share = share
		p.changed.Broadcast()
	}
}

// offer hands over a segment to be written over, and reports whether it is wanted.
func (p *preparer) offer(number uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.spare) >= spareMax || !p.started || p.quit {
		return false
	}
	p.spare = append(p.spare, number)
	return true
}

func (p *preparer) takeSpare() (uint64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.spare) == 0 {
		return 0, false
	}
	number := p.spare[0]
	p.spare = p.spare[1:]
	return number, true
}

// take hands over the prepared segment and begins with the one after; nil where none is ready.
func (p *preparer) take() *segment {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.ready
	if s != nil {
		p.ready, p.share = nil, 0
		p.number = s.number + 1
		p.changed.Broadcast()
	}
	return s
}

// nextSegment returns the next segment, waiting for it where it is not ready. An attempt that found
// the disk full is repeated by each call; any other failure stops the journal.
func (j *Journal) nextSegment() (*segment, error) {
	p := &j.prepare
	if s := p.take(); s != nil {
		return s, nil
	}
	p.mu.Lock()
	before := p.tries
	p.urgent = true
	p.changed.Broadcast()
	for p.ready == nil && p.tries == before && !p.quit {
		p.changed.Wait()
	}
	err := p.err
	p.mu.Unlock()
	switch s := p.take(); {
	case s != nil:
		return s, nil
	case err == nil:
		return nil, errs.New(errs.Unavailable, "closed")
	case errs.Is(err, errs.NoSpace):
		return nil, err
	}
	return nil, j.fail(err)
}

// prepareSegment makes a file of zeros that are on the disk, under its final name. It asks hold
// before each piece and gives up where that says false.
func (j *Journal) prepareSegment(number uint64, size int64, hold func(int64) bool) (
	*segment, error) {
	s := &segment{number: number, size: size}
	draft := path.Join(j.dir, segmentName(number)+draftSuffix)
	file, err := j.openDraft(draft)
	if err != nil {
		return nil, errs.Wrap(err, "prepare segment %s", s.name())
	}
	err = j.zero(file, s, hold)
	if err == nil {
		err = j.fs.Rename(draft, j.segmentPath(number))
	}
	if err == nil {
		err = j.fs.SyncDir(j.dir)
	}
	if err != nil {
		_ = errors.Join(file.Close(), j.fs.Remove(draft)) // the next start removes what is left
		return nil, errs.Wrap(err, "prepare segment %s", s.name())
	}
	s.file = file
	return s, nil
}

// openDraft opens an old segment under the draft's name, or a new file.
func (j *Journal) openDraft(draft string) (vfs.File, error) {
	if old, ok := j.prepare.takeSpare(); ok {
		if err := j.fs.Rename(j.segmentPath(old), draft); err != nil {
			return nil, err
		}
	}
	return j.fs.Open(draft, vfs.Create|vfs.Direct)
}

// zero fills the file; a recycled one keeps a size above the segment's.
func (j *Journal) zero(file vfs.File, s *segment, hold func(int64) bool) error {
	if err := file.Allocate(s.size); err != nil {
		return err
	}
	size, err := file.Size()
	if err != nil {
		return err
	}
	s.size = size
	zeros := vfs.Aligned(int(min(zeroBytes, size)))
	for offset := int64(0); offset < size; offset += int64(len(zeros)) {
		if !hold(offset) {
			return errs.New(errs.Unavailable, "closed")
		}
		if _, err := file.WriteAt(zeros[:min(int64(len(zeros)), size-offset)], offset); err != nil {
			return err
		}
	}
	return file.Sync()
}
