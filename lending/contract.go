package lending

import (
	"strconv"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/invariant"
	"surety/base/money"
)

// Contract is what borrower and lender agree on: the terms in full, the plan of payments, what the
// loan costs and the annual rates at which the law has that disclosed. It is made once by
// NewContract and never changed; its digest names it for ever.
type Contract struct {
	Loan        ident.ID
	Application ident.ID
	Customer    ident.ID
	Decision    Digest // of the decision that approved it
	// Product is a copy of the product's terms on the day.
	Product  Product
	Offer    Offer // Offer.Start is the day of disbursement
	Schedule Schedule

	TotalInterest money.Amount
	TotalCost     money.Amount // interest and fee
	TotalPayable  money.Amount // principal and interest: the sum of all payments
	// The borrower's advance is the principal less the fee. APREU is the effective rate of 2008/48/EC
	// Annex I, APRUS the nominal one of 12 CFR 1026 Appendix J with a unit-period of a month.
	APREU Rate
	APRUS Rate
}

// Parties are the ids that a contract binds together.
type Parties struct {
	Loan        ident.ID
	Application ident.ID
	Customer    ident.ID
	Decision    Digest
}

// NewContract draws up the contract of an offer under a valid product. Errors are of kind Invalid:
// an id that is zero, an offer that the product does not make.
func NewContract(parties Parties, p Product, o Offer) (Contract, error) {
	if parties.Loan.IsZero() || parties.Application.IsZero() || parties.Customer.IsZero() {
		return Contract{}, errs.New(errs.Invalid,
			"lending.contract: loan %s, application %s, customer %s: none may be zero", parties.Loan,
			parties.Application, parties.Customer)
	}
	c := Contract{Loan: parties.Loan, Application: parties.Application, Customer: parties.Customer,
		Decision: parties.Decision, Product: p, Offer: o}
	if err := c.compute(); err != nil {
		return Contract{}, errs.Wrap(err, "lending.contract: loan %s", parties.Loan)
	}
	return c, nil
}

// compute fills in all that follows from the product and the offer.
func (c *Contract) compute() error {
	schedule, err := c.Product.Schedule(c.Offer)
	if err != nil {
		return err
	}
	c.Schedule = schedule
	c.TotalInterest = schedule.Interest()
	c.TotalCost = plus(c.TotalInterest, schedule.Fee)
	c.TotalPayable = plus(c.Offer.Principal, c.TotalInterest)
	advance := minus(c.Offer.Principal, schedule.Fee)
	payments := schedule.Payments()
	if c.APREU, err = EUEffective(advance, c.Offer.Start, payments); err != nil {
		return err
	}
	c.APRUS, err = USActuarial(advance, c.Offer.Start, payments, UnitPeriod{Months: 1})
	return err
}

// Verify computes the contract again from its product and offer, and returns an error of kind
// Corrupt where anything in it differs.
func (c *Contract) Verify() error {
	parties := Parties{c.Loan, c.Application, c.Customer, c.Decision}
	again, err := NewContract(parties, c.Product, c.Offer)
	if err != nil {
		return errs.As(errs.Corrupt, err, "lending.contract: loan %s", c.Loan)
	}
	if got, want := c.Digest(), again.Digest(); got != want {
		return errs.New(errs.Corrupt,
			"lending.contract: loan %s: the terms give digest %s, the contract has %s", c.Loan, want, got)
	}
	return nil
}

// Currency returns the currency of all amounts in the contract.
func (c *Contract) Currency() money.Currency {
	currency, err := money.CurrencyOf(c.Product.Currency)
	invariant.Check(err == nil, "lending: a contract in an unknown currency")
	return currency
}

// FirstDue returns the first due date.
func (c *Contract) FirstDue() clock.Date { return c.Schedule.Rows[0].Due }

// Maturity returns the last due date.
func (c *Contract) Maturity() clock.Date { return c.Schedule.Rows[len(c.Schedule.Rows)-1].Due }

// due returns the due date of instalment n, counted from 1; the start for 0. After maturity, months
// go on.
func (c *Contract) due(n int) clock.Date {
	if n <= 0 {
		return c.Offer.Start
	}
	return c.FirstDue().AddMonths(n-1, c.Schedule.DueDay)
}

func (c *Contract) holders() holders {
	return holders{product: c.Product.ID(), loan: c.Loan, customer: c.Customer}
}

// Digest returns the SHA-256 of Encode.
func (c *Contract) Digest() Digest { return DigestOf(c.Encode()) }

const contractFormat = "surety.contract 1"

