package origination

import (
	"strconv"

	"surety/base/errs"
	"surety/base/money"
	"surety/lending"
	"surety/lending/score"
)

// Programme is how one product is lent: its terms, the policy that decides, and the two models that
// score. All four are data that decisions name by digest.
type Programme struct {
	Product  lending.Product
	Policy   lending.Policy
	Card     *score.Model
	Forest   *score.Model
	Currency money.Currency
}

// NewProgramme checks that the parts fit together: valid terms and policy, and two models over the
// same features, one of each kind. Kind Invalid otherwise.
func NewProgramme(product lending.Product, policy lending.Policy, card, forest *score.Model) (
	*Programme, error) {
	if err := product.Validate(); err != nil {
		return nil, err
	}
	if err := policy.Validate(&product); err != nil {
		return nil, err
	}
	currency, err := money.CurrencyOf(product.Currency)
	if err != nil {
		return nil, err
	}
	if card.Kind() != score.KindCard || forest.Kind() != score.KindForest {
		return nil, errs.New(errs.Invalid, "origination.programme: %s: models are of kinds %s and %s",
			product.Name, card.Kind(), forest.Kind())
	}
	if len(card.Features()) != len(forest.Features()) {
		return nil, errs.New(errs.Invalid, "origination.programme: %s: the models have %d and %d features",
			product.Name, len(card.Features()), len(forest.Features()))
	}
	for i, feature := range card.Features() {
		if forest.Features()[i].Name != feature.Name {
			return nil, errs.New(errs.Invalid,
				"origination.programme: %s: feature %d is %s in one model, %s in the other", product.Name,
				i+1, feature.Name, forest.Features()[i].Name)
		}
	}
	return &Programme{Product: product, Policy: policy, Card: card, Forest: forest,
		Currency: currency}, nil
}

// features returns the values of the models' features, in their order: what the platform sent, and
// where it sent nothing, what the form itself says; anything else is missing. A value that is no
// number or level is of kind Invalid and names the feature.
func (p *Programme) features(form *lending.Application, sent map[string]string) ([]int64, error) {
	stated := statedFeatures(form)
	values := make([]int64, len(p.Card.Features()))
	for i := range p.Card.Features() {
		feature := &p.Card.Features()[i]
		text, given := sent[feature.Name]
		if !given {
			text = stated[feature.Name]
		}
		value, err := feature.Parse(text)
		if err != nil {
			return nil, errs.Wrap(err, "features.%s", feature.Name)
		}
		values[i] = value
	}
	return values, nil
}

// statedFeatures are the features of the merchant models that an applicant states himself.
func statedFeatures(form *lending.Application) map[string]string {
	stated := map[string]string{
		"months_in_business":     strconv.Itoa(form.MonthsInBusiness),
		"monthly_turnover_minor": form.MonthlyTurnover.String(),
		"existing_debt_minor":    form.ExistingDebt.String(),
		"employees":              strconv.Itoa(form.Employees),
	}
	turnover, small := form.MonthlyTurnover.Uint64()
	amount, fits := form.Amount.Uint64()
	if small && fits && turnover > 0 && amount < 1<<50 {
		stated["requested_to_turnover_permille"] = strconv.FormatUint(amount*1000/turnover, 10)
	}
	return stated
}
