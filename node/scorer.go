package node

import (
	"context"
	"os"
	"strings"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
	"surety/lending/score"
	"surety/lending/scorer"
)

// scorerPatience bounds how long a start waits for the scorer. It is started before the stores are
// opened, so that there is little left to wait for.
const scorerPatience = 20 * clock.Second

// scoring is where credit models run.
type scoring struct {
	scorer scorer.Scorer
	where  string // ScorerSandbox, ScorerProcess or ScorerOff: what became of the setting
	why    string // the setting is auto and it is no sandbox: the reason
	remote *scorer.Remote
	cells  *cells // nil where it is no sandbox

	stop    context.CancelFunc
	running sync.WaitGroup
	once    sync.Once
}

// startScorer starts the scorer, which then comes up while the stores are opened.
func (n *Node) startScorer(context.Context) error {
	n.auditor = newAuditor(n.deps.Clock, n.log)
	s := &n.scoring
	launch, err := n.scorerLauncher()
	if err != nil {
		return n.withoutScorer(err)
	}
	if launch == nil {
		s.scorer, s.where = scorer.Local{}, ScorerOff
		return nil
	}
	s.remote = scorer.New(scorer.Deps{Launch: launch, Models: n.models(), Clock: n.deps.Clock,
		Log: n.log})
	s.scorer = s.remote
	var running context.Context
	running, s.stop = context.WithCancel(context.Background())
	s.running.Go(func() { s.remote.Run(running) })
	n.onClose("scorer", n.stopScorer) // where the start fails before chooseScorer
	return nil
}

// scorerLauncher returns what starts a scorer by the setting, nil where none is wanted.
func (n *Node) scorerLauncher() (scorer.Launcher, error) {
	s := &n.scoring
	if n.config.Sandbox.Scorer == ScorerOff {
		return nil, nil
	}
	if n.deps.Program == "" {
		return nil, errs.New(errs.Unavailable, "this process is not the surety program")
	}
	if n.config.Sandbox.Scorer == ScorerProcess {
		s.where = ScorerProcess
		return scorer.Program(n.deps.Program, os.Stderr), nil
	}
	var err error
	if s.cells, err = n.openCells(); err != nil {
		return nil, err
	}
	s.where = ScorerSandbox
	return s.cells.launch, nil
}

// models are all that the catalogue scores with.
func (n *Node) models() (all []*score.Model) {
	for _, p := range n.catalogue {
		all = append(all, p.Card, p.Forest)
	}
	return all
}

// chooseScorer waits until the scorer serves. Where it cannot and need not be, the models run in
// this process.
func (n *Node) chooseScorer(ctx context.Context) error {
	n.auditor.open(n.evidence)
	if n.scoring.remote == nil {
		return nil
	}
	n.onClose("scorer", n.stopScorer) // before the stores
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := n.deps.Clock.NewTimer(scorerPatience)
	defer timer.Stop()
	late := make(chan struct{})
	defer close(late)
	go func() {
		select {
		case <-timer.C():
			cancel()
		case <-late:
		}
	}()
	if err := n.scoring.remote.Ready(ctx); err != nil {
		_ = n.stopScorer()
		return n.withoutScorer(err)
	}
	return nil
}

// withoutScorer goes on without a scorer of its own where the setting leaves that to the machine,
// and returns why not otherwise.
func (n *Node) withoutScorer(cause error) error {
	if n.config.Sandbox.Scorer != ScorerAuto {
		return errs.Wrap(cause, "sandbox.scorer is %s", n.config.Sandbox.Scorer)
	}
	s := &n.scoring
	s.scorer, s.remote, s.cells = scorer.Local{}, nil, nil
	s.where = ScorerOff
	s.why, _, _ = strings.Cut(cause.Error(), "\n")
	return nil
}

// stopScorer ends the scorer and, through it, its sandbox; what is still asked is refused.
func (n *Node) stopScorer() error {
	n.scoring.once.Do(func() {
		if n.scoring.stop != nil {
			n.scoring.stop()
			n.scoring.running.Wait()
		}
	})
	return nil
}

// describe says in a line where models run.
func (s *scoring) describe() string {
	switch {
	case s.where == ScorerSandbox:
		return "in sandbox " + s.cells.describe()
	case s.where == ScorerProcess:
		return "in a process of its own, with nothing around it"
	case s.why != "":
		return "in this process, not in a sandbox: " + s.why
	}
	return "in this process"
}
