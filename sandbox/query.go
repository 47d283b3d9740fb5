package sandbox

import "net/netip"

// Query selects records. The zero Query selects all. Fields that are set must all match.
type Query struct {
	Kinds    []Kind
	Verdicts []Verdict
	Process  uint32 // this process and every descendant of it, as the trail shows them
	Path     string // pattern, as a FileRule's; matches Path or Path2
	Addr     netip.Prefix
	From, To uint64 // sequence numbers, inclusive; To 0: to the end
}

// Selector answers a query over a trail read in order: it follows clones and execs to know the
// process tree.
type Selector struct{ _ struct{} }

// NewSelector makes a selector for q.
func NewSelector(q Query) *Selector { panic("unimplemented") }

// Match reports whether the next record of the trail is selected. Every record must be shown to
// it, in order.
func (s *Selector) Match(r *Record) bool { panic("unimplemented") }

// Learner writes the policy that a run needed. Show it every record of one or more trails.
type Learner struct{ _ struct{} }

// NewLearner makes an empty learner.
func NewLearner() *Learner { panic("unimplemented") }

// Add learns from one record.
func (l *Learner) Add(r *Record) { panic("unimplemented") }

// Policy returns an enforcing, default-deny policy under which the runs shown would have met no
// refusal: exec by digest, paths as they are (a directory with more than MaxLearned siblings
// becomes one pattern), addresses with ports. Its rules are in a stable order.
func (l *Learner) Policy(name string) Policy { panic("unimplemented") }

// Retry decides again on a recorded act, as `policy test` does: what the policy would say now.
func (c *Compiled) Retry(r *Record) Decision { panic("unimplemented") }
