package lendingtest

import (
	"context"
	"fmt"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
	"surety/lending"
	"surety/lending/origination"
	"surety/lending/population"
)

// Sealer seals in memory. It outlives a crash, as the vault does.
type Sealer struct {
	mu     sync.Mutex
	plain  map[string]sealed
	erased map[ident.ID]bool
}

type sealed struct {
	subject ident.ID
	binding string
	text    []byte
}

// NewSealer returns a sealer that has sealed nothing.
func NewSealer() *Sealer {
	return &Sealer{plain: map[string]sealed{}, erased: map[ident.ID]bool{}}
}

// Seal returns a name for the plaintext.
func (s *Sealer) Seal(ctx context.Context, subject ident.ID, plaintext []byte, binding string) (
	[]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.erased[subject] {
		return nil, errs.New(errs.Refused, "lendingtest.seal: the subject was erased")
	}
	if err := ctx.Err(); err != nil {
		return nil, errs.As(errs.Canceled, err, "lendingtest.seal")
	}
	name := fmt.Sprintf("sealed-%d", len(s.plain))
	s.plain[name] = sealed{subject, binding, append([]byte(nil), plaintext...)}
	return []byte(name), nil
}

// Unseal returns the plaintext of what Seal returned.
func (s *Sealer) Unseal(_ context.Context, subject ident.ID, name []byte, binding string) (
	[]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.erased[subject] {
		return nil, errs.New(errs.Refused, "lendingtest.unseal: the subject was erased")
	}
	found, known := s.plain[string(name)]
	if !known || found.subject != subject || found.binding != binding {
		return nil, errs.New(errs.Corrupt, "lendingtest.unseal: not what was sealed")
	}
	return append([]byte(nil), found.text...), nil
}

// Erase forgets a subject.
func (s *Sealer) Erase(subject ident.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erased[subject] = true
}

// Merchant returns the application of a merchant whom the default programme lends to: long in
// business, a good turnover, no debt. Each number is another person with a phone of his own.
func Merchant(number int) origination.Submission {
	return origination.Submission{
		Key: fmt.Sprintf("merchant-%d", number), Origin: "api", TruePD: -1,
		Form: lending.Application{
			Name: "Mei Okoro", IDNumber: fmt.Sprintf("M%08d", number),
			Phone: fmt.Sprintf("+8613%09d", number), BusinessName: "Okoro Noodles", Purpose: "stock",
			Consent: true,
			Figures: lending.Figures{MonthsInBusiness: 120, MonthlyTurnover: money.Minor(90_000_00),
				Employees: 5, Amount: money.Minor(60_000_00), TermMonths: 12},
		},
		Features: map[string]string{"turnover_trend_permille": "100", "transactions_30d": "2000",
			"customers_90d": "3000", "refund_rate_permille": "5", "chargebacks_90d": "0",
			"active_days_90d": "88", "night_share_permille": "20", "late_payments_12m": "0",
			"max_days_late_12m": "0", "platform_age_months": "80"},
	}
}

// Hopeless returns the application of a merchant whom the default programme declines.
func Hopeless(number int) origination.Submission {
	s := Merchant(number)
	s.Form.MonthsInBusiness, s.Form.ExistingDebt = 1, money.Minor(2_000_000_00)
	return s
}

