package drill

import (
	"surety/base/clock"
	"testing"
)

func TestLenderKinds(t *testing.T) {
	l := NewLender(3, "k", clock.MustDate(2023, 12, 20), 4)
	n := map[string]int{}
	for range 60000 {
		a := l.Next()
		n[a.Event.Kind]++
	}
	t.Log(n, l.Today())
}
