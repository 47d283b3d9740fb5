package lending

import (
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
)

// Inputs are all that a decision is computed from, besides the policy and the product: facts and
// scores as numbers, and the digests of what the scores were computed from. They hold nothing that
// names a person. Stored with the decision, they give it again, bit for bit.
type Inputs struct {
	Application ident.ID
	On          clock.Date // business date; the offer starts on it

	Figures  Figures
	Scores   Scores
	Signals  Signals
	Exposure money.Amount // principal the customer owes and limits reserved for loans to come
	// Factors are what lowered the score, whoever computed it; at most 16.
	Factors []Factor
}

// Scores are what the models said.
type Scores struct {
	Points       int32  // of the scorecard
	CardPDMicro  uint32 // probability of default by the scorecard, in millionths
	ModelPDMicro uint32 // by the boosted model
	Features     Digest // of the features both were given
	Card         Digest // of the scorecard's file
	Model        Digest // of the boosted model's file
}

// Signals are counts about the person, from before this application.
type Signals struct {
	OpenApplications  uint32 // waiting to be decided or disbursed
	ApplicationsDay   uint32 // on this business date
	ApplicationsMonth uint32 // in the last 30 days
	PhoneDay          uint32 // with this phone number on this business date
	WatchlistMatches  uint32
	ActiveLoans       uint32
	DaysPastDue       uint32 // of the latest loan
	WrittenOff        uint32 // loans given up
}

// Factor is a characteristic that lowered a score, by its model's reason code.
type Factor struct {
	Code string // 1 to 40 of letters, digits, underscores, dots and hyphens
	// Weight is how much it lowered the score against a neutral value, in the score's own unit.
	Weight uint64
}

// Decision is the answer to an application.
type Decision struct {
	Outcome Outcome
	// PDMicro is the weighted mean of the two probabilities of default, in millionths; Band the name
	// of the risk band it falls into, empty above all bands.
	PDMicro uint32
	Band    string
	// Limit is what the customer may owe in all. Amount, TermMonths, Rate and Instalment are what
	// is offered. They are zero unless the outcome is to approve.
	Limit      money.Amount
	Amount     money.Amount
	TermMonths int
	Rate       Rate
	Instalment money.Amount
	// Reasons are in the order of the table of reasons. Factors are the four that weighed most,
	// where a score is among the reasons.
	Reasons []Reason
	Factors []Factor
	// What it was decided from.
	Inputs, Policy, Product Digest
}

// Decide decides an application that Validate has passed, under a policy that is valid for a valid
// product. The same policy, product and inputs give the same decision for ever.
func Decide(policy *Policy, product *Product, in *Inputs) Decision {
	c := course{policy: policy, product: product, in: in}
	c.conduct()
	c.history()
	c.business()
	c.score()
	if c.d.Outcome != Decline && c.band != nil {
		c.offer()
	}
	if c.d.Outcome == 0 {
		c.d.Outcome = Approve
	}
	if c.d.Outcome != Approve {
		c.d.Limit, c.d.Amount, c.d.Instalment = money.Amount{}, money.Amount{}, money.Amount{}
		c.d.TermMonths, c.d.Rate = 0, 0
	}
	c.d.Inputs, c.d.Policy, c.d.Product = in.Digest(), policy.Digest(), product.Digest()
	return c.d
}

// course is one decision on its way.
type course struct {
	policy  *Policy
	product *Product
	in      *Inputs
	band    *Band
	d       Decision
}

// when adds a reason where it applies; the outcome is the gravest so far.
func (c *course) when(applies bool, code ReasonCode, limit, given uint64) {
	if !applies {
		return
	}
	c.d.Reasons = append(c.d.Reasons, Reason{code, limit, given})
	info, _ := code.Info()
	if info.Leads > c.d.Outcome && info.Leads != Approve {
		c.d.Outcome = info.Leads
	}
}

func (c *course) above(given, limit uint32, code ReasonCode) {
	c.when(given > limit, code, uint64(limit), uint64(given))
}

func (c *course) conduct() {
	s, p := &c.in.Signals, c.policy
	c.above(s.OpenApplications, p.OpenApplicationsMax, ReasonOpenApplication)
	c.above(s.ApplicationsDay, p.ApplicationsDayMax, ReasonApplicationsDay)
	c.above(s.ApplicationsMonth, p.ApplicationsMonthMax, ReasonApplicationsMonth)
	c.above(s.PhoneDay, p.PhoneDayMax, ReasonPhoneDay)
	c.above(s.WatchlistMatches, 0, ReasonWatchlist)
}

func (c *course) history() {
	s, p := &c.in.Signals, c.policy
	c.above(s.WrittenOff, 0, ReasonWrittenOff)
	c.above(s.DaysPastDue, p.DaysPastDueMax, ReasonPastDue)
	c.above(s.ActiveLoans, p.ActiveLoansMax, ReasonActiveLoans)
}

func (c *course) business() {
	f, p := &c.in.Figures, c.policy
	months, least := uint64(max(0, f.MonthsInBusiness)), uint64(p.MonthsInBusinessMin)
	c.when(months < least, ReasonMonthsInBusiness, least, months)
	c.when(f.MonthlyTurnover.Less(p.TurnoverMin), ReasonTurnover, p.TurnoverMin.Lo,
		f.MonthlyTurnover.Lo)
	// Debt / turnover above the limit, both sides multiplied out.
	turnover, debt := f.MonthlyTurnover.Lo, f.ExistingDebt.Lo
	c.when(debt*1000 > turnover*uint64(p.DebtPermilleMax), ReasonDebt, uint64(p.DebtPermilleMax),
		debt*1000/max(turnover, 1))
}

