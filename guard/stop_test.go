package guard

import (
	"encoding/json"
	"testing"

	"surety/base/clock"
	"surety/base/ident"
	"surety/ledger"
)

func breachWith(stops ...Stop) *Breach {
	return &Breach{ID: ident.Derive("b"), Code: 21, Ledger: 156, Stops: stops}
}

func TestBrakeEscalates(t *testing.T) {
	k := Brake{Accounts: 2, Codes: 1}
	now := clock.Instant(clock.Hour)
	account := func(n uint64) *Breach {
		return breachWith(freezeAccount(ident.ID{Lo: n}, ledger.FreezeBoth))
	}
	for step, row := range []struct {
		breach *Breach
		after  clock.Duration
		want   ledger.FreezeScope // zero for nothing
		trips  bool
	}{
		{account(1), 0, ledger.FreezeAccount, false},
		{account(2), 0, ledger.FreezeAccount, false},
		{account(3), 0, ledger.FreezeCode, false}, // two accounts a minute are enough
		{account(4), 0, 0, true},                  // and one code
		{breachWith(Stop{Scope: ledger.FreezeLedger, Ledger: 156}), 0, ledger.FreezeLedger, true},
		{account(5), clock.Minute, ledger.FreezeAccount, true}, // the minute is over
		{breachWith(), 0, 0, true},
	} {
		now = now.Add(row.after)
		got := k.Allow(row.breach, now)
		switch {
		case row.want == 0 && len(got) != 0, row.want != 0 && (len(got) != 1 || got[0].Scope != row.want):
			t.Errorf("step %d: %v, want scope %d", step+1, got, row.want)
		case (k.Tripped() != 0) != row.trips:
			t.Errorf("step %d: tripped is %v, want %v", step+1, k.Tripped() != 0, row.trips)
		}
	}
	k.Reset()
	if k.Tripped() != 0 || k.Accounts != 2 {
		t.Error("a reset brake is tripped, or has lost its bounds")
	}
}

func TestFreezeIsDerived(t *testing.T) {
	b := breachWith(freezeAccount(ident.ID{Lo: 9}, ledger.FreezeDebits),
		Stop{Scope: ledger.FreezeCode, Code: 21, Ledger: 156})
	b.Class = 301
	first, again, other := b.Freeze(0, 50), b.Freeze(0, 50), b.Freeze(1, 50)
	if first != again || first.ID == other.ID {
		t.Error("freezes of one stop differ, or those of two are the same")
	}
	if first.UserData128 != b.ID || first.Reason != 301 || first.ExpiresAt != 50 ||
		first.Sides != ledger.FreezeDebits || first.Ledger != 0 || other.Code != 21 {
		t.Errorf("freeze %+v does not say what is stopped and why", first)
	}
}

// A shared account is never frozen alone: that would stop a whole product.
func TestSharedAccountsAreNotFrozen(t *testing.T) {
	for _, one := range planted() {
		s := newShadow(Limits{}, [ruleMax]bool{})
		one.plant(s)
		p := newProduct("canary", "CNY", shadowLedger)
		for _, b := range s.found {
			for _, stop := range b.Stops {
				for _, shared := range p.accounts {
					if stop.Scope == ledger.FreezeAccount && stop.Account == shared {
						t.Errorf("%s freezes an account of the whole product", one.rule)
					}
				}
			}
		}
	}
}

func TestRecordsAreJSON(t *testing.T) {
	r := Record{{"plain", "1"}, {"quote\"", "a\\b\n<script>\x01é"}, {"bytes", "\xff"}}
	var back map[string]string
	if err := json.Unmarshal([]byte(r.JSON()), &back); err != nil {
		t.Fatalf("%s: %v", r.JSON(), err)
	}
	if back["plain"] != "1" || back["quote\""] != "a\\b\n<script>\x01é" || back["bytes"] != "\ufffd" {
		t.Errorf("%s reads back as %v", r.JSON(), back)
	}
	if (Record{}).JSON() != "{}" {
		t.Error("an empty record is not an empty object")
	}
	found := Record{{"plain", "2"}, {"other", "1"}}
	if got := Differing(r, found); len(got) != 1 || got[0] != "plain" {
		t.Errorf("differing fields are %v, want plain", got)
	}
}
