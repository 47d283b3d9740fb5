package broker

import (
	"crypto/hkdf"
	"crypto/sha512"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/client"
	"surety/sys/entropy"
)

// stateKind is the type that a policy names sealed states by: state/NAME.
const stateKind = "state"

// owned says whose a state is. Simulated and debug builds have states of their own: none of them
// opens what a machine sealed that nobody may look into.
type owned struct {
	tenant  string
	signer  enclave.KeyID
	product string
	client.StateOpen
	variant int64
}

const (
	variantSimulated = 1
	variantDebug     = 2
)

func ownedBy(tenant string, c *enclave.Claims, open client.StateOpen) owned {
	o := owned{tenant: tenant, signer: c.Signer, product: c.Manifest.Product, StateOpen: open}
	if c.TEE == enclave.Sim {
		o.variant |= variantSimulated
	}
	if c.Debug() {
		o.variant |= variantDebug
	}
	return o
}

func (o *owned) resource() resource { return resource{o.tenant, stateKind, o.Name} }

// context is what a state's secrets at rest are bound to.
func (o *owned) context(what string) string {
	return what + " " + strings.Join([]string{o.tenant, o.signer.String(), o.product, o.Instance, o.Name,
		string(rune('0' + o.variant))}, "/")
}

// held is a state as it is stored.
type held struct {
	id       int64
	secret   []byte // sealed
	epoch    int64
	root     enclave.Digest
	svn      uint64
	fence    int64
	lease    []byte
	leaseSVN uint64
	asked    string
	mac      []byte // sealed
	until    int64
	renewals int64
}

const stateColumns = `id, secret, epoch, root, svn, fence, lease, lease_svn, asked, mac, until, renewals`

func (h *held) scan(row interface{ Scan(...any) error }, more ...any) error {
	var root, svn, leaseSVN []byte
	err := row.Scan(append([]any{&h.id, &h.secret, &h.epoch, &root, &svn, &h.fence, &h.lease, &leaseSVN,
		&h.asked, &h.mac, &h.until, &h.renewals}, more...)...)
	if err != nil {
		return err
	}
	if len(root) != len(h.root) || len(svn) != 8 || len(leaseSVN) != 8 {
		return errs.New(errs.Corrupt, "broker.state: a row has fields of the wrong size")
	}
	h.root, h.svn = enclave.Digest(root), binary.BigEndian.Uint64(svn)
	h.leaseSVN = binary.BigEndian.Uint64(leaseSVN)
	return nil
}

// svnBytes orders SVNs as the database compares them.
func svnBytes(svn uint64) []byte { return binary.BigEndian.AppendUint64(nil, svn) }

// findState returns nil where there is none.
func findState(tx *sql.Tx, o *owned) (*held, error) {
	h := &held{}
	err := h.scan(tx.QueryRow(`SELECT `+stateColumns+` FROM states WHERE tenant = ? AND signer = ?
		AND product = ? AND instance = ? AND name = ? AND variant = ?`, o.tenant, o.signer[:], o.product,
		o.Instance, o.Name, o.variant))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return h, err
}

// serveOpen leases a state.
func (b *Broker) serveOpen(r *http.Request) (any, error) {
	s, err := b.guest(r)
	if err != nil {
		return nil, err
	}
	var open client.StateOpen
	if err := decodeBody(r, &open); err != nil {
		return nil, err
	}
	if err := checkState(s, &open); err != nil {
		return nil, err
	}
	sealed, err := contextOf(r, s, open.Resource())
	if err != nil {
		return nil, err
	}
	tenants, err := b.askedTenants(r, open, s.claims.Measure)
	if err != nil {
		return nil, err
	}
	o := outcomeOf(s, actStateOpened)
	var grant *client.StateGrant
	var refusal error
	err = b.db.Write(r.Context(), func(tx *sql.Tx) (err error) {
		l := leasing{broker: b, tx: tx, session: s, open: open, outcome: o,
			asked: s.token.ID + " " + sealed.Request}
		grant, refusal, err = l.run(tenants)
		return err
	})
	if err != nil {
		return nil, errs.Wrap(err, "state %s of %s", open.Name, open.Instance)
	}
	b.recorded()
	if refusal != nil {
		return nil, refusal
	}
	plain, err := json.Marshal(grant)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "state")
	}
	defer clear(plain)
	return s.seals.answer(b, sealed, o.ID, plain)
}

