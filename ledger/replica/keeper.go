package replica

import (
	"sync/atomic"

	"surety/base/errs"
	"surety/ledger/journal"
)

// keeper is what the keeper goroutine is asked to do: to raise the journal's floor once a second
// while there are commits, and to write the snapshots that the writer has taken.
type keeper struct {
	armed chan struct{} // a commit came and the floor is not yet promised
	shots chan shot
	dirty atomic.Bool  // armed was sent and the floor not raised since
	bytes atomic.Int64 // of journal since the last snapshot
	after atomic.Int64 // bytes at which the next one is wanted
	busy  atomic.Bool  // a snapshot is wanted or being written
	want  atomic.Bool
}

// shot is a snapshot taken, and the durable place it belongs to.
type shot struct {
	capture  *capture
	position journal.Position
}

func (k *keeper) init() {
	k.armed = make(chan struct{}, 1)
	k.shots = make(chan shot, 1)
}

// committed counts a group.
func (k *keeper) committed(bytes int64) {
	if k.dirty.CompareAndSwap(false, true) {
		k.armed <- struct{}{} // has room: it is empty whenever dirty is false
	}
	if k.bytes.Add(bytes) >= k.after.Load() && k.busy.CompareAndSwap(false, true) {
		k.want.Store(true)
	}
}

// wants reports, once, that the writer is to take a snapshot.
func (k *keeper) wants() bool { return k.want.Load() && k.want.CompareAndSwap(true, false) }

// captured hands over a snapshot; at most one is under way.
func (k *keeper) captured(c *capture, at journal.Position) {
	k.bytes.Store(0)
	k.shots <- shot{c, at}
}

// rest says how much journal the next snapshot waits for.
func (r *Replica) rest() {
	after := r.config.SnapshotBytes
	if snapshots := r.journal.Snapshots(); len(snapshots) > 0 {
		after = max(after, 2*snapshots[0].Size) // the work of snapshots stays below that of batches
	}
	r.keeper.after.Store(after)
	r.keeper.busy.Store(false)
}

// keep is the keeper.
func (r *Replica) keep() {
	var floor alarm
	defer floor.stop()
	for {
		select {
		case <-r.keeper.armed:
			floor.set(r.clock, r.clock.Now().Add(markEvery))
		case <-floor.fired():
			floor.stop()
			r.keeper.dirty.Store(false)
			if err := r.journal.Mark(); err != nil {
				r.durable.fail(err)
			}
		case s := <-r.keeper.shots:
			err := r.saveSnapshot(s.capture, s.position, r.quit)
			if err != nil && !errs.Is(err, errs.Unavailable) { // not when closing
				r.log.Warn("ledger: no snapshot was written, a later one will be", "error", err)
			}
			r.rest()
		case <-r.quit:
			return
		}
	}
}
