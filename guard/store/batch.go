package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/guard"
	"surety/guard/client"
	"surety/ledger"
)

// Pair is an event and the application or loan it is of.
type Pair struct{ Subject, Event ident.ID }

// Alarm is a breach with what the core does not have: the event as the outbox wrote it.
type Alarm struct {
	Breach *guard.Breach
	Body   []byte
}

// Planned is a stop that a breach asks for: in force later, or not to be taken.
type Planned struct {
	Freeze  ledger.Freeze
	Number  int // among the breach's stops, from 1
	Text    string
	Outcome string // client.StopPlanned, StopDryRun or StopWithheld
}

// Batch is what is made durable together.
type Batch struct {
	At                     clock.Instant
	Through                clock.Instant // both streams are checked up to here
	FromEvent, ToEvent     uint64        // positions, the first new and the last
	FromPosting, ToPosting uint64
	Checked                []Pair
	Failed                 []Pair
	Resolved               []ident.ID // breaches
	Alarms                 []Alarm
	Stops                  []Planned
}

// Empty reports whether the batch says nothing that must be kept.
func (b *Batch) Empty() bool {
	return len(b.Checked)+len(b.Failed)+len(b.Resolved)+len(b.Alarms)+len(b.Stops) == 0
}

// body is a batch as the evidence log commits to it.
type body struct {
	Seq         uint64        `json:"seq"`
	At          clock.Instant `json:"at"`
	Events      int           `json:"events"`
	Breaches    int           `json:"breaches"`
	FromEvent   uint64        `json:"from_event"`
	ToEvent     uint64        `json:"to_event"`
	FromPosting uint64        `json:"from_posting"`
	ToPosting   uint64        `json:"to_posting"`
	Checked     [][2]ident.ID `json:"checked,omitempty"` // subject and event
	Failed      [][2]ident.ID `json:"failed,omitempty"`
	Resolved    []ident.ID    `json:"resolved,omitempty"`
	Alarms      []alarm       `json:"alarms,omitempty"`
}

type alarm struct {
	Breach   ident.ID        `json:"breach"`
	Rule     string          `json:"rule"`
	Class    string          `json:"class"`
	Event    ident.ID        `json:"event,omitzero"`
	Subject  ident.ID        `json:"subject,omitzero"`
	AtRisk   string          `json:"money_at_risk"`
	Expected json.RawMessage `json:"expected"`
	Found    json.RawMessage `json:"found"`
}

func pairs(list []Pair) [][2]ident.ID {
	out := make([][2]ident.ID, len(list))
	for i, p := range list {
		out[i] = [2]ident.ID{p.Subject, p.Event}
	}
	return out
}

// encode returns the batch as JSON.
func (b *Batch) encode(seq uint64) ([]byte, error) {
	out := body{Seq: seq, At: b.At, Events: len(b.Checked) + len(b.Failed), Breaches: len(b.Alarms),
		FromEvent: b.FromEvent, ToEvent: b.ToEvent, FromPosting: b.FromPosting, ToPosting: b.ToPosting,
		Checked: pairs(b.Checked), Failed: pairs(b.Failed), Resolved: b.Resolved}
	for _, a := range b.Alarms {
		out.Alarms = append(out.Alarms, alarm{Breach: a.Breach.ID, Rule: a.Breach.Rule.String(),
			Class: a.Breach.Class.String(), Event: a.Breach.Event, Subject: a.Breach.Subject(),
			AtRisk: a.Breach.AtRisk.String(), Expected: json.RawMessage(a.Breach.Expected.JSON()),
			Found: json.RawMessage(a.Breach.Found.JSON())})
	}
	return json.Marshal(&out)
}

// verdictsMax bounds the verdicts of one stored batch: its JSON has some 70 KiB, and a record of the
// evidence log can name every subject in it. What is recorded at once may be several of them.
const verdictsMax = 1000

