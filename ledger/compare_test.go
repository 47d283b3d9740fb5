package ledger

import (
	"fmt"
	"slices"
	"sort"

	"surety/base/ident"
)

// compare returns the first difference between the ledger and its twin.
func (m *match) compare() string {
	for _, compare := range []func() string{
		m.compareAccounts, m.compareTransfers, m.compareFreezes, m.compareEvents, m.compareTotals,
		m.compareQueries,
	} {
		if difference := compare(); difference != "" {
			return difference
		}
	}
	if err := m.ledger.CheckInvariants(); err != nil {
		return err.Error()
	}
	return ""
}

func (m *match) compareAccounts() string {
	all := m.ledger.Accounts(nil, 0, 0)
	if len(all) != len(m.twin.accounts) || len(all) != m.ledger.AccountsLen() {
		return fmt.Sprintf("%d accounts, want %d", len(all), len(m.twin.accounts))
	}
	for _, have := range all {
		if want := m.twin.accounts[have.ID].view(); have != want {
			return fmt.Sprintf("account %+v, want %+v", have, want)
		}
		if found, ok := m.ledger.Account(have.ID); !ok || found != have {
			return fmt.Sprintf("account %s is not found", have.ID)
		}
	}
	return ""
}

func (m *match) compareTransfers() string {
	if m.ledger.TransfersLen() != len(m.twin.transfers) {
		return fmt.Sprintf("%d transfers, want %d", m.ledger.TransfersLen(), len(m.twin.transfers))
	}
	for id, want := range m.twin.transfers {
		have, ok := m.ledger.Transfer(id)
		if status := m.ledger.PendingStatus(id); !ok || have != want.record || status != want.status {
			return fmt.Sprintf("transfer %+v status %d, want %+v status %d", have, status, want.record,
				want.status)
		}
	}
	if m.ledger.FailedLen() != len(m.twin.failed) {
		return fmt.Sprintf("%d failed ids, want %d", m.ledger.FailedLen(), len(m.twin.failed))
	}
	for id := range m.twin.failed {
		if !m.ledger.Failed(id) {
			return fmt.Sprintf("id %s has not failed", id)
		}
	}
	return ""
}

func (m *match) compareFreezes() string {
	var open []Freeze
	sides := map[ident.ID]FreezeSides{}
	for id, want := range m.twin.freezes {
		have, status, ok := m.ledger.Freeze(id)
		if !ok || have != want.record || status != want.status {
			return fmt.Sprintf("freeze %+v status %d, want %+v status %d", have, status, want.record,
				want.status)
		}
		if want.status == FreezeOpen {
			open = append(open, want.record)
			sides[want.record.AccountID] |= want.record.Sides
		}
	}
	sort.Slice(open, func(i, j int) bool { return open[i].Timestamp < open[j].Timestamp })
	if have := m.ledger.OpenFreezes(nil); !slices.Equal(have, open) || len(open) != m.ledger.OpenFreezesLen() {
		return fmt.Sprintf("open freezes %+v, want %+v", have, open)
	}
	for id := range m.twin.accounts {
		if have := m.ledger.AccountFrozen(id); have != sides[id] {
			return fmt.Sprintf("account %s is frozen on sides %d, want %d", id, have, sides[id])
		}
	}
	return ""
}

func (m *match) compareEvents() string {
	if m.ledger.EventsLen() != uint64(len(m.twin.order)) {
		return fmt.Sprintf("%d events, want %d", m.ledger.EventsLen(), len(m.twin.order))
	}
	for i, want := range m.twin.order {
		if have := m.ledger.Event(uint64(i)); have != want {
			return fmt.Sprintf("event %+v, want %+v", have, want)
		}
	}
	return ""
}

func (m *match) compareTotals() string {
	totals := map[classKey]*ClassTotal{}
	for _, a := range m.twin.accounts {
		key := classKey{a.record.Ledger, a.record.Code}
		if totals[key] == nil {
			totals[key] = &ClassTotal{Ledger: key.ledger, Code: key.code}
		}
		v, total := a.view(), totals[key]
		total.Accounts++
		plus(&total.DebitsPending, v.DebitsPending)
		plus(&total.DebitsPosted, v.DebitsPosted)
		plus(&total.CreditsPending, v.CreditsPending)
		plus(&total.CreditsPosted, v.CreditsPosted)
	}
	have := m.ledger.ClassTotals()
	if len(have) != len(totals) {
		return fmt.Sprintf("%d classes, want %d", len(have), len(totals))
	}
	for _, h := range have {
		if want := totals[classKey{h.Ledger, h.Code}]; want == nil || *want != h {
			return fmt.Sprintf("class %+v, want %+v", h, want)
		}
	}
	return ""
}

