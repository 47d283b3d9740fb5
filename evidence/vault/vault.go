// Package vault seals personal data under one key for each subject, so that it can be made
// unreadable later without touching where it is stored.
//
// Think of a drawer of keys. Seal takes the subject's key out, making one at the first time, and
// returns ciphertext that may be stored, logged and copied anywhere; the evidence log commits to
// it. Erase destroys the key: every copy of every ciphertext of that subject becomes noise at once,
// while the log that holds its digests stays whole and verifiable.
//
// A data key is 256 random bits for AES-256-GCM, wrapped by the master key and stored in vault.db.
// The master key stands in master.key beside it, mode 0600, made at the first start.
//
// # Invariants
//
//   - A data key is durable before the first ciphertext under it is returned.
//   - A subject that was erased has no key, for ever: sealing for it is refused, and unsealing says
//     when and why it was erased.
//   - A ciphertext opens only for its subject and its context: both are authenticated.
//   - When Erase returns, the wrapped key is in no file of the vault, its write-ahead log included.
//
// # Boundaries
//
// The vault does not store ciphertexts and does not know who may read them. It cannot reach copies
// of its own directory: a backup of vault.db made before an erasure still holds the wrapped key,
// and with master.key opens the data. Backups must therefore be kept for a stated time only, apart
// from master.key. Nor can it promise that a disk forgets blocks it was told to free.
//
// # Concurrency
//
// All methods may be called from any goroutine. cache.mu is the only lock and is never held while
// the database works. A Seal that runs beside the Erase of its subject either is refused or returns
// a ciphertext that never opens.
//
// # Sources
//
// NIST SP 800-38D (GCM), NIST SP 800-88 section 2.6 (cryptographic erase), GDPR article 17.
package vault

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	dbfile "surety/rdb/embed"
	"surety/sys/entropy"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options says where the vault is. Clock and Entropy are the machine's where nil; Entropy makes
// keys, so anything else is for tests alone.
type Options struct {
	Directory string
	Clock     wallclock.Clock
	Entropy   entropy.Source
	CacheKeys int // data keys kept in memory; zero means DefaultCacheKeys
}

// Vault is an open vault.
type Vault struct {
	db     *dbfile.DB
	master key
	keys   *cache
	clock  wallclock.Clock
	random entropy.Source
}

// Erased is the cause of an error about a subject whose key was destroyed.
type Erased struct {
	At     clock.Instant
	Reason string
}

// Error says when and why.
func (e *Erased) Error() string {
	at := time.Unix(0, int64(e.At)).UTC().Format(time.RFC3339)
	return "erased at " + at + ": " + e.Reason
}

// Count is how many subjects there are.
type Count struct {
	Live, Erased uint64
}

// Open opens the vault in the directory, creating it where absent. Kinds: Locked where another
// process has it; NotFound where data keys exist but master.key does not, which nothing but the
// return of the file can mend; Invalid where master.key is another vault's; Forbidden where others
// may read master.key; Corrupt, NoSpace.
func Open(ctx context.Context, options Options) (*Vault, error) {
	o := withDefaults(options)
	schema, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, errs.As(errs.Internal, err, "vault.open")
	}
	db, err := dbfile.Open(ctx, filepath.Join(o.Directory, "vault.db"),
		dbfile.Options{Migrations: schema, SecureDelete: true})
	if err != nil {
		return nil, errs.Wrap(err, "vault.open")
	}
	v := &Vault{db: db, keys: newCache(o.CacheKeys), clock: o.Clock, random: o.Entropy}
	if err := v.openMaster(ctx, o.Directory); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return v, nil
}

func withDefaults(o Options) Options {
	if o.Clock == nil {
		o.Clock = wallclock.System()
	}
	if o.Entropy == nil {
		o.Entropy = entropy.System()
	}
	if o.CacheKeys <= 0 {
		o.CacheKeys = DefaultCacheKeys
	}
	return o
}

