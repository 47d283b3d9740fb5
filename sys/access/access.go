// Package access decides who is calling and what he may do.
//
// A caller is a Principal: a name with roles. It is proved by a bearer token, of which the store
// keeps only the SHA-256. A door that listens on loopback alone may be open: then a request without
// a token is the principal "local", an operator, so that one person on one machine needs no
// ceremony; everything that gives money back its movement (release of a freeze by a second person)
// or makes tokens still needs a proved name.
//
// # Invariants
//
// A request that carries a token is that token's principal or nobody: a bad token on an open door
// is refused, never taken as "local". An open door answers only requests that came from a loopback
// address, were not forwarded, name a loopback host (so that a web page cannot reach it by
// rebinding its DNS name), and were not sent by a page of another origin. A procedure that no rule
// names is refused.
//
// Secrets are shown once, when they are made; what is stored cannot be turned back into them.
//
// # Boundaries
//
// There are no passwords, sessions or cookies here, and no header from outside names a person.
// The token file is edited by whoever may write the data directory: that is the authority of an
// administrator of the machine.
//
// # Concurrency
//
// All methods are safe for concurrent use.
//
// # Sources
//
// RFC 6750 section 2.1 for the header; W3C Fetch Metadata and net/http.CrossOriginProtection for
// requests of other origins.
package access

import (
	"context"
	"slices"

	"surety/base/errs"
	"surety/base/ident"
)

// Role is what a principal may do. The names are stored: never rename.
type Role string

// The roles. None implies another, except that every role may view and Admin may do everything.
const (
	Viewer   Role = "viewer"   // reads
	Operator Role = "operator" // runs the business: applications, loans, transfers
	Risk     Role = "risk"     // stops money and releases it, writes off, erases
	Admin    Role = "admin"    // everything, and tokens
)

// Roles lists every role, for help and validation.
func Roles() []Role { return []Role{Viewer, Operator, Risk, Admin} }

// Principal is a caller.
type Principal struct {
	Name  string // lower case; the same name is the same person, whichever token he used
	Roles []Role
}

// LocalName is the name of whoever calls through an open door without a token.
const LocalName = "local"

// local is the caller without a token on an open door.
func local() Principal { return Principal{Name: LocalName, Roles: []Role{Operator}} }

// ID returns the principal's id, as it stands in freezes and evidence: two tokens of one name are
// one person, and cannot be the two people that a release asks for.
func (p Principal) ID() ident.ID { return ident.Derive("principal", p.Name) }

// May reports whether the principal may do what needs the role.
func (p Principal) May(need Role) bool {
	if len(p.Roles) > 0 && need == Viewer {
		return true
	}
	return slices.Contains(p.Roles, need) || slices.Contains(p.Roles, Admin)
}

// principalKey is the context key of the caller.
type principalKey struct{}

// With returns a context whose caller is p.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// From returns the caller of ctx; the zero Principal, which may do nothing, where there is none.
func From(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey{}).(Principal)
	return p
}

// Require returns nil where the caller of ctx may do what needs one of the roles. Otherwise the
// error is of kind Unauthorized for a caller without a name and Forbidden for one with.
func Require(ctx context.Context, oneOf ...Role) error {
	p := From(ctx)
	if p.Name == "" {
		return errs.New(errs.Unauthorized, "access: this needs a token with role %s", listRoles(oneOf))
	}
	for _, need := range oneOf {
		if p.May(need) {
			return nil
		}
	}
	return errs.New(errs.Forbidden, "access: this needs role %s, %s has %s", listRoles(oneOf), p.Name,
		listRoles(p.Roles))
}

func listRoles(roles []Role) string {
	text := ""
	for i, role := range roles {
		if i > 0 {
			text += ", "
		}
		text += string(role)
	}
	return text
}
