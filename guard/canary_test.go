package guard

import "testing"

func TestEveryRuleHasACanary(t *testing.T) {
	has := map[Rule]bool{CheckerUnreliable: true} // the rule that canaries feed
	for _, c := range planted() {
		has[c.rule] = true
	}
	for _, r := range Rules() {
		if !has[r.Rule] {
			t.Errorf("rule %s has no canary", r.Name)
		}
	}
}

func TestCanariesAreFound(t *testing.T) {
	for _, c := range planted() {
		s := newShadow(Limits{}, [ruleMax]bool{})
		c.plant(s)
		for _, b := range s.found {
			if b.Rule != c.rule {
				t.Errorf("%s: also found %s: expected %s, found %s", c.rule, b.Rule,
					b.Expected.JSON(), b.Found.JSON())
			}
		}
		if len(s.found) == 0 {
			t.Errorf("%s: not found", c.rule)
		}
	}
}

// A rule that is switched off must be missed by its canary, and by no other: so each rule is what
// finds its fault.
func TestBlindRuleFailsItsCanary(t *testing.T) {
	for _, r := range Rules() {
		if r.Rule == CheckerUnreliable {
			continue
		}
		c := New(Limits{})
		c.Blind(r.Rule)
		for _, outcome := range c.SelfTest() {
			if outcome.Found == (outcome.Rule == r.Rule) {
				t.Errorf("without %s: canary of %s: found is %v", r.Name, outcome.Rule, outcome.Found)
			}
		}
	}
}

func BenchmarkSelfTest(b *testing.B) {
	c := New(Limits{})
	for b.Loop() {
		c.SelfTest()
	}
}
