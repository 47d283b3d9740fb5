package ledger

import (
	"maps"
	"math/big"
	"slices"
	"sort"

	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
)

// twin is the ledger again, slow and obvious: maps, big integers, a copy of everything before each
// chain, and each rule as one line of a list. It shares nothing with the core but the record types.
// bug names one rule that this twin gets wrong on purpose; see planted_test.go.
type twin struct {
	bug       string
	now       clock.Instant
	accounts  map[ident.ID]twinAccount
	transfers map[ident.ID]twinTransfer
	failed    map[ident.ID]bool
	freezes   map[ident.ID]twinFreeze
	order     []Event
	history   []twinBalance
}

type twinAccount struct {
	record                                                     Account // as created
	closed                                                     bool
	debitsPending, debitsPosted, creditsPending, creditsPosted *big.Int
}

type twinTransfer struct {
	record Transfer
	status PendingStatus
}

type twinFreeze struct {
	record Freeze
	status FreezeStatus
}

type twinBalance struct {
	account ident.ID
	balance Balance
}

func newTwin(bug string) *twin {
	return &twin{
		bug:       bug,
		accounts:  map[ident.ID]twinAccount{},
		transfers: map[ident.ID]twinTransfer{},
		failed:    map[ident.ID]bool{},
		freezes:   map[ident.ID]twinFreeze{},
	}
}

// copy returns the twin as it is. Numbers are never changed in place, so maps of structs are enough.
func (w *twin) copy() twin {
	c := *w
	c.accounts, c.transfers = maps.Clone(w.accounts), maps.Clone(w.transfers)
	c.failed, c.freezes = maps.Clone(w.failed), maps.Clone(w.freezes)
	c.order, c.history = slices.Clone(w.order), slices.Clone(w.history)
	return c
}

// rule is one line of a list of checks: the result given where refuses says so.
type rule[R ~uint16] struct {
	result  R
	refuses func() bool
}

// firstOf returns the result of the first rule that refuses, zero where none does. A planted bug
// "forget NAME" leaves that rule out.
func firstOf[R interface {
	~uint16
	String() string
}](bug, list string, rules []rule[R]) R {
	for _, r := range rules {
		if bug != "forget "+list+" "+r.result.String() && r.refuses() {
			return r.result
		}
	}
	return 0
}

// batch applies n records in order with chains: apply does record i and says whether it was refused.
func (w *twin) batch(n int, linked func(i int) bool, apply func(i int) uint16) []uint16 {
	results := make([]uint16, n)
	for i := 0; i < n; {
		end := i // the chain's last record
		for end < n-1 && linked(end) {
			end++
		}
		open := linked(end)
		saved := w.copy()
		failedAt := -1
		for j := i; j <= end && failedAt < 0; j++ {
			if open && j == end {
				results[j], failedAt = 2, j
				break
			}
			if results[j] = apply(j); results[j] != 0 {
				failedAt = j
			}
		}
		if failedAt >= 0 && end > i {
			failed := w.failed
			if w.bug != "a broken chain keeps what it did" {
				*w = saved
			}
			w.failed = failed // spent ids stay spent
			if w.bug == "a broken chain spends no id" {
				w.failed = saved.failed
			}
			for j := i; j <= end; j++ {
				if j != failedAt {
					results[j] = 1
				}
			}
			if open {
				results[end] = 2
			}
		}
		i = end + 1
	}
	return results
}

func (w *twin) createAccounts(batch []Account, timestamp clock.Instant) []AccountResult {
	first := w.begin(len(batch), timestamp)
	raw := w.batch(len(batch), func(i int) bool { return batch[i].Flags&AccountLinked != 0 },
		func(i int) uint16 {
			return uint16(w.createAccount(batch[i], first, first+clock.Instant(i),
				batch[0].Flags&AccountImported != 0))
		})
	w.now = timestamp
	return convert[AccountResult](raw)
}

func convert[R ~uint16](raw []uint16) []R {
	var results []R
	for _, r := range raw {
		results = append(results, R(r))
	}
	return results
}

