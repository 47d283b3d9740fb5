package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// Store is a directory of images.
//
//	images/erofs/HEX      an image, named by its digest
//	images/names/HEX      the record of a name; HEX is the name's digest
//	images/builds/HEX     which image a source made; HEX is the digest of what names the source
//	images/tmp/           what is being made
//	images/lock           see acquire
type Store struct {
	root   string
	bounds bounds
}

// built is what a source made: the content of a file in builds/.
type built struct {
	Digest  string  `json:"digest"`
	Size    int64   `json:"size"`
	Files   int     `json:"files"`
	Dropped Dropped `json:"dropped"`
}

// formatName goes into the key of every build: it changes when the same source would make other
// bytes.
const formatName = "surety image 1"

// Open opens the store below root, making its directories where they are absent, and removes what
// a killed process was making, or had made and not named.
func Open(root string) (*Store, error) {
	s := &Store{root: filepath.Join(root, "images"), bounds: defaultBounds()}
	for _, dir := range [...]string{"erofs", "names", "builds", "tmp"} {
		if err := os.MkdirAll(filepath.Join(s.root, dir), 0o700); err != nil {
			return nil, diskError(err, "image.open")
		}
	}
	held, err := s.acquire(context.Background(), storeByte)
	if err != nil {
		return nil, err
	}
	err = s.sweep()
	if err == nil {
		// A damaged record keeps everything; whoever reads it will say so.
		if err = s.collect(); errs.Is(err, errs.Corrupt) {
			err = nil
		}
	}
	return s, errors.Join(err, held.release())
}

func (s *Store) path(dir, name string) string { return filepath.Join(s.root, dir, name) }

func (s *Store) acquire(ctx context.Context, at int64) (*lock, error) {
	return acquire(ctx, filepath.Join(s.root, "lock"), at)
}

// sweep removes files of tmp/ that nobody is making. Their makers hold flock(2) on them. The
// store's lock is held, so no file is between being made and being locked.
func (s *Store) sweep() error {
	entries, err := os.ReadDir(s.path("tmp", ""))
	if err != nil {
		return diskError(err, "image.open")
	}
	for _, e := range entries {
		name := s.path("tmp", e.Name())
		f, err := os.Open(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return diskError(err, "image.open")
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			err = os.Remove(name)
		}
		if err = errors.Join(err, f.Close()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return diskError(err, "image.open")
		}
	}
	return nil
}

// draft makes a file in tmp/ that is ours until it is closed.
func (s *Store) draft(ctx context.Context) (*os.File, error) {
	held, err := s.acquire(ctx, storeByte)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(s.path("tmp", ""), "draft-")
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	return f, errors.Join(diskError(err, "image.add"), held.release())
}

// Add makes an image of the source and gives it the name, taking the name from what had it. A
// source that made an image of this store before makes it at once. Nothing is left of a source
// that is refused, and the name stays as it was. Kinds: Invalid for a source that is broken,
// NotFound where there is none, TooLarge past a limit, Refused for what Options would have to
// allow, Unavailable for a registry that does not answer, NoSpace, Canceled.
func (s *Store) Add(ctx context.Context, source Source, name string) (Image, error) {
	if err := checkName(name); err != nil {
		return Image{}, err
	}
	if source.Kind == Automatic {
		found, err := Detect(source.Where)
		if err != nil {
			return Image{}, err
		}
		source.Kind = found.Kind
	}
	m, err := openSource(ctx, source, s.path("tmp", ""))
	if err != nil {
		return Image{}, err
	}
	image, err := s.add(ctx, source, m, name)
	if m.close != nil {
		err = errors.Join(err, m.close())
	}
	return image, err
}

// add makes the image of what has been looked at, under the lock of its build.
func (s *Store) add(ctx context.Context, source Source, m *material, name string) (_ Image, err error) {
	image := Image{Name: name, Source: string(source.Kind) + " " + source.Where, Manifest: m.manifest,
		Layers: m.layers(), Config: m.config}
	key := ""
	if m.key != "" {
		options, err := json.Marshal(source.Options)
		if err != nil {
			return image, errs.As(errs.Internal, err, "image.add: options")
		}
		key = hexOf(digestBytes([]byte(formatName + "\n" + string(options) + "\n" + m.key)))
		held, err := s.acquire(ctx, byteOf(key))
		if err != nil {
			return image, err
		}
		defer func() { err = errors.Join(err, held.release()) }()
		if b, ok := s.builtBefore(key); ok {
			if known, ok := s.addedBefore(image, b); ok {
				return known, nil
			}
			return s.commit(ctx, image, b, key, "")
		}
	}
	b := &builder{source: source, tmp: s.path("tmp", ""), bounds: s.bounds}
	tree, err := b.build(ctx, m)
	if err != nil {
		return image, err
	}
	defer func() { err = errors.Join(err, tree.close()) }()
	f, err := s.draft(ctx)
	if err != nil {
		return image, err
	}
	made, err := b.write(ctx, tree, f)
	if err == nil {
		image, err = s.commit(ctx, image, made, key, f.Name())
	}
	if gone := os.Remove(f.Name()); gone != nil && !errors.Is(gone, os.ErrNotExist) {
		err = errors.Join(err, diskError(gone, "image.add"))
	}
	return image, errors.Join(err, f.Close())
}