// Encode returns the contract's canonical text.
func (c *Contract) Encode() []byte {
	e := newEncoder(contractFormat, 1536+len(c.Schedule.Rows)*72)
	e.id("loan", c.Loan)
	e.id("application", c.Application)
	e.id("customer", c.Customer)
	e.digest("decision", c.Decision)
	c.Product.encode(e)
	e.amount("principal", c.Offer.Principal)
	e.rate("annual_rate_percent", c.Offer.Rate)
	e.number("term_months", uint64(c.Offer.Months))
	e.date("disbursed_on", c.Offer.Start)
	e.amount("fee", c.Schedule.Fee)
	e.amount("total_interest", c.TotalInterest)
	e.amount("total_cost", c.TotalCost)
	e.amount("total_payable", c.TotalPayable)
	e.rate("apr_eu_percent", c.APREU)
	e.rate("apr_us_percent", c.APRUS)
	e.rate("effective_rate_percent", c.Schedule.EffectiveRate)
	e.number("anchor_day", uint64(c.Schedule.DueDay))
	e.amount("instalment", c.Schedule.Instalment)
	for i := range c.Schedule.Rows {
		c.Schedule.Rows[i].encode(e)
	}
	return e.b
}

// DecodeContract is the inverse of Encode; kind Corrupt for anything else, TooLarge beyond 256 KiB.
// It checks the form; Verify checks the arithmetic.
func DecodeContract(data []byte) (Contract, error) {
	d := newDecoder("lending.contract", contractFormat, data)
	var c Contract
	c.Loan, c.Application, c.Customer = d.id("loan"), d.id("application"), d.id("customer")
	c.Decision = d.digest("decision")
	c.Product.decode(d)
	c.Offer.Principal = d.amount("principal")
	c.Offer.Rate = d.rate("annual_rate_percent")
	c.Offer.Months = int(d.number("term_months", termMax))
	c.Offer.Start = d.date("disbursed_on")
	c.Schedule.Fee = d.amount("fee")
	c.TotalInterest, c.TotalCost = d.amount("total_interest"), d.amount("total_cost")
	c.TotalPayable = d.amount("total_payable")
	c.APREU, c.APRUS = d.rate("apr_eu_percent"), d.rate("apr_us_percent")
	c.Schedule.EffectiveRate = d.rate("effective_rate_percent")
	c.Schedule.DueDay = int(d.number("anchor_day", 31))
	c.Schedule.Instalment = d.amount("instalment")
	if d.err == nil && c.Offer.Months == 0 {
		d.fail("term_months is 0")
	}
	if d.err == nil {
		c.Schedule.Rows = make([]Row, c.Offer.Months)
		for i := range c.Schedule.Rows {
			c.Schedule.Rows[i].decode(d, i+1)
		}
	}
	if d.err == nil {
		c.adds(d)
	}
	if err := d.close(data, c.Encode); err != nil {
		return Contract{}, err
	}
	return c, nil
}

// adds checks what the transitions of a loan rely on: an offer inside the product's limits and rows
// that add up.
func (c *Contract) adds(d *decoder) {
	if err := c.Product.admits(c.Offer); err != nil {
		d.fail("%v", err)
		return
	}
	balance, fee := c.Offer.Principal, c.Schedule.Fee
	for i := range c.Schedule.Rows {
		row := &c.Schedule.Rows[i]
		left, over := balance.Sub(row.Principal)
		unearned, more := fee.Sub(row.Fee)
		paid, carry := row.Interest.Add(row.Principal)
		if over || more || carry || left != row.Balance || paid != row.Payment ||
			row.Due != c.due(row.Number) {
			d.fail("row %d does not follow from the one before", row.Number)
			return
		}
		balance, fee = left, unearned
	}
	if !balance.IsZero() || !fee.IsZero() || c.Offer.Principal.Less(c.Schedule.Instalment) &&
		c.Offer.Months > 1 {
		d.fail("the rows leave %s of the principal and %s of the fee", balance, fee)
	}
}

func (r *Row) encode(e *encoder) {
	e.key("row")
	e.b = strconv.AppendInt(e.b, int64(r.Number), 10)
	e.space()
	e.b = append(e.b, r.Due.String()...)
	e.space()
	e.b = strconv.AppendInt(e.b, int64(r.Days), 10)
	for _, a := range [...]money.Amount{r.Payment, r.Interest, r.Principal, r.Fee, r.Balance} {
		e.space()
		e.appendAmount(a)
	}
	e.end()
}

func (r *Row) decode(d *decoder, number int) {
	words := d.words("row", 8)
	if d.err != nil {
		return
	}
	n, err := parseNumber(words[0], termMax)
	if err == nil && n != uint64(number) {
		err = errs.New(errs.Corrupt, "number %d in place %d", n, number)
	}
	r.Number = number
	if err == nil {
		r.Due, err = clock.ParseDate(words[1])
	}
	if err == nil {
		n, err = parseNumber(words[2], spanDaysMax)
		r.Days = int(n)
	}
	for i, a := range [...]*money.Amount{&r.Payment, &r.Interest, &r.Principal, &r.Fee, &r.Balance} {
		if err == nil {
			*a, err = money.ParseMinor(words[3+i])
		}
	}
	if err != nil {
		d.fail("row: %v", err)
	}
}