// openMaster loads the master key and matches it with the database, or, where the database has
// never had one, makes it. The file is made first: a crash between the two leaves a key that
// wraps nothing and is taken at the next start.
func (v *Vault) openMaster(ctx context.Context, directory string) error {
	var checked []byte
	err := v.db.Reader().QueryRowContext(ctx, "SELECT checked FROM master").Scan(&checked)
	fresh := errors.Is(err, sql.ErrNoRows)
	if err != nil && !fresh {
		return errs.Wrap(err, "vault.open")
	}
	master, found, err := loadMaster(vfs.OS{}, directory)
	if err != nil {
		return err
	}
	if !found && !fresh {
		return errs.New(errs.NotFound, "vault.open: %s is missing, and only it opens what was sealed",
			filepath.Join(directory, masterFile))
	}
	if !found {
		if master, err = createMaster(vfs.OS{}, directory, v.random); err != nil {
			return err
		}
	}
	if err := (vfs.OS{}).RequirePrivate(filepath.Join(directory, masterFile)); err != nil {
		return errs.Wrap(err, "vault.open: master key")
	}
	v.master = master
	if fresh {
		return v.adopt(ctx)
	}
	if string(checked) != string(master.check()) {
		return errs.New(errs.Invalid, "vault.open: %s is not the key of this vault",
			filepath.Join(directory, masterFile))
	}
	return nil
}

// adopt records which master key the database belongs to.
func (v *Vault) adopt(ctx context.Context) error {
	err := v.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO master (one, checked) VALUES (1, ?)", v.master.check())
		return err
	})
	return errs.Wrap(err, "vault.open")
}

// Seal returns plaintext sealed for the subject, bound to the context (the name of what it is; the
// same one opens it). The result is overhead bytes longer, differs at each call, and belongs to the
// caller. The subject's key is made and made durable at its first use. Kinds: Refused with an
// *Erased as cause where the subject was erased; Invalid, TooLarge for arguments past the limits.
func (v *Vault) Seal(ctx context.Context, subject ident.ID, plaintext []byte, binding string) (
	[]byte, error) {
	if err := checkArguments(subject, len(plaintext), MaxPlaintext, binding); err != nil {
		return nil, errs.Wrap(err, "vault.seal")
	}
	data, err := v.key(ctx, subject, true)
	if err != nil {
		return nil, errs.Wrap(err, "vault.seal: subject %s", subject)
	}
	sealed := appendHead(make([]byte, 0, len(plaintext)+overhead), subject)
	sealed = data.seal(sealed, plaintext, sealBound(subject, binding), v.random)
	data.wipe()
	return sealed, nil
}

// Unseal returns the plaintext of what Seal returned for the subject and context. Kinds: Refused
// with an *Erased as cause where the subject was erased; NotFound where nothing was ever sealed for
// it; Corrupt where the bytes or the context differ; Invalid where they name another subject.
func (v *Vault) Unseal(ctx context.Context, subject ident.ID, sealed []byte, binding string) (
	[]byte, error) {
	if err := checkArguments(subject, len(sealed), MaxPlaintext+overhead, binding); err != nil {
		return nil, errs.Wrap(err, "vault.unseal")
	}
	named, err := SubjectOf(sealed)
	if err != nil {
		return nil, err
	}
	if named != subject {
		return nil, errs.New(errs.Invalid, "vault.unseal: sealed for subject %s, not %s", named, subject)
	}
	data, err := v.key(ctx, subject, false)
	if err != nil {
		return nil, errs.Wrap(err, "vault.unseal: subject %s", subject)
	}
	plaintext, authentic := data.unseal(sealed[headBytes:], sealBound(subject, binding))
	data.wipe()
	if !authentic {
		return nil, errs.New(errs.Corrupt, "vault.unseal: bytes or context %q are not what was sealed",
			binding)
	}
	return plaintext, nil
}

