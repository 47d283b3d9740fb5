package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"surety/base/errs"
	"surety/sandbox/image/erofs"
)

// material is a source that has been looked at: what it makes is known, and nothing is fetched yet.
type material struct {
	key      string // names what the source makes; empty where only building it tells
	config   Config
	manifest string
	blobs    []blob // the lowest layer first
	// assemble makes the tree of a source without layers.
	assemble func(ctx context.Context) (*assembled, error)
	close    func() error // may be nil
}

// assembled is a tree ready to be written.
type assembled struct {
	root    *erofs.Node
	dropped Dropped
	spools  []*spool // that the tree's contents lie in
}

func (a *assembled) close() error {
	var all error
	for _, s := range a.spools {
		all = errors.Join(all, s.Close())
	}
	return all
}

// openSource looks at a source. tmp is where contents may lie for a while.
func openSource(ctx context.Context, source Source, tmp string) (*material, error) {
	switch source.Kind {
	case Layout:
		return openLayout(ctx, source)
	case Archive:
		return openArchive(ctx, source, tmp)
	case Registry:
		return openRegistry(ctx, source)
	case Tree:
		return openDirectory(source)
	case Program:
		return openProgram(source, tmp)
	}
	return nil, errs.New(errs.Invalid, "image.add: %q is no kind of source", source.Kind)
}

// layers returns what is written down about an image's layers.
func (m *material) layers() []LayerInfo {
	var infos []LayerInfo
	for _, b := range m.blobs {
		infos = append(infos, LayerInfo{Digest: b.digest, DiffID: b.diffID, Size: max(b.size, 0)})
	}
	return infos
}

// builder makes trees of sources.
type builder struct {
	source Source
	tmp    string
	bounds bounds
}

// build returns the material's tree.
func (b *builder) build(ctx context.Context, m *material) (*assembled, error) {
	if m.assemble != nil {
		return m.assemble(ctx)
	}
	layers, err := b.readLayers(ctx, m.blobs)
	if err != nil {
		return nil, errs.Wrap(err, "image.add: %s", b.source.Where)
	}
	t, a := newTree(), &assembled{}
	for _, l := range layers {
		a.spools = append(a.spools, l.spool)
	}
	for i, l := range layers {
		if err := t.apply(l); err != nil {
			err = errs.Wrap(err, "image.add: %s: %s", b.source.Where, layerName(m.blobs, i))
			return nil, errors.Join(err, a.close())
		}
		a.dropped.merge(l.dropped)
		layers[i] = nil // its entries are in the tree or gone
	}
	a.root = t.root
	return a, t.complete()
}

// layerName names a layer for people.
func layerName(blobs []blob, i int) string {
	digest := blobs[i].digest
	if digest == "" {
		digest = blobs[i].diffID
	}
	return fmt.Sprintf("layer %d of %d, %s", i+1, len(blobs), digest)
}

// readLayers fetches and reads the layers, several at a time. It returns all of them, or the error
// of the lowest that is refused, with nothing left open. One that is refused stops those above it,
// and never those below, so that the same image is always refused for the same reason.
func (b *builder) readLayers(ctx context.Context, blobs []blob) ([]*layer, error) {
	layers, failed := make([]*layer, len(blobs)), make([]error, len(blobs))
	contexts, cancels := make([]context.Context, len(blobs)), make([]context.CancelFunc, len(blobs))
	for i := range blobs {
		contexts[i], cancels[i] = context.WithCancel(ctx)
		defer cancels[i]()
	}
	shared := b.newShared(blobs)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(fetchersMax, len(blobs)) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(blobs); i = int(next.Add(1)) - 1 {
				layers[i], failed[i] = shared.readLayer(contexts[i], blobs[i])
				if failed[i] == nil {
					continue
				}
				failed[i] = errs.Wrap(failed[i], "%s", layerName(blobs, i))
				for _, cancel := range cancels[i+1:] {
					cancel()
				}
			}
		})
	}
	workers.Wait()
	var err error
	for i := len(failed) - 1; i >= 0; i-- {
		if failed[i] != nil {
			err = failed[i]
		}
	}
	if err == nil {
		return layers, nil
	}
	for _, l := range layers {
		if l != nil {
			err = errors.Join(err, l.close())
		}
	}
	return nil, err
}

