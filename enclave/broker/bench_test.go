package broker_test

import (
	"context"
	"testing"

	"surety/enclave/client"
	"surety/sys/wallclock"
)

// BenchmarkRelease is one secret for a guest that just started: challenge, evidence, appraisal,
// release, over loopback HTTP, with every record synced.
func BenchmarkRelease(b *testing.B) {
	w := newWorld(b)
	w.put("bank", "key", "model", "a key of thirty-two bytes, or so", w.machine.policy())
	build := newBuild(b, w.machine, signerKey, nil)
	c, err := client.New(client.Config{URL: w.server.URL, Key: w.broker.Key(), Attester: build,
		Clock: w.clock})
	if err != nil {
		b.Fatal(err)
	}
	var laps []float64
	clock := wallclock.System()
	for b.Loop() {
		begun := clock.Now()
		s, err := c.Attest(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Release(context.Background(), "bank/key/model"); err != nil {
			b.Fatal(err)
		}
		laps = append(laps, float64(clock.Now().Sub(begun))/1e6)
		w.clock.Advance(second) // sessions of old make room
	}
	report(b, laps)
}

// BenchmarkReleaseAgain is one more secret in a session that is there.
func BenchmarkReleaseAgain(b *testing.B) {
	w := newWorld(b)
	w.put("bank", "key", "model", "a key of thirty-two bytes, or so", w.machine.policy())
	build := newBuild(b, w.machine, signerKey, nil)
	s := w.attest(build)
	var laps []float64
	clock := wallclock.System()
	for b.Loop() {
		begun := clock.Now()
		if len(laps)%1000 == 999 {
			s = w.attest(build)
		}
		if _, err := s.Release(context.Background(), "bank/key/model"); err != nil {
			b.Fatal(err)
		}
		laps = append(laps, float64(clock.Now().Sub(begun))/1e6)
	}
	report(b, laps)
}
