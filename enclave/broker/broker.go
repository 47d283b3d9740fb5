// Package broker keeps secrets and releases them to enclaves that prove what they are.
//
// Think of a notary with a safe. A guest asks for a challenge, answers it with evidence bound to the
// challenge and to a fresh key of its own, and is admitted: the broker now knows what it is, and has
// said so in a signed token. Whenever it then asks for a secret, the policy of the secret's tenant
// decides on what is known; the decision is written down, synced, and only then is the secret sealed
// to the guest's key. The guest's connection is not trusted with anything.
//
// # Invariants
//
//   - A secret leaves only after the record of its release is durable, with its use counted, in the
//     transaction that decided. A broker that is killed in between has recorded, and released
//     nothing.
//   - No policy is a refusal, and a refusal comes before the question whether there is such a secret.
//   - A challenge serves once, whatever comes of it. Sessions, challenges, records of strangers and
//     everything stored have limits; what is above them is Busy or TooLarge.
//   - Secrets, state keys and lease keys are sealed at rest under the master key, each for its name.
//   - A tenant's names never reach another's: every statement names the tenant.
//
// # Boundaries
//
// What evidence proves stands in enclave/attest, what a policy says in enclave. Whoever has the
// directory and may run as its owner has the secrets. Nothing is kept of a session beyond the
// process: after a restart guests attest again.
//
// # Concurrency
//
// All methods may be called from any goroutine. table.mu and throttle.mu guard their fields and are
// never held during I/O. One goroutine relays records to the evidence log, from Open to Close.
//
// # Sources
//
// Trustee's kbs_attestation_protocol.md (shape of messages, cookie, paths); RFC 7516 and RFC 7518
// (JWE, for Trustee's guests); RFC 9180 (HPKE, for ours); RFC 7807 (problems); decisions 0036 and
// 0042.
package broker

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/client"
	evidence "surety/evidence/client"
	sqlite "surety/rdb/embed"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config says where a broker keeps what it has.
type Config struct {
	Dir  string // database, master key and token key; made where absent, mode 0700
	Name string // "iss" of its tokens
	// Direct says that guests open the store themselves, so that none was ever kept from renewing a
	// lease: leases go on while the store is closed.
	Direct bool
}

// Deps are what it works with.
type Deps struct {
	Verifier *attest.Verifier
	Log      *slog.Logger
	Clock    wallclock.Clock
	Evidence evidence.Appender // where releases and refusals are recorded; nil: its own database alone
	// Logged reports whether the evidence log has the measurement, by a proof that was checked; nil:
	// nothing is.
	Logged func(ctx context.Context, measure enclave.Digest) (bool, error)
}

// Broker is a key broker. It may be used by many goroutines.
type Broker struct {
	deps   Deps
	db     *sqlite.DB
	rest   rest
	issuer attest.Issuer
	key    enclave.KeyID
	idents *entropy.Idents

	sessions  *table
	strangers *throttle
	// Evidence has a gate of its own, and so have administrators: a flood of one kind of requests
	// leaves room for the others.
	attests, requests, orders gate

	relay   *relay
	closing sync.Once
}

// Open opens the store, and recovers what a crash left half done: a release that was not recorded did
// not happen. Kinds: Locked where another process has the store, Corrupt where a key is missing or is
// not the one that the store was sealed under, Forbidden where others may read a key.
func Open(ctx context.Context, c Config, d Deps) (*Broker, error) {
	if d.Verifier == nil || d.Clock == nil || d.Log == nil || c.Dir == "" || c.Name == "" {
		return nil, errs.New(errs.Invalid, "broker.open: directory, name, verifier, clock and log are "+
			"needed")
	}
	scripts, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, errs.As(errs.Internal, err, "broker.open: migrations")
	}
	path := filepath.Join(c.Dir, databaseFile)
	_, err = os.Stat(path)
	exists := !errors.Is(err, fs.ErrNotExist)
	db, err := sqlite.Open(ctx, path, sqlite.Options{Migrations: scripts, SecureDelete: true})
	if err != nil {
		return nil, errs.Wrap(err, "broker.open")
	}
	b := &Broker{deps: d, db: db, idents: entropy.NewIdents(entropy.System(), d.Clock.Now),
		sessions: newTable(), strangers: &throttle{},
		attests:  newGate(client.MaxMessage, maxVerifying),
		requests: newGate(maxSmall, maxServing),
		orders:   newGate(client.MaxMessage, maxOrders)}
	if err := b.recover(ctx, c, exists); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if d.Evidence != nil {
		b.relay = startRelay(b)
	}
	return b, nil
}

