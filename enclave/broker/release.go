package broker

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"net/http"
	"strings"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/client"
)

// resource is what a guest asks for.
type resource struct{ tenant, kind, tag string }

func (r resource) String() string { return r.tenant + "/" + r.kind + "/" + r.tag }

// guest returns the session that a request belongs to: by token, as Trustee's long sessions have it,
// or by cookie.
func (b *Broker) guest(r *http.Request) (*session, error) {
	token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if found && token != "" {
		return b.sessions.find("", token, b.now())
	}
	cookie, err := r.Cookie(client.Cookie)
	if err != nil {
		return nil, errs.New(errs.Unauthorized, "no cookie %s and no token: attest first", client.Cookie)
	}
	return b.sessions.find(cookie.Value, "", b.now())
}

// contextOf is what an answer to a request is sealed for.
func contextOf(r *http.Request, s *session, resource string) (client.Context, error) {
	request := r.Header.Get(client.RequestHeader)
	if len(request) > enclave.MaxName {
		return client.Context{}, errs.New(errs.TooLarge, "%s has %d bytes, the limit is %d",
			client.RequestHeader, len(request), enclave.MaxName)
	}
	return client.Context{Token: s.token.ID, Nonce: s.nonce, Request: request, Resource: resource}, nil
}

// serveResource decides on one secret, writes the decision down, and only then seals it.
func (b *Broker) serveResource(r *http.Request) (any, error) {
	s, err := b.guest(r)
	if err != nil {
		return nil, err
	}
	wanted := resource{r.PathValue("repository"), r.PathValue("type"), r.PathValue("tag")}
	if err := errors.Join(checkTenant(wanted.tenant), checkNames(wanted.kind, wanted.tag)); err != nil {
		return nil, errs.As(errs.Invalid, err, "resource")
	}
	sealed, err := contextOf(r, s, wanted.String())
	if err != nil {
		return nil, err
	}
	logged, err := b.logged(r.Context(), wanted, s.claims.Measure)
	if err != nil {
		return nil, err
	}
	o := outcomeOf(s, actReleased)
	var secret []byte
	var refusal error
	err = b.db.Write(r.Context(), func(tx *sql.Tx) (err error) {
		secret, refusal, err = b.release(tx, s, wanted, logged, o)
		return err
	})
	defer clear(secret)
	if err != nil {
		return nil, errs.Wrap(err, "%s", wanted)
	}
	b.recorded()
	if refusal != nil {
		return nil, refusal
	}
	return s.seals.answer(b, sealed, o.ID, secret)
}

// release decides within a transaction and writes the outcome into it. The refusal is what the guest
// hears; err is that nothing could be decided, and nothing is written then.
func (b *Broker) release(tx *sql.Tx, s *session, wanted resource, logged bool, o *Outcome,
) (secret []byte, refusal, err error) {
	o.Tenant, o.Resource = wanted.tenant, wanted.String()
	rule, err := b.rule(tx, s.claims, wanted, logged)
	if err != nil {
		return nil, nil, err
	}
	if refusal = rule.refusal(wanted.String()); refusal == nil {
		secret, refusal, err = b.load(tx, wanted)
	}
	if err != nil {
		return nil, nil, err
	}
	o.decided(rule.policy.Name, rule.decision)
	if refusal != nil {
		o.Act, o.Reason = actRefused, strings.TrimPrefix(refusal.Error(), o.Resource+": ")
		return nil, refusal, b.insert(tx, o)
	}
	if err := b.count(tx, wanted, &rule); err != nil {
		return nil, nil, err
	}
	return secret, nil, b.insert(tx, o)
}

// load reads a secret: no such is a refusal, which the guest's policy has let it hear.
func (b *Broker) load(tx *sql.Tx, wanted resource) (secret []byte, refusal, err error) {
	var sealed []byte
	err = tx.QueryRow(`SELECT sealed FROM secrets WHERE tenant = ? AND kind = ? AND tag = ?`,
		wanted.tenant, wanted.kind, wanted.tag).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errs.New(errs.NotFound, "%s: there is no such secret", wanted), nil
	}
	if err != nil {
		return nil, nil, err
	}
	secret, err = b.rest.open(secretContext(wanted.tenant, wanted.kind, wanted.tag), sealed)
	return secret, nil, err
}

// rule is what a policy says to a guest.
type rule struct {
	found    bool
	pattern  string
	digest   [32]byte // SHA-256 of the policy as stored
	policy   enclave.Policy
	decision enclave.Decision
}

// refusal returns why not; nil where the policy releases.
func (r *rule) refusal(name string) error {
	switch {
	case !r.found:
		return errs.New(errs.Forbidden, "%s: no policy says to whom it is released", name)
	case r.decision.Result != enclave.Released:
		return errs.New(errs.Forbidden, "%s: policy %s: %s", name, r.policy.Name, r.decision.Result)
	}
	return nil
}

