package origination

import (
	"context"
	"encoding/json"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
	"surety/lending"
	"surety/lending/score"
	"surety/lending/scorer"
	"surety/lending/settlement"
	"surety/lending/store"
)

// file is an application on the desk.
type file struct {
	programme *Programme
	row       store.Application
	began     clock.Instant
	truePD    int64
	granted   money.Amount // the customer's limit so far, as the ledger has it

	stored   inputs
	in       lending.Inputs
	decision lending.Decision
	limits   []store.Instruction // to grant and reserve, as they are stored
	orders   []settlement.Order  // the same, decoded
}

// inputs is what is stored to decide again: the features as the models took them, and the text of
// what the policy took, with the digests of what it was decided under.
type inputs struct {
	Features []int64        `json:"features"`
	Inputs   string         `json:"inputs"`
	Policy   lending.Digest `json:"policy"`
	Product  lending.Digest `json:"product"`
	TruePD   int64          `json:"simulated_pd"` // -1 for a real applicant; never part of a decision
	// Scorer says where the scores were computed, which no decision depends on; nil where that was
	// in no sandbox.
	Scorer *scorer.Mark `json:"scorer,omitempty"`
}

// assess gathers all that the decision is computed from, and decides. It changes nothing outside
// the file.
func (d *Desk) assess(ctx context.Context, f *file, s *Submission) error {
	if len(s.Features) > featuresMax {
		return errs.New(errs.TooLarge, "features: %d are given, the limit is %d", len(s.Features),
			featuresMax)
	}
	values, err := f.programme.features(&s.Form, s.Features)
	if err != nil {
		return err
	}
	f.in = lending.Inputs{Application: f.row.ID, On: f.row.BusinessDate, Figures: s.Form.Figures}
	scored := d.ask(ctx, f, values)
	if err := d.known(ctx, f); err != nil {
		return err
	}
	answer, err := scored()
	if err != nil {
		return err
	}
	if f.in.Scores, f.in.Factors, err = f.programme.told(values, &answer); err != nil {
		return err
	}
	if err := f.in.Check(); err != nil {
		return err
	}
	f.stored = inputs{Features: values, TruePD: f.truePD}
	if by := answer.By; by.Sandbox != "" {
		f.stored.Scorer = &by
	}
	return f.decide()
}

// ask has the features scored while something else is done; what it returns waits for the answer.
func (d *Desk) ask(ctx context.Context, f *file, values []int64) func() (scorer.Answer, error) {
	var answer scorer.Answer
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		answer, err = d.deps.Scorer.Score(ctx, f.programme.ask(f.row.Trace, values))
	}()
	return func() (scorer.Answer, error) {
		<-done
		return answer, err
	}
}

// decide computes the decision and encodes what it came from.
func (f *file) decide() error {
	f.decision = lending.Decide(&f.programme.Policy, &f.programme.Product, &f.in)
	f.stored.Inputs = string(f.in.Encode())
	f.stored.Policy, f.stored.Product = f.decision.Policy, f.decision.Product
	encoded, err := json.Marshal(&f.stored)
	if err != nil {
		return errs.As(errs.Internal, err, "origination.decide")
	}
	f.row.Inputs = encoded
	return nil
}

// featuresDigest names a vector of features.
func featuresDigest(values []int64) (lending.Digest, error) {
	encoded, err := json.Marshal(values)
	return lending.DigestOf(encoded), errs.As(errs.Internal, err, "origination.features")
}

// ask asks for both models over the features.
func (p *Programme) ask(trace ident.ID, values []int64) scorer.Ask {
	return scorer.Ask{Trace: trace, Card: p.Card, Forest: p.Forest, Values: values}
}

// told is what the policy takes of what the models say.
func (p *Programme) told(values []int64, a *scorer.Answer) (lending.Scores, []lending.Factor, error) {
	digest, err := featuresDigest(values)
	return lending.Scores{
		Points: a.Card.ScorePoints, CardPDMicro: uint32(a.Card.PDMicro),
		ModelPDMicro: uint32(a.Forest.PDMicro), Features: digest,
		Card: p.Card.Digest(), Model: p.Forest.Digest(),
	}, p.factors(&a.Card, &a.Forest), err
}

