package node

import (
	"context"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"surety/base/clock"
	"surety/base/errs"
	"surety/lending/score"
	"surety/lending/scorer"
	"surety/sys/probe"
)

// scorerPatience bounds how long the choice of where models run may take: longer than a sandbox
// takes to start on a busy machine.
const scorerPatience = 20 * clock.Second

// scoring is where credit models run. It is a scorer.Scorer that waits until that is settled, once
// for the life of the node.
type scoring struct {
	settled chan struct{} // closed when choice is set for good
	choice  atomic.Pointer[way]

	stop    context.CancelFunc // of the remote scorer; nil where there is none
	running sync.WaitGroup
	once    sync.Once
}

// way is one way to run models.
type way struct {
	scorer scorer.Scorer
	where  string         // what became of the setting: one of its values but auto
	why    string         // the setting is auto and it is no enclave: the reason
	remote *scorer.Remote // nil where models run in this process
	cells  *cells         // nil where it is no sandbox
}

// Score implements scorer.Scorer.
func (s *scoring) Score(ctx context.Context, ask scorer.Ask) (scorer.Answer, error) {
	select {
	case <-s.settled:
		return s.choice.Load().scorer.Score(ctx, ask)
	case <-ctx.Done():
		return scorer.Answer{}, errs.As(errs.Canceled, ctx.Err(), "scorer")
	}
}

// openScorer starts the scorer. Where the setting demands a way to run it, it returns once that
// serves, or with why it does not; where it leaves it to the machine, the doors open meanwhile and
// applications wait. Nothing is started before the stores are known to be sound: a start that is
// refused leaves nothing.
func (n *Node) openScorer(ctx context.Context) error {
	s := &n.scoring
	c, launch, err := n.scorerLauncher()
	if err != nil {
		return n.withoutScorer(err)
	}
	s.choice.Store(c)
	if launch == nil {
		close(s.settled)
		return nil
	}
	c.remote = scorer.New(scorer.Deps{Launch: launch, Models: n.models(), Clock: n.deps.Clock,
		Log: n.log})
	c.scorer = c.remote
	var running context.Context
	running, s.stop = context.WithCancel(context.Background())
	s.running.Go(func() { c.remote.Run(running) })
	n.onClose("scorer", n.stopScorer)
	if n.config.Sandbox.Scorer == ScorerAuto {
		s.running.Go(func() { _ = n.settle(running, c) }) // auto takes what there is
		return nil
	}
	return n.settle(ctx, c)
}

// scorerLauncher returns what starts a scorer by the setting, nil where none is wanted.
func (n *Node) scorerLauncher() (*way, scorer.Launcher, error) {
	if n.config.Sandbox.Scorer == ScorerOff {
		return &way{scorer: scorer.Local{}, where: ScorerOff}, nil, nil
	}
	if n.deps.Program == "" {
		return nil, nil, errs.New(errs.Unavailable, "this process is not the surety program")
	}
	if n.config.Sandbox.Scorer == ScorerProcess {
		return &way{where: ScorerProcess}, scorer.Program(n.deps.Program, os.Stderr), nil
	}
	if can := probe.Systrap(); can.State != probe.OK {
		return nil, nil, errs.New(errs.Unavailable, "%s", can.Seen)
	}
	cells, err := n.openCells()
	if err != nil {
		return nil, nil, err
	}
	if n.enclaves == nil && n.config.Sandbox.Scorer == ScorerEnclave {
		return nil, nil, errs.New(errs.Unavailable, "this node has no enclaves")
	}
	if n.enclaves != nil && n.config.Sandbox.Scorer != ScorerSandbox {
		cells.enclaves = n.enclaves
		return &way{where: ScorerEnclave, cells: cells}, cells.launch, nil
	}
	return &way{where: ScorerSandbox, cells: cells}, cells.launch, nil
}

// models are all that the catalogue scores with.
func (n *Node) models() (all []*score.Model) {
	for _, p := range n.catalogue {
		all = append(all, p.Card, p.Forest)
	}
	return all
}

// settle waits until the scorer serves. Where it does not, and the setting leaves it to the machine,
// models run in this process.
func (n *Node) settle(ended context.Context, c *way) error {
	ctx, cancel := context.WithCancel(ended)
	defer cancel()
	timer := n.deps.Clock.NewTimer(scorerPatience)
	defer timer.Stop()
	ready := make(chan error, 1)
	n.scoring.running.Go(func() { ready <- c.remote.Ready(ctx) })
	var err error
	select {
	case err = <-ready:
	case <-timer.C():
		err = errs.New(errs.Unavailable, "it was not there within %d s", scorerPatience/clock.Second)
	}
	if err == nil || ended.Err() != nil { // a node that stops asks whom it has chosen, and is refused
		close(n.scoring.settled)
		return err
	}
	n.scoring.stop()
	return n.withoutScorer(err)
}

// withoutScorer goes on without a scorer of its own where the setting leaves that to the machine,
// and returns why not otherwise.
func (n *Node) withoutScorer(cause error) error {
	if n.config.Sandbox.Scorer != ScorerAuto {
		return errs.Wrap(cause, "sandbox.scorer is %s", n.config.Sandbox.Scorer)
	}
	c := &way{scorer: scorer.Local{}, where: ScorerOff}
	c.why, _, _ = strings.Cut(cause.Error(), "\n")
	n.scoring.choice.Store(c)
	close(n.scoring.settled)
	n.log.Warn("credit models run in the node's process, not in an enclave", "reason", c.why)
	return nil
}

// stopScorer ends the scorer and, through it, its sandbox; what is still asked is refused.
func (n *Node) stopScorer() error {
	n.scoring.once.Do(func() {
		n.scoring.stop()
		n.scoring.running.Wait()
	})
	return nil
}

// describe says in a line where models run.
func (s *scoring) describe() string {
	c := s.choice.Load()
	switch {
	case c.where == ScorerEnclave && c.cells.enclaves.simulated():
		return "in a SIMULATED enclave (no memory protection), " + c.cells.describe()
	case c.where == ScorerEnclave:
		return "in an enclave, " + c.cells.describe()
	case c.where == ScorerSandbox:
		return "in a sandbox of its own, " + c.cells.describe()
	case c.where == ScorerProcess:
		return "in a process of its own, with nothing around it"
	case c.why != "":
		return "in this process, not in an enclave: " + c.why
	}
	return "in this process"
}
