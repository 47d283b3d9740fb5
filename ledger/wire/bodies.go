package wire

import (
	"encoding/binary"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
)

// cursor reads a body from its beginning. The first read beyond the end makes it bad, and all later
// ones give zeros; end tells.
type cursor struct {
	rest []byte
	bad  bool
}

func (c *cursor) bytes(n int) []byte {
	if c.bad || n > len(c.rest) {
		c.bad = true
		return make([]byte, n&0xff) // zeros: only fixed small sizes are asked for
	}
	b := c.rest[:n]
	c.rest = c.rest[n:]
	return b
}

func (c *cursor) uint8() uint8   { return c.bytes(1)[0] }
func (c *cursor) uint16() uint16 { return binary.LittleEndian.Uint16(c.bytes(2)) }
func (c *cursor) uint32() uint32 { return binary.LittleEndian.Uint32(c.bytes(4)) }
func (c *cursor) uint64() uint64 { return binary.LittleEndian.Uint64(c.bytes(8)) }

func (c *cursor) id() ident.ID           { return ident.ID{Lo: c.uint64(), Hi: c.uint64()} }
func (c *cursor) amount() money.Amount   { return money.Amount{Lo: c.uint64(), Hi: c.uint64()} }
func (c *cursor) instant() clock.Instant { return clock.Instant(c.uint64()) }
func (c *cursor) hash() (hash [32]byte)  { copy(hash[:], c.bytes(32)); return hash }
func (c *cursor) text(limit int) string {
	n := int(c.uint16())
	if n > limit || n > len(c.rest) {
		c.bad = true
		return ""
	}
	text := string(c.rest[:n])
	c.rest = c.rest[n:]
	return text
}

// end returns nil where the body was read exactly, kind Invalid otherwise.
func (c *cursor) end(what string) error {
	if c.bad {
		return errs.New(errs.Invalid, "wire: %s: the body is too short", what)
	}
	if len(c.rest) > 0 {
		return errs.New(errs.Invalid, "wire: %s: %d bytes follow the body's end", what, len(c.rest))
	}
	return nil
}

func putUint32(dst []byte, n uint32) []byte { return binary.LittleEndian.AppendUint32(dst, n) }
func putUint64(dst []byte, n uint64) []byte { return binary.LittleEndian.AppendUint64(dst, n) }

func putID(dst []byte, id ident.ID) []byte { return putUint64(putUint64(dst, id.Lo), id.Hi) }

func putAmount(dst []byte, a money.Amount) []byte { return putUint64(putUint64(dst, a.Lo), a.Hi) }

// rows returns how many rows of the size the body has; kind Invalid where it is not a whole number,
// TooLarge where it is above the limit.
func rows(body []byte, size, limit int, what string) (int, error) {
	if len(body)%size != 0 {
		return 0, errs.New(errs.Invalid, "wire: %s: %d bytes are not a whole number of %d",
			what, len(body), size)
	}
	if len(body)/size > limit {
		return 0, errs.New(errs.TooLarge, "wire: %s: %d of them, the limit is %d",
			what, len(body)/size, limit)
	}
	return len(body) / size, nil
}

// AppendIDs appends ids, 16 bytes each.
func AppendIDs(dst []byte, ids []ident.ID) []byte {
	for _, id := range ids {
		dst = putID(dst, id)
	}
	return dst
}

// DecodeIDs is the inverse of AppendIDs.
func DecodeIDs(body []byte) ([]ident.ID, error) {
	n, err := rows(body, 16, ledger.BatchMax, "ids")
	if err != nil {
		return nil, err
	}
	c := cursor{rest: body}
	ids := make([]ident.ID, n)
	for i := range ids {
		ids[i] = c.id()
	}
	return ids, nil
}

// AppendResults appends results, two bytes each.
func AppendResults[R ~uint16](dst []byte, results []R) []byte {
	for _, result := range results {
		dst = binary.LittleEndian.AppendUint16(dst, uint16(result))
	}
	return dst
}

// DecodeResults is the inverse of AppendResults for n results; kind Invalid for any other number.
func DecodeResults[R ~uint16](body []byte, n int) ([]R, error) {
	if len(body) != 2*n {
		return nil, errs.New(errs.Invalid, "wire: results: %d bytes for %d records", len(body), n)
	}
	results := make([]R, n)
	for i := range results {
		results[i] = R(binary.LittleEndian.Uint16(body[2*i:]))
	}
	return results, nil
}

// AccountQuery asks for the transfers or balances of an account.
type AccountQuery struct {
	ID     ident.ID
	Filter ledger.AccountFilter
}

// The bits of a filter's flags.
const (
	filterDebits   = 1
	filterCredits  = 2
	filterReversed = 4
)

// Append appends the query's encoding.
func (q *AccountQuery) Append(dst []byte) []byte {
	f := &q.Filter
	flags := bit(f.Debits, filterDebits) | bit(f.Credits, filterCredits) |
		bit(f.Reversed, filterReversed)
	dst = append(putID(dst, q.ID), flags)
	dst = putUint64(putID(dst, f.UserData128), f.UserData64)
	dst = putUint32(dst, f.UserData32)
	dst = binary.LittleEndian.AppendUint16(dst, f.Code)
	dst = putUint64(putUint64(dst, uint64(f.TimestampMin)), uint64(f.TimestampMax))
	return putUint64(putUint32(dst, uint32(max(f.Limit, 0))), f.Cursor)
}

func bit(on bool, flag byte) byte {
	if on {
		return flag
	}
	return 0
}

