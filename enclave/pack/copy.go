package pack

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"surety/base/errs"
)

// AddedFile is one file that went into a project.
type AddedFile struct {
	Path string `json:"path"` // in the enclave
	From string `json:"from"` // of the host, or of an image
	Why  string `json:"why"`  // such as "needed by /bin/score"; empty: it was asked for
}

// copier puts files of the host into a directory that will be a root file system. Symbolic links of
// that directory are followed within it, as the program will follow them.
type copier struct {
	sys   string // the host's root: / outside of tests
	root  string // the directory
	files []AddedFile
	notes []string
	extra []string        // further directories of the host to look for libraries in
	seen  map[string]bool // objects whose needs were met, by their path in the enclave
	home  string          // directory in which every program inside finds libraries

	put     map[string]string // what this copier put in place, by its path in the enclave
	openers []string          // interpreters that were added

	// lenient only notes libraries that are missing: of a directory not every file has to be used.
	lenient bool
}

func newCopier(sys, root string) *copier {
	c := &copier{sys: sys, root: root, seen: map[string]bool{}, put: map[string]string{}, home: "/lib"}
	for _, dir := range defaults {
		if _, err := os.Stat(filepath.Join(sys, dir, "libc.so.6")); err == nil {
			c.home = dir
			break
		}
	}
	return c
}

// host is the path on this machine of a path of the host.
func (c *copier) host(path string) string { return filepath.Join(c.sys, path) }

func (c *copier) note(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

func (c *copier) added(path, from, why string) {
	c.files = append(c.files, AddedFile{path, from, why})
}

// place returns where a path of the enclave stands on the host, its last name not followed. Missing
// directories on the way are made.
func (c *copier) place(path string) (string, error) { return c.locate(path, true) }

// locate is place that makes directories only where it is to.
func (c *copier) locate(path string, make bool) (string, error) {
	at, names, links := "/", split(path), 0
	for len(names) > 1 {
		name := names[0]
		names = names[1:]
		next := filepath.Join(at, name)
		info, err := os.Lstat(filepath.Join(c.root, next))
		switch {
		case errors.Is(err, os.ErrNotExist) && make:
			if err := c.mkdir(filepath.Join(c.root, next), 0o755); err != nil {
				return "", err
			}
		case err != nil:
			return "", fileError(err, "place %s", path)
		case info.Mode()&os.ModeSymlink != 0:
			if links++; links > maxLinks {
				return "", errs.New(errs.Invalid, "%s: more than %d symbolic links on its way", path, maxLinks)
			}
			target, err := os.Readlink(filepath.Join(c.root, next))
			if err != nil {
				return "", fileError(err, "place %s", path)
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join(at, target) // .. of the root is the root
			}
			at, names = "/", append(split(target), names...)
			continue
		case !info.IsDir():
			return "", errs.New(errs.Exists, "%s: %s is a file in the project already", path, next)
		}
		at = next
	}
	return filepath.Join(append([]string{c.root, at}, names...)...), nil
}

func split(path string) []string {
	path = strings.Trim(filepath.Clean("/"+path), "/")
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

// mkdir makes a directory with exactly the mode.
func (c *copier) mkdir(path string, mode os.FileMode) error {
	err := os.Mkdir(path, 0o755)
	if err == nil {
		err = os.Chmod(path, mode)
	}
	return fileError(err, "make %s", path)
}

// directory returns where a directory of the enclave stands on the host, its own name followed too:
// so that nothing is done to what a link of the project leads to outside of it. It is made with the
// mode where it is not there; one that is there keeps its own.
func (c *copier) directory(path string, mode os.FileMode) (string, error) {
	_, missing := c.locate(filepath.Join(path, "_"), false)
	within, err := c.place(filepath.Join(path, "_"))
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(within)
	if missing != nil && dir != c.root {
		err = os.Chmod(dir, mode)
	}
	return dir, fileError(err, "make %s", path)
}

// modeOf is what counts of a file's mode.
func modeOf(info os.FileInfo) os.FileMode {
	return info.Mode() & (os.ModePerm | os.ModeSetuid | os.ModeSetgid | os.ModeSticky)
}

// copyFile copies a file of the host, links followed. One that is there already is replaced.
func (c *copier) copyFile(host, dest, why string) error {
	if c.put[dest] == host {
		return nil
	}
	from, err := os.OpenFile(c.host(host), os.O_RDONLY, 0)
	if err != nil {
		return fileError(err, "add")
	}
	defer from.Close() // nothing was written
	info, err := from.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errs.New(errs.Invalid, "%s is no regular file", host)
	}
	if err == nil {
		err = c.write(dest, from, modeOf(info))
	}
	if err != nil {
		return fileError(err, "add %s", host)
	}
	c.put[dest] = host
	c.added(dest, host, why)
	return nil
}

// write puts a file in place, whole or not at all.
func (c *copier) write(dest string, from io.Reader, mode os.FileMode) error {
	path, err := c.place(dest)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".adding-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing, once it was renamed
	_, err = io.CopyBuffer(f, onlyReader{from}, make([]byte, copyBytes))
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

// link puts a symbolic link in place. One that leads elsewhere is replaced; anything else is kept, and
// reported.
func (c *copier) link(dest, target string) error {
	path, err := c.place(dest)
	if err != nil {
		return err
	}
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.Mode()&os.ModeSymlink != 0:
		if err := os.Remove(path); err != nil {
			return fileError(err, "add")
		}
	case err == nil:
		return errs.New(errs.Exists, "%s is in the project already, and is no link", dest)
	}
	return fileError(os.Symlink(target, path), "add")
}

// chain copies what a path of the host leads to, to the same path, with every symbolic link on its
// way: so that all names under which it is known work inside too.
func (c *copier) chain(path, why string) error {
	names, links := split(path), 0
	for i := 0; i < len(names); {
		here := "/" + filepath.Join(names[:i+1]...)
		info, err := os.Lstat(c.host(here))
		if err != nil {
			return fileError(err, "add %s", path)
		}
		last := i == len(names)-1
		if info.Mode()&os.ModeSymlink == 0 {
			if last {
				return c.whole(here, here, why)
			}
			i++
			continue
		}
		target, err := os.Readlink(c.host(here))
		if err != nil {
			return fileError(err, "add %s", path)
		}
		if occupied, err := c.occupied(here); err != nil || occupied {
			if err != nil {
				return err
			}
			return c.resolved(path, why)
		}
		if links++; links > maxLinks {
			return errs.New(errs.Invalid, "add %s: more than %d symbolic links on its way", path, maxLinks)
		}
		if c.put[here] != here {
			if err := c.link(here, target); err != nil {
				return err
			}
			c.put[here] = here
			c.added(here, here, why)
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(here), target)
		}
		names, i = append(split(target), names[i+1:]...), 0
	}
	return c.whole("/", "/", why)
}

