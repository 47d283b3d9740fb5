package cli

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"surety/base/errs"
	"surety/base/ident"
	"surety/sandbox"
	"surety/sandbox/runtime"
	"surety/sandbox/trail"
)

// sandboxAuditCommand is the group of the audit trails.
func sandboxAuditCommand(env *Env) *cobra.Command {
	return part(&cobra.Command{
		Use:   "audit",
		Short: "Read, follow, verify and export audit trails",
		Long: `A trail holds every act of a sandbox's program with what the policy said of it, numbered, chained
and signed. It is named by the sandbox (whose latest it is), or by its directory or an exported
bundle (a path with a slash); it stays when the sandbox is removed. These commands need no running
sandbox, and for a bundle no other file.`,
		Example: `  surety sandbox audit show web --verdict refuse
  surety sandbox audit follow web
  surety sandbox audit verify web`,
	}, auditShow(env), auditFollow(env), auditVerify(env), auditExport(env), auditHeadCommand(env),
		auditKey(env))
}

// trailFlag adds --root and returns how a trail is found: what has a slash is a path, the rest the
// name of a sandbox, meaning its latest trail, or else of a file here.
func trailFlag(env *Env, flags *pflag.FlagSet) func(name string) (string, error) {
	var root string
	sandboxRootFlag(env, flags, &root)
	return func(name string) (string, error) {
		if strings.ContainsRune(name, filepath.Separator) {
			return name, nil
		}
		if exists(root) { // a look must not make it
			host, err := runtime.Open(runtime.Config{Root: root})
			if err != nil {
				return "", err
			}
			path, err := host.FindTrail(name)
			if err == nil || !exists(name) {
				return path, err
			}
		}
		if exists(name) {
			return name, nil
		}
		return "", errs.New(errs.NotFound, "no trail of %s: there is no %s", name, root)
	}
}

// auditFilter is which records are shown.
type auditFilter struct {
	kinds, verdicts  []string
	pid              uint32
	path, addr       string
	trace, from, to  string
	last             int
	query            sandbox.Query
	request          ident.ID
	fromSeq, toSeq   uint64
	fromTime, toTime time.Time
}

func (f *auditFilter) flags(flags *pflag.FlagSet) {
	flags.Uint32Var(&f.pid, "pid", 0, "this process, by its number inside, and all below it")
	flags.StringVar(&f.path, "path", "", "paths that match a pattern, as in a policy: /etc/**")
	flags.StringVar(&f.addr, "addr", "", "an internet address or a block of them")
	flags.StringSliceVar(&f.kinds, "kind", nil, "kinds of acts: exec, open, connect ...")
	flags.StringSliceVar(&f.verdicts, "verdict", nil, "allow, refuse, would-refuse, or - for unjudged")
	flags.StringVar(&f.trace, "trace", "", "acts while the request of this id was served")
	flags.StringVar(&f.from, "from", "", "first record: its number, or a time (RFC 3339)")
	flags.StringVar(&f.to, "to", "", "last record: its number, or a time (RFC 3339)")
}

// read makes the query of what was typed.
func (f *auditFilter) read(c *cobra.Command) error {
	for _, name := range f.kinds {
		kind, err := sandbox.ParseKind(name)
		if err != nil {
			return usage(c, "--kind: %v", err)
		}
		f.query.Kinds = append(f.query.Kinds, kind)
	}
	for _, name := range f.verdicts {
		verdict, err := sandbox.ParseVerdict(name)
		if err != nil {
			return usage(c, "--verdict: %v", err)
		}
		f.query.Verdicts = append(f.query.Verdicts, verdict)
	}
	if f.addr != "" {
		prefix, err := parseBlock(f.addr)
		if err != nil {
			return usage(c, "--addr: %v", err)
		}
		f.query.Addr = prefix
	}
	if f.trace != "" {
		id, err := ident.Parse(f.trace)
		if err != nil {
			return usage(c, "--trace: %v", err)
		}
		f.request = id
	}
	f.query.Process, f.query.Path = f.pid, f.path
	if err := f.query.Check(); err != nil {
		return usage(c, "%v", err)
	}
	for _, end := range [...]struct {
		flag, text string
		seq        *uint64
		at         *time.Time
	}{{"from", f.from, &f.fromSeq, &f.fromTime}, {"to", f.to, &f.toSeq, &f.toTime}} {
		if err := parseEnd(end.text, end.seq, end.at); err != nil {
			return usage(c, "--%s: %v", end.flag, err)
		}
	}
	if f.last < 0 {
		return usage(c, "--last: %d is negative", f.last)
	}
	return nil
}

