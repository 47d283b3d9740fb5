package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	nodev1 "surety/api/node/v1"
	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/evidence"
	"surety/evidence/tlog"
	"surety/sandbox"
	"surety/sandbox/runtime"
	"surety/sandbox/trail"
	"surety/sys/wallclock"
)

const (
	// auditPeriod is how often a sandbox's trail is looked at, and the most often that its head is
	// anchored.
	auditPeriod = clock.Second

	// anchorAtLeast is how often a head is anchored that has not moved: that it has not is worth a
	// record now and then, and none each second.
	anchorAtLeast = 30 * clock.Second

	// auditSeconds is over how long the rate of audit records is taken.
	auditSeconds = 10

	// stopAgain is how long to wait before a sandbox that could not be ended is ended again.
	stopAgain = 50 * clock.Millisecond

	// auditPatience bounds how long a sandbox may take to say how it is.
	auditPatience = 3 * time.Second
)

// kindHead is the kind of a record that anchors a trail.
const kindHead = "audit.head"

// auditHead is the payload of such a record: how far a sandbox's trail had come, under what it ran,
// and what its policy had refused by then. The first four are what `surety sandbox audit verify`
// takes as an anchor.
type auditHead struct {
	trail.Head
	Class        string `json:"class"`
	Image        string `json:"image"`
	Policy       string `json:"policy"`
	PolicyDigest string `json:"policy_digest"`
	Mode         string `json:"mode"`
	Refused      uint64 `json:"refused"`
	WouldRefuse  uint64 `json:"would_refuse"`
	Ended        bool   `json:"ended,omitempty"`
	Reason       string `json:"reason,omitempty"` // why it ended
}

// auditor watches the trails of the node's sandboxes and anchors their heads in the evidence log.
type auditor struct {
	clock wallclock.Clock
	slog  *slog.Logger
	host  *runtime.Host // nil where the node has no sandboxes; set before run, as is what follows
	log   *tlog.Log

	anchoring sync.Mutex // one record of our source after the other; taken before mu

	mu      sync.Mutex
	serving *watched        // nil where no sandbox serves
	ours    map[string]bool // ids of the sandboxes of this run of the node
}

// watched is what is known of one sandbox.
type watched struct {
	box   *runtime.Sandbox
	id    string
	trail string        // directory; empty where the sandbox does not say
	shown *started      // what it had shown as an enclave; nil where it is none
	seen  atomic.Uint64 // newest audit record known

	mu       sync.Mutex
	head     auditHead
	stats    runtime.Stats
	readAt   clock.Instant // when the head was last read; 0 for never
	fault    string        // why it could not be read the last time
	told     uint64        // refusals that were logged
	counts   []uint64      // audit records at the last ticks, the oldest first
	anchored auditHead     // as of the newest record in the log; its Seq is 0 where there is none
	index    uint64        // of that record
	at       clock.Instant // of that record
}

func newAuditor(clock wallclock.Clock, log *slog.Logger) *auditor {
	return &auditor{clock: clock, slog: log, ours: make(map[string]bool)}
}

// expect tells of a sandbox that is about to be made, so that it is not taken for one of an earlier
// run.
func (a *auditor) expect(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ours[id] = true
}

func (a *auditor) expects(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ours[id]
}

// current returns the sandbox that serves, nil where none does.
func (a *auditor) current() *watched {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.serving
}

// watch begins to watch a sandbox that was just started.
func (a *auditor) watch(ctx context.Context, box *runtime.Sandbox, shown *started) *watched {
	w := &watched{box: box, id: box.ID(), shown: shown}
	w.head.Sandbox = w.id
	if err := w.describeSpec(); err != nil {
		a.slog.Warn("a sandbox does not say what it runs", "sandbox", w.id, "error", err)
	}
	w.look(ctx, a.clock.Now())
	a.mu.Lock()
	defer a.mu.Unlock()
	a.serving = w
	return w
}

// describeSpec reads under what the sandbox runs.
func (w *watched) describeSpec() error {
	state, err := w.box.State()
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trail = state.Trail
	w.head.Class, w.head.Image = string(state.Spec.Class), state.Image
	w.head.PolicyDigest = state.Policy
	if state.Spec.Policy != nil {
		w.head.Policy, w.head.Mode = state.Spec.Policy.Name, state.Spec.Policy.Mode
	}
	w.head.Ended, w.head.Reason = state.Status == runtime.Stopped, state.Reason
	return nil
}

