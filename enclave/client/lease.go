package client

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
)

// StateRequest names a sealed state.
type StateRequest struct {
	Tenant   string // whose policy admits it, as a resource's repository; "": the only one that does
	Instance string // of the enclave: one instance has one state of a name
	Name     string
}

// StateKey is a state's key for one SVN.
type StateKey struct {
	SVN uint64
	Key [32]byte
}

// stateKeyJSON is its form on the way: an array of bytes would be a list of numbers.
type stateKeyJSON struct {
	SVN uint64 `json:"svn"`
	Key []byte `json:"key"`
}

// MarshalJSON gives the form that a grant carries. It is a secret: grants are sealed.
func (k StateKey) MarshalJSON() ([]byte, error) {
	return json.Marshal(stateKeyJSON{k.SVN, k.Key[:]})
}

// UnmarshalJSON reads what MarshalJSON gives.
func (k *StateKey) UnmarshalJSON(data []byte) error {
	var form stateKeyJSON
	if err := json.Unmarshal(data, &form); err != nil {
		return err
	}
	if len(form.Key) != len(k.Key) {
		return errs.New(errs.Invalid, "client.state: a key of %d bytes", len(form.Key))
	}
	k.SVN, k.Key = form.SVN, [32]byte(form.Key)
	return nil
}

// Lease is the right to write one state, and what the broker remembers of it. It is lost when it
// could not be renewed for LeaseTime, or when the broker says so.
type Lease struct {
	session *Session
	grant   StateGrant
	stop    context.CancelFunc
	stopped chan struct{}

	acts sync.Mutex // held by the one request under way; taken before mu

	mu    sync.Mutex
	epoch uint64
	root  enclave.Digest
	until clock.Instant // it is ours so long, whatever else happens
	count uint64        // of renewals
	lost  error
}

// OpenState leases a state: nobody else has it until the lease is closed or lapses. Kind Locked
// where somebody has, Forbidden with the broker's reason.
func (s *Session) OpenState(ctx context.Context, r StateRequest) (*Lease, error) {
	open := StateOpen(r)
	var asked clock.Instant
	body, _, err := s.ask(ctx, open.Resource(), func(p *proof, request string, into *Sealed) error {
		asked = s.client.config.Clock.Now()
		_, err := s.client.post(ctx, PathState+"open", p.cookie, request, open, into)
		return err
	})
	if err != nil {
		return nil, errs.Wrap(err, "client.state: %s of %s", r.Name, r.Instance)
	}
	l := &Lease{session: s, stopped: make(chan struct{})}
	if err := json.Unmarshal(body, &l.grant); err != nil || len(l.grant.Keys) == 0 {
		return nil, errs.New(errs.Invalid, "client.state: broker %s: its grant cannot be read",
			s.client.base)
	}
	l.epoch, l.root, l.until = l.grant.Epoch, l.grant.Root, asked.Add(leaseTime(l.grant.Millis))
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	go l.keep(running)
	return l, nil
}

// Keys are those of this enclave's SVN and every older one that has been used, the newest first.
func (l *Lease) Keys() []StateKey { return slices.Clone(l.grant.Keys) }

// Last is the epoch and root of the last commit; zero before the first.
func (l *Lease) Last() (epoch uint64, root enclave.Digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch, l.root
}

// Commit tells the broker that the state is now at the epoch, which must be one more than the last,
// with the root. It returns once the broker has it for good. A lease that was lost is kind Locked:
// nothing more may be written. Of kind Unavailable it is not known whether the broker has it: the
// same commit may be repeated, and no other takes its place.
func (l *Lease) Commit(ctx context.Context, epoch uint64, root enclave.Digest) error {
	l.acts.Lock()
	defer l.acts.Unlock()
	if last, _ := l.Last(); epoch != last+1 {
		return errs.New(errs.Invalid, "client.commit: epoch %d after %d", epoch, last)
	}
	if err := l.say(ctx, ActCommit, epoch, root); err != nil {
		return errs.Wrap(err, "client.commit: epoch %d", epoch)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch, l.root = epoch, root
	return nil
}

// Close gives the lease back. It is renewed meanwhile by a goroutine that Close ends. Closing a lost
// lease, or closing twice, does nothing.
func (l *Lease) Close(ctx context.Context) error {
	l.stop()
	<-l.stopped
	l.acts.Lock()
	defer l.acts.Unlock()
	if l.gone() != nil {
		return nil
	}
	err := l.say(ctx, ActClose, 0, enclave.Digest{})
	if err == nil || errs.Is(err, errs.Locked) { // Locked: gone already, or an answer that was lost
		l.lose(errs.New(errs.Locked, "the lease was closed"))
		return nil
	}
	return errs.Wrap(err, "client.close")
}

// Lost returns why the lease is no longer ours; nil while it is.
func (l *Lease) Lost() error { return l.gone() }

// gone notices as well that it has lapsed.
func (l *Lease) gone() error {
	now := l.session.client.config.Clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost == nil && now >= l.until {
		l.lost = errs.New(errs.Locked, "the lease lapsed: broker %s could not be asked to renew it",
			l.session.client.base)
	}
	return l.lost
}

func (l *Lease) lose(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost == nil {
		l.lost = err
	}
}

// say tells the broker one thing about the lease and waits for its authentic answer; l.acts is held,
// or the lease's goroutine is the caller.
func (l *Lease) say(ctx context.Context, act string, count uint64, root enclave.Digest) error {
	c := l.session.client
	message := LeaseMessage{Lease: l.grant.Lease, Fence: l.grant.Fence, Count: count, Root: root}
	message.Authenticate(l.grant.MAC, act)
	return c.again(ctx, func() error {
		if err := l.gone(); err != nil {
			return err
		}
		sent := c.config.Clock.Now()
		var answer LeaseMessage
		if _, err := c.post(ctx, PathState+act, "", "", message, &answer); err != nil {
			if errs.Is(err, errs.Locked) {
				l.lose(err)
			}
			return err
		}
		if answer.Lease != message.Lease || answer.Fence != message.Fence || answer.Count != count ||
			answer.Root != root || !answer.Authentic(l.grant.MAC, ActDone+act) {
			return errs.New(errs.Forbidden, "broker %s: its answer is not authentic", c.base)
		}
		l.extend(sent)
		return nil
	})
}

// extend takes the lease as renewed at an instant that is no later than the broker's.
func (l *Lease) extend(sent clock.Instant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = max(l.until, sent.Add(leaseTime(l.grant.Millis)))
}

// keep renews the lease until it is lost or ctx ends.
func (l *Lease) keep(ctx context.Context) {
	defer close(l.stopped)
	pause := renewEvery
	for l.gone() == nil {
		timer := l.session.client.config.Clock.NewTimer(pause)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return
		}
		pause = renewEvery
		l.count++
		if err := l.say(ctx, ActRenew, l.count, enclave.Digest{}); err != nil {
			pause = renewAgain
		}
	}
}
