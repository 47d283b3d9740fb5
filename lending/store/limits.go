package store

// EventsMax bounds the events read for one loan: 60 instalments with accrual, penalty and several
// repayments each stay below it.
const EventsMax = 2_000

// PageMax bounds one page of applications or loans, so that a page stays under a megabyte.
const PageMax = 200

// DueMax bounds the loans that one step of day-end takes up: about a megabyte of states.
const DueMax = 500
