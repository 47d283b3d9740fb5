package tlog

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"path/filepath"

	"surety/base/errs"
	"surety/evidence"
	dbfile "surety/rdb/embed"
)

//go:embed migrations
var migrations embed.FS

// schema returns the migrations of one of the two databases.
func schema(name string) (fs.FS, error) {
	sub, err := fs.Sub(migrations, "migrations/"+name)
	return sub, errs.As(errs.Internal, err, "tlog.open")
}

const payloadsFile = "payloads.db"

// payloadStore keeps payloads under the index of their record. Its database is durable commit by
// commit, and its lock is the lock of the whole directory.
type payloadStore struct{ db *dbfile.DB }

func openPayloads(ctx context.Context, directory string, readOnly bool) (payloadStore, error) {
	migrations, err := schema("payloads")
	if err != nil {
		return payloadStore{}, err
	}
	db, err := dbfile.Open(ctx, filepath.Join(directory, payloadsFile), dbfile.Options{
		Migrations: migrations, CacheBytes: payloadCacheBytes, Readers: readers, ReadOnly: readOnly,
	})
	return payloadStore{db}, errs.Wrap(err, "tlog.open")
}

// put stores the payloads of a batch whose first record will have the index first. Empty payloads
// have no row. It is durable when it returns.
func (s payloadStore) put(ctx context.Context, first uint64, batch []*item) error {
	return s.db.Write(ctx, func(tx *sql.Tx) error {
		for i, it := range batch {
			if len(it.payload) == 0 {
				continue
			}
			_, err := tx.Exec("INSERT INTO payloads (leaf, body) VALUES (?, ?)",
				int64(first)+int64(i), it.payload)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// get returns the payload of the record at the index, checked against the record. Kind Corrupt
// where it is not what the record commits to.
func (s payloadStore) get(ctx context.Context, leaf uint64, record *evidence.Record) (
	[]byte, error) {
	if record.PayloadBytes == 0 {
		return []byte{}, nil
	}
	var body []byte
	row := s.db.Reader().QueryRowContext(ctx, "SELECT body FROM payloads WHERE leaf = ?", int64(leaf))
	err := row.Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errs.New(errs.Corrupt, "tlog.payload: record %d has none, %d bytes belong", leaf,
			record.PayloadBytes)
	}
	if err != nil {
		return nil, errs.Wrap(err, "tlog.payload: record %d", leaf)
	}
	if evidence.Digest(body) != record.Digest {
		return nil, errs.New(errs.Corrupt, "tlog.payload: record %d commits to another payload", leaf)
	}
	return body, nil
}

// settle makes the rows from the index first on fit the records there, whose digests are given: a
// payload that stands under another index is moved, and what no record commits to is removed. Kind
// Corrupt where a record's payload is missing.
func (s payloadStore) settle(ctx context.Context, first uint64, records []evidence.Record) error {
	return s.db.Write(ctx, func(tx *sql.Tx) error {
		bodies, err := tail(tx, first)
		if err != nil {
			return err
		}
		if _, err := tx.Exec("DELETE FROM payloads WHERE leaf >= ?", int64(first)); err != nil {
			return err
		}
		for i := range records {
			if records[i].PayloadBytes == 0 {
				continue
			}
			leaf := first + uint64(i)
			body, found := bodies[records[i].Digest]
			if !found {
				return errs.New(errs.Corrupt, "tlog.open: payload of record %d is missing", leaf)
			}
			_, err := tx.Exec("INSERT INTO payloads (leaf, body) VALUES (?, ?)", int64(leaf), body)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// tail returns the payloads from the index first on by their digests: at most two batches.
func tail(tx *sql.Tx, first uint64) (map[evidence.Hash][]byte, error) {
	rows, err := tx.Query("SELECT body FROM payloads WHERE leaf >= ?", int64(first))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	bodies := map[evidence.Hash][]byte{}
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		bodies[evidence.Digest(body)] = body
	}
	return bodies, rows.Err()
}

// needsSettling reports whether there are rows past the end of the log.
func (s payloadStore) needsSettling(ctx context.Context, size uint64) (bool, error) {
	var past bool
	err := s.db.Reader().QueryRowContext(ctx,
		"SELECT EXISTS (SELECT 1 FROM payloads WHERE leaf >= ?)", int64(size)).Scan(&past)
	return past, errs.Wrap(err, "tlog.open: payloads")
}
