package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"surety/base/errs"
	"surety/ledger"
	"surety/ledger/wire"
)

// raw is a connection on which anything can be said.
type raw struct {
	t    *testing.T
	conn net.Conn
}

func (p *place) raw() *raw {
	conn, err := net.Dial("tcp", p.address())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		p.t.Fatal(err)
	}
	return &raw{p.t.(*testing.T), conn}
}

func frame(op wire.Op, request uint64, body []byte) []byte {
	var b bytes.Buffer
	if err := wire.WriteFrame(&b, wire.Header{Op: op, Request: request}, body); err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}

func hello(token string) []byte { return frame(wire.OpHello, 0, wire.AppendHello(nil, token)) }

func (r *raw) say(bytes ...[]byte) *raw {
	for _, b := range bytes {
		if _, err := r.conn.Write(b); err != nil {
			return r // the other side has closed: what it said before is still to be read
		}
	}
	return r
}

// hear reads a frame.
func (r *raw) hear() (wire.Header, string, error) {
	h, err := wire.ReadHeader(r.conn)
	if err != nil {
		return h, "", err
	}
	body := make([]byte, h.Size)
	_, err = io.ReadFull(r.conn, body)
	return h, string(body), err
}

// patch changes bytes of a frame's header and mends its sum.
func patch(f []byte, at int, bytes ...byte) []byte {
	f = append([]byte(nil), f...)
	copy(f[at:], bytes)
	binary.LittleEndian.PutUint32(f[28:], wire.Checksum(f[:28]))
	return f
}

func TestMalformedFrames(t *testing.T) {
	p := newPlace(t, Config{})
	accounts(t, p.replica, 2)
	good := frame(wire.OpLookupAccounts, 5, wire.AppendIDs(nil, nil))
	one := transfer(1, 1, 2, 1)
	batch := ledger.EncodeTransfers(nil, []ledger.Transfer{one})
	bodyBroken := frame(wire.OpCreateTransfers, 5, batch)
	bodyBroken[wire.HeaderSize] ^= 1
	headBroken := frame(wire.OpCreateTransfers, 5, batch)
	headBroken[9] ^= 1
	for _, row := range []struct {
		name  string
		hello bool
		bytes []byte
		kind  errs.Kind
		text  string
		goes  bool // the connection goes on
	}{
		{"HTTP", false, []byte("GET / HTTP/1.1\r\nHost: localhost\r\nAccept: everything\r\n\r\n"),
			errs.Invalid, "not frames", false},
		{"no hello", false, good, errs.Unauthorized, "begins with a hello", false},
		{"bad token", false, hello("wrong"), errs.Unauthorized, "nobody's", false},
		{"hello of another version", false, patch(hello("operator"), 4, 9), errs.Invalid, "protocol version 9", false},
		{"hello that lies about its token", false, frame(wire.OpHello, 0, []byte{200, 0, 'x'}),
			errs.Invalid, "too short", false},
		{"hello too long", false, frame(wire.OpHello, 0, make([]byte, 600)), errs.Unauthorized, "begins with", false},
		{"header broken", true, headBroken, errs.Invalid, "does not sum up", false},
		{"body broken", true, bodyBroken, errs.Invalid, "does not sum up", false},
		{"too long", true, patch(good, 16, 0xff, 0xff, 0xff, 0x7f), errs.TooLarge, "the limit is", false},
		{"reserved bits", true, patch(good, 6, 0x80), errs.Invalid, "mean nothing", false},
		{"an answer", true, patch(good, 6, 1, 2), errs.Invalid, "not known", false},
		{"unknown operation", true, frame(200, 5, nil), errs.Invalid, "operation 200 is not known", false},
		{"hello again", true, hello("operator"), errs.Invalid, "operation 64 is not known", false},
		{"half a record", true, frame(wire.OpCreateTransfers, 5, batch[:100]), errs.Invalid, "whole number of records", true},
		{"half an id", true, frame(wire.OpLookupAccounts, 5, make([]byte, 17)), errs.Invalid, "whole number of 16", true},
		{"no filter", true, frame(wire.OpQueryTransfers, 5, nil), errs.Invalid, "too short", true},
		{"too much filter", true, frame(wire.OpQueryTransfers, 5, make([]byte, 100)),
			errs.Invalid, "follow the body's end", true},
		{"names that are none", true, frame(wire.OpSetNames, 5, []byte("abc")), errs.Invalid, "ends within its id", true},
		{"two ids for one", true, frame(wire.OpNameOf, 5, make([]byte, 32)), errs.Invalid, "want one", true},
		{"a name too long", true, frame(wire.OpResolveName, 5, make([]byte, 129)), errs.Invalid, "the limit is 128", true},
	} {
		r := p.raw()
		if row.hello {
			if h, text, err := r.say(hello("operator")).hear(); err != nil || h.Failed {
				t.Fatalf("%s: hello answered %q, %v", row.name, text, err)
			}
		}
		h, text, err := r.say(row.bytes).hear()
		if err != nil || !h.Failed || h.Kind != row.kind || !strings.Contains(text, row.text) {
			t.Errorf("%s: answered %+v %q, %v, want %v with %q", row.name, h, text, err, row.kind, row.text)
		}
		h, text, err = r.say(good).hear()
		if row.goes && (err != nil || h.Failed || h.Request != 5) {
			t.Errorf("%s: the connection did not go on: %+v %q, %v", row.name, h, text, err)
		}
		if !row.goes && err == nil {
			t.Errorf("%s: the connection went on: %+v %q", row.name, h, text)
		}
	}
	status, err := p.replica.Status(context.Background())
	if err != nil || status.Transfers != 0 {
		t.Errorf("something got through: %+v, %v", status, err)
	}
	if _, err := p.dial("operator").ListAccounts(context.Background(), 0, 0); err != nil {
		t.Errorf("the server is not well: %v", err)
	}
}

