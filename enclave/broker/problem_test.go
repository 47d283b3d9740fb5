package broker

import (
	"context"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/sys/wallclock"
)

// TestGate lets as many in as it has room for, lets others wait, and refuses the rest.
func TestGate(t *testing.T) {
	clock := wallclock.NewManual(1)
	g := newGate(10, 1)
	leave, err := g.enter(t.Context(), clock)
	if err != nil {
		t.Fatal(err)
	}
	type entered struct {
		leave func()
		err   error
	}
	wait := func(ctx context.Context) chan entered {
		done := make(chan entered, 1)
		before := clock.Waiting()
		go func() {
			leave, err := g.enter(ctx, clock)
			done <- entered{leave, err}
		}()
		for clock.Waiting() == before {
			runtime.Gosched()
		}
		return done
	}
	next := wait(t.Context())
	leave()
	second := <-next
	if second.err != nil {
		t.Fatal(second.err)
	}
	late := wait(t.Context())
	clock.Advance(maxPatience)
	if err := (<-late).err; !errs.Is(err, errs.Busy) || !strings.Contains(err.Error(), "for 5 s") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	gone := wait(ctx)
	cancel()
	if err := (<-gone).err; !errs.Is(err, errs.Canceled) {
		t.Errorf("got %v", err)
	}
	for range maxWaiting {
		g.waiting <- struct{}{}
	}
	if _, err := g.enter(t.Context(), clock); !errs.Is(err, errs.Busy) ||
		!strings.Contains(err.Error(), "1024 wait") {
		t.Errorf("got %v", err)
	}
	second.leave()
	if _, err := g.enter(t.Context(), clock); err != nil {
		t.Errorf("with room: %v", err)
	}
}

// TestBodies takes what fits, and says of the rest how much it was, or more than what.
func TestBodies(t *testing.T) {
	for _, row := range []struct {
		body   string
		length int64
		kind   errs.Kind
		says   string
	}{
		{"0123456789", 10, errs.Internal, ""},
		{"0123456789a", 11, errs.TooLarge, "has 11 bytes, the limit is 10"},
		{"0123456789a", -1, errs.TooLarge, "more than 10 bytes"},
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(row.body))
		r.ContentLength = row.length
		body, err := readBody(httptest.NewRecorder(), r, 10)
		if row.says == "" {
			if err != nil || string(body) != row.body {
				t.Errorf("got %q, %v", body, err)
			}
			continue
		}
		if !errs.Is(err, row.kind) || !strings.Contains(err.Error(), row.says) {
			t.Errorf("got %v", err)
		}
	}
}
