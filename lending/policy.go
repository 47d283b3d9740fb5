package lending

import (
	"surety/base/errs"
	"surety/base/money"
)

// Policy is the rules of a decision, as data. Every comparison is of integers: probabilities are in
// millionths, ratios in thousandths, amounts in minor units of the product's currency.
type Policy struct {
	// Name and Version are as a product's.
	Name    string `yaml:"name" json:"name"`
	Version uint32 `yaml:"version" json:"version"`

	// OpenApplicationsMax and the next three bound how often one person, or one phone number,
	// applies; the application itself is not counted.
	OpenApplicationsMax  uint32 `yaml:"open_applications_max" json:"open_applications_max"`
	ApplicationsDayMax   uint32 `yaml:"applications_day_max" json:"applications_day_max"`
	ApplicationsMonthMax uint32 `yaml:"applications_month_max" json:"applications_month_max"`
	PhoneDayMax          uint32 `yaml:"phone_day_max" json:"phone_day_max"`
	// ActiveLoansMax bounds the open loans of a customer, this one not counted; DaysPastDueMax how
	// late one of them may be. An earlier loan written off is always a reason to decline.
	ActiveLoansMax uint32 `yaml:"active_loans_max" json:"active_loans_max"`
	DaysPastDueMax uint32 `yaml:"days_past_due_max" json:"days_past_due_max"`

	MonthsInBusinessMin int          `yaml:"months_in_business_min" json:"months_in_business_min"`
	TurnoverMin         money.Amount `yaml:"turnover_min" json:"turnover_min"`
	// DebtPermilleMax bounds existing debt in thousandths of a month's turnover.
	DebtPermilleMax uint32 `yaml:"debt_permille_max" json:"debt_permille_max"`
	// ServicePermilleMax bounds the month's debt service in thousandths of the month's turnover:
	// the new instalment and existing debt spread over ServiceMonths.
	ServicePermilleMax uint32 `yaml:"service_permille_max" json:"service_permille_max"`
	ServiceMonths      uint32 `yaml:"service_months" json:"service_months"`

	// Points below PointsDecline decline, below PointsRefer refer.
	PointsDecline int32 `yaml:"points_decline" json:"points_decline"`
	PointsRefer   int32 `yaml:"points_refer" json:"points_refer"`
	// CardPermille is the weight of the scorecard's probability of default; the boosted model has
	// the rest of a thousand. Their mean falls into a band, or above all bands: then PDDeclineMicro
	// divides refer (up to it) from decline.
	CardPermille   uint32 `yaml:"card_permille" json:"card_permille"`
	PDDeclineMicro uint32 `yaml:"pd_decline_micro" json:"pd_decline_micro"`
	// ExposureMax bounds what one customer may owe, whatever the band.
	ExposureMax money.Amount `yaml:"exposure_max" json:"exposure_max"`
	// Bands are the risks that are lent to, by rising probability.
	Bands []Band `yaml:"bands" json:"bands"`
}

// Band is a range of risk and what is offered in it.
type Band struct {
	Name string `yaml:"name" json:"name"` // 1 to 40 of a-z, 0-9 and hyphens
	// PDMaxMicro is the greatest probability of default in the band.
	PDMaxMicro uint32 `yaml:"pd_max_micro" json:"pd_max_micro"`
	// Rate is the nominal annual rate, in percent.
	Rate Rate `yaml:"rate" json:"rate"`
	// The limit is TurnoverPermille thousandths of a month's turnover, at most LimitMax.
	TurnoverPermille uint32       `yaml:"turnover_permille" json:"turnover_permille"`
	LimitMax         money.Amount `yaml:"limit_max" json:"limit_max"`
	// TermMax is the longest term, in months.
	TermMax int `yaml:"term_max" json:"term_max"`
}