// checkState takes a request of one of our guests for a state that its manifest has.
func checkState(s *session, open *client.StateOpen) error {
	if open.Tenant != "" {
		if err := checkTenant(open.Tenant); err != nil {
			return err
		}
	}
	if !isName(open.Instance, true) {
		return errs.New(errs.Invalid, "instance is %.80q, want 1 to %d letters, digits, points, dashes and "+
			"underscores", open.Instance, enclave.MaxName)
	}
	if err := checkNames(stateKind, open.Name); err != nil {
		return err
	}
	if s.claims.Manifest == nil {
		return errs.New(errs.Forbidden, "a machine without a manifest has no states")
	}
	declared := slices.ContainsFunc(s.claims.Manifest.State, func(d enclave.State) bool {
		return d.Name == open.Name
	})
	if !declared {
		return errs.New(errs.Forbidden, "the manifest has no state %s", open.Name)
	}
	return nil
}

// candidate is a tenant that may have a say, and whether the log has the measurement, where its
// policy wants to know.
type candidate struct {
	tenant string
	logged bool
}

// askedTenants returns the tenant named, or all that have a policy for the state.
func (b *Broker) askedTenants(r *http.Request, open client.StateOpen, measure enclave.Digest,
) (list []candidate, err error) {
	names := []string{open.Tenant}
	if open.Tenant == "" {
		if names, err = b.tenantsFor(r, open.Name); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		logged, err := b.logged(r.Context(), resource{name, stateKind, open.Name}, measure)
		if err != nil {
			return nil, err
		}
		list = append(list, candidate{name, logged})
	}
	return list, nil
}

func (b *Broker) tenantsFor(r *http.Request, name string) (names []string, err error) {
	patterns := patternsOf(stateKind, name)
	rows, err := b.db.Reader().QueryContext(r.Context(), `SELECT DISTINCT tenant FROM policies
		WHERE pattern IN (?, ?, ?, ?) ORDER BY tenant`, patterns[0], patterns[1], patterns[2], patterns[3])
	if err != nil {
		return nil, errs.Wrap(err, "state %s", name)
	}
	defer rows.Close() // read to the end, or given up
	for rows.Next() {
		var tenant string
		if err := rows.Scan(&tenant); err != nil {
			return nil, errs.Wrap(err, "state %s", name)
		}
		names = append(names, tenant)
	}
	return names, errs.Wrap(rows.Err(), "state %s", name)
}

// leasing is the opening of a state within a transaction.
type leasing struct {
	broker  *Broker
	tx      *sql.Tx
	session *session
	open    client.StateOpen
	outcome *Outcome
	asked   string // names the request: its repetition gets the lease that it got
}

// run decides, leases and writes the outcome. As for release, the refusal is what the guest hears.
func (l *leasing) run(tenants []candidate) (grant *client.StateGrant, refusal, err error) {
	owner, rule, refusal, err := l.admit(tenants)
	if err != nil {
		return nil, nil, err
	}
	l.outcome.Tenant, l.outcome.Resource = owner.tenant, owner.resource().String()+" of "+l.open.Instance
	l.outcome.decided(rule.policy.Name, rule.decision)
	if refusal == nil {
		grant, refusal, err = l.lease(&owner)
	}
	if err != nil {
		return nil, nil, err
	}
	if refusal != nil {
		l.outcome.Act, l.outcome.Reason = actStateRefused, refusal.Error()
		return nil, refusal, l.broker.insert(l.tx, l.outcome)
	}
	if err := l.broker.count(l.tx, owner.resource(), &rule); err != nil {
		return nil, nil, err
	}
	return grant, nil, l.broker.insert(l.tx, l.outcome)
}

// admit finds the one tenant whose policy admits the guest; of several, the one that has the state
// already. Whoever leaves it open between several is refused: their states are not the same.
func (l *leasing) admit(tenants []candidate) (owner owned, first rule, refusal, err error) {
	type admitted struct {
		owned
		rule
	}
	var all, having []admitted
	for _, t := range tenants {
		o := ownedBy(t.tenant, l.session.claims, l.open)
		rule, err := l.broker.rule(l.tx, l.session.claims, o.resource(), t.logged)
		if err != nil {
			return owner, first, nil, err
		}
		if no := rule.refusal(o.resource().String()); no != nil {
			if refusal == nil {
				owner, first, refusal = o, rule, no
			}
			continue
		}
		all = append(all, admitted{o, rule})
		state, err := findState(l.tx, &o)
		if err != nil {
			return owner, first, nil, err
		}
		if state != nil {
			having = append(having, admitted{o, rule})
		}
	}
	switch {
	case len(all) == 1:
		return all[0].owned, all[0].rule, nil, nil
	case len(having) == 1:
		return having[0].owned, having[0].rule, nil, nil
	case len(all) > 1:
		return owner, first, errs.New(errs.Refused, "state %s: %d tenants admit it: name one", l.open.Name,
			len(all)), nil
	case refusal == nil:
		refusal = errs.New(errs.Forbidden, "%s/%s: no policy says who may open it", stateKind, l.open.Name)
	}
	return owner, first, refusal, nil
}

