package pack

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/layer"
	"surety/sandbox/image"
	"surety/sandbox/image/erofs"
	"surety/sys/entropy"
)

// Part is one layer to build: of a directory, or of a file that is an EROFS image.
type Part struct {
	Name   string
	Kind   enclave.LayerKind
	Target string
	Dir    string    // laid out with times at 1970 and root as owner
	Owners bool      // with the owners that the directory's files have
	Image  string    // path of an EROFS file that is there already, instead of Dir
	Key    layer.Key // of a secret layer
	KeyRef string    // where its key will be asked for: BROKER/REPOSITORY/TYPE/TAG

	// Sealed says what Image is where its owner has sealed it already (SealDir), and no Key is needed.
	Sealed *layer.Sealed
}

// Progress says how far work is.
type Progress struct {
	Stage string // "build", "verify" or "pack"
	Done  int64  // bytes
	Total int64
}

// Builder makes bundles.
type Builder struct {
	Signer   ed25519.PrivateKey
	Reuse    *Bundle        // of which secret layers are taken that have not changed; may be nil
	Random   entropy.Source // of the ids of secret layers; nil: the system's
	Advanced func(Progress) // is told how far the work is; may be nil
}

// Build makes a bundle at out, which must not exist, of parts and a manifest whose Layers are filled
// in. The same parts, manifest and keys give the same bytes but for a secret layer's id, which is
// new each time unless reuse holds a bundle whose plaintext, under the same key, is the same.
func Build(ctx context.Context, out string, m enclave.Manifest, parts []Part,
	signer ed25519.PrivateKey, reuse *Bundle) (*Bundle, error) {
	return (&Builder{Signer: signer, Reuse: reuse}).Build(ctx, out, m, parts)
}

// Build is the function of the same name. The bundle is verified before it is shown. Kinds: Exists
// where out is there, Invalid and TooLarge for what the manifest's Check refuses and for a directory
// that makes no image, Refused for device nodes in it, NoSpace, Canceled.
func (b *Builder) Build(ctx context.Context, out string, m enclave.Manifest, parts []Part) (
	*Bundle, error) {
	if _, err := os.Lstat(out); err == nil {
		return nil, errs.New(errs.Exists, "pack.build: %s is there already", out)
	}
	if err := rehearse(m, parts); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(out), ".building-")
	if err != nil {
		return nil, fileError(err, "pack.build")
	}
	defer os.RemoveAll(tmp) // nothing, once it was renamed
	w := &work{Builder: b, manifest: m.Clone(), parts: parts, dir: tmp}
	if err := w.run(ctx); err != nil {
		return nil, fileError(err, "pack.build")
	}
	if err := os.Rename(tmp, out); err != nil {
		return nil, fileError(err, "pack.build")
	}
	return Open(out)
}

// rehearse checks the manifest with layers that have something in every field, before any work.
func rehearse(m enclave.Manifest, parts []Part) error {
	try := m.Clone()
	try.Layers = nil
	for _, p := range parts {
		l := enclave.Layer{Name: p.Name, Kind: p.Kind, Target: p.Target, Bytes: enclave.LayerBlock}
		if p.Kind == enclave.Secret {
			l.ID, l.Root, l.Key = [16]byte{1}, enclave.Digest{1}, p.KeyRef
		} else {
			l.Digest, l.Verity, l.Salt = [32]byte{1}, [32]byte{1}, enclave.LayerSalt(p.Name)
		}
		try.Layers = append(try.Layers, l)
	}
	return try.Check()
}

// work is one bundle being made.
type work struct {
	*Builder
	manifest *enclave.Manifest
	parts    []Part
	dir      string
}

func (w *work) run(ctx context.Context) (err error) {
	if err := os.Mkdir(filepath.Join(w.dir, layersName), 0o755); err != nil {
		return err
	}
	var sources []*source
	defer func() {
		for _, s := range sources {
			err = errors.Join(err, s.close())
		}
	}()
	p := &tally{advanced: w.Advanced, stage: "build"}
	for i, part := range w.parts {
		s, err := w.open(ctx, i, part)
		if err != nil {
			return errs.Wrap(err, "layer %s", part.Name)
		}
		sources = append(sources, s)
		p.total += s.size
	}
	w.manifest.Layers = nil
	for i, s := range sources {
		l, err := w.layer(ctx, &w.parts[i], s, p)
		if err != nil {
			return errs.Wrap(err, "layer %s", w.parts[i].Name)
		}
		w.manifest.Layers = append(w.manifest.Layers, l)
	}
	return w.finish(ctx)
}

