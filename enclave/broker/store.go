package broker

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"encoding/json"
	"errors"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/client"
)

// secretContext is what a secret at rest is bound to.
func secretContext(tenant, kind, tag string) string {
	return "secret " + tenant + "/" + kind + "/" + tag
}

// PutSecret stores a secret of a tenant. The repository is the tenant's name. Kind Exists where
// another stands there, unless replace; TooLarge where it is longer than client.MaxSecret or the
// tenant has too many.
func (b *Broker) PutSecret(ctx context.Context, tenant, kind, tag string, secret []byte,
	replace bool) error {
	if err := errors.Join(checkTenant(tenant), checkNames(kind, tag)); err != nil {
		return errs.As(errs.Invalid, err, "broker.put")
	}
	if len(secret) == 0 || len(secret) > client.MaxSecret {
		return errs.New(errs.TooLarge, "broker.put: %s/%s/%s: a secret of %d bytes, want 1 to %d", tenant,
			kind, tag, len(secret), client.MaxSecret)
	}
	name := secretContext(tenant, kind, tag)
	sealed := b.rest.seal(name, secret)
	err := b.db.Write(ctx, func(tx *sql.Tx) error {
		if err := b.needTenant(tx, tenant); err != nil {
			return err
		}
		var stored []byte
		err := tx.QueryRow(`SELECT sealed FROM secrets WHERE tenant = ? AND kind = ? AND tag = ?`, tenant,
			kind, tag).Scan(&stored)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			if err := room(tx, "secrets", tenant, maxSecrets); err != nil {
				return err
			}
		case err != nil:
			return err
		case !replace && !b.same(name, stored, secret):
			return errs.New(errs.Exists, "another secret is there already")
		case !replace:
			return nil
		}
		_, err = tx.Exec(`INSERT INTO secrets (tenant, kind, tag, sealed, stored_at)
			VALUES (?, ?, ?, ?, ?) ON CONFLICT (tenant, kind, tag) DO UPDATE
			SET sealed = excluded.sealed, stored_at = excluded.stored_at`,
			tenant, kind, tag, sealed, int64(b.now()))
		return err
	})
	return errs.Wrap(err, "broker.put: %s/%s/%s", tenant, kind, tag)
}

// same reports whether what is stored is the secret.
func (b *Broker) same(context string, stored, secret []byte) bool {
	plain, err := b.rest.open(context, stored)
	defer clear(plain)
	return err == nil && bytes.Equal(plain, secret)
}

// HasSecret reports whether a secret of a tenant is kept, to whomever it may be released.
func (b *Broker) HasSecret(ctx context.Context, tenant, kind, tag string) (bool, error) {
	var count int
	err := b.db.Reader().QueryRowContext(ctx, `SELECT COUNT(*) FROM secrets
		WHERE tenant = ? AND kind = ? AND tag = ?`, tenant, kind, tag).Scan(&count)
	return count > 0, errs.Wrap(err, "broker.has")
}

// RemoveSecret forgets a secret; its content is overwritten. Kind NotFound where there is none.
func (b *Broker) RemoveSecret(ctx context.Context, tenant, kind, tag string) error {
	return b.remove(ctx, "secret "+kind+"/"+tag, `DELETE FROM secrets
		WHERE tenant = ? AND kind = ? AND tag = ?`, tenant, kind, tag)
}

func (b *Broker) remove(ctx context.Context, what, statement string, args ...any) error {
	err := b.db.Write(ctx, func(tx *sql.Tx) error {
		result, err := tx.Exec(statement, args...)
		if err != nil {
			return err
		}
		if count, err := result.RowsAffected(); err != nil || count > 0 {
			return err
		}
		return errs.New(errs.NotFound, "there is no %s", what)
	})
	return errs.Wrap(err, "broker.remove")
}

// Stored names a secret without showing it.
type Stored struct {
	Resource string        `json:"resource"` // REPOSITORY/TYPE/TAG
	StoredAt clock.Instant `json:"stored_at"`
}

// Secrets lists the names of a tenant's secrets, in their order.
func (b *Broker) Secrets(ctx context.Context, tenant string) ([]Stored, error) {
	rows, err := b.db.Reader().QueryContext(ctx, `SELECT kind, tag, stored_at FROM secrets
		WHERE tenant = ? ORDER BY kind, tag`, tenant)
	if err != nil {
		return nil, errs.Wrap(err, "broker.secrets")
	}
	defer rows.Close() // read to the end, or given up
	list := []Stored{}
	for rows.Next() {
		var kind, tag string
		var at int64
		if err := rows.Scan(&kind, &tag, &at); err != nil {
			return nil, errs.Wrap(err, "broker.secrets")
		}
		list = append(list, Stored{Resource: tenant + "/" + kind + "/" + tag, StoredAt: clock.Instant(at)})
	}
	return list, errs.Wrap(rows.Err(), "broker.secrets")
}

