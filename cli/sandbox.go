package cli

import (
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"surety/base/errs"
	"surety/sandbox/runtime"
)

// sandboxCommand is the group that runs programs behind a kernel of our own.
func sandboxCommand(env *Env) *cobra.Command {
	return part(&cobra.Command{
		Use:   "sandbox",
		Short: "Run programs behind a kernel of their own, audited and under policy",
		Long: `A sandbox is a kernel between a program and this host. Every act of the program is recorded in a
hash-chained trail before it happens, and a policy may refuse it. Without --policy everything is
allowed and recorded; "surety sandbox run --learn" and "surety sandbox policy learn" write the
policy that a run needed.

State is kept below the directory of --root: images, running sandboxes and their trails, which stay
when a sandbox is removed.`,
		Example: `  surety sandbox run ./server -- --port 80
  surety sandbox run --policy policy.yaml docker.io/library/python:3 -- python3 -c 'print(1)'
  surety sandbox audit show NAME`,
	},
		sandboxRun(env), sandboxExec(env), sandboxList(env), sandboxShow(env), sandboxPS(env),
		sandboxStats(env), sandboxLogs(env), sandboxPause(env), sandboxResume(env),
		sandboxCheckpoint(env), sandboxRestore(env), sandboxStop(env), sandboxKill(env),
		sandboxWait(env), sandboxRemove(env), sandboxPoolCommand(env),
		sandboxImageCommand(env), sandboxAuditCommand(env), sandboxPolicyCommand(env),
		sandboxDrill(env),
	)
}

// sandboxHintFor is hintFor for sandboxes: they are this host's and ask no node.
func sandboxHintFor(kind errs.Kind) string {
	switch kind {
	case errs.Forbidden:
		return "\"surety doctor\" says what this machine lets users do who are not root"
	case errs.NoSpace:
		return "make room: what cannot be recorded does not run"
	case errs.Corrupt:
		return "keep a copy before anything else; see docs/operations/recovery.md"
	case errs.Busy:
		return "try again in a moment"
	}
	return ""
}

// sandboxRootFlag adds --root.
func sandboxRootFlag(env *Env, flags *pflag.FlagSet, into *string) {
	flags.StringVar(into, "root", defaultRoot(env, "SURETY_SANDBOX_ROOT", "sandbox"),
		"directory of images, sandboxes and trails (SURETY_SANDBOX_ROOT)")
}

// defaultRoot is a part's directory where no flag names one: by its variable, or below the data
// directory.
func defaultRoot(env *Env, variable, name string) string {
	if root := env.Getenv(variable); root != "" {
		return root
	}
	data := env.Getenv("SURETY_DATA_DIR")
	if data == "" {
		data = defaultDataDir
	}
	return filepath.Join(data, name)
}

// withHost is a verb that works on the host of --root.
func withHost(env *Env, c *cobra.Command, do func(*hosted) error) *cobra.Command {
	var root string
	sandboxRootFlag(env, c.Flags(), &root)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		env.began = true
		host, err := runtime.Open(runtime.Config{Root: root, Debug: env.Getenv("SURETY_SANDBOX_DEBUG")})
		if err != nil {
			return err
		}
		return do(&hosted{Command: cmd, env: env, args: args, host: host, root: root})
	}
	return c
}

// hosted is what a verb of withHost is called with.
type hosted struct {
	*cobra.Command
	env  *Env
	args []string
	host *runtime.Host
	root string
}

// find is the sandbox that the first argument names.
func (h *hosted) find() (*runtime.Sandbox, error) { return h.host.Find(h.args[0]) }

// exitError carries a program's exit code to the shell; nothing is printed for it.
type exitError struct{ code int }

func (e *exitError) Error() string { return "exit status " + strconv.Itoa(e.code) }

// exitWith is nil for code 0.
func exitWith(code int) error {
	if code == 0 {
		return nil
	}
	return &exitError{code}
}

// parseBytes reads "64m", "1.5g" or plain bytes.
func parseBytes(text string) (int64, error) {
	shift := 0
	digits := strings.ToLower(strings.TrimSuffix(strings.ToLower(text), "b"))
	if n := len(digits); n > 0 {
		switch digits[n-1] {
		case 'k':
			shift = 10
		case 'm':
			shift = 20
		case 'g':
			shift = 30
		case 't':
			shift = 40
		}
		if shift > 0 {
			digits = digits[:n-1]
		}
	}
	value, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || value < 0 || value > 1<<62>>shift {
		return 0, errs.New(errs.Invalid, "%q is no size: write bytes, or a number with k, m, g", text)
	}
	return value << shift, nil
}

