package trail

import (
	"fmt"
	"path/filepath"

	"surety/base/errs"
	"surety/sandbox"
)

// Finish drains what is left in the ring, writes the final record and seal, syncs and lets go of the
// trail. The sandbox must be dead and Drain have returned. status is the exit status. Where the
// trail could not go on, the final record says why beside reason. On an error the trail may be
// without its end; it is let go of all the same.
func (w *Writer) Finish(reason string, status int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return errs.New(errs.Unavailable, "trail.finish: the trail of %s has ended", w.config.Sandbox)
	}
	err := w.conclude(reason, status)
	if closing := w.letGo(); err == nil {
		err = closing
	}
	return err
}

func (w *Writer) conclude(reason string, status int) error {
	if w.broken != nil {
		return w.broken
	}
	// From here on the room that was reserved may be used, and the limit may be passed by it.
	w.forced = true
	if err := w.release(); err != nil {
		return err
	}
	if w.file == nil { // a segment was to be begun when the disk was full
		if err := w.begin(w.segment + 1); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil { // what may have found no room before
		return err
	}
	if w.err != nil {
		reason = fmt.Sprintf("%s (%v)", reason, w.err)
	}
	lost, err := w.drainRest()
	if err != nil {
		return err
	}
	if lost != nil && (w.err == nil || lost.Error() != w.err.Error()) {
		reason = fmt.Sprintf("%s (the ring: %v)", reason, lost)
	}
	if err := w.cover(); err != nil {
		return err
	}
	w.addOutside(&sandbox.Record{Kind: sandbox.KindFinal, Text: reason, Result: int64(status),
		Sysno: noSyscall, Rule: sandbox.NoRule})
	w.seal(true)
	if err := w.flush(); err != nil {
		return err
	}
	w.announce()
	return w.settle()
}

// noSyscall is Record.Sysno where no system call is meant.
const noSyscall = 0xffff

// drainRest stores what the source still holds, tells its producer that nobody reads any more, and
// stores what came in between: a kernel that still lived records, and does, nothing after that. A
// chain that was broken before stays so: what came after the break is not looked at. lost is why
// there may be more that could not be had; err is of the disk.
func (w *Writer) drainRest() (lost, err error) {
	if w.consumer == nil || errs.Is(w.err, errs.Corrupt) {
		return nil, nil
	}
	lost, err = w.drainOnce()
	w.consumer.Close()
	if lost != nil || err != nil {
		return lost, err
	}
	late, err := w.drainOnce()
	if !errs.Is(late, errs.Corrupt) {
		late = nil // a source may say that it is closed
	}
	return late, err
}

// drainOnce stores what the source holds: at most as much as it can hold, so that a sandbox that was
// not killed cannot keep it busy.
func (w *Writer) drainOnce() (lost, err error) {
	var frames []byte
	for left := w.consumer.Size(); left > 0; left -= len(frames) {
		if frames, lost = w.consumer.Next(0); lost != nil || len(frames) == 0 {
			return lost, nil
		}
		w.unread, lost = w.take(frames)
		if err := w.flush(); err != nil || lost != nil {
			return lost, err
		}
	}
	return nil, nil
}

// cover writes fillers over what lies behind the last whole entry: an entry that a crash or a full
// disk cut short. An unfinished entry is never taken for the trail's end then.
func (w *Writer) cover() error {
	size, err := w.file.Size()
	if err != nil {
		return errs.Wrap(err, "trail.cover: segment %d", w.segment)
	}
	zeros := make([]byte, maxPayload)
	for left := size - w.offset; left > 0; {
		n := min(max(left-entryBytes, 0), maxPayload)
		w.add(kindFiller, zeros[:n])
		if err := w.flush(); err != nil {
			return err
		}
		left -= entryBytes + n
	}
	return nil
}

// Close lets go of the trail without an end: Recover can give it one.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return nil
	}
	return w.letGo()
}

// letGo closes what the writer holds. It is the last step of its life.
func (w *Writer) letGo() error {
	w.ended = true
	if w.err == nil {
		w.err = errs.New(errs.Unavailable, "trail: the trail of %s is closed", w.config.Sandbox)
		close(w.over)
	}
	var err error
	if w.syncing != nil {
		err = w.afterSync(<-w.syncing)
	}
	if w.file != nil {
		if closing := w.file.Close(); err == nil {
			err = closing
		}
		w.file = nil
	}
	if closing := w.lock.Close(); err == nil {
		err = closing
	}
	return errs.Wrap(err, "trail.close: %s", filepath.Base(w.config.Dir))
}
