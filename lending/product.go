package lending

import (
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
)

// Product is the terms a lender offers, as data: everything that may differ between two lenders is
// a field here and not a branch in code. A contract holds a copy, so that a later version of the
// product changes no loan that was made under an earlier one. The keys are those of the
// configuration file, where an unknown key is an error.
type Product struct {
	// Name is unique among products, 1 to 40 of a-z, 0-9 and hyphens; Version counts from 1.
	Name    string `yaml:"name" json:"name"`
	Version uint32 `yaml:"version" json:"version"`
	// Currency is an ISO 4217 code. All amounts below are in its minor units.
	Currency string `yaml:"currency" json:"currency"`

	// Rate is the nominal annual rate where a policy's risk band names no other, in percent;
	// RateMax is the greatest a band may name.
	Rate    Rate `yaml:"rate" json:"rate"`
	RateMax Rate `yaml:"rate_max" json:"rate_max"`
	// DayCount measures the periods that interest is charged for.
	DayCount DayCount `yaml:"day_count" json:"day_count"`
	// Rounding turns exact interest, fees and penalties into minor units.
	Rounding Rounding `yaml:"rounding" json:"rounding"`
	// InstalmentRounding turns the exact instalment into a multiple of InstalmentStep minor units.
	InstalmentRounding Rounding `yaml:"instalment_rounding" json:"instalment_rounding"`
	InstalmentStep     uint64   `yaml:"instalment_step" json:"instalment_step"`

	// DueDay is the day of the month on which instalments are due, in a shorter month its last
	// day; 0 means the day of disbursement.
	DueDay int `yaml:"due_day" json:"due_day"`
	// FirstPeriodDaysMin is the least number of days before the first due date; with a DueDay of 0
	// it has no effect.
	FirstPeriodDaysMin int `yaml:"first_period_days_min" json:"first_period_days_min"`

	// AmountMin and AmountMax bound the principal, which is a multiple of AmountStep.
	AmountMin  money.Amount `yaml:"amount_min" json:"amount_min"`
	AmountMax  money.Amount `yaml:"amount_max" json:"amount_max"`
	AmountStep money.Amount `yaml:"amount_step" json:"amount_step"`
	// TermMin and TermMax bound the number of monthly instalments.
	TermMin int `yaml:"term_min" json:"term_min"`
	TermMax int `yaml:"term_max" json:"term_max"`

	// FeePermille is the origination fee in thousandths of the principal, taken from the
	// customer's account at disbursement.
	FeePermille uint32 `yaml:"fee_permille" json:"fee_permille"`

	// PenaltyRate is the annual rate on what PenaltyBase names, by PenaltyDayCount, from the due
	// date on once more than GraceDays have passed.
	PenaltyRate     Rate        `yaml:"penalty_rate" json:"penalty_rate"`
	PenaltyBase     PenaltyBase `yaml:"penalty_base" json:"penalty_base"`
	PenaltyDayCount DayCount    `yaml:"penalty_day_count" json:"penalty_day_count"`
	GraceDays       int         `yaml:"grace_days" json:"grace_days"`
	// PenaltyEveryDays is how many days a late loan goes between two charges that Next proposes;
	// the total does not depend on it.
	PenaltyEveryDays int `yaml:"penalty_every_days" json:"penalty_every_days"`
	// OverdueInterest says whether overdue principal bears the ordinary interest.
	OverdueInterest OverdueInterest `yaml:"overdue_interest" json:"overdue_interest"`

	// Allocation is the order in which a repayment pays what is due: each component once.
	Allocation [4]Component `yaml:"allocation" json:"allocation"`
	// EarlyRepayment says what money beyond what is due does.
	EarlyRepayment EarlyRepayment `yaml:"early_repayment" json:"early_repayment"`
	// WriteOffDays is how many days past due a loan must be before it may be written off.
	WriteOffDays int `yaml:"write_off_days" json:"write_off_days"`
}

// ID returns the id that owns the product's shared accounts, derived from the name.
func (p *Product) ID() ident.ID { return ProductID(p.Name) }

// ProductID returns the id of the product of that name.
func ProductID(name string) ident.ID { return ident.Derive("product", name) }

