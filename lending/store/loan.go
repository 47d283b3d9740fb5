package store

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"strings"

	"surety/base/clock"
	"surety/base/ident"
)

// The statuses of a loan.
const (
	LoanApproved   = "approved" // contracted, money instructed
	LoanActive     = "active"
	LoanClosed     = "closed"
	LoanWrittenOff = "written_off"
	LoanCancelled  = "cancelled" // the ledger refused the disbursement
)

// Loan is a row: the contract, the state that events have brought it to, and when to look at it
// next.
type Loan struct {
	ID             ident.ID
	Number         uint64 // assigned by InsertLoan
	Application    ident.ID
	Customer       ident.ID
	Trace          ident.ID
	Product        string
	Currency       string
	Origin         string
	Status         string
	Contract       []byte
	ContractDigest [32]byte
	ContractEvent  ident.ID
	State          []byte
	NextAction     clock.Date
	OldestDue      clock.Date // of the oldest unpaid instalment that is due; zero where none is
	DisbursedAt    clock.Instant
	TruePD         int64 // parts per million, of a simulated borrower; -1 for a real one
}

// Page asks for rows newest first.
type Page struct {
	Filter string // outcome or status; empty for all
	Before uint64 // number of the last row seen; zero starts at the newest
	Limit  int    // at most PageMax; zero means 50
}

func (p Page) limit() int {
	if p.Limit <= 0 {
		return 50
	}
	return min(p.Limit, PageMax)
}

// InsertLoan adds a loan and numbers it.
func InsertLoan(l *Loan) Write {
	return func(ctx context.Context, tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(number), 0) + 1 FROM loans`).Scan(&l.Number)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO loans (id, number, application, customer, trace,
			product, currency, origin, status, contract, contract_digest, contract_event, state,
			next_action, oldest_due, disbursed_at, true_pd_ppm)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			must(l.ID), l.Number, must(l.Application), must(l.Customer), must(l.Trace), l.Product,
			l.Currency, l.Origin, l.Status, l.Contract, l.ContractDigest[:], must(l.ContractEvent),
			l.State, int32(l.NextAction), int32(l.OldestDue), int64(l.DisbursedAt), l.TruePD)
		return err
	}
}

// UpdateLoan stores a loan's status, state and next action.
func UpdateLoan(l *Loan) Write {
	return func(ctx context.Context, tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE loans SET status = ?, state = ?, next_action = ?,
			oldest_due = ?, disbursed_at = ? WHERE id = ?`, l.Status, l.State, int32(l.NextAction),
			int32(l.OldestDue), int64(l.DisbursedAt), must(l.ID))
		return oneRow(result, err, "store.loan: "+l.ID.String()+" does not exist")
	}
}

const loanColumns = `id, number, application, customer, trace, product, currency, origin, status,
	contract, contract_digest, contract_event, state, next_action, oldest_due, disbursed_at, true_pd_ppm`

func scanLoan(row interface{ Scan(...any) error }) (Loan, error) {
	var l Loan
	err := row.Scan(identifier{&l.ID}, &l.Number, identifier{&l.Application}, identifier{&l.Customer},
		identifier{&l.Trace}, &l.Product, &l.Currency, &l.Origin, &l.Status, &l.Contract,
		digest{&l.ContractDigest}, identifier{&l.ContractEvent}, &l.State, &l.NextAction,
		&l.OldestDue, instant{&l.DisbursedAt}, &l.TruePD)
	return l, err
}

// Loan returns the loan with the id; kind NotFound where there is none.
func (s *Store) Loan(ctx context.Context, id ident.ID) (Loan, error) {
	l, err := scanLoan(s.db.Reader().QueryRowContext(ctx,
		`SELECT `+loanColumns+` FROM loans WHERE id = ?`, must(id)))
	return l, found(err, "store.loan: %s", id)
}

