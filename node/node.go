// Package node composes the parts into a running process: it opens them in the order in which they
// need each other, wires them through their clients, and closes them in reverse.
//
// It is the only package that knows every part. What a node does stands in the parts; how they are
// joined stands here, in Open, from top to bottom.
//
// # Invariants
//
// One node holds a data directory. Work that a crash left unfinished is finished before the doors
// open. The doors close before the parts behind them.
//
// # Concurrency
//
// Open and Close are called once each, by one goroutine; Run in between.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
	"surety/evidence/tlog"
	"surety/evidence/vault"
	"surety/guard"
	"surety/guard/engine"
	"surety/ledger/journal"
	"surety/ledger/replica"
	"surety/ledger/server"
	"surety/lending"
	lendingapi "surety/lending/api"
	"surety/lending/intake"
	"surety/lending/origination"
	"surety/lending/recovery"
	"surety/lending/servicing"
	"surety/lending/settlement"
	"surety/lending/store"
	"surety/sys/access"
	"surety/sys/entropy"
	"surety/sys/presence"
	"surety/sys/telemetry"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

// Deps are what a node takes from its process.
type Deps struct {
	Log     *slog.Logger
	Version string
	Clock   wallclock.Clock
	Entropy entropy.Source
	// Program is the path of the surety program, which is started again as other processes; empty
	// where there is none, and then every part runs in this process.
	Program string
}

// Node is a composed node.
type Node struct {
	config Config
	deps   Deps
	log    *slog.Logger
	idents *entropy.Idents

	hold      *presence.Hold
	registry  *telemetry.Registry
	tokens    *access.Store
	bootstrap access.Secret // of the first start; zero after that
	first     bool

	ledger      *replica.Replica
	vault       *vault.Vault
	records     *store.Store
	evidence    *tlog.Log
	guard       *engine.Engine
	finisher    *settlement.Finisher
	calendar    *calendar
	catalogue   origination.Catalogue
	scoring     scoring
	enclaves    *enclaves // nil where this process is not the surety program
	auditor     *auditor
	originating *origination.Desk
	servicing   *servicing.Desk
	recovery    *recovery.Recovery
	lendingAPI  *lendingapi.Service
	feeder      *feeder
	meter       *meter
	stream      *stream

	keeper    *access.Doorkeeper
	batchDoor net.Listener // of the ledger's batch protocol; nil where it is not served
	batch     *server.Server

	door     net.Listener
	server   *http.Server
	closing  chan struct{}
	started  clock.Instant
	closers  []closer
	resumed  int
	finished sync.WaitGroup
}

// closer is a part to close, and what it is called in errors.
type closer struct {
	name  string
	close func() error
}

// Open opens every part in the data directory, finishes what a crash left unfinished, and binds the
// doors. On an error everything that was opened is closed again.
func Open(ctx context.Context, config Config, deps Deps) (*Node, error) {
	n := &Node{config: config, deps: deps, log: deps.Log, started: deps.Clock.Now(),
		closing: make(chan struct{}), auditor: newAuditor(deps.Clock, deps.Log)}
	n.scoring.settled = make(chan struct{})
	n.idents = entropy.NewIdents(deps.Entropy, deps.Clock.Now)
	debug.SetGCPercent(collectAtPercent)
	if config.Limits.MemoryBytes > 0 {
		debug.SetMemoryLimit(config.Limits.MemoryBytes)
	}
	for _, step := range []func(context.Context) error{n.openDirectory, n.openAccess,
		n.openCatalogue, n.openStores, n.openGuard, n.openDesks, n.openEnclaves, n.openScorer, n.resume,
		n.openFeeder, n.openDoor} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	return n, nil
}

// collectAtPercent is how much the heap may grow between two collections, in percent of what is
// live. Nearly all that is live is the ledger's and the guard's records, which hold no pointers: to
// collect often costs little, and keeps the process near the size of what it knows.
const collectAtPercent = 40

func (n *Node) onClose(name string, closing func() error) {
	n.closers = append(n.closers, closer{name, closing})
}

func (n *Node) path(names ...string) string {
	return filepath.Join(append([]string{n.config.DataDir}, names...)...)
}

