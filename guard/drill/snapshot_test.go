package drill

import (
	"bytes"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/guard"
)

// reopened saves a checker and returns it restored.
func reopened(t *testing.T, c *guard.Checker, now clock.Instant) *guard.Checker {
	t.Helper()
	var saved bytes.Buffer
	if err := c.WriteSnapshot(&saved); err != nil {
		t.Fatal(err)
	}
	back, err := guard.ReadSnapshot(bytes.NewReader(saved.Bytes()), guard.Limits{}, now)
	if err != nil {
		t.Fatal(err)
	}
	return back
}

func TestSnapshotIsExact(t *testing.T) {
	r := recordRun(t, 5, 3000)
	c := guard.New(guard.Limits{})
	now := clock.MustDate(2026, 1, 2).Instant()
	for _, in := range deliver(r.events[:2000], r.entries[:3500], nil) {
		in.Now = now
		c.Step(&in)
	}
	var first, second bytes.Buffer
	if err := c.WriteSnapshot(&first); err != nil {
		t.Fatal(err)
	}
	back, err := guard.ReadSnapshot(bytes.NewReader(first.Bytes()), guard.Limits{}, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := back.WriteSnapshot(&second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("a restored checker saves %d bytes that differ from the %d it came from",
			second.Len(), first.Len())
	}
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	r := recordRun(t, 6, 300)
	c := guard.New(guard.Limits{})
	for _, in := range deliver(r.events, r.entries, nil) {
		c.Step(&in)
	}
	var saved bytes.Buffer
	if err := c.WriteSnapshot(&saved); err != nil {
		t.Fatal(err)
	}
	whole := saved.Bytes()
	for at := 0; at < len(whole); at += 1 + len(whole)/400 {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 4
		for _, data := range [][]byte{damaged, whole[:at]} {
			_, err := guard.ReadSnapshot(bytes.NewReader(data), guard.Limits{}, 0)
			if !errs.Is(err, errs.Corrupt) {
				t.Fatalf("damage at byte %d: %v, want kind corrupt", at, err)
			}
		}
	}
}
