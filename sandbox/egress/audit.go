package egress

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"surety/base/clock"
	"surety/sandbox"
	"surety/sys/wallclock"
)

// audit makes the records of what happens out here.
type audit struct {
	observe func(*sandbox.Record) // may be nil
	clock   wallclock.Clock

	refused, lookups atomic.Uint64

	mu      sync.Mutex
	second  clock.Instant // start of the second that written counts
	written int
	unsaid  uint64 // refusals since the last that was written
}

const noSyscall = 0xffff // Record.Sysno of a record that no system call made

// refuse records a connection or datagram that did not pass. Above refusalsPerSecond a second they
// are only counted, and the next record says how many.
func (a *audit) refuse(proto sandbox.Proto, to netip.AddrPort, name string, r ruling) {
	a.refused.Add(1)
	if a.observe == nil {
		return
	}
	now := a.clock.Now()
	unsaid, say := a.room(now)
	if !say {
		return
	}
	record := &sandbox.Record{At: now, Kind: sandbox.KindConnect, Verdict: sandbox.Refused,
		Rule: r.decision.Rule, Errno: r.decision.Errno, Outside: true, Sysno: noSyscall, Addr: to,
		Proto: proto, Path: name, Text: "gateway: " + r.refused}
	if proto == sandbox.UDP {
		record.Kind = sandbox.KindSend
	}
	if unsaid > 0 {
		record.Text += fmt.Sprintf("; %d refusals before it were not recorded singly", unsaid)
	}
	a.observe(record)
}

// room says whether one more refusal may be recorded in this second, and how many were not.
func (a *audit) room(now clock.Instant) (unsaid uint64, say bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.second) >= clock.Second {
		a.second, a.written = now, 0
	}
	if a.written >= refusalsPerSecond {
		a.unsaid++
		return 0, false
	}
	unsaid, a.unsaid = a.unsaid, 0
	a.written++
	return unsaid, true
}

// named records that a name was asked for, and what came of it.
func (a *audit) named(name, outcome string, first netip.Addr, d sandbox.Decision) {
	a.lookups.Add(1)
	if d.Verdict == sandbox.Refused {
		a.refused.Add(1)
	}
	if a.observe == nil {
		return
	}
	record := &sandbox.Record{At: a.clock.Now(), Kind: sandbox.KindName, Verdict: d.Verdict,
		Rule: d.Rule, Errno: d.Errno, Outside: true, Sysno: noSyscall, Path: name, Text: outcome}
	if first.IsValid() {
		record.Addr = netip.AddrPortFrom(first, 0)
	}
	a.observe(record)
}
