package trail

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"surety/base/errs"
	"surety/sandbox"
	"surety/sys/vfs"
)

// Reader reads the records of a trail: of a directory, or of an exported bundle. It sees damage to
// an entry, and not that an entry is missing or forged: that is Verify's.
type Reader struct {
	src    source
	done   io.Closer // of the bundle; nil for a directory
	scan   *scanner
	record sandbox.Record
	birth  *sandbox.Birth
	ended  bool
}

// Open opens the trail at path for reading. Errors: NotFound, Corrupt for a file that is no bundle.
func Open(path string) (*Reader, error) {
	src, done, err := openSource(path)
	if err != nil {
		return nil, err
	}
	return &Reader{src: src, done: done, scan: newScanner(src)}, nil
}

// openSource finds out whether path is a directory or a bundle; what is returned beside the source
// is to be closed, where it is not nil.
func openSource(path string) (source, io.Closer, error) {
	info, err := os.Stat(path)
	if err != nil {
		kind := errs.Internal
		if os.IsNotExist(err) {
			kind = errs.NotFound
		}
		return nil, nil, errs.As(kind, err, "trail.open")
	}
	if !info.IsDir() {
		b, err := openBundle(path)
		if err != nil {
			return nil, nil, err
		}
		return b, b, nil
	}
	src := directory{vfs.OS{}, path}
	numbers, err := src.list()
	if err == nil && len(numbers) == 0 {
		err = errs.New(errs.NotFound, "trail.open: %s holds no trail", path)
	}
	return src, nil, err
}

// Next returns the next record, inside and outside ones in the order they were written. It belongs
// to the reader and is valid until the next call. io.EOF at the end of what there is now: a later
// call may give more. Errors: Corrupt for an entry that is not what was written, with its place;
// the next call gives the same.
func (r *Reader) Next() (*sandbox.Record, error) {
	for {
		e, err := r.scan.next()
		if err == io.EOF {
			return nil, err
		}
		if err != nil {
			return nil, asCorrupt(err)
		}
		if e.kind != kindInside && e.kind != kindOutside {
			continue
		}
		rec, _, err := sandbox.DecodeRecord(e.payload())
		if err != nil {
			return nil, errs.As(errs.Corrupt, err, "trail.next: segment %d at byte %d",
				e.place.segment, e.place.offset)
		}
		r.record = rec
		r.note()
		return &r.record, nil
	}
}

// asCorrupt gives damage its kind; other errors have one.
func asCorrupt(err error) error {
	var bad *damage
	if errors.As(err, &bad) {
		return errs.As(errs.Corrupt, err, "trail.next")
	}
	return errs.Wrap(err, "trail.next")
}

func (r *Reader) note() {
	if !r.record.Outside && r.record.Seq == 1 {
		if birth, err := birthOf(&r.record); err == nil { // a record that is none is shown as it is
			r.birth = &birth
		}
	}
	r.ended = r.record.Outside && r.record.Kind == sandbox.KindFinal
}

// Follow is Next that waits for more, until the final record was read (io.EOF) or ctx is done
// (Canceled).
func (r *Reader) Follow(ctx context.Context) (*sandbox.Record, error) {
	for rereads := 0; ; {
		rec, err := r.Next()
		switch {
		case err == nil:
			return rec, nil
		case err == io.EOF && r.ended:
			return nil, io.EOF
		case errs.Is(err, errs.Corrupt) && rereads < maxRereads:
			rereads++
			if err := r.scan.fill(); err != nil {
				return nil, errs.Wrap(err, "trail.follow")
			}
		case err != io.EOF:
			return nil, err
		}
		if err := pause(ctx, followEvery); err != nil {
			return nil, err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return errs.As(errs.Canceled, ctx.Err(), "trail.follow")
	case <-timer.C:
		return nil
	}
}

// Birth returns the content of the first record, once it was read; kind NotFound before.
func (r *Reader) Birth() (sandbox.Birth, error) {
	if r.birth == nil {
		return sandbox.Birth{}, errs.New(errs.NotFound, "trail.birth: no birth record has been read")
	}
	return *r.birth, nil
}

// Close lets go of the trail's files.
func (r *Reader) Close() error {
	err := r.scan.close()
	if r.done != nil {
		if closing := r.done.Close(); err == nil {
			err = closing
		}
	}
	return errs.Wrap(err, "trail.close")
}
