package oci

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/containerd/containerd/api/services/ttrpc/events/v1"
	apitypes "github.com/containerd/containerd/api/types"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"surety/base/clock"
	"surety/sys/wallclock"
)

const (
	// maxEvents bounds the events that wait for a containerd that is away: more than a pod's life has.
	maxEvents = 1024
	// maxTries bounds how often an event is sent, tryPause apart: containerd's restart takes seconds.
	maxTries = 20
	tryPause = time.Second
	// sendPatience is how long one sending may take.
	sendPatience = 5 * time.Second
)

// publisher sends events to containerd, in order.
type publisher struct {
	address   string // of containerd's socket; "" sends nowhere
	namespace string
	log       *slog.Logger
	clock     wallclock.Clock

	queue  chan *apitypes.Envelope
	idle   chan struct{}
	client *ttrpc.Client
}

// open begins to send.
func (p *publisher) open(ctx context.Context) {
	p.queue, p.idle = make(chan *apitypes.Envelope, maxEvents), make(chan struct{})
	go p.work(ctx)
}

// publish queues one event. A full queue drops it, which is logged: containerd has been away for
// longer than events are of use to it.
func (p *publisher) publish(topic string, event proto.Message) {
	value, err := proto.Marshal(event)
	if err != nil {
		p.log.Error("encode event", "topic", topic, "error", err)
		return
	}
	e := &apitypes.Envelope{Timestamp: timestamppb.New(timeOf(p.clock.Now())),
		Namespace: p.namespace, Topic: topic,
		Event: &anypb.Any{TypeUrl: string(event.ProtoReflect().Descriptor().FullName()), Value: value}}
	select {
	case p.queue <- e:
	default:
		p.log.Warn("event dropped", "topic", topic)
	}
}

// close sends what is queued and returns. Nothing may be published after it.
func (p *publisher) close() {
	close(p.queue)
	<-p.idle
}

func (p *publisher) work(ctx context.Context) {
	defer close(p.idle)
	for e := range p.queue {
		if p.address == "" {
			continue
		}
		for try := 1; ; try++ {
			err := p.send(ctx, e)
			if err == nil {
				break
			}
			if try == maxTries || ctx.Err() != nil {
				p.log.Warn("event not sent", "topic", e.Topic, "error", err)
				break
			}
			timer := p.clock.NewTimer(clock.Duration(tryPause))
			select {
			case <-ctx.Done():
			case <-timer.C():
			}
			timer.Stop()
		}
	}
	if p.client != nil {
		_ = p.client.Close()
	}
}

func (p *publisher) send(ctx context.Context, e *apitypes.Envelope) error {
	ctx, cancel := context.WithTimeout(ctx, sendPatience)
	defer cancel()
	if p.client == nil {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", p.address)
		if err != nil {
			return err
		}
		p.client = ttrpc.NewClient(conn)
	}
	_, err := events.NewEventsClient(p.client).Forward(ctx, &events.ForwardRequest{Envelope: e})
	if err != nil {
		_ = p.client.Close()
		p.client = nil
	}
	return err
}
