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
// idempotency key is one application for ever; with another form it is refused. A crash or an error
// anywhere leaves an application without a decision, or one approved and not settled, and Conclude
// takes both to their end, from what the first commit stored alone. Whoever sent an application may
// go away: what was recorded of it is carried on without him.
//
// # Boundaries
//
// What a decision is stands in package lending, what a score is in lending/score. DESIGN.md says
// why the steps are these.
//
// # Concurrency
//
// Applications of one customer are decided one after another, and so are those under one phone
// number: each holds a stripe of both, the lower one taken first, from the counting of what is known
// until the ledger has answered.
package origination

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
	"surety/lending"
	"surety/lending/scorer"
	"surety/lending/settlement"
	"surety/lending/store"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

// Ledger is what origination needs of the ledger.
type Ledger interface {
	settlement.Ledger
	AccountTransfers(ctx context.Context, id ident.ID, filter ledger.AccountFilter) (ledger.TransferPage,
		error)
}

// Records is what origination needs of the lending records; *store.Store is it.
type Records interface {
	settlement.Records
	history
	Application(ctx context.Context, id ident.ID) (store.Application, error)
	ApplicationByKey(ctx context.Context, key string) (store.Application, error)
	ApplicationInstructions(ctx context.Context, application ident.ID) ([]store.Instruction, error)
	Loan(ctx context.Context, id ident.ID) (store.Loan, error)
	Artefact(ctx context.Context, digest [32]byte) (kind string, body []byte, err error)
}

// history is what the records know of a customer.
type history interface {
	Velocity(ctx context.Context, customer, phone ident.ID, on clock.Date) (store.Velocity, error)
	CustomerLoans(ctx context.Context, customer ident.ID) ([]store.Loan, error)
}

// Sealer keeps personal data readable only while its subject's key exists.
type Sealer interface {
	Seal(ctx context.Context, subject ident.ID, plaintext []byte, binding string) ([]byte, error)
	Unseal(ctx context.Context, subject ident.ID, sealed []byte, binding string) ([]byte, error)
}

// Deps are what a desk works with.
type Deps struct {
	Store     Records
	Ledger    Ledger
	Sealer    Sealer
	Scorer    scorer.Scorer // nil scores where it is asked
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
	deps    Deps
	settler *settlement.Settler
	locks   [stripes]sync.Mutex
}

// formBinding names what is sealed, so that a sealed form opens as nothing else.
const formBinding = "lending.form"

// New returns a desk.
func New(deps Deps) *Desk {
	if deps.Scorer == nil {
		deps.Scorer = scorer.Local{}
	}
	return &Desk{deps: deps, settler: settlement.New(deps.Ledger)}
}

