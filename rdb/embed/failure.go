package embed

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"

	sqlite3 "modernc.org/sqlite/lib"

	"surety/base/errs"
)

// coded is an error that carries SQLite's extended result code, as the driver's *Error does.
type coded interface {
	error
	Code() int
}

// classify gives an error of the driver its kind. What database/sql itself interprets (end of
// rows, a bad connection) and what already has a kind passes unchanged.
func classify(err error) error {
	if err == nil || err == io.EOF || err == driver.ErrBadConn || err == driver.ErrSkip {
		return err
	}
	var known *errs.Error
	if errors.As(err, &known) {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return errs.As(errs.Canceled, err, "sqlite")
	}
	var numbered coded
	if errors.As(err, &numbered) {
		return errs.As(kindOf(numbered.Code()), err, "sqlite")
	}
	return errs.As(errs.Internal, err, "sqlite")
}

// kindOf maps SQLite's extended result codes, https://www.sqlite.org/rescode.html.
func kindOf(code int) errs.Kind {
	switch code {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
		sqlite3.SQLITE_CONSTRAINT_ROWID:
		return errs.Exists
	case sqlite3.SQLITE_IOERR_SHMSIZE: // the index of the write-ahead log could not grow
		return errs.NoSpace
	case sqlite3.SQLITE_IOERR_CORRUPTFS, sqlite3.SQLITE_IOERR_DATA,
		sqlite3.SQLITE_IOERR_SHORT_READ:
		return errs.Corrupt
	}
	switch code & 0xff {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH:
		return errs.Invalid
	case sqlite3.SQLITE_TOOBIG:
		return errs.TooLarge
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return errs.Corrupt
	case sqlite3.SQLITE_FULL:
		return errs.NoSpace
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return errs.Locked
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN,
		sqlite3.SQLITE_AUTH:
		return errs.Forbidden
	case sqlite3.SQLITE_INTERRUPT:
		return errs.Canceled
	}
	return errs.Internal
}

// syncLost reports whether err means that the kernel may have dropped pages it was told to keep:
// a write or a sync that failed for a reason other than a full disk. A later sync of the same file
// can then succeed without those pages, so nothing may be written after it.
func syncLost(err error) bool {
	var numbered coded
	if !errors.As(err, &numbered) {
		return false
	}
	switch numbered.Code() {
	case sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC, sqlite3.SQLITE_IOERR_WRITE,
		sqlite3.SQLITE_IOERR_TRUNCATE:
		return true
	}
	return false
}