// Erase destroys the subject's key and returns when; what was sealed for it never opens again. The
// reason is kept and shown. A subject that is unknown is barred all the same; one that was erased
// before keeps its first instant and reason. It rewrites the vault's write-ahead log and takes some
// milliseconds. Where the error is of kind Locked the key is gone from the database, but a reader
// kept an older state of the log: erase again.
func (v *Vault) Erase(ctx context.Context, subject ident.ID, reason string) (clock.Instant, error) {
	if err := checkArguments(subject, len(reason), MaxReason, ""); err != nil {
		return 0, errs.Wrap(err, "vault.erase")
	}
	if reason == "" {
		return 0, errs.New(errs.Invalid, "vault.erase: no reason given")
	}
	v.keys.erase(subject)
	at := v.clock.Now()
	err := v.db.Write(ctx, func(tx *sql.Tx) error {
		var err error
		at, err = destroy(tx, subject, at, reason)
		return err
	})
	// Once more: a key that was read before the write and put after the first call is dropped.
	v.keys.erase(subject)
	if err != nil {
		return 0, errs.Wrap(err, "vault.erase: subject %s", subject)
	}
	if err := v.db.Checkpoint(ctx); err != nil {
		return 0, errs.Wrap(err, "vault.erase: subject %s", subject)
	}
	return at, nil
}

func destroy(tx *sql.Tx, subject ident.ID, at clock.Instant, reason string) (clock.Instant, error) {
	const barred = `INSERT INTO subjects (subject, created, erased, reason) VALUES (?1, ?2, ?2, ?3)
		ON CONFLICT (subject) DO UPDATE
		SET wrapped = NULL, erased = coalesce(erased, excluded.erased),
		    reason = coalesce(reason, excluded.reason)
		RETURNING erased`
	id := subject.Bytes()
	var erased int64
	if err := tx.QueryRow(barred, id[:], int64(at), reason).Scan(&erased); err != nil {
		return 0, err
	}
	return clock.Instant(erased), nil
}

// Count counts the subjects by reading all of them.
func (v *Vault) Count(ctx context.Context) (Count, error) {
	const counting = "SELECT count(wrapped), count(erased) FROM subjects"
	var n Count
	err := v.db.Reader().QueryRowContext(ctx, counting).Scan(&n.Live, &n.Erased)
	return n, errs.Wrap(err, "vault.count")
}

// Close wipes the keys from memory and releases the directory.
func (v *Vault) Close() error {
	v.keys.wipe()
	err := v.db.Close()
	v.master.wipe()
	return errs.Wrap(err, "vault.close")
}

// key returns the subject's data key. With create set, it is made where there is none.
func (v *Vault) key(ctx context.Context, subject ident.ID, create bool) (key, error) {
	data, found, epoch := v.keys.get(subject)
	if found {
		return data, nil
	}
	wrapped, err := v.read(ctx, subject)
	if errs.Is(err, errs.NotFound) && create {
		wrapped, err = v.create(ctx, subject)
	}
	if err != nil {
		return key{}, err
	}
	if data, err = v.master.unwrap(wrapped, subject); err != nil {
		return key{}, err
	}
	v.keys.put(subject, data, epoch)
	return data, nil
}

const selectSubject = "SELECT wrapped, erased, reason FROM subjects WHERE subject = ?"

func (v *Vault) read(ctx context.Context, subject ident.ID) ([]byte, error) {
	id := subject.Bytes()
	return scanSubject(v.db.Reader().QueryRowContext(ctx, selectSubject, id[:]))
}

// create makes the subject's key, unless another caller has in the meantime: the row decides.
func (v *Vault) create(ctx context.Context, subject ident.ID) (wrapped []byte, err error) {
	var data key
	v.random.Fill(data[:])
	fresh := v.master.wrap(&data, subject, v.random)
	data.wipe()
	id := subject.Bytes()
	err = v.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO subjects (subject, wrapped, created) VALUES (?, ?, ?)
			ON CONFLICT (subject) DO NOTHING`, id[:], fresh, int64(v.clock.Now()))
		if err != nil {
			return err
		}
		wrapped, err = scanSubject(tx.QueryRow(selectSubject, id[:]))
		return err
	})
	return wrapped, err
}

func scanSubject(row *sql.Row) ([]byte, error) {
	var wrapped []byte
	var erased sql.NullInt64
	var reason sql.NullString
	err := row.Scan(&wrapped, &erased, &reason)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errs.New(errs.NotFound, "nothing was ever sealed for it")
	}
	if err != nil {
		return nil, err
	}
	if erased.Valid {
		cause := &Erased{At: clock.Instant(erased.Int64), Reason: reason.String}
		return nil, errs.As(errs.Refused, cause, "its key was destroyed")
	}
	return wrapped, nil
}