// DefaultPolicy returns the policy that goes with Merchant310.
func DefaultPolicy() Policy {
	return Policy{
		Name: "merchant-310", Version: 1,
		OpenApplicationsMax: 0, ApplicationsDayMax: 3, ApplicationsMonthMax: 10, PhoneDayMax: 3,
		ActiveLoansMax: 2, DaysPastDueMax: 0,
		MonthsInBusinessMin: 3, TurnoverMin: money.Minor(1_000_00), DebtPermilleMax: 12_000,
		ServicePermilleMax: 400, ServiceMonths: 24,
		PointsDecline: 520, PointsRefer: 522,
		CardPermille: 300, PDDeclineMicro: 121_000,
		ExposureMax: money.Minor(300_000_00),
		Bands: []Band{
			{"a", 20_000, MustRate("7.2"), 3_000, money.Minor(300_000_00), 24},
			{"b", 40_000, MustRate("9"), 2_500, money.Minor(200_000_00), 24},
			{"c", 80_000, MustRate("10.8"), 2_000, money.Minor(100_000_00), 18},
			{"d", 120_000, MustRate("14.4"), 1_500, money.Minor(50_000_00), 12},
		},
	}
}

// Validate returns nil for a policy that can decide under the product, and otherwise an error of
// kind Invalid that names the first field out of its limits.
func (p *Policy) Validate(product *Product) error {
	lent := money.Minor(lentMax)
	switch {
	case len(p.Name) < 1 || len(p.Name) > nameMax || !isName(p.Name):
		return p.bad("name", "%q, want 1 to %d of a-z, 0-9 and hyphens", clip(p.Name), nameMax)
	case p.Version == 0:
		return p.bad("version", "0, want at least 1")
	case p.MonthsInBusinessMin < 0 || p.MonthsInBusinessMin > monthsInBusinessMax:
		return p.bad("months_in_business_min", "%d, want 0 to %d", p.MonthsInBusinessMin,
			monthsInBusinessMax)
	case lent.Less(p.TurnoverMin):
		return p.bad("turnover_min", "%s, want at most %s", p.TurnoverMin, lent)
	case p.DebtPermilleMax > permilleMax:
		return p.bad("debt_permille_max", "%d, want at most %d", p.DebtPermilleMax, permilleMax)
	case p.ServicePermilleMax > permilleMax:
		return p.bad("service_permille_max", "%d, want at most %d", p.ServicePermilleMax, permilleMax)
	case p.ServiceMonths < 1 || p.ServiceMonths > termMax:
		return p.bad("service_months", "%d, want 1 to %d", p.ServiceMonths, termMax)
	case p.PointsRefer < p.PointsDecline:
		return p.bad("points_refer", "%d, want at least points_decline, %d", p.PointsRefer, p.PointsDecline)
	case p.CardPermille > 1000:
		return p.bad("card_permille", "%d, want 0 to 1000", p.CardPermille)
	case p.ExposureMax.IsZero() || lent.Less(p.ExposureMax):
		return p.bad("exposure_max", "%s, want 1 to %s", p.ExposureMax, lent)
	case len(p.Bands) < 1 || len(p.Bands) > bandsMax:
		return p.bad("bands", "%d bands, want 1 to %d", len(p.Bands), bandsMax)
	}
	return p.validateBands(product, lent)
}

func (p *Policy) validateBands(product *Product, lent money.Amount) error {
	below := uint32(0)
	for i := range p.Bands {
		b := &p.Bands[i]
		field := "bands." + clip(b.Name) + "."
		switch {
		case len(b.Name) < 1 || len(b.Name) > nameMax || !isName(b.Name):
			return p.bad("bands", "band %d named %q, want 1 to %d of a-z, 0-9 and hyphens", i+1,
				clip(b.Name), nameMax)
		case b.PDMaxMicro <= below || b.PDMaxMicro > micro:
			return p.bad(field+"pd_max_micro", "%d, want more than the band before, %d, to %d",
				b.PDMaxMicro, below, micro)
		case b.Rate > product.RateMax:
			return p.bad(field+"rate", "%s percent, the limit of %s is %s", b.Rate, product.Name,
				product.RateMax)
		case b.TurnoverPermille < 1 || b.TurnoverPermille > permilleMax:
			return p.bad(field+"turnover_permille", "%d, want 1 to %d", b.TurnoverPermille, permilleMax)
		case b.LimitMax.IsZero() || lent.Less(b.LimitMax):
			return p.bad(field+"limit_max", "%s, want 1 to %s", b.LimitMax, lent)
		case b.TermMax < product.TermMin || b.TermMax > product.TermMax:
			return p.bad(field+"term_max", "%d months, %s lends for %d to %d", b.TermMax, product.Name,
				product.TermMin, product.TermMax)
		}
		below = b.PDMaxMicro
	}
	if p.PDDeclineMicro < below || p.PDDeclineMicro > micro {
		return p.bad("pd_decline_micro", "%d, want at least the last band's, %d, to %d", p.PDDeclineMicro,
			below, micro)
	}
	return nil
}