// Merchant310 returns the product that is offered where the configuration names no other: small
// loans to merchants in yuan, by equal monthly instalments.
func Merchant310() Product {
	return Product{
		Name: "merchant-310", Version: 1, Currency: "CNY",
		Rate: MustRate("10.8"), RateMax: MustRate("24"),
		DayCount: Monthly, Rounding: RoundHalfEven,
		InstalmentRounding: RoundUp, InstalmentStep: 1,
		AmountMin: money.Minor(1_000_00), AmountMax: money.Minor(300_000_00),
		AmountStep: money.Minor(100_00), TermMin: 3, TermMax: 24,
		FeePermille: 5,
		PenaltyRate: MustRate("21.6"), PenaltyBase: PenaltyOnPrincipal, PenaltyDayCount: Act360,
		GraceDays: 3, PenaltyEveryDays: 7, OverdueInterest: OverdueStops,
		Allocation:     [4]Component{Penalty, Fee, Interest, Principal},
		EarlyRepayment: EarlyNext, WriteOffDays: 180,
	}
}

// Component is a part of what a borrower owes. The numbers are stored: never renumber.
type Component uint8

// The components.
const (
	Penalty   Component = 1
	Fee       Component = 2 // this product collects its fee at disbursement: none is ever due
	Interest  Component = 3
	Principal Component = 4
)

var componentNames = [...]string{1: "penalty", 2: "fee", 3: "interest", 4: "principal"}

// String returns the name used in configuration.
func (c Component) String() string { return enumText(componentNames[:], int(c)) }

// MarshalText encodes the name; an unknown component is an error of kind Invalid.
func (c Component) MarshalText() ([]byte, error) {
	return enumMarshal("allocation", componentNames[:], int(c))
}

// UnmarshalText accepts what MarshalText gives.
func (c *Component) UnmarshalText(text []byte) error {
	n, err := enumParse("allocation", componentNames[:], string(text))
	*c = Component(n)
	return err
}

// PenaltyBase is what a penalty is charged on. The numbers are stored: never renumber.
type PenaltyBase uint8

// The penalty bases.
const (
	PenaltyOnPrincipal  PenaltyBase = 1 // overdue principal
	PenaltyOnInstalment PenaltyBase = 2 // overdue principal and overdue interest
)

var penaltyBaseNames = [...]string{1: "principal", 2: "instalment"}

// String returns the name used in configuration.
func (b PenaltyBase) String() string { return enumText(penaltyBaseNames[:], int(b)) }

// MarshalText encodes the name; an unknown base is an error of kind Invalid.
func (b PenaltyBase) MarshalText() ([]byte, error) {
	return enumMarshal("penalty_base", penaltyBaseNames[:], int(b))
}

// UnmarshalText accepts what MarshalText gives.
func (b *PenaltyBase) UnmarshalText(text []byte) error {
	n, err := enumParse("penalty_base", penaltyBaseNames[:], string(text))
	*b = PenaltyBase(n)
	return err
}

// OverdueInterest says whether principal that was not paid when due goes on bearing the ordinary
// interest. The numbers are stored: never renumber.
type OverdueInterest uint8

// The rules for interest on overdue principal.
const (
	// OverdueAccrues charges interest on all principal outstanding. The instalments keep their
	// amount, so that what is late lengthens the last of them, and interest runs past maturity.
	OverdueAccrues OverdueInterest = 1
	// OverdueStops charges overdue principal the penalty rate alone.
	OverdueStops OverdueInterest = 2
)

var overdueNames = [...]string{1: "accrues", 2: "stops"}

// String returns the name used in configuration.
func (o OverdueInterest) String() string { return enumText(overdueNames[:], int(o)) }

// MarshalText encodes the name; an unknown rule is an error of kind Invalid.
func (o OverdueInterest) MarshalText() ([]byte, error) {
	return enumMarshal("overdue_interest", overdueNames[:], int(o))
}

// UnmarshalText accepts what MarshalText gives.
func (o *OverdueInterest) UnmarshalText(text []byte) error {
	n, err := enumParse("overdue_interest", overdueNames[:], string(text))
	*o = OverdueInterest(n)
	return err
}

