package guard

import (
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
)

// moving is a clearing account that is not at zero.
type moving struct {
	account uint32
	since   clock.Instant
	first   uint64 // postings seen when it left zero: which time this is
	told    bool
}

// noteClearing follows the clearing accounts that a posting moved.
func (c *Checker) noteClearing(s sides) {
	c.noteMoving(s.debit)
	c.noteMoving(s.credit)
}

func (c *Checker) noteMoving(i uint32) {
	a := c.books.accounts.rows.at(i)
	entry := c.books.chart[a.class]
	if entry == nil || entry.clearing == 0 {
		return
	}
	at := -1
	for k := range c.books.moving {
		if c.books.moving[k].account == i {
			at = k
		}
	}
	switch {
	case *a == (account{class: a.class}) && at >= 0:
		last := len(c.books.moving) - 1
		c.books.moving[at] = c.books.moving[last]
		c.books.moving = c.books.moving[:last]
		c.passed(ClearingZero, 0)
	case *a != (account{class: a.class}) && at < 0:
		c.books.moving = append(c.books.moving, moving{account: i, since: c.now, first: c.books.posted})
	}
}

// checkClearing reports clearing accounts that stay away from zero.
func (c *Checker) checkClearing() {
	for k := range c.books.moving {
		m := &c.books.moving[k]
		if m.told || c.feed.through.Sub(m.since) < c.limits.ClearingMax {
			continue
		}
		m.told = true
		a := c.books.accounts.rows.at(m.account)
		class := &c.books.classes[a.class]
		id := *c.books.accounts.keys.at(m.account)
		amount, _ := a.net()
		c.report(&finding{
			rule: c.books.chart[a.class].clearing, key: [2]ident.ID{id, {Lo: m.first}},
			expected: Record{{"account", id.String()}, {"class", decimal(uint64(class.Code))},
				{"balance", "credit 0"}},
			found: Record{{"account", id.String()}, {"class", decimal(uint64(class.Code))},
				{"balance", a.text()}},
			atRisk: amount, ledger: class.Ledger, since: m.since,
			decided: m.since.Add(c.limits.ClearingMax),
		}, c.factsOfAccount(id))
	}
}

// expectExpiry notes when a reservation must have ended.
func (c *Checker) expectExpiry(t *ledger.Transfer) {
	wait := c.limits.HoldMax
	if t.Timeout != 0 {
		wait = clock.Duration(t.Timeout)*clock.Second + c.limits.HoldGrace
	}
	c.books.expect(t.Timestamp.Add(wait), t.ID)
}

// checkHolds reports reservations that should have ended.
func (c *Checker) checkHolds() {
	for {
		id, h, found := c.books.overdue(c.feed.through)
		if !found {
			return
		}
		debit := *c.books.accounts.keys.at(h.debit)
		credit := *c.books.accounts.keys.at(h.credit)
		c.report(&finding{
			rule: HoldAged, key: [2]ident.ID{id},
			expected: Record{{"transfer", id.String()}, {"state", "posted, voided or expired"}},
			found: Record{{"transfer", id.String()}, {"state", "open"}, {"amount", h.amount.String()},
				{"debit_account", debit.String()}, {"credit_account", credit.String()},
				{"since", decimal(uint64(h.since))}},
			atRisk: h.amount, ledger: h.ledger, code: h.code, transfer: id,
			sides: [2]party{{debit, c.classOf(debit)}, {credit, c.classOf(credit)}},
		}, &facts{id: h.event, ledger: h.ledger})
	}
}

// checkOverdrawn reports an account when a posting takes it beyond the limit of its class.
func (c *Checker) checkOverdrawn(t *ledger.Transfer, s sides, position uint64) {
	for _, i := range [...]uint32{s.debit, s.credit} {
		by, beyond := c.books.overdrawn(i)
		switch {
		case !beyond:
			delete(c.overrun, i)
			c.passed(LimitsKept, 0)
		case !c.overrun[i]:
			c.overrun[i] = true
			a := c.books.accounts.rows.at(i)
			id := *c.books.accounts.keys.at(i)
			code := c.books.classes[a.class].Code
			c.report(&finding{
				rule: AccountOverdrawn, key: [2]ident.ID{id, t.ID},
				expected: Record{{"account", id.String()}, {"class", decimal(uint64(code))},
					{"limit", limitName(c.books.chart[a.class].limit)}},
				found: append(Record{{"account", id.String()}, {"class", decimal(uint64(code))},
					{"balance", a.text()}, {"beyond_by", by.String()}}, c.postingRecord(t, position)...),
				atRisk: by, ledger: t.Ledger, code: t.Code, transfer: t.ID,
				sides: [2]party{{id, code}, {}},
			}, c.factsOfEvent(t.UserData128))
		}
	}
}