func (n *Node) openDirectory(context.Context) (err error) {
	if n.hold, err = presence.Acquire(n.config.DataDir); err != nil {
		return err
	}
	n.onClose("data directory", n.hold.Release)
	n.registry = telemetry.NewRegistry(n.deps.Clock, n.deps.Version)
	return nil
}

func (n *Node) openAccess(context.Context) (err error) {
	n.tokens, err = access.OpenStore(vfs.OS{}, n.path("access"), n.deps.Clock, n.deps.Entropy)
	if err != nil {
		return err
	}
	if n.config.Access.BootstrapToken.Reveal() != "" {
		secret, err := access.ParseSecret(n.config.Access.BootstrapToken.Reveal())
		if err != nil {
			return err
		}
		return n.tokens.Adopt(access.Grant{Principal: string(access.Admin),
			Roles: []access.Role{access.Admin}}, secret)
	}
	n.bootstrap, n.first, err = n.tokens.Bootstrap()
	return err
}

// openStores opens what keeps data. The four do not need each other and are opened side by side.
func (n *Node) openStores(ctx context.Context) error {
	var group sync.WaitGroup
	failures := make([]error, 4)
	for i, open := range []func(context.Context) error{n.openLedger, n.openVault, n.openRecords,
		n.openEvidence} {
		group.Go(func() { failures[i] = open(ctx) })
	}
	group.Wait()
	// Closed in reverse: the log last, so that it can take what the others had left to say.
	if n.evidence != nil {
		n.onClose("evidence", n.evidence.Close)
	}
	if n.vault != nil {
		n.onClose("vault", n.vault.Close)
	}
	if n.ledger != nil {
		n.onClose("ledger", n.ledger.Close)
	}
	if n.records != nil {
		n.onClose("lending records", n.records.Close)
	}
	return errors.Join(failures...)
}

func (n *Node) openLedger(ctx context.Context) (err error) {
	n.ledger, err = replica.Open(ctx, replica.Config{Dir: n.path("ledger"),
		Journal: journal.Options{SegmentBytes: n.config.Ledger.SegmentBytes}},
		replica.Deps{FS: vfs.OS{}, Clock: n.deps.Clock, Entropy: n.deps.Entropy, Log: n.log})
	return err
}

func (n *Node) openVault(ctx context.Context) (err error) {
	n.vault, err = vault.Open(ctx, vault.Options{Directory: n.path("vault"), Clock: n.deps.Clock,
		Entropy: n.deps.Entropy})
	return err
}

func (n *Node) openRecords(ctx context.Context) (err error) {
	n.records, err = store.Open(ctx, n.path("lending", "lending.db"))
	return err
}

func (n *Node) openEvidence(ctx context.Context) (err error) {
	n.evidence, err = tlog.Open(ctx, tlog.Options{Directory: n.path("evidence"),
		Origin: n.config.Evidence.Origin, Entropy: n.deps.Entropy, Logger: n.log,
		CheckpointInterval: n.config.Evidence.CheckpointInterval})
	return err
}

// openGuard opens the guard over the outbox and the ledger's feed.
func (n *Node) openGuard(ctx context.Context) (err error) {
	c := &n.config.Guard
	n.guard, err = engine.Open(ctx, engine.Config{Dir: n.path("guard"), Mode: engine.Mode(c.Freeze),
		Limits: guard.Limits{PostingDeadline: c.PostingDeadline,
			// In a time-lapse an application under way for six seconds is that many days old.
			BackDays: 3 + int(n.config.Lending.DaysPerMinute/10)}, FreezeExpiry: c.FreezeExpiry,
		SweepEvery: c.SweepInterval, CanaryEvery: c.CanaryInterval, FailClosedAfter: c.FailClosedAfter},
		engine.Deps{Outbox: n.records, Ledger: n.ledger, Clock: n.deps.Clock, Files: vfs.OS{},
			Log: n.log})
	if err == nil {
		n.onClose("guard", n.guard.Close)
	}
	return err
}

func (n *Node) openCatalogue(context.Context) (err error) {
	var terms *lending.Product
	if n.config.Lending.Product != "" {
		if terms, err = readProduct(n.config.Lending.Product); err != nil {
			return err
		}
	}
	n.catalogue, err = origination.NewCatalogue(terms)
	return err
}

