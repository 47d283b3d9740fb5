package image

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"strings"

	"surety/base/errs"
)

// openArchive prepares an image of a tar file: an OCI image layout, or what `docker save` writes.
func openArchive(ctx context.Context, source Source, tmp string) (*material, error) {
	a, err := indexArchive(ctx, source.Where, tmp)
	if err != nil {
		return nil, errs.Wrap(err, "image.add: archive %s", source.Where)
	}
	var m *material
	switch {
	case a.has("oci-layout"):
		m, err = readLayout(ctx, a, source.Tag)
	case a.has("manifest.json"):
		m, err = readSaved(a, source.Tag)
	default:
		err = errs.New(errs.Invalid, "it holds neither oci-layout nor manifest.json: not an image")
	}
	if err != nil {
		return nil, errors.Join(errs.Wrap(err, "image.add: archive %s", source.Where), a.close())
	}
	m.close = a.close
	return m, nil
}

// archive is a tar file whose members can be read in any order.
type archive struct {
	r       io.ReaderAt
	close   func() error
	members map[string]member
}

// member is where a file of an archive lies, or which other one it is.
type member struct {
	at, size int64
	alias    string
}

func (a *archive) has(name string) bool { _, ok := a.members[name]; return ok }

func (a *archive) open(name string) (io.ReadCloser, error) {
	m, ok := a.members[name]
	if ok && m.alias != "" {
		m, ok = a.members[m.alias] // of one step: nobody writes longer ones
	}
	if !ok || m.alias != "" {
		return nil, errs.New(errs.NotFound, "it is not in the archive")
	}
	return io.NopCloser(io.NewSectionReader(a.r, m.at, m.size)), nil
}

// indexArchive notes where each member lies. A compressed archive is unpacked first.
func indexArchive(ctx context.Context, name, tmp string) (*archive, error) {
	f, err := openPath(name)
	if err != nil {
		return nil, err
	}
	plain, size, err := unpackArchive(ctx, f, tmp)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	a := &archive{r: plain, close: plain.Close, members: map[string]member{}}
	section := io.NewSectionReader(plain, 0, size)
	if err := a.index(section); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

// unpackArchive returns f, or where it is compressed a file without a name in its place; f is
// closed then.
func unpackArchive(ctx context.Context, f *os.File, tmp string) (*os.File, int64, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, 0, diskError(err, "read")
	}
	b := defaultBounds()
	b.layer = maxContents
	u, err := newUnpacker(canceling{ctx.Err, f}, b)
	if err != nil {
		return nil, 0, err
	}
	if u.decoder == nil {
		return f, info.Size(), nil
	}
	s, err := newSpool(tmp)
	if err != nil {
		return nil, 0, errors.Join(err, u.Close())
	}
	_, err = io.Copy(s, u)
	if err = errors.Join(err, u.Close()); err != nil {
		return nil, 0, errors.Join(err, s.Close())
	}
	return s.f, s.size, f.Close()
}

// canceling is a reader that ends with its context.
type canceling struct {
	stopped func() error
	io.Reader
}

func (c canceling) Read(p []byte) (int, error) {
	if err := c.stopped(); err != nil {
		return 0, errs.As(errs.Canceled, err, "stopped")
	}
	return c.Reader.Read(p)
}

func (a *archive) index(r io.ReadSeeker) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return tarError(err)
		}
		if len(a.members) >= maxArchiveEntries {
			return errs.New(errs.TooLarge, "it has more than %d files, which is the limit", maxArchiveEntries)
		}
		names, err := cleanPath(h.Name)
		if err != nil {
			return errs.Wrap(err, "entry %.300q", h.Name)
		}
		at, err := r.Seek(0, io.SeekCurrent)
		if err != nil {
			return diskError(err, "entry %.300q", h.Name)
		}
		name := strings.Join(names, "/")
		if a.has(name) && h.Typeflag != tar.TypeDir {
			return errs.New(errs.Invalid, "entry %q: it is there twice", name)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			a.members[name] = member{at: at, size: h.Size}
		case tar.TypeSymlink: // the older `docker save` has one layer twice so
			a.members[name] = member{alias: path.Join(path.Dir(name), h.Linkname)}
		case tar.TypeLink:
			a.members[name] = member{alias: path.Clean(h.Linkname)}
		}
	}
}

// saved is an image in manifest.json of `docker save`.
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// readSaved finds the image with the tag, or the only one, in an archive of `docker save`.
func readSaved(a *archive, tag string) (*material, error) {
	var all []saved
	if err := readJSON(a, "manifest.json", &all); err != nil {
		return nil, err
	}
	chosen, err := chooseSaved(all, tag)
	if err != nil {
		return nil, err
	}
	config, err := readSmall(a, path.Clean(chosen.Config))
	if err != nil {
		return nil, err
	}
	if want := strings.TrimSuffix(path.Base(chosen.Config), ".json"); len(want) == 64 &&
		digestBytes(config) != "sha256:"+want {
		return nil, errs.New(errs.Invalid, "config %s has digest %s", chosen.Config, digestBytes(config))
	}
	m, diffIDs, err := readConfig(config)
	if err != nil {
		return nil, errs.Wrap(err, "config %s", chosen.Config)
	}
	if len(diffIDs) != len(chosen.Layers) {
		return nil, errs.New(errs.Invalid, "manifest.json has %d layers, the config has %d",
			len(chosen.Layers), len(diffIDs))
	}
	for i, name := range chosen.Layers {
		m.blobs = append(m.blobs, blob{size: -1, diffID: diffIDs[i],
			open: func(context.Context) (io.ReadCloser, error) { return a.open(path.Clean(name)) }})
	}
	m.key = layersKey(diffIDs)
	return m, nil
}

func chooseSaved(all []saved, tag string) (saved, error) {
	var chosen []saved
	var seen []string
	for _, s := range all {
		seen = append(seen, strings.Join(s.RepoTags, " "))
		match := tag == ""
		for _, name := range s.RepoTags {
			match = match || name == tag || strings.HasSuffix(name, ":"+tag)
		}
		if match {
			chosen = append(chosen, s)
		}
	}
	switch len(chosen) {
	case 1:
		return chosen[0], nil
	case 0:
		return saved{}, errs.New(errs.NotFound, "manifest.json has no image %q, it has: %s", tag,
			strings.Join(seen, ", "))
	}
	return saved{}, errs.New(errs.Invalid, "manifest.json has several images, name one by its tag: %s",
		strings.Join(seen, ", "))
}
