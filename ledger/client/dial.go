package client

import (
	"context"
	"crypto/tls"
	"net"
	"sync"

	"surety/base/errs"
	"surety/base/ident"
	"surety/ledger"
	"surety/ledger/wire"
)

// Config says where a ledger is and who calls.
type Config struct {
	// Network and Address are as for net.Dial: "tcp" and "host:port", or "unix" and a path. An
	// empty Network is "tcp".
	Network, Address string
	// Token proves who calls; empty asks an open door.
	Token string
	// TLS, where not nil, is spoken.
	TLS *tls.Config
}

// Client is a ledger at the other end of a connection. Calls are sent without waiting for one
// another; small batches of accounts and transfers that many goroutines send at the same time
// travel as one. A connection that breaks fails the calls under way with kind Unavailable, and the
// next call makes another.
type Client struct {
	config Config

	mu     sync.Mutex
	link   *link // nil before the first use and after a break is noticed
	closed bool

	accounts  *merger[ledger.Account, ledger.AccountResult]
	transfers *merger[ledger.Transfer, ledger.TransferResult]
}

var _ Ledger = (*Client)(nil)

// Dial connects to a ledger. The caller closes the client. Kinds: Unavailable where nobody answers,
// Unauthorized for a bad token, Invalid where the other side speaks another protocol.
func Dial(ctx context.Context, config Config) (*Client, error) {
	if config.Network == "" {
		config.Network = "tcp"
	}
	if len(config.Token) > wire.TokenMax {
		return nil, errs.New(errs.Unauthorized, "ledger.dial: a token of %d bytes, the limit is %d",
			len(config.Token), wire.TokenMax)
	}
	c := &Client{config: config}
	c.accounts = newMerger[ledger.Account, ledger.AccountResult](c, wire.OpCreateAccounts,
		ledger.EncodeAccounts, accountLinked)
	c.transfers = newMerger[ledger.Transfer, ledger.TransferResult](c, wire.OpCreateTransfers,
		ledger.EncodeTransfers, transferLinked)
	if _, err := c.connected(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

func accountLinked(a *ledger.Account) bool { return a.Flags&ledger.AccountLinked != 0 }

func transferLinked(t *ledger.Transfer) bool { return t.Flags&ledger.TransferLinked != 0 }

// Close ends the connection; calls under way fail with kind Unavailable. A second Close does
// nothing.
func (c *Client) Close() error {
	c.mu.Lock()
	l := c.link
	c.link, c.closed = nil, true
	c.mu.Unlock()
	if l != nil {
		l.close(errs.New(errs.Unavailable, "ledger: the client is closed"))
		<-l.done
	}
	return nil
}

// LedgerID returns the id of the ledger at the other end, as it said at the last connecting.
func (c *Client) LedgerID(ctx context.Context) (ident.ID, error) {
	l, err := c.connected(ctx)
	if err != nil {
		return ident.ID{}, err
	}
	return ident.FromBytes(l.welcome.Ledger), nil
}

// connected returns the connection, making one where there is none.
func (c *Client) connected(ctx context.Context) (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errs.New(errs.Unavailable, "ledger: the client is closed")
	}
	if c.link != nil && c.link.broken() == nil {
		return c.link, nil
	}
	l, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	c.link = l
	return l, nil
}

func (c *Client) dial(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	where := c.config.Network + " " + c.config.Address
	conn, err := new(net.Dialer).DialContext(ctx, c.config.Network, c.config.Address)
	if err == nil && c.config.TLS != nil {
		secure := tls.Client(conn, c.config.TLS)
		if err = secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close() // the handshake says why
		}
		conn = secure
	}
	if err != nil {
		return nil, errs.As(errs.Unavailable, err, "ledger.dial: %s", where)
	}
	l, err := newLink(ctx, conn, c.config.Token)
	if err != nil {
		_ = conn.Close()
		return nil, errs.Wrap(err, "ledger.dial: %s", where)
	}
	return l, nil
}

// call sends a request and returns the answer's body.
func (c *Client) call(ctx context.Context, op wire.Op, body []byte) ([]byte, error) {
	l, err := c.connected(ctx)
	if err != nil {
		return nil, err
	}
	return l.call(ctx, op, body)
}
