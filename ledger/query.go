package ledger

import (
	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
)

// AccountFilter chooses among the transfers or balances of one account. A zero field does not
// filter.
type AccountFilter struct {
	Debits, Credits bool // the sides wanted; with neither set, both
	UserData128     ident.ID
	UserData64      uint64
	UserData32      uint32
	Code            uint16
	TimestampMin    clock.Instant // inclusive
	TimestampMax    clock.Instant // inclusive
	Reversed        bool          // newest first
	Limit           int           // most records in the answer; zero or above PageMax is PageMax
	Cursor          uint64        // that of the page before, under the same filter; zero to begin
}

// TransferFilter chooses among all transfers. A zero field does not filter.
type TransferFilter struct {
	UserData128  ident.ID // the only field with an index: the others look at one after another
	UserData64   uint64
	UserData32   uint32
	Ledger       uint32
	Code         uint16
	TimestampMin clock.Instant // inclusive
	TimestampMax clock.Instant // inclusive
	Reversed     bool          // newest first
	Limit        int           // most records in the answer; zero or above PageMax is PageMax
	Cursor       uint64        // that of the page before, under the same filter; zero to begin
}

// TransferPage is a part of the answer to a query. There is more, or may be, while Cursor is not
// zero: a page can be short or empty and yet not the last, since a query looks at ScanMax records
// at most.
type TransferPage struct {
	Transfers []Transfer
	Cursor    uint64
}

// BalancePage is the same for balances.
type BalancePage struct {
	Balances []Balance
	Cursor   uint64
}

func pageLimit(limit int) int {
	if limit <= 0 || limit > PageMax {
		return PageMax
	}
	return limit
}

// AccountTransfers returns transfers that debit or credit the account, in order of time. Kind
// NotFound where there is no such account, Invalid where the cursor is not one of this account.
func (s *State) AccountTransfers(id ident.ID, filter AccountFilter) (TransferPage, error) {
	account := s.findAccount(id)
	if account == 0 {
		return TransferPage{}, errs.New(errs.NotFound, "ledger: account %s does not exist", id)
	}
	filter.complete()
	if filter.Reversed {
		return s.newestOfAccount(id, account-1, &filter)
	}
	if s.sides.at(account-1).transfers > ScanMax {
		return s.scanForward(filter.Cursor, filter.TimestampMin, filter.Limit, func(t *Transfer) verdict {
			return filter.judge(t, id)
		}), nil
	}
	return s.oldestOfAccount(id, account-1, &filter), nil
}

func (f *AccountFilter) complete() {
	f.Limit = pageLimit(f.Limit)
	if !f.Debits && !f.Credits {
		f.Debits, f.Credits = true, true
	}
	if f.TimestampMax == 0 {
		f.TimestampMax = TimestampMax
	}
}

// verdict is what a filter says of a record.
type verdict uint8

const (
	skip verdict = 0
	take verdict = 1
	stop verdict = 2 // neither this one nor any later one
)

// judge is for records in order of time.
func (f *AccountFilter) judge(t *Transfer, id ident.ID) verdict {
	if t.Timestamp > f.TimestampMax {
		return stop
	}
	if f.Debits && t.DebitAccountID == id || f.Credits && t.CreditAccountID == id {
		return f.matches(t)
	}
	return skip
}

func (f *AccountFilter) matches(t *Transfer) verdict {
	if t.Timestamp < f.TimestampMin || t.Timestamp > f.TimestampMax ||
		!f.UserData128.IsZero() && f.UserData128 != t.UserData128 ||
		f.UserData64 != 0 && f.UserData64 != t.UserData64 ||
		f.UserData32 != 0 && f.UserData32 != t.UserData32 ||
		f.Code != 0 && f.Code != t.Code {
		return skip
	}
	return take
}

// accountWalk goes through the transfers of an account from the newest back: two lists merged.
type accountWalk struct{ debit, credit uint32 }

func (s *State) walkAccount(account uint32, f *AccountFilter) accountWalk {
	var w accountWalk
	if f.Debits {
		w.debit = s.sides.at(account).debitHead
	}
	if f.Credits {
		w.credit = s.sides.at(account).creditHead
	}
	return w
}

