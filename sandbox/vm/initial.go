package vm

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"surety/base/errs"
)

// Names inside the guest's first file system.
const (
	initName   = "init"
	moduleDir  = "modules"
	moduleList = "modules/order" // the files of moduleDir as they are loaded, one a line
)

// initial is a guest's first file system: this binary as /init, the modules, and the folders and
// two nodes that a process cannot begin without.
type initial struct {
	binary  string
	modules []module
}

// prepareInitial returns the path of the initial file system for the kernel, made in the directory
// cache unless it is there already. The name of the file is the digest of all that goes into it, so
// what the name finds is what would be written.
func prepareInitial(cache, binary string, k Kernel) (string, error) {
	modules, err := moduleOrder(k.Modules, append(drivers[:], wireDriver)...)
	if err != nil {
		return "", err
	}
	n := initial{binary: binary, modules: modules}
	name, err := n.digest()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "initial-"+name+".cpio")
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		return path, nil
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", errs.Wrap(err, "vm: initial file system")
	}
	if err := n.store(path); err != nil {
		return "", err
	}
	return path, forgetOld(cache)
}

// digest names the content: the form of the archive and the digest of every file, in order.
func (n initial) digest() (string, error) {
	sum := sha256.New()
	_, _ = io.WriteString(sum, "2\n") // a hash takes everything
	for _, path := range n.files() {
		one, err := fileDigest(path)
		if err != nil {
			return "", err
		}
		_, _ = io.WriteString(sum, filepath.Base(path)+" "+one+"\n")
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (n initial) files() []string {
	files := []string{n.binary}
	for _, m := range n.modules {
		files = append(files, m.path)
	}
	return files
}

func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", errs.Wrap(err, "vm: initial file system")
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", errs.Wrap(err, "vm: initial file system: read %s", path)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// store writes the archive under another name and renames it: who finds the name finds it whole.
func (n initial) store(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "new-")
	if err != nil {
		return errs.Wrap(err, "vm: initial file system")
	}
	defer os.Remove(f.Name()) // gone by then where all went well
	defer f.Close()
	buffered := bufio.NewWriterSize(f, 1<<20)
	if err := n.write(buffered); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return errs.Wrap(err, "vm: initial file system")
	}
	if err := f.Chmod(0o444); err != nil { // QEMU reads it as a user of its own
		return errs.Wrap(err, "vm: initial file system")
	}
	return errs.Wrap(os.Rename(f.Name(), path), "vm: initial file system")
}

// write writes the archive.
func (n initial) write(to io.Writer) error {
	a := &archive{to: to}
	for _, dir := range []string{"dev", moduleDir, "proc", "root", "run", "sys", "tmp"} {
		a.add(entry{name: dir, mode: modeDir})
	}
	a.add(entry{name: "dev/console", mode: modeChar, major: 5, minor: 1})
	a.add(entry{name: "dev/null", mode: modeChar | 0o066, major: 1, minor: 3})
	// A library of this binary reads this before main can mount the real one over it.
	a.add(entry{name: "proc/sys", mode: modeDir})
	a.add(entry{name: "proc/sys/vm", mode: modeDir})
	const least = "65536\n"
	a.add(entry{name: "proc/sys/vm/mmap_min_addr", mode: modeFile, size: int64(len(least)),
		content: strings.NewReader(least)})
	var order strings.Builder
	for _, m := range n.modules {
		order.WriteString(filepath.Base(m.path) + "\n")
		if err := addFile(a, moduleDir+"/"+filepath.Base(m.path), modeFile, m.path); err != nil {
			return err
		}
	}
	a.add(entry{name: moduleList, mode: modeFile, size: int64(order.Len()),
		content: strings.NewReader(order.String())})
	if err := addProgram(a, initName, n.binary); err != nil {
		return err
	}
	return errs.Wrap(a.close(), "vm: initial file system")
}

func addFile(a *archive, name string, mode uint32, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return errs.Wrap(err, "vm: initial file system")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return errs.Wrap(err, "vm: initial file system")
	}
	a.add(entry{name: name, mode: mode, size: info.Size(), content: f})
	return errs.Wrap(a.err, "vm: initial file system: %s", path)
}

// addProgram adds what a program needs to run: the file up to the end of its last loaded segment.
// What debuggers read stands behind, and would cost every guest its loading.
func addProgram(a *archive, name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return errs.Wrap(err, "vm: initial file system")
	}
	defer f.Close()
	program, err := elf.NewFile(f)
	if err != nil {
		return errs.As(errs.Invalid, err, "vm: initial file system: %s", path)
	}
	var end int64
	for _, segment := range program.Progs {
		if segment.Type == elf.PT_LOAD {
			end = max(end, int64(segment.Off+segment.Filesz))
		}
	}
	if program.Class != elf.ELFCLASS64 || end < elfHeaderBytes {
		return errs.New(errs.Invalid, "vm: initial file system: %s is no 64-bit program", path)
	}
	var head [elfHeaderBytes]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return errs.Wrap(err, "vm: initial file system: %s", path)
	}
	clear(head[40:48]) // where the table of sections was
	clear(head[58:64]) // how many it had
	rest := io.NewSectionReader(f, elfHeaderBytes, end-elfHeaderBytes)
	a.add(entry{name: name, mode: modeExec, size: end,
		content: io.MultiReader(bytes.NewReader(head[:]), rest)})
	return errs.Wrap(a.err, "vm: initial file system: %s", path)
}

// elfHeaderBytes is the length of a 64-bit ELF file's header.
const elfHeaderBytes = 64

// forgetOld removes all archives but the newest few. A machine that is starting from one of them
// has it open.
func forgetOld(cache string) error {
	found, err := filepath.Glob(filepath.Join(cache, "initial-*.cpio"))
	if err != nil {
		return errs.Wrap(err, "vm: initial file systems")
	}
	age := func(path string) int64 {
		info, err := os.Stat(path)
		if err != nil {
			return 0 // gone already
		}
		return info.ModTime().UnixNano()
	}
	slices.SortFunc(found, func(a, b string) int {
		if age(a) > age(b) {
			return -1
		}
		return 1
	})
	for _, path := range found[min(keptArchives, len(found)):] {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return errs.Wrap(err, "vm: initial file systems")
		}
	}
	return nil
}
