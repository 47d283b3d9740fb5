package lending

import (
	"strconv"

	"surety/base/errs"
	"surety/base/money"
)

const inputsFormat = "surety.decision.inputs 1"

// Encode returns the inputs' canonical text.
func (in *Inputs) Encode() []byte {
	e := newEncoder(inputsFormat, 1024)
	e.id("application", in.Application)
	e.date("on", in.On)
	e.number("months_in_business", uint64(in.Figures.MonthsInBusiness))
	e.amount("monthly_turnover", in.Figures.MonthlyTurnover)
	e.number("employees", uint64(in.Figures.Employees))
	e.amount("existing_debt", in.Figures.ExistingDebt)
	e.amount("amount", in.Figures.Amount)
	e.number("term_months", uint64(in.Figures.TermMonths))
	e.signed("points", int64(in.Scores.Points))
	e.number("card_pd_micro", uint64(in.Scores.CardPDMicro))
	e.number("model_pd_micro", uint64(in.Scores.ModelPDMicro))
	e.digest("features", in.Scores.Features)
	e.digest("card", in.Scores.Card)
	e.digest("model", in.Scores.Model)
	for _, n := range in.Signals.numbers() {
		e.number(n.key, uint64(*n.number))
	}
	e.amount("exposure", in.Exposure)
	encodeFactors(e, in.Factors)
	return e.b
}

func (s *Signals) numbers() [8]namedNumber {
	return [...]namedNumber{{"open_applications", &s.OpenApplications},
		{"applications_day", &s.ApplicationsDay}, {"applications_month", &s.ApplicationsMonth},
		{"phone_day", &s.PhoneDay}, {"watchlist_matches", &s.WatchlistMatches},
		{"active_loans", &s.ActiveLoans}, {"days_past_due", &s.DaysPastDue},
		{"written_off", &s.WrittenOff}}
}

// Digest returns the SHA-256 of Encode.
func (in *Inputs) Digest() Digest { return DigestOf(in.Encode()) }

// Check returns nil for inputs inside the limits that Decide computes within, which an application
// that passed Validate is; kind Invalid otherwise.
func (in *Inputs) Check() error {
	f, s := &in.Figures, &in.Scores
	lent := money.Minor(lentMax)
	switch {
	case in.Application.IsZero():
		return errs.New(errs.Invalid, "lending.inputs: the application has no id")
	case in.On < dateMin || in.On > dateMax:
		return errs.New(errs.Invalid, "lending.inputs: date %s, want %s to %s", in.On, dateMin, dateMax)
	case f.MonthsInBusiness < 0 || f.MonthsInBusiness > monthsInBusinessMax,
		f.Employees < 0 || f.Employees > employeesMax, f.TermMonths < 1 || f.TermMonths > termMax:
		return errs.New(errs.Invalid, "lending.inputs: %d months, %d employees, %d months of term: "+
			"the limits are %d, %d, %d", f.MonthsInBusiness, f.Employees, f.TermMonths,
			monthsInBusinessMax, employeesMax, termMax)
	case lent.Less(f.MonthlyTurnover), lent.Less(f.ExistingDebt), lent.Less(f.Amount),
		lent.Less(in.Exposure):
		return errs.New(errs.Invalid, "lending.inputs: turnover %s, debt %s, amount %s, exposure %s: "+
			"the limit is %s", f.MonthlyTurnover, f.ExistingDebt, f.Amount, in.Exposure, lent)
	case s.CardPDMicro > micro || s.ModelPDMicro > micro:
		return errs.New(errs.Invalid, "lending.inputs: probabilities %d and %d, the limit is %d",
			s.CardPDMicro, s.ModelPDMicro, micro)
	case len(in.Factors) > factorsMax:
		return errs.New(errs.Invalid, "lending.inputs: %d factors, the limit is %d", len(in.Factors),
			factorsMax)
	}
	for _, factor := range in.Factors {
		if !isFactor(factor.Code) {
			return errs.New(errs.Invalid, "lending.inputs: factor %q, want 1 to %d letters, digits, "+
				"underscores, dots or hyphens", clip(factor.Code), nameMax)
		}
	}
	return nil
}