// open reads what was typed and opens the trail that is meant.
func (f *auditFilter) open(c *cobra.Command, find func(string) (string, error), name string) (
	*trail.Reader, error) {
	if err := f.read(c); err != nil {
		return nil, err
	}
	path, err := find(name)
	if err != nil {
		return nil, err
	}
	return trail.Open(path)
}

func parseBlock(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return prefix, errs.New(errs.Invalid, "%q is neither an address nor a block of them", text)
	}
	return prefix, nil
}

func parseEnd(text string, seq *uint64, at *time.Time) (err error) {
	if text == "" {
		return nil
	}
	if *seq, err = strconv.ParseUint(text, 10, 64); err == nil {
		return nil
	}
	if *at, err = time.Parse(time.RFC3339, text); err != nil {
		return errs.New(errs.Invalid, "%q is neither a record's number nor a time like %s", text,
			"2026-01-31T14:05:00Z")
	}
	return nil
}

// auditView shows the records of a trail that a filter selects.
type auditView struct {
	env      *Env
	filter   *auditFilter
	selector *sandbox.Selector
	writer   *auditWriter
	position uint64           // number of the last inside record
	total    uint64           // records read
	shown    uint64           // records selected
	kept     []sandbox.Record // the last ones, where only those are wanted
}

func newAuditView(env *Env, f *auditFilter) *auditView {
	return &auditView{env: env, filter: f, selector: sandbox.NewSelector(f.query),
		writer: newAuditWriter(env.Stdout)}
}

// take shows a record where it is selected, or keeps it where only the last are wanted.
func (v *auditView) take(rec *sandbox.Record, keep int) error {
	v.total++
	if !rec.Outside {
		v.position = rec.Seq
	}
	if !v.selector.Match(rec) || !v.within(rec) {
		return nil
	}
	v.shown++
	if keep == 0 {
		return v.write(rec)
	}
	if len(v.kept) == keep {
		v.kept = append(v.kept[:0], v.kept[1:]...)
	}
	v.kept = append(v.kept, *rec)
	return nil
}

// within reports whether a record lies in the range asked for. A record of the host's has the place
// of the inside record before it.
func (v *auditView) within(rec *sandbox.Record) bool {
	f, at := v.filter, instantTime(rec.At)
	switch {
	case v.position < f.fromSeq, f.toSeq != 0 && v.position > f.toSeq:
		return false
	case !f.fromTime.IsZero() && at.Before(f.fromTime), !f.toTime.IsZero() && at.After(f.toTime):
		return false
	}
	return f.request.IsZero() || rec.Trace == f.request
}

func (v *auditView) write(rec *sandbox.Record) error {
	if v.env.wantsJSON() {
		return v.env.line(recordViewOf(rec))
	}
	return wrote(v.writer.write(rec))
}

// release shows what was kept.
func (v *auditView) release() error {
	for i := range v.kept {
		if err := v.write(&v.kept[i]); err != nil {
			return err
		}
	}
	v.kept = nil
	return nil
}

// recordFields describes the objects of show and follow.
const recordFields = `

With -o json one object a line: {seq, host, at, kind, verdict, rule, errno, done, session, cut,
sysno, pid, tid, ppid, uid, trace, access, flags, mode, result, words, addr, proto, digest, comm,
path, path2, args, text}. Fields that a record does not have are left out; rule is -1 for the
policy's default.`

func auditShow(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "show NAME|PATH",
		Short: "Show what a sandbox's program did",
		Long: `One line for each record, in the order they were written, times in UTC. A line that begins with !
was refused, with ? would have been refused by an enforcing policy, and with * is of an operator's
session; a number with h before it is a record of the host's. Several filters must all match. What
is shown is not verified: see "surety sandbox audit verify".` + recordFields,
		Example: `  surety sandbox audit show web --verdict refuse
  surety sandbox audit show web --pid 12 --kind connect,send --addr 10.0.0.0/8
  surety sandbox audit show web --path '/etc/**' --from 2026-01-31T14:05:00Z
  surety sandbox audit show ./bundle.tar --last 20 -o json`,
		Args: exactArgs("NAME or PATH"),
	}
	find := trailFlag(env, c.Flags())
	var filter auditFilter
	filter.flags(c.Flags())
	c.Flags().IntVar(&filter.last, "last", 0, "only so many, the last ones; 0 for all")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		r, err := filter.open(c, find, args[0])
		if err != nil {
			return err
		}
		defer func() { _ = r.Close() }() // it was only read
		v := newAuditView(env, &filter)
		err = v.readAll(ctx, r, filter.last)
		if released := v.release(); err == nil {
			err = released
		}
		if err == nil && !env.wantsJSON() {
			env.note("%d of %s", v.shown, count(int(v.total), "record"))
		}
		return err
	})
}