// parts divides a batch into batches of at most verdictsMax verdicts; an empty one has none.
func (b *Batch) parts() (list []Batch) {
	rest := *b
	for !rest.Empty() {
		part := rest
		checked, failed := min(len(rest.Checked), verdictsMax), 0
		failed = min(len(rest.Failed), verdictsMax-checked)
		alarms := min(len(rest.Alarms), verdictsMax-checked-failed)
		part.Checked, rest.Checked = rest.Checked[:checked], rest.Checked[checked:]
		part.Failed, rest.Failed = rest.Failed[:failed], rest.Failed[failed:]
		part.Alarms, rest.Alarms = rest.Alarms[:alarms], rest.Alarms[alarms:]
		rest.Resolved, rest.Stops = nil, nil // with the first
		list = append(list, part)
	}
	return list
}

// encoded returns a batch's parts as they are stored, the first numbered one after the last.
func (b *Batch) encoded(last uint64) (list [][]byte, err error) {
	for i, part := range b.parts() {
		data, err := part.encode(last + uint64(i) + 1)
		if err != nil {
			return nil, errs.As(errs.Internal, err, "guard.record")
		}
		list = append(list, data)
	}
	return list, nil
}

// Record makes a batch durable. Breaches and stops that are stored already stay as they are.
func (s *Store) Record(ctx context.Context, b *Batch) error {
	encoded, err := b.encoded(s.seq)
	if err != nil {
		return err
	}
	number := s.number
	err = s.db.Write(ctx, func(tx *sql.Tx) error {
		number = s.number // the closure may run again
		for i := range b.Alarms {
			fresh, err := insertBreach(ctx, tx, &b.Alarms[i], number+1)
			if err != nil {
				return err
			}
			if fresh {
				number++
			}
		}
		for i := range b.Stops {
			if err := insertStop(ctx, tx, &b.Stops[i], b.At); err != nil {
				return err
			}
		}
		return s.insertBatch(ctx, tx, b, encoded)
	})
	if err != nil {
		return errs.Wrap(err, "guard.record: batch %d", s.seq+1)
	}
	s.number = number
	s.seq += uint64(len(encoded))
	return nil
}

// insertBatch adds the encoded parts, marks what has resolved, and moves the watermark.
func (s *Store) insertBatch(ctx context.Context, tx *sql.Tx, b *Batch, encoded [][]byte) error {
	for _, id := range b.Resolved {
		if _, err := tx.ExecContext(ctx, `UPDATE breaches SET resolved_at = ?
			WHERE id = ? AND resolved_at = 0`, int64(b.At), blob(id)); err != nil {
			return err
		}
	}
	for i, data := range encoded {
		if _, err := tx.ExecContext(ctx, `INSERT INTO batches (seq, at, body) VALUES (?, ?, ?)`,
			s.seq+uint64(i)+1, int64(b.At), data); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, settingThrough,
		strconv.FormatUint(uint64(b.Through), 10))
	return err
}

