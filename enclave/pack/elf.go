package pack

import (
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"surety/base/errs"
)

// object is what the header of an ELF file says of other files that it needs.
type object struct {
	class   elf.Class
	machine elf.Machine
	interp  string
	needed  []string
	rpath   []string
	runpath []string
}

// readObject returns nil where the file is no ELF file, and an object without needs where it is one
// that is not linked at run time.
func readObject(path string) (*object, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(err, "read")
	}
	defer f.Close() // nothing was written
	head := make([]byte, len(elf.ELFMAG))
	if _, err := io.ReadFull(f, head); err != nil || string(head) != elf.ELFMAG {
		return nil, nil
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return nil, errs.As(errs.Invalid, err, "%s: read its ELF header", path)
	}
	o := &object{class: e.Class, machine: e.Machine}
	if e.Type != elf.ET_EXEC && e.Type != elf.ET_DYN {
		return o, nil
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < maxConfig {
			name, err := io.ReadAll(p.Open())
			if err != nil {
				return nil, errs.As(errs.Invalid, err, "%s: read its interpreter", path)
			}
			o.interp = string(bytes.TrimRight(name, "\x00"))
		}
	}
	if o.needed, err = e.DynString(elf.DT_NEEDED); err != nil {
		return nil, errs.As(errs.Invalid, err, "%s: read what it needs", path)
	}
	o.rpath = paths(e, elf.DT_RPATH)
	if o.runpath = paths(e, elf.DT_RUNPATH); o.runpath != nil {
		o.rpath = nil // as ld.so does
	}
	return o, nil
}

// paths reads a list of directories of an object; one without is none.
func paths(e *elf.File, tag elf.DynTag) (all []string) {
	lists, err := e.DynString(tag)
	if err != nil {
		return nil
	}
	for _, list := range lists {
		for dir := range strings.SplitSeq(list, ":") {
			if dir != "" {
				all = append(all, dir)
			}
		}
	}
	return all
}

// expand replaces what ld.so replaces in a directory, for an object in the directory origin.
func (o *object) expand(dir, origin string) string {
	lib, platform := "lib64", "x86_64"
	if o.class == elf.ELFCLASS32 {
		lib = "lib"
	}
	if o.machine == elf.EM_AARCH64 {
		platform = "aarch64"
	}
	return strings.NewReplacer("${ORIGIN}", origin, "$ORIGIN", origin, "${LIB}", lib, "$LIB", lib,
		"${PLATFORM}", platform, "$PLATFORM", platform).Replace(dir)
}

// fits reports whether a file is an object that o can be linked with.
func (o *object) fits(path string) bool {
	other, err := readObject(path)
	return err == nil && other != nil && other.class == o.class && other.machine == o.machine
}

// defaults are the directories in which every loader of the field looks by itself.
var defaults = [...]string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu",
	"/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"}

// configured reads the directories of /etc/ld.so.conf, includes among them, below a root. What cannot
// be read of it is left out, as ldconfig does.
func configured(root string) []string {
	c := &loaderConfig{root: root}
	c.read("/etc/ld.so.conf")
	return c.dirs
}

type loaderConfig struct {
	root  string
	dirs  []string
	count int
}

func (c *loaderConfig) read(name string) {
	if c.count++; c.count > maxIncludes {
		return
	}
	data, err := readSmall(filepath.Join(c.root, name), maxConfig)
	if err != nil {
		return
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		line = strings.TrimSpace(line)
		if pattern, found := strings.CutPrefix(line, "include "); found {
			c.include(name, strings.TrimSpace(pattern))
		} else if strings.HasPrefix(line, "/") {
			c.dirs = append(c.dirs, strings.TrimRight(line, "/"))
		}
	}
}

// include reads the files of a pattern, in order.
func (c *loaderConfig) include(from, pattern string) {
	if !strings.HasPrefix(pattern, "/") {
		pattern = filepath.Join(filepath.Dir(from), pattern)
	}
	found, err := filepath.Glob(filepath.Join(c.root, pattern))
	if err != nil {
		return
	}
	for _, path := range found {
		if name, err := filepath.Rel(c.root, path); err == nil {
			c.read("/" + name)
		}
	}
}

// shebang returns the interpreter of a script and its one argument; empty where it is none.
func shebang(path string) (interpreter, argument string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", "", fileError(err, "read")
	}
	defer f.Close() // nothing was written
	head := make([]byte, 256)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", "", fileError(err, "read")
	}
	line, found := strings.CutPrefix(string(head[:n]), "#!")
	if !found {
		return "", "", nil
	}
	line, _, _ = strings.Cut(line, "\n")
	interpreter, argument, _ = strings.Cut(strings.TrimSpace(line), " ")
	return interpreter, strings.TrimSpace(argument), nil
}
