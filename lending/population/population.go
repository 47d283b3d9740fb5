// Package population makes synthetic applicants, and borrowers who later repay or do not.
//
// An applicant is a merchant of lending/score/merchant with a name, a document number and a phone
// that belong to nobody. Everything is a function of a seed and an index, so a run can be repeated.
// A borrower's conduct is a function of his loan's id and his hidden probability of default: a
// restart continues the same life.
//
// # Boundaries
//
// The lending service must not see what only the simulation knows: the hidden probability travels
// beside the application and is stored with the loan for the simulated borrower alone. All of it is
// labelled synthetic wherever it shows.
package population

import (
	"encoding/binary"
	"fmt"
	"strconv"

	lendingv1 "surety/api/lending/v1"
	"surety/base/errs"
	"surety/base/ident"
	"surety/lending/score/merchant"
)

// Applicant is one synthetic application.
type Applicant struct {
	Key      string // idempotency key, unique within the seed
	Form     *lendingv1.Form
	Features map[string]string
	TruePD   int64 // parts per million; hidden from the lender
}

// Population is the applicants of one seed.
type Population struct {
	seed     uint64
	features [merchant.FeatureCount]string
}

// New returns the population of a seed. The names are those of the features of the model that
// scores merchants, in the model's order; there must be merchant.FeatureCount of them.
func New(seed uint64, features []string) (*Population, error) {
	p := &Population{seed: seed}
	if len(features) != len(p.features) {
		return nil, errs.New(errs.Invalid, "population.new: %d features, a merchant has %d",
			len(features), len(p.features))
	}
	copy(p.features[:], features)
	return p, nil
}

// repeatEvery is how often an applicant comes back at once with another wish: what the checks for
// duplicates and velocity are for.
const repeatEvery = 64

// At returns the applicant of an index.
func (p *Population) At(index uint64) Applicant {
	who := index
	if index%repeatEvery == repeatEvery-1 {
		who = index - repeatEvery/2
	}
	profile := merchant.At(p.seed, who)
	mix := mixOf("applicant", strconv.FormatUint(p.seed, 10), strconv.FormatUint(who, 10))
	requested := min(max(profile.RequestedMinor, amountLeast), amountMost)
	values := profile.Values(nil)
	a := Applicant{
		Key:    fmt.Sprintf("synthetic-%d-%d", p.seed, index),
		TruePD: profile.TruePDMicro,
		Form: &lendingv1.Form{
			Name:             given[mix[0]%len(given)] + " " + family[mix[1]%len(family)],
			IdNumber:         fmt.Sprintf("SYN%015d", uint64(mix[2])<<20^who),
			Phone:            fmt.Sprintf("+8619%09d", (uint64(mix[3])^who*7919)%1_000_000_000),
			BusinessName:     family[mix[1]%len(family)] + " " + trades[mix[4]%len(trades)],
			MonthsInBusiness: int32(profile.MonthsInBusiness),
			MonthlyTurnover:  strconv.FormatInt(profile.MonthlyTurnoverMinor, 10),
			Employees:        int32(profile.Employees),
			ExistingDebt:     strconv.FormatInt(profile.ExistingDebtMinor, 10),
			Amount:           strconv.FormatInt(requested, 10),
			TermMonths:       int32(profile.TermMonths),
			Purpose:          purposes[mix[5]%len(purposes)],
			Consent:          true,
		},
		Features: make(map[string]string, len(values)),
	}
	for i, name := range p.features {
		a.Features[name] = strconv.FormatInt(values[i], 10)
	}
	return a
}

// The amounts that the default product lends, in minor units: a request outside them is brought
// inside, as a person at the form would do.
const (
	amountLeast = 1_000_00
	amountMost  = 300_000_00
)

var (
	given = [...]string{"Ada", "Bao", "Chen", "Dara", "Emeka", "Fatima", "Gul", "Hana", "Ines",
		"Jun", "Kofi", "Lan", "Mei", "Nadia", "Omar", "Ping", "Quynh", "Rosa", "Sami", "Tao",
		"Uma", "Vera", "Wei", "Xin", "Yara", "Zhen"}
	family = [...]string{"Adler", "Bello", "Cao", "Diaz", "Eze", "Feng", "Garcia", "Huang", "Ito",
		"Jiang", "Khan", "Liu", "Ma", "Nguyen", "Okoro", "Pham", "Qian", "Rao", "Sun", "Tang",
		"Uddin", "Vo", "Wang", "Xu", "Yang", "Zhao"}
	trades = [...]string{"Noodles", "Hardware", "Bakery", "Tailoring", "Grocer", "Repairs", "Tea",
		"Flowers", "Print", "Fruit", "Barber", "Kitchen", "Cycles", "Pharmacy"}
	purposes = [...]string{"stock", "stock", "stock", "equipment", "wages", "rent", "other"}
)

// mixOf returns eight small random numbers that are a function of the names.
func mixOf(names ...string) [8]int {
	id := ident.Derive(names...)
	b := id.Bytes()
	var mix [8]int
	for i := range mix {
		mix[i] = int(binary.BigEndian.Uint16(b[2*i:]))
	}
	return mix
}