// sheet holds, for one currency and each class on the chart, three sums from three sources: what
// the loans' own states say, what postings of known events are still awaited, and what was posted
// that no event explains. The books must be the first plus the third less the second.
type sheet struct {
	ledger      uint32
	told        [len(chart)]bool
	business    [len(chart)]signed
	awaited     [len(chart)]signed
	unexplained [len(chart)]signed
}

// comparedClasses are those whose balance the loans' states give.
var comparedClasses = [...]uint16{classPrincipal, classInterest, classPenalty, classOverpaid,
	classDeferredFee, classDrawn}

func (c *Checker) sheet(number uint32) *sheet {
	for i := range c.sheets {
		if c.sheets[i].ledger == number {
			return &c.sheets[i]
		}
	}
	c.sheets = append(c.sheets, sheet{ledger: number})
	return &c.sheets[len(c.sheets)-1]
}

func chartIndex(class uint16) int {
	for i := range chart {
		if chart[i].class == class {
			return i
		}
	}
	return -1
}

func (s *signed) add(amount money.Amount, sign int) {
	if sign > 0 {
		s.credit(amount)
	} else {
		s.debit(amount)
	}
}

// awaited counts a leg among those awaited (1) or takes it away again (-1).
func (c *Checker) awaited(leg *Leg, sign int) {
	if leg.mode == reserve {
		return
	}
	s, amount := c.sheet(leg.Ledger), money.Minor(leg.Amount)
	s.awaited[chartIndex(leg.From)].add(amount, -sign)
	s.awaited[chartIndex(leg.To)].add(amount, sign)
}

// unexplained counts a posting among those that no event explains, or takes it away again.
func (c *Checker) unexplained(t *ledger.Transfer, sign int) {
	if t.Flags&(ledger.TransferPending|ledger.TransferVoidPending) != 0 {
		return
	}
	s := c.sheet(t.Ledger)
	if i := chartIndex(c.classOf(t.DebitAccountID)); i >= 0 {
		s.unexplained[i].add(t.Amount, -sign)
	}
	if i := chartIndex(c.classOf(t.CreditAccountID)); i >= 0 {
		s.unexplained[i].add(t.Amount, sign)
	}
}

// change is one change of the loans' states in the sheets.
type change struct {
	amount uint64
	class  uint16
	credit bool
}

// trail lists the changes of one event, so that they can be taken back.
type trail struct {
	changes [legsMax]change
	count   int
}

// debit enters a change of the loans' states: a debit of a class.
func (c *Checker) debit(number uint32, class uint16, amount uint64) {
	c.business(number, change{amount, class, false})
}

// credit enters a change of the loans' states: a credit of a class.
func (c *Checker) credit(number uint32, class uint16, amount uint64) {
	c.business(number, change{amount, class, true})
}

func (c *Checker) business(number uint32, ch change) {
	c.trail.changes[c.trail.count] = ch
	c.trail.count++
	sum := &c.sheet(number).business[chartIndex(ch.class)]
	if ch.credit {
		sum.credit(money.Minor(ch.amount))
	} else {
		sum.debit(money.Minor(ch.amount))
	}
}

// reverse takes the changes of an event back.
func (c *Checker) reverse(number uint32, t *trail) {
	c.trail.count = 0
	for _, ch := range t.changes[:t.count] {
		ch.credit = !ch.credit
		c.business(number, ch)
	}
}

// checkSheets compares the books with what the business explains.
func (c *Checker) checkSheets() {
	for k := range c.sheets {
		s := &c.sheets[k]
		for _, class := range comparedClasses {
			i := chartIndex(class)
			number, known := c.books.byClass[classKey{s.ledger, class}]
			var posted signed
			if known {
				total := &c.books.classes[number]
				posted = difference(total.CreditsPosted, total.DebitsPosted)
			}
			explained := s.business[i].plus(s.unexplained[i]).minus(s.awaited[i])
			amount, _ := posted.net()
			if explained == posted {
				s.told[i] = false
				c.passed(MemoMatches, amount.Lo)
				continue
			}
			c.reportSheet(s, i, explained, posted)
		}
	}
}

