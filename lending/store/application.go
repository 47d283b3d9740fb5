package store

import (
	"context"
	"database/sql"
	"strings"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
)

// The statuses of an application.
const (
	StatusReceived  = "received"  // stored, not yet decided
	StatusApproved  = "approved"  // decided and contracted, money instructed
	StatusDeclined  = "declined"  //
	StatusReferred  = "referred"  // waits for a person
	StatusDisbursed = "disbursed" // money is in the account
	StatusCancelled = "cancelled" // approved, but the ledger refused the money
)

// Application is a row: what was asked, from what it is decided, and what was decided.
type Application struct {
	ID              ident.ID
	Number          uint64 // order of arrival, assigned by Insert
	Trace           ident.ID
	Customer        ident.ID
	Phone           ident.ID // keyed digest
	Key             string   // idempotency key
	FormDigest      [32]byte
	SealedForm      []byte
	Origin          string
	Status          string
	ReceivedAt      clock.Instant
	BusinessDate    clock.Date
	Product         string
	Currency        string
	Requested       int64 // minor units
	Term            int   // months
	Inputs          []byte
	Outcome         string // empty until decided
	Decision        []byte
	DecidedAt       clock.Instant
	Micros          int64 // from receipt to durable decision
	Loan            ident.ID
	ReviewRequested bool
	CancelledReason string
}

// InsertApplication adds an application and its customer, and numbers it. Kind Exists where the
// idempotency key is taken.
func InsertApplication(a *Application) Write {
	return func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO customers (id, phone, created_at) VALUES (?, ?, ?)
			ON CONFLICT (id) DO NOTHING`, must(a.Customer), must(a.Phone), int64(a.ReceivedAt))
		if err != nil {
			return err
		}
		err = tx.QueryRowContext(ctx,
			`SELECT COALESCE(MAX(number), 0) + 1 FROM applications`).Scan(&a.Number)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO applications (id, number, trace, customer, phone,
			idempotency_key, form_digest, sealed_form, origin, status, received_at, business_date,
			product, currency, requested, term, inputs, outcome, decision, decided_at, micros, loan,
			review_requested, cancelled_reason)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', NULL, 0, 0, NULL, 0, '')`,
			must(a.ID), a.Number, must(a.Trace), must(a.Customer), must(a.Phone), a.Key,
			a.FormDigest[:], a.SealedForm, a.Origin, a.Status, int64(a.ReceivedAt), int32(a.BusinessDate),
			a.Product, a.Currency, a.Requested, a.Term, a.Inputs)
		return err
	}
}

