package embed

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

const createWords = `-- +goose Up
CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE, body BLOB);
`

func wordsSchema() fs.FS {
	return fstest.MapFS{"00001_words.sql": {Data: []byte(createWords)}}
}

func open(t testing.TB, path string, options Options) *DB {
	t.Helper()
	if options.Migrations == nil {
		options.Migrations = wordsSchema()
	}
	db, err := Open(context.Background(), path, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func insert(tx *sql.Tx, word string, body []byte) error {
	_, err := tx.Exec("INSERT INTO words (word, body) VALUES (?, ?)", word, body)
	return err
}

func count(t testing.TB, db *DB) int {
	t.Helper()
	var n int
	if err := db.Reader().QueryRow("SELECT count(*) FROM words").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func wantKind(t testing.TB, err error, kind errs.Kind, fragment string) {
	t.Helper()
	if !errs.Is(err, kind) || !strings.Contains(err.Error(), fragment) {
		t.Fatalf("got %v (%v), want kind %v and %q in the text", err, errs.KindOf(err), kind, fragment)
	}
}

func TestWhatWasWrittenIsThereAfterReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "a b?c#d%20e.db")
	db, err := Open(context.Background(), path, Options{Migrations: wordsSchema()})
	if err != nil {
		t.Fatal(err)
	}
	write := func(tx *sql.Tx) error { return insert(tx, "surety", nil) }
	if err := db.Write(context.Background(), write); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	wantKind(t, db.Write(context.Background(), write), errs.Unavailable, "closed")
	if err := db.Close(); err != nil {
		t.Fatalf("second close: %v", err)
	}
	if got := count(t, open(t, path, Options{})); got != 1 {
		t.Fatalf("got %d words after reopening, want 1", got)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("got mode %v, %v, want 0600", info.Mode(), err)
	}
}

func TestSettings(t *testing.T) {
	full := open(t, filepath.Join(t.TempDir(), "full.db"), Options{SecureDelete: true})
	normal := open(t, filepath.Join(t.TempDir(), "normal.db"), Options{Synchronous: Normal})
	for _, row := range []struct {
		pool         *sql.DB
		pragma, want string
	}{
		{full.write, "journal_mode", "wal"},
		{full.write, "synchronous", "2"},
		{normal.write, "synchronous", "1"},
		{full.write, "foreign_keys", "1"},
		{full.write, "secure_delete", "1"},
		{normal.write, "secure_delete", "0"},
		{full.read, "query_only", "1"},
		{full.read, "trusted_schema", "0"},
	} {
		var got string
		err := row.pool.QueryRow("PRAGMA " + row.pragma).Scan(&got)
		if err != nil || got != row.want {
			t.Errorf("%s: got %q, %v, want %q", row.pragma, got, err, row.want)
		}
	}
}

func TestReadersCannotWrite(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "w.db"), Options{})
	_, err := db.Reader().Exec("INSERT INTO words (word) VALUES ('x')")
	wantKind(t, err, errs.Forbidden, "readonly")
}

func TestConstraintKinds(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "w.db"), Options{})
	ctx := context.Background()
	add := func(tx *sql.Tx) error { return insert(tx, "once", nil) }
	if err := db.Write(ctx, add); err != nil {
		t.Fatal(err)
	}
	wantKind(t, db.Write(ctx, add), errs.Exists, "UNIQUE")
	err := db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO words (word) VALUES (NULL)")
		return err
	})
	wantKind(t, err, errs.Invalid, "NOT NULL")
}

func TestSecondOpenerIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	first, err := Open(context.Background(), path, Options{Migrations: wordsSchema()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(context.Background(), path, Options{Migrations: wordsSchema()})
	wantKind(t, err, errs.Locked, "is held by process")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, path, Options{})
}

func TestReadOnlyBesideTheWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	writer := open(t, path, Options{})
	reader := open(t, path, Options{ReadOnly: true})
	add := func(tx *sql.Tx) error { return insert(tx, "seen", nil) }
	if err := writer.Write(context.Background(), add); err != nil {
		t.Fatal(err)
	}
	if got := count(t, reader); got != 1 {
		t.Fatalf("read-only opener sees %d words, want 1", got)
	}
	wantKind(t, reader.Write(context.Background(), add), errs.Forbidden, "read-only")
	wantKind(t, reader.Checkpoint(context.Background()), errs.Forbidden, "read-only")
}

func TestReadOnlyRefusals(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent.db")
	_, err := Open(context.Background(), absent, Options{ReadOnly: true})
	wantKind(t, err, errs.NotFound, "absent.db")
	if _, err := os.Stat(absent); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("read-only open left a file: %v", err)
	}

	path := filepath.Join(t.TempDir(), "w.db")
	open(t, path, Options{})
	newer := fstest.MapFS{
		"00001_words.sql": {Data: []byte(createWords)},
		"00002_more.sql":  {Data: []byte("-- +goose Up\nALTER TABLE words ADD COLUMN more TEXT;\n")},
	}
	_, err = Open(context.Background(), path, Options{ReadOnly: true, Migrations: newer})
	wantKind(t, err, errs.Invalid, "schema is at version 1, this program needs 2")
}

