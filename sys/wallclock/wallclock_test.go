package wallclock

import (
	"testing"

	"surety/base/clock"
)

func TestSystemNeverGoesBack(t *testing.T) {
	c := System()
	last := c.Now()
	for range 1000 {
		now := c.Now()
		if now < last {
			t.Fatalf("%d came after %d", now, last)
		}
		last = now
	}
}

func TestSystemTimerFires(t *testing.T) {
	c := System()
	before := c.Now()
	timer := c.NewTimer(clock.Millisecond)
	fired := <-timer.C()
	if fired.Sub(before) < clock.Millisecond {
		t.Errorf("fired after %d ns, want at least 1 ms", fired.Sub(before))
	}
}

func TestManualFiresInOrder(t *testing.T) {
	m := NewManual(100)
	late := m.NewTimer(20)
	early := m.NewTimer(10)
	stopped := m.NewTimer(5)
	stopped.Stop()
	if got := m.Waiting(); got != 2 {
		t.Fatalf("%d timers wait, want 2", got)
	}
	m.Advance(9)
	if len(early.C()) != 0 {
		t.Error("fired before it was due")
	}
	m.Advance(100)
	if at := <-early.C(); at != 110 {
		t.Errorf("the early timer says %d, want 110", at)
	}
	if at := <-late.C(); at != 120 {
		t.Errorf("the late timer says %d, want 120", at)
	}
	if len(stopped.C()) != 0 {
		t.Error("a stopped timer fired")
	}
	m.Advance(-50)
	if m.Now() != 209 {
		t.Errorf("the clock stands at %d, want 209", m.Now())
	}
}

func TestManualFiresAtOnce(t *testing.T) {
	m := NewManual(100)
	if at := <-m.NewTimer(-5).C(); at != 100 {
		t.Errorf("fired at %d, want 100", at)
	}
}

func TestLapse(t *testing.T) {
	start := clock.MustDate(2024, 2, 28)
	l := NewLapse(start, 1000, 10)
	for _, row := range []struct {
		now  clock.Instant
		want string
	}{
		{0, "2024-02-28"}, {1000, "2024-02-28"}, {1009, "2024-02-28"}, {1010, "2024-02-29"},
		{1020, "2024-03-01"}, {1000 + 3660, "2025-02-28"},
	} {
		if got := l.Date(row.now).String(); got != row.want {
			t.Errorf("at %d it is %s, want %s", row.now, got, row.want)
		}
	}
	for days := range 800 {
		date := start.AddDays(days)
		if begins := l.Begins(date); l.Date(begins) != date || days > 0 && l.Date(begins-1) == date {
			t.Fatalf("%s does not begin at %d", date, begins)
		}
	}
}