// needTenant makes a tenant that is not there yet, without a token.
func (b *Broker) needTenant(tx *sql.Tx, name string) error {
	var there int
	err := tx.QueryRow(`SELECT COUNT(*) FROM tenants WHERE name = ?`, name).Scan(&there)
	if err != nil || there > 0 {
		return err
	}
	var all int
	if err := tx.QueryRow(`SELECT COUNT(*) FROM tenants`).Scan(&all); err != nil {
		return err
	}
	if all >= maxTenants {
		return errs.New(errs.TooLarge, "there are %d tenants, the limit", all)
	}
	_, err = tx.Exec(`INSERT INTO tenants (name, created_at) VALUES (?, ?)`, name, int64(b.now()))
	return err
}

// room refuses one more row of a tenant above the limit.
func room(tx *sql.Tx, table, tenant string, limit int) error {
	var count int
	// The table's name is a constant of this package.
	err := tx.QueryRow(`SELECT COUNT(*) FROM `+table+` WHERE tenant = ?`, tenant).Scan(&count)
	if err == nil && count >= limit {
		err = errs.New(errs.TooLarge, "tenant %s has %d %s, the limit", tenant, count, table)
	}
	return err
}

// SetPolicy says to whom a tenant's secrets whose KIND/TAG match the pattern are released. The most
// exact pattern counts: KIND/TAG before KIND/*, that before */TAG, that before */*; a secret without
// a policy is released to nobody. Its states are named state/NAME. A policy without a name gets
// TENANT/PATTERN, and one with a quorum can have no other: owners approve it for this place. What
// was approved is forgotten where the policy changes.
func (b *Broker) SetPolicy(ctx context.Context, tenant, pattern string, p enclave.Policy) error {
	if err := errors.Join(checkTenant(tenant), checkPattern(pattern)); err != nil {
		return errs.As(errs.Invalid, err, "broker.policy")
	}
	place := tenant + "/" + pattern
	if p.Name == "" {
		p.Name = place
	}
	if p.Quorum > 0 && p.Name != place {
		return errs.New(errs.Invalid, "broker.policy: its name is %q; owners approve it as %q", p.Name,
			place)
	}
	if err := p.Check(); err != nil {
		return errs.Wrap(err, "broker.policy: %s", place)
	}
	body, err := json.Marshal(p)
	if err != nil {
		return errs.As(errs.Internal, err, "broker.policy: %s", place)
	}
	if len(body) > maxPolicyBytes {
		return errs.New(errs.TooLarge, "broker.policy: %s has %d bytes, the limit is %d", place, len(body),
			maxPolicyBytes)
	}
	err = b.db.Write(ctx, func(tx *sql.Tx) error { return b.putPolicy(tx, tenant, pattern, body) })
	return errs.Wrap(err, "broker.policy: %s", place)
}

