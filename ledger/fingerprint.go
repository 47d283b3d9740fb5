package ledger

import (
	"math/bits"

	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
)

// fingerprint is a running 64-bit sum over everything that happened and the balances it left, in
// order. It finds replicas that differ and snapshots that do not replay; it is no defence against
// anyone who means to deceive, for whom there are the journal's chain and Digest.
type fingerprint struct {
	events uint64
	failed uint64
}

// Fingerprint returns the running sum over all events with the balances after each, and over all
// failed ids. Two states that came from the same batches have the same one; it costs nothing to
// ask, so replicas compare it after every batch.
func (s *State) Fingerprint() uint64 { return fold(s.prints.events, s.prints.failed, uint64(s.now)) }

func (f *fingerprint) account(a *Account) {
	f.events = fold(f.events, a.ID.Lo^uint64(a.Ledger), a.ID.Hi^uint64(a.Code)<<16^uint64(a.Flags))
	f.events = fold(f.events, uint64(a.Timestamp), a.UserData128.Lo^a.UserData128.Hi^
		a.UserData64^uint64(a.UserData32))
}

func (f *fingerprint) transfer(t *Transfer, d, c *Account) {
	f.events = fold(f.events, t.ID.Lo^uint64(t.Timestamp), t.ID.Hi^uint64(t.Flags)<<16^uint64(t.Code))
	f.events = fold(f.events, t.UserData128.Lo^t.UserData64^t.Amount.Lo,
		t.UserData128.Hi^uint64(t.UserData32)^uint64(t.Timeout)<<32)
	f.balances(d, c)
}

func (f *fingerprint) balances(d, c *Account) {
	f.events = fold(f.events, mixAmounts(d.DebitsPending, d.DebitsPosted)^uint64(d.Flags),
		mixAmounts(c.CreditsPending, c.CreditsPosted)^uint64(c.Flags)<<32)
}

func (f *fingerprint) freeze(z *Freeze) {
	f.events = fold(f.events, z.ID.Lo^uint64(z.Timestamp), z.ID.Hi^uint64(z.Flags)<<16^uint64(z.Reason))
	f.events = fold(f.events, z.FreezeID.Lo^z.AccountID.Lo^uint64(z.ExpiresAt), z.FreezeID.Hi^
		z.AccountID.Hi^uint64(z.Ledger)^uint64(z.Code)<<40^uint64(z.Scope)<<56^uint64(z.Sides)<<60)
	f.events = fold(f.events, z.Actor.Lo^z.Actor.Hi, z.SecondActor.Lo^z.SecondActor.Hi^
		z.UserData128.Lo^z.UserData128.Hi)
}

func (f *fingerprint) ending(timestamp clock.Instant, id ident.ID) {
	f.events = fold(f.events, uint64(timestamp)^id.Lo, id.Hi)
}

func (f *fingerprint) fail(id ident.ID) { f.failed = fold(f.failed, id.Lo, id.Hi) }

func mixAmounts(a, b money.Amount) uint64 { return a.Lo ^ bits.RotateLeft64(b.Lo, 32) ^ a.Hi ^ b.Hi }

// fold mixes two words into a sum by two folded multiplications.
func fold(sum, a, b uint64) uint64 {
	high, low := bits.Mul64(a^0xa0761d6478bd642f, b^0xe7037ed1a0b428db)
	high, low = bits.Mul64(sum^high^low, 0x8ebc6af09c88c6e3)
	return high ^ low
}
