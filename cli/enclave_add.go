package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"surety/enclave/pack"
)

func enclaveAddCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "add DIR [PATH...]",
		Short: "Put programs, directories, images or secrets into a project",
		Long: `Copies each PATH into the project. A program brings its interpreter and its libraries, found as the
dynamic linker finds them; so does every program and library of a directory; a script brings what
its first line names. Below /bin, /lib, /usr, /opt and /etc a path is the same inside; another
program becomes /bin/NAME, and another file or directory /NAME. --to says otherwise.

--from lays out an image first: a directory in OCI layout, an archive, the root directory of a
system, or a registry's reference such as debian:12. --secret NAME puts the files into a secret
layer, which is mounted at /NAME or at the TARGET behind a colon; --to is below it then.

What a program opens while it runs stands in no header: plug-ins, modules of an interpreter, and
the libraries that look up users and hosts. --lib adds those by file name, such as libnss_dns.so.2.

With -o json, one object {layer, target, files, set, notes}; files are of {path, from, why}.`,
		Example: `  surety enclave add credit ./score
  surety enclave add credit /usr/bin/python3 /usr/lib/python3.11 && surety enclave add credit ./app
  surety enclave add credit --from debian:12
  surety enclave add credit ./weights --secret models`,
		Args: someArgs("DIR"),
	}
	var o pack.AddOrder
	var all bool
	c.Flags().StringVar(&o.To, "to", "", "path of the one PATH in the enclave")
	c.Flags().StringVar(&o.Secret, "secret", "", "NAME or NAME:TARGET of a secret layer")
	c.Flags().StringVar(&o.From, "from", "", "an image to lay out in the root")
	c.Flags().StringVar(&o.Tag, "tag", "", "which image of a layout or archive with several")
	c.Flags().StringArrayVar(&o.Libs, "lib", nil, "a library that a program opens while it runs "+
		"(repeatable)")
	c.Flags().StringArrayVar(&o.Search, "library-path", nil, "a further directory to find libraries in "+
		"(repeatable)")
	c.Flags().BoolVar(&all, "all", false, "list every file, not only programs and libraries that were "+
		"drawn in")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		p, err := pack.LoadProject(args[0])
		if err != nil {
			return err
		}
		o.Paths = args[1:]
		if len(o.Paths) == 0 && o.From == "" && len(o.Libs) == 0 {
			return usage(c, "PATH is missing, or --from, or --lib")
		}
		bars := &imageBars{env: env}
		o.Advanced = bars.advance
		added, err := p.Add(ctx, o)
		bars.finish()
		if err != nil {
			return err
		}
		for _, note := range added.Notes {
			env.note("note: %s", note)
		}
		err = env.show(added, func(w io.Writer) error { return writeAdded(w, &added, all) })
		if len(added.Set) > 0 {
			env.note("enclave.yaml had no command, and says now: %s", strings.Join(added.Set, "; "))
		}
		env.note("next: surety enclave build %s", args[0])
		return err
	})
}

// writeAdded lists what was drawn in, and counts the rest.
func writeAdded(w io.Writer, a *pack.Added, all bool) error {
	g := newGrid(left("path"), left("from"), left("why"))
	rest := 0
	for _, f := range a.Files {
		if f.Why == "" && !all && len(a.Files) > 40 {
			rest++
			continue
		}
		g.row(f.Path, f.From, f.Why)
	}
	if rest > 0 {
		g.row(fmt.Sprintf("and %d files that were asked for", rest), "", "")
	}
	return g.write(w)
}