// next returns the number of the next transfer plus one, zero at the end.
func (w *accountWalk) next(s *State) uint32 {
	i := max(w.debit, w.credit)
	if i == 0 {
		return 0
	}
	if i == w.debit {
		w.debit = s.links.at(i - 1).debit
	} else {
		w.credit = s.links.at(i - 1).credit
	}
	return i
}

func (w *accountWalk) cursor() uint64 { return uint64(w.debit)<<32 | uint64(w.credit) }

func (s *State) newestOfAccount(
	id ident.ID, account uint32, f *AccountFilter,
) (TransferPage, error) {
	w := s.walkAccount(account, f)
	if f.Cursor != 0 {
		w = accountWalk{debit: uint32(f.Cursor >> 32), credit: uint32(f.Cursor)}
		if !s.walks(w, id) {
			return TransferPage{}, errs.New(errs.Invalid,
				"ledger: cursor %d is not of account %s", f.Cursor, id)
		}
	}
	var page TransferPage
	for scanned := 0; ; scanned++ {
		if len(page.Transfers) == f.Limit || scanned == ScanMax {
			page.Cursor = w.cursor()
			return page, nil
		}
		i := w.next(s)
		if i == 0 {
			return page, nil
		}
		t := s.transfers.at(i - 1)
		if t.Timestamp < f.TimestampMin {
			return page, nil
		}
		if f.matches(t) == take {
			page.Transfers = append(page.Transfers, *t)
		}
	}
}

// walks reports whether the walk stands on transfers of the account.
func (s *State) walks(w accountWalk, id ident.ID) bool {
	if w.debit > s.transfers.length || w.credit > s.transfers.length {
		return false
	}
	return (w.debit == 0 || s.transfers.at(w.debit-1).DebitAccountID == id) &&
		(w.credit == 0 || s.transfers.at(w.credit-1).CreditAccountID == id)
}

func (s *State) oldestOfAccount(id ident.ID, account uint32, f *AccountFilter) TransferPage {
	w := s.walkAccount(account, f)
	oldest := newRing(f.Limit)
	for i := w.next(s); i != 0 && uint64(i) >= f.Cursor; i = w.next(s) {
		t := s.transfers.at(i - 1)
		if t.Timestamp < f.TimestampMin {
			break
		}
		if f.judge(t, id) == take {
			oldest.add(i)
		}
	}
	return s.pageOf(&oldest)
}

// QueryTransfers returns transfers in order of time. Kind Invalid where the cursor is not one of
// this filter.
func (s *State) QueryTransfers(filter TransferFilter) (TransferPage, error) {
	filter.Limit = pageLimit(filter.Limit)
	if filter.TimestampMax == 0 {
		filter.TimestampMax = TimestampMax
	}
	if !filter.UserData128.IsZero() {
		return s.queryGroup(&filter)
	}
	if filter.Reversed {
		return s.scanBackward(&filter), nil
	}
	return s.scanForward(filter.Cursor, filter.TimestampMin, filter.Limit, filter.judge), nil
}

func (f *TransferFilter) judge(t *Transfer) verdict {
	if t.Timestamp > f.TimestampMax {
		return stop
	}
	if t.Timestamp < f.TimestampMin ||
		!f.UserData128.IsZero() && f.UserData128 != t.UserData128 ||
		f.UserData64 != 0 && f.UserData64 != t.UserData64 ||
		f.UserData32 != 0 && f.UserData32 != t.UserData32 ||
		f.Ledger != 0 && f.Ledger != t.Ledger || f.Code != 0 && f.Code != t.Code {
		return skip
	}
	return take
}