// Applicants returns a function that gives the synthetic applicants of a seed; with borrowers they
// repay, or do not, as the simulation has it.
func (w *World) Applicants(seed uint64, borrowers bool) func(index uint64) origination.Submission {
	w.T.Helper()
	var names []string
	for _, feature := range w.Catalogue[0].Card.Features() {
		names = append(names, feature.Name)
	}
	people, err := population.New(seed, names)
	if err != nil {
		w.T.Fatal(err)
	}
	return func(index uint64) origination.Submission {
		a := people.At(index)
		s := origination.Submission{Key: a.Key, Origin: "synthetic", TruePD: -1, Features: a.Features,
			Form: lending.Application{Name: a.Form.Name, IDNumber: a.Form.IdNumber, Phone: a.Form.Phone,
				BusinessName: a.Form.BusinessName, Purpose: a.Form.Purpose, Consent: a.Form.Consent,
				Figures: lending.Figures{MonthsInBusiness: int(a.Form.MonthsInBusiness),
					MonthlyTurnover: minor(a.Form.MonthlyTurnover), Employees: int(a.Form.Employees),
					ExistingDebt: minor(a.Form.ExistingDebt), Amount: minor(a.Form.Amount),
					TermMonths: int(a.Form.TermMonths)}}}
		if borrowers {
			s.TruePD = a.TruePD
		}
		return s
	}
}

func minor(text string) money.Amount {
	amount, err := money.ParseMinor(text)
	if err != nil {
		panic(err) // of our own making
	}
	return amount
}

// Lent submits an application and returns its answer, which must be an active loan.
func (w *World) Lent(s origination.Submission) origination.Answer {
	w.T.Helper()
	answer, err := w.Origination.Submit(context.Background(), s)
	if err != nil {
		w.T.Fatal(err)
	}
	if answer.Loan == nil || answer.Application.Status != "disbursed" {
		w.T.Fatalf("application %s is %s: %s", s.Key, answer.Application.Status, answer.Application.Decision)
	}
	return answer
}

// Freeze stops an account, in both directions, and returns what releases it.
func (w *World) Freeze(account ident.ID) (release func()) {
	return w.freeze(ledger.Freeze{AccountID: account, Scope: ledger.FreezeAccount,
		Sides: ledger.FreezeBoth})
}

// FreezeCode stops one code of postings in yuan, and returns what releases it.
func (w *World) FreezeCode(code lending.Leg) (release func()) {
	return w.freeze(ledger.Freeze{Code: uint16(code), Ledger: 156, Scope: ledger.FreezeCode})
}

func (w *World) freeze(z ledger.Freeze) (release func()) {
	w.T.Helper()
	z.ID, z.Actor, z.Reason = w.idents.New(), ident.ID{Lo: 1}, 1
	w.apply(z)
	return func() {
		w.T.Helper()
		w.apply(ledger.Freeze{ID: w.idents.New(), FreezeID: z.ID, Actor: ident.ID{Lo: 1},
			SecondActor: ident.ID{Lo: 2}, Reason: 1, Flags: ledger.FreezeRelease})
	}
}

func (w *World) apply(z ledger.Freeze) {
	w.T.Helper()
	results, err := w.Ledger.ApplyFreezes(context.Background(), []ledger.Freeze{z})
	if err != nil || results[0] != ledger.FreezeOK {
		w.T.Fatalf("freeze: %v %v", results, err)
	}
}

// Balance returns what an account of the loan, its customer or its product holds: debits less
// credits, or the other way where the class is a liability or a memo account.
func (w *World) Balance(class lending.Class, owner ident.ID) money.Amount {
	w.T.Helper()
	found, err := w.Ledger.LookupAccounts(context.Background(),
		[]ident.ID{lending.AccountID(class, owner, "CNY")})
	if err != nil {
		w.T.Fatal(err)
	}
	if len(found) == 0 {
		return money.Amount{}
	}
	if rest, negative := found[0].DebitsPosted.Sub(found[0].CreditsPosted); !negative {
		return rest
	}
	rest, _ := found[0].CreditsPosted.Sub(found[0].DebitsPosted)
	return rest
}

// Live moves the business date on day by day, up to and with the date, doing each day's work.
func (w *World) Live(to clock.Date) {
	w.T.Helper()
	for on := w.Today() + 1; on <= to; on++ {
		w.SetToday(on)
		if _, err := w.Servicing.DayEnd(context.Background(), on); err != nil {
			w.T.Fatal(err)
		}
	}
}
