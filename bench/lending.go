// Package bench holds the workloads that measure the platform: loan applications over HTTP, and
// transfers on the ledger.
//
// A workload is code that any caller can run: `surety bench`, a test, a simulation. It returns its
// figures and prints nothing, and it never decides whether they are good.
package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"connectrpc.com/connect"

	lendingv1 "surety/api/lending/v1"
	"surety/api/lending/v1/lendingv1connect"
	"surety/base/clock"
	"surety/base/errs"
	"surety/lending/population"
	"surety/sys/wallclock"
)

// LendingConfig is a load of loan applications on a running node.
type LendingConfig struct {
	Rate     int            // applications a second, released evenly whether answered or not
	Duration clock.Duration // how long they are released
	// connections; an application that finds none waits, and the wait counts
	Workers  int
	Seed     uint64   // of the applicants
	Features []string // of the model, in its order
}

// LendingReport is what came of it.
type LendingReport struct {
	Sent, Approved, Declined, Referred, Failed int
	Elapsed                                    clock.Duration
	// Decision is the node's own time from receipt to a durable decision; Money is the client's,
	// from the instant an application was due to its approval: then the money is in the account.
	Decision, Money Quantiles
	FirstFailure    string `json:",omitempty"`
}

// Quantiles are of a sample of durations.
type Quantiles struct{ P50, P99, P999, Max clock.Duration }

// Rate returns answered applications a second.
func (r *LendingReport) Rate() float64 {
	return float64(r.Sent-r.Failed) * float64(clock.Second) / float64(max(r.Elapsed, 1))
}

// Write writes the report for people.
func (r *LendingReport) Write(w io.Writer) error {
	_, err := fmt.Fprintf(w,
		"applications  %d sent, %d approved, %d declined, %d referred, %d failed\n"+
			"rate          %.1f answered a second\n"+
			"decision      p50 %s, p99 %s, p99.9 %s, max %s\n"+
			"to money      p50 %s, p99 %s, p99.9 %s, max %s\n",
		r.Sent, r.Approved, r.Declined, r.Referred, r.Failed, r.Rate(),
		text(r.Decision.P50), text(r.Decision.P99), text(r.Decision.P999), text(r.Decision.Max),
		text(r.Money.P50), text(r.Money.P99), text(r.Money.P999), text(r.Money.Max))
	if err == nil && r.FirstFailure != "" {
		_, err = fmt.Fprintf(w, "first failure %s\n", r.FirstFailure)
	}
	return err
}

func text(d clock.Duration) string { return time.Duration(d).Round(10 * time.Microsecond).String() }

// lendingRun is one run of the load.
type lendingRun struct {
	config  LendingConfig
	clock   wallclock.Clock
	lending lendingv1connect.LendingServiceClient
	from    *population.Population

	mu       sync.Mutex
	report   LendingReport
	decision []clock.Duration
	money    []clock.Duration
}

// Lending sends applications to the node at the base URL, at an even rate, and measures the
// answers. It is an open loop: a node that falls behind is not spared, and the time an application
// waits for a free connection is part of its time to money.
func Lending(ctx context.Context, client *http.Client, base string,
	config LendingConfig) (LendingReport, error) {
	if config.Rate < 1 || config.Duration <= 0 || config.Workers < 1 {
		return LendingReport{}, errs.New(errs.Invalid,
			"bench.lending: rate %d, duration %s, workers %d",
			config.Rate, text(config.Duration), config.Workers)
	}
	from, err := population.New(config.Seed, config.Features)
	if err != nil {
		return LendingReport{}, err
	}
	r := &lendingRun{config: config, clock: wallclock.System(), from: from,
		lending: lendingv1connect.NewLendingServiceClient(client, base)}
	return r.run(ctx)
}

// due is an application and when it was to be sent.
type due struct {
	index uint64
	at    clock.Instant
}

func (r *lendingRun) run(ctx context.Context) (LendingReport, error) {
	total := int(int64(r.config.Duration) * int64(r.config.Rate) / int64(clock.Second))
	r.goAhead(ctx, uint64(total))
	began := r.clock.Now()
	queue := make(chan due, total) // an open loop never waits for its workers
	var workers sync.WaitGroup
	for range r.config.Workers {
		workers.Go(func() {
			for next := range queue {
				r.send(ctx, next)
			}
		})
	}
	r.release(ctx, queue, began, total)
	close(queue)
	workers.Wait()
	r.report.Elapsed = r.clock.Now().Sub(began)
	r.report.Decision, r.report.Money = quantiles(r.decision), quantiles(r.money)
	return r.report, errs.As(errs.Canceled, ctx.Err(), "bench.lending")
}

// goAhead sends one application and counts nothing of it: its decision waits for what a node still
// does after it is ready, such as the start of the scorer's sandbox. A failure shows in the run.
func (r *lendingRun) goAhead(ctx context.Context, index uint64) {
	r.send(ctx, due{index, r.clock.Now()})
	r.report, r.decision, r.money = LendingReport{}, nil, nil
}

// release queues the applications as they fall due.
func (r *lendingRun) release(ctx context.Context, queue chan<- due, began clock.Instant,
	total int) {
	for i := range total {
		at := began.Add(clock.Duration(int64(i) * int64(clock.Second) / int64(r.config.Rate)))
		if wait := at.Sub(r.clock.Now()); wait > 0 {
			timer := r.clock.NewTimer(wait)
			select {
			case <-timer.C():
			case <-ctx.Done():
				timer.Stop()
				return
			}
		}
		queue <- due{uint64(i), at}
	}
}

func (r *lendingRun) send(ctx context.Context, d due) {
	a := r.from.At(d.index)
	request := &lendingv1.SubmitRequest{Form: a.Form, Features: a.Features,
		IdempotencyKey: "bench-" + strconv.FormatUint(r.config.Seed, 10) + "-" +
			strconv.FormatUint(d.index, 10)}
	response, err := r.lending.Submit(ctx, connect.NewRequest(request))
	took := r.clock.Now().Sub(d.at)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Sent++
	if err != nil {
		r.report.Failed++
		if r.report.FirstFailure == "" {
			r.report.FirstFailure = err.Error()
		}
		return
	}
	decision := response.Msg.Application.Decision
	switch decision.GetOutcome() {
	case "approve":
		r.report.Approved++
		r.money = append(r.money, took)
	case "decline":
		r.report.Declined++
	default:
		r.report.Referred++
	}
	r.decision = append(r.decision, clock.Duration(decision.GetMicros())*clock.Microsecond)
}

// quantiles sorts the sample in place; an empty one gives zeros.
func quantiles(sample []clock.Duration) Quantiles {
	if len(sample) == 0 {
		return Quantiles{}
	}
	slices.Sort(sample)
	at := func(permille int) clock.Duration {
		return sample[min(len(sample)-1, len(sample)*permille/1000)]
	}
	return Quantiles{P50: at(500), P99: at(990), P999: at(999), Max: sample[len(sample)-1]}
}