// recover loads the keys, and gives every lease time to be renewed, unless guests open the store
// themselves: its holder could not while the broker was away. A store that has no seal of its keys
// yet is new, or was never finished.
func (b *Broker) recover(ctx context.Context, c Config, exists bool) error {
	if exists {
		var sealed int
		err := b.db.Reader().QueryRowContext(ctx, `SELECT COUNT(*) FROM settings`).Scan(&sealed)
		if err != nil {
			return errs.As(errs.Corrupt, err, "broker.open")
		}
		exists = sealed > 0
	}
	var err error
	if b.rest, err = loadMaster(c.Dir, exists); err != nil {
		return err
	}
	token, err := loadToken(c.Dir, exists)
	if err != nil {
		return err
	}
	b.issuer = attest.Issuer{Name: c.Name, Key: token}
	b.key = enclave.KeyIDOf(token.Public().(ed25519.PublicKey))
	if exists {
		err = b.checkSeal(ctx)
	} else {
		err = b.seal(ctx)
	}
	if err != nil || c.Direct {
		return err
	}
	return b.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`UPDATE states SET until = MAX(until, ?) WHERE lease IS NOT NULL`,
			int64(b.deps.Clock.Now().Add(client.LeaseTime)))
		return errs.Wrap(err, "broker.open: leases")
	})
}

// settingSeal holds the token key's id, sealed: it opens under the right master key alone, and says
// whether the token key is the one that guests pinned.
const settingSeal = "seal"

func (b *Broker) seal(ctx context.Context) error {
	sealed := b.rest.seal(settingSeal, b.key[:])
	return errs.Wrap(b.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES (?, ?)`, settingSeal, sealed)
		return err
	}), "broker.open")
}

func (b *Broker) checkSeal(ctx context.Context) error {
	var sealed []byte
	err := b.db.Reader().QueryRowContext(ctx, `SELECT value FROM settings WHERE name = ?`,
		settingSeal).Scan(&sealed)
	if err != nil {
		return errs.As(errs.Corrupt, err, "broker.open: the store does not say which keys are its own")
	}
	id, err := b.rest.open(settingSeal, sealed)
	if err != nil {
		return errs.New(errs.Corrupt, "broker.open: %s is not the key that this store was sealed under",
			masterFile)
	}
	if string(id) != string(b.key[:]) {
		return errs.New(errs.Corrupt, "broker.open: %s is not the key that guests know this broker by",
			tokenFile)
	}
	return nil
}

// Key is the id of the key that signs its tokens.
func (b *Broker) Key() enclave.KeyID { return b.key }

// Close ends it; what is being released is finished or refused.
func (b *Broker) Close() error {
	b.closing.Do(func() {
		if b.relay != nil {
			b.relay.close()
		}
	})
	return errs.Wrap(b.db.Close(), "broker.close")
}

// Handler serves guests: /kbs/v0/auth, /kbs/v0/attest, /kbs/v0/resource/REPOSITORY/TYPE/TAG and
// /kbs/v0/state/...
func (b *Broker) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+client.PathAttest, b.answer(b.attests, b.serveAttest))
	for path, act := range map[string]func(*http.Request) (any, error){
		"POST " + client.PathAuth:                                  b.serveAuth,
		"GET " + client.PathResource + "{repository}/{type}/{tag}": b.serveResource,
		"POST " + client.PathState + "open":                        b.serveOpen,
		"POST " + client.PathState + client.ActCommit:              b.serveCommit,
		"POST " + client.PathState + client.ActRenew:               b.serveRenew,
		"POST " + client.PathState + client.ActClose:               b.serveClose,
	} {
		mux.Handle(path, b.answer(b.requests, act))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b.refuse(w, r, errs.New(errs.NotFound, "there is nothing at %.200q for %s", r.URL.Path, r.Method))
	})
	return mux
}

func (b *Broker) now() clock.Instant { return b.deps.Clock.Now() }
