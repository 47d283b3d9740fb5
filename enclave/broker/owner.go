package broker

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"surety/base/errs"
)

// ownerSocket is where a broker that runs lets its directory's owner manage it.
const ownerSocket = "admin.sock"

// ListenOwner opens the socket in a broker's directory that OwnerHandler is to be served on. The
// broker is open by then, so that a socket that is there is of a process that has ended. Kind Invalid
// where the path is longer than sockets' may be.
func ListenOwner(dir string) (net.Listener, error) {
	path := filepath.Join(dir, ownerSocket)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errs.As(errs.Unavailable, err, "broker.owner")
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, errs.As(errs.Invalid, err, "broker.owner: socket %s (%d bytes, Linux takes 107)", path,
			len(path))
	}
	if err := os.Chmod(path, 0o600); err != nil { // the directory, of mode 0700, bars others meanwhile
		return nil, errors.Join(errs.As(errs.Unavailable, err, "broker.owner"), listener.Close())
	}
	return listener, nil
}

// Owner returns a way to the broker that runs in a directory; nil where none does.
func Owner(ctx context.Context, dir string) *Remote {
	path := filepath.Join(dir, ownerSocket)
	dial := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	conn, err := dial(ctx)
	if err != nil {
		return nil
	}
	_ = conn.Close() // nothing was sent
	return &Remote{URL: "http://owner", HTTP: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		// A connection for each request: a command makes one and ends.
		DisableKeepAlives: true}}}
}