func (c *Checker) reportSheet(s *sheet, i int, explained, posted signed) {
	if s.told[i] {
		return
	}
	s.told[i] = true
	rule := SubledgerDiffers
	if chart[i].class == classDrawn {
		rule = DrawnDiffers
	}
	gap, _ := explained.minus(posted).net()
	class := decimal(uint64(chart[i].class))
	c.report(&finding{
		rule: rule, key: [2]ident.ID{{Lo: uint64(s.ledger), Hi: uint64(chart[i].class)}, {Lo: c.books.posted}},
		expected: Record{{"class", class}, {"balance", explained.text()}},
		found: Record{{"class", class}, {"balance", posted.text()},
			{"unexplained", s.unexplained[i].text()}, {"awaited", s.awaited[i].text()}},
		atRisk: gap, ledger: s.ledger,
	}, nil)
}

// watch is a comparison with the ledger that does not hold yet. The ledger was read after the
// position that the checker had reached, so the two may only agree at a later one: the comparison
// is repeated after each entry, and has failed once the feed was read past the moment of the
// ledger's answer.
type watch struct {
	totals   []ledger.ClassTotal // nil where none is under way
	totalsAt clock.Instant
	balances []watched
	through  clock.Instant       // the feed was read up to here when the comparisons were last judged
	told     map[ident.ID]uint64 // what is told to differ, by account or class; looked up only
}

// watched is an account whose stored balance differs from the books'.
type watched struct {
	stored ledger.Account
	at     clock.Instant
}

// beginTotals compares the ledger's class totals with the books.
func (c *Checker) beginTotals(totals []ledger.ClassTotal) {
	c.checkSheets()
	if !c.balanced(totals) {
		return
	}
	c.watch.totals = append(c.watch.totals[:0], totals...)
	c.watch.totalsAt = c.now
	c.compareTotals()
}

// balanced checks the totals by themselves: in each ledger debits equal credits.
func (c *Checker) balanced(totals []ledger.ClassTotal) bool {
	holds := true
	for i := 0; i < len(totals); {
		number := totals[i].Ledger
		var posted, pending signed
		for ; i < len(totals) && totals[i].Ledger == number; i++ {
			posted = posted.plus(difference(totals[i].CreditsPosted, totals[i].DebitsPosted))
			pending = pending.plus(difference(totals[i].CreditsPending, totals[i].DebitsPending))
		}
		what := ident.ID{Lo: uint64(number), Hi: 1 << 32}
		if posted == (signed{}) && pending == (signed{}) {
			delete(c.watch.told, what)
			c.passed(BooksBalance, 0)
			continue
		}
		holds = false
		gap, _ := posted.net()
		c.tell(TotalsDiffer, what, &finding{
			expected: Record{{"credits less debits", "credit 0"}, {"pending credits less debits", "credit 0"}},
			found: Record{{"credits less debits", posted.text()},
				{"pending credits less debits", pending.text()}},
			atRisk: gap, ledger: number,
		})
	}
	return holds
}

// compareWatched repeats the comparisons that are under way, after an entry.
func (c *Checker) compareWatched(e *ledger.Event) {
	if len(c.watch.totals) > 0 {
		c.compareTotals()
	}
	if len(c.watch.balances) > 0 {
		c.compareBalances(e)
	}
}

func (c *Checker) compareTotals() {
	over := c.feed.through > c.watch.totalsAt
	if len(c.watch.totals) != len(c.books.classes) && !over {
		return
	}
	for i := range c.watch.totals {
		if total := &c.watch.totals[i]; !c.sameTotal(total) {
			if !over {
				return
			}
			c.reportTotal(total)
		}
	}
	c.reportAbsent()
	for i := range c.watch.totals {
		total := &c.watch.totals[i]
		if c.sameTotal(total) {
			c.passed(BooksBalance, total.DebitsPosted.Lo)
			delete(c.watch.told, classID(total))
		}
	}
	c.watch.totals = c.watch.totals[:0]
}

func (c *Checker) sameTotal(total *ledger.ClassTotal) bool {
	i, known := c.books.byClass[classKey{total.Ledger, total.Code}]
	return known && c.books.classes[i] == *total
}

// reportAbsent reports classes that have accounts in the feed and none in the ledger's totals.
func (c *Checker) reportAbsent() {
	for i := range c.books.classes {
		own, present := &c.books.classes[i], false
		for k := range c.watch.totals {
			t := &c.watch.totals[k]
			present = present || t.Ledger == own.Ledger && t.Code == own.Code
		}
		if !present {
			c.reportTotal(&ledger.ClassTotal{Ledger: own.Ledger, Code: own.Code})
		}
	}
}

func classID(total *ledger.ClassTotal) ident.ID {
	return ident.ID{Lo: uint64(total.Ledger), Hi: uint64(total.Code)}
}

