package broker

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"encoding/json"
	"errors"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/enclave"
	"surety/enclave/client"
	"surety/evidence"
)

// Outcome is one record of what the broker did.
type Outcome struct {
	ID        string            `json:"id"`
	At        clock.Instant     `json:"at"`
	Act       string            `json:"act"` // one of Acts
	Tenant    string            `json:"tenant"`
	Resource  string            `json:"resource"`
	Policy    string            `json:"policy"`
	TEE       enclave.TEE       `json:"tee"`
	Guarantee enclave.Guarantee `json:"guarantee"`
	Measure   enclave.Digest    `json:"measure"`
	Signer    enclave.KeyID     `json:"signer"`
	Product   string            `json:"product"`
	SVN       uint64            `json:"svn"`
	Reason    string            `json:"reason"` // of a refusal: the result's sentence
	Token     string            `json:"token"`  // id of the appraisal
	Trace     ident.ID          `json:"trace"`  // of the run, as the guest says; empty: it says none
	Checks    []enclave.Check   `json:"checks"`
}

// What a broker does. In the evidence log each is a kind of record, with "enclave." before it.
const (
	actAppraised    = "appraised"
	actReleased     = "released"
	actRefused      = "refused"
	actPublished    = "published"
	actStateOpened  = "state.opened"
	actStateRefused = "state.refused"
	actStateClosed  = "state.closed"
)

// ActReleased is the act of an Outcome that gave a secret away.
const ActReleased = actReleased

// Acts lists what an Outcome can be of.
func Acts() []string {
	return []string{actAppraised, actReleased, actRefused, actPublished, actStateOpened,
		actStateRefused, actStateClosed}
}

// KindPublished is the kind of the evidence log's record that publishes a measurement.
const KindPublished = "enclave." + actPublished

// Subject is the id under which the evidence log's records name a measurement.
func Subject(measure enclave.Digest) ident.ID { return ident.Derive("enclave", measure.String()) }

// Source is the broker's name in the evidence log.
const Source = "enclave.broker"

// outcomeOf returns an outcome with what is known of a session's guest.
func outcomeOf(s *session, act string) *Outcome {
	o := &Outcome{Act: act, Trace: s.trace, Checks: []enclave.Check{}}
	if s.token != nil {
		o.Token = s.token.ID
	}
	c := s.claims
	if c == nil {
		if tee := enclave.TEE(s.tee); tee.Known() { // what it says of itself, and nobody vouches for
			o.TEE, o.Guarantee = tee, tee.Guarantee()
		}
		return o
	}
	o.TEE, o.Guarantee, o.Measure, o.Signer = c.TEE, c.TEE.Guarantee(), c.Measure, c.Signer
	if c.Manifest != nil {
		o.Product, o.SVN = c.Manifest.Product, c.Manifest.SVN
	}
	return o
}

// decided adds what a policy said.
func (o *Outcome) decided(policy string, d enclave.Decision) {
	o.Policy = policy
	if d.Checks != nil {
		o.Checks = d.Checks
	}
	if d.Result != enclave.Released {
		o.Reason = d.Result.String()
	}
}

// record writes an outcome in a transaction of its own; it is durable on return.
func (b *Broker) record(ctx context.Context, o *Outcome) error {
	err := b.db.Write(ctx, func(tx *sql.Tx) error { return b.insert(tx, o) })
	if err != nil {
		return errs.Wrap(err, "broker.record")
	}
	b.recorded()
	return nil
}

// insert writes an outcome and gives it its id and time.
func (b *Broker) insert(tx *sql.Tx, o *Outcome) error {
	id := b.idents.New()
	o.ID, o.At = id.String(), b.now()
	body, err := json.Marshal(o)
	if err != nil {
		return errs.As(errs.Internal, err, "broker.record")
	}
	key, trace := id.Bytes(), o.Trace.Bytes()
	_, err = tx.Exec(`INSERT INTO outcomes (seq, id, at, tenant, measure, trace, act, body)
		VALUES ((SELECT COALESCE(MAX(seq), 0) + 1 FROM outcomes), ?, ?, ?, ?, ?, ?, ?)`,
		key[:], int64(o.At), o.Tenant, o.Measure[:], trace[:], o.Act, body)
	return errs.Wrap(err, "broker.record")
}

// recorded tells the relay that there is something to take.
func (b *Broker) recorded() {
	if b.relay != nil {
		b.relay.nudge()
	}
}