// microOddsPerPoint turns points into millionths of log-odds: twenty points double the odds.
const microOddsPerPoint = 34_657

// factors joins what each model says spoke against the applicant, on one scale and with the weight
// that the policy gives the model.
func (p *Programme) factors(card, forest *score.Result) (list []lending.Factor) {
	weight := uint64(p.Policy.CardPermille)
	add := func(code string, amount uint64) {
		for i := range list {
			if list[i].Code == code {
				list[i].Weight += amount
				return
			}
		}
		list = append(list, lending.Factor{Code: code, Weight: amount})
	}
	for _, r := range card.Reasons {
		add(r.Code, uint64(-r.Amount)*microOddsPerPoint*weight/1000)
	}
	for _, r := range forest.Reasons {
		add(r.Code, uint64(-r.Amount)*(1000-weight)/1000)
	}
	return list
}

// known counts what is known of the customer from before.
func (d *Desk) known(ctx context.Context, f *file) error {
	velocity, err := d.velocity(ctx, &f.row)
	if err != nil {
		return err
	}
	f.in.Signals = lending.Signals{OpenApplications: velocity.Open, ApplicationsDay: velocity.Day,
		ApplicationsMonth: velocity.Month, PhoneDay: velocity.PhoneDay}
	if !velocity.Before {
		return nil
	}
	loans, err := d.deps.Store.CustomerLoans(ctx, f.row.Customer)
	if err != nil {
		return err
	}
	for i := range loans {
		if err := f.count(&loans[i]); err != nil {
			return err
		}
	}
	f.granted, err = d.granted(ctx, f)
	return err
}

// velocity counts earlier applications. One that was paid out a moment ago may still stand as
// approved, since the note of it follows the answer: it is waited for, so that the decision does not
// depend on who is faster.
func (d *Desk) velocity(ctx context.Context, row *store.Application) (store.Velocity, error) {
	v, err := d.deps.Store.Velocity(ctx, row.Customer, row.Phone, row.BusinessDate)
	if err != nil || v.Open == 0 {
		return v, err
	}
	if err := d.deps.Finisher.Flush(ctx); err != nil {
		return v, err
	}
	return d.deps.Store.Velocity(ctx, row.Customer, row.Phone, row.BusinessDate)
}

// count takes one earlier loan into account. What it drew of the limit stays drawn until it is
// closed, so that the exposure is what the ledger's memo account holds.
func (f *file) count(row *store.Loan) error {
	if row.Status == store.LoanClosed {
		return nil
	}
	contract, err := lending.DecodeContract(row.Contract)
	if err != nil {
		return err
	}
	loan, err := lending.DecodeLoan(row.State, &contract)
	if err != nil {
		return err
	}
	if row.Currency == f.row.Currency {
		f.in.Exposure, _ = f.in.Exposure.Add(contract.Offer.Principal)
	}
	signals := &f.in.Signals
	if row.Status == store.LoanWrittenOff {
		signals.WrittenOff++
		return nil
	}
	signals.ActiveLoans++
	late := loan.DaysPastDue(max(f.row.BusinessDate, loan.On))
	signals.DaysPastDue = max(signals.DaysPastDue, uint32(late))
	return nil
}

// granted returns the limit that the customer has been granted in all, as the ledger has it: the
// sum of the grants, whatever is drawn, reserved or restored of it. It is read there and nowhere
// else, since a grant outlives the application that it was made for.
func (d *Desk) granted(ctx context.Context, f *file) (sum money.Amount, _ error) {
	id := lending.AccountID(lending.ClassLimit, f.row.Customer, f.row.Currency)
	filter := ledger.AccountFilter{Credits: true, Code: uint16(lending.LegLimit)}
	for {
		page, err := d.deps.Ledger.AccountTransfers(ctx, id, filter)
		if errs.Is(err, errs.NotFound) {
			return sum, nil
		}
		if err != nil {
			return sum, err
		}
		for i := range page.Transfers {
			sum, _ = sum.Add(page.Transfers[i].Amount) // a policy's limits, each below 2^44
		}
		if filter.Cursor = page.Cursor; filter.Cursor == 0 {
			return sum, nil
		}
	}
}