// DecideApplication stores the decision of an application that has none, and the inputs it was
// computed from.
func DecideApplication(a *Application) Write {
	return func(ctx context.Context, tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE applications SET status = ?, outcome = ?,
			inputs = ?, decision = ?, decided_at = ?, micros = ?, loan = ?
			WHERE id = ? AND outcome = ''`, a.Status, a.Outcome, a.Inputs, a.Decision,
			int64(a.DecidedAt), a.Micros, blob(a.Loan), must(a.ID))
		return oneRow(result, err, "store.decide: application "+a.ID.String()+" is decided already")
	}
}

// SetApplicationStatus moves an application on, with a reason where it is cancelled.
func SetApplicationStatus(id ident.ID, status, reason string) Write {
	return func(ctx context.Context, tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx,
			`UPDATE applications SET status = ?, cancelled_reason = ? WHERE id = ?`,
			status, reason, must(id))
		return oneRow(result, err, "store.status: application "+id.String()+" does not exist")
	}
}

// RequestReview marks an application for a person to look at.
func RequestReview(id ident.ID) Write {
	return func(ctx context.Context, tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx,
			`UPDATE applications SET review_requested = 1 WHERE id = ?`, must(id))
		return oneRow(result, err, "store.review: application "+id.String()+" does not exist")
	}
}

func oneRow(result sql.Result, err error, text string) error {
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err != nil {
		return err
	}
	if n != 1 {
		return errs.New(errs.NotFound, "%s", text)
	}
	return nil
}

const applicationColumns = `id, number, trace, customer, phone, idempotency_key, form_digest,
	sealed_form, origin, status, received_at, business_date, product, currency, requested, term,
	inputs, outcome, decision, decided_at, micros, loan, review_requested, cancelled_reason`

func scanApplication(row interface{ Scan(...any) error }) (Application, error) {
	var a Application
	err := row.Scan(identifier{&a.ID}, &a.Number, identifier{&a.Trace}, identifier{&a.Customer},
		identifier{&a.Phone}, &a.Key, digest{&a.FormDigest}, &a.SealedForm, &a.Origin, &a.Status,
		instant{&a.ReceivedAt}, &a.BusinessDate, &a.Product, &a.Currency, &a.Requested, &a.Term,
		&a.Inputs, &a.Outcome, &a.Decision, instant{&a.DecidedAt}, &a.Micros, identifier{&a.Loan},
		&a.ReviewRequested, &a.CancelledReason)
	return a, err
}

// Application returns the application with the id; kind NotFound where there is none.
func (s *Store) Application(ctx context.Context, id ident.ID) (Application, error) {
	a, err := scanApplication(s.db.Reader().QueryRowContext(ctx,
		`SELECT `+applicationColumns+` FROM applications WHERE id = ?`, must(id)))
	return a, found(err, "store.application: %s", id)
}

// ApplicationByKey returns the application sent under an idempotency key; kind NotFound where
// there is none.
func (s *Store) ApplicationByKey(ctx context.Context, key string) (Application, error) {
	a, err := scanApplication(s.db.Reader().QueryRowContext(ctx,
		`SELECT `+applicationColumns+` FROM applications WHERE idempotency_key = ?`, key))
	return a, found(err, "store.application: key %q", key)
}

// Applications returns up to limit applications before a number (zero: from the newest), newest
// first, of one outcome or of all.
func (s *Store) Applications(ctx context.Context, p Page) ([]Application, error) {
	var conditions []string
	var args []any
	if p.Filter != "" {
		conditions, args = append(conditions, "outcome = ?"), append(args, p.Filter)
	}
	if p.Before != 0 {
		conditions, args = append(conditions, "number < ?"), append(args, p.Before)
	}
	return s.applications(ctx, conditions, args, p.limit(), "DESC")
}

// Undecided returns up to limit applications that were received and not decided, oldest first, after
// a number; zero begins at the oldest.
func (s *Store) Undecided(ctx context.Context, after uint64, limit int) ([]Application, error) {
	return s.applications(ctx, []string{"outcome = ''", "number > ?"}, []any{after}, limit, "ASC")
}

func (s *Store) applications(ctx context.Context, conditions []string, args []any, limit int,
	order string) (list []Application, _ error) {
	query := `SELECT ` + applicationColumns + ` FROM applications`
	if len(conditions) > 0 {
		query += ` WHERE ` + strings.Join(conditions, " AND ")
	}
	rows, err := s.db.Reader().QueryContext(ctx, query+` ORDER BY number `+order+` LIMIT ?`,
		append(args, limit)...)
	if err != nil {
		return nil, failed(err, "store.applications")
	}
	defer rows.Close()
	for rows.Next() {
		a, err := scanApplication(rows)
		if err != nil {
			return nil, damaged(err, "store.applications")
		}
		list = append(list, a)
	}
	return list, failed(rows.Err(), "store.applications")
}

// Velocity counts what was asked before by the same customer and under the same phone number.
type Velocity struct {
	Before     bool   // the customer has applied before, on whatever date
	Open       uint32 // received or approved, and not at their end
	Day, Month uint32 // by the customer, on the date and in the 30 days up to it
	PhoneDay   uint32 // under the phone number, on the date
}

// Velocity counts what was asked before, as of a business date.
func (s *Store) Velocity(ctx context.Context, customer, phone ident.ID, on clock.Date) (Velocity,
	error) {
	var v Velocity
	err := s.db.Reader().QueryRowContext(ctx, `SELECT
		EXISTS (SELECT 1 FROM applications WHERE customer = ?),
		(SELECT COUNT(*) FROM applications WHERE customer = ? AND status IN ('received', 'approved')),
		(SELECT COUNT(*) FROM applications WHERE customer = ? AND business_date = ?),
		(SELECT COUNT(*) FROM applications WHERE customer = ? AND business_date > ?),
		(SELECT COUNT(*) FROM applications WHERE phone = ? AND business_date = ?)`,
		must(customer), must(customer), must(customer), int32(on), must(customer), int32(on)-30,
		must(phone), int32(on)).Scan(&v.Before, &v.Open, &v.Day, &v.Month, &v.PhoneDay)
	return v, failed(err, "store.velocity")
}

// Counts holds how many rows there are by outcome or status.
type Counts map[string]uint64

// CountApplications counts decided applications by outcome.
func (s *Store) CountApplications(ctx context.Context) (Counts, error) {
	return s.count(ctx, `SELECT outcome, COUNT(*) FROM applications GROUP BY outcome`)
}

// CountLoans counts loans by status.
func (s *Store) CountLoans(ctx context.Context) (Counts, error) {
	return s.count(ctx, `SELECT status, COUNT(*) FROM loans GROUP BY status`)
}

func (s *Store) count(ctx context.Context, query string) (Counts, error) {
	rows, err := s.db.Reader().QueryContext(ctx, query)
	if err != nil {
		return nil, failed(err, "store.count")
	}
	defer rows.Close()
	counts := Counts{}
	for rows.Next() {
		var name string
		var n uint64
		if err := rows.Scan(&name, &n); err != nil {
			return nil, damaged(err, "store.count")
		}
		counts[name] = n
	}
	return counts, failed(rows.Err(), "store.count")
}
