// Package embed keeps the platform's own business records in an SQLite file.
//
// Think of one file with one writer and several readers. All writes go through Write, which gathers
// what concurrent callers bring into one transaction: whatever arrived while the last commit was
// being synced is the next batch, so a lone caller waits for one sync and a thousand callers share
// it. Reads go through Reader or View and never wait for the writer; they see what was committed
// when they began.
//
// Every error carries an errs.Kind: Corrupt where the file is not what was written, NoSpace for a
// full disk or quota, Forbidden where the file system says no, Locked where another process has the
// file, Exists for a unique key that is taken.
//
// # Invariants
//
//   - Write returns nil only after the commit is in the write-ahead log, and with Synchronous Full
//     only after the log has been synced.
//   - A closure that fails leaves nothing behind and does not disturb its neighbours in the batch.
//     Where SQLite itself gives the transaction up (a full disk, an I/O error), all of them fail.
//   - After a write or sync that the kernel failed, nothing more is written until the file is
//     opened again: pages that were reported lost may otherwise be taken for durable.
//   - One process at a time has the file open for writing.
//
// # Boundaries
//
// This is the one package that imports the SQL driver. It knows no part's tables: each part brings
// its migrations (goose, numbered *.sql files, forward only) and its statements. A statement's text
// is its key in a per-connection cache of prepared statements, so texts are constants and values
// are arguments. Closures never begin, commit or roll back: not by *sql.Tx, not as text, and not by
// ON CONFLICT ROLLBACK.
//
// # Concurrency
//
// One goroutine owns the writing connection from Open to Close. writer.mu guards its queue only and
// is never held while SQL runs. All methods of DB may be called from any goroutine.
//
// # Sources
//
// https://www.sqlite.org/wal.html, https://www.sqlite.org/lang_savepoint.html and
// https://www.sqlite.org/rescode.html.
package embed

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"modernc.org/sqlite"

	"surety/base/errs"
	"surety/sys/vfs"
)

// Synchronous says when a commit is durable.
type Synchronous uint8

const (
	// Full syncs each commit before Write returns: what was acknowledged survives a power cut.
	Full Synchronous = 0
	// Normal syncs at checkpoints only: a power cut may take the last commits, a crash of the
	// process may not. It is for what can be rebuilt from elsewhere.
	Normal Synchronous = 1
)

// Options says how a file is opened. The zero value is a durable database without migrations.
type Options struct {
	Migrations   fs.FS       // numbered *.sql files at the root; nil for none
	ReadOnly     bool        // open an existing file beside its writer; Write is refused
	Synchronous  Synchronous // Full where zero
	CacheBytes   int         // writer's page cache; zero means DefaultCacheBytes
	Readers      int         // reading connections; zero means DefaultReaders
	MaxBytes     int64       // quota of the file, NoSpace past it; zero means none
	SecureDelete bool        // overwrite deleted content with zeros
}

// DB is an open file.
type DB struct {
	path    string
	files   vfs.OS
	lock    io.Closer // nil where ReadOnly
	write   *sql.DB   // nil where ReadOnly
	read    *sql.DB
	writer  *writer // nil where ReadOnly
	options Options
}

// Open opens the SQLite file at path, creating it and its directory (mode 0600 and 0700) where
// absent, brings it to the newest of the migrations, and starts the writer. With ReadOnly the file
// must exist and be at the newest migration already. Kinds: Locked where another process has it
// open for writing, Corrupt where it is not an SQLite file or its schema cannot be read, Invalid
// where a newer program wrote it or a migration is wrong, NotFound, Forbidden, NoSpace.
func Open(ctx context.Context, path string, options Options) (*DB, error) {
	full, err := filepath.Abs(path)
	if err != nil {
		return nil, errs.As(errs.Invalid, err, "embed.open: %s", path)
	}
	db := &DB{path: full, options: withDefaults(options)}
	if err := db.open(ctx); err != nil {
		return nil, errors.Join(errs.Wrap(err, "embed.open: %s", full), db.release())
	}
	if db.write != nil {
		db.writer = startWriter(db.write)
	}
	return db, nil
}

func withDefaults(o Options) Options {
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	o.CacheBytes = max(o.CacheBytes, MinCacheBytes)
	if o.Readers <= 0 {
		o.Readers = DefaultReaders
	}
	return o
}

func (db *DB) open(ctx context.Context) error {
	if db.options.ReadOnly {
		// Not opened: closing any descriptor of the file gives up the locks that SQLite holds on it
		// elsewhere in this process.
		if _, err := os.Stat(db.path); errors.Is(err, fs.ErrNotExist) {
			return errs.As(errs.NotFound, err, "file")
		}
		return db.openReaders(ctx)
	}
	if err := db.create(); err != nil {
		return err
	}
	if err := db.openWriter(ctx); err != nil {
		return err
	}
	if err := migrate(ctx, db.write, db.options.Migrations); err != nil {
		return err
	}
	return db.openReaders(ctx)
}

// create makes the directory, the lock and the file. SQLite would make the file too, but readable
// by everyone, and without syncing its name into the directory.
func (db *DB) create() error {
	directory := filepath.Dir(db.path)
	if err := db.files.MakeDir(directory); err != nil {
		return err
	}
	held, err := db.files.Lock(db.path + "-lock")
	if err != nil {
		return err
	}
	db.lock = held
	file, err := db.files.Open(db.path, vfs.Create|vfs.Exclusive)
	if errs.Is(err, errs.Exists) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return db.files.SyncDir(directory)
}

