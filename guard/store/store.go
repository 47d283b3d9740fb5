// Package store keeps what the guard must not forget: breaches and what people made of them, stops
// and their release, the verdicts for the evidence log, and a snapshot of the checker.
//
// Think of one durable step: Record makes a batch of verdicts, the breaches among them and the stops
// they ask for durable together. A snapshot is taken after the batch that it contains. After a
// crash the checker goes on from the snapshot and comes to the same verdicts again; breaches have
// derived ids and are stored once, and Settled tells which other verdicts are in the batches after
// the snapshot already. So no alarm is lost and none is doubled.
//
// # Invariants
//
// Batches count from 1 without gaps. A breach's records never change; its state and note may. A stop
// is stored, as planned, no later than its breach.
//
// # Boundaries
//
// The package knows rows, not rules, and takes no stop itself.
//
// # Concurrency
//
// All methods may be called from any goroutine, except Record and SaveSnapshot, which belong to the
// checker's.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"path/filepath"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	sqlite "surety/rdb/embed"
	"surety/sys/vfs"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store is the guard's open records.
type Store struct {
	db     *sqlite.DB
	files  vfs.FS
	dir    string
	seq    uint64 // of the last batch
	number uint64 // of the last breach
}

// Open opens the records in the directory, creating them where absent. files is where snapshots go;
// nil is the machine's own disk. Kinds as of rdb/embed.
func Open(ctx context.Context, dir string, files vfs.FS) (*Store, error) {
	scripts, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, errs.As(errs.Internal, err, "guard.store: migrations")
	}
	if files == nil {
		files = vfs.OS{}
	}
	if err := files.MakeDir(dir); err != nil {
		return nil, errs.Wrap(err, "guard.store: %s", dir)
	}
	db, err := sqlite.Open(ctx, filepath.Join(dir, "guard.db"), sqlite.Options{Migrations: scripts})
	if err != nil {
		return nil, errs.Wrap(err, "guard.store")
	}
	s := &Store{db: db, files: files, dir: dir}
	row := db.Reader().QueryRowContext(ctx, `SELECT
		(SELECT COALESCE(MAX(seq), 0) FROM batches), (SELECT COALESCE(MAX(number), 0) FROM breaches)`)
	if err := row.Scan(&s.seq, &s.number); err != nil {
		return nil, errors.Join(errs.As(errs.Corrupt, err, "guard.store"), db.Close())
	}
	return s, nil
}

// Close finishes what is being written and closes the records.
func (s *Store) Close() error { return s.db.Close() }

// LastBatch returns the number of the last durable batch.
func (s *Store) LastBatch() uint64 { return s.seq }

// The names of settings.
const settingThrough = "through"

// Through returns the instant up to which both streams were known to be checked when a batch was
// last recorded; zero where there is none.
func (s *Store) Through(ctx context.Context) (clock.Instant, error) {
	var at clock.Instant
	err := s.db.Reader().QueryRowContext(ctx,
		`SELECT CAST(value AS INTEGER) FROM settings WHERE name = ?`, settingThrough).Scan(instant{&at})
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return at, errs.As(errs.Internal, err, "guard.store: through")
}

// blob returns an id as it is stored, 16 bytes; zeros for the absent id.
func blob(id ident.ID) []byte {
	b := id.Bytes()
	return b[:]
}

// identifier scans a stored id.
type identifier struct{ into *ident.ID }

// Scan accepts 16 bytes.
func (i identifier) Scan(value any) error {
	b, ok := value.([]byte)
	if !ok || len(b) != 16 {
		return errs.New(errs.Corrupt, "guard.store: an id is not 16 bytes")
	}
	*i.into = ident.FromBytes([16]byte(b))
	return nil
}

// instant scans a stored time.
type instant struct{ into *clock.Instant }

// Scan accepts a count of nanoseconds.
func (i instant) Scan(value any) error {
	n, ok := value.(int64)
	if !ok || n < 0 {
		return errs.New(errs.Corrupt, "guard.store: a time is not a count of nanoseconds")
	}
	*i.into = clock.Instant(n)
	return nil
}
