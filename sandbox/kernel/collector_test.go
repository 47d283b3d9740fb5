//go:build amd64

package kernel_test

import (
	"bytes"
	"fmt"
	"time"

	"surety/sandbox"
	"surety/sandbox/ring"
)

// drain ends the collector once the ring is empty.
func (b *box) drain() {
	select {
	case <-b.stop:
	default:
		close(b.stop)
		<-b.stopped
		b.waits = b.ring.Counts().Waits
		b.ring.Close()
	}
	if b.broken != nil {
		b.t.Errorf("trail: %v", b.broken)
	}
}

// collect reads the ring until stop is closed and nothing is left.
func (b *box) collect(pause time.Duration) {
	defer close(b.stopped)
	from := ring.NewConsumer(b.ring)
	for {
		stopping := false
		select {
		case <-b.stop:
			stopping = true
		default:
		}
		data, err := from.Next(20 * time.Millisecond)
		if err != nil {
			b.broken = err
			return
		}
		if len(data) == 0 && stopping {
			return
		}
		b.take(data)
		if pause > 0 {
			<-time.After(pause)
		}
		from.Advance(len(data))
	}
}

func (b *box) take(data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(data) > 0 {
		r, n, err := sandbox.DecodeRecord(data)
		if err != nil {
			b.broken = err
			return
		}
		head := b.chain.Add(data[:n])
		if !bytes.Equal(head[:], data[n:n+32]) || r.Seq != b.chain.Seq {
			b.broken = fmt.Errorf("record %d breaks the chain", r.Seq)
		}
		b.records = append(b.records, r)
		data = data[n+32:]
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

// all returns the records so far.
func (b *box) all() []sandbox.Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]sandbox.Record(nil), b.records...)
}

// await returns the first record that matches, once it is there.
func (b *box) await(match func(*sandbox.Record) bool) sandbox.Record {
	b.t.Helper()
	late := time.After(30 * time.Second)
	for {
		b.mu.Lock()
		changed := b.changed
		b.mu.Unlock()
		for _, r := range b.all() {
			if match(&r) {
				return r
			}
		}
		select {
		case <-changed:
		case <-late:
			b.t.Fatalf("no such record; have %v; output %q", kinds(b.all()), b.output())
		}
	}
}

func kinds(records []sandbox.Record) []string {
	var out []string
	for _, r := range records {
		out = append(out, fmt.Sprintf("%d:%v %v %s %s", r.Seq, r.Kind, r.Verdict, r.Path, r.Text))
	}
	return out
}
