package store

import (
	"encoding/binary"
	"errors"
	"io"
	"path/filepath"

	"surety/base/errs"
	"surety/sys/vfs"
)

// A snapshot's file begins with the number of the last batch whose verdicts are in the snapshot.
const snapshotHeader = 8

const (
	snapshotName = "checker.snapshot"
	snapshotNext = "checker.snapshot-next"
)

// SaveSnapshot replaces the snapshot by what write writes. The old one stays until the new one is
// durable.
func (s *Store) SaveSnapshot(write func(io.Writer) error) error {
	next := filepath.Join(s.dir, snapshotNext)
	err := s.files.Remove(next)
	if err != nil && !errs.Is(err, errs.NotFound) {
		return errs.Wrap(err, "guard.snapshot")
	}
	file, err := s.files.Open(next, vfs.Create)
	if err != nil {
		return errs.Wrap(err, "guard.snapshot")
	}
	out := &appender{file: file}
	var head [snapshotHeader]byte
	binary.LittleEndian.PutUint64(head[:], s.seq)
	_, err = out.Write(head[:])
	if err == nil {
		err = write(out)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errs.Wrap(err, "guard.snapshot")
	}
	if err := s.files.Rename(next, filepath.Join(s.dir, snapshotName)); err != nil {
		return errs.Wrap(err, "guard.snapshot")
	}
	return errs.Wrap(s.files.SyncDir(s.dir), "guard.snapshot")
}

// LoadSnapshot hands the snapshot to read, with the number of its last batch; kind NotFound where
// there is none.
func (s *Store) LoadSnapshot(read func(r io.Reader, batch uint64) error) error {
	file, err := s.files.Open(filepath.Join(s.dir, snapshotName), 0)
	if err != nil {
		return errs.Wrap(err, "guard.snapshot")
	}
	size, err := file.Size()
	if err == nil && size < snapshotHeader {
		err = errs.New(errs.Corrupt, "a snapshot of %d bytes", size)
	}
	var head [snapshotHeader]byte
	if err == nil {
		err = vfs.ReadFull(file, head[:], 0)
	}
	if err == nil {
		batch := binary.LittleEndian.Uint64(head[:])
		err = read(io.NewSectionReader(file, snapshotHeader, size-snapshotHeader), batch)
	}
	return errs.Wrap(errors.Join(err, file.Close()), "guard.snapshot")
}

// appender writes a file from its beginning.
type appender struct {
	file   vfs.File
	offset int64
}

func (a *appender) Write(p []byte) (int, error) {
	n, err := a.file.WriteAt(p, a.offset)
	a.offset += int64(n)
	return n, err
}