func (c *Checker) reportTotal(stored *ledger.ClassTotal) {
	var own ledger.ClassTotal
	if i, known := c.books.byClass[classKey{stored.Ledger, stored.Code}]; known {
		own = c.books.classes[i]
	}
	gap, _ := difference(stored.CreditsPosted, stored.DebitsPosted).
		minus(difference(own.CreditsPosted, own.DebitsPosted)).net()
	c.tell(TotalsDiffer, classID(stored), &finding{
		expected: totalRecord(&own), found: totalRecord(stored), atRisk: gap, ledger: stored.Ledger,
	})
}

func totalRecord(t *ledger.ClassTotal) Record {
	return Record{{"class", decimal(uint64(t.Code))}, {"accounts", decimal(t.Accounts)},
		{"debits_posted", t.DebitsPosted.String()}, {"credits_posted", t.CreditsPosted.String()},
		{"debits_pending", t.DebitsPending.String()}, {"credits_pending", t.CreditsPending.String()}}
}

// tell reports a difference of sums once for each time it arises.
func (c *Checker) tell(rule Rule, what ident.ID, f *finding) {
	if _, told := c.watch.told[what]; told {
		return
	}
	if c.watch.told == nil {
		c.watch.told = map[ident.ID]uint64{}
	}
	c.watch.told[what] = c.books.posted
	f.rule, f.key = rule, [2]ident.ID{what, {Lo: c.books.posted}}
	c.report(f, nil)
}

// beginBalances compares stored accounts with the books. One that differs is watched.
func (c *Checker) beginBalances(accounts []ledger.Account) {
	for i := range accounts {
		if c.sameBalance(&accounts[i]) {
			c.balanceHolds(&accounts[i])
		} else {
			c.watch.balances = append(c.watch.balances, watched{accounts[i], c.now})
		}
	}
}

func (c *Checker) balanceHolds(a *ledger.Account) {
	c.passed(BalancesMatch, a.DebitsPosted.Lo)
	delete(c.watch.told, a.ID)
}

// compareBalances looks again at the watched accounts that an entry touches, and where e is nil at
// all of them: then those whose time is over have failed.
func (c *Checker) compareBalances(e *ledger.Event) {
	kept := c.watch.balances[:0]
	for _, w := range c.watch.balances {
		switch {
		case e != nil && !touches(e, w.stored.ID):
			kept = append(kept, w)
		case c.sameBalance(&w.stored):
			c.balanceHolds(&w.stored)
		case e == nil && c.feed.through > w.at:
			c.reportBalance(&w.stored)
		default:
			kept = append(kept, w)
		}
	}
	c.watch.balances = kept
}

// touches reports whether an entry can change an account in the books.
func touches(e *ledger.Event, id ident.ID) bool {
	return e.Transfer.DebitAccountID == id || e.Transfer.CreditAccountID == id || e.Account.ID == id
}

func (c *Checker) sameBalance(stored *ledger.Account) bool {
	i, found := c.books.accounts.find(stored.ID)
	if !found {
		return false
	}
	own, open := c.books.accounts.rows.at(i), c.books.pending[i]
	class := &c.books.classes[own.class]
	return own.signed == difference(stored.CreditsPosted, stored.DebitsPosted) &&
		open.debits == stored.DebitsPending && open.credits == stored.CreditsPending &&
		class.Ledger == stored.Ledger && class.Code == stored.Code
}

func (c *Checker) reportBalance(stored *ledger.Account) {
	expected := Record{{"account", stored.ID.String()}, {"class", "none: not in the feed"}}
	var own signed
	if i, found := c.books.accounts.find(stored.ID); found {
		a := c.books.accounts.rows.at(i)
		own = a.signed
		expected = Record{{"account", stored.ID.String()},
			{"class", decimal(uint64(c.books.classes[a.class].Code))}, {"balance", own.text()},
			{"debits_pending", c.books.pending[i].debits.String()},
			{"credits_pending", c.books.pending[i].credits.String()}}
	}
	balance := difference(stored.CreditsPosted, stored.DebitsPosted)
	gap, _ := balance.minus(own).net()
	c.tell(BalanceDiffers, stored.ID, &finding{
		expected: expected,
		found: Record{{"account", stored.ID.String()}, {"class", decimal(uint64(stored.Code))},
			{"balance", balance.text()}, {"debits_pending", stored.DebitsPending.String()},
			{"credits_pending", stored.CreditsPending.String()}},
		atRisk: gap, ledger: stored.Ledger, sides: [2]party{{stored.ID, stored.Code}, {}},
	})
}

// Watching returns how many comparisons with the ledger are under way; give no more accounts while
// there are many.
func (c *Checker) Watching() int { return len(c.watch.totals) + len(c.watch.balances) }
