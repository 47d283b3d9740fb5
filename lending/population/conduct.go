package population

import (
	"strconv"

	"surety/base/ident"
)

// Conduct is what a simulated borrower does about one instalment.
type Conduct struct {
	// Days is when he pays, counted from the due date: negative before it, positive late.
	Days int
	// Never is set from the instalment on at which he stops paying for good.
	Never bool
	// PartFirst is set where he pays half on the day and the rest LateRest days later.
	PartFirst bool
	// PayOff is set where he closes the whole loan instead.
	PayOff bool
}

// EarlyDaysMax is how many days before its due date an instalment may be paid.
const EarlyDaysMax = 3

// LateRest is how many days after a part payment the rest follows.
const LateRest = 5

// ConductOf returns what the borrower of a loan does about the instalment with a number, counted
// from 1, of a loan of so many instalments. He defaults with his true probability, in parts per
// million; when he does, it begins at an instalment drawn evenly.
func ConductOf(loan ident.ID, truePD int64, number, instalments int) Conduct {
	fate := mixOf("fate", loan.String())
	defaults := int64(fate[0])<<16|int64(fate[1]) < truePD*(1<<32)/1_000_000
	if defaults && number >= 1+fate[2]%max(instalments, 1) {
		return Conduct{Never: true}
	}
	mix := mixOf("conduct", loan.String(), strconv.Itoa(number))
	switch draw := mix[0] % 1000; {
	case draw < 780:
		return Conduct{}
	case draw < 880:
		return Conduct{Days: -1 - mix[1]%EarlyDaysMax}
	case draw < 970:
		return Conduct{Days: 1 + mix[1]%12}
	case draw < 985:
		return Conduct{PartFirst: true}
	}
	return Conduct{PayOff: number < instalments}
}
