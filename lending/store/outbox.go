package store

import (
	"context"
	"database/sql"

	"surety/api/event"
	"surety/base/errs"
	"surety/base/ident"
)

// Emit appends events to the outbox in order. An event whose id is there already is an error of
// kind Exists: acts are driven again from their instruction, never written twice.
func Emit(events ...*event.Event) Write {
	return func(ctx context.Context, tx *sql.Tx) error {
		var seq uint64
		err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(seq), 0) FROM outbox`).Scan(&seq)
		if err != nil {
			return err
		}
		for _, e := range events {
			seq++
			if err := insertEvent(ctx, tx, seq, e); err != nil {
				return err
			}
		}
		return nil
	}
}

func insertEvent(ctx context.Context, tx *sql.Tx, seq uint64, e *event.Event) error {
	body, err := e.Encode()
	if err != nil {
		return err
	}
	subject := e.Loan
	if subject.IsZero() {
		subject = e.Application
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO outbox (seq, id, subject, body) VALUES (?, ?, ?, ?)`,
		seq, must(e.ID), must(subject), body)
	return err
}

// Stored is an event with the bytes that were written, which evidence commits to.
type Stored struct {
	event.Event
	Body []byte
}

// Events returns up to limit durable events after the sequence number, in order.
func (s *Store) Events(ctx context.Context, after uint64, limit int) ([]event.Event, error) {
	stored, err := s.StoredEvents(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	events := make([]event.Event, len(stored))
	for i := range stored {
		events[i] = stored[i].Event
	}
	return events, nil
}

// StoredEvents is Events with the stored bytes.
func (s *Store) StoredEvents(ctx context.Context, after uint64, limit int) ([]Stored, error) {
	rows, err := s.db.Reader().QueryContext(ctx,
		`SELECT seq, body FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?`, after, limit)
	return collectEvents(rows, err)
}

// SubjectEvents returns the events of a loan or application, oldest first, at most EventsMax.
func (s *Store) SubjectEvents(ctx context.Context, subject ident.ID) ([]Stored, error) {
	rows, err := s.db.Reader().QueryContext(ctx,
		`SELECT seq, body FROM outbox WHERE subject = ? ORDER BY seq LIMIT ?`, must(subject), EventsMax)
	return collectEvents(rows, err)
}

// HasEvent reports whether the event with the id was written.
func (s *Store) HasEvent(ctx context.Context, id ident.ID) (has bool, _ error) {
	err := s.db.Reader().QueryRowContext(ctx,
		`SELECT EXISTS (SELECT 1 FROM outbox WHERE id = ?)`, must(id)).Scan(&has)
	return has, failed(err, "store.event: %s", id)
}

// EventByID returns the event with the id; kind NotFound where there is none.
func (s *Store) EventByID(ctx context.Context, id ident.ID) (Stored, error) {
	rows, err := s.db.Reader().QueryContext(ctx,
		`SELECT seq, body FROM outbox WHERE id = ?`, must(id))
	events, err := collectEvents(rows, err)
	if err != nil {
		return Stored{}, err
	}
	if len(events) == 0 {
		return Stored{}, errs.New(errs.NotFound, "store.event: %s: not found", id)
	}
	return events[0], nil
}

func collectEvents(rows *sql.Rows, err error) (events []Stored, _ error) {
	if err != nil {
		return nil, failed(err, "store.events")
	}
	defer rows.Close()
	for rows.Next() {
		var seq uint64
		var body []byte
		if err := rows.Scan(&seq, &body); err != nil {
			return nil, damaged(err, "store.events")
		}
		e, err := event.Decode(body)
		if err != nil {
			return nil, damaged(err, "store.events: event %d", seq)
		}
		e.Seq = seq
		events = append(events, Stored{Event: e, Body: body})
	}
	return events, failed(rows.Err(), "store.events")
}

// LastEvent returns the sequence number of the newest durable event, zero where there is none.
func (s *Store) LastEvent() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// Wait returns once an event after the sequence number is durable, or ctx ends (kind Canceled).
func (s *Store) Wait(ctx context.Context, after uint64) error {
	for {
		s.mu.Lock()
		last, changed := s.last, s.changed
		s.mu.Unlock()
		if last > after {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errs.As(errs.Canceled, ctx.Err(), "store.wait: event %d", after+1)
		}
	}
}