func (n *Node) openDesks(ctx context.Context) (err error) {
	if n.config.Lending.Applications == "" && n.config.Lending.RatePerSecond == 0 {
		n.config.Lending.DaysPerMinute = 0 // applications come from people, whose days are days
	}
	n.calendar, err = openCalendar(ctx, n.records, n.deps.Clock, n.log,
		n.config.Lending.DaysPerMinute)
	if err != nil {
		return err
	}
	identity, err := n.identityKey()
	if err != nil {
		return err
	}
	n.meter = newMeter(n.deps.Clock, n.registry)
	n.finisher = settlement.NewFinisher(n.records, n.log)
	n.onClose("finisher", func() error { n.finisher.Close(); return nil })
	n.originating = origination.New(origination.Deps{Store: n.records, Ledger: n.ledger,
		Sealer: n.vault, Scorer: &n.scoring, Finisher: n.finisher,
		Catalogue: n.catalogue, Clock: n.deps.Clock, Idents: n.idents, Today: n.calendar.Today,
		MoneyOut: n.moneyOut, IdentityKey: identity, Log: n.log, Decided: n.meter.decide, Paid: n.meter.pay})
	n.servicing = servicing.New(servicing.Deps{Store: n.records, Ledger: n.ledger,
		Finisher: n.finisher, Clock: n.deps.Clock, Today: n.calendar.Today, Log: n.log})
	n.calendar.dayEnd = n.servicing.DayEnd
	n.measure()
	n.lendingAPI = lendingapi.New(lendingapi.Deps{Store: n.records, Origination: n.originating,
		Servicing: n.servicing, Catalogue: n.catalogue, Today: n.calendar.Today,
		Synthetic: n.config.Lending.Applications == "" && n.config.Lending.RatePerSecond > 0,
		Log:       n.log})
	return n.originating.Publish(ctx)
}

// resume finishes what a crash left unfinished, before anybody is let in.
func (n *Node) resume(ctx context.Context) error {
	n.recovery = recovery.New(recovery.Deps{Store: n.records, Origination: n.originating,
		Servicing: n.servicing, MoneyOut: n.moneyOut, Clock: n.deps.Clock, Log: n.log})
	done, err := n.recovery.Finish(ctx)
	n.resumed = done.Finished
	return err
}

func (n *Node) openFeeder(ctx context.Context) (err error) {
	n.feeder, err = newFeeder(ctx, n)
	if err == nil && n.feeder.file != nil {
		n.onClose("applications", n.feeder.file.Close)
	}
	return err
}

