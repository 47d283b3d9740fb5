package sandbox

import "strings"

// effect is what a rule says of the access bits it speaks of. Network acts use the same bits.
type effect struct {
	rule   uint16
	access Access
	deny   bool
}

// tally gathers the effects that match one act.
type tally struct {
	want    Access // bits of the act
	allowed Access // bits that some rule allows
	allow   uint16 // lowest rule that allows a bit, or NoRule
	deny    uint16 // lowest rule that denies a bit, or NoRule
}

func newTally(want Access) tally { return tally{want: want, allow: NoRule, deny: NoRule} }

func (t *tally) add(e effect) {
	if e.access&t.want == 0 {
		return
	}
	if e.deny {
		t.deny = min(t.deny, e.rule)
		return
	}
	t.allowed |= e.access & t.want
	t.allow = min(t.allow, e.rule)
}

func (t *tally) addAll(effects []effect) {
	for i := range effects {
		t.add(effects[i])
	}
}

// pathTable finds the rules that speak of a path. It is a tree of folders: a pattern hangs at the
// deepest folder that its text names without a wildcard, so that a path meets only the patterns of
// the folders it goes through. The zero table has no rules.
type pathTable struct {
	root  folder
	rules int
}

type folder struct {
	below map[string]*folder
	exact []effect // rules of this very path
	under []effect // rules of "/**": this path and all below it
	globs []glob   // other patterns, matched against the rest of the path
}

type glob struct {
	pattern *pattern // of what follows the folder's slash
	effect  effect
}

// add hangs a pattern that passed checkPattern into the tree.
func (t *pathTable) add(text string, e effect) {
	t.rules++
	at, rest := t.place(text, true)
	switch {
	case rest == "":
		at.exact = append(at.exact, e)
	case rest == "**":
		at.under = append(at.under, e)
	default:
		at.globs = append(at.globs, glob{newPattern(rest, true), e})
	}
}

// place walks down the folders that text names and returns the last, with what is left of text:
// empty where all was literal. Without grow it stops where the tree does, and then rest is not
// empty.
func (t *pathTable) place(text string, grow bool) (at *folder, rest string) {
	at, rest = &t.root, text[1:]
	for rest != "" {
		name, more, _ := strings.Cut(rest, "/")
		if isWild(name) {
			return at, rest
		}
		next := at.below[name]
		if next == nil && !grow {
			return at, rest
		}
		if next == nil {
			next = &folder{}
			if at.below == nil {
				at.below = make(map[string]*folder)
			}
			at.below[name] = next
		}
		at, rest = next, more
	}
	return at, rest
}

// find adds to the tally what the rules say of an absolute path. Another path meets no rule.
func (t *pathTable) find(path string, into *tally) {
	if t.rules == 0 || path == "" || path[0] != '/' {
		return
	}
	at, rest := &t.root, path[1:]
	for {
		into.addAll(at.under)
		if rest == "" {
			into.addAll(at.exact)
			return
		}
		for i := range at.globs {
			g := &at.globs[i]
			if g.effect.access&into.want != 0 && g.pattern.match(rest) {
				into.add(g.effect)
			}
		}
		name := rest
		if slash := strings.IndexByte(rest, '/'); slash >= 0 {
			name, rest = rest[:slash], rest[slash+1:]
		} else {
			rest = ""
		}
		next := at.below[name]
		if next == nil {
			return
		}
		at = next
	}
}

// hiddenBy returns a rule other than e's that denies all that text and e speak of, or NoRule. It
// takes its work from effort.
func (t *pathTable) hiddenBy(text string, e effect, effort *int) uint16 {
	whole := newPattern(text[1:], true)
	at, rest := &t.root, text[1:]
	for {
		if by := covering(at.under, e); by != NoRule {
			return by
		}
		if by := coveringGlob(at.globs, pair{rest, whole}, e, effort); by != NoRule {
			return by
		}
		if rest == "" {
			return covering(at.exact, e)
		}
		name, more, _ := strings.Cut(rest, "/")
		next := at.below[name]
		if isWild(name) || next == nil {
			return NoRule
		}
		at, rest = next, more
	}
}

func covering(effects []effect, e effect) uint16 {
	for _, by := range effects {
		if by.deny && by.rule != e.rule && e.access&^by.access == 0 {
			return by.rule
		}
	}
	return NoRule
}

// pair is what is left of a pattern's text, and the whole of it compiled.
type pair struct {
	rest  string
	whole *pattern
}

func coveringGlob(globs []glob, of pair, e effect, effort *int) uint16 {
	if of.rest == "" {
		return NoRule // the folder itself: its globs speak of what is below
	}
	rest := of.whole
	if len(of.rest) != len(rest.text) {
		rest = nil
	}
	for i := range globs {
		g := &globs[i]
		if !g.effect.deny || g.effect.rule == e.rule || e.access&^g.effect.access != 0 {
			continue
		}
		if rest == nil {
			rest = newPattern(of.rest, true)
		}
		if g.pattern.covers(rest, effort) {
			return g.effect.rule
		}
	}
	return NoRule
}