// rule finds the policy of a resource and lets it decide.
func (b *Broker) rule(tx *sql.Tx, c *enclave.Claims, wanted resource, logged bool) (rule, error) {
	r, err := findPolicy(tx, wanted)
	if err != nil || !r.found {
		return r, err
	}
	facts := enclave.Facts{Now: b.now(), Logged: logged, VendorRoots: b.deps.Verifier.VendorRoots()}
	if facts.Approvals, err = b.approvals(tx, wanted.tenant, &r, c.Measure); err != nil {
		return r, err
	}
	if r.policy.Uses != 0 || r.policy.Daily != 0 {
		err := tx.QueryRow(`SELECT COALESCE(SUM(count), 0),
			COALESCE(SUM(CASE WHEN day = ? THEN count ELSE 0 END), 0)
			FROM uses WHERE tenant = ? AND resource = ? AND policy = ?`, int64(facts.Now.Date()),
			wanted.tenant, wanted.kind+"/"+wanted.tag, r.digest[:]).Scan(&facts.Used, &facts.UsedToday)
		if err != nil {
			return r, err
		}
	}
	r.decision = r.policy.Decide(c, facts)
	return r, nil
}

// querier is a transaction, or the pool of readers.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// findPolicy returns the policy of the most exact pattern.
func findPolicy(from querier, wanted resource) (r rule, err error) {
	patterns := patternsOf(wanted.kind, wanted.tag)
	rows, err := from.QueryContext(context.Background(), `SELECT pattern, body FROM policies
		WHERE tenant = ? AND pattern IN (?, ?, ?, ?)`, wanted.tenant, patterns[0], patterns[1],
		patterns[2], patterns[3])
	if err != nil {
		return r, err
	}
	defer rows.Close() // read to the end, or given up
	best := len(patterns)
	var body []byte
	for rows.Next() {
		var pattern string
		var text []byte
		if err := rows.Scan(&pattern, &text); err != nil {
			return r, err
		}
		for i := range best {
			if patterns[i] == pattern {
				best, body = i, text
				break
			}
		}
	}
	if err := rows.Err(); err != nil || body == nil {
		return r, err
	}
	r.found, r.pattern, r.digest = true, patterns[best], sha256.Sum256(body)
	r.policy, err = decodePolicy(body)
	return r, err
}

// approvals returns the owners whose signature over the policy, as it is now, is there.
func (b *Broker) approvals(tx *sql.Tx, tenant string, r *rule, measure enclave.Digest,
) (owners []enclave.KeyID, err error) {
	if r.policy.Quorum == 0 {
		return nil, nil
	}
	rows, err := tx.Query(`SELECT owner, signature FROM approvals
		WHERE tenant = ? AND pattern = ? AND measure = ?`, tenant, r.pattern, measure[:])
	if err != nil {
		return nil, err
	}
	defer rows.Close() // read to the end, or given up
	for rows.Next() {
		var owner, signature []byte
		if err := rows.Scan(&owner, &signature); err != nil {
			return nil, err
		}
		if len(owner) == len(enclave.KeyID{}) && checkApproval(&r.policy, measure, owner, signature) == nil {
			owners = append(owners, enclave.KeyIDOf(owner))
		}
	}
	return owners, rows.Err()
}

// count counts a release under a policy that bounds them.
func (b *Broker) count(tx *sql.Tx, wanted resource, r *rule) error {
	if r.policy.Uses == 0 && r.policy.Daily == 0 {
		return nil
	}
	_, err := tx.Exec(`INSERT INTO uses (tenant, resource, policy, day, count) VALUES (?, ?, ?, ?, 1)
		ON CONFLICT (tenant, resource, policy, day) DO UPDATE SET count = count + 1`, wanted.tenant,
		wanted.kind+"/"+wanted.tag, r.digest[:], int64(b.now().Date()))
	return err
}

// logged asks the evidence log about a measurement where the resource's policy wants to know. It is
// asked outside the transaction: where the policy changes meanwhile to one that wants to know, the
// answer it gets is no.
func (b *Broker) logged(ctx context.Context, wanted resource, measure enclave.Digest) (bool, error) {
	r, err := findPolicy(b.db.Reader(), wanted)
	if err != nil {
		return false, errs.Wrap(err, "%s", wanted)
	}
	if !r.found || !r.policy.Logged || b.deps.Logged == nil {
		return false, nil
	}
	is, err := b.deps.Logged(ctx, measure)
	return is, errs.Wrap(err, "%s: the evidence log", wanted)
}
