package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave/launch"
	"surety/sandbox/runtime"
	"surety/sys/wallclock"
)

// lockEnclave takes the lock that is held for as long as somebody answers for an enclave of the name:
// longer than its sandbox lives, since leases are given back after it. Kind Locked where somebody does.
func lockEnclave(root, name string) (*os.File, error) {
	dir := filepath.Join(root, "keepers")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fileError(err, "keepers")
	}
	f, err := os.OpenFile(filepath.Join(dir, name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fileError(err, "keepers")
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(errs.New(errs.Locked, "an enclave %s is being started, runs, or just "+
			"ends: give another --name", name), f.Close())
	}
	return f, nil
}

// awaitEnclave waits until nobody answers for the name any more.
func awaitEnclave(ctx context.Context, root, name string) error {
	const pace = 5 * clock.Millisecond
	for {
		lock, err := lockEnclave(root, name)
		if err == nil {
			return lock.Close()
		}
		if !errs.Is(err, errs.Locked) {
			return err
		}
		timer := wallclock.System().NewTimer(pace)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return errs.As(errs.Canceled, ctx.Err(), "enclave %s has ended, and its keeper has not", name)
		}
	}
}

// clearEnded removes what is known of an enclave of the name that has ended, to make room for another.
// The name's lock is held. Its trail stays.
func (h *enclaved) clearEnded(name string) error {
	s, err := h.host.Find(name)
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	st, err := s.State()
	if err != nil {
		return err
	}
	if st.Status != runtime.Stopped {
		return errs.New(errs.Exists, "enclave %s is %s: stop it, or give another --name", name, st.Status)
	}
	return s.Remove(h.Context(), false)
}

func enclaveExecCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "exec NAME -- PROGRAM [ARGUMENTS...]",
		Short: "Run a program of a running enclave beside its own",
		Long: `Only programs that the manifest lists as entries run, as the enclave's own user and with its own
environment; in a debug build any program does. The supervisor refuses others, whoever asks it. The
start is recorded in the trail as an operator's session, and the exit code is this command's.`,
		Example: `  surety enclave exec credit -- /bin/health`,
		Args:    someArgs("the enclave's name"),
	}
	var terminal, interactive bool
	c.Flags().BoolVarP(&terminal, "terminal", "t", false, "give the program a terminal")
	c.Flags().BoolVarP(&interactive, "interactive", "i", false, "connect standard input")
	return withEnclaves(env, c, func(h *enclaved) error {
		s, _, err := h.find()
		if err != nil {
			return err
		}
		if len(h.args) < 2 {
			return usage(h.Command, "the program is missing")
		}
		streams := newStreams(h.env, interactive)
		connect := streams.stdio
		if terminal {
			connect = streams.slave
		}
		code, err := s.Exec(h.Context(), runtime.Process{Args: h.args[1:], Terminal: terminal}, connect())
		streams.handedOver()
		streams.finish()
		if err != nil {
			return err
		}
		return exitWith(code)
	})
}

func enclaveStopCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "stop NAME",
		Short: "End an enclave",
		Long: `Its program is asked to end, and ended after --patience. The command returns when its sealed states
are closed and its leases given back. What is known of it is removed, unless --rm=false; its trail
stays.`,
		Example: `  surety enclave stop credit`,
		Args:    exactArgs("the enclave's name"),
	}
	var wait time.Duration
	remove := true
	c.Flags().DurationVar(&wait, "patience", 10*time.Second, "how long the program may take")
	c.Flags().BoolVar(&remove, "rm", true, "remove what is known of it; its trail stays")
	return withEnclaves(env, c, func(h *enclaved) error {
		s, st, err := h.find()
		if err != nil {
			return err
		}
		if st.Status != runtime.Stopped {
			if err := s.Stop(h.Context(), wait); err != nil {
				return err
			}
		}
		ending, cancel := context.WithTimeout(h.Context(), 2*patience)
		defer cancel()
		if err := awaitEnclave(ending, h.root, s.ID()); err != nil {
			return err
		}
		if !remove {
			return nil
		}
		err = s.Remove(h.Context(), false)
		if errs.Is(err, errs.NotFound) {
			return nil // whoever ran it has done so
		}
		return err
	})
}

// enclaveView is an enclave of this machine as list and status give it.
type enclaveView struct {
	Instance  string         `json:"instance"`
	Status    runtime.Status `json:"status"`
	Guarantee string         `json:"guarantee"`
	TEE       string         `json:"tee"`
	Name      string         `json:"name"`
	Measure   string         `json:"measure"`
	Signer    string         `json:"signer"`
	Product   string         `json:"product"`
	SVN       string         `json:"svn"`
	Debug     bool           `json:"debug"`
	Since     time.Time      `json:"since"`
	Ended     time.Time      `json:"ended"`
	ExitCode  int            `json:"exit_code"`
	Reason    string         `json:"reason,omitempty"`
	Layers    []layerView    `json:"layers"`
	Entries   []string       `json:"entries"` // programs that exec may run; of a debug build, any
	Trail     string         `json:"trail"`
}

