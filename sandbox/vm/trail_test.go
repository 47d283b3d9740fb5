package vm

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"surety/base/errs"
	"surety/sandbox"
	"surety/sandbox/ring"
)

// someFrames are n frames of different sizes.
func someFrames(n int) []byte {
	var out []byte
	for i := range n {
		r := sandbox.Record{Seq: uint64(i + 1), Kind: sandbox.KindOpen, Path: string(bytes.Repeat([]byte("p"), i%4000))}
		out = append(r.Append(out), make([]byte, ring.HeadBytes)...)
	}
	return out
}

// trailPair is a guest's end and the host's, served.
func trailPair(t *testing.T) (*Trail, *Frames) {
	t.Helper()
	a, b := net.Pipe()
	f := newFrames(&port{name: "host", file: b})
	served := make(chan struct{})
	go func() {
		_ = f.serve()
		close(served)
	}()
	t.Cleanup(func() {
		a.Close()
		b.Close()
		<-served
	})
	return &Trail{port: &port{name: "guest", file: a}}, f
}

// TestTrail sends far more than the window and stores it in small pieces: all arrives, whole and in
// order, and Append has not returned before the last was stored.
func TestTrail(t *testing.T) {
	guest, host := trailPair(t)
	sent := someFrames(2000)
	if len(sent) < 2*trailWindow {
		t.Fatalf("%d bytes fill no window", len(sent))
	}
	appended := make(chan error, 1)
	go func() {
		err := guest.Append(sent)
		if err == nil {
			err = guest.Close()
		}
		appended <- err
	}()
	var got []byte
	for len(got) < len(sent) {
		frames, err := host.Next(time.Minute)
		if err != nil || len(frames) == 0 {
			t.Fatalf("after %d of %d bytes: %v", len(got), len(sent), err)
		}
		n, err := ring.FrameSize(frames) // one at a time
		if err != nil || n == 0 {
			t.Fatal(err)
		}
		select {
		case err := <-appended:
			t.Fatalf("Append returned %v before the last frame was stored", err)
		default:
		}
		got = append(got, frames[:n]...)
		host.Advance(n)
	}
	if err := <-appended; err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%v, equal %t", err, bytes.Equal(got, sent))
	}
	if frames, err := host.Next(0); frames != nil || err != nil || !host.Ended() {
		t.Errorf("after the last: %d bytes, %v, ended %t", len(frames), err, host.Ended())
	}
}

// TestTrailIsHeldBack stores nothing: the guest sends a window's worth and stops.
func TestTrailIsHeldBack(t *testing.T) {
	guest, host := trailPair(t)
	appended := make(chan error, 1)
	go func() { appended <- guest.Append(someFrames(2000)) }()
	for {
		host.mu.Lock()
		n := len(host.waiting)
		host.mu.Unlock()
		if n >= trailWindow {
			break
		}
		<-host.arrived
	}
	select {
	case err := <-appended:
		t.Fatalf("Append returned %v", err)
	default:
	}
	host.Close()
	if err := <-appended; !errs.Is(err, errs.Unavailable) {
		t.Errorf("after the host has gone: %v", err)
	}
}

func TestTrailFaults(t *testing.T) {
	whole := someFrames(3)
	for _, c := range []struct {
		name string
		send []message
		kind errs.Kind
		good int // bytes that come first
	}{
		{"broken off between frames", []message{{records, 0, whole}}, errs.Unavailable, len(whole)},
		{"broken off within one", []message{{records, 0, whole[:len(whole)-1]}}, errs.Unavailable,
			len(someFrames(2))},
		{"ended within one", []message{{records, 0, whole[:10]}, {kind: ended}}, errs.Corrupt, 0},
		{"no frame", []message{{records, 0, []byte{0, 0, 0, 0, 1}}}, errs.Corrupt, 0},
		{"another port's kind", []message{{data, 0, nil}}, errs.Unavailable, 0},
	} {
		var content []byte
		for _, m := range c.send {
			content = appendMessage(content, m)
		}
		f := newFrames(&port{name: "test", file: struct {
			io.Reader
			io.WriteCloser
		}{bytes.NewReader(content), discard{}}})
		_ = f.serve()
		if c.good > 0 {
			frames, err := f.Next(0)
			if err != nil || len(frames) != c.good {
				t.Errorf("%s: %d bytes first, %v", c.name, len(frames), err)
			}
			f.Advance(len(frames))
		}
		if _, err := f.Next(0); !errs.Is(err, c.kind) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestWake(t *testing.T) {
	_, host := trailPair(t)
	host.Wake()
	if frames, err := host.Next(time.Hour); frames != nil || err != nil {
		t.Errorf("%d bytes, %v", len(frames), err)
	}
}
