package api

import (
	"context"
	"strconv"

	lendingv1 "surety/api/lending/v1"
	"surety/base/errs"
	"surety/lending"
	"surety/lending/origination"
	"surety/lending/score"
	"surety/lending/store"
)

// ApplicationText returns an application as the API shows it; full adds the form and every
// feature's contribution.
func (s *Service) ApplicationText(ctx context.Context, row *store.Application, full bool) (
	*lendingv1.Application, error) {
	text := &lendingv1.Application{
		Id: row.ID.String(), Trace: row.Trace.String(), Customer: row.Customer.String(),
		Status: row.Status, Origin: row.Origin, ReceivedAt: instantText(row.ReceivedAt),
		Product: row.Product, Currency: row.Currency, Requested: minorText(row.Requested),
		TermMonths: int32(row.Term), ReviewRequested: row.ReviewRequested,
		CancelledReason: row.CancelledReason,
	}
	if !row.Loan.IsZero() {
		text.Loan = row.Loan.String()
	}
	if full {
		if err := s.addForm(ctx, row, text); err != nil {
			return nil, err
		}
	}
	if row.Outcome == "" {
		return text, nil
	}
	if !full {
		decision, err := lending.DecodeDecision(row.Decision)
		if err != nil {
			return nil, errs.Wrap(err, "lending.application: %s", row.ID)
		}
		in, err := origination.StoredInputs(row)
		if err != nil {
			return nil, err
		}
		text.Decision = decisionSummary(row, &decision)
		text.Decision.Points = in.Scores.Points
		return text, nil
	}
	told, err := s.deps.Origination.Explain(ctx, row)
	if err != nil {
		return nil, err
	}
	text.Decision = decisionText(row, told)
	return text, nil
}

// addForm opens the sealed form; of an erased applicant there is none.
func (s *Service) addForm(ctx context.Context, row *store.Application,
	text *lendingv1.Application) error {
	form, err := s.deps.Origination.Form(ctx, row)
	if errs.Is(err, errs.Refused) {
		text.Erased = true
		return nil
	}
	if err != nil {
		return err
	}
	text.Form = &lendingv1.Form{Name: form.Name, IdNumber: form.IDNumber, Phone: form.Phone,
		BusinessName: form.BusinessName, MonthsInBusiness: int32(form.MonthsInBusiness),
		MonthlyTurnover: form.MonthlyTurnover.String(), Employees: int32(form.Employees),
		ExistingDebt: form.ExistingDebt.String(), Amount: form.Amount.String(),
		TermMonths: int32(form.TermMonths), Purpose: form.Purpose, Consent: form.Consent}
	return nil
}

// decisionSummary is what a list shows of a decision.
func decisionSummary(row *store.Application, d *lending.Decision) *lendingv1.Decision {
	return &lendingv1.Decision{Outcome: row.Outcome, PdPpm: int64(d.PDMicro), Limit: d.Limit.String(),
		Offered: d.Amount.String(), DecidedAt: instantText(row.DecidedAt), Micros: row.Micros,
		InputsDigest: d.Inputs.String(), PolicyDigest: d.Policy.String()}
}

// decisionText is a decision in full.
func decisionText(row *store.Application, t *origination.Told) *lendingv1.Decision {
	d := decisionSummary(row, &t.Decision)
	d.Outcome = t.Decision.Outcome.String()
	d.Points, d.CardPdPpm = t.Inputs.Scores.Points, int64(t.Inputs.Scores.CardPDMicro)
	d.FeaturesDigest = t.Inputs.Scores.Features.String()
	d.CardDigest, d.ModelDigest = t.Inputs.Scores.Card.String(), t.Inputs.Scores.Model.String()
	d.BasePoints = int32(t.Card.Base)
	d.BaseMicroLogOdds, d.ModelMicroLogOdds = t.Forest.Base, t.Forest.Score
	for _, r := range t.Decision.Reasons {
		info, _ := r.Code.Info()
		d.Reasons = append(d.Reasons, &lendingv1.Reason{Code: info.Name, Sentence: info.Sentence,
			Source: "policy"})
	}
	for _, factor := range t.Decision.Factors {
		d.Reasons = append(d.Reasons, &lendingv1.Reason{Code: factor.Code,
			Sentence: t.Factors[factor.Code], Source: "score", Contribution: -int64(factor.Weight)})
	}
	d.Contributions = append(contributions("card", &t.Card), contributions("model", &t.Forest)...)
	return d
}

// contributions lists what each feature added to a score; with the base they add up to it exactly.
func contributions(source string, r *score.Result) []*lendingv1.Reason {
	list := make([]*lendingv1.Reason, len(r.Contributions))
	for i, c := range r.Contributions {
		list[i] = &lendingv1.Reason{Feature: c.Feature, Contribution: c.Amount, Source: source}
	}
	return list
}

// minorText returns minor units as the wire has them.
func minorText(n int64) string { return strconv.FormatInt(n, 10) }
