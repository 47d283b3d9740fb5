package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/guard"
	"surety/guard/client"
)

const breachColumns = `id, rule, class, ledger, at_risk, event, event_kind, event_body, application,
	loan, customer, trace, product, transfer, expected, found, differing, first_seen, decidable_at,
	detected_at, resolved_at, state, note, decided_by`

func scanBreach(row interface{ Scan(...any) error }) (client.Breach, error) {
	var b client.Breach
	var rule uint8
	var class uint16
	var number uint32
	var atRisk, differing string
	var eventBody, expected, found []byte
	err := row.Scan(identifier{&b.ID}, &rule, &class, &number, &atRisk, identifier{&b.Event},
		&b.EventKind, &eventBody, identifier{&b.Application}, identifier{&b.Loan},
		identifier{&b.Customer}, identifier{&b.Trace}, &b.Product, identifier{&b.Transfer},
		&expected, &found, &differing, instant{&b.FirstSeen}, instant{&b.DecidableAt},
		instant{&b.DetectedAt}, instant{&b.ResolvedAt}, &b.State, &b.Note, identifier{&b.By})
	if err != nil {
		return client.Breach{}, err
	}
	info, _ := guard.Class(class).Info()
	b.Class, b.Title, b.Severity = guard.Class(class).String(), info.Title, info.Severity.String()
	b.Rule, b.Text = guard.Rule(rule).String(), guard.Rule(rule).Info().Text
	b.EventBody, b.Expected, b.Found = string(eventBody), string(expected), string(found)
	if differing != "" {
		b.Differing = strings.Split(differing, ",")
	}
	if currency, err := money.CurrencyByNumber(number); err == nil {
		b.Currency = currency.Code
	}
	b.AtRisk, err = money.ParseMinor(atRisk)
	return b, err
}

// BreachesMax bounds a page of breaches.
const BreachesMax = 200

// Breaches returns breaches, newest first.
func (s *Store) Breaches(ctx context.Context, f client.Filter) (list []client.Breach, _ error) {
	limit := f.Limit
	if limit <= 0 {
		limit = 50
	}
	query, args := `SELECT `+breachColumns+` FROM breaches WHERE 1 = 1`, []any{}
	if f.State != "" {
		query, args = query+` AND state = ?`, append(args, f.State)
	}
	if !f.Subject.IsZero() {
		query += ` AND (loan = ? OR application = ? OR customer = ? OR event = ?)`
		id := blob(f.Subject)
		args = append(args, id, id, id, id)
	}
	rows, err := s.db.Reader().QueryContext(ctx, query+` ORDER BY number DESC LIMIT ?`,
		append(args, min(limit, BreachesMax))...)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "guard.breaches")
	}
	defer rows.Close()
	for rows.Next() {
		b, err := scanBreach(rows)
		if err != nil {
			return nil, errs.As(errs.Corrupt, err, "guard.breaches")
		}
		list = append(list, b)
	}
	if err := rows.Err(); err != nil {
		return nil, errs.As(errs.Internal, err, "guard.breaches")
	}
	for i := range list {
		if list[i].Stops, err = s.stops(ctx, `breach = ?`, blob(list[i].ID)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Breach returns one breach with its stops; kind NotFound.
func (s *Store) Breach(ctx context.Context, id ident.ID) (client.Breach, error) {
	b, err := scanBreach(s.db.Reader().QueryRowContext(ctx,
		`SELECT `+breachColumns+` FROM breaches WHERE id = ?`, blob(id)))
	if errors.Is(err, sql.ErrNoRows) {
		return b, errs.New(errs.NotFound, "guard.breach: %s: not found", id)
	}
	if err != nil {
		return b, errs.As(errs.Corrupt, err, "guard.breach: %s", id)
	}
	b.Stops, err = s.stops(ctx, `breach = ?`, blob(id))
	return b, err
}

// Tally is how many breaches there are, and how many open ones each rule has.
type Tally struct {
	Open, Total int
	ByRule      map[guard.Rule]int
}

// Tally counts the breaches.
func (s *Store) Tally(ctx context.Context) (Tally, error) {
	t := Tally{ByRule: map[guard.Rule]int{}}
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT rule, state = 'open', count(*) FROM breaches
		GROUP BY rule, state = 'open'`)
	if err != nil {
		return t, errs.As(errs.Internal, err, "guard.tally")
	}
	defer rows.Close()
	for rows.Next() {
		var rule uint8
		var open bool
		var n int
		if err := rows.Scan(&rule, &open, &n); err != nil {
			return t, errs.As(errs.Corrupt, err, "guard.tally")
		}
		t.Total += n
		if open {
			t.Open += n
			t.ByRule[guard.Rule(rule)] += n
		}
	}
	return t, errs.As(errs.Internal, rows.Err(), "guard.tally")
}

// noteMax bounds what a person writes.
const noteMax = 1024

// Resolve sets what people made of a breach. Kinds Invalid for a state that is not one of three or
// a note that is empty or too long, NotFound.
func (s *Store) Resolve(ctx context.Context, r client.Resolution) error {
	switch {
	case r.State != client.Confirmed && r.State != client.False && r.State != client.Drilled:
		return errs.New(errs.Invalid, "guard.resolve: state %q, want confirmed, false or drilled", r.State)
	case r.Note == "" || len(r.Note) > noteMax:
		return errs.New(errs.Invalid, "guard.resolve: a note of %d bytes, want 1 to %d", len(r.Note), noteMax)
	}
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE breaches SET state = ?, note = ?, decided_by = ?
			WHERE id = ?`, r.State, r.Note, blob(r.By), blob(r.Breach))
		return oneRow(result, err, errs.New(errs.NotFound, "breach %s", r.Breach))
	})
	return errs.Wrap(err, "guard.resolve")
}

// oneRow turns a change of no row into an error.
func oneRow(result sql.Result, err, none error) error {
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		return none
	}
	return err
}
