package joint

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/psi"
)

// Matches are the rows of a party that the other has too, ascending by token. They tell which
// customers are shared, and stay with the party.
type Matches struct {
	Contract enclave.Digest
	Session  [32]byte
	Peer     int // rows that the other party has; zero where it was read from a file
	Rows     []psi.Match
}

// Match finds the shared rows with the other party over a connection, which should be a session of
// Secure. Ids are hashed under the contract: points of another contract say nothing here. Kinds as
// of psi.Intersect.
func Match(ctx context.Context, conn net.Conn, s enclave.SignedContract, party string, ids []string) (
	*Matches, error) {
	r, err := psi.Intersect(ctx, conn, ids, psi.Config{Context: s.Digest[:],
		Initiator: s.Contract.Parties[0].Name == party, Rule: psi.Rule(s.Contract.Join.Rule)})
	if err != nil {
		return nil, err
	}
	return &Matches{Contract: s.Digest, Session: r.Session, Peer: r.Peer, Rows: r.Matches}, nil
}

// Secure begins TLS 1.3 over a connection to the other party of a contract: both show the keys that
// sign the contract, and nobody else can be at either end. The party that comes first in the
// contract is the server. The error is kind Unauthorized where the other has another key.
func Secure(ctx context.Context, conn net.Conn, s enclave.SignedContract, key ed25519.PrivateKey) (
	*tls.Conn, error) {
	own, peer, err := ends(s.Contract, key)
	if err != nil {
		return nil, err
	}
	config, err := sessionConfig(key, peer)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, handshakePatience)
	defer cancel()
	session := tls.Client(conn, config)
	if own == 0 {
		session = tls.Server(conn, config)
	}
	if err := session.HandshakeContext(ctx); err != nil {
		return nil, errs.As(errs.Unauthorized, err, "joint.secure: the session with %q", peer.Name)
	}
	return session, nil
}

// ends returns which party the key is, and the other one.
func ends(c *enclave.Contract, key ed25519.PrivateKey) (own int, peer *enclave.Party, err error) {
	public, _ := key.Public().(ed25519.PublicKey)
	for i := range c.Parties {
		if bytes.Equal(c.Parties[i].Key, public) {
			return i, &c.Parties[1-i], nil
		}
	}
	return 0, nil, errs.New(errs.Forbidden, "joint.secure: the key is that of no party of %q", c.Name)
}

// matchesLine begins a file of matches.
const matchesLine = "surety joint matches 1"

// Write writes the matches as text: a line of its own, contract and session, then "row,token".
func (m *Matches) Write(to io.Writer) error {
	w := bufio.NewWriter(to)
	fmt.Fprintf(w, "%s\n%s\n%x\n", matchesLine, m.Contract, m.Session)
	for _, match := range m.Rows {
		fmt.Fprintf(w, "%d,%x\n", match.Row, match.Token)
	}
	return errs.As(errs.Unavailable, w.Flush(), "joint.matches")
}

// ReadMatches reads what Write gives; kind Corrupt for anything else.
func ReadMatches(from io.Reader) (*Matches, error) {
	lines := bufio.NewScanner(io.LimitReader(from, MaxMatchBytes))
	head := [3]string{}
	for i := range head {
		lines.Scan()
		head[i] = lines.Text()
	}
	m := &Matches{}
	session, err := hex.DecodeString(head[2])
	if head[0] != matchesLine || err != nil || len(session) != len(m.Session) {
		return nil, errs.New(errs.Corrupt, "joint.matches: it is no file of matches")
	}
	m.Session = [32]byte(session)
	if m.Contract, err = enclave.ParseDigest(head[1]); err != nil {
		return nil, errs.As(errs.Corrupt, err, "joint.matches")
	}
	for lines.Scan() {
		number, digits, _ := strings.Cut(lines.Text(), ",")
		row, bad := strconv.Atoi(number)
		token, err := hex.DecodeString(digits)
		if bad != nil || err != nil || row < 0 || len(token) != len(psi.Token{}) {
			return nil, errs.New(errs.Corrupt, "joint.matches: line %d is none", len(m.Rows)+4)
		}
		match := psi.Match{Row: row, Token: psi.Token(token)}
		if n := len(m.Rows); n > 0 && bytes.Compare(m.Rows[n-1].Token[:], match.Token[:]) >= 0 {
			return nil, errs.New(errs.Corrupt, "joint.matches: line %d does not stand after the one before", n+4)
		}
		m.Rows = append(m.Rows, match)
	}
	return m, errs.As(errs.Corrupt, lines.Err(), "joint.matches")
}
