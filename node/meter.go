package node

import (
	"sync"

	"surety/base/clock"
	"surety/sys/telemetry"
	"surety/sys/wallclock"
)

// rateSeconds is how many seconds of the rate of applications the board shows.
const rateSeconds = 60

// meter measures what the node does for the board and for Prometheus.
type meter struct {
	clock   wallclock.Clock
	decided *telemetry.Latency
	paid    *telemetry.Latency
	count   telemetry.Counter

	mu     sync.Mutex
	counts [rateSeconds + 1]int32 // decided in each second, the present one included
	second int64                  // since 1970, of the newest count
}

func newMeter(clock wallclock.Clock, registry *telemetry.Registry) *meter {
	return &meter{clock: clock,
		decided: registry.Latency("surety_lending_decision_duration_seconds",
			"from an application's receipt to its durable decision"),
		paid: registry.Latency("surety_lending_payment_duration_seconds",
			"from an application's receipt to money in the customer's account"),
		count: registry.Counter("surety_lending_applications_decided_total",
			"applications decided since the process began")}
}

// decide counts one decision.
func (m *meter) decide(took clock.Duration) {
	m.decided.Observe(took)
	m.count.Inc()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn()
	m.counts[m.second%int64(len(m.counts))]++
}

// pay counts one payment.
func (m *meter) pay(took clock.Duration) { m.paid.Observe(took) }

// turn empties the seconds that have passed since the last count; m.mu is held.
func (m *meter) turn() {
	now := int64(m.clock.Now()) / int64(clock.Second)
	if now-m.second > int64(len(m.counts)) {
		m.second = now - int64(len(m.counts))
	}
	for m.second < now {
		m.second++
		m.counts[m.second%int64(len(m.counts))] = 0
	}
}

// rate returns the decisions in each of the last 60 full seconds, the oldest first.
func (m *meter) rate() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn()
	history := make([]int32, rateSeconds)
	for i := range history {
		at := m.second - rateSeconds + int64(i)
		history[i] = m.counts[at%int64(len(m.counts))]
	}
	return history
}