func (c *course) score() {
	s, p := &c.in.Scores, c.policy
	points := int64(s.Points)
	switch {
	case s.Points < p.PointsDecline:
		c.when(true, ReasonPointsDecline, pointsText(int64(p.PointsDecline)), pointsText(points))
	case s.Points < p.PointsRefer:
		c.when(true, ReasonPointsRefer, pointsText(int64(p.PointsRefer)), pointsText(points))
	}
	weight := uint64(p.CardPermille)
	pd := (uint64(s.CardPDMicro)*weight + uint64(s.ModelPDMicro)*(1000-weight) + 500) / 1000
	c.d.PDMicro = uint32(pd)
	for i := range p.Bands {
		if pd <= uint64(p.Bands[i].PDMaxMicro) {
			c.band, c.d.Band = &p.Bands[i], p.Bands[i].Name
			break
		}
	}
	highest := uint64(p.Bands[len(p.Bands)-1].PDMaxMicro)
	switch {
	case pd > uint64(p.PDDeclineMicro):
		c.when(true, ReasonPDDecline, highest, pd)
	case c.band == nil:
		c.when(true, ReasonPDRefer, highest, pd)
	}
	for _, r := range c.d.Reasons {
		if r.Code/100 == ReasonPointsDecline/100 {
			c.d.Factors = heaviest(c.in.Factors)
			break
		}
	}
}

// pointsText keeps a reason's numbers unsigned: points below zero, which no card in use gives, are
// shown as zero.
func pointsText(points int64) uint64 { return uint64(max(0, points)) }

// heaviest returns the four factors with the greatest weights, the first of equal ones first.
func heaviest(factors []Factor) []Factor {
	var list []Factor
	for range min(principalFactors, len(factors)) {
		best := -1
		for i := range factors {
			if factors[i].Weight > 0 && !listed(list, factors[i].Code) &&
				(best < 0 || factors[i].Weight > factors[best].Weight) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		list = append(list, factors[best])
	}
	return list
}

func listed(list []Factor, code string) bool {
	for i := range list {
		if list[i].Code == code {
			return true
		}
	}
	return false
}

// offer sets the limit and what is offered: at most what is asked for, what the limit leaves, and
// what the turnover can carry.
func (c *course) offer() {
	f, p, step := &c.in.Figures, c.product, c.product.AmountStep.Lo
	limit := min(f.MonthlyTurnover.Lo*uint64(c.band.TurnoverPermille)/1000, c.band.LimitMax.Lo,
		c.policy.ExposureMax.Lo)
	left := limit - min(limit, c.in.Exposure.Lo)
	asked := f.Amount.Lo
	c.d.Limit, c.d.Rate = money.Minor(limit), c.band.Rate
	c.d.TermMonths = min(f.TermMonths, c.band.TermMax)
	amount := min(asked, left, p.AmountMax.Lo) / step * step
	if amount < p.AmountMin.Lo {
		c.when(true, ReasonLimitUsed, p.AmountMin.Lo, left)
		return
	}
	carried := c.carried(amount, step)
	if carried < p.AmountMin.Lo {
		smallest := (p.AmountMin.Lo + step - 1) / step * step
		c.when(true, ReasonDebtService, c.serviceMax(), c.service(smallest))
		return
	}
	c.d.Amount, c.d.Instalment = money.Minor(carried), money.Minor(c.instalment(carried))
	c.when(amount < asked && carried == amount, ReasonReducedLimit, carried, asked)
	c.when(carried < amount, ReasonReducedService, carried, asked)
	c.when(c.d.TermMonths < f.TermMonths, ReasonShorterTerm, uint64(c.d.TermMonths),
		uint64(max(0, f.TermMonths)))
}

// carried returns the greatest multiple of the step, at most amount, whose debt service the
// turnover can carry; zero where none is. The service rises with the amount, so halving finds it.
func (c *course) carried(amount, step uint64) uint64 {
	most := c.serviceMax()
	if c.service(amount) <= most {
		return amount
	}
	low, high := (c.product.AmountMin.Lo+step-1)/step, amount/step // in steps; high is too much
	if c.service(low*step) > most {
		return 0
	}
	for high-low > 1 {
		if middle := low + (high-low)/2; c.service(middle*step) <= most {
			low = middle
		} else {
			high = middle
		}
	}
	return low * step
}

// service returns a month's debt service with a loan of the amount.
func (c *course) service(amount uint64) uint64 {
	return c.instalment(amount) + c.in.Figures.ExistingDebt.Lo/uint64(c.policy.ServiceMonths)
}

func (c *course) serviceMax() uint64 {
	return c.in.Figures.MonthlyTurnover.Lo * uint64(c.policy.ServicePermilleMax) / 1000
}

// instalment returns the instalment of an offer, or more than any service where there is none.
func (c *course) instalment(amount uint64) uint64 {
	instalment, err := c.product.Instalment(Offer{Principal: money.Minor(amount), Rate: c.band.Rate,
		Months: c.d.TermMonths, Start: c.in.On})
	if err != nil {
		return 1 << 62
	}
	return instalment.Lo
}