// EarlyRepayment says what a repayment beyond everything due does to the instalments to come; it
// reduces principal at once, and so interest, under every rule. The numbers are stored: never
// renumber.
type EarlyRepayment uint8

// The rules of early repayment.
const (
	EarlyNext       EarlyRepayment = 1 // counts toward the next instalments: less is due then
	EarlyShorten    EarlyRepayment = 2 // instalments stay, the loan ends sooner
	EarlyReamortise EarlyRepayment = 3 // the number of instalments stays, each is lower
)

var earlyNames = [...]string{1: "next", 2: "shorten", 3: "reamortise"}

// String returns the name used in configuration.
func (e EarlyRepayment) String() string { return enumText(earlyNames[:], int(e)) }

// MarshalText encodes the name; an unknown rule is an error of kind Invalid.
func (e EarlyRepayment) MarshalText() ([]byte, error) {
	return enumMarshal("early_repayment", earlyNames[:], int(e))
}

// UnmarshalText accepts what MarshalText gives.
func (e *EarlyRepayment) UnmarshalText(text []byte) error {
	n, err := enumParse("early_repayment", earlyNames[:], string(text))
	*e = EarlyRepayment(n)
	return err
}

// Validate returns nil for a product that can be offered, and otherwise an error of kind Invalid
// that names the first field out of its limits, what it is and what it may be.
func (p *Product) Validate() error {
	currency, err := money.CurrencyOf(p.Currency)
	if err != nil || currency.Code != p.Currency {
		return p.bad("currency", "%q, want a known ISO 4217 code in capitals", clip(p.Currency))
	}
	for _, check := range []func() error{p.validateName, p.validateRates, p.validateDates,
		p.validateAmounts, p.validateFirstPeriod, p.validateLate, p.validateAllocation} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (p *Product) validateName() error {
	if len(p.Name) < 1 || len(p.Name) > nameMax || !isName(p.Name) {
		return p.bad("name", "%q, want 1 to %d of a-z, 0-9 and hyphens", clip(p.Name), nameMax)
	}
	if p.Version == 0 {
		return p.bad("version", "0, want at least 1")
	}
	return nil
}

func (p *Product) validateRates() error {
	switch {
	case p.RateMax > productRateMax:
		return p.bad("rate_max", "%s percent, want at most %s", p.RateMax, productRateMax)
	case p.Rate > p.RateMax:
		return p.bad("rate", "%s percent, want at most rate_max, %s", p.Rate, p.RateMax)
	case !enumKnown(dayCountNames[:], int(p.DayCount)):
		return p.bad("day_count", "unknown, want one of %s", enumList(dayCountNames[:]))
	case !enumKnown(roundingNames[:], int(p.Rounding)):
		return p.bad("rounding", "unknown, want one of %s", enumList(roundingNames[:]))
	case !enumKnown(roundingNames[:], int(p.InstalmentRounding)):
		return p.bad("instalment_rounding", "unknown, want one of %s", enumList(roundingNames[:]))
	case p.InstalmentStep < 1 || p.InstalmentStep > instalmentStepMax:
		return p.bad("instalment_step", "%d, want 1 to %d", p.InstalmentStep, instalmentStepMax)
	case p.FeePermille > feePermilleMax:
		return p.bad("fee_permille", "%d, want 0 to %d", p.FeePermille, feePermilleMax)
	}
	return nil
}

func (p *Product) validateDates() error {
	switch {
	case p.DueDay < 0 || p.DueDay > 31:
		return p.bad("due_day", "%d, want 0 to 31", p.DueDay)
	case p.FirstPeriodDaysMin < 0 || p.FirstPeriodDaysMin > firstPeriodDaysMax:
		return p.bad("first_period_days_min", "%d, want 0 to %d", p.FirstPeriodDaysMin,
			firstPeriodDaysMax)
	case p.TermMin < 1 || p.TermMin > termMax:
		return p.bad("term_min", "%d months, want 1 to %d", p.TermMin, termMax)
	case p.TermMax < p.TermMin || p.TermMax > termMax:
		return p.bad("term_max", "%d months, want term_min, %d, to %d", p.TermMax, p.TermMin, termMax)
	}
	return nil
}

func (p *Product) validateAmounts() error {
	least := money.Minor(uint64(p.TermMax) * p.InstalmentStep * instalmentStepsMin)
	greatest := money.Minor(lentMax)
	switch {
	case p.AmountStep.IsZero() || greatest.Less(p.AmountStep):
		return p.bad("amount_step", "%s, want 1 to %s", p.AmountStep, greatest)
	case p.AmountMin.Less(least):
		return p.bad("amount_min", "%s, want at least %s: %d steps of each of %d instalments",
			p.AmountMin, least, instalmentStepsMin, p.TermMax)
	case p.AmountMax.Less(p.AmountMin) || greatest.Less(p.AmountMax):
		return p.bad("amount_max", "%s, want amount_min, %s, to %s", p.AmountMax, p.AmountMin, greatest)
	}
	return nil
}

// validateFirstPeriod refuses a product whose longest first period could cost more interest than
// an instalment pays, at the highest rate and the longest term.
func (p *Product) validateFirstPeriod() error {
	longest := 31
	if p.DueDay > 0 {
		longest = max(1, p.FirstPeriodDaysMin) + 31
	}
	years := make([]Fraction, p.TermMax)
	for i := range years {
		years[i] = Fraction{1, 12}
	}
	years[0] = Fraction{uint64(longest), 360}
	instalment, err := p.annuity(p.AmountMax, p.RateMax, years).Instalment()
	if err != nil {
		return err
	}
	interest := mustInterest(p.AmountMax, p.RateMax, years[0], RoundUp)
	if p.TermMax > 1 && !interest.Less(instalment) {
		return p.bad("first_period_days_min",
			"%d: a first period of %d days at %s percent costs more than one of %d instalments",
			p.FirstPeriodDaysMin, longest, p.RateMax, p.TermMax)
	}
	return nil
}

func (p *Product) validateLate() error {
	switch {
	case p.PenaltyRate > productRateMax:
		return p.bad("penalty_rate", "%s percent, want at most %s", p.PenaltyRate, productRateMax)
	case !enumKnown(penaltyBaseNames[:], int(p.PenaltyBase)):
		return p.bad("penalty_base", "unknown, want one of %s", enumList(penaltyBaseNames[:]))
	case p.PenaltyDayCount != Act360 && p.PenaltyDayCount != Act365F:
		return p.bad("penalty_day_count", "%s, want %s or %s", p.PenaltyDayCount, Act360, Act365F)
	case p.GraceDays < 0 || p.GraceDays > graceDaysMax:
		return p.bad("grace_days", "%d, want 0 to %d", p.GraceDays, graceDaysMax)
	case p.PenaltyEveryDays < 1 || p.PenaltyEveryDays > 31:
		return p.bad("penalty_every_days", "%d, want 1 to 31", p.PenaltyEveryDays)
	case !enumKnown(overdueNames[:], int(p.OverdueInterest)):
		return p.bad("overdue_interest", "unknown, want one of %s", enumList(overdueNames[:]))
	case p.WriteOffDays <= p.GraceDays || p.WriteOffDays > writeOffDaysMax:
		return p.bad("write_off_days", "%d, want more than grace_days, %d, to %d", p.WriteOffDays,
			p.GraceDays, writeOffDaysMax)
	}
	return nil
}

func (p *Product) validateAllocation() error {
	var seen [5]bool
	for i, c := range p.Allocation {
		if !enumKnown(componentNames[:], int(c)) || seen[c] {
			return p.bad("allocation", "%s in place %d, want each of %s once", c, i+1,
				enumList(componentNames[:]))
		}
		seen[c] = true
	}
	if !enumKnown(earlyNames[:], int(p.EarlyRepayment)) {
		return p.bad("early_repayment", "unknown, want one of %s", enumList(earlyNames[:]))
	}
	return nil
}

func (p *Product) bad(field, format string, args ...any) error {
	return errs.New(errs.Invalid, "lending.product: "+clip(p.Name)+": "+field+" is "+format, args...)
}

func isName(text string) bool {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
