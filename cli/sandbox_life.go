package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/sandbox/runtime"
)

func sandboxExec(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "exec NAME -- COMMAND...",
		Short: "Run a command inside a running sandbox",
		Long: `The command is under the sandbox's policy, its start is recorded as an operator's session, and its
exit code is this command's.`,
		Example: `  surety sandbox exec web -- ls -l /
  surety sandbox exec -t -i web -- sh`,
		Args: someArgs("the sandbox's name"),
	}
	var terminal, interactive bool
	var user, cwd string
	var variables []string
	c.Flags().BoolVarP(&terminal, "terminal", "t", false, "give the command a terminal")
	c.Flags().BoolVarP(&interactive, "interactive", "i", false, "connect standard input")
	c.Flags().StringVarP(&user, "user", "u", "", "UID[:GID] to run as (default: the program's)")
	c.Flags().StringVarP(&cwd, "workdir", "w", "", "working directory inside")
	c.Flags().StringArrayVarP(&variables, "env", "e", nil, "NAME=VALUE to add")
	return withHost(env, c, func(h *hosted) error {
		s, err := h.find()
		if err != nil {
			return err
		}
		p := runtime.Process{Args: h.args[1:], Env: variables, Cwd: cwd, Terminal: terminal}
		if len(p.Args) == 0 {
			return usage(h.Command, "the command is missing")
		}
		if user != "" {
			u, err := parseUser(user)
			if err != nil {
				return usage(h.Command, "--user: %v", err)
			}
			p.User = &u
		}
		streams := newStreams(h.env, interactive)
		streams2 := streams.stdio
		if terminal {
			streams2 = streams.slave
		}
		code, err := s.Exec(h.Context(), p, streams2())
		streams.handedOver()
		streams.finish()
		if err != nil {
			return err
		}
		return exitWith(code)
	})
}

// onOne is a verb that does one thing to the sandbox named.
func onOne(env *Env, c *cobra.Command, do func(*hosted, *runtime.Sandbox) error) *cobra.Command {
	c.Args = exactArgs("the sandbox's name")
	return withHost(env, c, func(h *hosted) error {
		s, err := h.find()
		if err != nil {
			return err
		}
		return do(h, s)
	})
}

func sandboxPS(env *Env) *cobra.Command {
	return onOne(env, &cobra.Command{
		Use:   "ps NAME",
		Short: "List the processes inside a sandbox",
		Long: `Process ids are the sandbox's own, as its audit trail shows them. With -o json an array of {pid,
parent, user, threads, started, cpu_ns, command}.`,
		Example: `  surety sandbox ps web`,
	}, func(h *hosted, s *runtime.Sandbox) error {
		list, err := s.Processes(h.Context())
		if err != nil {
			return err
		}
		g := newGrid(right("pid"), right("parent"), right("user"), right("threads"), left("started"),
			left("command"))
		for _, p := range list {
			g.row(p.PID, p.Parent, p.User, len(p.Threads), p.Started, p.Command)
		}
		return h.env.show(list, g.write)
	})
}

func sandboxStats(env *Env) *cobra.Command {
	return onOne(env, &cobra.Command{
		Use:   "stats NAME",
		Short: "Show what a sandbox uses and how it is watched",
		Long: `With -o json {cpu_ns, memory_bytes, memory_peak_bytes, memory_limit_bytes, processes,
received_bytes, sent_bytes, records, refused, would_refuse, audit_waits, audit_bytes}.`,
		Example: `  surety sandbox stats web`,
	}, func(h *hosted, s *runtime.Sandbox) error {
		st, err := s.Stats(h.Context())
		if err != nil {
			return err
		}
		limit := "none"
		if st.MemoryLimit > 0 {
			limit = fmt.Sprintf("%d MiB", st.MemoryLimit>>20)
		}
		return h.env.show(st, grouped(
			pair{"cpu time", st.CPU}, pair{"memory", fmt.Sprintf("%d KiB", st.Memory>>10)},
			pair{"memory limit", limit}, pair{"processes", st.Processes},
			pair{"received", fmt.Sprintf("%d bytes", st.Received)},
			pair{"sent", fmt.Sprintf("%d bytes", st.Sent)}, pair{"audit records", st.Records},
			pair{"refused", st.Refused}, pair{"would be refused", st.WouldRefuse},
			pair{"waits for the trail", st.AuditWaits}))
	})
}

