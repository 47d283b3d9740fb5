package broker_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"pgregory.net/rapid"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/client"
)

// leaseModel is what one state's leases come to, said slowly: who holds it, how long by the broker's
// account and by the holder's, and what was committed.
type leaseModel struct {
	holder *heldLease
	until  clock.Instant // by the broker
	epoch  uint64
	root   enclave.Digest
	svn    uint64 // of the last commit
}

// heldLease is one that was given out at some time.
type heldLease struct {
	lease *client.Lease
	svn   uint64
	until clock.Instant // by its holder, who does not renew
	epoch uint64        // that its holder knows of
}

// TestLeaseModel opens, commits, closes, lets time pass and restarts the broker at random, with guests
// of several versions that never renew: all that is answered is what the model says.
func TestLeaseModel(t *testing.T) {
	w := newWorld(t)
	p := w.machine.policy()
	p.Signers[0].MinSVN = 0
	w.withStates("bank", p)
	cut := &cutTransport{next: http.DefaultTransport}
	cut.off("renew")
	sessions := map[uint64]*client.Session{}
	for svn := uint64(1); svn <= 3; svn++ {
		c, err := client.New(client.Config{URL: w.server.URL, Key: w.broker.Key(), Clock: w.clock,
			Attester: newBuild(t, w.machine, signerKey, version(svn)), Transport: cut})
		if err != nil {
			t.Fatal(err)
		}
		if sessions[svn], err = c.Attest(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		run++
		m := &leaseModel{}
		var all []*heldLease
		state := client.StateRequest{Instance: fmt.Sprintf("run%d", run), Name: "books"}
		defer func() {
			for _, l := range all {
				_ = l.lease.Close(context.Background()) // those that were lost are closed already
			}
		}()
		r.Repeat(map[string]func(*rapid.T){
			"open": func(r *rapid.T) {
				svn := rapid.Uint64Range(1, 3).Draw(r, "svn")
				if l := m.open(r, w, sessions[svn], state, svn); l != nil {
					all = append(all, l)
				}
			},
			"commit": func(r *rapid.T) {
				if len(all) > 0 {
					m.commit(r, w, rapid.SampledFrom(all).Draw(r, "lease"), rapid.Byte().Draw(r, "root"))
				}
			},
			"close": func(r *rapid.T) {
				if len(all) > 0 {
					m.close(r, w, rapid.SampledFrom(all).Draw(r, "lease"))
				}
			},
			"wait": func(r *rapid.T) {
				w.clock.Advance(clock.Duration(rapid.IntRange(1, 20).Draw(r, "seconds")) * second)
			},
			"restart": func(*rapid.T) {
				w.restart()
				m.until = max(m.until, w.clock.Now().Add(client.LeaseTime))
			},
		})
	})
}

func (m *leaseModel) open(r *rapid.T, w *world, s *client.Session, state client.StateRequest,
	svn uint64) *heldLease {
	lease, err := s.OpenState(context.Background(), state)
	now := w.clock.Now()
	switch {
	case m.epoch > 0 && svn < m.svn:
		refusedTo(r, err, errs.Forbidden)
		return nil
	case m.holder != nil && now < m.until:
		refusedTo(r, err, errs.Locked)
		return nil
	case err != nil:
		r.Fatalf("open: %v", err)
	}
	if epoch, root := lease.Last(); epoch != m.epoch || root != m.root {
		r.Fatalf("opened at %d %s, want %d %s", epoch, root.Short(), m.epoch, m.root.Short())
	}
	for _, key := range lease.Keys() {
		if key.SVN > svn {
			r.Fatalf("version %d has a key of version %d", svn, key.SVN)
		}
	}
	m.until = now.Add(client.LeaseTime)
	m.holder = &heldLease{lease: lease, svn: svn, until: m.until, epoch: m.epoch}
	return m.holder
}

func (m *leaseModel) commit(r *rapid.T, w *world, l *heldLease, root byte) {
	now := w.clock.Now()
	err := l.lease.Commit(context.Background(), l.epoch+1, enclave.Digest{root})
	if l != m.holder || now >= l.until || now >= m.until {
		refusedTo(r, err, errs.Locked)
		return
	}
	if err != nil {
		r.Fatalf("commit: %v", err)
	}
	m.epoch, m.root, m.svn = m.epoch+1, enclave.Digest{root}, l.svn
	l.epoch, m.until = m.epoch, now.Add(client.LeaseTime)
	l.until = m.until
}

// close gives the lease back where it is still there by both accounts; a holder who knows that he
// lost it says nothing.
func (m *leaseModel) close(r *rapid.T, w *world, l *heldLease) {
	now := w.clock.Now()
	if err := l.lease.Close(context.Background()); err != nil {
		r.Fatalf("close: %v", err)
	}
	if l == m.holder && now < l.until && now < m.until {
		m.holder = nil
	}
	l.until = min(l.until, now)
}

func refusedTo(r *rapid.T, err error, kind errs.Kind) {
	if !errs.Is(err, kind) {
		r.Fatalf("want kind %s, got %v", kind, err)
	}
}
