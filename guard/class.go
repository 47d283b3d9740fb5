package guard

// Class is a way to lose money, numbered family x 100 + item: 3.1 is 301. The numbers are stored,
// stand as reasons in freezes, and are never renumbered; docs/reference/guard.md describes them.
type Class uint16

// Layer says where a class is stopped or found, the earliest first.
type Layer uint8

// The layers. The numbers are stored: never renumber.
const (
	LayerPrevented Layer = 1 // the ledger refuses it
	LayerRealTime  Layer = 2 // found when both records exist
	LayerDeadline  Layer = 3 // found when a record fails to come
	LayerSweep     Layer = 4 // found by comparing sums
	LayerLiveness  Layer = 5 // found by the canary and the watermarks
	LayerAbsent    Layer = 6 // not covered by this version
)

var layerNames = [...]string{LayerPrevented: "prevented", LayerRealTime: "real time",
	LayerDeadline: "deadline", LayerSweep: "sweep", LayerLiveness: "liveness", LayerAbsent: "absent"}

// String returns the layer's name.
func (l Layer) String() string { return layerNames[l] }

// Severity says how fast a person must look. The numbers are stored: never renumber.
type Severity uint8

// The severities.
const (
	SeverityMedium   Severity = 1 // today
	SeverityHigh     Severity = 2 // now
	SeverityCritical Severity = 3 // now, and money is leaving or the books are not to be trusted
)

var severityNames = [...]string{SeverityMedium: "medium", SeverityHigh: "high",
	SeverityCritical: "critical"}

// String returns the severity's name.
func (s Severity) String() string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return ""
}

// ClassInfo describes a class.
type ClassInfo struct {
	Class    Class
	Title    string
	Layer    Layer
	Severity Severity
	Stop     Action // what is stopped by default
}

// classes is the public taxonomy: 44 classes in 9 families.
var classes = [...]ClassInfo{
	{101, "same request posted twice", LayerRealTime, SeverityCritical, StopReceiver},
	{102, "same business order under a new key", LayerRealTime, SeverityHigh, StopParties},
	{103, "pay-out repeated after an unknown answer", LayerRealTime, SeverityCritical, StopParties},
	{104, "batch file settled twice", LayerAbsent, SeverityCritical, NoStop},
	{105, "refund twice or above what was paid", LayerRealTime, SeverityCritical, StopParties},
	{106, "interest or penalty charged twice for a day", LayerRealTime, SeverityHigh, StopLoan},
	{201, "a leg is missing from its chain", LayerRealTime, SeverityCritical, StopParties},
	{202, "event without postings", LayerDeadline, SeverityHigh, NoStop},
	{203, "posting without an event", LayerDeadline, SeverityCritical, StopParties},
	{204, "disbursement clearing does not return to zero", LayerSweep, SeverityHigh, NoStop},
	{205, "reservation lost or never released", LayerDeadline, SeverityMedium, NoStop},
	{206, "repayment clearing does not return to zero", LayerSweep, SeverityHigh, NoStop},
	{301, "amount differs between event and posting", LayerRealTime, SeverityCritical, StopParties},
	{302, "amount off by a factor of ten, a hundred or a thousand", LayerRealTime, SeverityCritical, StopCode},
	{303, "parts do not sum to the whole", LayerRealTime, SeverityHigh, StopLoan},
	{304, "interest of a schedule drifts from its exact value", LayerRealTime, SeverityHigh, StopLoan},
	{305, "amount negative, overflowing or out of range", LayerPrevented, SeverityHigh, StopLoan},
	{306, "exchange rate inverted or stale", LayerAbsent, SeverityHigh, NoStop},
	{401, "wrong account or wrong kind of posting", LayerRealTime, SeverityCritical, StopReceiver},
	{402, "debit and credit exchanged", LayerRealTime, SeverityCritical, StopParties},
	{403, "wrong currency or tenant", LayerRealTime, SeverityCritical, StopParties},
	{404, "money to a frozen or closed account", LayerPrevented, SeverityHigh, NoStop},
	{501, "stale retry after a cancellation or closure", LayerRealTime, SeverityHigh, StopParties},
	{502, "acts out of order", LayerRealTime, SeverityHigh, StopLoan},
	{503, "wrong or back-dated business date", LayerRealTime, SeverityMedium, StopLoan},
	{504, "days skipped in the accrual", LayerRealTime, SeverityMedium, StopLoan},
	{601, "account overdrawn or without its limit", LayerRealTime, SeverityCritical, StopParties},
	{602, "lent above the limit", LayerRealTime, SeverityCritical, StopCustomer},
	{603, "coupon or subsidy over budget", LayerAbsent, SeverityMedium, NoStop},
	{604, "disbursed without a valid contract and decision", LayerRealTime, SeverityCritical, StopCustomer},
	{701, "interest wrong", LayerRealTime, SeverityHigh, StopLoan},
	{702, "fee or penalty wrong", LayerRealTime, SeverityHigh, StopLoan},
	{703, "schedule does not sum to the principal", LayerRealTime, SeverityHigh, StopCustomer},
	{704, "allocation order wrong", LayerRealTime, SeverityHigh, StopLoan},
	{705, "disclosed annual rate wrong", LayerRealTime, SeverityHigh, StopCustomer},
	{706, "provision or stage wrong", LayerAbsent, SeverityMedium, NoStop},
	{801, "terms changed after signing", LayerRealTime, SeverityHigh, StopLoan},
	{802, "event malformed or of an unknown kind", LayerRealTime, SeverityHigh, NoStop},
	{803, "release of a stop without a second person", LayerPrevented, SeverityHigh, NoStop},
	{804, "stored balance tampered with", LayerSweep, SeverityCritical, StopParties},
	{901, "ledger's sums or feed contradict themselves", LayerSweep, SeverityCritical, StopLedger},
	{902, "stale writer after a fail-over", LayerRealTime, SeverityCritical, StopLedger},
	{903, "channel's statement differs", LayerAbsent, SeverityHigh, NoStop},
	{904, "checker dead, late or wrong", LayerLiveness, SeverityCritical, NoStop},
}

// Classes returns the taxonomy in order.
func Classes() []ClassInfo { return append([]ClassInfo(nil), classes[:]...) }

// Info returns the class's entry and whether the class exists.
func (c Class) Info() (ClassInfo, bool) {
	for i := range classes {
		if classes[i].Class == c {
			return classes[i], true
		}
	}
	return ClassInfo{}, false
}

// String returns "3.1".
func (c Class) String() string { return decimal(uint64(c/100)) + "." + decimal(uint64(c%100)) }

// ParseClass is the inverse of String, for classes that exist.
func ParseClass(text string) (Class, bool) {
	for i := range classes {
		if classes[i].Class.String() == text {
			return classes[i].Class, true
		}
	}
	return 0, false
}

func decimal(n uint64) string {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[i:])
		}
	}
}
