package guard

// Rule is one check. The numbers are stored with breaches: never renumber. A rule stands in one
// class of loss and in one invariant of the board.
type Rule uint8

// The rules, by what they look at.
const (
	// A posting against the leg it claims to be, in order of precedence: the first that differs
	// names the breach, and the record shows every field.
	PostingCurrency Rule = 1
	PostingSwapped  Rule = 2
	PostingAccount  Rule = 3
	PostingCode     Rule = 4
	PostingUnit     Rule = 5
	PostingAmount   Rule = 6
	PostingMode     Rule = 7
	PostingDate     Rule = 8
	PostingKey      Rule = 9

	// A posting against what its event asks for as a whole.
	PostingDuplicate Rule = 10
	PostingExtra     Rule = 11
	PostingOrphan    Rule = 12
	PostingMissing   Rule = 13
	PostingPartial   Rule = 14
	PostingCancelled Rule = 15
	CancelSettled    Rule = 16

	// An event by itself.
	EventMalformed Rule = 20
	EventUnknown   Rule = 21
	EventDuplicate Rule = 22
	AmountRange    Rule = 23
	DateBack       Rule = 24
	DateAhead      Rule = 25

	// An event against those before it.
	OrderDuplicate     Rule = 30
	PayoutDuplicate    Rule = 31
	RefundExcess       Rule = 32
	AccrualRepeated    Rule = 33
	AccrualSkipped     Rule = 34
	PenaltyRepeated    Rule = 35
	CauseMissing       Rule = 36
	DecisionExpired    Rule = 37
	BeforeDisbursement Rule = 38
	AfterClosure       Rule = 39
	ClosedUnpaid       Rule = 40
	LimitUnapproved    Rule = 41
	ExposureOverLimit  Rule = 42
	TermsChanged       Rule = 43
	StatedDiffers      Rule = 44

	// What is computed a second time.
	SplitSum         Rule = 50
	InterestWrong    Rule = 51
	PenaltyWrong     Rule = 52
	FeeWrong         Rule = 53
	ScheduleSum      Rule = 54
	ScheduleInterest Rule = 55
	WaterfallWrong   Rule = 56
	AnnualRateWrong  Rule = 57

	// The books kept from postings alone.
	AccountOverdrawn  Rule = 70
	AccountUnlimited  Rule = 71
	AccountUnknown    Rule = 72
	DisbursementStuck Rule = 73
	RepaymentStuck    Rule = 74
	HoldAged          Rule = 75
	TotalsDiffer      Rule = 76
	BalanceDiffers    Rule = 77
	DrawnDiffers      Rule = 78
	SubledgerDiffers  Rule = 79
	StreamGap         Rule = 80
	StreamRegressed   Rule = 81
	CheckerUnreliable Rule = 82
	ruleMax                = 83
)

// Invariant is a promise on the board: a group of rules with one state. The numbers are stored.
type Invariant uint8

// The invariants.
const (
	PostingsExpected Invariant = 1
	EventsPosted     Invariant = 2
	NothingTwice     Invariant = 3
	CausesFirst      Invariant = 4
	SumsRecomputed   Invariant = 5
	LimitsKept       Invariant = 6
	ClearingZero     Invariant = 7
	BooksBalance     Invariant = 8
	BalancesMatch    Invariant = 9
	MemoMatches      Invariant = 10
	StreamsWhole     Invariant = 11
	CheckerAlive     Invariant = 12
	invariantMax               = 13
)

// InvariantInfo describes an invariant.
type InvariantInfo struct {
	Invariant Invariant
	Name      string // stable, for the API and metrics
	Title     string // for people
}

var invariants = [...]InvariantInfo{
	{PostingsExpected, "postings_expected", "Every posting is what its event asks for"},
	{EventsPosted, "events_posted", "Every event is posted in time"},
	{NothingTwice, "nothing_twice", "Nothing is done twice"},
	{CausesFirst, "causes_first", "Every act has its cause and comes in order"},
	{SumsRecomputed, "sums_recomputed", "Interest, fees, schedules and rates recompute"},
	{LimitsKept, "limits_kept", "No account or customer is beyond its limit"},
	{ClearingZero, "clearing_zero", "Clearing accounts and reservations come to rest"},
	{BooksBalance, "books_balance", "Debits equal credits, by two sums"},
	{BalancesMatch, "balances_match", "Every stored balance equals the sum of its postings"},
	{MemoMatches, "memo_matches", "Loans in the books equal loans in the business"},
	{StreamsWhole, "streams_whole", "Both streams are whole and in order"},
	{CheckerAlive, "checker_alive", "The checker finds the faults planted in it"},
}