// Outcomes lists the newest records of a tenant, the newest first; tenant "" is all, those that
// belong to none included. limit is 1 to 1000; anything else is 1000.
func (b *Broker) Outcomes(ctx context.Context, tenant string, limit int) ([]Outcome, error) {
	if limit <= 0 || limit > maxOutcomes {
		limit = maxOutcomes
	}
	query, args := `SELECT body FROM outcomes WHERE tenant = ? ORDER BY seq DESC LIMIT ?`,
		[]any{tenant, limit}
	if tenant == "" {
		query, args = `SELECT body FROM outcomes ORDER BY seq DESC LIMIT ?`, []any{limit}
	}
	rows, err := b.db.Reader().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, errs.Wrap(err, "broker.outcomes")
	}
	defer rows.Close() // read to the end, or given up
	list := []Outcome{}
	for rows.Next() {
		var body []byte
		var o Outcome
		if err := rows.Scan(&body); err != nil {
			return nil, errs.Wrap(err, "broker.outcomes")
		}
		if err := json.Unmarshal(body, &o); err != nil {
			return nil, errs.As(errs.Corrupt, err, "broker.outcomes")
		}
		list = append(list, o)
	}
	return list, errs.Wrap(rows.Err(), "broker.outcomes")
}

// Refused counts the refusals among the newest records of all tenants.
func (b *Broker) Refused(ctx context.Context, newest int) (count uint64, err error) {
	err = b.db.Reader().QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT act FROM outcomes
		ORDER BY seq DESC LIMIT ?) WHERE act IN (?, ?)`, newest, actRefused, actStateRefused).Scan(&count)
	return count, errs.Wrap(err, "broker.refused")
}

// Outcome returns the record with the id; kind NotFound where there is none.
func (b *Broker) Outcome(ctx context.Context, id ident.ID) (*Outcome, error) {
	key := id.Bytes()
	var body []byte
	err := b.db.Reader().QueryRowContext(ctx, `SELECT body FROM outcomes WHERE id = ?`,
		key[:]).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errs.New(errs.NotFound, "broker.outcome: there is no record %s", id)
	}
	if err != nil {
		return nil, errs.Wrap(err, "broker.outcome")
	}
	o := &Outcome{}
	return o, errs.As(errs.Corrupt, json.Unmarshal(body, o), "broker.outcome: %s", id)
}

// entries returns records after the sequence number as the evidence log takes them.
func (b *Broker) entries(ctx context.Context, after uint64) ([]evidence.Entry, error) {
	rows, err := b.db.Reader().QueryContext(ctx, `SELECT seq, id, at, measure, trace, act, body
		FROM outcomes WHERE seq > ? ORDER BY seq LIMIT ?`, int64(after), relayPage)
	if err != nil {
		return nil, errs.Wrap(err, "broker.relay")
	}
	defer rows.Close() // read to the end, or given up
	var list []evidence.Entry
	for rows.Next() {
		var seq, at int64
		var id, measure, trace, body []byte
		var act string
		if err := rows.Scan(&seq, &id, &at, &measure, &trace, &act, &body); err != nil {
			return nil, errs.Wrap(err, "broker.relay")
		}
		entry := evidence.Entry{Source: Source, SourceSeq: uint64(seq), Part: "enclave",
			Kind: "enclave." + act, At: clock.Instant(at), Payload: payload(body)}
		if len(measure) != len(enclave.Digest{}) || len(trace) != 16 || len(id) != 16 {
			return nil, errs.New(errs.Corrupt, "broker.relay: record %d", seq)
		}
		entry.Subjects = []ident.ID{ident.FromBytes([16]byte(id))}
		if m := enclave.Digest(measure); !m.IsZero() {
			entry.Subjects = append(entry.Subjects, Subject(m))
		}
		entry.Trace = ident.FromBytes([16]byte(trace))
		list = append(list, entry)
	}
	return list, errs.Wrap(rows.Err(), "broker.relay")
}

// payload is the record, without its checks where a policy of very many rules made them too long.
func payload(body []byte) []byte {
	if len(body) <= maxPayload {
		return body
	}
	var o Outcome
	if json.Unmarshal(body, &o) != nil {
		return nil
	}
	o.Checks = nil
	short, err := json.Marshal(&o)
	if err != nil {
		return nil
	}
	return short
}

// sign signs an answer to our guests.
func (b *Broker) sign(c client.Context, answer *client.Sealed) {
	answer.Key = b.issuer.Key.Public().(ed25519.PublicKey)
	answer.Signature = ed25519.Sign(b.issuer.Key, c.Statement(answer))
}
