package broker

import "context"

// relay copies the broker's records into the evidence log, each once: the log itself says how far
// it has got, so a crash on either side loses and repeats nothing.
type relay struct {
	broker *Broker
	wake   chan struct{} // holds one: something was recorded since
	stop   context.CancelFunc
	done   chan struct{}
}

// startRelay begins with what an earlier process left.
func startRelay(b *Broker) *relay {
	ctx, stop := context.WithCancel(context.Background())
	r := &relay{broker: b, wake: make(chan struct{}, 1), stop: stop, done: make(chan struct{})}
	go r.run(ctx)
	return r
}

func (r *relay) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// close ends the relay. What it has not copied is copied after the next Open.
func (r *relay) close() {
	r.stop()
	<-r.done
}

func (r *relay) run(ctx context.Context) {
	defer close(r.done)
	for ctx.Err() == nil {
		if err := r.pass(ctx); err != nil && ctx.Err() == nil {
			r.broker.deps.Log.Error("the evidence log is behind", "source", Source, "error", err)
			r.pause(ctx)
			continue
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
		}
	}
}

func (r *relay) pause(ctx context.Context) {
	timer := r.broker.deps.Clock.NewTimer(relayRetry)
	select {
	case <-timer.C():
	case <-ctx.Done():
		timer.Stop()
	}
}

// pass copies what there is.
func (r *relay) pass(ctx context.Context) error {
	log := r.broker.deps.Evidence
	after, err := log.LastSeq(Source)
	if err != nil {
		return err
	}
	for {
		entries, err := r.broker.entries(ctx, after)
		if err != nil || len(entries) == 0 {
			return err
		}
		if err := log.Append(ctx, entries...); err != nil {
			return err
		}
		after = entries[len(entries)-1].SourceSeq
	}
}