// DecodeAccountQuery is the inverse of Append.
func DecodeAccountQuery(body []byte) (AccountQuery, error) {
	c := cursor{rest: body}
	q := AccountQuery{ID: c.id()}
	flags := c.uint8()
	q.Filter = ledger.AccountFilter{
		Debits: flags&filterDebits != 0, Credits: flags&filterCredits != 0,
		Reversed: flags&filterReversed != 0, UserData128: c.id(), UserData64: c.uint64(),
		UserData32: c.uint32(), Code: c.uint16(), TimestampMin: c.instant(), TimestampMax: c.instant(),
		Limit: int(c.uint32()), Cursor: c.uint64(),
	}
	return q, c.end("account query")
}

// AppendTransferFilter appends the filter's encoding.
func AppendTransferFilter(dst []byte, f *ledger.TransferFilter) []byte {
	dst = append(dst, bit(f.Reversed, filterReversed))
	dst = putUint64(putID(dst, f.UserData128), f.UserData64)
	dst = putUint32(putUint32(dst, f.UserData32), f.Ledger)
	dst = binary.LittleEndian.AppendUint16(dst, f.Code)
	dst = putUint64(putUint64(dst, uint64(f.TimestampMin)), uint64(f.TimestampMax))
	return putUint64(putUint32(dst, uint32(max(f.Limit, 0))), f.Cursor)
}

// DecodeTransferFilter is the inverse of AppendTransferFilter.
func DecodeTransferFilter(body []byte) (ledger.TransferFilter, error) {
	c := cursor{rest: body}
	f := ledger.TransferFilter{
		Reversed: c.uint8()&filterReversed != 0, UserData128: c.id(), UserData64: c.uint64(),
		UserData32: c.uint32(), Ledger: c.uint32(), Code: c.uint16(), TimestampMin: c.instant(),
		TimestampMax: c.instant(), Limit: int(c.uint32()), Cursor: c.uint64(),
	}
	return f, c.end("transfer filter")
}

// Range asks for a stretch of a list: accounts, events or batches.
type Range struct {
	From  uint64
	Limit uint32
}

// Append appends the range's encoding.
func (r Range) Append(dst []byte) []byte { return putUint32(putUint64(dst, r.From), r.Limit) }

// DecodeRange is the inverse of Append.
func DecodeRange(body []byte) (Range, error) {
	c := cursor{rest: body}
	r := Range{From: c.uint64(), Limit: c.uint32()}
	return r, c.end("range")
}

// AppendTransferPage appends a page: its cursor, then its transfers.
func AppendTransferPage(dst []byte, page *ledger.TransferPage) []byte {
	return ledger.EncodeTransfers(putUint64(dst, page.Cursor), page.Transfers)
}

// DecodeTransferPage is the inverse of AppendTransferPage.
func DecodeTransferPage(body []byte) (page ledger.TransferPage, err error) {
	c := cursor{rest: body}
	page.Cursor = c.uint64()
	if c.bad {
		return page, c.end("page")
	}
	page.Transfers, err = ledger.DecodeTransfers(nil, c.rest)
	return page, err
}

const balanceSize = 72

// AppendBalancePage appends a page: its cursor, then its balances.
func AppendBalancePage(dst []byte, page *ledger.BalancePage) []byte {
	dst = putUint64(dst, page.Cursor)
	for i := range page.Balances {
		b := &page.Balances[i]
		dst = putAmount(putAmount(dst, b.DebitsPending), b.DebitsPosted)
		dst = putAmount(putAmount(dst, b.CreditsPending), b.CreditsPosted)
		dst = putUint64(dst, uint64(b.Timestamp))
	}
	return dst
}

// DecodeBalancePage is the inverse of AppendBalancePage.
func DecodeBalancePage(body []byte) (page ledger.BalancePage, err error) {
	c := cursor{rest: body}
	page.Cursor = c.uint64()
	if c.bad {
		return page, c.end("page")
	}
	n, err := rows(c.rest, balanceSize, ledger.PageMax, "balances")
	for range n {
		page.Balances = append(page.Balances, ledger.Balance{
			DebitsPending: c.amount(), DebitsPosted: c.amount(),
			CreditsPending: c.amount(), CreditsPosted: c.amount(), Timestamp: c.instant(),
		})
	}
	return page, err
}

const classTotalSize = 78

// ClassTotalsMax is how many lines of a trial balance one answer holds.
const ClassTotalsMax = BodyMax / classTotalSize

// AppendClassTotals appends the lines of a trial balance.
func AppendClassTotals(dst []byte, totals []ledger.ClassTotal) []byte {
	for i := range totals {
		t := &totals[i]
		dst = binary.LittleEndian.AppendUint16(putUint32(dst, t.Ledger), t.Code)
		dst = putAmount(putAmount(putUint64(dst, t.Accounts), t.DebitsPending), t.DebitsPosted)
		dst = putAmount(putAmount(dst, t.CreditsPending), t.CreditsPosted)
	}
	return dst
}

// DecodeClassTotals is the inverse of AppendClassTotals.
func DecodeClassTotals(body []byte) ([]ledger.ClassTotal, error) {
	n, err := rows(body, classTotalSize, ClassTotalsMax, "class totals")
	if err != nil {
		return nil, err
	}
	c := cursor{rest: body}
	totals := make([]ledger.ClassTotal, n)
	for i := range totals {
		totals[i] = ledger.ClassTotal{Ledger: c.uint32(), Code: c.uint16(), Accounts: c.uint64(),
			DebitsPending: c.amount(), DebitsPosted: c.amount(),
			CreditsPending: c.amount(), CreditsPosted: c.amount()}
	}
	return totals, nil
}
