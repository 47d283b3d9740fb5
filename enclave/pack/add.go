package pack

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"surety/base/errs"
	"surety/enclave"
	"surety/sandbox/image"
)

// AddOrder says what to put into a project.
type AddOrder struct {
	Paths    []string // of this machine: programs, other files, directories
	To       string   // path in the enclave; empty: see AddTo
	Secret   string   // NAME or NAME:TARGET of a secret layer; empty: the root
	From     string   // an image: a layout, an archive, a root directory, or a registry's reference
	Tag      string   // which image of a layout or archive with several
	Libs     []string // libraries that programs open while they run, by file name or path
	Search   []string // further directories to look for libraries in
	Advanced func(image.Progress)

	sys string // the host's root, in tests; empty: /
}

// Added says what Add did.
type Added struct {
	Files  []AddedFile `json:"files"`
	Layer  string      `json:"layer"`
	Target string      `json:"target"`          // where the layer is mounted
	Set    []string    `json:"set,omitempty"`   // lines of the project's file, which had no command
	Notes  []string    `json:"notes,omitempty"` // what is left for a person to decide
}

// Add puts files into a project. A program brings its interpreter and its libraries, found as ld.so
// finds them; so do all programs and libraries of a directory. What a program opens while it runs is
// not seen: see Libs. A path below the system's directories keeps its place; others become /bin/NAME
// (a program) or /NAME. Files that are there already are replaced.
//
// With Secret everything goes into that layer, as it is and without libraries; the project's file gets
// the layer where it has none of the name. Kinds: NotFound for a path or library that is not there,
// Exists where the project has something else in the way, Locked where another command is changing
// it, Invalid, NoSpace. After an error some of the files are there.
func (p *Project) Add(ctx context.Context, o AddOrder) (Added, error) {
	if o.sys == "" {
		o.sys = "/"
	}
	if err := o.check(); err != nil {
		return Added{}, err
	}
	held, err := p.hold()
	if err != nil {
		return Added{}, err
	}
	defer held.Close() // the lock goes with it
	if o.Secret != "" {
		return p.addSecret(o)
	}
	c := newCopier(o.sys, filepath.Join(p.Dir, rootName))
	for _, dir := range o.Search {
		whole, err := filepath.Abs(dir)
		if err != nil {
			return Added{}, fileError(err, "pack.add")
		}
		c.extra = append(c.extra, whole)
	}
	a, run := Added{Layer: rootName, Target: "/"}, suggested{}
	if o.From != "" {
		if run, err = p.addImage(ctx, c, &o); err != nil {
			return a, errs.Wrap(err, "pack.add")
		}
	}
	for _, path := range o.Paths {
		if err := ctx.Err(); err != nil {
			return a, errs.As(errs.Canceled, err, "pack.add")
		}
		if err := p.addPath(c, &o, &run, path); err != nil {
			return a, errs.Wrap(err, "pack.add")
		}
	}
	for _, lib := range o.Libs {
		if err := c.addLibrary(lib); err != nil {
			return a, errs.Wrap(err, "pack.add")
		}
	}
	c.hints()
	a.Files, a.Notes = c.files, c.notes
	a.Set, err = p.setCommand(run)
	return a, err
}

func (o *AddOrder) check() error {
	switch {
	case len(o.Paths) == 0 && o.From == "" && len(o.Libs) == 0:
		return errs.New(errs.Invalid, "pack.add: nothing to add: want files, an image or libraries")
	case o.To != "" && len(o.Paths) != 1:
		return errs.New(errs.Invalid, "pack.add: one place for %d files: add them one by one", len(o.Paths))
	case o.To != "" && (!filepath.IsAbs(o.To) || filepath.Clean(o.To) != o.To):
		return errs.New(errs.Invalid, "pack.add: %q is no clean absolute path", o.To)
	case o.Secret != "" && (o.From != "" || len(o.Libs) > 0):
		return errs.New(errs.Invalid, "pack.add: images and libraries go into the root, not into a "+
			"secret layer")
	}
	return nil
}

