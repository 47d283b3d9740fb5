package replica

import (
	"surety/base/clock"
	"surety/base/errs"
	"surety/base/invariant"
	"surety/ledger"
	"surety/ledger/journal"
	"surety/sys/wallclock"
)

// group is what one sync makes durable, and who waits for it.
type group struct {
	journal.Group
	requests []*request
	seq      uint64        // of its last batch
	events   uint64        // made up to there
	at       clock.Instant // of its last batch
	capture  *capture      // a snapshot taken at its end, or nil
}

func (g *group) reset() {
	g.Group.Reset()
	clear(g.requests)
	g.requests, g.capture = g.requests[:0], nil
}

// write is the writer: it takes requests as they come, and lets time pass where something is due to
// expire.
func (r *Replica) write() {
	defer close(r.pipe)
	g := <-r.spare
	var alarm alarm
	defer alarm.stop()
	var patience clock.Instant // no pulse is tried before
	for {
		due := r.state.PulseDue()
		if due != 0 {
			due = max(due, patience)
		}
		alarm.set(r.clock, due)
		select {
		case q := <-r.queue:
			g = r.take(g, q)
		case <-alarm.fired():
			alarm.stop()
			if g = r.pulse(g); g.Len() == 0 {
				patience = r.clock.Now().Add(clock.Second) // no room, or the disk is gone
			}
		case <-r.quit:
			r.refuseQueued()
			return
		}
		g = r.gather(g)
	}
}

// gather adds what is waiting to the group until the committer is free, and hands it over.
func (r *Replica) gather(g *group) *group {
	for g.Len() > 0 {
		select {
		case q := <-r.queue:
			g = r.take(g, q)
			continue
		default:
		}
		select {
		case q := <-r.queue:
			g = r.take(g, q)
		case <-r.ready:
			return r.send(g)
		}
	}
	return g
}

// handOver waits for the committer, gives it the group and returns an empty one.
func (r *Replica) handOver(g *group) *group {
	<-r.ready
	return r.send(g)
}

// send ends the group; the committer's token has been taken. A small group that nobody queues
// behind is committed here and now.
func (r *Replica) send(g *group) *group {
	r.journal.Seal(&g.Group)
	if r.keeper.wants() {
		g.capture = r.capture()
	}
	if g.Bytes() <= inlineBytes && len(r.queue) == 0 {
		r.commit(g)
		r.ready <- struct{}{}
		return g
	}
	r.pipe <- g
	return <-r.spare
}

// take applies a request and adds it to the group, or refuses it. It returns the group to go on
// with: another one where this one was full.
func (r *Replica) take(g *group, q *request) *group {
	if !q.owner.CompareAndSwap(ownedByQueue, ownedByWriter) {
		return g // its caller went away
	}
	g, err := r.admit(g, q)
	if err != nil {
		q.finish(err)
		return g
	}
	r.apply(g, q)
	return g
}

// admit makes sure, before anything is changed, that the request has room everywhere.
func (r *Replica) admit(g *group, q *request) (*group, error) {
	if err := r.state.Room(q.operation, q.count); err != nil {
		r.refuse(err)
		return g, err
	}
	if q.operation == ledger.OperationNames {
		if err := r.names.check(q.names); err != nil {
			return g, err
		}
	}
	for {
		fits, err := r.journal.Admit(&g.Group, q.bound())
		if err != nil {
			r.refuse(err)
			return g, err
		}
		if fits {
			r.readOnly.Store(nil)
			return g, nil
		}
		g = r.handOver(g)
	}
}

// refuse remembers why batches are refused, for Status, and says so once.
func (r *Replica) refuse(err error) {
	if !errs.Is(err, errs.NoSpace) {
		return
	}
	why := err.Error()
	if r.readOnly.Swap(&why) == nil {
		r.log.Error("ledger: no room, new batches are refused", "error", err)
	}
}

// apply changes the state by the request and adds it to the group, for which it has been admitted.
func (r *Replica) apply(g *group, q *request) {
	r.mu.Lock()
	at := r.state.NextTimestamp(r.clock.Now(), q.count)
	before := r.state.EventsLen()
	switch q.operation {
	case ledger.OperationCreateAccounts:
		q.accountResults = r.state.CreateAccounts(q.accounts, at, q.accountResults)
		q.failures = countFailures(q.accountResults)
	case ledger.OperationCreateTransfers:
		q.transferResults = r.state.CreateTransfers(q.transfers, at, q.transferResults)
		q.failures = countFailures(q.transferResults)
	case ledger.OperationFreezes:
		q.freezeResults = r.state.ApplyFreezes(q.freezes, at, q.freezeResults)
		q.failures = countFailures(q.freezeResults)
	case ledger.OperationNames:
		r.state.Pulse(at) // names are a batch like any other: time passes
		r.names.apply(q.names)
	case ledger.OperationPulse:
		r.state.Pulse(at)
	}
	events := r.state.EventsLen()
	r.applied++
	r.mu.Unlock()
	g.seq = r.journal.Add(&g.Group, journal.Entry{
		Operation: uint8(q.operation), Timestamp: at, Count: uint32(q.count),
		Results: uint32(q.failures), FirstEvent: before, Events: uint32(events - before), Body: q,
	})
	invariant.Check(g.seq == r.applied, "ledger: the journal counts otherwise than the state")
	g.events, g.at = events, at
	g.requests = append(g.requests, q)
}

// pulse lets time pass where something is due.
func (r *Replica) pulse(g *group) *group {
	due := r.state.PulseDue()
	if due == 0 || due > r.clock.Now() {
		return g
	}
	q := r.request(ledger.OperationPulse, 0)
	q.owner.Store(ownedByWriter)
	g, err := r.admit(g, q)
	if err == nil {
		r.apply(g, q)
	}
	return g
}

// refuseQueued answers what is left in the queue at the end.
func (r *Replica) refuseQueued() {
	for {
		select {
		case q := <-r.queue:
			if q.owner.CompareAndSwap(ownedByQueue, ownedByWriter) {
				q.finish(errs.New(errs.Unavailable, "the ledger is closed"))
			}
		default:
			return
		}
	}
}

// commitAll is the committer: it makes groups durable, one after the other.
func (r *Replica) commitAll() {
	for g := range r.pipe {
		r.commit(g)
		r.spare <- g
		r.ready <- struct{}{}
	}
}

// commit makes the group durable and answers those who wait for it.
func (r *Replica) commit(g *group) {
	err := r.journal.Write(&g.Group)
	if err != nil {
		r.durable.fail(err)
		r.log.Error("ledger: stopped for good, the disk failed", "error", err)
	} else {
		r.durable.advance(g.seq, g.events, g.at)
		r.keeper.committed(int64(g.Bytes()))
		if g.capture != nil {
			r.keeper.captured(g.capture, r.journal.Durable())
		}
	}
	for _, q := range g.requests {
		q.finish(err)
	}
	g.reset()
}

// alarm is a timer for the instant at which the next thing expires.
type alarm struct {
	due   clock.Instant
	timer wallclock.Timer
}

// set arranges for fired to fire at due; zero means never.
func (a *alarm) set(c wallclock.Clock, due clock.Instant) {
	if a.due == due {
		return
	}
	a.stop()
	if a.due = due; due != 0 {
		a.timer = c.NewTimer(max(0, due.Sub(c.Now())))
	}
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
	*a = alarm{}
}

func (a *alarm) fired() <-chan clock.Instant {
	if a.timer == nil {
		return nil
	}
	return a.timer.C()
}
