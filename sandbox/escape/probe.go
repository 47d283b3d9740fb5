package escape

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sys/wallclock"
)

// probes are the harmless verbs: what a benchmark has done inside a sandbox.
func probes() map[string]func([]string) error {
	return map[string]func([]string) error{
		"hello": hello, "idle": idle, "self": self, "measure": measure, "burn": burn, "serve": serve,
	}
}

// hello is the first output whose time is taken.
func hello([]string) error {
	_, err := fmt.Println("hello")
	return err
}

// idle waits to be killed.
func idle([]string) error {
	if _, err := fmt.Println("ready"); err != nil {
		return err
	}
	for {
		unix.Pause()
	}
}

// self fails with a status of its own when this program is not the file it should be.
func self([]string) error {
	file, err := os.Readlink("/proc/self/exe")
	if err == nil && file != "/"+Name {
		unix.Exit(notAllowed)
	}
	return err
}

// Costs are what system calls take, in nanoseconds: the least and the median of the batches.
type Costs struct {
	Getpid, Open, Stat Cost
}

// Cost is of one call. Open is open and close together.
type Cost struct {
	Min, Median float64
}

// measure times calls in batches and writes Costs as JSON.
func measure(args []string) error {
	flags := flag.NewFlagSet("measure", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	batches := flags.Int("batches", 50, "")
	calls := flags.Int("calls", 500, "")
	file := flags.String("file", "/proc/self/exe", "")
	if err := flags.Parse(args); err != nil || *batches < 1 || *calls < 1 {
		return errs.New(errs.Invalid, "escape.measure: batches %d, calls %d: %v", *batches, *calls, err)
	}
	var state unix.Stat_t
	return json.NewEncoder(os.Stdout).Encode(Costs{
		Getpid: batch(*batches, *calls, func() error {
			unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
			return nil
		}),
		Open: batch(*batches, *calls, func() error {
			fd, err := unix.Open(*file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			return unix.Close(fd)
		}),
		Stat: batch(*batches, *calls, func() error { return unix.Stat(*file, &state) }),
	})
}

// batch times act; one that errs costs nothing, which shows.
func batch(batches, calls int, act func() error) Cost {
	watch, took := wallclock.System(), make([]float64, 0, batches)
	for range batches {
		began := watch.Now()
		for range calls {
			if act() != nil {
				return Cost{}
			}
		}
		took = append(took, float64(watch.Now().Sub(began))/float64(calls))
	}
	slices.Sort(took)
	return Cost{Min: took[0], Median: took[len(took)/2]}
}

// burn makes so many calls that each leave a record under a full audit, and says how many.
func burn(args []string) error {
	flags := flag.NewFlagSet("burn", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	events := flags.Int("events", 10_000_000, "")
	if err := flags.Parse(args); err != nil {
		return errs.As(errs.Invalid, err, "escape.burn")
	}
	clock := wallclock.System()
	began := clock.Now()
	for range *events {
		unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	}
	return json.NewEncoder(os.Stdout).Encode(Burnt{*events, clock.Now().Sub(began)})
}

// Burnt is what burn did.
type Burnt struct {
	Events  int
	Elapsed clock.Duration
}

// serve answers HTTP requests on the address given, with a page of 1 KiB.
func serve(args []string) error {
	if len(args) != 1 {
		return errs.New(errs.Invalid, "escape.serve: one address is needed")
	}
	page := make([]byte, 1024)
	for i := range page {
		page[i] = byte('a' + i%26)
	}
	server := http.Server{Addr: args[0], ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(page) })}
	return errs.As(errs.Unavailable, server.ListenAndServe(), "escape.serve")
}
