package bench

import (
	"context"
	"errors"
	"net"
	"path"

	"surety/base/errs"
	"surety/ledger/client"
	"surety/ledger/replica"
	"surety/ledger/server"
	"surety/sys/access"
)

// Reach is how a workload reaches its ledger.
type Reach string

// The ways.
const (
	Embedded Reach = "embedded" // in this process: a function call
	Socket   Reach = "socket"   // over a Unix socket and the binary protocol
	TCP      Reach = "tcp"      // over TCP on loopback and the binary protocol
)

// Place is a ledger of a workload's own, in a directory.
type Place struct {
	Ledger client.Ledger

	replica *replica.Replica
	server  *server.Server
	client  *client.Client
	served  chan error
}

// OpenPlace opens the ledger in the directory and, unless it is reached embedded, serves it and
// connects. The caller closes the place; what is in the directory stays.
func OpenPlace(ctx context.Context, dir string, reach Reach) (*Place, error) {
	r, err := replica.Open(ctx, replica.Config{Dir: path.Join(dir, "ledger")}, replica.Deps{})
	if err != nil {
		return nil, err
	}
	p := &Place{Ledger: r, replica: r}
	switch reach {
	case Embedded:
		return p, nil
	case Socket:
		err = p.connect(ctx, "unix", path.Join(dir, "socket"))
	case TCP:
		err = p.connect(ctx, "tcp", "127.0.0.1:0")
	default:
		err = errs.New(errs.Invalid, "bench: %q is none of %s, %s, %s", reach, Embedded, Socket, TCP)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Place) connect(ctx context.Context, network, address string) error {
	listener, err := new(net.ListenConfig).Listen(ctx, network, address)
	if err != nil {
		return errs.As(errs.Unavailable, err, "bench: listen")
	}
	p.server = server.New(p.replica, server.Config{LedgerID: p.replica.ID(), Open: true}, door{}, nil)
	p.served = make(chan error, 1)
	go func() { p.served <- p.server.Serve(listener) }()
	p.client, err = client.Dial(ctx,
		client.Config{Network: network, Address: listener.Addr().String()})
	if err != nil {
		return err
	}
	p.Ledger = p.client
	return nil
}

// Close ends it all.
func (p *Place) Close() error {
	var all []error
	if p.client != nil {
		all = append(all, p.client.Close())
	}
	if p.server != nil {
		all = append(all, p.server.Close(), <-p.served)
	}
	return errors.Join(append(all, p.replica.Close())...)
}

// door lets whoever reaches the workload's own socket in.
type door struct{}

func (door) Token(_, _ string) (access.Principal, error) {
	return access.Principal{}, errs.New(errs.Unauthorized, "bench: no tokens here")
}

func (door) Local() access.Principal {
	return access.Principal{Name: "bench", Roles: []access.Role{access.Operator}}
}
