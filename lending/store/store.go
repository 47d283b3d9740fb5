// Package store keeps the lending service's records: applications, decisions, loans, repayments,
// the outbox of business events and the instructions to move money that are not yet carried out.
//
// A business act is one Commit: a list of Writes that become durable together or not at all. The
// events and the instruction of an act are always in the same Commit as its records, and always
// before the ledger hears of it; that is what lets the service drive an act again after a crash,
// and lets the guard know what to expect.
//
// # Invariants
//
// Outbox sequence numbers count from 1 without gaps in commit order. An event, once written, never
// changes. An instruction is removed only after the ledger has answered for every record of it.
//
// # Boundaries
//
// The package knows rows, not rules: the contents of inputs, decisions, contracts and loan states
// are bytes to it. Personal data reaches it sealed. Statements are plain SQL, so that another
// engine can take SQLite's place.
//
// # Concurrency
//
// All methods may be called from any goroutine.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	sqlite "surety/rdb/embed"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store is an open set of lending records.
type Store struct {
	db *sqlite.DB

	mu      sync.Mutex
	last    uint64        // sequence number of the newest durable event
	changed chan struct{} // closed and replaced when last grows
}

// Write is one change of the records, run inside a Commit.
type Write func(ctx context.Context, tx *sql.Tx) error

// Open opens the records at path, creating them where absent. Kinds as of embed.Open.
func Open(ctx context.Context, path string) (*Store, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, errs.As(errs.Internal, err, "store.open: migrations")
	}
	db, err := sqlite.Open(ctx, path, sqlite.Options{Migrations: files, SecureDelete: true})
	if err != nil {
		return nil, errs.Wrap(err, "store.open")
	}
	s := &Store{db: db, changed: make(chan struct{})}
	err = db.Reader().QueryRowContext(ctx, `SELECT COALESCE(MAX(seq), 0) FROM outbox`).Scan(&s.last)
	if err != nil {
		return nil, errors.Join(errs.As(errs.Corrupt, err, "store.open: outbox"), db.Close())
	}
	return s, nil
}

// Close finishes the commits under way and closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Check reads every page and reports the first that is not as it was written, with kind Corrupt.
func (s *Store) Check(ctx context.Context) error { return s.db.Check(ctx) }

// Commit makes the writes durable together. Where one fails, none remains and its error returns. A
// ctx that ends keeps a commit from beginning (kind Canceled) and does not disturb one that has
// begun: a nil error means durable. Where the disk failed, it is not known until the next Open.
func (s *Store) Commit(ctx context.Context, writes ...Write) error {
	var last uint64
	begun := context.WithoutCancel(ctx)
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		ctx := begun
		for _, write := range writes {
			if err := write(ctx, tx); err != nil {
				return err
			}
		}
		return tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(seq), 0) FROM outbox`).Scan(&last)
	})
	if err != nil {
		return errs.Wrap(err, "store.commit")
	}
	s.advance(last)
	return nil
}

// advance wakes those who wait for events, now that events up to last are durable.
func (s *Store) advance(last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last <= s.last {
		return
	}
	s.last = last
	close(s.changed)
	s.changed = make(chan struct{})
}

// PutArtefact keeps a model, policy or product that decisions name by digest; again is no change.
func PutArtefact(digest [32]byte, kind string, body []byte) Write {
	return func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO artefacts (digest, kind, body) VALUES (?, ?, ?)
			ON CONFLICT (digest) DO NOTHING`, digest[:], kind, body)
		return err
	}
}

// Artefact returns the body with the digest; kind NotFound where there is none.
func (s *Store) Artefact(ctx context.Context, digest [32]byte) (kind string, body []byte, err error) {
	err = s.db.Reader().QueryRowContext(ctx, `SELECT kind, body FROM artefacts WHERE digest = ?`,
		digest[:]).Scan(&kind, &body)
	return kind, body, found(err, "store.artefact: %x", digest[:8])
}

// PutSetting sets a named value.
func PutSetting(name, value string) Write {
	return func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES (?, ?)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
		return err
	}
}

// Setting returns a named value, empty where it was never set.
func (s *Store) Setting(ctx context.Context, name string) (string, error) {
	var value string
	err := s.db.Reader().QueryRowContext(ctx, `SELECT value FROM settings WHERE name = ?`,
		name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, failed(err, "store.setting: %s", name)
}

// found turns the absence of a row into kind NotFound.
func found(err error, format string, args ...any) error {
	if errors.Is(err, sql.ErrNoRows) {
		return errs.New(errs.NotFound, format+": not found", args...)
	}
	return failed(err, format, args...)
}

// failed wraps an error of reading, nil for none. Its kind stays (a full disk, a damaged file);
// where the caller went away it is Canceled.
func failed(err error, format string, args ...any) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return errs.As(errs.Canceled, err, format, args...)
	}
	return errs.Wrap(err, format, args...)
}

// damaged is failed for a row that was found and cannot be read: where the caller is still there,
// the bytes are not what was written.
func damaged(err error, format string, args ...any) error {
	if failed := failed(err, format, args...); errs.Is(failed, errs.Canceled) {
		return failed
	}
	return errs.As(errs.Corrupt, err, format, args...)
}

// blob returns an id as it is stored: 16 bytes, or none for the absent id.
func blob(id ident.ID) []byte {
	if id.IsZero() {
		return nil
	}
	b := id.Bytes()
	return b[:]
}

// must is blob for columns that are never null.
func must(id ident.ID) []byte {
	b := id.Bytes()
	return b[:]
}

// identifier scans a stored id.
type identifier struct{ into *ident.ID }

// Scan accepts 16 bytes or null.
func (i identifier) Scan(value any) error {
	if value == nil {
		*i.into = ident.ID{}
		return nil
	}
	b, ok := value.([]byte)
	if !ok || len(b) != 16 {
		return errs.New(errs.Corrupt, "store: an id is not 16 bytes")
	}
	*i.into = ident.FromBytes([16]byte(b))
	return nil
}

// digest scans a stored SHA-256.
type digest struct{ into *[32]byte }

// Scan accepts 32 bytes.
func (d digest) Scan(value any) error {
	b, ok := value.([]byte)
	if !ok || len(b) != 32 {
		return errs.New(errs.Corrupt, "store: a digest is not 32 bytes")
	}
	*d.into = [32]byte(b)
	return nil
}

// instant scans a stored time.
type instant struct{ into *clock.Instant }

// Scan accepts a count of nanoseconds.
func (i instant) Scan(value any) error {
	n, ok := value.(int64)
	if !ok || n < 0 {
		return errs.New(errs.Corrupt, "store: a time is not a count of nanoseconds")
	}
	*i.into = clock.Instant(n)
	return nil
}