// readAll takes every record there is now.
func (v *auditView) readAll(ctx context.Context, r *trail.Reader, keep int) error {
	for ctx.Err() == nil {
		rec, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := v.take(rec, keep); err != nil {
			return err
		}
	}
	return errs.As(errs.Canceled, ctx.Err(), "sandbox audit show")
}

func auditFollow(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "follow NAME|PATH",
		Short: "Show what a sandbox's program does, as it does it",
		Long: `The last records that the filters select, and then each new one until the trail ends or the
command is interrupted. Lines and objects are those of show.` + recordFields,
		Example: `  surety sandbox audit follow web
  surety sandbox audit follow web --verdict refuse,would-refuse --last 100`,
		Args: exactArgs("NAME or PATH"),
	}
	find := trailFlag(env, c.Flags())
	var filter auditFilter
	filter.flags(c.Flags())
	c.Flags().IntVar(&filter.last, "last", 10, "begin with so many earlier ones")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		r, err := filter.open(c, find, args[0])
		if err != nil {
			return err
		}
		defer func() { _ = r.Close() }() // it was only read
		return newAuditView(env, &filter).follow(ctx, r)
	})
}

// follow shows the last of what is there and then what comes.
func (v *auditView) follow(ctx context.Context, r *trail.Reader) error {
	if err := v.readAll(ctx, r, max(v.filter.last, 1)); err != nil && !errs.Is(err, errs.Corrupt) {
		return err
	}
	if v.filter.last == 0 {
		v.kept = nil
	}
	if err := v.release(); err != nil {
		return err
	}
	for {
		rec, err := r.Follow(ctx)
		switch {
		case err == io.EOF, errs.Is(err, errs.Canceled):
			return nil // its end, or the user's
		case err != nil:
			return err
		}
		if err := v.take(rec, 0); err != nil {
			return err
		}
	}
}

func auditExport(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "export NAME|DIRECTORY",
		Short: "Write a trail as one file that verifies anywhere",
		Long: `The file is a tar archive of the trail's files up to its last seal. show and verify take it in the
trail's place. Give the host's public key ("surety sandbox audit key") and the anchored heads by
another way, so that they do not come from the one who may have changed the file.`,
		Example: `  surety sandbox audit export web --out web.trail.tar`,
		Args:    exactArgs("NAME or DIRECTORY"),
	}
	find := trailFlag(env, c.Flags())
	var out string
	c.Flags().StringVar(&out, "out", "-", "file to write; - for standard output")
	return verb(env, c, func(_ context.Context, env *Env, args []string) error {
		path, err := find(args[0])
		if err != nil {
			return err
		}
		if out == "-" {
			return trail.Export(path, env.Stdout)
		}
		file, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fileError(err, "bundle")
		}
		err = trail.Export(path, file)
		if closing := file.Close(); err == nil && closing != nil {
			err = fileError(closing, "bundle")
		}
		if err != nil {
			_ = os.Remove(out) // half a bundle is none
			return err
		}
		env.note("%s: check it with: surety sandbox audit verify %s", out, bundlePath(out))
		return nil
	})
}

// bundlePath is a path that is not taken for a sandbox's name.
func bundlePath(path string) string {
	if strings.ContainsRune(path, filepath.Separator) {
		return path
	}
	return "./" + path
}

func auditHeadCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "head NAME|DIRECTORY",
		Short: "Show how far a trail has got, to be noted elsewhere",
		Long: `The last seal that is safely on the disk: one JSON object {sandbox, seq, head, seal}. Kept where
this host cannot change it, it proves later that the trail was not written anew: give it to "surety
sandbox audit verify --anchors". A node anchors its own sandboxes' trails in its evidence log.`,
		Example: `  surety sandbox audit head web >> heads.json`,
		Args:    exactArgs("NAME or DIRECTORY"),
	}
	find := trailFlag(env, c.Flags())
	return verb(env, c, func(_ context.Context, env *Env, args []string) error {
		path, err := find(args[0])
		if err != nil {
			return err
		}
		head, err := trail.HeadOf(path)
		if err != nil {
			return err
		}
		return env.line(head)
	})
}

func auditKey(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "Show the public key that this host's trails are signed for",
		Long: `Keep it where this host cannot change it, and give it to "surety sandbox audit verify --key". The
key is made where there is none yet. With -o json, one object {key}.`,
		Example: `  surety sandbox audit key`,
		Args:    noArgs,
	}
	var root string
	sandboxRootFlag(env, c.Flags(), &root)
	return verb(env, c, func(context.Context, *Env, []string) error {
		if err := os.MkdirAll(root, 0o700); err != nil {
			return fileError(err, "root")
		}
		key, err := trail.LoadKey(filepath.Join(root, "audit.key"))
		if err != nil {
			return err
		}
		view := struct {
			Key string `json:"key"`
		}{key.Public().String()}
		return env.show(view, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, view.Key)
			return err
		})
	})
}
