package vm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"surety/base/errs"
)

func TestMessages(t *testing.T) {
	for _, m := range []message{
		{hello, 0, nil}, {data, 7, []byte("x")}, {records, 1<<32 - 1, bytes.Repeat([]byte("y"), maxPayload)},
	} {
		encoded := appendMessage(nil, m)
		got, err := readMessage(bytes.NewReader(encoded))
		if err != nil || got.kind != m.kind || got.id != m.id || !bytes.Equal(got.payload, m.payload) {
			t.Errorf("kind %d of %d bytes: %v", m.kind, len(m.payload), err)
		}
		for _, cut := range []int{1, headerBytes - 1, len(encoded) - 1} {
			_, err := readMessage(bytes.NewReader(encoded[:cut]))
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("cut at %d of %d: %v", cut, len(encoded), err)
			}
		}
	}
	if _, err := readMessage(bytes.NewReader(nil)); err != io.EOF {
		t.Errorf("nothing: %v", err)
	}
	for name, header := range map[string][]byte{
		"reserved bytes": {16, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"too long":       {16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 64, 0},
	} {
		if _, err := readMessage(bytes.NewReader(header)); !errs.Is(err, errs.Corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzPorts gives foreign bytes to everything that reads a port. What it may keep is bounded.
func FuzzPorts(f *testing.F) {
	f.Add(appendMessage(appendMessage(nil, message{data, 1, []byte("abc")}), message{closed, 1, nil}))
	f.Add(appendMessage(nil, message{credit, 2, []byte{1, 0, 0, 0}}))
	f.Add(appendMessage(nil, message{records, 0, []byte{5, 0, 0, 0}}))
	f.Add(appendMessage(nil, message{answer, 1, []byte("{}")}))
	f.Fuzz(func(t *testing.T, content []byte) {
		port := func() *port {
			return &port{name: "fuzz", file: struct {
				io.Reader
				io.WriteCloser
			}{bytes.NewReader(content), discard{}}}
		}
		s := newStreams(port())
		in, err := s.reader(1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.writer(2); err != nil {
			t.Fatal(err)
		}
		if s.serve() == nil || len(in.waiting) > windowBytes {
			t.Errorf("%d bytes are waiting", len(in.waiting))
		}
		frames := newFrames(port())
		if frames.serve() == nil || len(frames.waiting) > trailWindow+maxChunk {
			t.Errorf("%d bytes are waiting", len(frames.waiting))
		}
		_, _ = frames.Next(0)
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }

// pair is two ends of a port, served.
func pair(t *testing.T) (*streams, *streams) {
	t.Helper()
	a, b := net.Pipe()
	left := newStreams(&port{name: "left", file: a})
	right := newStreams(&port{name: "right", file: b})
	var served sync.WaitGroup
	for _, s := range []*streams{left, right} {
		served.Go(func() { _ = s.serve() })
	}
	t.Cleanup(func() {
		a.Close()
		b.Close()
		served.Wait()
	})
	return left, right
}

// TestStreams moves much over many streams at once, in pieces of all sizes, both ways.
func TestStreams(t *testing.T) {
	left, right := pair(t)
	var all sync.WaitGroup
	for id := range uint32(20) {
		from, to := left, right
		if id%2 == 1 {
			from, to = right, left
		}
		in, err := to.reader(id)
		if err != nil {
			t.Fatal(err)
		}
		out, err := from.writer(id)
		if err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(uint64(id), 1))
		sent := make([]byte, random.IntN(4*windowBytes))
		for i := range sent {
			sent[i] = byte(random.Uint32())
		}
		all.Go(func() {
			for rest := sent; len(rest) > 0; {
				n := min(len(rest), 1+random.IntN(2*maxChunk))
				if _, err := out.Write(rest[:n]); err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
			if err := out.Close(); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			got, err := io.ReadAll(in)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("stream %d: %d bytes of %d, %v", id, len(got), len(sent), err)
			}
		})
	}
	all.Wait()
}

// TestStreamsDoNotBlockEachOther fills the window of one that nobody reads and uses another.
func TestStreamsDoNotBlockEachOther(t *testing.T) {
	left, right := pair(t)
	stuck, err := right.reader(1)
	if err != nil {
		t.Fatal(err)
	}
	full, err := left.writer(1)
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan error)
	go func() {
		_, err := full.Write(make([]byte, windowBytes+1))
		written <- err
	}()
	in, err := right.reader(2)
	if err != nil {
		t.Fatal(err)
	}
	out, err := left.writer(2)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if _, err := fmt.Fprintf(out, "%03d", i); err != nil {
			t.Fatal(err)
		}
		var got [3]byte
		if _, err := io.ReadFull(in, got[:]); err != nil || string(got[:]) != fmt.Sprintf("%03d", i) {
			t.Fatalf("%q, %v", got, err)
		}
	}
	select {
	case err := <-written:
		t.Fatalf("a write beyond the window returned: %v", err)
	default:
	}
	if err := stuck.Close(); err != nil { // its writer is let go
		t.Fatal(err)
	}
	if err := <-written; !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("after its reader left: %v", err)
	}
}

func TestStreamLimits(t *testing.T) {
	left, _ := pair(t)
	for id := range uint32(maxStreams) {
		if _, err := left.writer(id); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := left.writer(0); !errs.Is(err, errs.Exists) {
		t.Errorf("opened twice: %v", err)
	}
	if _, err := left.writer(maxStreams); !errs.Is(err, errs.Busy) {
		t.Errorf("one too many: %v", err)
	}
	left.fail(io.EOF)
	if _, err := left.reader(maxStreams); !errs.Is(err, errs.Unavailable) {
		t.Errorf("on a broken port: %v", err)
	}
}

// TestStreamFaults sends what the other end must not.
func TestStreamFaults(t *testing.T) {
	for name, send := range map[string][]message{
		"more than the window": {{data, 1, make([]byte, windowBytes)}, {data, 1, []byte("x")}},
		"credit for nothing":   {{credit, 2, []byte{1, 0, 0, 0}}},
		"credit of no number":  {{credit, 2, []byte{1}}},
		"another port's kind":  {{records, 1, nil}},
	} {
		var content []byte
		for _, m := range send {
			content = appendMessage(content, m)
		}
		s := newStreams(&port{name: "test", file: struct {
			io.Reader
			io.WriteCloser
		}{bytes.NewReader(content), discard{}}})
		if _, err := s.reader(1); err != nil {
			t.Fatal(err)
		}
		if _, err := s.writer(2); err != nil {
			t.Fatal(err)
		}
		if err := s.serve(); !errs.Is(err, errs.Corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