// finish signs, and looks at what was made as its users will.
func (w *work) finish(ctx context.Context) error {
	signed, err := enclave.Sign(w.manifest, w.Signer)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(w.dir, manifestName), signed, 0o644); err != nil {
		return err
	}
	if err := os.Chmod(w.dir, 0o755); err != nil {
		return err
	}
	made, err := Open(w.dir)
	if err != nil {
		return err
	}
	keys := map[string]layer.Key{}
	for _, part := range w.parts {
		if part.Kind == enclave.Secret && part.Sealed == nil {
			keys[part.Name] = part.Key
		}
	}
	return errors.Join(made.VerifyWith(ctx, keys), made.Close())
}

// source is the image of a part, not yet written.
type source struct {
	size  int64
	write func(ctx context.Context, to io.Writer) error // may be called again
	close func() error
}

// open looks at what a part is made of.
func (w *work) open(ctx context.Context, index int, p Part) (*source, error) {
	var mounts []string
	if index == 0 {
		mounts = w.mounts()
	}
	switch {
	case p.Sealed != nil:
		return openSealed(p)
	case p.Dir != "" && p.Image != "":
		return nil, errs.New(errs.Invalid, "it is of a directory and of an image: want one of them")
	case p.Dir != "":
		return openDirectory(ctx, p, w.places(index, mounts))
	case p.Image != "":
		return openImage(p.Image, mounts)
	}
	return nil, errs.New(errs.Invalid, "it is of nothing: want a directory or an image")
}

// mounts are the directories that the root has to have.
func (w *work) mounts() []string {
	var all []string
	for _, p := range w.parts[1:] {
		all = append(all, p.Target)
	}
	for _, s := range w.manifest.State {
		all = append(all, s.Target)
	}
	for _, s := range w.manifest.Shown {
		all = append(all, s.Target)
	}
	return all
}

// places are what is mounted on in a layer of a directory.
type places struct {
	isRoot      bool
	directories []string
	files       []string
}

// places of the root, which takes no writes when it runs: with a network of its own, the kernel inside
// mounts there whom to ask for names.
func (w *work) places(index int, mounts []string) places {
	at := places{isRoot: index == 0, directories: mounts}
	if at.isRoot && w.manifest.Network == enclave.NetworkStack {
		at.files = []string{"/etc/resolv.conf", "/etc/hosts"}
	}
	return at
}

func openDirectory(ctx context.Context, p Part, at places) (*source, error) {
	from := image.Source{Kind: image.Tree, Where: p.Dir,
		Options: image.Options{ZeroTime: true, RootOwns: !p.Owners, Part: !at.isRoot}}
	a, err := image.Assemble(ctx, from, os.TempDir())
	if err != nil {
		return nil, err
	}
	if at.isRoot {
		err = mountable(a.Root, "/tmp", 0o1777)
	}
	for _, target := range at.directories {
		err = errors.Join(err, mountable(a.Root, target, 0o755))
	}
	for _, name := range at.files {
		err = errors.Join(err, placeFile(a.Root, name))
	}
	var plan *erofs.Plan
	if err == nil {
		plan, err = erofs.NewPlan(a.Root)
	}
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return &source{size: plan.Size(), close: a.Close, write: func(ctx context.Context, to io.Writer) error {
		return plan.Write(ctx, to, nil)
	}}, nil
}

// mountable makes a directory of a root that takes no writes later, and those on the way.
func mountable(root *erofs.Node, target string, mode uint16) error {
	at := root
	names := strings.Split(strings.Trim(target, "/"), "/")
	for i, name := range names {
		next := at.Child(name)
		if next == nil {
			next = &erofs.Node{Mode: erofs.Directory | 0o755}
			if i == len(names)-1 {
				next.Mode = erofs.Directory | mode
			}
			if err := at.Put(name, next); err != nil {
				return errs.Wrap(err, "mount point %s", target)
			}
		}
		if !next.Is(erofs.Directory) {
			return errs.New(errs.Invalid, "%s is to be mounted on, and /%s is no directory in the root", target,
				strings.Join(names[:i+1], "/"))
		}
		at = next
	}
	return nil
}

