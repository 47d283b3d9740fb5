package egress

import (
	"context"
	"log/slog"
	"net"
	"net/netip"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sandbox"
	"surety/sys/wallclock"
)

// Config says where the wire is and what may pass. Link and Clock are needed; the rest may be zero.
type Config struct {
	Link      Link
	Addresses Addresses // as the sandbox has them; zero: DefaultAddresses
	Clock     wallclock.Clock
	Log       *slog.Logger // nil: silent

	// Policy decides on destinations and names; nil allows all but the host's loopback and
	// link-local addresses.
	Policy *sandbox.Compiled

	// Names is told each address the resolver is about to answer with (ring.SetName). An error
	// keeps the answer back.
	Names func(addr netip.Addr, name string, until clock.Instant) error
	// Observe takes the records that arise out here: a name asked (KindName), and a connection
	// (KindConnect) or datagram (KindSend) refused on this side. The record is the callee's.
	Observe func(*sandbox.Record)

	// Dial opens the host's side of a connection; network is "tcp" or "udp". Nil: the host's own
	// sockets. A connection with CloseWrite is closed by halves.
	Dial func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error)
	// Servers are asked for names, at most 3. None: the name servers of /etc/resolv.conf when the
	// gateway is opened.
	Servers []netip.AddrPort
	// Hosts are names answered here, lower case without a dot at the end.
	Hosts map[string][]netip.Addr

	Limits Limits
}

// Limits bound one gateway; zero means the default, and none may be above it.
type Limits struct {
	Connections int            // TCP, both ways; 1024
	Sessions    int            // UDP, both ways; 512
	SessionIdle clock.Duration // 2 minutes
	Dial        clock.Duration // 10 seconds
}

// complete fills in what is zero and checks the rest.
func (c *Config) complete() error {
	if c.Link == nil || c.Clock == nil {
		return errs.New(errs.Invalid, "egress: a gateway needs a link and a clock")
	}
	if c.Addresses == (Addresses{}) {
		c.Addresses = DefaultAddresses()
	}
	if !c.Addresses.Gateway4.Is4() || !c.Addresses.Sandbox4.Is4() || !c.Addresses.Host4.Is4() {
		return errs.New(errs.Invalid, "egress: the wire's IPv4 addresses are %s, %s and %s",
			c.Addresses.Gateway4, c.Addresses.Sandbox4, c.Addresses.Host4)
	}
	if c.Dial == nil {
		c.Dial = dialHost
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if len(c.Servers) == 0 {
		c.Servers = hostServers("/etc/resolv.conf")
	}
	c.Servers = c.Servers[:min(len(c.Servers), maxServers)]
	if err := c.Limits.complete(); err != nil {
		return err
	}
	return checkHosts(c.Hosts)
}

func (l *Limits) complete() error {
	for _, limit := range []struct {
		name  string
		value *int
		most  int
	}{{"connections", &l.Connections, maxConnections}, {"sessions", &l.Sessions, maxSessions}} {
		if *limit.value == 0 {
			*limit.value = limit.most
		}
		if *limit.value < 0 || *limit.value > limit.most {
			return errs.New(errs.Invalid, "egress: limits.%s is %d, 1 to %d", limit.name, *limit.value,
				limit.most)
		}
	}
	for _, limit := range []struct {
		name  string
		value *clock.Duration
		most  clock.Duration
	}{{"session_idle", &l.SessionIdle, sessionIdle}, {"dial", &l.Dial, dialPatience}} {
		if *limit.value == 0 {
			*limit.value = limit.most
		}
		if *limit.value < 0 || *limit.value > limit.most {
			return errs.New(errs.Invalid, "egress: limits.%s is %d ns, 1 to %d", limit.name,
				*limit.value, limit.most)
		}
	}
	return nil
}