// parseCPUs reads "0.5" cores as 500 thousandths.
func parseCPUs(text string) (int64, error) {
	whole, part, _ := strings.Cut(text, ".")
	if len(part) > 3 {
		return 0, errs.New(errs.Invalid, "%q cores: at most three places", text)
	}
	value, err := strconv.ParseUint(whole+part+strings.Repeat("0", 3-len(part)), 10, 32)
	if err != nil {
		return 0, errs.New(errs.Invalid, "%q is no number of cores", text)
	}
	return int64(value), nil
}

// ago says how long ago an instant was, for tables.
func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return time.Since(t).Truncate(time.Second).String()
}

func sandboxList(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List sandboxes",
		Long: `Running ones; --all shows stopped ones too. A sandbox whose supervisor died is finished on the way:
its last records are saved and its end is written into its trail. With -o json an array of
{id, status, class, image, args, policy, mode, made, started, ended, exit_code, reason, trail}.`,
		Example: `  surety sandbox list --all`,
		Args:    noArgs,
	}
	var all bool
	c.Flags().BoolVarP(&all, "all", "a", false, "stopped ones too")
	return withHost(env, c, func(h *hosted) error {
		found, err := h.host.List()
		if err != nil {
			return err
		}
		views := []sandboxView{}
		for _, s := range found {
			st, err := s.State()
			if err != nil {
				h.env.note("%s: %v", s.ID(), err)
				continue
			}
			if all || st.Status != runtime.Stopped {
				views = append(views, viewOf(s.ID(), &st))
			}
		}
		g := newGrid(left("id"), left("status"), left("class"), left("policy"), left("up"),
			left("command"))
		for _, v := range views {
			g.row(v.ID, v.Status, v.Class, v.Mode, v.up(), strings.Join(v.Args, " "))
		}
		return h.env.show(views, g.write)
	})
}

// sandboxView is a sandbox as list and show give it.
type sandboxView struct {
	ID       string         `json:"id"`
	Status   runtime.Status `json:"status"`
	Class    runtime.Class  `json:"class"`
	Image    string         `json:"image"`
	Args     []string       `json:"args"`
	Policy   string         `json:"policy"`
	Mode     string         `json:"mode"`
	Made     time.Time      `json:"made"`
	Started  time.Time      `json:"started"`
	Ended    time.Time      `json:"ended"`
	ExitCode int            `json:"exit_code"`
	Reason   string         `json:"reason,omitempty"`
	Trail    string         `json:"trail"`
}

// up is how long the sandbox has run, or ran.
func (v *sandboxView) up() string {
	if v.Status == runtime.Stopped && !v.Started.IsZero() {
		return v.Ended.Sub(v.Started).Truncate(time.Second).String()
	}
	return ago(v.Started)
}

func viewOf(id string, st *runtime.State) sandboxView {
	v := sandboxView{ID: id, Status: st.Status, Class: st.Spec.Class, Image: st.Image,
		Args: st.Spec.Args, Policy: st.Policy, Mode: "none", Made: st.Made, Started: st.Started,
		Ended: st.Ended, ExitCode: st.ExitCode, Reason: st.Reason, Trail: st.Trail}
	if p := st.Spec.Policy; p != nil {
		v.Mode = p.Mode
		if p.Name != "" {
			v.Mode = p.Name + " (" + p.Mode + ")"
		}
	}
	if st.Spec.Learn {
		v.Mode = "learn"
	}
	return v
}

func sandboxShow(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "show NAME",
		Short: "Show one sandbox",
		Long: `What it runs, under what, and how it ended. With -o json {state, spec}: the state as list gives it,
and the spec as it was measured into the first audit record.`,
		Example: `  surety sandbox show web`,
		Args:    exactArgs("the sandbox's name"),
	}
	return withHost(env, c, func(h *hosted) error {
		s, err := h.find()
		if err != nil {
			return err
		}
		st, err := s.State()
		if err != nil {
			return err
		}
		view := viewOf(s.ID(), &st)
		value := struct {
			State sandboxView  `json:"state"`
			Spec  runtime.Spec `json:"spec"`
		}{view, st.Spec}
		started, code := "-", "-"
		if !view.Started.IsZero() {
			started = ago(view.Started) + " ago"
		}
		if view.Status == runtime.Stopped {
			code = strconv.Itoa(view.ExitCode)
		}
		return h.env.show(value, grouped(
			pair{"name", view.ID}, pair{"status", view.Status}, pair{"class", view.Class},
			pair{"command", strings.Join(view.Args, " ")}, pair{"image", orDash(view.Image)},
			pair{"directory", orDash(st.Spec.Root.Dir)}, pair{"policy", view.Mode},
			pair{"policy digest", view.Policy}, pair{"network", st.Spec.Network.Mode},
			pair{"started", started}, pair{"exit code", code},
			pair{"ended because", orDash(view.Reason)}, pair{"trail", view.Trail}))
	})
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
