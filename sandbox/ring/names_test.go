package ring

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"surety/base/clock"
	"surety/base/errs"
)

func addr(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

func TestNamesLapse(t *testing.T) {
	r := newRing(t, MinSize)
	v6 := netip.MustParseAddr("2001:db8::1")
	long := strings.Repeat("n", MaxName)
	for _, set := range []struct {
		addr netip.Addr
		name string
	}{{addr(1), "a.example"}, {v6, long}, {addr(1), "b.example"}} {
		if err := r.SetName(set.addr, set.name, 100); err != nil {
			t.Fatal(err)
		}
	}
	mapped := netip.AddrFrom16(addr(1).As16()) // ::ffff:10.0.0.1
	for _, ask := range []struct {
		addr netip.Addr
		now  clock.Instant
		want string
	}{
		{addr(1), 100, "b.example"}, {mapped, 0, "b.example"}, {v6, 99, long},
		{addr(1), 101, ""}, {addr(2), 0, ""}, {netip.Addr{}, 0, ""},
	} {
		if got := r.NameOf(ask.addr, ask.now); got != ask.want {
			t.Errorf("%v at %d: %q, want %q", ask.addr, ask.now, got, ask.want)
		}
	}
}

func TestNamesAreChecked(t *testing.T) {
	r := newRing(t, MinSize)
	for name, err := range map[string]error{
		"no address": r.SetName(netip.Addr{}, "a", 1),
		"no name":    r.SetName(addr(1), "", 1),
		"long name":  r.SetName(addr(1), strings.Repeat("n", MaxName+1), 1),
	} {
		if !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheNameThatLapsesFirstMakesRoom(t *testing.T) {
	r := newRing(t, MinSize)
	for n := range MaxNames {
		if err := r.SetName(addr(n), fmt.Sprint(n), clock.Instant(1000+(n+5)%MaxNames)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.SetName(addr(5000), "new", 9000); err != nil {
		t.Fatal(err)
	}
	const first = MaxNames - 5 // lapses at 1000
	for n := range MaxNames {
		want := fmt.Sprint(n)
		if n == first {
			want = ""
		}
		if got := r.NameOf(addr(n), 0); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	if got := r.NameOf(addr(5000), 0); got != "new" {
		t.Errorf("new: %q", got)
	}
}

// TestNamesAgainstAMap compares the table with a map, below the number at which it forgets.
func TestNamesAgainstAMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRing(t, MinSize)
		type entry struct {
			name  string
			until clock.Instant
		}
		twin := map[netip.Addr]entry{}
		for range rapid.IntRange(1, 300).Draw(rt, "steps") {
			to := addr(rapid.IntRange(0, 400).Draw(rt, "addr"))
			now := clock.Instant(rapid.IntRange(0, 10).Draw(rt, "now"))
			if rapid.Bool().Draw(rt, "set") {
				name := rapid.StringMatching(`[a-z]{1,20}`).Draw(rt, "name")
				if err := r.SetName(to, name, now); err != nil {
					rt.Fatal(err)
				}
				twin[to] = entry{name, now}
				continue
			}
			want := ""
			if e, ok := twin[to]; ok && now <= e.until {
				want = e.name
			}
			if got := r.NameOf(to, now); got != want {
				rt.Fatalf("%v at %d: %q, want %q", to, now, got, want)
			}
		}
	})
}

func TestNamesAreNeverMixed(t *testing.T) {
	r := newRing(t, MinSize)
	names := []string{strings.Repeat("a", 5), strings.Repeat("b", MaxName), strings.Repeat("c", 64)}
	var writers sync.WaitGroup
	for w := range 2 {
		writers.Go(func() {
			for n := range 5000 {
				if err := r.SetName(addr(1), names[(n+w)%3], 9); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		got := r.NameOf(addr(1), 1)
		if got != "" && got != names[0] && got != names[1] && got != names[2] {
			t.Fatalf("mixed: %q", got)
		}
	}
}

func BenchmarkNameOf(b *testing.B) {
	r := newRing(b, MinSize)
	for n := range MaxNames {
		if err := r.SetName(addr(n), "name.example", 9); err != nil {
			b.Fatal(err)
		}
	}
	for name, to := range map[string]netip.Addr{"hit": addr(77), "miss in a full table": addr(7777)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				r.NameOf(to, 1)
			}
		})
	}
}
