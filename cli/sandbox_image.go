package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"surety/base/errs"
	"surety/sandbox/image"
)

// sandboxImageCommand is the group of the images that sandboxes run from.
func sandboxImageCommand(env *Env) *cobra.Command {
	return part(&cobra.Command{
		Use:   "image",
		Short: "Fetch, make, list and check images",
		Long: `An image is one file: a read-only root file system, named by the SHA-256 of its bytes. The same
layers, directory or program give the same bytes on every machine. A sandbox runs from a copy in
memory that is hashed once and sealed, and its first audit record holds that digest.`,
		Example: `  surety sandbox image pull debian:12
  surety sandbox image add ./server
  surety sandbox image list`,
	}, sandboxImagePull(env), sandboxImageAdd(env), sandboxImageList(env), sandboxImageShow(env),
		sandboxImageCheck(env), sandboxImageRemove(env))
}

// imageVerb is a verb that works on the images of --root.
func imageVerb(env *Env, c *cobra.Command,
	do func(ctx context.Context, store *image.Store, args []string) error) *cobra.Command {
	var root string
	sandboxRootFlag(env, c.Flags(), &root)
	return verb(env, c, func(ctx context.Context, _ *Env, args []string) error {
		store, err := image.Open(root)
		if err != nil {
			return err
		}
		return do(ctx, store, args)
	})
}

// imageFlags are what a new image may be told.
type imageFlags struct {
	name, devices string
	options       image.Options
}

func (f *imageFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.name, "name", "", "name of the image (default: made of the source)")
	flags.StringVar(&f.devices, "devices", "refuse", "device nodes: refuse, drop or keep")
	flags.BoolVar(&f.options.ZeroTime, "zero-time", false, "every file is of 1970, so that times make no "+
		"other image")
	flags.BoolVar(&f.options.RootOwns, "root-owns", false, "every file is root's")
}

// source completes a source with what the flags say.
func (f *imageFlags) source(c *cobra.Command, s image.Source) (image.Source, error) {
	switch f.devices {
	case "refuse":
	case "drop", "keep":
		f.options.Devices = image.Devices(f.devices)
	default:
		return s, usage(c, "--devices is %q, want refuse, drop or keep", f.devices)
	}
	s.Options = f.options
	if f.name == "" {
		f.name = s.DefaultName()
	}
	return s, nil
}

// addImage makes an image, showing how far it is, and writes what it is.
func addImage(ctx context.Context, env *Env, store *image.Store, s image.Source, name string) error {
	bars := &imageBars{env: env}
	s.Advanced = bars.advance
	made, err := store.Add(ctx, s, name)
	bars.finish()
	if err != nil {
		return err
	}
	if made.Dropped.Devices+made.Dropped.Attributes > 0 {
		env.note("left out: %d device nodes, extended attributes of %d files (%s)", made.Dropped.Devices,
			made.Dropped.Attributes, strings.Join(made.Dropped.Examples, "; "))
	}
	return env.show(made, func(w io.Writer) error { return writeImage(w, made) })
}

// imageBars shows one bar for each stage of the work.
type imageBars struct {
	env *Env

	mu    sync.Mutex
	stage string
	done  int64
	bar   *progress
}

func (b *imageBars) advance(p image.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.Stage != b.stage {
		if b.bar != nil {
			b.bar.finish()
		}
		total := p.Total
		if total == 0 {
			total = -1
		}
		b.stage, b.done, b.bar = p.Stage, 0, b.env.newProgress(total, p.Stage+" bytes")
	}
	if p.Done > b.done { // several layers report at once
		b.bar.add(p.Done - b.done)
		b.done = p.Done
	}
}

func (b *imageBars) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil {
		b.bar.finish()
	}
}

func sandboxImagePull(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "pull REF",
		Short: "Fetch an image from a registry",
		Long: `REF is as elsewhere: debian:12 is docker.io/library/debian:12, and HOST/NAME@sha256:... is fetched
only if it has that digest. Of an image for several platforms, that for linux/amd64 is taken.
Credentials are those of "docker login". Every digest and size is checked; layers that are here
already, by their content, are not fetched again. With -o json, one image as "show" gives it.`,
		Example: `  surety sandbox image pull debian:12
  surety sandbox image pull localhost:5000/scorer@sha256:4f2b... --name scorer`,
		Args: exactArgs("REF"),
	}
	var f imageFlags
	f.add(c.Flags())
	return imageVerb(env, c, func(ctx context.Context, store *image.Store, args []string) error {
		s, err := f.source(c, image.Source{Kind: image.Registry, Where: args[0]})
		if err != nil {
			return err
		}
		return addImage(ctx, env, store, s, f.name)
	})
}

func sandboxImageAdd(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "add SOURCE",
		Short: "Make an image of a layout, an archive, a directory or a program",
		Long: `What SOURCE is shows by itself: a directory in OCI image layout, or any other as the root of a file
system; a tar file, plain or compressed, of such a layout or of "docker save"; one static ELF
program, which becomes /NAME among empty /tmp, /proc, /dev and a minimal /etc. A layout or archive
with several images takes --tag. With -o json, one image as "show" gives it.`,
		Example: `  surety sandbox image add ./server
  surety sandbox image add image.tar --tag v1 --name scorer
  surety sandbox image add /srv/debian --devices drop`,
		Args: exactArgs("SOURCE"),
	}
	var f imageFlags
	var tag string
	f.add(c.Flags())
	c.Flags().StringVar(&tag, "tag", "", "which image of a layout or archive with several")
	return imageVerb(env, c, func(ctx context.Context, store *image.Store, args []string) error {
		s, err := image.Detect(args[0])
		if err != nil {
			return err
		}
		if s.Tag = tag; tag != "" && s.Kind != image.Layout && s.Kind != image.Archive {
			return usage(c, "--tag is for layouts and archives, %s is a %s", args[0], s.Kind)
		}
		if s, err = f.source(c, s); err != nil {
			return err
		}
		return addImage(ctx, env, store, s, f.name)
	})
}