// encode writes the product's terms; Allocation as its four names in order.
func (p *Product) encode(e *encoder) {
	e.word("product", p.Name)
	e.number("product_version", uint64(p.Version))
	e.word("currency", p.Currency)
	e.rate("base_rate_percent", p.Rate)
	e.rate("rate_max_percent", p.RateMax)
	e.word("day_count", p.DayCount.String())
	e.word("rounding", p.Rounding.String())
	e.word("instalment_rounding", p.InstalmentRounding.String())
	e.number("instalment_step", p.InstalmentStep)
	e.number("due_day", uint64(p.DueDay))
	e.number("first_period_days_min", uint64(p.FirstPeriodDaysMin))
	e.amount("amount_min", p.AmountMin)
	e.amount("amount_max", p.AmountMax)
	e.amount("amount_step", p.AmountStep)
	e.number("term_min", uint64(p.TermMin))
	e.number("term_max", uint64(p.TermMax))
	e.number("fee_permille", uint64(p.FeePermille))
	e.rate("penalty_rate_percent", p.PenaltyRate)
	e.word("penalty_base", p.PenaltyBase.String())
	e.word("penalty_day_count", p.PenaltyDayCount.String())
	e.number("grace_days", uint64(p.GraceDays))
	e.number("penalty_every_days", uint64(p.PenaltyEveryDays))
	e.word("overdue_interest", p.OverdueInterest.String())
	for _, c := range p.Allocation {
		e.word("allocation", c.String())
	}
	e.word("early_repayment", p.EarlyRepayment.String())
	e.number("write_off_days", uint64(p.WriteOffDays))
}

func (p *Product) decode(d *decoder) {
	p.Name = d.word("product")
	p.Version = uint32(d.number("product_version", 1<<32-1))
	p.Currency = d.word("currency")
	p.Rate, p.RateMax = d.rate("base_rate_percent"), d.rate("rate_max_percent")
	p.DayCount = DayCount(d.enum("day_count", dayCountNames[:]))
	p.Rounding = Rounding(d.enum("rounding", roundingNames[:]))
	p.InstalmentRounding = Rounding(d.enum("instalment_rounding", roundingNames[:]))
	p.InstalmentStep = d.number("instalment_step", instalmentStepMax)
	p.DueDay = int(d.number("due_day", 31))
	p.FirstPeriodDaysMin = int(d.number("first_period_days_min", firstPeriodDaysMax))
	p.AmountMin, p.AmountMax = d.amount("amount_min"), d.amount("amount_max")
	p.AmountStep = d.amount("amount_step")
	p.TermMin, p.TermMax = int(d.number("term_min", termMax)), int(d.number("term_max", termMax))
	p.FeePermille = uint32(d.number("fee_permille", feePermilleMax))
	p.PenaltyRate = d.rate("penalty_rate_percent")
	p.PenaltyBase = PenaltyBase(d.enum("penalty_base", penaltyBaseNames[:]))
	p.PenaltyDayCount = DayCount(d.enum("penalty_day_count", dayCountNames[:]))
	p.GraceDays = int(d.number("grace_days", graceDaysMax))
	p.PenaltyEveryDays = int(d.number("penalty_every_days", 31))
	p.OverdueInterest = OverdueInterest(d.enum("overdue_interest", overdueNames[:]))
	for i := range p.Allocation {
		p.Allocation[i] = Component(d.enum("allocation", componentNames[:]))
	}
	p.EarlyRepayment = EarlyRepayment(d.enum("early_repayment", earlyNames[:]))
	p.WriteOffDays = int(d.number("write_off_days", writeOffDaysMax))
	if d.err == nil {
		if err := p.Validate(); err != nil {
			d.fail("%v", err)
		}
	}
}

const productFormat = "surety.product 1"

// Encode returns the product's canonical text, whose digest decisions and contracts name.
func (p *Product) Encode() []byte {
	e := newEncoder(productFormat, 1024)
	p.encode(e)
	return e.b
}

// Digest returns the SHA-256 of Encode.
func (p *Product) Digest() Digest { return DigestOf(p.Encode()) }

// DecodeProduct is the inverse of Encode; kind Corrupt for anything else, including a product that
// is not valid.
func DecodeProduct(data []byte) (Product, error) {
	d := newDecoder("lending.product", productFormat, data)
	var p Product
	p.decode(d)
	if err := d.close(data, p.Encode); err != nil {
		return Product{}, err
	}
	return p, nil
}
