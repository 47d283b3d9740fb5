package server

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"testing"

	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
	"surety/ledger/client"
	"surety/ledger/journal"
	"surety/ledger/replica"
	"surety/sys/access"
	"surety/sys/vfs"
)

// door knows three tokens.
type door struct{}

func (door) Token(_, text string) (access.Principal, error) {
	switch text {
	case "viewer":
		return access.Principal{Name: "v", Roles: []access.Role{access.Viewer}}, nil
	case "operator":
		return access.Principal{Name: "o", Roles: []access.Role{access.Operator}}, nil
	case "admin":
		return access.Principal{Name: "a", Roles: []access.Role{access.Admin}}, nil
	}
	return access.Principal{}, errs.New(errs.Unauthorized, "the token is nobody's")
}

func (door) Local() access.Principal {
	return access.Principal{Name: "local", Roles: []access.Role{access.Operator}}
}

// place is a ledger in memory with a server on a loopback port.
type place struct {
	t        testing.TB
	replica  *replica.Replica
	server   *Server
	listener net.Listener
	served   chan error
}

func newPlace(t testing.TB, config Config) *place {
	p := &place{t: t, served: make(chan error, 1)}
	var err error
	p.replica, err = replica.Open(context.Background(), replica.Config{Dir: "l",
		Journal: journal.Options{SegmentBytes: 8 << 20, FirstSegmentBytes: 8 << 20}},
		replica.Deps{FS: vfs.NewMemory()})
	if err != nil {
		t.Fatal(err)
	}
	config.LedgerID = p.replica.ID()
	p.serve("127.0.0.1:0", config)
	t.Cleanup(func() {
		p.stop()
		if err := p.replica.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// serve starts a server; p.stop ends it.
func (p *place) serve(address string, config Config) {
	p.t.Helper()
	var err error
	p.listener, err = net.Listen("tcp", address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.server = New(p.replica, config, door{}, slog.New(slog.NewTextHandler(testLog{p.t}, nil)))
	s, l := p.server, p.listener
	go func() { p.served <- s.Serve(l) }()
}

func (p *place) stop() {
	p.t.Helper()
	if p.server == nil {
		return
	}
	if err := p.server.Close(); err != nil {
		p.t.Error(err)
	}
	if err := <-p.served; err != nil {
		p.t.Error(err)
	}
	p.server = nil
}

func (p *place) address() string { return p.listener.Addr().String() }

func (p *place) dial(token string) *client.Client {
	p.t.Helper()
	c, err := client.Dial(context.Background(), client.Config{Address: p.address(), Token: token})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Close() })
	return c
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(string(bytes.TrimSpace(b)))
	return len(b), nil
}

func id(n uint64) ident.ID { return ident.ID{Lo: n} }

// accounts makes n accounts numbered from 1.
func accounts(t testing.TB, l client.Ledger, n int) {
	t.Helper()
	batch := make([]ledger.Account, n)
	for i := range batch {
		batch[i] = ledger.Account{ID: id(uint64(i + 1)), Ledger: 978, Code: 1, Flags: ledger.AccountHistory}
	}
	results, err := l.CreateAccounts(context.Background(), batch)
	if err != nil || len(results) != n || results[n-1] != ledger.AccountOK {
		t.Fatal(results, err)
	}
}

func transfer(n, debit, credit, amount uint64) ledger.Transfer {
	return ledger.Transfer{ID: id(n), DebitAccountID: id(debit), CreditAccountID: id(credit),
		Amount: money.Minor(amount), Ledger: 978, Code: 1}
}

func wantKind(t testing.TB, err error, kind errs.Kind) {
	t.Helper()
	if !errs.Is(err, kind) {
		t.Errorf("got %v, want kind %v", err, kind)
	}
}
