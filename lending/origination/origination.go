// Package origination takes an application to a decision, and an approved one to money in the
// customer's account.
//
// The way of an application: the form is checked and sealed; what is known of the applicant is
// counted; the features are scored by two models; the policy decides. Then the first commit stores
// the application with all that it is decided from and, where the policy approves, the events and
// the instruction that reserve the limit. The ledger reserves it. The second commit stores the
// decision, and for an approval the contract, the loan, and the event and instruction that pay it
// out. The ledger pays it out, and the caller is answered. Where the ledger refuses the
// reservation, the limit counts as used and the policy decides again, so that the stored decision
// follows from its stored inputs.
//
// # Invariants
//
// Nothing moves before it is recorded, and nothing is answered before it is durable. The same
// idempotency key is one application for ever; with another form it is refused. A crash anywhere
// leaves an application without a decision, or an instruction without a settlement, and Resume
// takes both up again.
//
// # Concurrency
//
// Applications of one customer are decided one after another, by a stripe of his id.
package origination

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/ledger"
	"surety/lending"
	"surety/lending/settlement"
	"surety/lending/store"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

// Ledger is what origination needs of the ledger.
type Ledger interface {
	settlement.Ledger
	LookupAccounts(ctx context.Context, ids []ident.ID) ([]ledger.Account, error)
}

// Sealer keeps personal data readable only while its subject's key exists.
type Sealer interface {
	Seal(ctx context.Context, subject ident.ID, plaintext []byte, binding string) ([]byte, error)
	Unseal(ctx context.Context, subject ident.ID, sealed []byte, binding string) ([]byte, error)
}

// Deps are what a desk works with.
type Deps struct {
	Store     *store.Store
	Ledger    Ledger
	Sealer    Sealer
	Finisher  *settlement.Finisher
	Catalogue Catalogue
	Clock     wallclock.Clock
	Idents    *entropy.Idents
	// Today is the business date.
	Today func() clock.Date
	// MoneyOut returns why no money may leave now, nil where it may.
	MoneyOut func() error
	// IdentityKey turns document and phone numbers into ids that only this installation can make.
	IdentityKey [32]byte
	Log         *slog.Logger
	// Decided and Paid are told how long an application took to a durable decision, and to money in
	// the account.
	Decided, Paid func(clock.Duration)
}

// Desk originates loans.
type Desk struct {
	deps  Deps
	locks [stripes]sync.Mutex
}

const (
	// stripes is how many customers can be served at once without meeting by chance too often.
	stripes = 1_024
	// keyMax bounds an idempotency key in characters.
	keyMax = 64
	// reserveSeconds is how long a reservation holds: the money follows within a second, or after
	// a restart; what is left over gives the customer his limit back within the hour.
	reserveSeconds = 3_600
	// formBinding names what is sealed, so that a sealed form opens as nothing else.
	formBinding = "lending.form"
)

// New returns a desk.
func New(deps Deps) *Desk { return &Desk{deps: deps} }

// Submission is an application as it comes in.
type Submission struct {
	Key      string // idempotency key, 1 to 64 characters; empty lets the desk choose
	Product  string // empty for the default
	Origin   string // api, file, synthetic
	Form     lending.Application
	Features map[string]string // what the platform knows, by feature name
	TruePD   int64             // of a simulated borrower, parts per million; -1 for a real one
}

// Answer is what became of a submission.
type Answer struct {
	Application store.Application
	Loan        *store.Loan // nil where none was made
}

// FormError is a form that cannot be decided: every field that is out of its limits.
type FormError struct{ Fields []lending.FieldError }

// Error names the first field and counts the others.
func (e *FormError) Error() string {
	text := "form: " + e.Fields[0].Error()
	for _, field := range e.Fields[1:] {
		text += "; " + field.Error()
	}
	return text
}