func (b *Broker) putPolicy(tx *sql.Tx, tenant, pattern string, body []byte) error {
	if err := b.needTenant(tx, tenant); err != nil {
		return err
	}
	var before []byte
	err := tx.QueryRow(`SELECT body FROM policies WHERE tenant = ? AND pattern = ?`, tenant,
		pattern).Scan(&before)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		if err := room(tx, "policies", tenant, maxPolicies); err != nil {
			return err
		}
	case err != nil:
		return err
	case bytes.Equal(before, body):
		return nil
	}
	if _, err := tx.Exec(`DELETE FROM approvals WHERE tenant = ? AND pattern = ?`, tenant,
		pattern); err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO policies (tenant, pattern, body, stored_at) VALUES (?, ?, ?, ?)
		ON CONFLICT (tenant, pattern) DO UPDATE SET body = excluded.body, stored_at = excluded.stored_at`,
		tenant, pattern, body, int64(b.now()))
	return err
}

// RemovePolicy takes a policy away: what only it admitted is released to nobody. Kind NotFound.
func (b *Broker) RemovePolicy(ctx context.Context, tenant, pattern string) error {
	return b.remove(ctx, "policy "+pattern, `DELETE FROM policies WHERE tenant = ? AND pattern = ?`,
		tenant, pattern)
}

// Policies returns a tenant's policies by their patterns.
func (b *Broker) Policies(ctx context.Context, tenant string) (map[string]enclave.Policy, error) {
	rows, err := b.db.Reader().QueryContext(ctx, `SELECT pattern, body FROM policies
		WHERE tenant = ?`, tenant)
	if err != nil {
		return nil, errs.Wrap(err, "broker.policies")
	}
	defer rows.Close() // read to the end, or given up
	all := map[string]enclave.Policy{}
	for rows.Next() {
		var pattern string
		var body []byte
		if err := rows.Scan(&pattern, &body); err != nil {
			return nil, errs.Wrap(err, "broker.policies")
		}
		if all[pattern], err = decodePolicy(body); err != nil {
			return nil, err
		}
	}
	return all, errs.Wrap(rows.Err(), "broker.policies")
}

// decodePolicy reads a stored policy strictly: a rule that is not understood must not be passed over.
func decodePolicy(body []byte) (p enclave.Policy, err error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		return enclave.Policy{}, errs.As(errs.Corrupt, err, "broker.policy: as stored")
	}
	return p, nil
}

// Policy returns the policy of exactly this pattern; kind NotFound where there is none.
func (b *Broker) Policy(ctx context.Context, tenant, pattern string) (enclave.Policy, error) {
	all, err := b.Policies(ctx, tenant)
	if err != nil {
		return enclave.Policy{}, err
	}
	p, found := all[pattern]
	if !found {
		return p, errs.New(errs.NotFound, "broker.policy: %s/%s has none", tenant, pattern)
	}
	return p, nil
}

// Approve takes an owner's signature over Policy.Approval. owner is an Ed25519 public key, 32 bytes.
// Kind NotFound where there is no policy of exactly this pattern, Forbidden where the key is none of
// its owners' or the signature is not over the policy as it is now.
func (b *Broker) Approve(ctx context.Context, tenant, pattern string, measure enclave.Digest,
	owner []byte, signature []byte) error {
	if len(owner) != ed25519.PublicKeySize {
		return errs.New(errs.Invalid, "broker.approve: an owner's key of %d bytes, want %d", len(owner),
			ed25519.PublicKeySize)
	}
	err := b.db.Write(ctx, func(tx *sql.Tx) error {
		var body []byte
		err := tx.QueryRow(`SELECT body FROM policies WHERE tenant = ? AND pattern = ?`, tenant,
			pattern).Scan(&body)
		if errors.Is(err, sql.ErrNoRows) {
			return errs.New(errs.NotFound, "there is no such policy")
		}
		if err != nil {
			return err
		}
		p, err := decodePolicy(body)
		if err != nil {
			return err
		}
		if err := checkApproval(&p, measure, owner, signature); err != nil {
			return err
		}
		return b.putApproval(tx, tenant, pattern, measure, owner, signature)
	})
	return errs.Wrap(err, "broker.approve: %s/%s", tenant, pattern)
}

// checkApproval says why an approval does not count.
func checkApproval(p *enclave.Policy, measure enclave.Digest, owner, signature []byte) error {
	named := false
	for _, id := range p.Owners {
		named = named || id == enclave.KeyIDOf(owner)
	}
	if !named {
		return errs.New(errs.Forbidden, "key %s is none of the policy's owners", enclave.KeyIDOf(owner))
	}
	statement, err := p.Approval(measure)
	if err != nil {
		return err
	}
	if !ed25519.Verify(owner, statement, signature) {
		return errs.New(errs.Forbidden, "the signature is not over this policy and measurement")
	}
	return nil
}

func (b *Broker) putApproval(tx *sql.Tx, tenant, pattern string, measure enclave.Digest, owner,
	signature []byte) error {
	var count int
	err := tx.QueryRow(`SELECT COUNT(*) FROM approvals WHERE tenant = ? AND pattern = ?`, tenant,
		pattern).Scan(&count)
	if err == nil && count >= maxApprovals {
		err = errs.New(errs.TooLarge, "it has %d approvals, the limit", count)
	}
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO approvals (tenant, pattern, measure, owner, signature, stored_at)
		VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, pattern, measure, owner) DO UPDATE
		SET signature = excluded.signature, stored_at = excluded.stored_at`,
		tenant, pattern, measure[:], owner, signature, int64(b.now()))
	return err
}
