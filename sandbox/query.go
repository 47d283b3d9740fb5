package sandbox

import (
	"net/netip"
	"strings"

	"surety/base/errs"
)

// Query selects records. The zero Query selects all. Fields that are set must all match.
type Query struct {
	Kinds    []Kind
	Verdicts []Verdict
	Process  uint32 // this process and every descendant of it, as the trail shows them
	Path     string // pattern, as a FileRule's; matches Path or Path2
	Addr     netip.Prefix
	From, To uint64 // sequence numbers, inclusive; To 0: to the end
}

// Check reports what is wrong with the query: a pattern that is none, a range that ends before it
// begins, an address block that is none. Errors: Invalid.
func (q *Query) Check() error {
	if q.Path != "" {
		if err := checkQueryPath(q.Path); err != nil {
			return errs.As(errs.Invalid, err, "sandbox.query: path")
		}
	}
	switch {
	case q.To != 0 && q.To < q.From:
		return errs.New(errs.Invalid, "sandbox.query: record %d to %d is an empty range", q.From,
			q.To)
	case q.Addr != (netip.Prefix{}) && !q.Addr.IsValid():
		return errs.New(errs.Invalid, "sandbox.query: %s is no block of addresses", q.Addr)
	}
	return nil
}

func checkQueryPath(text string) error {
	if strings.HasPrefix(text, "@") {
		return checkWildcards(text) // abstract unix sockets
	}
	return checkPattern(text)
}

// cloneThread is the flag of clone that makes a thread of the same process (CLONE_THREAD).
const cloneThread = 0x10000

// Selector answers a query over a trail read in order: it follows clones and parents to know the
// process tree.
type Selector struct {
	query    Query
	none     bool // the query is wrong and selects nothing
	kinds    [256]bool
	verdicts [256]bool
	path     *pattern
	addr     netip.Prefix
	tree     map[uint32]bool // processes below Query.Process, and it
}

// NewSelector makes a selector for q. One for a query that fails its Check matches nothing.
func NewSelector(q Query) *Selector {
	s := &Selector{query: q, none: q.Check() != nil}
	for _, kind := range q.Kinds {
		s.kinds[kind] = true
	}
	for _, verdict := range q.Verdicts {
		s.verdicts[verdict] = true
	}
	if q.Path != "" && !s.none {
		s.path = newPattern(q.Path, q.Path[0] == '/')
	}
	if q.Addr.IsValid() {
		s.addr = plainPrefix(q.Addr)
	}
	if q.Process != 0 {
		s.tree = map[uint32]bool{q.Process: true}
	}
	return s
}

// plainPrefix is a block without bits behind its length, and of IPv4 where it is IPv4 in IPv6.
func plainPrefix(prefix netip.Prefix) netip.Prefix {
	if prefix.Addr().Is4In6() && prefix.Bits() >= 96 {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	return prefix.Masked()
}

// Match reports whether the next record of the trail is selected. Every record must be shown to
// it, in order.
func (s *Selector) Match(r *Record) bool {
	if s.tree != nil {
		s.follow(r)
	}
	q := &s.query
	switch {
	case s.none, r.Seq < q.From, q.To != 0 && r.Seq > q.To:
		return false
	case len(q.Kinds) > 0 && !s.kinds[r.Kind]:
		return false
	case len(q.Verdicts) > 0 && !s.verdicts[r.Verdict]:
		return false
	case s.tree != nil && !s.tree[r.Process]:
		return false
	case s.path != nil && !s.matchPath(r.Path) && !s.matchPath(r.Path2):
		return false
	}
	return !s.addr.IsValid() || s.addr.Contains(r.Addr.Addr().Unmap().WithZone(""))
}

func (s *Selector) matchPath(path string) bool {
	if path == "/" {
		return s.path.text == "/" || s.path.text == "/**"
	}
	return path != "" && s.path.match(path)
}

// follow keeps the tree. A number is one process until another is cloned with it; a process stays
// in the tree when its parent dies and init becomes its parent.
func (s *Selector) follow(r *Record) {
	q := s.query.Process
	if r.Process != q && r.Process != 0 && s.tree[r.Parent] {
		s.tree[r.Process] = true
	}
	made := uint32(r.Result)
	if r.Kind != KindClone || r.Flags&cloneThread != 0 || r.Result <= 0 || int64(made) != r.Result {
		return
	}
	if s.tree[r.Process] {
		s.tree[made] = true
	} else if made != q {
		delete(s.tree, made)
	}
}
