package population

import (
	"strconv"
	"testing"

	"google.golang.org/protobuf/proto"

	"surety/base/ident"
	"surety/lending/score"
	"surety/lending/score/merchant"
)

func features(t *testing.T) []string {
	t.Helper()
	m, err := merchant.Shipped(score.KindCard)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range m.Features() {
		names = append(names, f.Name)
	}
	return names
}

func TestApplicantsRepeatAndDiffer(t *testing.T) {
	names := features(t)
	p, err := New(7, names)
	if err != nil {
		t.Fatal(err)
	}
	documents, keys := map[string]uint64{}, map[string]bool{}
	repeated := 0
	for i := range uint64(2_000) {
		a, again := p.At(i), p.At(i)
		if !proto.Equal(a.Form, again.Form) || a.TruePD != again.TruePD {
			t.Fatalf("applicant %d came out twice in two ways", i)
		}
		if keys[a.Key] {
			t.Fatalf("key %s twice", a.Key)
		}
		keys[a.Key] = true
		if _, seen := documents[a.Form.IdNumber]; seen {
			repeated++
		}
		documents[a.Form.IdNumber] = i
		if a.Features[names[0]] != strconv.Itoa(int(a.Form.MonthsInBusiness)) {
			t.Fatalf("applicant %d: feature %s is %s, the form says %d", i, names[0],
				a.Features[names[0]], a.Form.MonthsInBusiness)
		}
	}
	if want := 2_000 / repeatEvery; repeated != want {
		t.Errorf("%d applicants came back, want %d", repeated, want)
	}
	if _, err := New(7, names[1:]); err == nil {
		t.Error("a population without a feature was made")
	}
}

// TestConductFollowsTheHiddenProbability counts who defaults against what the probability promises,
// and checks that a borrower who stopped stays stopped.
func TestConductFollowsTheHiddenProbability(t *testing.T) {
	const loans, instalments = 20_000, 12
	for _, pd := range []int64{0, 100_000, 1_000_000} {
		defaults := int64(0)
		for i := range loans {
			loan := ident.Derive("loan", strconv.Itoa(i))
			stopped := false
			for n := 1; n <= instalments; n++ {
				never := ConductOf(loan, pd, n, instalments).Never
				if stopped && !never {
					t.Fatalf("loan %d pays again at instalment %d", i, n)
				}
				stopped = never
			}
			if stopped {
				defaults++
			}
		}
		want := pd * loans / 1_000_000
		if off := defaults - want; off < -want/20 || off > want/20 {
			t.Errorf("probability %d: %d defaults, want about %d", pd, defaults, want)
		}
	}
}