// placeFile makes an empty file below a directory of the root, where nothing has its name.
func placeFile(root *erofs.Node, name string) error {
	dir, base := path.Split(name)
	if err := mountable(root, dir, 0o755); err != nil {
		return err
	}
	at := root.Child(strings.Trim(dir, "/"))
	if at == nil || at.Child(base) != nil {
		return nil
	}
	return errs.Wrap(at.Put(base, &erofs.Node{Mode: erofs.Regular | 0o644}), "place of %s", name)
}

// openImage takes an image that is there already.
func openImage(path string, mounts []string) (*source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		err = checkImage(f, size, mounts)
	}
	if err != nil {
		return nil, errors.Join(errs.Wrap(err, "%s", path), f.Close())
	}
	return &source{size: size, close: f.Close, write: func(ctx context.Context, to io.Writer) error {
		from := stopping{ctx, io.NewSectionReader(f, 0, size)}
		_, err := io.CopyBuffer(to, onlyReader{from}, make([]byte, copyBytes))
		return err
	}}, nil
}

func checkImage(f io.ReaderAt, size int64, mounts []string) error {
	r, err := erofs.Open(f, size)
	if err != nil {
		return err
	}
	if _, err := r.Check(); err != nil {
		return err
	}
	for _, target := range mounts {
		inode, err := r.Lookup(target)
		if err != nil || !inode.Is(erofs.Directory) {
			return errs.New(errs.Invalid, "%s is to be mounted on, and is no directory in the image", target)
		}
	}
	return nil
}

// layer writes a part's file and returns what is measured of it.
func (w *work) layer(ctx context.Context, p *Part, s *source, t *tally) (enclave.Layer, error) {
	l := enclave.Layer{Name: p.Name, Kind: p.Kind, Target: p.Target, Bytes: uint64(s.size)}
	if p.Kind == enclave.Secret {
		l.Key = p.KeyRef
		if p.Sealed != nil {
			l.ID, l.Root = p.Sealed.ID, p.Sealed.Root
			return l, w.copied(ctx, &l, s)
		}
		if kept, err := w.reused(ctx, p, s, &l); kept || err != nil {
			return l, err
		}
	}
	f, err := os.OpenFile(filepath.Join(w.dir, layerFile(&l)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return l, err
	}
	if p.Kind == enclave.Secret {
		err = w.seal(ctx, f, p, s, &l, t)
	} else {
		l.Salt = enclave.LayerSalt(l.Name)
		m := newMeasure(f, l.Salt)
		err = s.write(ctx, io.MultiWriter(m, t))
		var closed error
		l.Digest, l.Verity, closed = m.close()
		if err == nil {
			err = closed
		}
	}
	return l, errors.Join(err, f.Close())
}

// copied writes the file of a layer that its owner has sealed.
func (w *work) copied(ctx context.Context, l *enclave.Layer, s *source) error {
	f, err := os.OpenFile(filepath.Join(w.dir, layerFile(l)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(s.write(ctx, f), f.Close())
}

// seal encrypts a part under a new id.
func (w *work) seal(ctx context.Context, f io.Writer, p *Part, s *source, l *enclave.Layer,
	t *tally) error {
	random := w.Random
	if random == nil {
		random = entropy.System()
	}
	random.Fill(l.ID[:])
	to, err := layer.NewWriter(f, s.size, p.Key, l.ID)
	if err != nil {
		return err
	}
	err = s.write(ctx, io.MultiWriter(to, t))
	sealed, closed := to.Close()
	if err == nil {
		err = closed
	}
	l.Root = sealed.Root
	return err
}

// tally counts bytes for whoever watches.
type tally struct {
	advanced func(Progress)
	stage    string
	done     int64
	total    int64
}

func (t *tally) Write(p []byte) (int, error) {
	t.done += int64(len(p))
	if t.advanced != nil {
		t.advanced(Progress{t.stage, t.done, t.total})
	}
	return len(p), nil
}