func (db *DB) openWriter(ctx context.Context) error {
	query := url.Values{
		"_txlock":       {"immediate"},
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
	}
	if db.options.Synchronous == Normal {
		query.Set("_synchronous", "NORMAL")
	}
	pragmas := []string{
		"cache_size(-" + strconv.Itoa(db.options.CacheBytes>>10) + ")",
		"wal_autocheckpoint(" + strconv.Itoa(checkpointPages) + ")",
		"journal_size_limit(" + strconv.Itoa(walKeptBytes) + ")",
		"temp_store(2)", // in memory: what undoes a closure would otherwise be a file past 64 KiB
	}
	if db.options.MaxBytes > 0 {
		pages := strconv.FormatInt(max(db.options.MaxBytes/pageBytes, 1), 10)
		pragmas = append(pragmas, "max_page_count("+pages+")")
	}
	if db.options.SecureDelete {
		pragmas = append(pragmas, "secure_delete(1)")
	}
	pool, err := db.pool(query, pragmas, true)
	if err != nil {
		return err
	}
	pool.SetMaxOpenConns(1)
	pool.SetMaxIdleConns(1)
	db.write = pool
	return probe(ctx, pool)
}

func (db *DB) openReaders(ctx context.Context) error {
	pragmas := []string{"cache_size(-" + strconv.Itoa(readerCacheBytes>>10) + ")"}
	pool, err := db.pool(url.Values{"mode": {"ro"}, "_query_only": {"1"}}, pragmas, false)
	if err != nil {
		return err
	}
	pool.SetMaxOpenConns(db.options.Readers)
	pool.SetMaxIdleConns(db.options.Readers)
	db.read = pool
	if err := probe(ctx, pool); err != nil {
		return err
	}
	if db.options.ReadOnly {
		return requireCurrent(ctx, pool, db.options.Migrations)
	}
	return nil
}

// pool returns a pool of connections with the settings all of them share: foreign keys enforced,
// no double-quoted strings, no statement that could corrupt the file.
func (db *DB) pool(query url.Values, pragmas []string, writer bool) (*sql.DB, error) {
	query.Set("_busy_timeout", strconv.FormatInt(busyTimeout.Milliseconds(), 10))
	query.Set("_foreign_keys", "1")
	query.Set("_dqs", "0")
	query.Set("_defensive", "1")
	query.Set("_error_rc", "1")
	query["_pragma"] = append(pragmas, "trusted_schema(0)", "cell_size_check(1)")
	name := url.URL{Scheme: "file", OmitHost: true, Path: db.path, RawQuery: query.Encode()}
	inner, err := sqlite.NewConnector(name.String())
	if err != nil {
		return nil, errs.As(errs.Invalid, err, "data source")
	}
	return sql.OpenDB(&connector{inner: inner, writer: writer}), nil
}

// probe opens the first connection and reads the schema, which is where a file that is no database
// is found out.
func probe(ctx context.Context, pool *sql.DB) error {
	var tables int
	return pool.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables)
}

// Path returns the absolute path of the file.
func (db *DB) Path() string { return db.path }

// Reader returns the pool of reading connections. Each statement sees what was committed when it
// began; use View where several must agree.
func (db *DB) Reader() *sql.DB { return db.read }

// View runs read in one read transaction: its statements see one state of the database. A view
// that lasts long keeps the write-ahead log from being reused and lets it grow.
func (db *DB) View(ctx context.Context, read func(*sql.Tx) error) error {
	tx, err := db.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return errs.Wrap(err, "embed.view")
	}
	err = read(tx)
	if endErr := tx.Rollback(); endErr != nil && err == nil && ctx.Err() == nil {
		err = errs.Wrap(endErr, "embed.view")
	}
	return err
}

// Check reads the whole file and its indexes; an error of kind Corrupt names the first defect. It
// takes about a second per 100 MB and holds up no writer.
func (db *DB) Check(ctx context.Context) error {
	var verdict string
	err := db.read.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict)
	if err != nil {
		return errs.Wrap(err, "embed.check: %s", db.path)
	}
	if verdict != "ok" {
		return errs.New(errs.Corrupt, "embed.check: %s: %s", db.path, verdict)
	}
	return nil
}

// Close runs what is queued, moves the write-ahead log into the database and releases the file. A
// Write after Close is an error of kind Unavailable; closing twice does nothing.
func (db *DB) Close() error {
	if db.writer != nil {
		db.writer.stop()
	}
	return errs.Wrap(db.release(), "embed.close: %s", db.path)
}

// release closes what is open. The writer goes last of the connections, since SQLite moves the
// write-ahead log when the last one closes; the lock goes after all of them.
func (db *DB) release() error {
	var failures []error
	if db.read != nil {
		failures = append(failures, db.read.Close())
	}
	if db.write != nil {
		failures = append(failures, db.write.Close())
	}
	if db.lock != nil {
		failures = append(failures, db.lock.Close())
		db.lock = nil
	}
	return errors.Join(failures...)
}
