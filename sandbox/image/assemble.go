package image

import (
	"context"
	"errors"

	"surety/base/errs"
	"surety/sandbox/image/erofs"
)

// Assembly is the tree of a source, for whoever writes the image somewhere else than into a store.
type Assembly struct {
	Root    *erofs.Node // may be changed until it is planned
	Config  Config
	Dropped Dropped

	tree  *assembled
	close func() error // of the source
}

// Assemble fetches a source, checks it as Store.Add does, and lays it out. Contents lie in files
// without names on the file system of tmp, or are read from the source when the image is written;
// Close lets go of them. Kinds as Store.Add.
func Assemble(ctx context.Context, source Source, tmp string) (*Assembly, error) {
	if source.Kind == Automatic {
		found, err := Detect(source.Where)
		if err != nil {
			return nil, err
		}
		source.Kind = found.Kind
	}
	m, err := openSource(ctx, source, tmp)
	if err != nil {
		return nil, err
	}
	b := &builder{source: source, tmp: tmp, bounds: defaultBounds()}
	a := &Assembly{Config: m.config, close: m.close}
	if a.tree, err = b.build(ctx, m); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	a.Root, a.Dropped = a.tree.root, a.tree.dropped
	return a, nil
}

// Close frees what the tree's contents lie in. An image that was planned cannot be written after.
func (a *Assembly) Close() error {
	var err error
	if a.tree != nil {
		err = a.tree.close()
	}
	if a.close != nil {
		err = errors.Join(err, a.close())
	}
	return errs.Wrap(err, "image.assemble")
}
