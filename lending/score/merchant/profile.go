package merchant

import (
	"surety/lending/score"
	"surety/lending/score/portable"
)

// Profile is one synthetic merchant who asks for a loan. Amounts are in minor units of the
// currency; permille are thousandths.
type Profile struct {
	Index uint64 // which merchant of the population

	// What a lender knows, in the order of Values and of the mapping "merchant".
	MonthsInBusiness            int64 // 1 to 360
	MonthlyTurnoverMinor        int64 // mean of the last three months
	TurnoverTrendPermille       int64 // last three months against the three before: 0 is no change
	Transactions30d             int64 // at least 1
	Customers90d                int64 // different ones, at least 1
	RefundRatePermille          int64 // of turnover
	Chargebacks90d              int64
	ActiveDays90d               int64 // 1 to 90
	NightSharePermille          int64 // of sales between 22:00 and 06:00
	ExistingDebtMinor           int64 // owed to others
	LatePayments12m             int64
	MaxDaysLate12m              int64 // 0 exactly if LatePayments12m is
	PlatformAgeMonths           int64 // 0 to MonthsInBusiness
	RequestedToTurnoverPermille int64 // RequestedMinor / MonthlyTurnoverMinor
	Employees                   int64

	RequestedMinor int64  // a multiple of 10,000
	TermMonths     int64  // 3, 6, 9, 12, 18 or 24
	OwnerAge       int64  // protected
	OwnerGroup     string // protected: one of three made-up groups

	// What only the simulation knows.
	TruePDMicro int64 // probability of default within a year, in parts per million
	Defaulted   bool  // how it ended: drawn with that probability
}

// FeatureCount is the number of values a profile has for a model.
const FeatureCount = 15

// Values appends the features to values, in the order of the mapping "merchant" and of the shipped
// models, and returns it.
func (p *Profile) Values(values []int64) []int64 {
	return append(values,
		p.MonthsInBusiness, p.MonthlyTurnoverMinor, p.TurnoverTrendPermille, p.Transactions30d,
		p.Customers90d, p.RefundRatePermille, p.Chargebacks90d, p.ActiveDays90d,
		p.NightSharePermille, p.ExistingDebtMinor, p.LatePayments12m, p.MaxDaysLate12m,
		p.PlatformAgeMonths, p.RequestedToTurnoverPermille, p.Employees)
}

// At returns the merchant of an index in the population of a seed. It takes about a microsecond,
// and any index may be asked for in any order.
func At(seed, index uint64) Profile {
	d := draw{Stream: portable.NewStream(portable.Mix(seed) + index)}
	d.skill, d.size = d.Normal(), d.Normal()
	p := Profile{Index: index}
	d.business(&p)
	d.sales(&p)
	d.history(&p)
	d.request(&p)
	d.owner(&p)
	odds := d.risk(&p)
	p.TruePDMicro = min(max(portable.Round(float64(portable.Sigmoid(odds)*score.Micro)), 1),
		score.Micro-1)
	p.Defaulted = d.Below(score.Micro) < p.TruePDMicro
	return p
}

// draw is the randomness of one merchant and the two traits behind most of the facts: how well the
// owner manages, and how large the business is, each of mean 0 and variance 1.
type draw struct {
	*portable.Stream
	skill, size float64
}

// scaled returns e^(center + spread·normal), rounded, within bounds: the shape of most quantities.
func (d *draw) scaled(center, spread float64, low, high int64) int64 {
	v := portable.Exp(center + float64(spread*d.Normal()))
	return min(max(portable.Round(v), low), high)
}

// events returns a count of rare events with the given mean, at most 30 (Poisson).
func (d *draw) events(mean float64) int64 {
	left, probability := d.Unit(), portable.Exp(-mean)
	for count := int64(0); ; count++ {
		left -= probability
		if left <= 0 || count == 30 {
			return count
		}
		probability = float64(probability*mean) / float64(count+1)
	}
}

// times returns a·b: a product that no compiler fuses into the sum it stands in.
func times(a, b float64) float64 { return float64(a * b) }

func (d *draw) business(p *Profile) {
	p.MonthsInBusiness = d.scaled(3.1+times(0.15, d.skill), 0.95, 1, 360)
	p.PlatformAgeMonths = d.Below(min(p.MonthsInBusiness, 96) + 1)
	p.Employees = d.scaled(0.4+times(0.8, d.size), 0.5, 1, 60) - 1
	p.MonthlyTurnoverMinor = d.scaled(14.9+times(0.9, d.size)+times(0.15, d.skill), 0.3,
		50_000, 2_000_000_000)
	p.TurnoverTrendPermille = min(max(portable.Round(
		20+times(80, d.skill)+times(140, d.Normal())), -700), 1500)
}

