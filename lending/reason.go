package lending

// Outcome is what is decided. The numbers are stored: never renumber.
type Outcome uint8

// The outcomes, from the mildest: a decision is the gravest that any of its reasons asks for.
const (
	Approve Outcome = 1
	Refer   Outcome = 2 // a person must look
	Decline Outcome = 3
)

var outcomeNames = [...]string{1: "approve", 2: "refer", 3: "decline"}

// String returns the outcome's name in the API.
func (o Outcome) String() string { return enumText(outcomeNames[:], int(o)) }

// ReasonCode is a reason for a decision. The numbers are stored and sent: never renumber.
type ReasonCode uint16

// The reasons, in the order in which they are given: conduct, history, the business, the score, and
// what was changed in an offer.
const (
	ReasonOpenApplication   ReasonCode = 101
	ReasonApplicationsDay   ReasonCode = 102
	ReasonApplicationsMonth ReasonCode = 103
	ReasonPhoneDay          ReasonCode = 104
	ReasonWatchlist         ReasonCode = 110

	ReasonWrittenOff  ReasonCode = 201
	ReasonPastDue     ReasonCode = 202
	ReasonActiveLoans ReasonCode = 203

	ReasonMonthsInBusiness ReasonCode = 301
	ReasonTurnover         ReasonCode = 302
	ReasonDebt             ReasonCode = 303

	ReasonPointsDecline ReasonCode = 401
	ReasonPDDecline     ReasonCode = 402
	ReasonPointsRefer   ReasonCode = 403
	ReasonPDRefer       ReasonCode = 404

	ReasonLimitUsed   ReasonCode = 501
	ReasonDebtService ReasonCode = 502

	ReasonReducedLimit   ReasonCode = 601
	ReasonReducedService ReasonCode = 602
	ReasonShorterTerm    ReasonCode = 603
)

// ReasonInfo describes a reason: what it leads to, and what the applicant is told.
type ReasonInfo struct {
	Code     ReasonCode
	Name     string // stable, for the API
	Leads    Outcome
	Sentence string // plain, about the applicant, without a full stop
	// Limit and Given say what the two numbers that come with the reason are.
	Limit, Given string
}

var reasonTable = [...]ReasonInfo{
	{ReasonOpenApplication, "open_application", Decline,
		"another application of yours is open", "open applications allowed", "open applications"},
	{ReasonApplicationsDay, "applications_day", Decline,
		"too many applications in one day", "applications allowed in a day", "applications"},
	{ReasonApplicationsMonth, "applications_month", Decline,
		"too many applications in thirty days", "applications allowed in 30 days", "applications"},
	{ReasonPhoneDay, "phone_day", Decline,
		"too many applications from one phone number in one day", "applications allowed in a day",
		"applications"},
	{ReasonWatchlist, "watchlist", Refer,
		"a name or document needs to be checked by a person", "matches allowed", "matches"},
	{ReasonWrittenOff, "written_off", Decline,
		"an earlier loan was not repaid", "loans written off allowed", "loans written off"},
	{ReasonPastDue, "past_due", Decline,
		"a loan with us is past due", "days past due allowed", "days past due"},
	{ReasonActiveLoans, "active_loans", Decline,
		"as many loans as one customer may have are open", "open loans allowed", "open loans"},
	{ReasonMonthsInBusiness, "months_in_business", Decline,
		"the business is too young", "months at least", "months"},
	{ReasonTurnover, "turnover", Decline,
		"the monthly turnover is too low", "turnover at least", "turnover"},
	{ReasonDebt, "debt", Decline,
		"existing debt is high for the turnover", "thousandths of a month's turnover allowed",
		"thousandths"},
	{ReasonPointsDecline, "points_decline", Decline,
		"the score is below what we accept, for the factors named", "points at least", "points"},
	{ReasonPDDecline, "pd_decline", Decline,
		"the estimated risk is above what we accept, for the factors named", "millionths allowed",
		"millionths"},
	{ReasonPointsRefer, "points_refer", Refer,
		"the score is close to the lowest we accept", "points at least", "points"},
	{ReasonPDRefer, "pd_refer", Refer,
		"the estimated risk is close to the highest we accept", "millionths allowed", "millionths"},
	{ReasonLimitUsed, "limit_used", Decline,
		"the limit for your business leaves less than the smallest loan", "smallest loan", "left"},
	{ReasonDebtService, "debt_service", Decline,
		"the instalments of the smallest loan would be too high for the turnover",
		"a month's debt service allowed", "a month's debt service"},
	{ReasonReducedLimit, "reduced_limit", Approve,
		"the amount is what your limit leaves", "offered", "asked for"},
	{ReasonReducedService, "reduced_service", Approve,
		"the amount is what the turnover can carry", "offered", "asked for"},
	{ReasonShorterTerm, "shorter_term", Approve,
		"the term is the longest we offer at this risk", "months offered", "months asked for"},
}

// ReasonTable returns all reasons in order.
func ReasonTable() []ReasonInfo { return append([]ReasonInfo(nil), reasonTable[:]...) }

// Info returns the reason's description, and false for a number that is no reason.
func (c ReasonCode) Info() (ReasonInfo, bool) {
	for i := range reasonTable {
		if reasonTable[i].Code == c {
			return reasonTable[i], true
		}
	}
	return ReasonInfo{}, false
}

// Reason is a reason as it applies to one applicant: the limit it met and what stood against it.
type Reason struct {
	Code         ReasonCode
	Limit, Given uint64
}
