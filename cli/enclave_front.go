package cli

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync"

	"surety/base/errs"
	"surety/enclave/channel"
)

// front is a listener for attested TLS before a port inside.
type front struct {
	listener net.Listener
	inside   uint16
}

// listenFronts listens for each ADDRESS:PORT=INSIDE, so that an address that cannot be had is known
// before anything is started.
func listenFronts(texts []string) (fronts []front, err error) {
	defer func() {
		if err != nil {
			closeFronts(fronts)
		}
	}()
	for _, text := range texts {
		at, port, found := strings.Cut(text, "=")
		inside, bad := strconv.ParseUint(port, 10, 16)
		if !found || bad != nil || inside == 0 {
			return fronts, errs.New(errs.Invalid, "--attested-tls: %q is not ADDRESS:PORT=INSIDE", text)
		}
		l, err := net.Listen("tcp", at)
		if err != nil {
			return fronts, errs.As(errs.Unavailable, err, "--attested-tls %s", text)
		}
		fronts = append(fronts, front{l, uint16(inside)})
	}
	return fronts, nil
}

// closeFronts closes what is not being served.
func closeFronts(fronts []front) {
	for _, f := range fronts {
		_ = f.listener.Close()
	}
}

// serveFronts serves each until ctx is done. The enclave runs.
func serveFronts(ctx context.Context, o *opening, fronts []front, serving *sync.WaitGroup) {
	for _, f := range fronts {
		dial := func(ctx context.Context) (net.Conn, error) {
			s, err := o.h.host.Find(o.opened.Spec.ID)
			if err != nil {
				return nil, err
			}
			return s.Dial(ctx, f.inside)
		}
		server, err := channel.NewServer(channel.Config{Attester: o.opened.Attester(), Dial: dial,
			Log: o.h.log()})
		if err != nil {
			o.h.env.note("surety: %v", err)
			continue
		}
		o.h.env.note("attested TLS at %s, before port %d inside", f.listener.Addr(), f.inside)
		serving.Go(func() {
			if err := server.Serve(ctx, f.listener); err != nil {
				o.h.env.note("surety: %v", err)
			}
		})
	}
}