func (d *draw) sales(p *Profile) {
	ticket := d.scaled(8.4, 0.7, 200, 2_000_000)
	p.Transactions30d = min(max(p.MonthlyTurnoverMinor/ticket, 1), 60_000)
	loyalty := 150 + d.Below(750) // of a thousand sales, those to a customer not seen before
	p.Customers90d = max(p.Transactions30d*3*loyalty/1000, 1)
	open := portable.Sigmoid(1.4 + times(0.6, d.skill) + times(0.5, d.Normal()))
	p.ActiveDays90d = min(max(portable.Round(times(90, open)), 1), 90)
	p.RefundRatePermille = d.scaled(2.2-times(0.35, d.skill), 0.7, 0, 400)
	p.Chargebacks90d = d.events(portable.Exp(-1.6 - times(0.5, d.skill) + times(0.6, d.Normal())))
	center := 3.6
	if d.Below(1000) < 180 { // a bar, a night shop
		center = 6.1
	}
	p.NightSharePermille = d.scaled(center, 0.4, 0, 950)
}

func (d *draw) history(p *Profile) {
	late := 0.25
	if d.Below(1000) < 450 {
		late = 0.9
		share := d.scaled(6.3-times(0.15, d.skill), 0.8, 20, 9_000)
		p.ExistingDebtMinor = p.MonthlyTurnoverMinor * share / 1000
	}
	p.LatePayments12m = d.events(times(late, portable.Exp(-times(0.7, d.skill))))
	if p.LatePayments12m > 0 {
		center := 1.5 + times(0.25, float64(min(p.LatePayments12m, 6))) - times(0.25, d.skill)
		p.MaxDaysLate12m = d.scaled(center, 0.8, 1, 180)
	}
}

func (d *draw) request(p *Profile) {
	const step = 10_000
	share := d.scaled(6.6-times(0.1, d.skill), 0.6, 50, 6_000)
	p.RequestedMinor = max(p.MonthlyTurnoverMinor*share/1000/step, 1) * step
	p.RequestedToTurnoverPermille = p.RequestedMinor * 1000 / p.MonthlyTurnoverMinor
	terms := [...]int64{3, 6, 6, 9, 12, 12, 12, 18, 24}
	p.TermMonths = terms[d.Below(int64(len(terms)))]
}

func (d *draw) owner(p *Profile) {
	youngest := 18 + p.MonthsInBusiness/12
	age := portable.Round(38 + times(10, d.Normal()))
	p.OwnerAge = min(max(age, youngest), 80)
	groups := [...]string{"group a", "group a", "group a", "group b", "group b", "group c"}
	p.OwnerGroup = groups[d.Below(int64(len(groups)))]
}

// risk returns the log-odds of default.
func (d *draw) risk(p *Profile) float64 {
	turnover := float64(p.MonthlyTurnoverMinor)
	asked := float64(p.RequestedToTurnoverPermille) / 1000
	trend := float64(p.TurnoverTrendPermille) / 1000
	odds := -3.55 +
		times(0.30, float64(min(p.LatePayments12m, 5))) +
		times(0.35, float64(min(p.Chargebacks90d, 4))) +
		times(0.95, portable.Exp(-float64(p.MonthsInBusiness)/12)) +
		times(0.60, portable.Ln(1+float64(p.ExistingDebtMinor)/turnover)) +
		times(0.55, portable.Ln(max(asked, 0.1))) -
		times(0.20, portable.Ln(turnover/3_000_000)) -
		times(1.30, min(max(trend, -0.5), 0.5)) -
		times(1.60, float64(p.ActiveDays90d)/90-0.78) -
		times(0.35, float64(min(p.PlatformAgeMonths, 36))/36) +
		times(0.006, float64(max(p.RefundRatePermille-25, 0)))
	if p.MaxDaysLate12m > 30 {
		odds += 0.7
	}
	if asked > 1.2 && trend < -0.05 {
		odds += 0.8
	}
	if p.NightSharePermille > 600 {
		odds += 0.25
	}
	if p.Customers90d < p.Transactions30d {
		odds += 0.3
	}
	return odds - times(0.35, d.skill) + times(0.45, d.Normal())
}
