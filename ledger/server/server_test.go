package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"surety/base/errs"
	"surety/base/ident"
	"surety/ledger"
	"surety/ledger/client"
	"surety/ledger/wire"
)

// TestSameAsDirect asks every question over the connection and directly.
func TestSameAsDirect(t *testing.T) {
	p := newPlace(t, Config{})
	ctx := context.Background()
	remote := p.dial("admin")
	accounts(t, remote, 5)
	pending := transfer(3, 1, 2, 30)
	pending.Flags = ledger.TransferPending
	sent := []ledger.Transfer{transfer(1, 1, 2, 10), transfer(1, 1, 2, 10), pending, transfer(9, 1, 99, 1)}
	results, err := remote.CreateTransfers(ctx, sent)
	want := []ledger.TransferResult{0, ledger.TransferExists, 0, ledger.TransferCreditAccountNotFound}
	if err != nil || !reflect.DeepEqual(results, want) {
		t.Fatalf("results %v, %v, want %v", results, err, want)
	}
	freeze := ledger.Freeze{ID: id(50), AccountID: id(4), Actor: id(1), Reason: 7,
		Scope: ledger.FreezeAccount, Sides: ledger.FreezeBoth}
	if got, err := remote.ApplyFreezes(ctx, []ledger.Freeze{freeze}); err != nil || got[0] != ledger.FreezeOK {
		t.Fatal(got, err)
	}
	named := client.Name{AccountID: id(2), Name: "bob", Metadata: map[string]string{"k": "v"}}
	if err := remote.SetNames(ctx, []client.Name{named}); err != nil {
		t.Fatal(err)
	}
	if err := remote.WaitEvents(ctx, 7); err != nil {
		t.Error(err)
	}
	for name, ask := range map[string]func(l client.Ledger) (any, error){
		"accounts":  func(l client.Ledger) (any, error) { return l.LookupAccounts(ctx, []ident.ID{id(2), id(77), id(1)}) },
		"transfers": func(l client.Ledger) (any, error) { return l.LookupTransfers(ctx, []ident.ID{id(3), id(1)}) },
		"pending":   func(l client.Ledger) (any, error) { return l.PendingStatuses(ctx, []ident.ID{id(3), id(1)}) },
		"of account": func(l client.Ledger) (any, error) {
			return l.AccountTransfers(ctx, id(1), ledger.AccountFilter{Debits: true, Reversed: true, Limit: 1})
		},
		"balances": func(l client.Ledger) (any, error) { return l.AccountBalances(ctx, id(1), ledger.AccountFilter{}) },
		"query": func(l client.Ledger) (any, error) {
			return l.QueryTransfers(ctx, ledger.TransferFilter{Code: 1, Ledger: 978, Limit: 1})
		},
		"list":    func(l client.Ledger) (any, error) { return l.ListAccounts(ctx, 1, 2) },
		"totals":  func(l client.Ledger) (any, error) { return l.ClassTotals(ctx) },
		"freezes": func(l client.Ledger) (any, error) { return l.Freezes(ctx) },
		"resolve": func(l client.Ledger) (any, error) { return l.ResolveName(ctx, "bob") },
		"name":    func(l client.Ledger) (any, error) { return l.NameOf(ctx, id(2)) },
		"names": func(l client.Ledger) (any, error) {
			names, next, err := l.ListNames(ctx, 0, 10)
			return []any{names, next}, err
		},
		"events":  func(l client.Ledger) (any, error) { return l.Events(ctx, 2, 100) },
		"batches": func(l client.Ledger) (any, error) { return l.Batches(ctx, 1, 0) },
		"status":  func(l client.Ledger) (any, error) { return l.Status(ctx) },
	} {
		there, err := ask(remote)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		here, err := ask(p.replica)
		if err != nil || !reflect.DeepEqual(there, here) {
			t.Errorf("%s: %+v there, %+v here, %v", name, there, here, err)
		}
	}
	_, err = remote.ResolveName(ctx, "nobody")
	wantKind(t, err, errs.NotFound)
	_, err = remote.NameOf(ctx, id(1))
	wantKind(t, err, errs.NotFound)
	_, err = remote.AccountTransfers(ctx, id(99), ledger.AccountFilter{})
	wantKind(t, err, errs.NotFound)
	wantKind(t, remote.SetNames(ctx, []client.Name{{AccountID: id(3), Name: "bob"}}), errs.Exists)
	_, err = remote.CreateTransfers(ctx, make([]ledger.Transfer, ledger.BatchMax+1))
	wantKind(t, err, errs.TooLarge)
	if got, err := remote.LedgerID(ctx); err != nil || got != p.replica.ID() {
		t.Errorf("ledger %v, %v", got, err)
	}
}

