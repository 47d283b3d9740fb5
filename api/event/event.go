// Package event is the schema of business events: what a service writes into its outbox, in the
// same transaction as its own records, before money moves.
//
// An event says what the service means to do with money, in business terms: which loan, which
// customer, which amounts. It does not say how it is posted. The guard reads events here and
// postings from the ledger, and derives for itself what the one demands of the other; the evidence
// log commits to the event's stored bytes. docs/reference/events.md lists, kind by kind, the
// amounts and facts an event carries.
//
// # Invariants
//
// Seq counts from 1 without gaps within one outbox; the outbox assigns it, so it is not among the
// stored bytes and a reader fills it in. ID is derived from the business act, so the
// same act is the same event however often it is driven. Encoding is JSON with sorted keys, and an
// event's bytes never change once written.
package event

import (
	"encoding/json"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
)

// The kinds of event, in the order a loan lives through them.
const (
	ApplicationReceived = "application.received"
	ApplicationDecided  = "application.decided"
	LimitGranted        = "limit.granted"
	LimitReserved       = "limit.reserved"
	ContractSigned      = "contract.signed"
	LoanDisbursed       = "loan.disbursed"
	InterestAccrued     = "interest.accrued"
	PenaltyCharged      = "penalty.charged"
	LoanRepaid          = "loan.repaid"
	LoanClosed          = "loan.closed"
	LoanWrittenOff      = "loan.written_off"
	LoanRecovered       = "loan.recovered"
	OverpaymentRefunded = "overpayment.refunded"
	EventCancelled      = "event.cancelled"
)

// The facts of a decision that say where its scores were computed; both are absent where that was
// in no sandbox.
const (
	FactScorer    = "scorer_sandbox"   // id of the sandbox
	FactScorerSeq = "scorer_audit_seq" // of the newest record of its audit trail known then
)

// SizeMax bounds an encoded event: a contract of 60 instalments takes about 8 KiB.
const SizeMax = 64 << 10

// Event is one business act.
type Event struct {
	Seq         uint64        `json:"seq,omitempty"`
	ID          ident.ID      `json:"id"`
	Kind        string        `json:"kind"`
	At          clock.Instant `json:"at"`   // machine time, nanoseconds
	Date        clock.Date    `json:"date"` // business date
	Trace       ident.ID      `json:"trace"`
	Application ident.ID      `json:"application,omitzero"`
	Loan        ident.ID      `json:"loan,omitzero"`
	Customer    ident.ID      `json:"customer,omitzero"`
	Product     string        `json:"product,omitempty"`
	Currency    string        `json:"currency,omitempty"`
	// Cause is the event this one needs to have happened: a disbursement names its contract, a
	// contract its decision, a cancellation the event that is withdrawn.
	Cause   ident.ID                `json:"cause,omitzero"`
	Amounts map[string]money.Amount `json:"amounts,omitempty"`
	Facts   map[string]string       `json:"facts,omitempty"`
	Flows   []Flow                  `json:"flows,omitempty"` // the schedule, in a contract
}

// Flow is one instalment as the contract promises it; Payment = Interest + Principal.
type Flow struct {
	Due       clock.Date   `json:"due"`
	Payment   money.Amount `json:"payment"`
	Interest  money.Amount `json:"interest"`
	Principal money.Amount `json:"principal"`
}

// Amount returns the named amount, zero where the event has none.
func (e *Event) Amount(name string) money.Amount { return e.Amounts[name] }

// Encode returns the bytes that are stored, hashed and sent.
func (e *Event) Encode() ([]byte, error) {
	data, err := json.Marshal(e)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "event.encode: %s", e.Kind)
	}
	if len(data) > SizeMax {
		return nil, errs.New(errs.TooLarge, "event.encode: %s has %d bytes, the limit is %d",
			e.Kind, len(data), SizeMax)
	}
	return data, nil
}

// Decode is the inverse of Encode; kind Invalid for anything else.
func Decode(data []byte) (Event, error) {
	if len(data) > SizeMax {
		return Event{}, errs.New(errs.TooLarge, "event.decode: %d bytes, the limit is %d",
			len(data), SizeMax)
	}
	var e Event
	if err := json.Unmarshal(data, &e); err != nil {
		return Event{}, errs.As(errs.Invalid, err, "event.decode")
	}
	if e.Kind == "" || e.ID.IsZero() {
		return Event{}, errs.New(errs.Invalid, "event.decode: event without kind or id")
	}
	return e, nil
}
