package cli

import (
	"context"

	"github.com/spf13/cobra"

	"surety/sandbox/runtime"
)

// sandboxPoolCommand is the group of sandboxes that wait, booted, for work.
func sandboxPoolCommand(env *Env) *cobra.Command {
	return part(&cobra.Command{
		Use:   "pool",
		Short: "Keep booted sandboxes waiting for work",
		Long: `A pool holds sandboxes of one kind that have booted and wait before their program's first
instruction. "surety sandbox run --pool NAME" takes one, and boots another in its place while the
first one works.`,
		Example: `  surety sandbox pool make jobs --size 4 --policy policy.yaml ./job
  surety sandbox run -i --pool jobs < input`,
	}, poolMake(env), poolList(env), poolFill(env), poolRemove(env))
}

func poolMake(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "make NAME SOURCE [-- COMMAND...]",
		Short: "Make a pool and fill it",
		Long: `SOURCE, COMMAND and the flags are those of "surety sandbox run", and hold for every sandbox of the
pool.`,
		Example: `  surety sandbox pool make jobs --size 4 --policy policy.yaml ./job`,
		Args:    someArgs("the pool's name"),
	}
	var f runFlags
	var size int
	f.describe(c.Flags())
	c.Flags().IntVar(&size, "size", 2, "how many wait")
	return withHost(env, c, func(h *hosted) error {
		if len(h.args) < 2 {
			return usage(c, "SOURCE is missing")
		}
		f.name = h.args[0]
		h.args = h.args[1:]
		spec, err := f.spec(h)
		if err != nil {
			return err
		}
		_, err = h.host.MakePool(h.Context(), f.name, size, *spec)
		return err
	})
}

func poolList(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "list",
		Short:   "List pools",
		Long:    `With -o json an array of {name, size, ready, spec}.`,
		Example: `  surety sandbox pool list`,
		Args:    noArgs,
	}
	type view struct {
		Name  string       `json:"name"`
		Size  int          `json:"size"`
		Ready int          `json:"ready"`
		Spec  runtime.Spec `json:"spec"`
	}
	return withHost(env, c, func(h *hosted) error {
		names, err := h.host.Pools()
		if err != nil {
			return err
		}
		views := []view{}
		g := newGrid(left("name"), right("size"), right("ready"))
		for _, name := range names {
			p, err := h.host.FindPool(name)
			if err != nil {
				return err
			}
			v := view{name, p.Size(), p.Ready(), p.Spec()}
			views = append(views, v)
			g.row(v.Name, v.Size, v.Ready)
		}
		return h.env.show(views, g.write)
	})
}

// onPool is a verb on the pool named.
func onPool(env *Env, c *cobra.Command, do func(context.Context, *runtime.Pool) error) *cobra.Command {
	c.Args = exactArgs("the pool's name")
	return withHost(env, c, func(h *hosted) error {
		p, err := h.host.FindPool(h.args[0])
		if err != nil {
			return err
		}
		return do(h.Context(), p)
	})
}

func poolFill(env *Env) *cobra.Command {
	return onPool(env, &cobra.Command{
		Use:     "fill NAME",
		Short:   "Boot what a pool lacks",
		Long:    `Whoever takes a sandbox fills its pool again; this is for after a crash or a restart of the machine.`,
		Example: `  surety sandbox pool fill jobs`,
	}, func(ctx context.Context, p *runtime.Pool) error { return p.Fill(ctx) })
}

func poolRemove(env *Env) *cobra.Command {
	return onPool(env, &cobra.Command{
		Use:     "remove NAME",
		Short:   "Remove a pool and what waits in it",
		Long:    `Sandboxes that were taken go on.`,
		Example: `  surety sandbox pool remove jobs`,
	}, func(ctx context.Context, p *runtime.Pool) error { return p.Remove(ctx) })
}

// take runs a sandbox of a pool, and fills the pool meanwhile.
func (f *runFlags) take(h *hosted) error {
	if len(h.args) > 0 {
		return usage(h.Command, "--pool takes no SOURCE, got %q", h.args[0])
	}
	p, err := h.host.FindPool(f.pool)
	if err != nil {
		return err
	}
	streams := newStreams(h.env, f.interactive)
	s, err := p.Take(h.Context(), streams.stdio())
	streams.handedOver()
	if err != nil {
		streams.finish()
		return err
	}
	filled := make(chan error, 1)
	go func() { filled <- p.Fill(context.WithoutCancel(h.Context())) }()
	err = f.stay(h, s, streams)
	if fill := <-filled; fill != nil {
		h.env.note("surety: fill pool %s: %v", f.pool, fill)
	}
	return err
}
