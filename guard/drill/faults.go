package drill

import (
	"surety/api/event"
)

// faults are the faults that a drill plants, by class. A class with several is planted by turns.
func faults() []fault {
	return []fault{
		{class: 101, name: "deposit leg posted again under a new id", at: event.LoanDisbursed, plant: postTwice},
		{class: 101, name: "repayment posted again under new ids", at: event.LoanRepaid, plant: postChainTwice},
		{class: 101, name: "repayment sent again with the same ids", at: event.LoanRepaid, plant: postSameAgain},
		{class: 102, name: "repayment booked again under a new event", at: event.LoanRepaid, plant: repeated(unchanged)},
		{class: 103, name: "loan paid out again", at: event.LoanDisbursed, plant: payTwice},
		{class: 105, name: "overpayment refunded again", at: event.OverpaymentRefunded, habit: over,
			plant: repeated(anotherReference)},
		{class: 106, name: "interest charged again for the same days", at: event.InterestAccrued,
			plant: repeated(unchanged)},

		{class: 201, name: "a leg left out of a pay-out", at: event.LoanDisbursed, plant: spoiled(dropLeg)},
		{class: 201, name: "a leg left out of a repayment", at: event.LoanRepaid, plant: spoiled(dropLeg)},
		{class: 202, name: "repayment never posted", at: event.LoanRepaid, plant: postNothing},
		{class: 202, name: "interest never posted", at: event.InterestAccrued, plant: postNothing},
		{class: 203, name: "repayment posted without an event", at: event.LoanRepaid, plant: postWithoutEvent},
		{class: 204, name: "less paid out than lent", at: event.LoanDisbursed, plant: spoiled(payLess)},
		{class: 205, name: "limit drawn instead of reserved", at: event.LimitReserved, plant: spoiled(reserveForGood)},
		{class: 206, name: "cash received and not allocated", at: event.LoanRepaid, plant: misled(unsplit)},

		{class: 301, name: "more paid out than the event says", at: event.LoanDisbursed, plant: payMore},
		{class: 301, name: "less booked than the event says", at: event.LoanRepaid, plant: spoiled(bookLess)},
		{class: 302, name: "paid out a hundredfold", at: event.LoanDisbursed, alone: true,
			plant: spoiled(payHundredfold)},
		{class: 303, name: "repayment split into less than the whole", at: event.LoanRepaid, plant: misled(unsplit)},
		{class: 304, name: "interest of an instalment drifts", at: event.ContractSigned, plant: misled(drift)},
		{class: 305, name: "amount beyond 128 bits", at: event.LoanRepaid, plant: spoiled(overflow)},
		{class: 305, name: "event with an amount beyond all loans", at: event.LoanRepaid, plant: emitOnly(hugeAmount)},

		{class: 401, name: "paid out to a stranger", at: event.LoanDisbursed, plant: payStranger},
		{class: 402, name: "debit and credit of cash exchanged", at: event.LoanRepaid, plant: spoiled(swapFirst)},
		{class: 402, name: "debit and credit of principal exchanged", at: event.LoanDisbursed, plant: spoiled(swapSecond)},
		{class: 403, name: "cash booked in another currency", at: event.LoanRepaid, plant: spoiled(foreign)},
		{class: 403, name: "transfer that mixes currencies", at: event.LoanRepaid, plant: spoiled(mixed)},
		{class: 404, name: "paid into a frozen account", at: event.LoanDisbursed, plant: payFrozen},

		{class: 501, name: "posted after it was withdrawn", at: event.LoanRepaid, plant: cancelThenPost},
		{class: 502, name: "repaid before it was paid out", at: event.LoanDisbursed, plant: repayBefore},
		{class: 503, name: "posting back-dated", at: event.InterestAccrued, plant: spoiled(backDatePosting)},
		{class: 503, name: "repayment back-dated", at: event.LoanRepaid, plant: misled(backDateEvent)},
		{class: 504, name: "days left out of an accrual", at: event.InterestAccrued, plant: misled(skipDays)},

		{class: 601, name: "account without its limit", at: event.LoanDisbursed, plant: overdraw},
		{class: 601, name: "overdraft of a limited account", at: event.LoanDisbursed, plant: overdrawLimited},
		{class: 602, name: "limit granted above the approval", at: event.LimitGranted, plant: misled(raiseLimit)},
		{class: 602, name: "more reserved than approved", at: event.LimitReserved, plant: misled(raiseReservation)},
		{class: 604, name: "paid out without a contract", at: event.LoanDisbursed, plant: payWithoutContract},
		{class: 604, name: "signed on a withdrawn approval", at: event.ContractSigned, plant: signWithdrawn},

		{class: 701, name: "interest wrong", at: event.InterestAccrued, plant: misled(wrongInterest)},
		{class: 702, name: "penalty wrong", at: event.PenaltyCharged, habit: defaulter, plant: misled(wrongPenalty)},
		{class: 702, name: "fee other than the contract's", at: event.LoanDisbursed, plant: misled(wrongFee)},
		{class: 703, name: "schedule short of the principal", at: event.ContractSigned, plant: misled(unsum)},
		{class: 704, name: "principal paid before interest", at: event.LoanRepaid, plant: misled(favourPrincipal)},
		{class: 705, name: "annual rate flattered", at: event.ContractSigned, plant: misled(flatter)},

		{class: 801, name: "rate with a digit too many", at: event.InterestAccrued, plant: misled(tenfoldRate)},
		{class: 802, name: "event lacks a fact", at: event.InterestAccrued, plant: emitOnly(forgetFact)},
		{class: 802, name: "event of an unknown kind", at: event.LoanRepaid, plant: emitOnly(unknownKind)},
		{class: 803, name: "freeze released by one person", at: event.LoanDisbursed, plant: releaseAlone},
		{class: 804, name: "stored balance changed", at: event.LoanDisbursed, plant: tamperBalance, mend: mendBalance},

		{class: 901, name: "ledger's totals off by one", at: event.LoanDisbursed, alone: true,
			plant: confuseTotals, mend: mendTotals},
		{class: 902, name: "feed's time runs back", at: event.LoanRepaid, alone: true, plant: turnBackFeed},
		{class: 904, name: "a rule of the checker switched off", at: event.LoanDisbursed, plant: blindChecker},
	}
}