// systemDirs keep their paths inside: programs of a distribution find their files by them.
var systemDirs = [...]string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr",
	"/opt", "/etc"}

func isSystem(path string) bool {
	return slices.ContainsFunc(systemDirs[:], func(dir string) bool {
		return path == dir || strings.HasPrefix(path, dir+"/")
	})
}

// addPath adds one file or directory with what it needs.
func (p *Project) addPath(c *copier, o *AddOrder, run *suggested, path string) error {
	host, err := filepath.Abs(path)
	if err != nil {
		return fileError(err, "%s", path)
	}
	info, err := os.Stat(c.host(host))
	if err != nil {
		return fileError(err, "%s", path)
	}
	object, err := readObject(c.host(host))
	if info.IsDir() {
		object, err = nil, nil
	}
	if err != nil {
		return err
	}
	program := !info.IsDir() && info.Mode()&0o111 != 0
	dest := o.To
	switch {
	case dest != "":
	case isSystem(host):
		dest = host
	case program && (object == nil || object.interp != "" || len(object.needed) == 0):
		dest = "/bin/" + filepath.Base(host)
	default:
		dest = "/" + filepath.Base(host)
	}
	before := len(c.files)
	if dest == host {
		err = c.chain(host, "")
	} else {
		err = c.resolvedTo(host, dest)
	}
	if err != nil {
		return err
	}
	c.lenient = info.IsDir()
	for _, file := range slices.Clone(c.files[before:]) {
		if at, err := os.Lstat(c.host(file.From)); err != nil || !at.Mode().IsRegular() {
			continue // a link, which may lead nowhere
		}
		if err := c.needs(file.From, file.Path, nil); err != nil {
			return err
		}
	}
	if !program {
		return nil
	}
	if len(run.command) == 0 {
		run.command = []string{dest}
	}
	if object != nil {
		c.opener(host)
		return nil
	}
	return c.script(host, dest)
}

// resolvedTo copies what a path leads to.
func (c *copier) resolvedTo(host, dest string) error {
	real, err := filepath.EvalSymlinks(c.host(host))
	if err != nil {
		return fileError(err, "add %s", host)
	}
	name, err := filepath.Rel(c.sys, real)
	if err != nil {
		return fileError(err, "add %s", host)
	}
	return c.whole("/"+name, dest, "")
}

// script brings a script's interpreter, and the one that env would find.
func (c *copier) script(host, dest string) error {
	interpreter, argument, err := shebang(c.host(host))
	if err != nil || interpreter == "" {
		return err
	}
	why := "interpreter of " + dest
	if err := c.bring(interpreter, why); err != nil {
		return err
	}
	if filepath.Base(interpreter) == "env" {
		name := strings.Fields(strings.TrimPrefix(argument, "-S "))
		if len(name) == 0 {
			return nil
		}
		found, err := exec.LookPath(name[0])
		if err != nil {
			return errs.New(errs.NotFound, "add %s: its interpreter %s is not on this machine", dest, name[0])
		}
		interpreter = found
		if err := c.bring(found, why); err != nil {
			return err
		}
	}
	c.opener(interpreter)
	return nil
}

// interpreters are those that open files of their own when they begin.
var interpreters = regexp.MustCompile(`^(python|perl|ruby|php|node|lua)[0-9.]*$`)

// opener remembers a program that opens files which its header does not name.
func (c *copier) opener(path string) {
	real, err := filepath.EvalSymlinks(c.host(path))
	if name := filepath.Base(real); err == nil && interpreters.MatchString(name) {
		c.openers = append(c.openers, name)
	}
}