// layerView is a file system of an enclave.
type layerView struct {
	Target string `json:"target"`
	Digest string `json:"digest"` // of a secret one, its ciphertext's
	Secret bool   `json:"secret"`
}

// viewEnclave is nil for a sandbox that is no enclave.
func viewEnclave(id string, st *runtime.State) *enclaveView {
	l := st.Spec.Labels
	if l[launch.LabelMeasure] == "" {
		return nil
	}
	v := &enclaveView{Instance: id, Status: st.Status, Guarantee: l[launch.LabelGuarantee],
		TEE: l[launch.LabelTEE], Name: l[launch.LabelName], Measure: l[launch.LabelMeasure],
		Signer: l[launch.LabelSigner], Product: l[launch.LabelProduct], SVN: l[launch.LabelSVN],
		Debug: l[launch.LabelDebug] == "true", Since: st.Started, Ended: st.Ended, ExitCode: st.ExitCode,
		Reason: st.Reason, Trail: st.Trail, Entries: []string{},
		Layers: []layerView{{Target: "/", Digest: st.Image}}}
	for _, layer := range st.Spec.Layers {
		v.Layers = append(v.Layers, layerView{layer.Target, layer.Digest, layer.Path == ""})
	}
	if st.Spec.Closed != nil {
		v.Entries = slices.Concat(v.Entries, st.Spec.Closed.Entries)
	}
	return v
}

// short is a measurement for people who compare by eye.
func short(measure string) string {
	const from, to = len("sha384:"), len("sha384:") + 12
	if len(measure) < to {
		return measure
	}
	return measure[from:to]
}

func enclaveListCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the enclaves of this machine",
		Long: `Running ones, with what each rests on: "simulated" protects nothing from whoever runs this machine.
--all shows those that have ended too. With -o json an array of {instance, status, guarantee, tee,
name, measure, signer, product, svn, debug, since, ended, exit_code, reason, layers: [{target,
digest, secret}], entries, trail}.`,
		Example: `  surety enclave list --all`,
		Args:    noArgs,
	}
	var all bool
	c.Flags().BoolVarP(&all, "all", "a", false, "those that have ended too")
	return withEnclaves(env, c, func(h *enclaved) error {
		found, err := h.host.List()
		if err != nil {
			return err
		}
		views := []*enclaveView{}
		for _, s := range found {
			st, err := s.State()
			if err != nil {
				h.env.note("%s: %v", s.ID(), err)
				continue
			}
			if v := viewEnclave(s.ID(), &st); v != nil && (all || st.Status != runtime.Stopped) {
				views = append(views, v)
			}
		}
		g := newGrid(left("name"), left("status"), left("guarantee"), left("measurement"), left("product"),
			right("svn"), left("up"))
		for _, v := range views {
			g.row(v.Instance, v.Status, v.Guarantee, short(v.Measure), v.Product, v.SVN, ago(v.Since))
		}
		return h.env.show(views, g.write)
	})
}

func enclaveStatusCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "status NAME",
		Short: "Show one enclave of this machine",
		Long: `What runs, by its measurement, what that rests on, and since when. With -o json an object as of
list.`,
		Example: `  surety enclave status credit`,
		Args:    exactArgs("the enclave's name"),
	}
	return withEnclaves(env, c, func(h *enclaved) error {
		s, st, err := h.find()
		if err != nil {
			return err
		}
		v := viewEnclave(s.ID(), &st)
		if v == nil {
			return errs.New(errs.NotFound, "%s is a sandbox and no enclave", s.ID())
		}
		pairs := []pair{{"name", v.Instance}, {"status", v.Status}, {"guarantee", v.Guarantee},
			{"machine", v.TEE}, {"measurement", v.Measure}, {"signer", v.Signer}, {"product", v.Product},
			{"svn", v.SVN}, {"debug", v.Debug}}
		for _, l := range v.Layers {
			kind := "public"
			if l.Secret {
				kind = "secret"
			}
			pairs = append(pairs, pair{"layer " + l.Target, kind + " " + l.Digest})
		}
		pairs = append(pairs, pair{"up", ago(v.Since)}, pair{"ended because", orDash(v.Reason)},
			pair{"trail", v.Trail})
		return h.env.show(v, grouped(pairs...))
	})
}

func enclaveLogsCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "logs NAME",
		Short: "Show what a started enclave wrote",
		Long: `Standard output goes to standard output and standard error to standard error. The last 32 MiB are
kept, on this machine's disk and in the clear: what an enclave writes there, its operator reads.
With -o json one line for each: {at, stream, text, cut}.`,
		Example: `  surety enclave logs --follow credit`,
		Args:    exactArgs("the enclave's name"),
	}
	var followed bool
	c.Flags().BoolVarP(&followed, "follow", "f", false, "go on until it ends")
	return withEnclaves(env, c, func(h *enclaved) error {
		s, _, err := h.find()
		if err != nil {
			return err
		}
		return showLogs(h.Context(), h.env, s, followed, false)
	})
}