// Submit takes one application to its end: declined, referred, or paid out. Kinds: Invalid with a
// *FormError for a form out of its limits; Exists for a key that was used with another form;
// NotFound for an unknown product; Unavailable where money-out is stopped. After any other error
// nothing is known: submit again under the same key.
func (d *Desk) Submit(ctx context.Context, s Submission) (Answer, error) {
	began := d.deps.Clock.Now()
	programme, err := d.deps.Catalogue.Named(s.Product)
	if err != nil {
		return Answer{}, err
	}
	if s.Key == "" {
		s.Key = d.deps.Idents.New().String()
	}
	if len(s.Key) > keyMax {
		return Answer{}, errs.New(errs.Invalid, "idempotency_key has %d characters, the limit is %d",
			len(s.Key), keyMax)
	}
	form, err := json.Marshal(s.Form)
	if err != nil {
		return Answer{}, errs.As(errs.Internal, err, "origination.submit")
	}
	digest := d.keyed("form", s.Key, programme.Product.Name, string(form))
	answer, found, err := d.earlier(ctx, s.Key, digest)
	if err != nil || found {
		return answer, err
	}
	if fields := s.Form.Validate(&programme.Product); len(fields) > 0 {
		return Answer{}, errs.As(errs.Invalid, &FormError{fields}, "origination.submit")
	}
	if err := d.deps.MoneyOut(); err != nil {
		return Answer{}, errs.As(errs.Unavailable, err, "money-out is stopped")
	}
	f := &file{programme: programme, began: began, truePD: s.TruePD}
	f.row = store.Application{
		ID: d.deps.Idents.New(), Trace: d.deps.Idents.New(),
		Customer: ident.FromBytes([16]byte(d.part("customer", s.Form.IDNumber))),
		Phone:    ident.FromBytes([16]byte(d.part("phone", s.Form.Phone))),
		Key:      s.Key, FormDigest: digest, Origin: s.Origin, Status: store.StatusReceived,
		ReceivedAt: began, Product: programme.Product.Name, Currency: programme.Product.Currency,
		Requested: int64(s.Form.Amount.Lo), Term: s.Form.TermMonths,
	}
	lock := &d.locks[f.row.Customer.Lo%stripes]
	lock.Lock()
	defer lock.Unlock()
	return d.take(ctx, f, &s, form)
}

// take carries a new application on, the customer's lock held.
func (d *Desk) take(ctx context.Context, f *file, s *Submission, form []byte) (Answer, error) {
	sealed := make(chan error, 1)
	go func() { // the first seal of a customer waits for a disk of its own
		var err error
		f.row.SealedForm, err = d.deps.Sealer.Seal(ctx, f.row.Customer, form, formBinding)
		sealed <- err
	}()
	f.row.BusinessDate = d.deps.Today()
	assessed := d.assess(ctx, f, s)
	if err := <-sealed; err != nil {
		return Answer{}, errs.Wrap(err, "origination.submit: the form cannot be sealed")
	}
	if assessed != nil {
		return Answer{}, assessed
	}
	err := d.receive(ctx, f)
	if errs.Is(err, errs.Exists) { // another caller with the same key came first
		answer, found, earlier := d.earlier(ctx, f.row.Key, f.row.FormDigest)
		if earlier != nil || found {
			return answer, earlier
		}
	}
	if err != nil {
		return Answer{}, err
	}
	return d.conclude(ctx, f)
}

// earlier returns the answer to a key that was used before.
func (d *Desk) earlier(ctx context.Context, key string, digest [32]byte) (answer Answer, found bool, _ error) {
	row, err := d.deps.Store.ApplicationByKey(ctx, key)
	if errs.Is(err, errs.NotFound) {
		return Answer{}, false, nil
	}
	if err != nil {
		return Answer{}, false, err
	}
	if row.FormDigest != digest {
		return Answer{}, true, errs.New(errs.Exists,
			"idempotency key %q was used for another form: application %s", key, row.ID)
	}
	if row.Outcome == "" || row.Status == store.StatusApproved {
		// It is on its way: its customer's lock is held until it is through.
		lock := &d.locks[row.Customer.Lo%stripes]
		lock.Lock()
		lock.Unlock() //nolint:staticcheck // waiting is all that is wanted
		if err := d.deps.Finisher.Flush(ctx); err != nil {
			return Answer{}, true, err
		}
		if row, err = d.deps.Store.Application(ctx, row.ID); err != nil {
			return Answer{}, true, err
		}
	}
	answer, err = d.answer(ctx, row)
	return answer, true, err
}

// answer joins an application with its loan.
func (d *Desk) answer(ctx context.Context, row store.Application) (Answer, error) {
	a := Answer{Application: row}
	if row.Loan.IsZero() {
		return a, nil
	}
	loan, err := d.deps.Store.Loan(ctx, row.Loan)
	a.Loan = &loan
	return a, err
}

// Form opens the sealed form of an application; kind Refused where the applicant was erased.
func (d *Desk) Form(ctx context.Context, row *store.Application) (lending.Application, error) {
	plain, err := d.deps.Sealer.Unseal(ctx, row.Customer, row.SealedForm, formBinding)
	if err != nil {
		return lending.Application{}, err
	}
	var form lending.Application
	err = json.Unmarshal(plain, &form)
	return form, errs.As(errs.Corrupt, err, "origination.form: %s", row.ID)
}

// keyed returns an HMAC over the texts, each with its length before it.
func (d *Desk) keyed(texts ...string) [32]byte {
	mac := hmac.New(sha256.New, d.deps.IdentityKey[:])
	for _, text := range texts {
		var size [4]byte
		n := len(text)
		size[0], size[1], size[2], size[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
		mac.Write(size[:])
		mac.Write([]byte(text))
	}
	return [32]byte(mac.Sum(nil))
}

func (d *Desk) part(texts ...string) []byte {
	sum := d.keyed(texts...)
	return sum[:16]
}