// grouped shows pairs.
func grouped(pairs ...pair) func(io.Writer) error {
	return func(w io.Writer) error { return writePairs(w, pairs...) }
}

func sandboxLogs(env *Env) *cobra.Command {
	var followed, stamped bool
	c := onOne(env, &cobra.Command{
		Use:   "logs NAME",
		Short: "Show what a detached sandbox wrote",
		Long: `Standard output goes to standard output and standard error to standard error. The last 32 MiB are
kept. With -o json one line for each: {at, stream, text, cut}.`,
		Example: `  surety sandbox logs --follow web`,
	}, func(h *hosted, s *runtime.Sandbox) error {
		return showLogs(h.Context(), h.env, s, followed, stamped)
	})
	c.Flags().BoolVarP(&followed, "follow", "f", false, "go on until the sandbox ends")
	c.Flags().BoolVar(&stamped, "timestamps", false, "with the time of each line")
	return c
}

// showLogs writes a sandbox's captured output to where it was written inside.
func showLogs(ctx context.Context, env *Env, s *runtime.Sandbox, followed, stamped bool) error {
	return s.Logs(followed, func(line runtime.LogLine) error {
		if err := ctx.Err(); err != nil {
			return errs.As(errs.Canceled, err, "logs")
		}
		if env.wantsJSON() {
			return env.line(line)
		}
		to := env.Stdout
		if line.Stream == "stderr" {
			to = env.Stderr
		}
		text := line.Text
		if stamped {
			text = line.At.Format(time.RFC3339Nano) + " " + text
		}
		if !line.Cut {
			text += "\n"
		}
		_, err := io.WriteString(to, text)
		return wrote(err)
	})
}

func sandboxPause(env *Env) *cobra.Command {
	return onOne(env, &cobra.Command{
		Use:     "pause NAME",
		Short:   "Stop every process inside until resumed",
		Long:    `Nothing inside runs, and memory stays. The pause is recorded in the trail.`,
		Example: `  surety sandbox pause web`,
	}, func(h *hosted, s *runtime.Sandbox) error { return s.Pause(h.Context()) })
}

func sandboxResume(env *Env) *cobra.Command {
	return onOne(env, &cobra.Command{
		Use:     "resume NAME",
		Short:   "Let a paused sandbox go on",
		Long:    `The resumption is recorded in the trail.`,
		Example: `  surety sandbox resume web`,
	}, func(h *hosted, s *runtime.Sandbox) error { return s.Resume(h.Context()) })
}

func sandboxCheckpoint(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "checkpoint NAME DIRECTORY",
		Short: "Save a running sandbox's state",
		Long: `Writes memory, files in memory and open descriptors into DIRECTORY, which must not exist, with
digests of all of it. The sandbox ends unless --leave-running is given. "surety sandbox restore"
starts another from it.`,
		Example: `  surety sandbox checkpoint web /var/snapshots/web-1`,
		Args:    exactArgs("the sandbox's name", "DIRECTORY"),
	}
	var leave bool
	c.Flags().BoolVar(&leave, "leave-running", false, "let the sandbox go on")
	return withHost(env, c, func(h *hosted) error {
		s, err := h.find()
		if err != nil {
			return err
		}
		return s.Checkpoint(h.Context(), h.args[1], leave)
	})
}

