package store

import (
	"context"
	"database/sql"

	"surety/base/ident"
)

// Instruction is money to move for one event: written with the event, removed once the ledger has
// answered. What is left after a crash is driven again; ids make that harmless.
type Instruction struct {
	Event       ident.ID
	Number      uint64 // order among those not settled, assigned by Instruct
	Kind        string // the event's
	Application ident.ID
	Loan        ident.ID
	Body        []byte // as ledger records, encoded by the caller
	Undo        []byte // what the caller needs to take the act back where the ledger refuses it
}

// Instruct adds an instruction, after all earlier ones.
func Instruct(i *Instruction) Write {
	return func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO instructions (event, number, kind, application, loan,
			body, undo) VALUES (?, (SELECT COALESCE(MAX(number), 0) + 1 FROM instructions),
			?, ?, ?, ?, ?)`, must(i.Event), i.Kind, must(i.Application), must(i.Loan), i.Body, i.Undo)
		return err
	}
}

// Settle removes the instruction of an event; where there is none nothing happens.
func Settle(event ident.ID) Write {
	return func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM instructions WHERE event = ?`, must(event))
		return err
	}
}

const instructionColumns = `event, number, kind, application, loan, body, undo`

// Instructions returns up to limit of those that are not settled, oldest first, after a number;
// zero begins at the oldest.
func (s *Store) Instructions(ctx context.Context, after uint64, limit int) ([]Instruction, error) {
	return s.instructions(ctx, `SELECT `+instructionColumns+`
		FROM instructions WHERE number > ? ORDER BY number LIMIT ?`, after, limit)
}

// ApplicationInstructions returns those of one application that are not settled, oldest first.
func (s *Store) ApplicationInstructions(ctx context.Context, application ident.ID) ([]Instruction,
	error) {
	return s.instructions(ctx, `SELECT `+instructionColumns+`
		FROM instructions WHERE application = ? ORDER BY number`, must(application))
}

func (s *Store) instructions(ctx context.Context, query string, args ...any) (list []Instruction,
	_ error) {
	rows, err := s.db.Reader().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, failed(err, "store.instructions")
	}
	defer rows.Close()
	for rows.Next() {
		var i Instruction
		err := rows.Scan(identifier{&i.Event}, &i.Number, &i.Kind, identifier{&i.Application},
			identifier{&i.Loan}, &i.Body, &i.Undo)
		if err != nil {
			return nil, damaged(err, "store.instructions")
		}
		list = append(list, i)
	}
	return list, failed(rows.Err(), "store.instructions")
}
