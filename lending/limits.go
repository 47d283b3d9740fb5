package lending

import "surety/base/clock"

// The limits of the part, each with its reason. Arithmetic is exact inside them; the constructors
// refuse what lies outside, so that the code below may assume them.
const (
	// principalMax bounds what annuities and annual rates are computed on: ten trillion major units
	// of a two-decimal currency. It leaves 13 bits of a 64-bit word for the growth of interest.
	principalMax = 1_000_000_000_000_000

	// lentMax bounds the principal of a loan, a hundred billion major units: at 1,000 percent for 50
	// years the interest, and then a penalty on that, still fit 63 bits.
	lentMax = 10_000_000_000_000

	// rateMax is the greatest rate that can be written, a million percent: disclosed rates of very
	// short loans reach thousands of percent.
	rateMax Rate = 1_000_000 * ratePerPercent

	// productRateMax is the greatest rate a product may charge, 1,000 percent a year. With it one
	// period's growth factor fits 64 bits for every day count.
	productRateMax Rate = 1_000 * ratePerPercent

	// termMax is 50 years of months: a schedule stays under 40 KiB.
	termMax = 600

	// nameMax bounds the name of a product or policy: it stands in account ids, logs and tables.
	nameMax = 40

	// instalmentStepMax is 10,000 major units of a two-decimal currency: instalments in round sums.
	instalmentStepMax = 1_000_000

	// instalmentStepsMin is how many steps the smallest instalment must have, so that rounding it
	// moves it by at most one percent and the last instalment can take what is left.
	instalmentStepsMin = 100

	// feePermilleMax is a fifth of the principal: more is not an origination fee.
	feePermilleMax = 200

	// firstPeriodDaysMax is two months: with it the first due date is at most three months away.
	firstPeriodDaysMax = 62

	// graceDaysMax is one period, and writeOffDaysMax ten years.
	graceDaysMax    = 31
	writeOffDaysMax = 3_653

	// spanDaysMax is the longest interval a day count measures, 100 years and their leap days.
	spanDaysMax = 36_525

	// flowsMax bounds the payments of one annual rate: termMax instalments twice over.
	flowsMax = 2 * termMax

	// paidTimesMax bounds the sum of all payments to a multiple of the advance, so that the sums
	// inside the solver stay below 2^20, its integer part.
	paidTimesMax = 100

	// yearsMax is the latest payment of an annual rate, in years, and unitPeriodsMax in unit-periods:
	// 100 years of weeks. With paidTimesMax they bound the slope below 2^20.
	yearsMax       = 100
	unitPeriodsMax = 5_300

	// solveStepsMax bounds the solver. Newton's method from the left needs about ten steps for a
	// loan of any term; this many mean a defect.
	solveStepsMax = 256

	// repaymentMax bounds one repayment: a thousand times the greatest loan.
	repaymentMax = 1_000 * lentMax

	// amountMax bounds every balance of a loan that is read back: its greatest interest and as many
	// of the greatest repayments as it can have events fit.
	amountMax = 1 << 62

	// interestMax bounds the interest owed on a loan: lentMax at 1,000 percent for 50 years.
	interestMax = 500 * lentMax

	// nextMax bounds the number of the next instalment: the term, and after maturity the months
	// until the calendar of this package ends.
	nextMax = 12 * 500

	// eventsMax bounds the events of one loan: 600 due dates and several acts at each.
	eventsMax = 4_096

	// encodedMax bounds every canonical encoding: a contract of 600 rows has 45 KiB, a loan with
	// all its events 140 KiB.
	encodedMax = 256 << 10

	// lineMax bounds one line of a canonical encoding: a free text of 400 bytes, escaped.
	lineMax = 2_048

	// The limits of an application's fields: longer names than any register holds, a document number
	// as on any passport or card, a phone number by ITU-T E.164, a business of a hundred years.
	nameCharacters      = 100
	businessCharacters  = 120
	idCharactersMin     = 5
	idCharacters        = 32
	phoneDigitsMin      = 7
	phoneDigitsMax      = 15
	monthsInBusinessMax = 1_200
	employeesMax        = 100_000

	// permilleMax bounds the ratios of a policy, a thousand times; with lentMax the products of a
	// comparison stay below 2^64.
	permilleMax = 1_000_000

	// micro is one whole, in millionths.
	micro = 1_000_000

	// principalFactors is how many factors an applicant is told: more than four are held to be of no
	// help (12 CFR 1002.9, official interpretation 9(b)(2)-1).
	principalFactors = 4

	// factorsMax bounds what a score may name as its factors: the principal ones are among the
	// first, the rest is kept for the record.
	factorsMax = 16

	// reasonsMax bounds the reasons of a decision: one for each rule.
	reasonsMax = 64

	// bandsMax bounds the risk bands of a policy: more cannot be told apart by 30,000 loans.
	bandsMax = 16
)

// The dates a loan can have: four-digit years well inside the calendar, so that no schedule runs
// off its end.
var (
	dateMin = clock.MustDate(1970, 1, 1)
	dateMax = clock.MustDate(2400, 12, 31)
)
