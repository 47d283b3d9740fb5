package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"surety/enclave/pack"
)

func enclaveDiffCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "diff BEFORE AFTER",
		Short: "Say which field or file made another measurement",
		Long: `BEFORE and AFTER are projects that are built, bundles' directories, or bundles in one file. Fields
of the manifests that differ are named, and of public layers that differ every file with what about
it differs: content, size, mode, owner, target, or that it is on one side only. What is in a secret
layer is looked at only where both its keys are here, beside the bundles.

Exit status 0 where the measurements are the same, 1 where they differ.

With -o json, one object {before, after, signers, fields, files, more, sealed, resealed}; fields
are of {field, before, after}, files of {layer, path, what, before, after}.`,
		Example: `  surety enclave diff credit credit-1.enclave`,
		Args:    exactArgs("BEFORE", "AFTER"),
	}
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		before, keysBefore, err := openEnclave(args[0])
		if err != nil {
			return err
		}
		defer before.Close() // nothing was written
		after, keysAfter, err := openEnclave(args[1])
		if err != nil {
			return err
		}
		defer after.Close() // nothing was written
		found, err := pack.Compare(ctx, before, after, keysBefore, keysAfter)
		if err != nil {
			return err
		}
		if err := env.show(found, func(w io.Writer) error { return writeComparison(w, found) }); err != nil {
			return err
		}
		if !found.Same() {
			return &exitError{1}
		}
		return nil
	})
}

func writeComparison(w io.Writer, c *pack.Comparison) error {
	if len(c.Signers) > 0 {
		_, err := fmt.Fprintf(w, "signer: %s, then %s (not measured)\n", c.Signers[0], c.Signers[1])
		if err != nil {
			return err
		}
	}
	if c.Same() {
		_, err := fmt.Fprintln(w, "the same measurement:", c.After)
		return err
	}
	if err := writePairs(w, pair{"before", c.Before}, pair{"after", c.After}); err != nil {
		return err
	}
	g := newGrid(left("field"), left("before"), left("after"))
	for _, d := range c.Fields {
		g.row(d.Field, compared(d.Before), compared(d.After))
	}
	if err := g.write(w); err != nil {
		return err
	}
	if len(c.Files) > 0 {
		g := newGrid(left("layer"), left("file"), left("what"), left("before"), left("after"))
		for _, d := range c.Files {
			g.row(d.Layer, d.Path, d.What, d.Before, d.After)
		}
		if err := g.write(w); err != nil {
			return err
		}
	}
	var notes []string
	if c.More > 0 {
		notes = append(notes, fmt.Sprintf("and %d differences of files more", c.More))
	}
	for _, name := range c.Sealed {
		notes = append(notes, fmt.Sprintf("layer %s is secret and was sealed anew: what is in it shows only "+
			"with its keys", name))
	}
	for _, name := range c.Resealed {
		notes = append(notes, fmt.Sprintf("layer %s holds the same files, sealed anew", name))
	}
	for _, note := range notes {
		if _, err := fmt.Fprintln(w, note); err != nil {
			return err
		}
	}
	return nil
}

// comparedMax is how much of a value a table shows: enough of a digest to tell it from another.
const comparedMax = 44

// compared shows a value beside another one; -o json has it whole.
func compared(text string) string {
	switch {
	case text == "":
		return "-"
	case len(text) > comparedMax:
		return text[:comparedMax/2] + "..."
	}
	return text
}
