package lending

import (
	"strconv"
	"unicode"
	"unicode/utf8"

	"surety/base/money"
)

// Application is what a person fills in: twelve fields. The first four are about the person and do
// not reach the decision; Figures are what is decided on.
type Application struct {
	Name         string
	IDNumber     string
	Phone        string
	BusinessName string
	Figures
	Purpose string
	Consent bool // to an automated decision and to the use of the data for it
}

// Figures are the numbers of an application.
type Figures struct {
	MonthsInBusiness int
	MonthlyTurnover  money.Amount // mean of a month, in minor units
	Employees        int
	ExistingDebt     money.Amount // owed to others
	Amount           money.Amount // asked for
	TermMonths       int
}

// Purposes are what a loan may be for.
func Purposes() []string { return []string{"stock", "equipment", "wages", "rent", "other"} }

// FieldError is a field of an application that is out of its limits. Given never holds what a
// person wrote about himself.
type FieldError struct {
	Field string // as in the API
	Limit string // what is allowed
	Given string // what came
}

// Error returns "field: given, want limit".
func (e FieldError) Error() string { return e.Field + ": " + e.Given + ", want " + e.Limit }

// Validate returns every field that is out of its limits, in the order of the form; none for an
// application that can be decided under the product.
func (a *Application) Validate(p *Product) []FieldError {
	v := validation{}
	v.text("name", a.Name, nameCharacters)
	v.id("id_number", a.IDNumber)
	v.phone("phone", a.Phone)
	v.text("business_name", a.BusinessName, businessCharacters)
	v.count("months_in_business", a.MonthsInBusiness, 0, monthsInBusinessMax)
	v.amount("monthly_turnover", a.MonthlyTurnover, money.Minor(0), money.Minor(lentMax))
	v.count("employees", a.Employees, 0, employeesMax)
	v.amount("existing_debt", a.ExistingDebt, money.Minor(0), money.Minor(lentMax))
	v.amount("amount", a.Amount, p.AmountMin, p.AmountMax)
	if len(v) == 0 || v[len(v)-1].Field != "amount" {
		v.add("amount", multipleOf(a.Amount, p.AmountStep), "a multiple of "+p.AmountStep.String(),
			a.Amount.String())
	}
	v.count("term_months", a.TermMonths, p.TermMin, p.TermMax)
	v.purpose(a.Purpose)
	v.add("consent", a.Consent, "true", "false")
	return v
}

// validation collects field errors.
type validation []FieldError

func (v *validation) add(field string, good bool, limit, given string) {
	if !good {
		*v = append(*v, FieldError{field, limit, given})
	}
}

func (v *validation) count(field string, n, least, greatest int) {
	v.add(field, n >= least && n <= greatest, strconv.Itoa(least)+" to "+strconv.Itoa(greatest),
		strconv.Itoa(n))
}

func (v *validation) amount(field string, a, least, greatest money.Amount) {
	v.add(field, !a.Less(least) && !greatest.Less(a), least.String()+" to "+greatest.String(),
		a.String())
}

func (v *validation) text(field, value string, limit int) {
	want := "1 to " + strconv.Itoa(limit) + " characters"
	if !utf8.ValidString(value) {
		v.add(field, false, want, "text that is not UTF-8")
		return
	}
	seen := false
	for _, r := range value {
		if unicode.IsControl(r) {
			v.add(field, false, want, "a control character")
			return
		}
		seen = seen || !unicode.IsSpace(r)
	}
	n := utf8.RuneCountInString(value)
	v.add(field, seen && n <= limit, want, charactersText(n, seen))
}

func charactersText(n int, seen bool) string {
	if n > 0 && !seen {
		return "only spaces"
	}
	return strconv.Itoa(n) + " characters"
}

func (v *validation) id(field, value string) {
	good := len(value) >= idCharactersMin && len(value) <= idCharacters
	for i := 0; i < len(value) && good; i++ {
		c := value[i]
		good = c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-'
	}
	v.add(field, good, strconv.Itoa(idCharactersMin)+" to "+strconv.Itoa(idCharacters)+
		" letters, digits or hyphens", strconv.Itoa(len(value))+" characters")
}

func (v *validation) phone(field, value string) {
	digits := value
	if len(digits) > 0 && digits[0] == '+' {
		digits = digits[1:]
	}
	good := len(digits) >= phoneDigitsMin && len(digits) <= phoneDigitsMax
	for i := 0; i < len(digits) && good; i++ {
		good = digits[i] >= '0' && digits[i] <= '9'
	}
	v.add(field, good, strconv.Itoa(phoneDigitsMin)+" to "+strconv.Itoa(phoneDigitsMax)+
		" digits, a plus before them or not", strconv.Itoa(len(value))+" characters")
}

func (v *validation) purpose(value string) {
	list := ""
	for _, p := range Purposes() {
		if value == p {
			return
		}
		if list != "" {
			list += ", "
		}
		list += p
	}
	v.add("purpose", false, "one of "+list, strconv.Quote(clip(value)))
}
