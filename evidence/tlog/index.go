package tlog

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"surety/base/errs"
	"surety/base/ident"
	"surety/evidence"
	dbfile "surety/rdb/embed"
)

const indexFile = "index.db"

// index finds records by what they say. All of it follows from the log, so it is not synced commit
// by commit, may lag behind after a crash, and is made again where it is damaged or missing.
type index struct {
	db *dbfile.DB
	// ids holds the row ids of sources, filled as they are met; the append goroutine owns it.
	ids map[string]int64
}

func openIndex(ctx context.Context, directory string, readOnly bool) (*index, error) {
	migrations, err := schema("index")
	if err != nil {
		return nil, err
	}
	db, err := dbfile.Open(ctx, filepath.Join(directory, indexFile), dbfile.Options{
		Migrations: migrations, CacheBytes: indexCacheBytes, Readers: readers, ReadOnly: readOnly,
		Synchronous: dbfile.Normal,
	})
	if err != nil {
		return nil, errs.Wrap(err, "tlog.open")
	}
	return &index{db: db, ids: map[string]int64{}}, nil
}

// discardIndex removes a damaged index, so that the next openIndex begins an empty one.
func discardIndex(directory string) error {
	for _, suffix := range [...]string{"", "-wal", "-shm"} {
		err := os.Remove(filepath.Join(directory, indexFile+suffix))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return errs.As(errs.Forbidden, err, "tlog.open: damaged index")
		}
	}
	return nil
}

// size returns how many records are indexed.
func (x *index) size(ctx context.Context) (uint64, error) {
	var n int64
	err := x.db.Reader().QueryRowContext(ctx, "SELECT size FROM progress").Scan(&n)
	return uint64(n), errs.Wrap(err, "tlog.index")
}

// positions returns how far each source has got among the indexed records.
func (x *index) positions(ctx context.Context) (map[string]position, error) {
	positions := map[string]position{}
	err := x.db.View(ctx, func(tx *sql.Tx) error {
		rows, err := tx.Query("SELECT name, last FROM sources")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			var last int64
			if err := rows.Scan(&name, &last); err != nil {
				return err
			}
			positions[name] = position{last: uint64(last)}
		}
		if err := rows.Err(); err != nil {
			return err
		}
		return addBeyond(tx, positions)
	})
	return positions, errs.Wrap(err, "tlog.index")
}

func addBeyond(tx *sql.Tx, positions map[string]position) error {
	const later = `SELECT name, seq FROM sources JOIN sequences ON source = id AND seq > last`
	rows, err := tx.Query(later)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var seq int64
		if err := rows.Scan(&name, &seq); err != nil {
			return err
		}
		positions[name], _ = positions[name].note(uint64(seq))
	}
	return rows.Err()
}

// add indexes the records from the index first on, which must be where the index ends, and notes
// how far their sources have got.
func (x *index) add(ctx context.Context, first uint64, records []evidence.Record,
	positions map[string]position) error {
	ids := map[string]int64{}
	err := x.db.Write(ctx, func(tx *sql.Tx) error {
		for i := range records {
			source, err := x.source(tx, ids, records[i].Source)
			if err != nil {
				return err
			}
			_, err = tx.Exec("INSERT INTO sequences (source, seq, leaf) VALUES (?, ?, ?)",
				source, int64(records[i].SourceSeq), int64(first)+int64(i))
			if err != nil {
				return err
			}
		}
		if err := addSubjects(tx, first, records); err != nil {
			return err
		}
		for name, id := range ids { // the order does not show: each row stands alone
			_, err := tx.Exec("UPDATE sources SET last = ? WHERE id = ?", int64(positions[name].last), id)
			if err != nil {
				return err
			}
		}
		return moveOn(tx, first, uint64(len(records)))
	})
	if err != nil {
		return errs.Wrap(err, "tlog.index: records from %d", first)
	}
	for name, id := range ids { // the order does not show
		x.ids[name] = id
	}
	return nil
}

// moveOn advances the index's end from first by n records.
func moveOn(tx *sql.Tx, first, n uint64) error {
	result, err := tx.Exec("UPDATE progress SET size = ? WHERE size = ?", int64(first+n), int64(first))
	if err != nil {
		return err
	}
	if changed, err := result.RowsAffected(); err != nil || changed != 1 {
		return errs.New(errs.Corrupt, "index does not end at record %d", first)
	}
	return nil
}

// source returns the source's row id and adds it to touched.
func (x *index) source(tx *sql.Tx, touched map[string]int64, name string) (int64, error) {
	if id, found := touched[name]; found {
		return id, nil
	}
	id, found := x.ids[name]
	if !found {
		const known = `INSERT INTO sources (name, last) VALUES (?, 0)
			ON CONFLICT (name) DO UPDATE SET last = last RETURNING id`
		if err := tx.QueryRow(known, name).Scan(&id); err != nil {
			return 0, err
		}
	}
	touched[name] = id
	return id, nil
}

// naming is a row of subjects.
type naming struct {
	id   [16]byte
	leaf uint64
}

// addSubjects writes the rows in the order of their key, so that neighbours share a page.
func addSubjects(tx *sql.Tx, first uint64, records []evidence.Record) error {
	var rows []naming
	for i := range records {
		rows = appendNamings(rows, first+uint64(i), &records[i])
	}
	slices.SortFunc(rows, func(a, b naming) int { return bytes.Compare(a.id[:], b.id[:]) })
	for i := range rows {
		_, err := tx.Exec("INSERT INTO subjects (id, leaf) VALUES (?, ?)",
			rows[i].id[:], int64(rows[i].leaf))
		if err != nil {
			return err
		}
	}
	return nil
}

// appendNamings appends one row for each id the record names, its trace included.
func appendNamings(rows []naming, leaf uint64, record *evidence.Record) []naming {
	for _, id := range record.Subjects {
		rows = append(rows, naming{id.Bytes(), leaf})
	}
	if !record.Trace.IsZero() && !slices.Contains(record.Subjects, record.Trace) {
		rows = append(rows, naming{record.Trace.Bytes(), leaf})
	}
	return rows
}

// naming returns the indexes of up to limit records from the index first on that name the id.
func (x *index) naming(ctx context.Context, id ident.ID, first uint64, limit int) (
	[]uint64, error) {
	key := id.Bytes()
	rows, err := x.db.Reader().QueryContext(ctx,
		"SELECT leaf FROM subjects WHERE id = ? AND leaf >= ? ORDER BY leaf LIMIT ?",
		key[:], int64(min(first, 1<<62)), limit)
	if err != nil {
		return nil, errs.Wrap(err, "tlog.lookup")
	}
	defer rows.Close()
	var leaves []uint64
	for rows.Next() {
		var leaf int64
		if err := rows.Scan(&leaf); err != nil {
			return nil, errs.Wrap(err, "tlog.lookup")
		}
		leaves = append(leaves, uint64(leaf))
	}
	return leaves, errs.Wrap(rows.Err(), "tlog.lookup")
}

// find returns the index of the record with the source and number; kind NotFound where none is.
func (x *index) find(ctx context.Context, source string, seq uint64) (uint64, error) {
	const finding = `SELECT leaf FROM sources JOIN sequences ON source = id WHERE name = ? AND seq = ?`
	var leaf int64
	row := x.db.Reader().QueryRowContext(ctx, finding, source, int64(min(seq, 1<<62)))
	err := row.Scan(&leaf)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, notFound(source, seq)
	}
	return uint64(leaf), errs.Wrap(err, "tlog.find")
}

func notFound(source string, seq uint64) error {
	return errs.New(errs.NotFound, "tlog.find: source %s has no record %d", source, seq)
}