// insertBreach adds a breach, unless its id is there.
func insertBreach(ctx context.Context, tx *sql.Tx, a *Alarm, number uint64) (fresh bool, err error) {
	b := a.Breach
	result, err := tx.ExecContext(ctx, `INSERT INTO breaches (id, number, rule, class, ledger, at_risk,
		event, event_kind, event_body, application, loan, customer, trace, product, transfer, expected,
		found, differing, first_seen, decidable_at, detected_at, resolved_at, state, note, decided_by)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, '', ?)
		ON CONFLICT (id) DO NOTHING`,
		blob(b.ID), number, uint8(b.Rule), uint16(b.Class), b.Ledger, b.AtRisk.String(), blob(b.Event),
		b.EventKind.String(), a.Body, blob(b.Application), blob(b.Loan), blob(b.Customer),
		blob(b.Trace), b.Product, blob(b.Transfer), []byte(b.Expected.JSON()), []byte(b.Found.JSON()),
		strings.Join(guard.Differing(b.Expected, b.Found), ","), int64(b.FirstSeen),
		int64(b.DecidableAt), int64(b.DetectedAt), client.Open, blob(ident.ID{}))
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// insertStop adds a stop, unless it is there: it may have been taken before its breach was recorded.
func insertStop(ctx context.Context, tx *sql.Tx, p *Planned, at clock.Instant) error {
	f := &p.Freeze
	_, err := tx.ExecContext(ctx, `INSERT INTO stops (freeze, breach, number, text, record, outcome,
		detail, taken_at, expires_at, requested_by, requested_at, reason, approved_by, ended_at)
		VALUES (?, ?, ?, ?, ?, ?, '', ?, ?, ?, 0, '', ?, 0) ON CONFLICT (freeze) DO NOTHING`,
		blob(f.ID), blob(f.UserData128), p.Number, p.Text,
		ledger.EncodeFreezes(nil, []ledger.Freeze{*f}), p.Outcome, int64(at), int64(f.ExpiresAt),
		blob(ident.ID{}), blob(ident.ID{}))
	return err
}

// Verdicts returns up to limit durable batches after the one numbered after, in order.
func (s *Store) Verdicts(ctx context.Context, after uint64, limit int) (list []client.Batch, _ error) {
	rows, err := s.db.Reader().QueryContext(ctx,
		`SELECT seq, at, body FROM batches WHERE seq > ? ORDER BY seq LIMIT ?`, after, limit)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "guard.verdicts")
	}
	defer rows.Close()
	for rows.Next() {
		var b client.Batch
		if err := rows.Scan(&b.Seq, instant{&b.At}, &b.Body); err != nil {
			return nil, errs.As(errs.Corrupt, err, "guard.verdicts")
		}
		if b.Subjects, err = subjectsOf(b.Body); err != nil {
			return nil, errs.As(errs.Corrupt, err, "guard.verdicts: batch %d", b.Seq)
		}
		list = append(list, b)
	}
	return list, errs.As(errs.Internal, rows.Err(), "guard.verdicts")
}

// subjectsOf returns the subjects of an encoded batch, each once, in order of id.
func subjectsOf(encoded []byte) ([]ident.ID, error) {
	var b body
	if err := json.Unmarshal(encoded, &b); err != nil {
		return nil, err
	}
	var list []ident.ID
	for _, p := range append(b.Checked, b.Failed...) {
		list = append(list, p[0])
	}
	for _, a := range b.Alarms {
		list = append(list, a.Subject)
	}
	slices.SortFunc(list, func(x, y ident.ID) int {
		switch {
		case x == y:
			return 0
		case x.Less(y):
			return -1
		}
		return 1
	})
	list = slices.Compact(list)
	if len(list) > 0 && list[0].IsZero() {
		list = list[1:]
	}
	return list, nil
}

// Settled returns the events whose verdict stands in the batches after the one numbered after: a
// checker that goes on from there comes to them again.
func (s *Store) Settled(ctx context.Context, after uint64) (map[ident.ID]struct{}, error) {
	settled := map[ident.ID]struct{}{}
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT body FROM batches WHERE seq > ?`, after)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "guard.settled")
	}
	defer rows.Close()
	for rows.Next() {
		var encoded []byte
		var b body
		if err := rows.Scan(&encoded); err != nil {
			return nil, errs.As(errs.Corrupt, err, "guard.settled")
		}
		if err := json.Unmarshal(encoded, &b); err != nil {
			return nil, errs.As(errs.Corrupt, err, "guard.settled")
		}
		for _, p := range append(b.Checked, b.Failed...) {
			settled[p[1]] = struct{}{}
		}
		for _, id := range b.Resolved {
			settled[id] = struct{}{}
		}
	}
	return settled, errs.As(errs.Internal, rows.Err(), "guard.settled")
}

// Known reports whether a breach is stored.
func (s *Store) Known(ctx context.Context, id ident.ID) (bool, error) {
	var n int
	err := s.db.Reader().QueryRowContext(ctx, `SELECT count(*) FROM breaches WHERE id = ?`,
		blob(id)).Scan(&n)
	return n > 0, errs.As(errs.Internal, err, "guard.known")
}
