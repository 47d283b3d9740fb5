// Package psi finds what two parties have in common without either showing the rest: private set
// intersection by Diffie-Hellman in ristretto255.
//
// Think of two padlocks on one box. Each party hashes its ids to points of a group and multiplies
// each by a secret number of its own, shuffles them, and sends them; the other multiplies what it
// was sent by its own secret and sends it back in that order. Multiplication commutes: an id that
// both hold becomes the same doubly locked point on both sides, and any other is noise to whoever
// does not have it. Each party ends with the rows of its own that the other has too, and with a
// token for each: a hash of the doubly locked point under this session, equal on both sides. By
// tokens somebody else can join the two parties' rows without ever seeing an id.
//
// # Invariants
//
//   - An id leaves only as a point multiplied by a secret that lives as long as one call, in an order
//     drawn anew.
//   - Both parties' matches are in the same order, that of the tokens: the n-th row of one belongs to
//     the n-th row of the other.
//   - A point that is none, is not in its one encoding, is the identity, occurs twice, or is one of
//     our own sent back is refused before our secret touches it.
//   - Both parties have seen the same session, bytes and matches, or neither has a result.
//
// # Boundaries
//
// A party learns the intersection, and how many ids the other has. It is meant for parties that keep
// to the protocol: one that does not cannot learn more of ids it does not name, and may name ids
// that it does not have; how many it may name is the other's limit. The connection should be one
// that only the other party can be at the end of. Nothing here reads a clock but for the deadlines
// of the connection.
//
// # Concurrency
//
// Intersect computes on Config.Workers goroutines and writes on one more; all have ended when it
// returns.
//
// # Sources
//
// Meadows, "A more efficient cryptographic matchmaking protocol" (1986), and Huberman, Franklin and
// Hogg, "Enhancing privacy and trust in electronic communities" (1999); RFC 9496 (ristretto255);
// RFC 9380 appendix B (hashing to it); decisions 0038 and 0041.
package psi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"net"
	"runtime"
	"slices"

	"surety/base/errs"
	"surety/sys/entropy"
)

// Config says how an intersection is made. Both parties must have the same Context and Rule, and
// exactly one of them Initiator.
type Config struct {
	// Context is what both agreed on, such as the digest of a contract, at most MaxContext bytes. Ids
	// are hashed under it: points of one context say nothing in another.
	Context   []byte
	Initiator bool
	Rule      Rule // how ids are made equal before they are compared; "" is Exact
	MaxPeer   int  // ids that the other party may have; zero: MaxIDs
	Workers   int  // goroutines that compute; zero: as many as processors
}

// Token names a customer of both parties in one session. To anybody but them it is noise.
type Token [32]byte

// Match is a row of ours that the other party has too.
type Match struct {
	Row   int // index into the ids given
	Token Token
}

// Result is what a party has learnt.
type Result struct {
	Session [32]byte // of both parties' messages: equal on both sides, and never twice
	Peer    int      // ids that the other party has
	Matches []Match  // ascending by token, as the other party's are
}

// Intersect runs the protocol over a connection with the other party, which it does not close. The
// ids must be distinct under the rule. It is errs.Invalid for ids or a configuration that make no
// sense (with the row's number, never the id), TooLarge beyond the limits, Refused where the other
// party has agreed to something else, Corrupt for anything that is not of the protocol, Unavailable
// where the connection fails, and Canceled where ctx ends. After an error there is no result, and
// the connection is of no use.
func Intersect(ctx context.Context, conn net.Conn, ids []string, c Config) (*Result, error) {
	normal, err := c.prepare(ids)
	if err != nil {
		return nil, err
	}
	w := newWire(ctx, conn)
	defer w.close()
	r, err := c.run(w, normal)
	if err != nil && ctx.Err() != nil {
		return nil, errs.As(errs.Canceled, ctx.Err(), "psi.intersect")
	}
	return r, err
}

// prepare checks the configuration and returns the ids as they are compared.
func (c *Config) prepare(ids []string) ([]string, error) {
	if len(c.Context) == 0 || len(c.Context) > MaxContext {
		return nil, errs.New(errs.Invalid, "psi.intersect: context of %d bytes, not 1 to %d",
			len(c.Context), MaxContext)
	}
	if len(ids) == 0 || len(ids) > MaxIDs {
		return nil, errs.New(errs.TooLarge, "psi.intersect: %d ids, not 1 to %d", len(ids), MaxIDs)
	}
	if c.MaxPeer <= 0 || c.MaxPeer > MaxIDs {
		c.MaxPeer = MaxIDs
	}
	if c.Workers <= 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	if c.Rule == "" {
		c.Rule = Exact
	}
	return c.Rule.All(ids)
}