// Invariants returns the board's promises in order.
func Invariants() []InvariantInfo { return append([]InvariantInfo(nil), invariants[:]...) }

// RuleInfo describes a rule.
type RuleInfo struct {
	Rule      Rule
	Name      string
	Class     Class
	Invariant Invariant
	Text      string // what is wrong, as a sentence without a full stop
}

var rules = [...]RuleInfo{
	{PostingCurrency, "posting_currency", 403, PostingsExpected,
		"the posting stands in another currency's ledger than its event"},
	{PostingSwapped, "posting_swapped", 402, PostingsExpected,
		"debit and credit are exchanged"},
	{PostingAccount, "posting_account", 401, PostingsExpected,
		"the posting moves another account than the event names"},
	{PostingCode, "posting_code", 401, PostingsExpected,
		"the posting is of another kind than the event asks for"},
	{PostingUnit, "posting_unit", 302, PostingsExpected,
		"the amount is off by a power of ten"},
	{PostingAmount, "posting_amount", 301, PostingsExpected,
		"the amount differs from the event's"},
	{PostingMode, "posting_mode", 205, PostingsExpected,
		"a reservation was posted as final, or the other way round, or settles another one"},
	{PostingDate, "posting_date", 503, PostingsExpected,
		"the posting bears another business date than its event"},
	{PostingKey, "posting_key", 101, PostingsExpected,
		"the transfer's id is not derived from event and leg, so a retry would post it again"},
	{PostingDuplicate, "posting_duplicate", 101, NothingTwice,
		"the leg of this event is posted a second time"},
	{PostingExtra, "posting_extra", 203, PostingsExpected,
		"the event asks for no such leg"},
	{PostingOrphan, "posting_orphan", 203, PostingsExpected,
		"no event asks for this posting"},
	{PostingMissing, "posting_missing", 202, EventsPosted,
		"the event has no postings although its deadline has passed"},
	{PostingPartial, "posting_partial", 201, EventsPosted,
		"the chain has ended and legs of it are missing"},
	{PostingCancelled, "posting_cancelled", 501, PostingsExpected,
		"a posting came for an event that was cancelled"},
	{CancelSettled, "cancel_settled", 501, PostingsExpected,
		"an event was cancelled although its postings exist"},
	{EventMalformed, "event_malformed", 802, PostingsExpected,
		"the event lacks what its kind demands, or what it has cannot be read"},
	{EventUnknown, "event_unknown", 802, PostingsExpected,
		"the event's kind is not known to the guard, so nothing checks it"},
	{EventDuplicate, "event_duplicate", 101, NothingTwice,
		"the same event stands in the outbox twice"},
	{AmountRange, "amount_range", 305, SumsRecomputed,
		"an amount is out of range"},
	{DateBack, "date_back", 503, CausesFirst,
		"the business date lies before that of earlier events"},
	{DateAhead, "date_ahead", 503, CausesFirst,
		"the act covers days that are still to come"},
	{OrderDuplicate, "order_duplicate", 102, NothingTwice,
		"the same order is carried out again under another key"},
	{PayoutDuplicate, "payout_duplicate", 103, NothingTwice,
		"the loan is paid out a second time"},
	{RefundExcess, "refund_excess", 105, NothingTwice,
		"more is paid back than was overpaid, or under a reference that was used"},
	{AccrualRepeated, "accrual_repeated", 106, NothingTwice,
		"interest is charged for days that were charged before"},
	{AccrualSkipped, "accrual_skipped", 504, CausesFirst,
		"days are left out between two accruals"},
	{PenaltyRepeated, "penalty_repeated", 106, NothingTwice,
		"a penalty is charged for days that were charged before"},
	{CauseMissing, "cause_missing", 604, CausesFirst,
		"the act's cause does not exist, was withdrawn, or belongs to another loan"},
	{DecisionExpired, "decision_expired", 604, CausesFirst,
		"the approval is too old to be used"},
	{BeforeDisbursement, "before_disbursement", 502, CausesFirst,
		"the act needs a loan that was paid out"},
	{AfterClosure, "after_closure", 501, CausesFirst,
		"the act comes after the loan was closed or written off"},
	{ClosedUnpaid, "closed_unpaid", 502, CausesFirst,
		"the loan is closed although money is owed"},
	{LimitUnapproved, "limit_unapproved", 602, LimitsKept,
		"a limit or reservation exceeds what was approved"},
	{ExposureOverLimit, "exposure_over_limit", 602, LimitsKept,
		"the customer's loans exceed the limit granted"},
	{TermsChanged, "terms_changed", 801, SumsRecomputed,
		"the act uses other terms than the contract's"},
	{StatedDiffers, "stated_differs", 301, SumsRecomputed,
		"a balance that the event states differs from the one kept here"},
	{SplitSum, "split_sum", 303, SumsRecomputed,
		"the parts do not sum to the whole"},
	{InterestWrong, "interest_wrong", 701, SumsRecomputed,
		"interest differs from the second computation"},
	{PenaltyWrong, "penalty_wrong", 702, SumsRecomputed,
		"a penalty differs from the second computation, or nothing was overdue"},
	{FeeWrong, "fee_wrong", 702, SumsRecomputed,
		"a fee differs from the contract's, or more is amortised than was charged"},
	{ScheduleSum, "schedule_sum", 703, SumsRecomputed,
		"the schedule does not sum to the principal or to the totals disclosed"},
	{ScheduleInterest, "schedule_interest", 304, SumsRecomputed,
		"an instalment's interest differs from the second computation"},
	{WaterfallWrong, "waterfall_wrong", 704, SumsRecomputed,
		"a repayment is not allocated to penalty, interest, principal in this order"},
	{AnnualRateWrong, "annual_rate_wrong", 705, SumsRecomputed,
		"the disclosed annual rate does not discount the flows to the advance"},
	{AccountOverdrawn, "account_overdrawn", 601, LimitsKept,
		"an account is beyond the limit of its class"},
	{AccountUnlimited, "account_unlimited", 601, LimitsKept,
		"an account was created without the limit of its class"},
	{AccountUnknown, "account_unknown", 901, BooksBalance,
		"a posting moves an account that was never created"},
	{DisbursementStuck, "disbursement_stuck", 204, ClearingZero,
		"disbursement clearing stays away from zero"},
	{RepaymentStuck, "repayment_stuck", 206, ClearingZero,
		"repayment clearing stays away from zero"},
	{HoldAged, "hold_aged", 205, ClearingZero,
		"a reservation is open beyond its time"},
	{TotalsDiffer, "totals_differ", 901, BooksBalance,
		"the ledger's class totals differ from the sum of its feed"},
	{BalanceDiffers, "balance_differs", 804, BalancesMatch,
		"a stored balance differs from the sum of its postings"},
	{DrawnDiffers, "drawn_differs", 602, MemoMatches,
		"the drawn memo account differs from the principal of open loans"},
	{SubledgerDiffers, "subledger_differs", 904, MemoMatches,
		"postings and events explain different sums for a class of accounts"},
	{StreamGap, "stream_gap", 901, StreamsWhole,
		"a stream lacks an entry although later ones exist"},
	{StreamRegressed, "stream_regressed", 902, StreamsWhole,
		"the feed's time runs backwards"},
	{CheckerUnreliable, "checker_unreliable", 904, CheckerAlive,
		"a fault planted in the checker was not found in time"},
}

// Rules returns the rules in the order of their numbers.
func Rules() []RuleInfo { return append([]RuleInfo(nil), rules[:]...) }

// Info returns the rule's entry; the zero entry for a rule that does not exist.
func (r Rule) Info() RuleInfo {
	low, high := 0, len(rules)
	for low < high {
		if middle := (low + high) / 2; rules[middle].Rule < r {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low < len(rules) && rules[low].Rule == r {
		return rules[low]
	}
	return RuleInfo{}
}

// String returns the rule's name.
func (r Rule) String() string { return r.Info().Name }