// shared is what the readers of one image's layers have in common.
type shared struct {
	*builder
	entries  budget
	contents budget
	fetched  atomic.Int64
	total    int64 // bytes to fetch; 0 where it is not known
}

func (b *builder) newShared(blobs []blob) *shared {
	s := &shared{builder: b}
	s.entries = budget{what: "entries", of: maxEntries}
	s.contents = budget{what: "bytes", of: maxContents}
	for _, blob := range blobs {
		s.total += max(blob.size, 0)
	}
	return s
}

// readLayer fetches one layer, and checks its digests and everything in it.
func (s *shared) readLayer(ctx context.Context, b blob) (_ *layer, err error) {
	if err := ctx.Err(); err != nil {
		return nil, errs.As(errs.Canceled, err, "stopped")
	}
	content, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closed(content)) }()
	sp, err := newSpool(s.tmp)
	if err != nil {
		return nil, err
	}
	l := &layer{info: LayerInfo{Digest: b.digest, DiffID: b.diffID}, spool: sp}
	if err := s.unpack(ctx, b, content, l); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// closed closes what was only read: a registry's connection that ends badly after its last byte
// was checked is no error of the image.
func closed(r io.Closer) error {
	_ = r.Close()
	return nil
}

// unpack reads a layer's bytes to their end.
func (s *shared) unpack(ctx context.Context, b blob, content io.Reader, l *layer) error {
	if b.size >= 0 {
		content = io.LimitReader(content, b.size+1)
	}
	u, err := newUnpacker(canceling{ctx.Err, &watched{content, s}}, s.bounds)
	if err == nil {
		r := layerReader{layer: l, options: s.source.Options, entries: &s.entries, contents: &s.contents}
		if err = r.read(ctx, u); err == nil {
			err = u.drain()
		}
		_ = u.Close() // it holds memory and nothing else
	}
	return judge(err, u, b)
}

// judge says what is wrong with a layer. That its bytes are not those that were promised explains
// everything else, so it goes first.
func judge(err error, u *unpacker, b blob) error {
	if errs.Is(err, errs.Canceled) || errs.Is(err, errs.NoSpace) {
		return err
	}
	if err != nil {
		_, _ = io.Copy(io.Discard, u.packed) // for its digest; an error of it is in u.packed
	}
	cut := b.size >= 0 && u.packed.n != b.size
	switch {
	case cut && u.packed.n > b.size:
		return errs.New(errs.Invalid, "it has more than the %d bytes that its manifest says", b.size)
	case u.packed.err != nil && (cut || b.digest == ""):
		return errs.As(errs.Unavailable, u.packed.err, "at byte %d", u.packed.n)
	case cut:
		return errs.New(errs.Invalid, "it has %d bytes, its manifest says %d", u.packed.n, b.size)
	case b.digest != "" && u.digest() != b.digest:
		return errs.New(errs.Invalid, "its bytes have digest %s", u.digest())
	case err != nil:
		return err
	case u.diffID() != b.diffID:
		return errs.New(errs.Invalid, "uncompressed it has digest %s, its config says %s", u.diffID(),
			b.diffID)
	}
	return nil
}

// watched tells the source's owner how many bytes have come.
type watched struct {
	io.Reader
	s *shared
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.s.source.advanced("fetch", w.s.fetched.Add(int64(n)), w.s.total)
	return n, err
}

// hashed writes to a file and hashes what it writes, both at the same time.
type hashed struct {
	w   io.Writer
	sum hash.Hash
}

func newHashed(w io.Writer) *hashed { return &hashed{w: w, sum: sha256.New()} }

func (h *hashed) Write(p []byte) (int, error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.sum.Write(p)
	}()
	n, err := h.w.Write(p)
	<-done
	return n, err
}

// write makes the image file of a tree, below tmp and synced.
func (b *builder) write(ctx context.Context, a *assembled, f *os.File) (built, error) {
	plan, err := erofs.NewPlan(a.root)
	if err != nil {
		return built{}, err
	}
	h := newHashed(f)
	err = plan.Write(ctx, h, func(done int64) { b.source.advanced("write", done, plan.Size()) })
	if err != nil {
		return built{}, diskError(err, "image.add: %s", b.source.Where)
	}
	if err := f.Sync(); err != nil {
		return built{}, diskError(err, "image.add: sync")
	}
	return built{Digest: digestOf(h.sum), Size: plan.Size(), Files: plan.Files(), Dropped: a.dropped}, nil
}