// Submission is an application as it comes in.
type Submission struct {
	Key      string // idempotency key, 1 to 64 bytes; empty lets the desk choose
	Product  string // empty for the default
	Origin   string // api, file, synthetic
	Form     lending.Application
	Unread   []lending.FieldError // fields of the form that could not be read as what they are
	Features map[string]string    // what the platform knows, by feature name
	TruePD   int64                // of a simulated borrower, parts per million; -1 for a real one
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
// *FormError for a form out of its limits, or for a feature that is none; TooLarge for more than 256
// features; Exists for a key that was used with another form; NotFound for an unknown product;
// Refused where the applicant's data were erased; Unavailable where money-out is stopped. After
// these nothing is stored. After any other error nothing is known: submit again under the same key,
// which takes the application on from where it stands. What is sent under a key a second time beside
// the form (features, origin) is not looked at.
//
// Once the application is recorded, the end of ctx does not stop it: only its answer is lost.
func (d *Desk) Submit(ctx context.Context, s Submission) (Answer, error) {
	began := d.deps.Clock.Now()
	programme, err := d.deps.Catalogue.Named(s.Product)
	if err != nil {
		return Answer{}, err
	}
	if len(s.Key) > keyMax {
		return Answer{}, errs.New(errs.Invalid, "idempotency_key has %d bytes, the limit is %d",
			len(s.Key), keyMax)
	}
	form, err := json.Marshal(s.Form)
	if err != nil {
		return Answer{}, errs.As(errs.Internal, err, "origination.submit")
	}
	chosen := s.Key == ""
	if chosen {
		s.Key = d.deps.Idents.New().String()
	}
	digest := d.keyed("form", s.Key, programme.Product.Name, string(form))
	if !chosen {
		if answer, found, err := d.earlier(ctx, s.Key, digest); err != nil || found {
			return answer, err
		}
	}
	if fields := s.fieldErrors(&programme.Product); len(fields) > 0 {
		return Answer{}, errs.As(errs.Invalid, &FormError{fields}, "origination.submit")
	}
	if err := d.deps.MoneyOut(); err != nil {
		return Answer{}, errs.As(errs.Unavailable, err, "money-out is stopped")
	}
	f := &file{programme: programme, began: began, truePD: s.TruePD}
	f.row = store.Application{
		ID: d.deps.Idents.New(), Trace: d.deps.Idents.New(),
		Customer: d.customer(s.Form.IDNumber), Phone: d.phone(s.Form.Phone),
		Key: s.Key, FormDigest: digest, Origin: s.Origin, Status: store.StatusReceived,
		ReceivedAt: began, Product: programme.Product.Name, Currency: programme.Product.Currency,
		Requested: int64(s.Form.Amount.Lo), Term: s.Form.TermMonths,
	}
	defer d.lock(&f.row)()
	return d.take(ctx, f, &s, form)
}

// fieldErrors returns every field of the form that is out of its limits, in the order of the form;
// one that could not be read says so instead.
func (s *Submission) fieldErrors(product *lending.Product) []lending.FieldError {
	if len(s.Unread) == 0 {
		return s.Form.Validate(product)
	}
	bad := make(map[string]lending.FieldError, len(s.Unread))
	form := s.Form
	for _, field := range s.Unread {
		bad[field.Field] = field
	}
	if _, unread := bad["monthly_turnover"]; unread {
		form.MonthlyTurnover = money.Max
	}
	if _, unread := bad["existing_debt"]; unread {
		form.ExistingDebt = money.Max
	}
	if _, unread := bad["amount"]; unread {
		form.Amount = money.Max
	}
	fields := form.Validate(product) // which an amount of money.Max never passes
	for i := range fields {
		if field, unread := bad[fields[i].Field]; unread {
			fields[i] = field
		}
	}
	return fields
}

// lock locks the customer and the phone number of an application; calling what it returns unlocks
// them. It is not held twice.
func (d *Desk) lock(row *store.Application) (unlock func()) {
	first, second := row.Customer.Lo%stripes, row.Phone.Lo%stripes
	if first > second {
		first, second = second, first
	}
	d.locks[first].Lock()
	if first == second {
		return d.locks[first].Unlock
	}
	d.locks[second].Lock()
	return func() { d.locks[second].Unlock(); d.locks[first].Unlock() }
}

// take carries a new application on, its lock held.
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
		row, err := d.same(ctx, f.row.Key, f.row.FormDigest)
		if err != nil {
			return Answer{}, err
		}
		return d.finish(ctx, row.ID) // the same form is the same customer, whose lock is held
	}
	if err != nil {
		return Answer{}, err
	}
	return d.conclude(context.WithoutCancel(ctx), f)
}

// same returns the application that was sent under the key; kind Exists where it had another form.
func (d *Desk) same(ctx context.Context, key string, digest [32]byte) (store.Application, error) {
	row, err := d.deps.Store.ApplicationByKey(ctx, key)
	if err == nil && row.FormDigest != digest {
		err = errs.New(errs.Exists, "idempotency key %q was used for another form: application %s", key,
			row.ID)
	}
	return row, err
}

// earlier returns the answer to a key that was used before. An application that is still on its way
// is waited for, and where an error left it there, taken to its end.
func (d *Desk) earlier(ctx context.Context, key string, digest [32]byte) (answer Answer, found bool,
	_ error) {
	row, err := d.same(ctx, key, digest)
	if errs.Is(err, errs.NotFound) {
		return Answer{}, false, nil
	}
	if err != nil {
		return Answer{}, true, err
	}
	if underWay(&row) {
		defer d.lock(&row)()
		answer, err = d.finish(ctx, row.ID)
	} else {
		answer, err = d.answer(ctx, row)
	}
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

// customer returns the id of whoever bears the document number, the same however it is written:
// letters count as capitals, and hyphens not at all.
func (d *Desk) customer(document string) ident.ID {
	return d.derived("customer", strings.ToUpper(strings.ReplaceAll(document, "-", "")))
}

// phone returns the id of a phone number, with or without the plus.
func (d *Desk) phone(number string) ident.ID {
	return d.derived("phone", strings.TrimPrefix(number, "+"))
}

func (d *Desk) derived(what, text string) ident.ID {
	sum := d.keyed(what, text)
	return ident.FromBytes([16]byte(sum[:16]))
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
