package image

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// Detect says what stands at a path: a directory is a layout where it has the file oci-layout and
// a root otherwise, a file is a program where it is ELF and an archive where it is tar, gzip or
// zstd. Kind NotFound where there is nothing, Invalid where it is none of these.
func Detect(path string) (Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Source{}, diskError(err, "image.add")
	}
	if info.IsDir() {
		_, err := os.Stat(filepath.Join(path, "oci-layout"))
		if err == nil {
			return Source{Kind: Layout, Where: path}, nil
		}
		return Source{Kind: Tree, Where: path}, nil
	}
	if !info.Mode().IsRegular() {
		return Source{}, errs.New(errs.Invalid, "image.add: %s is neither a file nor a directory", path)
	}
	kind, err := detectFile(path)
	return Source{Kind: kind, Where: path}, err
}

func detectFile(path string) (Kind, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", diskError(err, "image.add")
	}
	defer f.Close() // nothing was written
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", diskError(err, "image.add: %s", path)
	}
	head = head[:n]
	switch {
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return Program, nil
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}), bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}),
		n == 512 && bytes.Equal(head[257:262], []byte("ustar")):
		return Archive, nil
	}
	return "", errs.New(errs.Invalid, "image.add: %s is no ELF program and no tar archive", path)
}

// openRegular opens a file that has a beginning and an end: anything else could keep us waiting.
func openRegular(open func(flags int) (*os.File, error)) (*os.File, error) {
	f, err := open(os.O_RDONLY | unix.O_NONBLOCK)
	if err != nil {
		return nil, diskError(err, "open")
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errs.New(errs.Invalid, "it is not a regular file")
	}
	if err != nil {
		return nil, errors.Join(diskError(err, "open"), f.Close())
	}
	return f, nil
}

// openPath opens a regular file of the host.
func openPath(path string) (*os.File, error) {
	return openRegular(func(flags int) (*os.File, error) { return os.OpenFile(path, flags, 0) })
}

// DefaultName returns the name that an image of the source gets where none is given: a registry's
// reference as it was written, and otherwise the file's name without what says its format.
func (s Source) DefaultName() string {
	if s.Kind == Registry {
		return s.Where
	}
	name := filepath.Base(filepath.Clean(s.Where))
	for _, suffix := range [...]string{".gz", ".tgz", ".zst", ".tar", ".oci"} {
		name = strings.TrimSuffix(name, suffix)
	}
	if s.Tag != "" {
		return name + ":" + s.Tag
	}
	return name
}