func (w *twin) createAccount(a Account, first, now clock.Instant, batchImported bool) AccountResult {
	has := func(f AccountFlags) bool { return a.Flags&f != 0 }
	e, exists := w.accounts[a.ID]
	when := now
	if has(AccountImported) {
		when = a.Timestamp
	}
	result := firstOf(w.bug, "account", []rule[AccountResult]{
		{AccountImportedEventExpected, func() bool { return batchImported && !has(AccountImported) }},
		{AccountImportedEventNotExpected, func() bool { return !batchImported && has(AccountImported) }},
		{AccountTimestampMustBeZero, func() bool { return !has(AccountImported) && a.Timestamp != 0 }},
		{AccountImportedEventTimestampOutOfRange, func() bool {
			return has(AccountImported) && (a.Timestamp == 0 || a.Timestamp > 1<<63-1)
		}},
		{AccountImportedEventTimestampMustNotAdvance, func() bool {
			return has(AccountImported) && a.Timestamp >= first
		}},
		{AccountReservedField, func() bool { return a.Reserved != 0 }},
		{AccountReservedFlag, func() bool { return a.Flags >= 1<<6 }},
		{AccountIDMustNotBeZero, func() bool { return a.ID.IsZero() }},
		{AccountIDMustNotBeIntMax, func() bool { return a.ID == ident.Max }},
		{AccountExistsWithDifferentFlags, func() bool { return exists && a.Flags != e.record.Flags }},
		{AccountExistsWithDifferentUserData128, func() bool {
			return exists && a.UserData128 != e.record.UserData128
		}},
		{AccountExistsWithDifferentUserData64, func() bool {
			return exists && a.UserData64 != e.record.UserData64
		}},
		{AccountExistsWithDifferentUserData32, func() bool {
			return exists && a.UserData32 != e.record.UserData32
		}},
		{AccountExistsWithDifferentLedger, func() bool { return exists && a.Ledger != e.record.Ledger }},
		{AccountExistsWithDifferentCode, func() bool { return exists && a.Code != e.record.Code }},
		{AccountExists, func() bool { return exists }},
		{AccountFlagsAreMutuallyExclusive, func() bool {
			return has(AccountDebitsMustNotExceedCredits) && has(AccountCreditsMustNotExceedDebits)
		}},
		{AccountDebitsPendingMustBeZero, func() bool { return a.DebitsPending != money.Amount{} }},
		{AccountDebitsPostedMustBeZero, func() bool { return a.DebitsPosted != money.Amount{} }},
		{AccountCreditsPendingMustBeZero, func() bool { return a.CreditsPending != money.Amount{} }},
		{AccountCreditsPostedMustBeZero, func() bool { return a.CreditsPosted != money.Amount{} }},
		{AccountLedgerMustNotBeZero, func() bool { return a.Ledger == 0 }},
		{AccountCodeMustNotBeZero, func() bool { return a.Code == 0 }},
		{AccountImportedEventTimestampMustNotRegress, func() bool {
			if !has(AccountImported) {
				return false
			}
			for _, o := range w.accounts {
				if o.record.Timestamp >= when {
					return true
				}
			}
			return w.transferAt(when)
		}},
	})
	if result != AccountOK {
		return result
	}
	a.Timestamp = when
	zero := new(big.Int)
	w.accounts[a.ID] = twinAccount{a, has(AccountClosed), zero, zero, zero, zero}
	w.emit(Event{Timestamp: when, Kind: EventAccountCreated, Account: a})
	return AccountOK
}

func (w *twin) transferAt(when clock.Instant) bool {
	for _, t := range w.transfers {
		if t.record.Timestamp == when {
			return true
		}
	}
	return false
}

func (w *twin) emit(e Event) {
	e.Seq = uint64(len(w.order))
	w.order = append(w.order, e)
}

func (w *twin) begin(n int, timestamp clock.Instant) clock.Instant {
	first := timestamp - clock.Instant(max(n, 1)) + 1
	w.expire(timestamp, first)
	return first
}

func (w *twin) pulse(timestamp clock.Instant) {
	w.begin(0, timestamp)
	w.now = timestamp
}

