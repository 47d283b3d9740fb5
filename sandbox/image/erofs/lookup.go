package erofs

import (
	"io"
	"slices"
	"strings"

	"surety/base/errs"
)

// Lookup returns the inode that a path leads to, from the root and within the image: symbolic
// links are followed, and ".." of the root is the root. Kind NotFound where there is no such file,
// Invalid where more than 40 links were followed.
func (e *Reader) Lookup(path string) (Inode, error) {
	followed := 0
	var stack []Inode // of directories, the root first
	root, err := e.Root()
	if err != nil {
		return Inode{}, err
	}
	here := root
	names := strings.Split(path, "/")
	for len(names) > 0 {
		name := names[0]
		names = names[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			here = root
			if len(stack) > 0 {
				here, stack = stack[len(stack)-1], stack[:len(stack)-1]
			}
			continue
		}
		next, err := e.child(here, name, path)
		if err != nil {
			return Inode{}, err
		}
		if !next.Is(Symlink) {
			stack, here = append(stack, here), next
			continue
		}
		if followed++; followed > maxFollowed {
			return Inode{}, errs.New(errs.Invalid, "erofs.lookup: %q follows more than %d links", path,
				maxFollowed)
		}
		target, err := e.Target(next)
		if err != nil {
			return Inode{}, err
		}
		if strings.HasPrefix(target, "/") {
			stack, here = nil, root
		}
		names = append(strings.Split(target, "/"), names...)
	}
	return here, nil
}

// child returns what a directory has under a name.
func (e *Reader) child(dir Inode, name, path string) (Inode, error) {
	missing := errs.New(errs.NotFound, "erofs.lookup: %q: there is no %q", path, name)
	if !dir.Is(Directory) {
		return Inode{}, missing
	}
	entries, err := e.Entries(dir)
	if err != nil {
		return Inode{}, err
	}
	i, found := slices.BinarySearchFunc(entries, name, func(entry Entry, name string) int {
		return strings.Compare(entry.Name, name)
	})
	if !found {
		return Inode{}, missing
	}
	return e.Inode(entries[i])
}

// Target returns a symbolic link's target.
func (e *Reader) Target(i Inode) (string, error) {
	if !i.Is(Symlink) || i.Size > MaxTarget {
		return "", errs.New(errs.Corrupt, "erofs.target: inode %d has mode %o and %d bytes", i.Number,
			i.Mode, i.Size)
	}
	target := make([]byte, i.Size)
	if _, err := e.Content(i).ReadAt(target, 0); err != nil && err != io.EOF {
		return "", errs.Wrap(err, "erofs.target: inode %d", i.Number)
	}
	return string(target), nil
}

// ReadFile returns the content of the file that a path leads to; kind TooLarge where it has more
// than limit bytes.
func (e *Reader) ReadFile(path string, limit int64) ([]byte, error) {
	i, err := e.Lookup(path)
	if err != nil {
		return nil, err
	}
	if !i.Is(Regular) {
		return nil, errs.New(errs.Invalid, "erofs.read: %q is not a file", path)
	}
	if i.Size > uint64(limit) {
		return nil, errs.New(errs.TooLarge, "erofs.read: %q has %d bytes, the limit is %d", path, i.Size,
			limit)
	}
	content := make([]byte, i.Size)
	if _, err := e.Content(i).ReadAt(content, 0); err != nil && err != io.EOF {
		return nil, errs.Wrap(err, "erofs.read: %q", path)
	}
	return content, nil
}