func TestFullBatches(t *testing.T) {
	p := newPlace(t, Config{})
	c := p.dial("operator")
	accounts(t, c, 100)
	ctx := context.Background()
	batch := make([]ledger.Transfer, ledger.BatchMax)
	for i := range batch {
		batch[i] = transfer(uint64(i+1), uint64(i%99+1), uint64(i%99+2), 1)
	}
	results, err := c.CreateTransfers(ctx, batch)
	if err != nil || len(results) != len(batch) || results[8189] != 0 {
		t.Fatal(len(results), err)
	}
	page, err := c.QueryTransfers(ctx, ledger.TransferFilter{})
	if err != nil || len(page.Transfers) != ledger.PageMax {
		t.Errorf("%d transfers, %v", len(page.Transfers), err)
	}
	seen := uint64(0)
	for {
		events, err := c.Events(ctx, seen, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(events) == 0 {
			break
		}
		seen += uint64(len(events))
	}
	if seen != ledger.BatchMax+100 {
		t.Errorf("%d events", seen)
	}
}

// TestMerging sends single transfers from many goroutines: they travel together, each gets its own
// results, and an open chain does not catch the batch that travels beside it.
func TestMerging(t *testing.T) {
	p := newPlace(t, Config{})
	c := p.dial("operator")
	accounts(t, c, 2)
	before, err := p.replica.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	const callers, each = 32, 25
	for caller := range uint64(callers) {
		all.Go(func() {
			for n := range uint64(each) {
				number := caller*1000 + n + 1
				batch := []ledger.Transfer{transfer(number, 1, 2, 1)}
				want := ledger.TransferOK
				switch n % 5 {
				case 1:
					batch[0].Flags, want = ledger.TransferLinked, ledger.TransferLinkedEventChainOpen
				case 2:
					batch[0].Code, want = 0, ledger.TransferCodeMustNotBeZero
				case 3: // a whole chain that fails
					second := transfer(number+500, 1, 2, 1)
					second.Code = 0
					batch[0].Flags, want = ledger.TransferLinked, ledger.TransferLinkedEventFailed
					batch = append(batch, second)
				}
				results, err := c.CreateTransfers(context.Background(), batch)
				if err != nil || len(results) != len(batch) || results[0] != want {
					t.Errorf("transfer %d: %v, %v, want %s", number, results, err, want)
				}
			}
		})
	}
	all.Wait()
	after, err := p.replica.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if batches := after.Batches - before.Batches; batches > callers*each*9/10 {
		t.Errorf("%d calls made %d batches: nothing was merged", callers*each, batches)
	} else {
		t.Logf("%d calls made %d batches", callers*each, batches)
	}
	if after.Transfers != callers*each*2/5 {
		t.Errorf("%d transfers", after.Transfers)
	}
}

func TestWhoMayWhat(t *testing.T) {
	p := newPlace(t, Config{})
	ctx := context.Background()
	for _, token := range []string{"", "wrong", strings.Repeat("x", wire.TokenMax+1)} {
		_, err := client.Dial(ctx, client.Config{Address: p.address(), Token: token})
		wantKind(t, err, errs.Unauthorized)
	}
	accounts(t, p.dial("operator"), 2)
	viewer := p.dial("viewer")
	if found, err := viewer.LookupAccounts(ctx, []ident.ID{id(1)}); err != nil || len(found) != 1 {
		t.Error(found, err)
	}
	_, err := viewer.CreateTransfers(ctx, []ledger.Transfer{transfer(1, 1, 2, 1)})
	wantKind(t, err, errs.Forbidden)
	wantKind(t, viewer.SetNames(ctx, []client.Name{{AccountID: id(1), Name: "x"}}), errs.Forbidden)
	_, err = p.dial("operator").ApplyFreezes(ctx, []ledger.Freeze{{ID: id(9)}})
	wantKind(t, err, errs.Forbidden)
}

func TestOpenDoor(t *testing.T) {
	p := newPlace(t, Config{Open: true})
	accounts(t, p.dial(""), 2)
	_, err := client.Dial(context.Background(), client.Config{Address: p.address(), Token: "wrong"})
	wantKind(t, err, errs.Unauthorized) // a bad token is not "no token"
	wide, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, p.server.Serve(wide), errs.Invalid)
	if _, err := wide.Accept(); err == nil {
		t.Error("the refused listener is still open")
	}
}

