package bench

import (
	"context"
	"errors"
	"path"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

// DiskReport is how fast a disk makes small writes durable.
type DiskReport struct {
	Syncs   int
	Elapsed clock.Duration
}

// Rate returns writes made durable in a second.
func (r *DiskReport) Rate() float64 {
	return float64(r.Syncs) * float64(clock.Second) / float64(max(r.Elapsed, 1))
}

// disk measures the writes that a journal makes for single transfers: a page, then fdatasync, into
// a file of zeros.
type disk struct {
	file   vfs.File
	name   string
	clock  wallclock.Clock
	page   []byte
	offset int64
	report DiskReport
}

// diskBytes is the size of the file that is written round and round.
const diskBytes = 16 << 20

func openDisk(dir string) (*disk, error) {
	d := &disk{name: path.Join(dir, "disk.bench"), clock: wallclock.System(),
		page: vfs.Aligned(vfs.PageSize)}
	d.page[0] = 1
	var err error
	if d.file, err = (vfs.OS{}).Open(d.name, vfs.Create|vfs.Direct); err != nil {
		return nil, errs.Wrap(err, "bench.disk")
	}
	if _, err = d.file.WriteAt(vfs.Aligned(diskBytes), 0); err == nil {
		err = d.file.Sync()
	}
	if err != nil {
		return nil, errors.Join(errs.Wrap(err, "bench.disk"), d.close())
	}
	return d, nil
}

// measure makes so many writes durable.
func (d *disk) measure(ctx context.Context, syncs int) error {
	began := d.clock.Now()
	for range syncs {
		if err := ctx.Err(); err != nil {
			return errs.As(errs.Canceled, err, "bench.disk")
		}
		if _, err := d.file.WriteAt(d.page, d.offset); err != nil {
			return errs.Wrap(err, "bench.disk")
		}
		if err := d.file.Sync(); err != nil {
			return errs.Wrap(err, "bench.disk")
		}
		d.offset = (d.offset + vfs.PageSize) % diskBytes
	}
	d.report.Syncs += syncs
	d.report.Elapsed += d.clock.Now().Sub(began)
	return nil
}

// close removes the file.
func (d *disk) close() error {
	return errors.Join(d.file.Close(), vfs.OS{}.Remove(d.name))
}