// builtBefore returns what a source made, if that is still there.
func (s *Store) builtBefore(key string) (built, bool) {
	var b built
	content, err := os.ReadFile(s.path("builds", key))
	if err != nil || json.Unmarshal(content, &b) != nil || len(b.Digest) != len("sha256:")+64 {
		return b, false // it is made again
	}
	return b, s.has(b)
}

// addedBefore returns what the name stands for, if that is this very image and record.
func (s *Store) addedBefore(image Image, b built) (Image, bool) {
	known, err := s.read(nameFile(image.Name))
	if err != nil {
		return known, false
	}
	image = image.of(b)
	image.Path, image.Added = known.Path, known.Added
	have, err1 := json.Marshal(known) // as JSON has it: an empty list is none
	want, err2 := json.Marshal(image)
	return known, err1 == nil && err2 == nil && bytes.Equal(have, want)
}

// of returns the record with what was built.
func (i Image) of(b built) Image {
	i.Digest, i.Size, i.Files, i.Dropped = b.Digest, b.Size, b.Files, b.Dropped
	return i
}

// has reports whether the store has an image of that digest, whole.
func (s *Store) has(b built) bool {
	info, err := os.Lstat(s.path("erofs", hexOf(b.Digest)))
	return err == nil && info.Mode().IsRegular() && info.Size() == b.Size
}

// commit shows a finished image: its file, then what made it, then its name. Under the store's
// lock, so that nobody takes the file for garbage meanwhile.
func (s *Store) commit(ctx context.Context, image Image, b built, key, draft string) (Image, error) {
	held, err := s.acquire(ctx, storeByte)
	if err != nil {
		return image, err
	}
	defer held.release() // a lock that cannot be let go of ends with the process
	if draft == "" && !s.has(b) {
		return image, errs.New(errs.Busy, "image.add: %s was removed meanwhile: add it again", b.Digest)
	}
	if !s.has(b) {
		if err := s.publish(draft, "erofs", hexOf(b.Digest)); err != nil {
			return image, err
		}
	}
	if key != "" {
		if err := s.record("builds", key, b); err != nil {
			return image, err
		}
	}
	image = image.of(b)
	image.Path = s.path("erofs", hexOf(b.Digest))
	if err := s.record("names", nameFile(image.Name), image); err != nil {
		return image, err
	}
	image, err = s.read(nameFile(image.Name))
	return image, errors.Join(err, s.collect())
}

// publish gives a finished file of tmp/ its name and makes the name certain.
func (s *Store) publish(draft, dir, name string) error {
	if err := os.Chmod(draft, 0o400); err != nil {
		return diskError(err, "image.add")
	}
	if err := os.Rename(draft, s.path(dir, name)); err != nil {
		return diskError(err, "image.add")
	}
	d, err := os.Open(s.path(dir, ""))
	if err != nil {
		return diskError(err, "image.add")
	}
	return diskError(errors.Join(d.Sync(), d.Close()), "image.add: sync")
}