func sandboxRestore(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "restore DIRECTORY",
		Short: "Start a sandbox from a saved state",
		Long: `The snapshot's files are measured first and refused where one changed. The new sandbox runs the same
image under the same policy; its trail begins with a record that names the snapshot and the head of
the trail it goes on from.`,
		Example: `  surety sandbox restore --name web-2 --detach /var/snapshots/web-1`,
		Args:    exactArgs("DIRECTORY"),
	}
	var f runFlags
	c.Flags().StringVar(&f.name, "name", "", "name of the new sandbox (default: made up)")
	c.Flags().BoolVarP(&f.detach, "detach", "d", false, "return when it runs")
	c.Flags().BoolVar(&f.remove, "rm", true, "remove the sandbox when it has ended; its trail stays")
	return withHost(env, c, func(h *hosted) error {
		dir, err := absolute(h.args[0])
		if err != nil {
			return err
		}
		spec, err := runtime.ReadSnapshot(dir)
		if err != nil {
			return err
		}
		spec.ID, spec.Snapshot = f.name, dir
		if spec.ID == "" {
			spec.ID = madeUpName()
		}
		return f.run(h, &spec)
	})
}

func sandboxStop(env *Env) *cobra.Command {
	var patience time.Duration
	c := onOne(env, &cobra.Command{
		Use:     "stop NAME",
		Short:   "Ask a sandbox's program to end, and end it",
		Long:    `The program gets SIGTERM, and after --patience the sandbox is killed.`,
		Example: `  surety sandbox stop web`,
	}, func(h *hosted, s *runtime.Sandbox) error { return s.Stop(h.Context(), patience) })
	c.Flags().DurationVar(&patience, "patience", 10*time.Second, "how long the program may take")
	return c
}

func sandboxKill(env *Env) *cobra.Command {
	var name string
	var all bool
	c := onOne(env, &cobra.Command{
		Use:     "kill NAME",
		Short:   "Send a signal to a sandbox's program",
		Long:    `The signal is a name, as TERM, or a number.`,
		Example: `  surety sandbox kill --signal HUP web`,
	}, func(h *hosted, s *runtime.Sandbox) error {
		signal, err := runtime.ParseSignal(name)
		if err != nil {
			return usage(h.Command, "--signal: %v", err)
		}
		return s.Kill(h.Context(), signal, all)
	})
	c.Flags().StringVarP(&name, "signal", "s", "KILL", "signal to send")
	c.Flags().BoolVarP(&all, "all", "a", false, "to every process inside")
	return c
}

func sandboxWait(env *Env) *cobra.Command {
	return onOne(env, &cobra.Command{
		Use:     "wait NAME",
		Short:   "Wait until a sandbox has ended",
		Long:    `This command's exit code is the program's.`,
		Example: `  surety sandbox wait job`,
	}, func(h *hosted, s *runtime.Sandbox) error {
		st, err := s.Wait(h.Context())
		if err != nil {
			return err
		}
		return exitWith(st.ExitCode)
	})
}

func sandboxRemove(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "remove NAME...",
		Short: "Remove stopped sandboxes",
		Long:  `State and log go; the audit trail stays. --force ends a running one first.`,
		Example: `  surety sandbox remove web
  surety sandbox remove --force web job`,
		Args: someArgs("the sandbox's name"),
	}
	var force bool
	c.Flags().BoolVarP(&force, "force", "f", false, "running ones too")
	return withHost(env, c, func(h *hosted) error {
		for _, name := range h.args {
			s, err := h.host.Find(name)
			if err != nil {
				return err
			}
			if err := s.Remove(h.Context(), force); err != nil {
				return err
			}
		}
		return nil
	})
}

// slave is a new terminal's slave side as all three streams; the master is attached to ours.
func (s *streams) slave() runtime.Stdio {
	master, slave, err := runtime.OpenTerminal()
	if err != nil {
		s.env.note("surety: no terminal: %v", err)
		return s.stdio()
	}
	s.handed = append(s.handed, slave)
	s.attach(master)
	return runtime.Stdio{Stdin: slave, Stdout: slave, Stderr: slave}
}
