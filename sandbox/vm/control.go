package vm

import (
	"context"
	"encoding/json"
	"net/netip"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
)

// What the host may ask of the guest.
const (
	opCreate = "create" // boot the sandbox up to its gate
	opStart  = "start"  // open the gate
	opWait   = "wait"   // answered when the program has ended
	opExec   = "exec"   // open the streams of a process and run it; answered when they are open
	opJoin   = "join"   // answered when that process has ended
	opSignal = "signal" // to a process that exec ran
	opKill   = "kill"
	opCall   = "call"
	opTrace  = "trace"
	opName   = "name"
	opEnd    = "end" // end the sandbox and the machine
)

// call is a request: an operation and what it needs.
type call struct {
	Op      string          `json:"op"`
	Order   json.RawMessage `json:"order,omitempty"`   // create, exec, call: the runtime's own words
	Process uint32          `json:"process,omitempty"` // exec, join: the number of its streams
	Image   bool            `json:"image,omitempty"`   // create: there is a disk with the image
	Signal  int             `json:"signal,omitempty"`
	All     bool            `json:"all,omitempty"`
	Trace   ident.ID        `json:"trace,omitzero"`
	Addr    netip.Addr      `json:"addr,omitzero"`
	Name    string          `json:"name,omitempty"`
	Until   clock.Instant   `json:"until,omitempty"`
}

// outcome is the answer to a call.
type outcome struct {
	Exit Exit            `json:"exit,omitzero"`
	Body json.RawMessage `json:"body,omitempty"`
}

// complaint is an error as it crosses the port.
type complaint struct {
	Kind errs.Kind `json:"kind"`
	Text string    `json:"text"`
}

// caller is the asking end of the control port.
type caller struct {
	port *port

	mu      sync.Mutex
	last    uint32
	waiting map[uint32]chan message // each takes one message
	dead    error
}

func newCaller(p *port) *caller { return &caller{port: p, waiting: map[uint32]chan message{}} }

// ask sends a call and waits for its answer. Errors: the guest's own, of the kind it gave;
// Unavailable when the machine is gone; Canceled with ctx.
func (c *caller) ask(ctx context.Context, what call) (outcome, error) {
	id, reply, err := c.enlist()
	if err != nil {
		return outcome{}, err
	}
	defer c.forget(id)
	if err := c.port.sendJSON(request, id, what); err != nil {
		return outcome{}, errs.As(errs.Unavailable, err, "vm: %s", what.Op)
	}
	select {
	case m, open := <-reply:
		if !open {
			c.mu.Lock()
			defer c.mu.Unlock()
			return outcome{}, c.dead
		}
		return understand(what.Op, m)
	case <-ctx.Done():
		return outcome{}, errs.As(errs.Canceled, ctx.Err(), "vm: %s", what.Op)
	}
}

func (c *caller) enlist() (uint32, chan message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead != nil {
		return 0, nil, c.dead
	}
	c.last++
	reply := make(chan message, 1)
	c.waiting[c.last] = reply
	return c.last, reply, nil
}

func (c *caller) forget(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// understand turns a reply into what ask returns.
func understand(op string, m message) (outcome, error) {
	var o outcome
	if m.kind == answer {
		err := json.Unmarshal(m.payload, &o)
		if err != nil {
			return o, errs.As(errs.Corrupt, err, "vm: %s: the guest's answer", op)
		}
		return o, nil
	}
	var said complaint
	if err := json.Unmarshal(m.payload, &said); err != nil {
		return o, errs.As(errs.Corrupt, err, "vm: %s: the guest's answer", op)
	}
	return o, errs.New(said.Kind, "%s", said.Text)
}

// take hands a reply to who waits for it. One that nobody waits for came too late.
func (c *caller) take(m message) error {
	if m.kind != answer && m.kind != failure {
		return errs.New(errs.Corrupt, "vm: a message of kind %d on port %s", m.kind, c.port.name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if reply, found := c.waiting[m.id]; found {
		delete(c.waiting, m.id)
		reply <- m
	}
	return nil
}

// fail answers everybody with the cause, now and from now on.
func (c *caller) fail(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead == nil {
		c.dead = errs.As(errs.Unavailable, cause, "vm: the machine is gone")
	}
	for id, reply := range c.waiting {
		delete(c.waiting, id)
		close(reply)
	}
}
