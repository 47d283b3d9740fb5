package origination

import (
	"surety/base/errs"
	"surety/base/money"
	"surety/lending"
	"surety/lending/score"
	"surety/lending/score/merchant"
	"surety/lending/score/taiwan"
)

// Catalogue is the programmes a node lends under; the first is the default.
type Catalogue []*Programme

// NewCatalogue returns the programmes that ship, with the default product replaced where terms are
// given.
func NewCatalogue(terms *lending.Product) (Catalogue, error) {
	product := lending.Merchant310()
	if terms != nil {
		product = *terms
	}
	merchants, err := shipped(product, lending.DefaultPolicy(), merchant.Shipped)
	if err != nil {
		return nil, err
	}
	consumers, err := shipped(Consumer310(), consumerPolicy(), taiwan.Shipped)
	if err != nil {
		return nil, err
	}
	return Catalogue{merchants, consumers}, nil
}

func shipped(product lending.Product, policy lending.Policy,
	models func(score.Kind) (*score.Model, error)) (*Programme, error) {
	card, err := models(score.KindCard)
	if err != nil {
		return nil, err
	}
	forest, err := models(score.KindForest)
	if err != nil {
		return nil, err
	}
	return NewProgramme(product, policy, card, forest)
}

// Named returns the programme of the product with the name, the default for an empty one; kind
// NotFound where there is none.
func (c Catalogue) Named(product string) (*Programme, error) {
	if product == "" {
		return c[0], nil
	}
	for _, p := range c {
		if p.Product.Name == product {
			return p, nil
		}
	}
	return nil, errs.New(errs.NotFound, "product %.40q is not offered", product)
}

// Consumer310 returns the product under which the public file of card holders is lent on: small
// loans in New Taiwan dollars.
func Consumer310() lending.Product {
	p := lending.Merchant310()
	p.Name, p.Currency = "consumer-310", "TWD"
	p.AmountMin, p.AmountMax = money.Minor(5_000_00), money.Minor(1_000_000_00)
	p.AmountStep = money.Minor(1_000_00)
	return p
}

// consumerPolicy is the policy that goes with Consumer310. One in five of that file's clients
// missed a payment, so its bands reach further than the merchants'.
func consumerPolicy() lending.Policy {
	p := lending.DefaultPolicy()
	p.Name = "consumer-310"
	p.MonthsInBusinessMin, p.TurnoverMin = 0, money.Minor(1)
	p.PointsDecline, p.PointsRefer = 515, 517
	p.PDDeclineMicro = 205_000
	p.ExposureMax = money.Minor(1_000_000_00)
	p.Bands = []lending.Band{
		{Name: "a", PDMaxMicro: 60_000, Rate: lending.MustRate("7.2"), TurnoverPermille: 1_000,
			LimitMax: money.Minor(1_000_000_00), TermMax: 24},
		{Name: "b", PDMaxMicro: 100_000, Rate: lending.MustRate("10.8"), TurnoverPermille: 700,
			LimitMax: money.Minor(500_000_00), TermMax: 24},
		{Name: "c", PDMaxMicro: 150_000, Rate: lending.MustRate("13.2"), TurnoverPermille: 500,
			LimitMax: money.Minor(300_000_00), TermMax: 18},
		{Name: "d", PDMaxMicro: 200_000, Rate: lending.MustRate("15.6"), TurnoverPermille: 300,
			LimitMax: money.Minor(100_000_00), TermMax: 12},
	}
	return p
}