// Run serves until ctx ends.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, part := range n.background() {
		n.finished.Go(func() { part(ctx) })
	}
	n.awake(ctx)
	failed := make(chan error, 1)
	go func() { failed <- n.server.Serve(n.door) }()
	if n.batch != nil {
		n.finished.Go(func() {
			if err := n.batch.Serve(n.batchDoor); err != nil {
				n.log.Error("the ledger's batch protocol is not served any more", "error", err)
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = errs.As(errs.Internal, err, "node.run: http")
	}
	n.shutDoor()
	cancel()
	n.finished.Wait()
	return err
}

const (
	// wakeSteps and wakeStep bound how long the doors wait for the guard: it has to find its first
	// canaries before money may leave. Callers wait in the listener's queue meanwhile.
	wakeSteps = 200
	wakeStep  = 10 * clock.Millisecond
)

// awake returns once money may leave, or after two seconds: then callers are told why it may not.
func (n *Node) awake(ctx context.Context) {
	for range wakeSteps {
		if n.guard.MoneyOutAllowed() == nil {
			return
		}
		timer := n.deps.Clock.NewTimer(wakeStep)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// background lists what runs beside the door.
func (n *Node) background() []func(context.Context) {
	relays := []*relay{
		{source: sourceLending, read: eventEntries(n.records), wait: n.records.Wait},
		{source: sourceLedger, read: batchEntries(n.ledger), wait: batchWait(n.ledger)},
		{source: sourceGuard, read: verdictEntries(n.guard), wait: verdictWait(n.deps.Clock)},
	}
	parts := []func(context.Context){n.watch, n.calendar.run, n.stream.run, n.feeder.run,
		n.recovery.Run, n.auditor.run}
	for _, r := range relays {
		r.log, r.clock, r.slog = n.evidence, n.deps.Clock, n.log
		parts = append(parts, r.run)
	}
	return parts
}

// shutDoor lets requests under way end and takes no new ones.
func (n *Node) shutDoor() {
	close(n.closing)
	ctx, cancel := context.WithTimeout(context.Background(), doorGrace)
	defer cancel()
	if err := n.server.Shutdown(ctx); err != nil {
		n.log.Warn("requests were cut off", "error", err)
		_ = n.server.Close() // what Shutdown could not end in time
	}
	if n.batch != nil {
		if err := n.batch.Close(); err != nil {
			n.log.Warn("the ledger's batch protocol did not end well", "error", err)
		}
	}
}

// Close closes every part, the last opened first.
func (n *Node) Close() error {
	var failures []error
	for i := len(n.closers) - 1; i >= 0; i-- {
		if err := n.closers[i].close(); err != nil {
			failures = append(failures, errs.Wrap(err, "close %s", n.closers[i].name))
		}
	}
	n.closers = nil
	return errors.Join(failures...)
}

// watch runs the guard. Where it fails, money-out closes by itself and the log says why.
func (n *Node) watch(ctx context.Context) {
	if err := n.guard.Run(ctx); err != nil {
		n.log.Error("the guard has stopped", "error", err)
	}
}

// moneyOut returns why no money may leave now.
func (n *Node) moneyOut() error { return n.guard.MoneyOutAllowed() }

// identityKey returns the key that turns document numbers into customers' ids, made at first start.
func (n *Node) identityKey() ([32]byte, error) {
	path := n.path("lending", "identity.key")
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		var key [32]byte
		n.deps.Entropy.Fill(key[:])
		return key, vfs.WriteWhole(vfs.OS{}, path, key[:])
	}
	if err != nil {
		return [32]byte{}, errs.As(errs.Forbidden, err, "node.identity")
	}
	if len(data) != 32 {
		return [32]byte{}, errs.New(errs.Corrupt, "node.identity: %s has %d bytes, not 32", path,
			len(data))
	}
	return [32]byte(data), nil
}

// Lines says in one line for each part what runs, for people.
func (n *Node) Lines() []string {
	size := n.evidence.Size()
	status, _ := n.ledger.Status(context.Background())
	return []string{
		fmt.Sprintf("ledger    %d accounts, %d transfers, journal of %d batches", status.Accounts,
			status.Transfers, status.Batches),
		fmt.Sprintf("lending   %s; business date %s; %s", n.feeder.describe(), n.calendar.Today(),
			n.lapse()),
		fmt.Sprintf("guard     %s, postings within %s, money-out closes after %s of silence",
			n.config.Guard.Freeze, formatDuration(n.config.Guard.PostingDeadline),
			formatDuration(n.config.Guard.FailClosedAfter)),
		fmt.Sprintf("scorer    %s", n.scoring.describe()),
		fmt.Sprintf("evidence  log of %d records, key %s", size, n.evidence.Key().Origin()),
		fmt.Sprintf("console   http://%s/", n.door.Addr()),
	}
}

func (n *Node) lapse() string {
	if n.config.Lending.DaysPerMinute == 0 {
		return "business days follow the calendar"
	}
	return fmt.Sprintf("time-lapse, %d business days a minute", n.config.Lending.DaysPerMinute)
}

// Resumed returns how many unfinished acts were finished at the start.
func (n *Node) Resumed() int { return n.resumed }

// Bootstrap returns the first administrator's token, once, where this start made it.
func (n *Node) Bootstrap() (secret access.Secret, made bool) { return n.bootstrap, n.first }

// Address returns host:port of the console and the API.
func (n *Node) Address() string { return n.door.Addr().String() }

// mapping returns the mapping of the applications' file.
func (n *Node) mapping() (*intake.Mapping, error) {
	name := n.config.Lending.Mapping
	if name == "" {
		name = "form"
	}
	return intake.LoadMapping(name)
}