// look reads how far the trail has come.
func (w *watched) look(ctx context.Context, now clock.Instant) {
	ctx, cancel := context.WithTimeout(ctx, auditPatience)
	defer cancel()
	stats, err := w.box.Stats(ctx)
	head, headErr := w.readHead()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = ""
	failed := err
	if !errs.Is(headErr, errs.NotFound) { // as before the first seal
		failed = errors.Join(err, headErr)
	}
	if failed != nil {
		w.fault = failed.Error()
	}
	if err == nil {
		w.stats = stats
		w.head.Refused, w.head.WouldRefuse = stats.Refused, stats.WouldRefuse
		w.counts = append(w.counts, stats.Records)
		w.counts = w.counts[max(0, len(w.counts)-auditSeconds-1):]
	}
	if headErr == nil {
		w.head.Head, w.readAt = head, now
	}
	w.seen.Store(max(w.seen.Load(), w.stats.Records, w.head.Seq))
}

// readHead returns the newest sealed head; kind NotFound before the first.
func (w *watched) readHead() (trail.Head, error) {
	w.mu.Lock()
	dir := w.trail
	w.mu.Unlock()
	head, err := trail.HeadOf(dir)
	head.Sandbox = w.id
	return head, err
}

// run anchors heads until ctx ends. First it puts away what the node's last run left behind.
func (a *auditor) run(ctx context.Context) {
	if a.host == nil {
		return
	}
	a.sweep(ctx)
	for ctx.Err() == nil {
		timer := a.clock.NewTimer(auditPeriod)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return
		}
		if w := a.current(); w != nil {
			w.look(ctx, a.clock.Now())
			a.tellRefusals(w)
			if err := a.anchor(ctx, w, false); err != nil && ctx.Err() == nil {
				a.slog.Error("a sandbox's audit head is not anchored", "sandbox", w.id, "error", err)
			}
		}
	}
}

// sweep ends sandboxes of an earlier run of the node, which a crash left, and anchors the ends of
// their trails.
func (a *auditor) sweep(ctx context.Context) {
	boxes, err := a.host.List()
	if err != nil {
		a.slog.Error("sandboxes of an earlier run are not put away", "error", err)
		return
	}
	for _, box := range boxes {
		if a.expects(box.ID()) {
			continue
		}
		w := &watched{box: box, id: box.ID()}
		if err := errors.Join(w.describeSpec(), a.end(w)); err != nil && ctx.Err() == nil {
			a.slog.Warn("a sandbox of an earlier run did not end well", "sandbox", w.id, "error", err)
		}
	}
}

// end ends a sandbox, anchors the end of its trail and removes what else it left.
func (a *auditor) end(w *watched) error {
	a.mu.Lock()
	if a.serving == w {
		a.serving = nil
	}
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), cellEnd)
	defer cancel()
	w.look(ctx, a.clock.Now()) // what it refused is not told any more once it has ended
	if err := a.stop(ctx, w.box); err != nil {
		return errors.Join(err, w.box.Close())
	}
	if err := a.close(ctx, w); err != nil { // it stays for the next start to try again
		return errors.Join(err, w.box.Close())
	}
	return errors.Join(w.box.Remove(ctx, true), w.box.Close())
}

// close anchors the end of the trail of a sandbox that has ended. What the policy refused is
// counted from the trail, which has every record, also those of a last moment that nobody watched.
func (a *auditor) close(ctx context.Context, w *watched) error {
	head, err := w.readHead()
	if err != nil {
		return err
	}
	if err := w.describeSpec(); err != nil {
		return err
	}
	refused, wouldRefuse, err := w.count(ctx)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.head.Head, w.head.Refused, w.head.WouldRefuse = head, refused, wouldRefuse
	w.mu.Unlock()
	a.tellRefusals(w)
	return a.anchor(ctx, w, true)
}

// tellRefusals logs that the policy has refused more than was logged before.
func (a *auditor) tellRefusals(w *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.head.Refused > w.told {
		a.slog.Warn("the policy refused acts of the scorer", "sandbox", w.id,
			"acts", w.head.Refused, "trail", w.trail)
		w.told = w.head.Refused
	}
}

