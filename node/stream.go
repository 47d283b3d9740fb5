package node

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"google.golang.org/protobuf/encoding/protojson"

	nodev1 "surety/api/node/v1"
	"surety/base/clock"
	"surety/base/errs"
	"surety/sys/edge"
	"surety/sys/wallclock"
)

const (
	// streamPeriod is how often the board is pushed: people read it, so a second is soon enough.
	streamPeriod = clock.Second
	// streamsMax bounds the open streams, so that forgotten browser tabs cannot use up the node.
	streamsMax = 64
)

// stream pushes the board as server-sent events. One board is made for all who watch, and none
// while nobody does.
type stream struct {
	clock wallclock.Clock
	log   *slog.Logger
	board func(context.Context) *nodev1.Board

	mu       sync.Mutex
	watchers map[chan []byte]struct{}
	arrived  chan struct{} // signals run that somebody watches
}

func newStream(clock wallclock.Clock, log *slog.Logger,
	board func(context.Context) *nodev1.Board) *stream {
	return &stream{clock: clock, log: log, board: board, watchers: make(map[chan []byte]struct{}),
		arrived: make(chan struct{}, 1)}
}

// run makes and pushes boards until ctx ends.
func (s *stream) run(ctx context.Context) {
	for ctx.Err() == nil {
		if s.count() == 0 {
			select {
			case <-s.arrived:
			case <-ctx.Done():
				return
			}
		}
		s.push(s.encode(ctx))
		timer := s.clock.NewTimer(streamPeriod)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (s *stream) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.watchers)
}

func (s *stream) encode(ctx context.Context) []byte {
	data, err := protojson.Marshal(s.board(ctx))
	if err != nil {
		return []byte("{}")
	}
	return data
}

// push gives the board to every watcher; one that has not taken the last board misses this one.
func (s *stream) push(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for watcher := range s.watchers {
		select {
		case watcher <- data:
		default:
		}
	}
}

func (s *stream) join() (chan []byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.watchers) >= streamsMax {
		return nil, errs.New(errs.Busy, "node.stream: %d streams are open, the limit is %d",
			len(s.watchers), streamsMax)
	}
	watcher := make(chan []byte, 1)
	s.watchers[watcher] = struct{}{}
	select {
	case s.arrived <- struct{}{}:
	default:
	}
	return watcher, nil
}

func (s *stream) leave(watcher chan []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watchers, watcher)
}

// serve answers one watcher until it goes away or closing is closed.
func (s *stream) serve(closing <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		watcher, err := s.join()
		if err != nil {
			edge.WriteError(w, r, s.log, err)
			return
		}
		defer s.leave(watcher)
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-store")
		control := http.NewResponseController(w)
		for {
			select {
			case data := <-watcher:
				if _, err := fmt.Fprintf(w, "event: board\ndata: %s\n\n", data); err != nil {
					return
				}
				if err := control.Flush(); err != nil {
					return
				}
			case <-r.Context().Done():
				return
			case <-closing:
				return
			}
		}
	}
}