// compareQueries asks a random question each way and reads the answer page by page.
func (m *match) compareQueries() string {
	if len(m.twin.accounts) == 0 {
		return ""
	}
	f := AccountFilter{Debits: m.chance(2), Credits: m.chance(2), Code: uint16(m.roll(3)),
		Reversed: m.chance(2), Limit: 1 + m.roll(4)}
	if m.chance(3) {
		f.TimestampMin = m.twin.order[m.roll(len(m.twin.order))].Timestamp
	}
	if m.chance(3) {
		f.TimestampMax = m.twin.order[m.roll(len(m.twin.order))].Timestamp
	}
	if m.chance(3) {
		f.UserData128.Lo = uint64(m.roll(5))
	}
	id := m.ledger.accounts.at(uint32(m.roll(m.ledger.AccountsLen()))).ID
	if difference := m.compareAccountTransfers(id, f); difference != "" {
		return difference
	}
	if difference := m.compareBalances(id, f); difference != "" {
		return difference
	}
	return m.compareTransferQuery(TransferFilter{UserData128: f.UserData128, Code: f.Code,
		Ledger: uint32(m.roll(3)), TimestampMin: f.TimestampMin, TimestampMax: f.TimestampMax,
		Reversed: f.Reversed, Limit: f.Limit})
}

func (m *match) compareAccountTransfers(id ident.ID, f AccountFilter) string {
	both := !f.Debits && !f.Credits
	var want []Transfer
	for _, e := range m.twin.order {
		t := e.Transfer
		if e.Kind == EventTransferCreated && t.Timestamp >= f.TimestampMin &&
			(f.TimestampMax == 0 || t.Timestamp <= f.TimestampMax) &&
			((f.Debits || both) && t.DebitAccountID == id || (f.Credits || both) && t.CreditAccountID == id) &&
			(f.Code == 0 || t.Code == f.Code) &&
			(f.UserData128.IsZero() || t.UserData128 == f.UserData128) {
			want = append(want, t)
		}
	}
	if f.Reversed {
		slices.Reverse(want)
	}
	var have []Transfer
	for {
		page, err := m.ledger.AccountTransfers(id, f)
		if err != nil || len(page.Transfers) > f.Limit {
			return fmt.Sprintf("account transfers: page of %d, error %v", len(page.Transfers), err)
		}
		have = append(have, page.Transfers...)
		if f.Cursor = page.Cursor; f.Cursor == 0 {
			break
		}
	}
	if !slices.Equal(have, want) {
		return fmt.Sprintf("transfers of %s under %+v: %+v, want %+v", id, f, have, want)
	}
	return ""
}

func (m *match) compareBalances(id ident.ID, f AccountFilter) string {
	var want []Balance
	for _, row := range m.twin.history {
		at := row.balance.Timestamp
		if row.account == id && at >= f.TimestampMin && (f.TimestampMax == 0 || at <= f.TimestampMax) {
			want = append(want, row.balance)
		}
	}
	if f.Reversed {
		slices.Reverse(want)
	}
	var have []Balance
	for {
		page, err := m.ledger.AccountBalances(id, f)
		if err != nil || len(page.Balances) > f.Limit {
			return fmt.Sprintf("account balances: page of %d, error %v", len(page.Balances), err)
		}
		have = append(have, page.Balances...)
		if f.Cursor = page.Cursor; f.Cursor == 0 {
			break
		}
	}
	if !slices.Equal(have, want) {
		return fmt.Sprintf("balances of %s under %+v: %+v, want %+v", id, f, have, want)
	}
	return ""
}

func (m *match) compareTransferQuery(f TransferFilter) string {
	var want []Transfer
	for _, e := range m.twin.order {
		t := e.Transfer
		if e.Kind == EventTransferCreated && t.Timestamp >= f.TimestampMin &&
			(f.TimestampMax == 0 || t.Timestamp <= f.TimestampMax) &&
			(f.Code == 0 || t.Code == f.Code) && (f.Ledger == 0 || t.Ledger == f.Ledger) &&
			(f.UserData128.IsZero() || t.UserData128 == f.UserData128) {
			want = append(want, t)
		}
	}
	if f.Reversed {
		slices.Reverse(want)
	}
	var have []Transfer
	for {
		page, err := m.ledger.QueryTransfers(f)
		if err != nil || len(page.Transfers) > f.Limit {
			return fmt.Sprintf("query: page of %d, error %v", len(page.Transfers), err)
		}
		have = append(have, page.Transfers...)
		if f.Cursor = page.Cursor; f.Cursor == 0 {
			break
		}
	}
	if !slices.Equal(have, want) {
		return fmt.Sprintf("query %+v: %+v, want %+v", f, have, want)
	}
	return ""
}