// count reads the trail and counts what the policy refused, and would have refused.
func (w *watched) count(ctx context.Context) (refused, wouldRefuse uint64, err error) {
	reader, err := trail.Open(w.trail)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	for ctx.Err() == nil {
		record, err := reader.Next()
		if err == io.EOF {
			return refused, wouldRefuse, nil
		}
		if err != nil {
			return refused, wouldRefuse, err
		}
		switch record.Verdict {
		case sandbox.Refused:
			refused++
		case sandbox.WouldRefuse:
			wouldRefuse++
		}
	}
	return refused, wouldRefuse, errs.As(errs.Canceled, ctx.Err(), "node.audit: %s", w.trail)
}

// stop ends a sandbox. One whose supervisor was killed is for a moment neither run by it nor known
// to be dead, so it is tried again until ctx ends.
func (a *auditor) stop(ctx context.Context, box *runtime.Sandbox) error {
	for {
		err := box.Stop(ctx, 0)
		if err == nil {
			return nil
		}
		timer := a.clock.NewTimer(stopAgain)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// anchor writes the head into the evidence log, where it has moved or is due.
func (a *auditor) anchor(ctx context.Context, w *watched, last bool) error {
	log, now := a.log, a.clock.Now()
	w.mu.Lock()
	head := w.head
	due := last || head.Seq > w.anchored.Seq || now.Sub(w.at) >= anchorAtLeast
	w.mu.Unlock()
	if head.Seq == 0 || !due {
		return nil
	}
	payload, err := json.Marshal(&head)
	if err != nil {
		return errs.As(errs.Internal, err, "node.audit")
	}
	a.anchoring.Lock()
	defer a.anchoring.Unlock()
	seq, err := log.LastSeq(sourceSandbox)
	if err != nil {
		return err
	}
	if err := log.Append(ctx, evidence.Entry{Source: sourceSandbox, SourceSeq: seq + 1,
		Part: "sandbox", Kind: kindHead, Subjects: []ident.ID{sandboxSubject(w.id)}, At: now,
		Payload: payload}); err != nil {
		return err
	}
	leaf, err := log.Find(ctx, sourceSandbox, seq+1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.anchored, w.index, w.at = head, leaf.Index, now
	return err
}

// sandboxSubject is the subject under which the evidence log names a sandbox.
func sandboxSubject(id string) ident.ID { return ident.Derive("sandbox", id) }

// describe says in a few words what runs, for the lines of a start.
func (w *watched) describe() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprintf("%s, policy %s (%s), %d audit records", w.id, w.head.Policy, w.head.Mode,
		max(w.stats.Records, w.head.Seq))
}

// fill tells the board.
func (w *watched) fill(b *nodev1.Sandbox, now clock.Instant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b.Id, b.Class, b.Line = w.id, w.head.Class, w.fault
	b.Image, b.Policy, b.PolicyDigest, b.Mode = w.head.Image, w.head.Policy, w.head.PolicyDigest,
		w.head.Mode
	b.Records, b.Refused, b.WouldRefuse = w.stats.Records, w.stats.Refused, w.stats.WouldRefuse
	b.HeadSeq, b.Head = w.head.Seq, w.head.Head.Head
	b.AnchoredSeq, b.AnchoredIndex = w.anchored.Seq, w.index
	if n := len(w.counts); n > 1 {
		b.RecordsPerSecond = float64(w.counts[n-1]-w.counts[0]) / float64(n-1)
	}
	b.HeadAgeMillis = -1
	if w.readAt != 0 {
		b.HeadAgeMillis = int64(now.Sub(w.readAt) / clock.Millisecond)
	}
}

// What the board says of the scorer.
const (
	statusServing    = "running"
	statusStarting   = "starting"
	statusRestarting = "restarting"
)

// scorerBox tells where the scorer runs.
func (n *Node) scorerBox() *nodev1.Sandbox {
	s := n.scoring.choice.Load()
	box := &nodev1.Sandbox{Name: "scorer", Class: "none", Status: statusServing, HeadAgeMillis: -1}
	if s.where == ScorerProcess {
		box.Class = ScorerProcess
	}
	if s.cells != nil {
		box.Class = string(runtime.Sentry)
		if w := n.auditor.current(); w != nil {
			w.fill(box, n.deps.Clock.Now())
		}
	}
	if s.why != "" {
		box.Line = "not in an enclave: " + s.why
	}
	if s.remote != nil {
		state := s.remote.State()
		box.Restarts = state.Restarts
		if !state.Serving {
			box.Status, box.Line = statusRestarting, state.Last
			if state.Last == "" {
				box.Status = statusStarting
			}
		}
	}
	return box
}