// lease gives the state to the guest, made where it is not there yet.
func (l *leasing) lease(owner *owned) (grant *client.StateGrant, refusal, err error) {
	b, svn := l.broker, l.session.claims.Manifest.SVN
	state, err := l.need(owner)
	if err != nil {
		return nil, nil, err
	}
	now := int64(b.now())
	again := state.lease != nil && state.asked == l.asked
	switch {
	case state.epoch > 0 && svn < state.svn:
		return nil, errs.New(errs.Forbidden, "state %s was last written by security version %d, and this "+
			"build has %d", l.open.Name, state.svn, svn), nil
	case state.lease != nil && state.until > now && !again:
		return nil, errs.New(errs.Locked, "state %s of %s is in use by another enclave for at most %d s more",
			l.open.Name, l.open.Instance, (state.until-now)/1e9+1), nil
	}
	if _, err := l.tx.Exec(`INSERT INTO state_svns (state, svn) VALUES (?, ?)
		ON CONFLICT (state, svn) DO NOTHING`, state.id, svnBytes(svn)); err != nil {
		return nil, nil, err
	}
	keys, err := l.keys(owner, state, svn)
	if err != nil {
		return nil, nil, err
	}
	var random [16 + keyBytes]byte
	entropy.System().Fill(random[:])
	lease, mac := random[:16], random[16:]
	until := b.now().Add(client.LeaseTime)
	_, err = l.tx.Exec(`UPDATE states SET fence = fence + 1, lease = ?, lease_svn = ?, asked = ?, mac = ?,
		until = ?, renewals = 0 WHERE id = ?`, lease, svnBytes(svn), l.asked,
		b.rest.seal(macContext(lease), mac), int64(until), state.id)
	if err != nil {
		return nil, nil, err
	}
	return &client.StateGrant{Lease: hex.EncodeToString(lease), Fence: uint64(state.fence) + 1, MAC: mac,
		Keys: keys, Epoch: uint64(state.epoch), Root: state.root,
		Millis: int64(client.LeaseTime / 1e6)}, nil, nil
}

func macContext(lease []byte) string { return "lease " + hex.EncodeToString(lease) }

// need returns the state, made where there is none: nobody but who a policy admits comes here.
func (l *leasing) need(o *owned) (*held, error) {
	state, err := findState(l.tx, o)
	if err != nil || state != nil {
		return state, err
	}
	if err := room(l.tx, "states", o.tenant, maxStates); err != nil {
		return nil, err
	}
	var secret [keyBytes]byte
	entropy.System().Fill(secret[:])
	_, err = l.tx.Exec(`INSERT INTO states (tenant, signer, product, instance, name, variant, secret,
		epoch, root, svn, fence, lease_svn, asked, mac, until, renewals)
		VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, 0, ?, '', x'', 0, 0)`, o.tenant, o.signer[:], o.product,
		o.Instance, o.Name, o.variant, l.broker.rest.seal(o.context(stateKind), secret[:]),
		make([]byte, len(enclave.Digest{})), svnBytes(0), svnBytes(0))
	if err != nil {
		return nil, err
	}
	return findState(l.tx, o)
}

// keys derives the keys of the SVNs in use up to the guest's own, the newest first.
func (l *leasing) keys(o *owned, state *held, svn uint64) (list []client.StateKey, err error) {
	secret, err := l.broker.rest.open(o.context(stateKind), state.secret)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	rows, err := l.tx.Query(`SELECT svn FROM state_svns WHERE state = ? AND svn <= ?
		ORDER BY svn DESC LIMIT ?`, state.id, svnBytes(svn), maxStateKeys)
	if err != nil {
		return nil, err
	}
	defer rows.Close() // read to the end, or given up
	for rows.Next() {
		var used []byte
		if err := rows.Scan(&used); err != nil {
			return nil, err
		}
		key, err := hkdf.Key(sha512.New384, secret, nil,
			"surety.kbs/state/v1 "+hex.EncodeToString(used), keyBytes)
		if err != nil {
			return nil, errs.As(errs.Internal, err, "broker.state: key")
		}
		list = append(list, client.StateKey{SVN: binary.BigEndian.Uint64(used), Key: [32]byte(key)})
	}
	return list, rows.Err()
}