func TestSameRequestTwice(t *testing.T) {
	p := newPlace(t, Config{})
	r := p.raw()
	wait := frame(wire.OpWaitEvents, 7, wire.Range{From: 1 << 40}.Append(nil))
	if h, text, err := r.say(hello("viewer"), wait, wait).hear(); err != nil || h.Failed {
		t.Fatal(text, err)
	}
	h, text, err := r.hear()
	if err != nil || !h.Failed || !strings.Contains(text, "under way already") {
		t.Errorf("answered %+v %q, %v", h, text, err)
	}
}

// TestCutConnections leaves at every byte of a request: the server goes on and forgets them all.
func TestCutConnections(t *testing.T) {
	p := newPlace(t, Config{})
	accounts(t, p.replica, 2)
	one := ledger.EncodeTransfers(nil, []ledger.Transfer{transfer(1, 1, 2, 1)})
	whole := append(hello("operator"), frame(wire.OpCreateTransfers, 1, one)...)
	for cut := range len(whole) {
		r := p.raw()
		r.say(whole[:cut])
		if err := r.conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if results, err := p.dial("operator").CreateTransfers(context.Background(),
		[]ledger.Transfer{transfer(1, 1, 2, 1)}); err != nil || results[0] != ledger.TransferOK {
		t.Errorf("a cut request got through, or nothing does: %v, %v", results, err)
	}
}

// FuzzConnection sends any bytes after a good hello, and any instead of one.
func FuzzConnection(f *testing.F) {
	one := ledger.EncodeTransfers(nil, []ledger.Transfer{transfer(1, 1, 2, 1)})
	f.Add(true, frame(wire.OpCreateTransfers, 1, one))
	f.Add(true, append(frame(wire.OpEvents, 1, wire.Range{}.Append(nil)), frame(wire.OpCancel, 1, nil)...))
	f.Add(false, []byte("GET /"))
	f.Add(true, frame(wire.OpSetNames, 1, []byte{1, 2, 3}))
	p := newPlace(f, Config{})
	f.Fuzz(func(t *testing.T, greet bool, data []byte) {
		here, there := net.Pipe()
		p.server.welcome(there)
		heard := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, here)
			heard <- err
		}()
		if greet {
			_, _ = here.Write(hello("admin"))
		}
		_, _ = here.Write(data)
		_ = here.Close()
		<-heard
	})
}
