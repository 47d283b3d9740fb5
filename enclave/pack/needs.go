package pack

import (
	"debug/elf"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"surety/base/errs"
)

// place of a library: where the host has it, and where a program inside will look for it.
type foundAt struct {
	host string
	dest string
	same bool // links and all: the host's path is the one inside
}

// needs brings what an object needs: its interpreter, and the libraries that its header names, as
// ld.so would find them. above are the search paths (DT_RPATH) of those that need it.
func (c *copier) needs(host, dest string, above []searchPath) error {
	if c.seen[dest] {
		return nil
	}
	if len(c.seen) >= maxLibraries {
		return errs.New(errs.TooLarge, "add %s: more than %d libraries, which is the limit", dest,
			maxLibraries)
	}
	c.seen[dest] = true
	o, err := readObject(c.host(host))
	if err != nil || o == nil {
		return err
	}
	if o.interp != "" {
		if err := c.bring(o.interp, "interpreter of "+dest); err != nil {
			return errs.Wrap(err, "%s needs the interpreter %s; where this machine has none, add --from an "+
				"image that has it", dest, o.interp)
		}
	}
	chain := append(searchPaths(o, o.rpath, host, dest), above...)
	search := chain
	if o.runpath != nil { // the search paths of those above do not count then
		search = searchPaths(o, o.runpath, host, dest)
	}
	for _, name := range o.needed {
		if err := c.library(o, name, dest, search, chain); err != nil {
			return err
		}
	}
	return nil
}

// searchPath is a directory to look in: of the host, and where that is inside.
type searchPath struct{ host, dest string }

// searchPaths expands the directories that an object names.
func searchPaths(o *object, dirs []string, host, dest string) (all []searchPath) {
	for _, dir := range dirs {
		at := searchPath{filepath.Clean(o.expand(dir, filepath.Dir(host))),
			filepath.Clean(o.expand(dir, filepath.Dir(dest)))}
		if filepath.IsAbs(at.host) { // others begin where the program is started
			all = append(all, at)
		}
	}
	return all
}

// library brings one library that an object needs, and what that needs.
func (c *copier) library(o *object, name, by string, search, above []searchPath) error {
	found, ok := c.find(o, name, search)
	why := "needed by " + by
	switch {
	case ok && found.same:
		if err := c.chain(found.host, why); err != nil {
			return err
		}
	case ok:
		if err := c.copyLibrary(found, why); err != nil {
			return err
		}
	case c.inside(name):
		return nil
	case c.lenient:
		c.note("%s needs %s, which this machine does not have: left out", by, name)
		return nil
	default:
		return errs.New(errs.NotFound, "add %s: it needs %s, which is in none of %s: install it, or name its "+
			"directory with --library-path", by, name, strings.Join(c.searched(search), ", "))
	}
	c.reachable(found.dest, name, search)
	return c.needs(found.host, found.dest, above)
}

// find looks for a library as ld.so does.
func (c *copier) find(o *object, name string, search []searchPath) (foundAt, bool) {
	if strings.Contains(name, "/") {
		return foundAt{name, name, true}, filepath.IsAbs(name) && o.fits(c.host(name))
	}
	for _, dir := range search {
		path := filepath.Join(dir.host, name)
		if o.fits(c.host(path)) {
			return foundAt{path, filepath.Join(dir.dest, name), dir.host == dir.dest}, true
		}
	}
	for _, dir := range c.extra {
		path := filepath.Join(dir, name)
		if o.fits(c.host(path)) {
			return foundAt{path, filepath.Join(c.home, name), false}, true
		}
	}
	for _, dir := range append(configured(c.sys), defaults[:]...) {
		path := filepath.Join(dir, name)
		if o.fits(c.host(path)) {
			return foundAt{path, path, true}, true
		}
	}
	return foundAt{}, false
}

// searched names the directories for whoever misses a library.
func (c *copier) searched(search []searchPath) (dirs []string) {
	for _, dir := range search {
		dirs = append(dirs, dir.host)
	}
	dirs = append(append(dirs, c.extra...), append(configured(c.sys), defaults[:]...)...)
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// inside reports whether the project has a library already where programs look by themselves.
func (c *copier) inside(name string) bool {
	for _, dir := range append(configured(c.root), defaults[:]...) {
		place, err := c.locate(filepath.Join(dir, name), false)
		if err != nil {
			continue
		}
		if _, err := os.Lstat(place); err == nil {
			return true
		}
	}
	return false
}

// reachable makes a link to a library that only the host's list of directories leads to: there is no
// such list inside.
func (c *copier) reachable(dest, name string, search []searchPath) {
	dir := filepath.Dir(dest)
	for _, known := range search {
		if known.dest == dir {
			return
		}
	}
	if slices.Contains(defaults[:], dir) || strings.Contains(name, "/") {
		return
	}
	at := filepath.Join(c.home, name)
	if c.ready() == nil && c.link(at, dest) == nil {
		c.added(at, dest, "so that "+name+" is found")
	}
}

// copyLibrary copies a library to another path than the host's.
func (c *copier) copyLibrary(found foundAt, why string) error {
	if filepath.Dir(found.dest) == c.home {
		if err := c.ready(); err != nil {
			return err
		}
	}
	return c.copyFile(found.host, found.dest, why)
}

// ready gives the directory where libraries go the links on its way that the host has: so that
// libraries which are brought later by their own paths lie there too.
func (c *copier) ready() error {
	names := split(c.home)
	for i := range names {
		here := "/" + filepath.Join(names[:i+1]...)
		target, err := os.Readlink(c.host(here))
		if err != nil {
			continue // no link, or not there
		}
		place, err := c.place(here)
		if err != nil {
			return err
		}
		if _, err := os.Lstat(place); err == nil {
			return nil // the project has it in its own way
		}
		if err := c.link(here, target); err != nil {
			return err
		}
		c.put[here] = here
		c.added(here, here, "the host's directory of libraries")
		return nil
	}
	return nil
}

// bring copies a program of the host to its own path, with what it needs.
func (c *copier) bring(path, why string) error {
	if err := c.chain(path, why); err != nil {
		return err
	}
	return c.needs(path, path, nil)
}

// native is an object such as this machine runs.
func native() *object {
	o := &object{class: elf.ELFCLASS64, machine: elf.EM_X86_64}
	if runtime.GOARCH == "arm64" {
		o.machine = elf.EM_AARCH64
	}
	return o
}