// record writes a small file whole. The store's lock is held.
func (s *Store) record(dir, name string, value any) error {
	content, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return errs.As(errs.Internal, err, "image.add: encode")
	}
	f, err := os.CreateTemp(s.path("tmp", ""), "draft-")
	if err != nil {
		return diskError(err, "image.add")
	}
	_, err = f.Write(append(content, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = s.publish(f.Name(), dir, name)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return diskError(err, "image.add")
}

// Find returns the image with the name, or with the digest: all of it, or its first twelve or more
// hex digits. Kind NotFound where there is none, Invalid where several begin so.
func (s *Store) Find(nameOrDigest string) (Image, error) {
	image, err := s.read(nameFile(nameOrDigest))
	if !errs.Is(err, errs.NotFound) {
		return image, err
	}
	prefix := strings.TrimPrefix(nameOrDigest, "sha256:")
	missing := errs.New(errs.NotFound, "image.find: there is no image %q", nameOrDigest)
	if len(prefix) < 12 || strings.Trim(prefix, "0123456789abcdef") != "" {
		return Image{}, missing
	}
	all, err := s.List()
	if err != nil {
		return Image{}, err
	}
	var found []Image
	for _, image := range all {
		if strings.HasPrefix(hexOf(image.Digest), prefix) &&
			(len(found) == 0 || found[0].Digest != image.Digest) {
			found = append(found, image)
		}
	}
	switch len(found) {
	case 0:
		return Image{}, missing
	case 1:
		return found[0], nil
	}
	return Image{}, errs.New(errs.Invalid, "image.find: several images begin with %q", nameOrDigest)
}

// List returns every image, by name. An image with two names is there twice.
func (s *Store) List() ([]Image, error) {
	entries, err := os.ReadDir(s.path("names", ""))
	if err != nil {
		return nil, diskError(err, "image.list")
	}
	var all []Image
	for _, e := range entries {
		image, err := s.read(e.Name())
		if errs.Is(err, errs.NotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, image)
	}
	slices.SortFunc(all, func(a, b Image) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// read returns the image of a record.
func (s *Store) read(file string) (Image, error) {
	name := s.path("names", file)
	info, err := os.Stat(name)
	if err != nil {
		return Image{}, diskError(err, "image.find")
	}
	if info.Size() > maxMetadata {
		return Image{}, errs.New(errs.TooLarge, "image.find: %s has %d bytes, the limit is %d", name,
			info.Size(), maxMetadata)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return Image{}, diskError(err, "image.find")
	}
	var image Image
	if err := json.Unmarshal(content, &image); err != nil {
		return Image{}, errs.As(errs.Corrupt, err, "image.find: %s", name)
	}
	if nameFile(image.Name) != file || !digestForm(image.Digest) {
		return Image{}, errs.New(errs.Corrupt, "image.find: %s is not the record of %q", name, image.Name)
	}
	image.Path, image.Added = s.path("erofs", hexOf(image.Digest)), info.ModTime().UTC()
	return image, nil
}

// Remove takes an image's name away, and the image with it where that was its last name. Sandboxes
// that run from it keep what they have. Kind NotFound where there is none.
func (s *Store) Remove(ctx context.Context, name string) error {
	held, err := s.acquire(ctx, storeByte)
	if err != nil {
		return err
	}
	defer held.release() // a lock that cannot be let go of ends with the process
	err = os.Remove(s.path("names", nameFile(name)))
	if errors.Is(err, os.ErrNotExist) {
		return errs.New(errs.NotFound, "image.remove: there is no image %q", name)
	}
	return errors.Join(diskError(err, "image.remove"), s.collect())
}

// collect removes images that have no name, and the records of what made them. The store's lock is
// held.
func (s *Store) collect() error {
	all, err := s.List()
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, image := range all {
		named[hexOf(image.Digest)] = true
	}
	return errors.Join(
		s.prune("erofs", func(file string) bool { return named[file] }),
		s.prune("builds", func(file string) bool {
			b, ok := s.builtBefore(file)
			return ok && named[hexOf(b.Digest)]
		}))
}

// prune removes the files of a directory that are not to be kept.
func (s *Store) prune(dir string, keep func(file string) bool) error {
	entries, err := os.ReadDir(s.path(dir, ""))
	if err != nil {
		return diskError(err, "image.remove")
	}
	for _, e := range entries {
		if keep(e.Name()) {
			continue
		}
		if err := os.Remove(s.path(dir, e.Name())); err != nil {
			return diskError(err, "image.remove")
		}
	}
	return nil
}

// checkName refuses what cannot be shown and typed again.
func checkName(name string) error {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) ||
		strings.ContainsFunc(name, unicode.IsControl) {
		return errs.New(errs.Invalid,
			"image.add: the name %.64q: want 1 to %d printable bytes of UTF-8", name, maxName)
	}
	return nil
}

func nameFile(name string) string { return hexOf(digestBytes([]byte(name))) }

func hexOf(digest string) string { return strings.TrimPrefix(digest, "sha256:") }

// digestForm reports whether a text is a digest as this package writes them.
func digestForm(text string) bool {
	hex, found := strings.CutPrefix(text, "sha256:")
	return found && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}