// run is the protocol: hello, points, points doubled, agreement.
func (c *Config) run(w *wire, ids []string) (*Result, error) {
	session, peer, err := c.greet(w, len(ids))
	if err != nil {
		return nil, err
	}
	order := shuffled(len(ids))
	secret := newSecret()
	ours := secret.blind(c.Context, ids, order, c.Workers)
	theirs := make([]byte, peer*pointBytes)
	if err := w.exchange(ours, theirs); err != nil {
		return nil, errs.Wrap(err, "psi.intersect: points")
	}
	if err := checkDistinct(ours, theirs); err != nil {
		return nil, err
	}
	doubled := make([]byte, len(theirs))
	if err := secret.multiply(theirs, doubled, c.Workers); err != nil {
		return nil, err
	}
	back := make([]byte, len(ours))
	if err := w.exchange(doubled, back); err != nil {
		return nil, errs.Wrap(err, "psi.intersect: doubled points")
	}
	session = c.seal(session, ours, theirs, doubled, back)
	r := &Result{Session: session, Peer: peer, Matches: match(session, order, back, doubled)}
	return r, r.agree(w)
}

// seal returns the session's name: a hash over its greeting and every byte after it, those of the
// initiator first.
func (c *Config) seal(greeting [32]byte, ours, theirs, doubled, back []byte) [32]byte {
	first, second, third, fourth := ours, theirs, doubled, back
	if !c.Initiator {
		first, second, third, fourth = theirs, ours, back, doubled
	}
	h := sha256.New()
	h.Write([]byte(sessionDomain))
	h.Write(greeting[:])
	for _, part := range [][]byte{first, second, third, fourth} {
		sum := sha256.Sum256(part)
		h.Write(sum[:])
	}
	return [32]byte(h.Sum(nil))
}

// match returns the rows whose doubled point both parties have, ascending by token. order[i] is the
// row whose point stands at i of back.
func match(session [32]byte, order []int32, back, doubled []byte) []Match {
	known := make(map[[pointBytes]byte]bool, len(doubled)/pointBytes)
	for at := 0; at < len(doubled); at += pointBytes {
		known[[pointBytes]byte(doubled[at:])] = true
	}
	matches := []Match{}
	for i, row := range order {
		point := [pointBytes]byte(back[i*pointBytes:])
		if known[point] {
			matches = append(matches, Match{Row: int(row), Token: tokenOf(session, point)})
			delete(known, point) // a point that was sent back twice counts once
		}
	}
	slices.SortFunc(matches, func(a, b Match) int { return bytes.Compare(a.Token[:], b.Token[:]) })
	return matches
}

// tokenOf names a doubled point within a session.
func tokenOf(session [32]byte, point [pointBytes]byte) Token {
	h := sha256.New()
	h.Write([]byte(tokenDomain))
	h.Write(session[:])
	h.Write(point[:])
	return Token(h.Sum(nil))
}

// agree compares with the other party what both have found.
func (r *Result) agree(w *wire) error {
	h := sha256.New()
	h.Write([]byte(agreeDomain))
	h.Write(r.Session[:])
	for i := range r.Matches {
		h.Write(r.Matches[i].Token[:])
	}
	ours, theirs := h.Sum(nil), make([]byte, sha256.Size)
	if err := w.exchange(ours, theirs); err != nil {
		return errs.Wrap(err, "psi.intersect: agreement")
	}
	if !bytes.Equal(ours, theirs) {
		return errs.New(errs.Corrupt, "psi.intersect: the other party found something else than the "+
			"%d matches found here", len(r.Matches))
	}
	return nil
}

// shuffled returns the numbers below n in a random order, by the system's random source.
func shuffled(n int) []int32 {
	type card struct {
		draw [16]byte
		row  int32
	}
	deck := make([]card, n)
	for i := range deck {
		deck[i].row = int32(i)
		entropy.System().Fill(deck[i].draw[:])
	}
	slices.SortFunc(deck, func(a, b card) int {
		return cmp.Or(bytes.Compare(a.draw[:], b.draw[:]), cmp.Compare(a.row, b.row))
	})
	order := make([]int32, n)
	for i := range deck {
		order[i] = deck[i].row
	}
	return order
}