// DecodeInputs is the inverse of Encode; kind Corrupt for anything else, including inputs that Check
// refuses.
func DecodeInputs(data []byte) (Inputs, error) {
	d := newDecoder("lending.inputs", inputsFormat, data)
	var in Inputs
	in.Application, in.On = d.id("application"), d.date("on")
	in.Figures.MonthsInBusiness = int(d.number("months_in_business", monthsInBusinessMax))
	in.Figures.MonthlyTurnover = d.amount("monthly_turnover")
	in.Figures.Employees = int(d.number("employees", employeesMax))
	in.Figures.ExistingDebt = d.amount("existing_debt")
	in.Figures.Amount = d.amount("amount")
	in.Figures.TermMonths = int(d.number("term_months", termMax))
	in.Scores.Points = d.points("points")
	in.Scores.CardPDMicro = uint32(d.number("card_pd_micro", micro))
	in.Scores.ModelPDMicro = uint32(d.number("model_pd_micro", micro))
	in.Scores.Features, in.Scores.Card = d.digest("features"), d.digest("card")
	in.Scores.Model = d.digest("model")
	for _, n := range in.Signals.numbers() {
		*n.number = uint32(d.number(n.key, 1<<32-1))
	}
	in.Exposure = d.amount("exposure")
	in.Factors = d.factors()
	if d.err == nil {
		if err := in.Check(); err != nil {
			d.fail("%v", err)
		}
	}
	if err := d.close(data, in.Encode); err != nil {
		return Inputs{}, err
	}
	return in, nil
}

const decisionFormat = "surety.decision 1"

// Encode returns the decision's canonical text.
func (d *Decision) Encode() []byte {
	e := newEncoder(decisionFormat, 768)
	e.word("outcome", d.Outcome.String())
	e.number("pd_micro", uint64(d.PDMicro))
	e.text("band", d.Band)
	e.amount("limit", d.Limit)
	e.amount("amount", d.Amount)
	e.number("term_months", uint64(d.TermMonths))
	e.rate("rate_percent", d.Rate)
	e.amount("instalment", d.Instalment)
	e.number("reasons", uint64(len(d.Reasons)))
	for _, r := range d.Reasons {
		e.key("reason")
		e.b = strconv.AppendUint(e.b, uint64(r.Code), 10)
		e.space()
		e.b = strconv.AppendUint(e.b, r.Limit, 10)
		e.space()
		e.b = strconv.AppendUint(e.b, r.Given, 10)
		e.end()
	}
	encodeFactors(e, d.Factors)
	e.digest("inputs", d.Inputs)
	e.digest("policy", d.Policy)
	e.digest("product", d.Product)
	return e.b
}

// Digest returns the SHA-256 of Encode.
func (d *Decision) Digest() Digest { return DigestOf(d.Encode()) }

// DecodeDecision is the inverse of Encode; kind Corrupt for anything else.
func DecodeDecision(data []byte) (Decision, error) {
	d := newDecoder("lending.decision", decisionFormat, data)
	var out Decision
	out.Outcome = Outcome(d.enum("outcome", outcomeNames[:]))
	out.PDMicro = uint32(d.number("pd_micro", micro))
	out.Band = d.text("band")
	out.Limit, out.Amount = d.amount("limit"), d.amount("amount")
	out.TermMonths = int(d.number("term_months", termMax))
	out.Rate = d.rate("rate_percent")
	out.Instalment = d.amount("instalment")
	for range d.number("reasons", reasonsMax) {
		out.Reasons = append(out.Reasons, d.reason())
	}
	out.Factors = d.factors()
	out.Inputs, out.Policy, out.Product = d.digest("inputs"), d.digest("policy"), d.digest("product")
	if err := d.close(data, out.Encode); err != nil {
		return Decision{}, err
	}
	return out, nil
}

func (d *decoder) reason() (r Reason) {
	words := d.words("reason", 3)
	if d.err != nil {
		return r
	}
	code, err := parseNumber(words[0], 1<<16-1)
	r.Code = ReasonCode(code)
	if err == nil {
		r.Limit, err = parseNumber(words[1], 1<<64-1)
	}
	if err == nil {
		r.Given, err = parseNumber(words[2], 1<<64-1)
	}
	if _, known := r.Code.Info(); err != nil || !known {
		d.fail("reason %s is not known", clip(words[0]))
	}
	return r
}

func encodeFactors(e *encoder, factors []Factor) {
	e.number("factors", uint64(len(factors)))
	for _, f := range factors {
		e.key("factor")
		e.b = append(e.b, f.Code...)
		e.space()
		e.b = strconv.AppendUint(e.b, f.Weight, 10)
		e.end()
	}
}

func (d *decoder) factors() (list []Factor) {
	for range d.number("factors", factorsMax) {
		words := d.words("factor", 2)
		if d.err != nil {
			return nil
		}
		weight, err := parseNumber(words[1], 1<<64-1)
		if err != nil || !isFactor(words[0]) {
			d.fail("factor %s is out of its limits", clip(words[0]))
			return nil
		}
		list = append(list, Factor{words[0], weight})
	}
	return list
}

func isFactor(code string) bool {
	for i := 0; i < len(code); i++ {
		c := code[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') &&
			c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return len(code) >= 1 && len(code) <= nameMax
}
