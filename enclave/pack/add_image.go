package pack

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"surety/base/errs"
	"surety/sandbox/image"
	"surety/sandbox/image/erofs"
)

// addImage lays out an image in the root, and returns how it says that it is run.
func (p *Project) addImage(ctx context.Context, c *copier, o *AddOrder) (run suggested, err error) {
	source := image.Source{Kind: image.Registry, Where: o.From}
	if _, missing := os.Stat(o.From); missing == nil {
		if source, err = image.Detect(o.From); err != nil {
			return run, err
		}
	} else if filepath.IsAbs(o.From) || strings.HasPrefix(o.From, ".") {
		return run, fileError(missing, "image")
	}
	source.Tag, source.Advanced = o.Tag, o.Advanced
	source.Options = image.Options{Devices: image.DropDevices}
	tree, err := image.Assemble(ctx, source, os.TempDir())
	if err != nil {
		return run, err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	e := &extraction{copier: c, ctx: ctx, owners: p.Owners == "keep" && os.Geteuid() == 0,
		links: map[*erofs.Node]string{}}
	if err := e.children(tree.Root, "/"); err != nil {
		return run, err
	}
	c.added("/", o.From, "")
	if n := tree.Dropped.Devices + tree.Dropped.Attributes; n > 0 {
		c.note("left out of %s: %d device nodes, extended attributes of %d files", o.From,
			tree.Dropped.Devices, tree.Dropped.Attributes)
	}
	return c.suggestion(&tree.Config), nil
}

// suggestion is how an image says that it is run. What of it has to be looked up is left to a person.
func (c *copier) suggestion(config *image.Config) suggested {
	run := suggested{command: append(slices.Clone(config.Entrypoint), config.Cmd...), env: config.Env,
		cwd: config.WorkDir}
	if len(run.command) > 0 && !filepath.IsAbs(run.command[0]) {
		found := c.lookup(run.command[0], config.Env)
		if found == "" {
			c.note("the image runs %q, which is no path: set command", run.command)
			return suggested{}
		}
		run.command[0] = found
	}
	user, group, _ := strings.Cut(config.User, ":")
	uid, err1 := strconv.ParseUint(user, 10, 32)
	gid, err2 := strconv.ParseUint(group, 10, 32)
	run.uid, run.gid = uint32(uid), uint32(gid)
	if user != "" && err1 != nil || group != "" && err2 != nil {
		c.note("the image runs as user %s: set uid and gid", config.User)
	}
	return run
}

// lookup finds a program of the root as a shell would.
func (c *copier) lookup(name string, env []string) string {
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, variable := range env {
		if value, found := strings.CutPrefix(variable, "PATH="); found {
			path = value
		}
	}
	for dir := range strings.SplitSeq(path, ":") {
		at := filepath.Join(dir, name)
		place, err := c.locate(at, false)
		if err == nil {
			_, err = os.Lstat(place)
		}
		if err == nil && filepath.IsAbs(at) {
			return at
		}
	}
	return ""
}

// extraction writes a tree of an image into a directory.
type extraction struct {
	*copier
	ctx    context.Context
	owners bool
	links  map[*erofs.Node]string // files that have several names, by the first
}

func (e *extraction) children(n *erofs.Node, dest string) error {
	for _, name := range n.Names() {
		if err := e.ctx.Err(); err != nil {
			return errs.As(errs.Canceled, err, "stopped")
		}
		if err := e.node(n.Child(name), filepath.Join(dest, name)); err != nil {
			return err
		}
	}
	return nil
}

func (e *extraction) node(n *erofs.Node, dest string) error {
	mode := permissions(n.Mode)
	switch n.Mode & erofs.TypeMask {
	case erofs.Directory:
		path, err := e.directory(dest, 0o755)
		if err == nil {
			err = e.children(n, dest)
		}
		if err == nil {
			err = e.finish(path, n, mode)
		}
		return fileError(err, "%s", dest)
	case erofs.Symlink:
		return e.link(dest, n.Target)
	case erofs.Regular:
		return fileError(e.file(n, dest, mode), "%s", dest)
	}
	e.note("%s of the image was left out: it is neither a file, a directory nor a link", dest)
	return nil
}

func (e *extraction) file(n *erofs.Node, dest string, mode os.FileMode) error {
	path, err := e.place(dest)
	if err != nil {
		return err
	}
	if first, known := e.links[n]; known {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return os.Link(first, path)
	}
	e.links[n] = path
	content := io.NopCloser(strings.NewReader(""))
	if n.Content != nil {
		if content, err = n.Content.Open(); err != nil {
			return err
		}
	}
	err = e.write(dest, content, mode)
	if err = errors.Join(err, content.Close()); err != nil {
		return err
	}
	return e.finish(path, n, mode)
}

// finish gives a file its owner and then its mode, which a change of owner takes bits from.
func (e *extraction) finish(path string, n *erofs.Node, mode os.FileMode) error {
	if e.owners {
		if err := os.Lchown(path, int(n.UID), int(n.GID)); err != nil {
			return err
		}
	}
	return os.Chmod(path, mode)
}

// permissions turns the bits of stat(2) into those of os.
func permissions(mode uint16) os.FileMode {
	m := os.FileMode(mode & 0o777)
	for i, is := range [...]os.FileMode{os.ModeSticky, os.ModeSetgid, os.ModeSetuid} {
		if mode&(0o1000<<i) != 0 {
			m |= is
		}
	}
	return m
}