// expire finds everything that is due, sorts it and ends it.
func (w *twin) expire(timestamp, at clock.Instant) {
	type due struct {
		expiresAt, timestamp clock.Instant
		transfer, freeze     ident.ID
	}
	var all []due
	for id, t := range w.transfers {
		if t.status == PendingOpen && t.record.Timeout != 0 {
			all = append(all, due{expiryOf(t.record), t.record.Timestamp, id, ident.ID{}})
		}
	}
	for id, z := range w.freezes {
		if z.status == FreezeOpen && z.record.ExpiresAt != 0 && w.bug != "freezes never expire" {
			all = append(all, due{z.record.ExpiresAt, z.record.Timestamp, ident.ID{}, id})
		}
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].expiresAt != all[j].expiresAt && w.bug != "expiry goes by age" {
			return all[i].expiresAt < all[j].expiresAt
		}
		return all[i].timestamp < all[j].timestamp
	})
	for _, d := range all {
		if d.expiresAt > timestamp || w.bug == "expiry is one too late" && d.expiresAt == timestamp {
			continue
		}
		if d.freeze.IsZero() {
			w.lapse(d.transfer, at)
			continue
		}
		z := w.freezes[d.freeze]
		z.status = FreezeExpired
		w.freezes[d.freeze] = z
		w.emit(Event{Timestamp: at, Kind: EventFreezeExpired, Freeze: z.record})
	}
}

func expiryOf(t Transfer) clock.Instant {
	return t.Timestamp + clock.Instant(t.Timeout)*1_000_000_000
}

func (w *twin) lapse(id ident.ID, at clock.Instant) {
	t := w.transfers[id]
	t.status = PendingExpired
	w.transfers[id] = t
	d, c := w.accounts[t.record.DebitAccountID], w.accounts[t.record.CreditAccountID]
	amount := t.record.Amount.Big()
	d.debitsPending = sum(d.debitsPending, neg(amount))
	c.creditsPending = sum(c.creditsPending, neg(amount))
	w.reopen(&d, &c, t.record)
	w.store(d, c)
	w.emit(Event{Timestamp: at, Kind: EventPendingExpired, Transfer: t.record})
	if w.bug != "expiry keeps no balance" {
		w.keep(at, d, c)
	}
}

// reopen undoes what a closing transfer closed.
func (w *twin) reopen(d, c *twinAccount, p Transfer) {
	if p.Flags&TransferClosingDebit != 0 && w.bug != "void leaves the debit account closed" {
		d.closed = false
	}
	if p.Flags&TransferClosingCredit != 0 {
		c.closed = false
	}
}

func (w *twin) store(accounts ...twinAccount) {
	for _, a := range accounts {
		w.accounts[a.record.ID] = a
	}
}

func (w *twin) keep(at clock.Instant, accounts ...twinAccount) {
	for _, a := range accounts {
		if a.record.Flags&AccountHistory != 0 {
			v := a.view()
			w.history = append(w.history, twinBalance{v.ID, Balance{v.DebitsPending, v.DebitsPosted,
				v.CreditsPending, v.CreditsPosted, at}})
		}
	}
}

// view returns the account as the ledger shows it.
func (a twinAccount) view() Account {
	v := a.record
	v.DebitsPending, v.DebitsPosted = amountOf(a.debitsPending), amountOf(a.debitsPosted)
	v.CreditsPending, v.CreditsPosted = amountOf(a.creditsPending), amountOf(a.creditsPosted)
	if a.closed {
		v.Flags |= AccountClosed
	} else {
		v.Flags &^= AccountClosed
	}
	return v
}

func amountOf(n *big.Int) money.Amount {
	a, err := money.FromBig(n)
	if err != nil {
		panic(err)
	}
	return a
}

func sum(terms ...*big.Int) *big.Int {
	total := new(big.Int)
	for _, t := range terms {
		total.Add(total, t)
	}
	return total
}

func neg(n *big.Int) *big.Int { return new(big.Int).Neg(n) }

func over(n *big.Int) bool { return n.BitLen() > 128 }

func least(a, b *big.Int) *big.Int {
	if a.Cmp(b) < 0 {
		return a
	}
	return b
}