// hints tells of modules that interpreters will look for, and that are not in the project.
func (c *copier) hints() {
	slices.Sort(c.openers)
	for _, name := range slices.Compact(c.openers) {
		for _, dir := range [...]string{"/usr/lib/" + name, "/usr/local/lib/" + name, "/usr/share/" + name,
			"/usr/share/" + name + "js"} {
			if info, err := os.Stat(c.host(dir)); err != nil || !info.IsDir() {
				continue
			}
			place, err := c.locate(dir, false)
			if err == nil {
				_, err = os.Lstat(place)
			}
			if err != nil {
				c.note("%s opens modules when it runs, which its header does not name: add %s too", name, dir)
			}
		}
	}
}

// addLibrary adds a library by its file name, or the path that it has.
func (c *copier) addLibrary(lib string) error {
	o := native()
	found, ok := foundAt{}, false
	if strings.Contains(lib, "/") {
		host, err := filepath.Abs(lib)
		if err != nil {
			return fileError(err, "%s", lib)
		}
		found, ok = foundAt{host, filepath.Join(c.home, filepath.Base(host)), false}, o.fits(c.host(host))
		if isSystem(host) {
			found.dest, found.same = host, true
		}
	} else {
		found, ok = c.find(o, lib, nil)
	}
	if !ok {
		return errs.New(errs.NotFound, "library %s: it is in none of %s", lib,
			strings.Join(c.searched(nil), ", "))
	}
	var err error
	if found.same {
		err = c.chain(found.host, "")
	} else {
		err = c.copyLibrary(found, "")
	}
	if err != nil {
		return err
	}
	c.reachable(found.dest, filepath.Base(found.dest), nil)
	return c.needs(found.host, found.dest, nil)
}

// addSecret adds files to a secret layer, as they are.
func (p *Project) addSecret(o AddOrder) (Added, error) {
	name, target, _ := strings.Cut(o.Secret, ":")
	if err := checkLayerName(name); err != nil {
		return Added{}, err
	}
	index := slices.IndexFunc(p.Layers, func(l ProjectLayer) bool { return l.Name == name })
	switch {
	case index < 0 && target == "":
		target = "/" + name
	case index >= 0 && p.Layers[index].Kind != enclave.Secret:
		return Added{}, errs.New(errs.Exists, "pack.add: the layer %s is %s", name, p.Layers[index].Kind)
	case index >= 0 && target != "" && target != p.Layers[index].Target:
		return Added{}, errs.New(errs.Exists, "pack.add: the layer %s is mounted at %s, not %s", name,
			p.Layers[index].Target, target)
	case index >= 0:
		target = p.Layers[index].Target
	}
	l := ProjectLayer{Name: name, Kind: enclave.Secret, Target: target}
	if index < 0 {
		if err := p.addLayer(l); err != nil {
			return Added{}, err
		}
	}
	dir := p.layerDir(&l)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Added{}, fileError(err, "pack.add")
	}
	if err := os.Chmod(dir, 0o755); err != nil { // its mode is that of the mounted directory
		return Added{}, fileError(err, "pack.add")
	}
	c := newCopier(o.sys, dir)
	for _, path := range o.Paths {
		if err := c.addData(path, target, o.To); err != nil {
			return Added{}, errs.Wrap(err, "pack.add")
		}
	}
	for i := range c.files {
		c.files[i].Path = filepath.Join(target, c.files[i].Path)
	}
	return Added{Files: c.files, Notes: c.notes, Layer: name, Target: target}, nil
}

// addData copies a file into a layer, or what a directory holds.
func (c *copier) addData(path, target, to string) error {
	host, err := filepath.Abs(path)
	if err != nil {
		return fileError(err, "%s", path)
	}
	info, err := os.Stat(c.host(host))
	if err != nil {
		return fileError(err, "%s", path)
	}
	dest := "/"
	if !info.IsDir() {
		dest += filepath.Base(host)
	}
	if to != "" {
		rest, found := strings.CutPrefix(to, target)
		if !found || rest != "" && rest[0] != '/' {
			return errs.New(errs.Invalid, "%s is not below %s, where the layer is mounted", to, target)
		}
		dest = "/" + strings.Trim(rest, "/")
	}
	return c.resolvedTo(host, dest)
}
