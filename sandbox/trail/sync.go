package trail

import (
	"surety/base/clock"
	"surety/base/errs"
	"surety/sys/vfs"
)

// sync sees to the disk: it takes the result of a sync that is done, and begins one that is due.
// The disk works while records go on being taken.
func (w *Writer) sync(now clock.Instant) error {
	if w.syncing != nil {
		select {
		case err := <-w.syncing:
			if err := w.afterSync(err); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	if w.dirty && elapsed(w.synced, now) >= w.config.SyncEvery {
		w.startSync(now)
	}
	return nil
}

func (w *Writer) startSync(now clock.Instant) {
	done, file := make(chan error, 1), w.file
	w.syncing, w.synced, w.covered, w.dirty = done, now, w.sealed, false
	go func() { done <- file.Sync() }() // awaited by settle before the file is closed
}

// afterSync notes how a sync ended. What it covered is certain now, and may be anchored.
func (w *Writer) afterSync(err error) error {
	w.syncing = nil
	if err != nil {
		w.broken = errs.Wrap(err, "trail.sync: segment %d", w.segment)
		return w.broken
	}
	w.writeHint(w.covered)
	return nil
}

// settle returns once all that was written is on the disk.
func (w *Writer) settle() error {
	if w.syncing != nil {
		if err := w.afterSync(<-w.syncing); err != nil {
			return err
		}
	}
	if w.broken != nil || !w.dirty {
		return w.broken
	}
	w.startSync(w.config.Clock.Now())
	return w.afterSync(<-w.syncing)
}

// rotate seals and closes the segment and begins the next.
func (w *Writer) rotate() error {
	if w.pending > 0 {
		w.seal(false)
	}
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.settle(); err != nil {
		return err
	}
	file := w.file
	w.file = nil
	if err := file.Close(); err != nil {
		return errs.Wrap(err, "trail.rotate: segment %d", w.segment)
	}
	return w.begin(w.segment + 1)
}

// reserve keeps size bytes of the disk for the trail's end.
func (w *Writer) reserve(size int64) error {
	file, err := w.config.FS.Open(w.path(reserveName), vfs.Create)
	if err != nil {
		return errs.Wrap(err, "trail.reserve")
	}
	err = file.Allocate(size)
	if closing := file.Close(); err == nil {
		err = closing
	}
	return errs.Wrap(err, "trail.reserve: %d bytes", size)
}

// release gives the reserved room back to the disk; that there is none is no error.
func (w *Writer) release() error {
	err := w.config.FS.Remove(w.path(reserveName))
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	return errs.Wrap(err, "trail.release")
}
