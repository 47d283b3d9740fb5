package channel

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

// Client connects to enclaves that it accepts.
type Client struct {
	Verifier *attest.Verifier
	Policy   enclave.Policy // which enclaves; one without a machine is refused by all
	Clock    wallclock.Clock
	Entropy  entropy.Source // of challenges; nil: the system's

	// Logged says whether a measurement is in the evidence log; nil: none is.
	Logged func(ctx context.Context, measure enclave.Digest) (bool, error)
}

// Dial connects to HOST:PORT with the system's clock and no evidence log: see Client.Dial.
func Dial(ctx context.Context, addr string, v *attest.Verifier, p enclave.Policy) (net.Conn,
	*enclave.Claims, error) {
	c := Client{Verifier: v, Policy: p, Clock: wallclock.System()}
	return c.Dial(ctx, addr)
}

// Dial connects to HOST:PORT and returns the session once the server has proved to be an enclave that
// the policy accepts, with what it showed. Nothing but a challenge was sent till then. Kind Forbidden
// where the evidence does not hold or the policy refuses, with the first reason; Unavailable where
// nobody answers.
func (c *Client) Dial(ctx context.Context, addr string) (net.Conn, *enclave.Claims, error) {
	if err := c.check(); err != nil {
		return nil, nil, err
	}
	dialing, cancel := context.WithTimeout(ctx, provePatience)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(dialing, "tcp", addr)
	if err != nil {
		return nil, nil, errs.As(errs.Unavailable, err, "channel.dial")
	}
	return c.Over(ctx, raw)
}

// Over is Dial on a connection that is there. It is closed where an error is returned.
func (c *Client) Over(ctx context.Context, raw net.Conn) (net.Conn, *enclave.Claims, error) {
	if err := c.check(); err != nil {
		return nil, nil, errors.Join(err, raw.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, provePatience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	session := tls.Client(raw, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{Protocol},
		// The certificate says nothing: who the server is, is in the evidence.
		InsecureSkipVerify: true, SessionTicketsDisabled: true,
	})
	claims, err := c.prove(ctx, session)
	if !stop() && err == nil {
		err = errs.As(errs.Canceled, ctx.Err(), "channel.dial")
	}
	if err != nil {
		_ = raw.Close() // not one more byte: not even of a farewell
		return nil, nil, err
	}
	return session, claims, nil
}

func (c *Client) check() error {
	if c.Verifier == nil || c.Clock == nil {
		return errs.New(errs.Invalid, "channel.dial: no verifier, or no clock")
	}
	return errs.Wrap(c.Policy.Check(), "channel.dial")
}

// prove runs the handshake, challenges the server and appraises what it answers.
func (c *Client) prove(ctx context.Context, session *tls.Conn) (*enclave.Claims, error) {
	if err := session.HandshakeContext(ctx); err != nil {
		return nil, errs.As(errs.Unavailable, err, "channel.dial: handshake")
	}
	source := c.Entropy
	if source == nil {
		source = entropy.System()
	}
	nonce := make([]byte, nonceBytes)
	source.Fill(nonce)
	state := session.ConnectionState()
	want, err := binding(&state, nonce)
	if err != nil {
		return nil, err
	}
	if _, err := session.Write(nonce); err != nil {
		return nil, errs.As(errs.Unavailable, err, "channel.dial: challenge")
	}
	evidence, err := readEvidence(session)
	if err != nil {
		return nil, err
	}
	now := c.Clock.Now()
	claims, err := c.Verifier.Verify(evidence, want, now)
	if err != nil {
		return nil, errs.Wrap(err, "channel.dial")
	}
	if claims.Measure.IsZero() {
		return nil, errs.New(errs.Forbidden, "channel.dial: the evidence shows no manifest")
	}
	facts := enclave.Facts{Now: now, VendorRoots: c.Verifier.VendorRoots()}
	if c.Logged != nil {
		if facts.Logged, err = c.Logged(ctx, claims.Measure); err != nil {
			return nil, errs.Wrap(err, "channel.dial: evidence log")
		}
	}
	return claims, refusal(c.Policy.Decide(claims, facts))
}

// refusal is nil where the policy accepts, and names every check that did not pass where it does not.
func refusal(d enclave.Decision) error {
	if d.Result == enclave.Released {
		return nil
	}
	var failed []string
	for _, check := range d.Checks {
		if !check.Passed {
			failed = append(failed, check.Name+": saw "+check.Saw+", wants "+check.Wants)
		}
	}
	return errs.New(errs.Forbidden, "channel.dial: not connected: %s (%s)", d.Result,
		strings.Join(failed, "; "))
}

// readEvidence reads what a server answers to the challenge.
func readEvidence(from io.Reader) (*enclave.Evidence, error) {
	var head [4]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return nil, errs.As(errs.Unavailable, err, "channel.dial: the server shows no evidence")
	}
	size := binary.BigEndian.Uint32(head[:])
	if size == 0 || size > enclave.MaxEvidence {
		return nil, errs.New(errs.Forbidden, "channel.dial: evidence of %d bytes, of 1 to %d", size,
			enclave.MaxEvidence)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(from, data); err != nil {
		return nil, errs.As(errs.Unavailable, err, "channel.dial: evidence cut short")
	}
	e, err := enclave.DecodeEvidence(data)
	return e, errs.As(errs.Forbidden, err, "channel.dial")
}
