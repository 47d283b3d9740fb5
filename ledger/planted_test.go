package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// planted are the rules a twin can be made to get wrong, beyond forgetting one check. The model test
// is worth what it finds: each of these must make ledger and twin differ.
var planted = []string{
	"a broken chain keeps what it did",
	"a broken chain spends no id",
	"a code is frozen in every ledger",
	"a freeze stops both sides",
	"a freeze stops voids",
	"a frozen id is not spent",
	"a partial post keeps the rest reserved",
	"a pending transfer can be settled twice",
	"balancing credit is ignored",
	"balancing forgets what is pending",
	"expiry goes by age",
	"expiry is one too late",
	"expiry keeps no balance",
	"freezes never expire",
	"no id is spent",
	"pending debits are not held against the limit",
	"void leaves the debit account closed",
}

func TestPlantedBugsAreFound(t *testing.T) {
	bugs := slices.Clone(planted)
	for _, name := range allResults() {
		chained := strings.Contains(name, "linked_event") // planted above, as what chains do
		if !strings.HasSuffix(name, " ok") && !unreachable[name] && !chained {
			bugs = append(bugs, "forget "+name)
		}
	}
	for _, bug := range bugs {
		t.Run(bug, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(400) {
				if found := playUntilWrong(seed, bug); found != "" {
					return
				}
			}
			t.Error("not found in 400 games")
		})
	}
}

// playUntilWrong plays one game against a twin with a bug and returns what differed. A twin that
// panics over its own bug counts as different.
func playUntilWrong(seed uint64, bug string) (difference string) {
	defer func() {
		if p := recover(); p != nil {
			difference = fmt.Sprint(p)
		}
	}()
	m := newMatch(seedDice{rand.New(rand.NewPCG(seed, 0))}, bug)
	for range 150 {
		if difference = m.step(); difference != "" {
			return difference
		}
	}
	return ""
}