func TestMigrations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	two := fstest.MapFS{
		"00001_words.sql": {Data: []byte(createWords)},
		"00002_more.sql": {Data: []byte("-- +goose Up\n" +
			"ALTER TABLE words ADD COLUMN more TEXT;\nCREATE INDEX by_more ON words (more);\n")},
	}
	for _, schema := range []fs.FS{wordsSchema(), two, two} {
		db, err := Open(context.Background(), path, Options{Migrations: schema})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Open(context.Background(), path, Options{Migrations: wordsSchema()})
	wantKind(t, err, errs.Invalid, "schema is at version 2, this program knows up to 1")

	broken := fstest.MapFS{"00001_x.sql": {Data: []byte("-- +goose Up\nCREATE TABEL x (id);\n")}}
	path = filepath.Join(t.TempDir(), "b.db")
	_, err = Open(context.Background(), path, Options{Migrations: broken})
	wantKind(t, err, errs.Internal, "from version 0 to 1")
}

func TestCorruptFiles(t *testing.T) {
	t.Run("not a database", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "w.db")
		text := strings.Repeat("this is not a database\n", 500)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(context.Background(), path, Options{Migrations: wordsSchema()})
		wantKind(t, err, errs.Corrupt, "not a database")
	})
	t.Run("flipped pages", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "w.db")
		fill(t, path, 400)
		damage(t, path)
		db := open(t, path, Options{})
		wantKind(t, db.Check(context.Background()), errs.Corrupt, "w.db")
		_, err := db.Reader().Exec("SELECT sum(length(body)) FROM words")
		wantKind(t, err, errs.Corrupt, "malformed")
		err = db.Write(context.Background(), func(tx *sql.Tx) error {
			_, err := tx.Exec("UPDATE words SET body = NULL")
			return err
		})
		wantKind(t, err, errs.Corrupt, "malformed")
	})
}

// fill makes a database of n words with bodies of a page each, and closes it.
func fill(t *testing.T, path string, n int) {
	t.Helper()
	db, err := Open(context.Background(), path, Options{Migrations: wordsSchema()})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		err := db.Write(context.Background(), func(tx *sql.Tx) error {
			return insert(tx, fmt.Sprint("word", i), make([]byte, 3000))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Check(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// damage overwrites the heads of pages in the second half of the file.
func damage(t *testing.T, path string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for page := info.Size() / pageBytes / 2; page < info.Size()/pageBytes; page++ {
		if _, err := file.WriteAt([]byte("damaged!"), page*pageBytes); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFullQuotaRefusesAndRecovers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	db := open(t, path, Options{MaxBytes: 256 << 10})
	ctx := context.Background()
	written := 0
	var err error
	for err == nil && written < 1000 {
		err = db.Write(ctx, func(tx *sql.Tx) error {
			return insert(tx, fmt.Sprint("w", written), make([]byte, 8000))
		})
		if err == nil {
			written++
		}
	}
	wantKind(t, err, errs.NoSpace, "full")
	if got := count(t, db); got != written {
		t.Fatalf("got %d words, %d were acknowledged", got, written)
	}
	free := func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM words WHERE id % 2 = 0")
		return err
	}
	if err := db.Write(ctx, free); err != nil {
		t.Fatalf("freeing space: %v", err)
	}
	again := func(tx *sql.Tx) error { return insert(tx, "again", make([]byte, 8000)) }
	if err := db.Write(ctx, again); err != nil {
		t.Fatalf("writing after space was freed: %v", err)
	}
}

// TestPathsThatCannotBe opens as a user without rights: the file system's user of one thread is
// changed, so that the test means the same when root runs it.
func TestPathsThatCannotBe(t *testing.T) {
	base := t.TempDir()
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(context.Background(), filepath.Join(file, "w.db"), Options{})
	wantKind(t, err, errs.Internal, "not a directory")

	sealed := filepath.Join(base, "sealed")
	if err := os.Mkdir(sealed, 0o555); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // not unlocked: the thread ends with the goroutine
		if os.Getuid() == 0 {
			for _, above := range []string{base, filepath.Dir(base)} {
				_ = os.Chmod(above, 0o755)
			}
			_ = unix.Setfsuid(65534)
		}
		_, err := Open(context.Background(), filepath.Join(sealed, "w.db"), Options{})
		done <- err
	}()
	wantKind(t, <-done, errs.Forbidden, "permission denied")
}

func TestViewSeesOneState(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "w.db"), Options{})
	ctx := context.Background()
	err := db.View(ctx, func(tx *sql.Tx) error {
		for want := range 3 {
			var n int
			if err := tx.QueryRow("SELECT count(*) FROM words").Scan(&n); err != nil {
				return err
			}
			if n != 0 {
				return fmt.Errorf("view sees %d words after %d writes", n, want)
			}
			err := db.Write(ctx, func(tx *sql.Tx) error { return insert(tx, fmt.Sprint(want), nil) })
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := count(t, db); got != 3 {
		t.Fatalf("got %d words, want 3", got)
	}
}

func TestReadIsCanceled(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "w.db"), Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := db.Reader().ExecContext(ctx, "SELECT 1")
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want canceled", err)
	}
}