// Loans returns a page of loans, newest first, of one status or of all.
func (s *Store) Loans(ctx context.Context, p Page) ([]Loan, error) {
	var conditions []string
	var args []any
	if p.Filter != "" {
		conditions, args = append(conditions, "status = ?"), append(args, p.Filter)
	}
	if p.Before != 0 {
		conditions, args = append(conditions, "number < ?"), append(args, p.Before)
	}
	query := `SELECT ` + loanColumns + ` FROM loans`
	if len(conditions) > 0 {
		query += ` WHERE ` + strings.Join(conditions, " AND ")
	}
	return s.loans(ctx, query+` ORDER BY number DESC LIMIT ?`, append(args, p.limit())...)
}

// DueLoans returns up to DueMax loans that must be looked at by the date, oldest date first: active
// ones, and ones written off of which something is left to do. After names the last loan of the
// page before, nil begins.
func (s *Store) DueLoans(ctx context.Context, by clock.Date, after *Loan) ([]Loan, error) {
	if after == nil {
		after = &Loan{NextAction: math.MinInt32}
	}
	return s.loans(ctx, `SELECT `+loanColumns+` FROM loans
		WHERE status IN ('active', 'written_off') AND next_action <= ? AND (next_action, id) > (?, ?)
		ORDER BY next_action, id LIMIT ?`,
		int32(by), int32(after.NextAction), must(after.ID), DueMax)
}

func (s *Store) loans(ctx context.Context, query string, args ...any) (list []Loan, _ error) {
	rows, err := s.db.Reader().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, failed(err, "store.loans")
	}
	defer rows.Close()
	for rows.Next() {
		l, err := scanLoan(rows)
		if err != nil {
			return nil, damaged(err, "store.loans")
		}
		list = append(list, l)
	}
	return list, failed(rows.Err(), "store.loans")
}

// CustomerLoans returns a customer's loans that were not cancelled, oldest first, at most PageMax.
func (s *Store) CustomerLoans(ctx context.Context, customer ident.ID) ([]Loan, error) {
	return s.loans(ctx, `SELECT `+loanColumns+` FROM loans
		WHERE customer = ? AND status <> 'cancelled' ORDER BY number LIMIT ?`, must(customer), PageMax)
}

// ActivateLoan notes that the money of an approved loan is out; a loan that is further on stays as
// it is.
func ActivateLoan(id ident.ID, at clock.Instant) Write {
	return func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE loans SET status = 'active', disbursed_at = ?
			WHERE id = ? AND status = 'approved'`, int64(at), must(id))
		return err
	}
}

// CountLate counts the active loans with an instalment that was due before the date and is unpaid.
func (s *Store) CountLate(ctx context.Context, on clock.Date) (n uint64, _ error) {
	err := s.db.Reader().QueryRowContext(ctx, `SELECT COUNT(*) FROM loans
		WHERE status = 'active' AND oldest_due > 0 AND oldest_due < ?`, int32(on)).Scan(&n)
	return n, failed(err, "store.late")
}

// Repayment remembers the answer to a channel's reference, so that a repeat moves nothing.
type Repayment struct {
	Reference string
	Loan      ident.ID
	Amount    int64 // minor units
	Event     ident.ID
	Result    []byte
}

// InsertRepayment adds a repayment; kind Exists where the reference is taken.
func InsertRepayment(r *Repayment) Write {
	return func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO repayments (reference, loan, amount, event, result)
			VALUES (?, ?, ?, ?, ?)`, r.Reference, must(r.Loan), r.Amount, must(r.Event), r.Result)
		return err
	}
}

// DeleteRepayment takes a repayment back that the ledger refused, so that it may be tried again.
func DeleteRepayment(reference string) Write {
	return func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM repayments WHERE reference = ?`, reference)
		return err
	}
}

// Repayment returns what was answered to a reference; found is false where it was never used.
func (s *Store) Repayment(ctx context.Context, reference string) (r Repayment, found bool, _ error) {
	err := s.db.Reader().QueryRowContext(ctx, `SELECT reference, loan, amount, event, result
		FROM repayments WHERE reference = ?`, reference).Scan(&r.Reference, identifier{&r.Loan},
		&r.Amount, identifier{&r.Event}, &r.Result)
	if errors.Is(err, sql.ErrNoRows) {
		return Repayment{}, false, nil
	}
	return r, err == nil, failed(err, "store.repayment")
}
