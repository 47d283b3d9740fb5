package tlog

import (
	"surety/base/errs"
)

// position is how far a source has got: every number up to last is in the log, and of the later
// ones those in beyond. There are such only after a crash between two parts of one batch, and only
// until the source has sent again what is missing.
type position struct {
	last   uint64
	beyond map[uint64]bool
}

// has reports whether the number is in the log.
func (p position) has(seq uint64) bool { return seq <= p.last || p.beyond[seq] }

// advance takes in the number that follows last, and those beyond that now follow on. It leaves
// beyond alone, which an older copy of the position may share.
func (p position) advance(seq uint64) position {
	p.last = seq
	for p.beyond[p.last+1] {
		p.last++
	}
	return p
}

// trim forgets the numbers beyond that last has passed.
func (p position) trim() position {
	for seq := range p.beyond { // the order does not show: all that were passed go
		if seq <= p.last {
			delete(p.beyond, seq)
		}
	}
	return p
}

// note takes in a number read from the log, in whatever order, and reports whether it is new.
func (p position) note(seq uint64) (position, bool) {
	if p.has(seq) {
		return p, false
	}
	if seq == p.last+1 {
		return p.advance(seq).trim(), true
	}
	if p.beyond == nil {
		p.beyond = map[uint64]bool{}
	}
	p.beyond[seq] = true
	return p, true
}

// draft is the positions as they will be once the batch in hand is in the log.
type draft struct {
	settled map[string]position // as they are
	changed map[string]position // those the batch moves
	added   int                 // of changed, those that are not among settled
}

func newDraft(settled map[string]position) *draft {
	return &draft{settled: settled, changed: map[string]position{}}
}

func (d *draft) at(source string) (p position, known bool) {
	if p, known = d.changed[source]; !known {
		p, known = d.settled[source]
	}
	return p, known
}

// admit returns those of the items that are not in the log yet. Items that leave a gap are refused
// as a whole, kind Invalid, as are those of a source too many, kind TooLarge; neither changes the
// draft.
func (d *draft) admit(items []*item) ([]*item, error) {
	var fresh []*item
	trial, added := map[string]position{}, 0
	for _, it := range items {
		source, seq := it.record.Source, it.record.SourceSeq
		p, known := trial[source]
		if !known {
			if p, known = d.at(source); !known {
				added++
			}
		}
		if p.has(seq) {
			trial[source] = p
			continue
		}
		if seq != p.last+1 {
			return nil, errs.New(errs.Invalid, "tlog.append: source %s: number %d after %d leaves a gap",
				source, seq, p.last)
		}
		trial[source] = p.advance(seq)
		fresh = append(fresh, it)
	}
	if total := len(d.settled) + d.added + added; total > MaxSources {
		return nil, errs.New(errs.TooLarge, "tlog.append: %d sources, the limit is %d", total, MaxSources)
	}
	for source, p := range trial { // the order does not show: each source stands alone
		d.changed[source] = p
	}
	d.added += added
	return fresh, nil
}
