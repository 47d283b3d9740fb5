//go:build e2e

package e2e

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// TestHangUp has clients that go away in the middle of their calls. What they had asked for is done
// or not done, never half: asked again under the same key, in the same process, they get a final
// answer, and everything has happened once.
func TestHangUp(t *testing.T) {
	seed := testSeed(t)
	j := newJournal(t, seed)
	n := startNode(t, t.TempDir(), "--rate", "0")
	openCrashAccounts(t, n)
	for range 20 { // some loans, to repay
		if err := j.submit(t.Context(), n, j.take()); err != nil {
			t.Fatal(err)
		}
	}
	var group sync.WaitGroup
	for worker := range crashWorkers {
		random := rand.New(rand.NewPCG(seed, uint64(worker)))
		group.Go(func() {
			for range 40 {
				j.hangUp(t, n, random)
			}
		})
	}
	group.Wait()
	if len(j.doubt) == 0 || len(j.repaying) == 0 {
		t.Error("nobody hung up in time: the test proves nothing")
	}
	j.verify(t, n, len(j.told))
	if t.Failed() {
		t.Logf("the node:\n%s", n.output)
	}
}

// hangUp makes one call and goes away within a few milliseconds; what is answered in time is noted.
func (j *journal) hangUp(t *testing.T, n *node, random *rand.Rand) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(12_000))*time.Microsecond)
	defer cancel()
	// The error is not looked at: a call that was cut off stays in doubt, whatever it says.
	switch random.IntN(4) {
	case 0:
		_ = j.move(ctx, n, random)
	case 1:
		_ = j.repay(ctx, n, random)
	default:
		_ = j.submit(ctx, n, j.take())
	}
}