// occupied reports whether the project has a file or directory where the host has a link.
func (c *copier) occupied(path string) (bool, error) {
	place, err := c.place(path)
	if err != nil {
		return false, err
	}
	info, err := os.Lstat(place)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Mode()&os.ModeSymlink == 0, fileError(err, "add")
}

// resolved copies what a path of the host leads to under that very path.
func (c *copier) resolved(path, why string) error {
	real, err := filepath.EvalSymlinks(c.host(path))
	if err != nil {
		return fileError(err, "add %s", path)
	}
	name, err := filepath.Rel(c.sys, real)
	if err != nil {
		return fileError(err, "add %s", path)
	}
	return c.whole("/"+name, path, why)
}

// whole copies a file, or a directory with all that is in it.
func (c *copier) whole(host, dest, why string) error {
	info, err := os.Stat(c.host(host))
	if err != nil {
		return fileError(err, "add")
	}
	if info.IsDir() {
		return c.tree(host, dest, why)
	}
	return c.copyFile(host, dest, why)
}

// tree copies a directory. Symbolic links stay as they are.
func (c *copier) tree(host, dest, why string) error {
	info, err := os.Stat(c.host(host))
	if err != nil {
		return fileError(err, "add")
	}
	if _, err := c.directory(dest, modeOf(info)); err != nil {
		return err
	}
	entries, err := os.ReadDir(c.host(host))
	if err != nil {
		return fileError(err, "add")
	}
	for _, e := range entries {
		from, to := filepath.Join(host, e.Name()), filepath.Join(dest, e.Name())
		switch {
		case e.IsDir():
			err = c.tree(from, to, why)
		case e.Type()&os.ModeSymlink != 0:
			err = c.copyLink(from, to, why)
		case e.Type().IsRegular():
			err = c.copyFile(from, to, why)
		default:
			c.note("%s was left out: it is neither a file, a directory nor a link", from)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) copyLink(host, dest, why string) error {
	target, err := os.Readlink(c.host(host))
	if err == nil {
		err = c.link(dest, target)
	}
	if err != nil {
		return fileError(err, "add %s", host)
	}
	c.added(dest, host, why)
	return nil
}