func sandboxImageList(env *Env) *cobra.Command {
	return imageVerb(env, &cobra.Command{
		Use:   "list",
		Short: "List the images",
		Long: `By name. An image with two names is there twice and stored once. With -o json, an array of images
as "show" gives them.`,
		Example: `  surety sandbox image list`,
		Args:    noArgs,
	}, func(_ context.Context, store *image.Store, _ []string) error {
		all, err := store.List()
		if err != nil {
			return err
		}
		if all == nil {
			all = []image.Image{} // an empty array in JSON
		}
		return env.show(all, func(w io.Writer) error {
			g := newGrid(left("name"), left("digest"), right("bytes"), right("files"), left("added"),
				left("source"))
			for _, i := range all {
				g.row(i.Name, i.Digest[:len("sha256:")+12], i.Size, i.Files,
					i.Added.Format("2006-01-02 15:04"), i.Source)
			}
			return g.write(w)
		})
	})
}

func sandboxImageShow(env *Env) *cobra.Command {
	return imageVerb(env, &cobra.Command{
		Use:   "show NAME",
		Short: "Show what an image is and how it runs",
		Long: `NAME is an image's name, or its digest or the first twelve or more digits of it. With -o json, one
object {name, digest, path, size, files, source, manifest, layers, config, dropped, added}; sizes
are in bytes.`,
		Example: `  surety sandbox image show debian:12`,
		Args:    exactArgs("NAME"),
	}, func(_ context.Context, store *image.Store, args []string) error {
		found, err := store.Find(args[0])
		if err != nil {
			return err
		}
		return env.show(found, func(w io.Writer) error { return writeImage(w, found) })
	})
}

func writeImage(w io.Writer, i image.Image) error {
	pairs := []pair{{"name", i.Name}, {"digest", i.Digest}, {"path", i.Path}, {"bytes", i.Size},
		{"files", i.Files}, {"source", i.Source}}
	if i.Manifest != "" {
		pairs = append(pairs, pair{"manifest", i.Manifest})
	}
	for n, l := range i.Layers {
		pairs = append(pairs, pair{fmt.Sprintf("layer %d", n+1), l.DiffID})
	}
	for _, p := range []struct {
		name string
		list []string
	}{{"entrypoint", i.Config.Entrypoint}, {"command", i.Config.Cmd}, {"environment", i.Config.Env},
		{"user", []string{i.Config.User}}, {"directory", []string{i.Config.WorkDir}},
		{"ports", i.Config.Ports}, {"volumes", i.Config.Volumes},
		{"stop signal", []string{i.Config.StopSignal}}} {
		if text := strings.Join(p.list, " "); text != "" {
			pairs = append(pairs, pair{p.name, text})
		}
	}
	return writePairs(w, pairs...)
}

func sandboxImageCheck(env *Env) *cobra.Command {
	return imageVerb(env, &cobra.Command{
		Use:   "check NAME",
		Short: "Read an image again and compare it with its digest",
		Long: `Hashes every byte, then reads the structure of the file system: names in order, counts of links,
no two files on the same bytes. Exit status 1 names what is wrong. With -o json, one object {name,
digest, files, names, directories, bytes}.`,
		Example: `  surety sandbox image check debian:12`,
		Args:    exactArgs("NAME"),
	}, func(ctx context.Context, store *image.Store, args []string) error {
		found, err := store.Find(args[0])
		if err != nil {
			return err
		}
		tally, err := image.Verify(ctx, found)
		if err != nil {
			return err
		}
		view := checkedImage{found.Name, found.Digest, tally.Files, tally.Names, tally.Directories,
			tally.Bytes}
		return env.show(view, func(w io.Writer) error {
			return writePairs(w, pair{"whole", "yes"}, pair{"digest", view.Digest}, pair{"files", view.Files},
				pair{"names", view.Names}, pair{"directories", view.Directories}, pair{"content", view.Bytes})
		})
	})
}

// checkedImage is what a whole image was found to hold.
type checkedImage struct {
	Name        string `json:"name"`
	Digest      string `json:"digest"`
	Files       int    `json:"files"`
	Names       int    `json:"names"`
	Directories int    `json:"directories"`
	Bytes       uint64 `json:"bytes"`
}

func sandboxImageRemove(env *Env) *cobra.Command {
	return imageVerb(env, &cobra.Command{
		Use:   "remove NAME...",
		Short: "Remove images",
		Long: `Takes the names away, and with an image's last name its file. Sandboxes that run from it go on.
With -o json, an array of the names.`,
		Example: `  surety sandbox image remove debian:12`,
		Args:    someArgs("NAME"),
	}, func(ctx context.Context, store *image.Store, args []string) error {
		for i, name := range args {
			if err := store.Remove(ctx, name); err != nil {
				return errs.Wrap(err, "after %d of %d", i, len(args))
			}
		}
		return env.show(args, func(w io.Writer) error {
			for _, name := range args {
				if _, err := fmt.Fprintln(w, "removed", name); err != nil {
					return err
				}
			}
			return nil
		})
	})
}
