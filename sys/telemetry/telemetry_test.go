package telemetry

import (
	"bytes"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sys/wallclock"
)

func TestHandlerShowsMetrics(t *testing.T) {
	r := NewRegistry(wallclock.NewManual(1), "1.2.3")
	r.Counter("surety_test_things_total", "Things.").Add(3)
	r.Counters("surety_test_kinds_total", "Kinds.", "kind", "seen", "unseen")["seen"].Inc()
	r.Gauge("surety_test_queue_items", "Queue.").Set(-4)
	r.Watch("surety_test_level_bytes", "Level.", func() int64 { return 77 })
	r.Latency("surety_test_wait_seconds", "Wait.").Observe(3 * clock.Millisecond)
	answer := httptest.NewRecorder()
	r.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		`surety_node_build_info{version="1.2.3"} 1`,
		"surety_test_things_total 3",
		`surety_test_kinds_total{kind="seen"} 1`,
		`surety_test_kinds_total{kind="unseen"} 0`,
		"surety_test_queue_items -4",
		"surety_test_level_bytes 77",
		`surety_test_wait_seconds_bucket{le="0.0032"} 1`,
		"go_goroutines ",
		"process_open_fds ",
	} {
		if !strings.Contains(answer.Body.String(), line) {
			t.Errorf("the metrics lack %q", line)
		}
	}
}

func TestNamesAreChecked(t *testing.T) {
	r := NewRegistry(wallclock.NewManual(1), "")
	for _, make := range []func(){
		func() { r.Counter("surety_test_things", "") },
		func() { r.Counter("test_things_total", "") },
		func() { r.Gauge("surety_test_things_total", "") },
		func() { r.Gauge("surety_Test_things_bytes", "") },
		func() { r.Latency("surety_test_wait_millis", "") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a bad name was accepted")
				}
			}()
			make()
		}()
	}
}

func TestQuantile(t *testing.T) {
	c := wallclock.NewManual(clock.Instant(clock.Hour))
	l := NewRegistry(c, "").Latency("surety_test_wait_seconds", "Wait.")
	if v, n := l.Quantile(0.5); v != 0 || n != 0 {
		t.Errorf("empty: %d of %d", v, n)
	}
	for i := range 1000 {
		l.Observe(clock.Duration(i+1) * clock.Microsecond)
	}
	l.Observe(-5)
	for _, row := range []struct {
		q    float64
		want clock.Duration
	}{{0, 0}, {0.5, 500}, {0.99, 990}, {1, 1000}} {
		got, n := l.Quantile(row.q)
		want := row.want * clock.Microsecond
		if n != 1001 || got < want || got > want+want/8 {
			t.Errorf("quantile %g is %d of %d, want %d up to an eighth more", row.q, got, n, want)
		}
	}
	c.Advance(50 * clock.Second)
	if _, n := l.Quantile(0.5); n != 1001 {
		t.Errorf("%d measurements after 50 s, want 1001", n)
	}
	c.Advance(10 * clock.Second)
	if _, n := l.Quantile(0.5); n != 0 {
		t.Errorf("%d measurements after a minute, want none", n)
	}
}

func TestBucketsCoverDurations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := clock.Duration(rapid.Int64Range(0, 1<<44-1).Draw(t, "nanoseconds"))
		b := bucketOf(d)
		if bound := boundOf(b); d > bound || bound-d > d/8 {
			t.Fatalf("%d is in bucket %d, which ends at %d", d, b, bound)
		}
		if b > 0 && boundOf(b-1) >= d {
			t.Fatalf("%d belongs in bucket %d", d, b-1)
		}
	})
	if bucketOf(1<<62) != bucketCount-1 {
		t.Error("a huge duration is not in the last bucket")
	}
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger(&out, "warn", FormatJSON)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("not shown")
	log.Warn("shown", "count", 3)
	if got := out.String(); !strings.Contains(got, `"msg":"shown","count":3`) ||
		strings.Contains(got, "not shown") {
		t.Errorf("logged %q", got)
	}
	for _, bad := range [][2]string{{"loud", FormatText}, {"info", "xml"}} {
		if _, err := NewLogger(io.Discard, bad[0], bad[1]); !errs.Is(err, errs.Invalid) {
			t.Errorf("%v gave %v", bad, err)
		}
	}
}

func TestProfiles(t *testing.T) {
	answer := httptest.NewRecorder()
	Profiles().ServeHTTP(answer, httptest.NewRequest("GET", "/debug/pprof/", nil))
	if answer.Code != 200 || !strings.Contains(answer.Body.String(), "goroutine") {
		t.Errorf("status %d", answer.Code)
	}
}

func BenchmarkObserve(b *testing.B) {
	l := NewRegistry(wallclock.System(), "").Latency("surety_test_wait_seconds", "Wait.")
	for b.Loop() {
		l.Observe(clock.Millisecond)
	}
}