// queryGroup follows the transfers under one UserData128 from the newest back.
func (s *State) queryGroup(f *TransferFilter) (TransferPage, error) {
	i := s.findGroup(f.UserData128)
	if f.Reversed && f.Cursor != 0 {
		i = uint32(f.Cursor)
		if f.Cursor > uint64(s.transfers.length) || s.transfers.at(i-1).UserData128 != f.UserData128 {
			return TransferPage{}, errs.New(errs.Invalid, "ledger: cursor %d is not of %s",
				f.Cursor, f.UserData128)
		}
	}
	var page TransferPage
	oldest := newRing(f.Limit)
	for scanned := 0; i != 0; scanned++ {
		t := s.transfers.at(i - 1)
		if t.Timestamp < f.TimestampMin || !f.Reversed && uint64(i) < f.Cursor {
			break
		}
		if scanned == ScanMax || f.Reversed && len(page.Transfers) == f.Limit {
			if f.Reversed {
				page.Cursor = uint64(i)
				return page, nil
			}
			return s.scanForward(f.Cursor, f.TimestampMin, f.Limit, f.judge), nil
		}
		if f.judge(t) == take {
			if f.Reversed {
				page.Transfers = append(page.Transfers, *t)
			} else {
				oldest.add(i)
			}
		}
		i = s.links.at(i - 1).group
	}
	if f.Reversed {
		return page, nil
	}
	return s.pageOf(&oldest), nil
}

// findGroup returns the number of the newest transfer that bears the UserData128 plus one, zero for
// none.
func (s *State) findGroup(id ident.ID) uint32 {
	p := s.groupIndex.probe(s.groupIndex.tag(id))
	for {
		i := p.next()
		if i == 0 || s.transfers.at(i-1).UserData128 == id {
			return i
		}
	}
}

// scanForward looks at transfers one after another. The cursor is the number, plus one, of the
// first one not looked at yet.
func (s *State) scanForward(
	cursor uint64, from clock.Instant, limit int, judge func(*Transfer) verdict,
) TransferPage {
	var page TransferPage
	i := s.transferFrom(from)
	if cursor > 0 {
		i = max(i, uint32(min(cursor-1, uint64(s.transfers.length))))
	}
	for scanned := 0; i < s.transfers.length; scanned, i = scanned+1, i+1 {
		if len(page.Transfers) == limit || scanned == ScanMax {
			page.Cursor = uint64(i) + 1
			return page
		}
		t := s.transfers.at(i)
		switch judge(t) {
		case take:
			page.Transfers = append(page.Transfers, *t)
		case stop:
			return page
		}
	}
	return page
}

// scanBackward does the same from the newest back. The cursor is the number, plus one, of the next
// one to look at.
func (s *State) scanBackward(f *TransferFilter) TransferPage {
	var page TransferPage
	i := s.transfers.length
	if f.TimestampMax < TimestampMax {
		i = s.transferFrom(f.TimestampMax + 1)
	}
	if f.Cursor > 0 {
		i = uint32(min(uint64(i), f.Cursor))
	}
	for scanned := 0; i > 0; scanned, i = scanned+1, i-1 {
		if len(page.Transfers) == f.Limit || scanned == ScanMax {
			page.Cursor = uint64(i)
			return page
		}
		t := s.transfers.at(i - 1)
		if t.Timestamp < f.TimestampMin {
			return page
		}
		if f.judge(t) == take {
			page.Transfers = append(page.Transfers, *t)
		}
	}
	return page
}

// ring keeps the last few of what is added: walking from the newest back, the oldest.
type ring struct {
	references []uint32
	limit      int
	added      int
}

func newRing(limit int) ring { return ring{limit: limit} }

func (r *ring) add(reference uint32) {
	if len(r.references) < r.limit {
		r.references = append(r.references, reference)
	} else {
		r.references[r.added%r.limit] = reference
	}
	r.added++
}

// oldest calls visit with what is kept, the last added first, and returns the cursor: zero where
// nothing was dropped, otherwise one past the number of the last visited, plus one.
func (r *ring) oldest(visit func(reference uint32)) uint64 {
	var last uint32
	for n := 1; n <= len(r.references); n++ {
		last = r.references[(r.added-n)%r.limit]
		visit(last)
	}
	if r.added > len(r.references) {
		return uint64(last) + 1
	}
	return 0
}

func (s *State) pageOf(oldest *ring) TransferPage {
	var page TransferPage
	page.Cursor = oldest.oldest(func(reference uint32) {
		page.Transfers = append(page.Transfers, *s.transfers.at(reference - 1))
	})
	return page
}
