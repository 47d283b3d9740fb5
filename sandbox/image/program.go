package image

import (
	"context"
	"debug/elf"
	"errors"
	"io"
	"path/filepath"
	"strings"

	"surety/base/errs"
	"surety/sandbox/image/erofs"
)

// accounts are what programs expect to find of users and names, and nothing more.
var accounts = [...]struct{ name, content string }{
	{"passwd", "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"},
	{"group", "root:x:0:\nnogroup:x:65534:\n"},
	{"hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n"},
	{"nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"},
	{"resolv.conf", ""},
}

// openProgram prepares an image of one static program, as /NAME, among the few files that programs
// expect. The program is hashed first, which is enough where its image is known.
func openProgram(source Source, tmp string) (*material, error) {
	digest, err := readProgram(source.Where, io.Discard)
	if err != nil {
		return nil, errs.Wrap(err, "image.add: program %s", source.Where)
	}
	name := filepath.Base(source.Where)
	m := &material{
		key: "program " + name + " " + digest,
		config: Config{Entrypoint: []string{"/" + name}, WorkDir: "/",
			Env: []string{"PATH=/", "HOME=/root"}},
	}
	m.assemble = func(context.Context) (*assembled, error) {
		a, err := assembleProgram(source.Where, digest, tmp)
		return a, errs.Wrap(err, "image.add: program %s", source.Where)
	}
	return m, nil
}

// assembleProgram copies the program and checks the copy: what was checked is what goes in.
func assembleProgram(path, digest, tmp string) (*assembled, error) {
	s, err := newSpool(tmp)
	if err != nil {
		return nil, err
	}
	a := &assembled{spools: []*spool{s}}
	got, err := readProgram(path, s)
	if err == nil && got != digest {
		err = errs.New(errs.Busy, "it changed while it was read")
	}
	if err == nil {
		err = checkProgram(io.NewSectionReader(s.f, 0, s.size))
	}
	if err == nil {
		a.root, err = programTree(filepath.Base(path), section{s, 0, s.size}, s.size)
	}
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

// readProgram copies a program and returns its digest.
func readProgram(path string, to io.Writer) (digest string, err error) {
	f, err := openPath(path)
	if err != nil {
		return "", err
	}
	defer f.Close() // nothing was written
	h := newHashed(to)
	n, err := io.CopyBuffer(h, onlyReader{io.LimitReader(f, maxProgram+1)}, make([]byte, copyBytes))
	if err != nil {
		return "", diskError(err, "copy")
	}
	if n > maxProgram {
		return "", errs.New(errs.TooLarge, "more than %d bytes, which is the limit", int64(maxProgram))
	}
	return digestOf(h.sum), nil
}

func programTree(name string, content erofs.Content, size int64) (*erofs.Node, error) {
	t := newTree()
	etc, tmp := newDirectory(0o755), newDirectory(0o1777)
	for _, file := range accounts {
		n := &erofs.Node{Mode: erofs.Regular | 0o644, Size: uint64(len(file.content)),
			Content: literal(file.content)}
		if err := etc.Put(file.name, n); err != nil {
			return nil, err
		}
	}
	for _, d := range []struct {
		name string
		dir  *erofs.Node
	}{{"etc", etc}, {"tmp", tmp}, {"root", newDirectory(0o700)}} {
		if err := t.root.Put(d.name, d.dir); err != nil {
			return nil, err
		}
	}
	if err := t.complete(); err != nil {
		return nil, err
	}
	if t.root.Child(name) != nil {
		return nil, errs.New(errs.Invalid, "its name is that of a directory of the image: give it another")
	}
	return t.root, t.root.Put(name, &erofs.Node{Mode: erofs.Regular | 0o755, Size: uint64(size),
		Content: content})
}

// literal is a content that stands in the source.
type literal string

// Open implements erofs.Content.
func (l literal) Open() (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(l))), nil
}

// checkProgram refuses what would not run alone: another machine's programs, and those that need
// an interpreter or libraries.
func checkProgram(r io.ReaderAt) error {
	f, err := elf.NewFile(r)
	if err != nil {
		return errs.As(errs.Invalid, err, "read its headers")
	}
	switch {
	case f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64:
		return errs.New(errs.Invalid, "it is for %s, %s, want 64 bits, x86-64", f.Machine, f.Class)
	case f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN:
		return errs.New(errs.Invalid, "it is of type %s, want a program", f.Type)
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		if p.Filesz > erofs.MaxPath {
			return errs.New(errs.Invalid, "it names an interpreter of %d bytes", p.Filesz)
		}
		name := make([]byte, p.Filesz)
		if _, err := io.ReadFull(p.Open(), name); err != nil {
			return errs.As(errs.Invalid, err, "read its interpreter")
		}
		return errs.New(errs.Invalid,
			"it needs the interpreter %s: build it statically, or add a root directory that has it",
			strings.TrimRight(string(name), "\x00"))
	}
	return nil
}
