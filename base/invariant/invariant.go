// Package invariant stops the process when the program contradicts itself.
//
// A refusal is data and an outside failure is an error; a broken invariant is neither. It means
// that what follows would be computed from a state that cannot exist, so the only safe act is to
// stop before anything derived from it is written or acknowledged.
//
// # Boundaries
//
// Never use Check on input from outside: bad input is an error. Messages are constants, so that a
// passing check allocates nothing; put values into an enclosing if and Fail.
package invariant

import "fmt"

// Violation is the value Check and Fail panic with. The node's outermost recover logs it and exits.
type Violation struct {
	Message string
}

// Error makes a Violation readable in a panic trace.
func (v Violation) Error() string { return "invariant violated: " + v.Message }

// Check panics with a Violation unless holds is true.
func Check(holds bool, message string) {
	if !holds {
		panic(Violation{Message: message})
	}
}

// Fail panics with a Violation whose message is formatted. It is for the failing branch only.
func Fail(format string, args ...any) {
	panic(Violation{Message: fmt.Sprintf(format, args...)})
}