func TestUnixSocket(t *testing.T) {
	p := newPlace(t, Config{Open: true})
	path := t.TempDir() + "/s"
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- p.server.Serve(listener) }()
	c, err := client.Dial(context.Background(), client.Config{Network: "unix", Address: path})
	if err != nil {
		t.Fatal(err)
	}
	accounts(t, c, 1)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	p.stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"ledger"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	p := newPlace(t, Config{TLS: &tls.Config{Certificates: []tls.Certificate{
		{Certificate: [][]byte{der}, PrivateKey: key}}}})
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Config{Address: p.address(), Token: "operator",
		TLS: &tls.Config{RootCAs: roots, ServerName: "ledger"}})
	if err != nil {
		t.Fatal(err)
	}
	accounts(t, c, 2)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	_, err = client.Dial(ctx, client.Config{Address: p.address(), Token: "operator",
		TLS: &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "ledger"}})
	wantKind(t, err, errs.Unavailable)
	_, err = client.Dial(ctx, client.Config{Address: p.address(), Token: "operator"})
	if err == nil {
		t.Error("a plain client spoke to a server that speaks TLS")
	}
}

func TestReconnect(t *testing.T) {
	p := newPlace(t, Config{})
	c := p.dial("operator")
	accounts(t, c, 2)
	address := p.address()
	waited := make(chan error, 1)
	go func() { waited <- c.WaitEvents(context.Background(), 1000) }()
	p.stop()
	wantKind(t, <-waited, errs.Unavailable)
	_, err := c.CreateTransfers(context.Background(), []ledger.Transfer{transfer(1, 1, 2, 1)})
	wantKind(t, err, errs.Unavailable)
	p.serve(address, Config{LedgerID: p.replica.ID()})
	results, err := c.CreateTransfers(context.Background(), []ledger.Transfer{transfer(1, 1, 2, 1)})
	if err != nil || results[0] != ledger.TransferOK {
		t.Errorf("after the server came back: %v, %v", results, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	_, err = c.Status(context.Background())
	wantKind(t, err, errs.Unavailable)
}

// TestCancel ends calls that wait for ever: the client goes on, and the server's slots come back.
func TestCancel(t *testing.T) {
	p := newPlace(t, Config{InFlightMax: 2})
	c := p.dial("operator")
	for range 20 {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- c.WaitEvents(ctx, 1000) }()
		cancel()
		wantKind(t, <-done, errs.Canceled)
	}
	accounts(t, c, 2)
}

func TestConnectionsMax(t *testing.T) {
	p := newPlace(t, Config{ConnectionsMax: 2})
	p.dial("viewer")
	p.dial("viewer")
	_, err := client.Dial(context.Background(), client.Config{Address: p.address(), Token: "viewer"})
	wantKind(t, err, errs.Unavailable)
}

// TestMemoryMax has more under way than the server may hold at a time: all are served in turn.
func TestMemoryMax(t *testing.T) {
	p := newPlace(t, Config{MemoryMax: 1 << 20})
	accounts(t, p.replica, 300)
	var all sync.WaitGroup
	for range 4 {
		c := p.dial("viewer")
		for range 8 {
			all.Go(func() {
				if page, err := c.ListAccounts(context.Background(), 0, 0); err != nil || len(page) != 300 {
					t.Errorf("%d accounts, %v", len(page), err)
				}
			})
		}
	}
	all.Wait()
	b := p.server.memory
	p.stop() // waits until every request has given back what it held
	if b.free != b.whole || len(b.waiting) != 0 {
		t.Errorf("%d of %d bytes came back, %d wait", b.free, b.whole, len(b.waiting))
	}
}

func TestLedgerThatIsClosed(t *testing.T) {
	p := newPlace(t, Config{})
	c := p.dial("operator")
	if err := p.replica.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := c.ListAccounts(context.Background(), 0, 0)
	wantKind(t, err, errs.Unavailable)
	if status, err := c.Status(context.Background()); err != nil || status.Stopped == "" {
		t.Errorf("status %+v, %v", status, err)
	}
}