func (p *Policy) bad(field, format string, args ...any) error {
	return errs.New(errs.Invalid, "lending.policy: "+clip(p.Name)+": "+field+" is "+format, args...)
}

const policyFormat = "surety.policy 1"

// Encode returns the policy's canonical text.
func (p *Policy) Encode() []byte {
	e := newEncoder(policyFormat, 1024)
	e.word("policy", p.Name)
	for _, n := range p.numbers() {
		e.number(n.key, uint64(*n.number))
	}
	e.number("months_in_business_min", uint64(p.MonthsInBusinessMin))
	e.amount("turnover_min", p.TurnoverMin)
	e.signed("points_decline", int64(p.PointsDecline))
	e.signed("points_refer", int64(p.PointsRefer))
	e.amount("exposure_max", p.ExposureMax)
	e.number("bands", uint64(len(p.Bands)))
	for i := range p.Bands {
		b := &p.Bands[i]
		e.word("band", b.Name)
		e.number("pd_max_micro", uint64(b.PDMaxMicro))
		e.rate("rate_percent", b.Rate)
		e.number("turnover_permille", uint64(b.TurnoverPermille))
		e.amount("limit_max", b.LimitMax)
		e.number("term_max", uint64(b.TermMax))
	}
	return e.b
}

// namedNumber is a number of the policy and its key.
type namedNumber struct {
	key    string
	number *uint32
}

func (p *Policy) numbers() [12]namedNumber {
	return [...]namedNumber{{"version", &p.Version},
		{"open_applications_max", &p.OpenApplicationsMax},
		{"applications_day_max", &p.ApplicationsDayMax},
		{"applications_month_max", &p.ApplicationsMonthMax},
		{"phone_day_max", &p.PhoneDayMax}, {"active_loans_max", &p.ActiveLoansMax},
		{"days_past_due_max", &p.DaysPastDueMax}, {"debt_permille_max", &p.DebtPermilleMax},
		{"service_permille_max", &p.ServicePermilleMax}, {"service_months", &p.ServiceMonths},
		{"card_permille", &p.CardPermille}, {"pd_decline_micro", &p.PDDeclineMicro}}
}

// Digest returns the SHA-256 of Encode.
func (p *Policy) Digest() Digest { return DigestOf(p.Encode()) }

// DecodePolicy is the inverse of Encode for a policy that is valid under the product; kind Corrupt
// for anything else.
func DecodePolicy(data []byte, product *Product) (Policy, error) {
	d := newDecoder("lending.policy", policyFormat, data)
	var p Policy
	p.Name = d.word("policy")
	for _, n := range p.numbers() {
		*n.number = uint32(d.number(n.key, 1<<32-1))
	}
	p.MonthsInBusinessMin = int(d.number("months_in_business_min", monthsInBusinessMax))
	p.TurnoverMin = d.amount("turnover_min")
	p.PointsDecline, p.PointsRefer = d.points("points_decline"), d.points("points_refer")
	p.ExposureMax = d.amount("exposure_max")
	for range d.number("bands", bandsMax) {
		var b Band
		b.Name = d.word("band")
		b.PDMaxMicro = uint32(d.number("pd_max_micro", micro))
		b.Rate = d.rate("rate_percent")
		b.TurnoverPermille = uint32(d.number("turnover_permille", permilleMax))
		b.LimitMax = d.amount("limit_max")
		b.TermMax = int(d.number("term_max", termMax))
		p.Bands = append(p.Bands, b)
	}
	if d.err == nil {
		if err := p.Validate(product); err != nil {
			d.fail("%v", err)
		}
	}
	if err := d.close(data, p.Encode); err != nil {
		return Policy{}, err
	}
	return p, nil
}

func (d *decoder) points(key string) int32 {
	n := d.signed(key)
	if n < -1<<31 || n > 1<<31-1 {
		d.fail("%s is %d, beyond 32 bits", key, n)
	}
	return int32(n)
}
