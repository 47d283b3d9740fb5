package store

import (
	"context"
	"database/sql"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/guard/client"
	"surety/ledger"
)

const stopColumns = `freeze, breach, text, outcome, detail, taken_at, expires_at, requested_by,
	requested_at, reason, approved_by, ended_at`

func (s *Store) stops(ctx context.Context, where string, args ...any) (list []client.Stop, _ error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT `+stopColumns+` FROM stops WHERE `+where+
		` ORDER BY breach, number`, args...)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "guard.stops")
	}
	defer rows.Close()
	for rows.Next() {
		var p client.Stop
		if err := rows.Scan(identifier{&p.Freeze}, identifier{&p.Breach}, &p.Text, &p.Outcome, &p.Detail,
			instant{&p.TakenAt}, instant{&p.ExpiresAt}, identifier{&p.RequestedBy},
			instant{&p.RequestedAt}, &p.Reason, identifier{&p.ApprovedBy}, instant{&p.EndedAt}); err != nil {
			return nil, errs.As(errs.Corrupt, err, "guard.stops")
		}
		list = append(list, p)
	}
	return list, errs.As(errs.Internal, rows.Err(), "guard.stops")
}

// Stop returns one stop; kind NotFound.
func (s *Store) Stop(ctx context.Context, freeze ident.ID) (client.Stop, error) {
	list, err := s.stops(ctx, `freeze = ?`, blob(freeze))
	if err == nil && len(list) == 0 {
		err = errs.New(errs.NotFound, "guard.stop: %s: not found", freeze)
	}
	if err != nil {
		return client.Stop{}, err
	}
	return list[0], nil
}

// Unfinished returns the freezes that were planned and of which it is not known whether they are in
// force, in order.
func (s *Store) Unfinished(ctx context.Context) (list []ledger.Freeze, _ error) {
	rows, err := s.db.Reader().QueryContext(ctx,
		`SELECT record FROM stops WHERE outcome = 'planned' ORDER BY taken_at, breach, number`)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "guard.unfinished")
	}
	defer rows.Close()
	for rows.Next() {
		var record []byte
		if err := rows.Scan(&record); err != nil {
			return nil, errs.As(errs.Corrupt, err, "guard.unfinished")
		}
		if list, err = ledger.DecodeFreezes(list, record); err != nil {
			return nil, errs.As(errs.Corrupt, err, "guard.unfinished")
		}
	}
	return list, errs.As(errs.Internal, rows.Err(), "guard.unfinished")
}

// Finished is what became of a planned stop.
type Finished struct {
	Freeze          ident.ID
	Outcome, Detail string
}

// FinishStops notes what became of planned stops; those that are not planned any more stay as they
// are.
func (s *Store) FinishStops(ctx context.Context, list []Finished, at clock.Instant) error {
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		for _, f := range list {
			if _, err := tx.ExecContext(ctx, `UPDATE stops SET outcome = ?, detail = ?, taken_at = ?
				WHERE freeze = ? AND outcome = 'planned'`, f.Outcome, f.Detail, int64(at),
				blob(f.Freeze)); err != nil {
				return err
			}
		}
		return nil
	})
	return errs.Wrap(err, "guard.stop: %d stops", len(list))
}

// EndStop notes that a stop is not in force any more.
func (s *Store) EndStop(ctx context.Context, freeze ident.ID, outcome string, at clock.Instant) error {
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE stops SET outcome = ?, ended_at = ?
			WHERE freeze = ? AND ended_at = 0`, outcome, int64(at), blob(freeze))
		return err
	})
	return errs.Wrap(err, "guard.stop: %s", freeze)
}

// RequestRelease notes that a person asks for the release of a stop in force. Kinds NotFound;
// Refused where the stop is not in force or was asked for already; Invalid without a reason.
func (s *Store) RequestRelease(ctx context.Context, freeze, actor ident.ID, reason string,
	at clock.Instant) error {
	if reason == "" || len(reason) > noteMax {
		return errs.New(errs.Invalid, "guard.release: a reason of %d bytes, want 1 to %d", len(reason),
			noteMax)
	}
	p, err := s.Stop(ctx, freeze)
	switch {
	case err != nil:
		return err
	case p.Outcome != client.StopInForce:
		return errs.New(errs.Refused, "guard.release: stop %s is %s, not in force", freeze, p.Outcome)
	case !p.RequestedBy.IsZero():
		return errs.New(errs.Refused, "guard.release: the release of %s was asked for already", freeze)
	}
	err = s.db.Write(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE stops SET requested_by = ?, requested_at = ?,
			reason = ? WHERE freeze = ? AND requested_at = 0 AND outcome = 'in_force'`, blob(actor),
			int64(at), reason, blob(freeze))
		return oneRow(result, err, errs.New(errs.Refused, "the stop has changed meanwhile"))
	})
	return errs.Wrap(err, "guard.release: %s", freeze)
}

// Approve notes who released a stop with the person who asked.
func (s *Store) Approve(ctx context.Context, freeze, actor ident.ID, at clock.Instant) error {
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE stops SET approved_by = ?, outcome = 'released',
			ended_at = ? WHERE freeze = ?`, blob(actor), int64(at), blob(freeze))
		return err
	})
	return errs.Wrap(err, "guard.release: %s", freeze)
}
