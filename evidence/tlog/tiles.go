package tlog

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/api/layout"

	"surety/base/errs"
	"surety/evidence"
)

// tree reads the files of a log in the tlog-tiles layout. It trusts none of them.
type tree struct{ path string }

// read returns a file, full or with a width: where the tree has outgrown a partial file it may be
// gone, and the full one begins with it. named is the file it came from.
func (t tree) read(path func(width uint8) string, width uint8, limit int64) (
	content []byte, named string, err error) {
	named = path(width)
	content, err = t.readFile(named, limit)
	if errs.Is(err, errs.NotFound) && width > 0 {
		named = path(0)
		content, err = t.readFile(named, limit)
		if errs.Is(err, errs.NotFound) {
			named = path(width)
		}
	}
	if errs.Is(err, errs.NotFound) {
		return nil, named, errs.New(errs.Corrupt, "%s is missing", named)
	}
	return content, named, err
}

func (t tree) readFile(name string, limit int64) ([]byte, error) {
	path := filepath.Join(t.path, name)
	info, err := os.Stat(path)
	if err == nil && info.Size() > limit {
		return nil, errs.New(errs.Corrupt, "%s has %d bytes, the limit is %d", name, info.Size(), limit)
	}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errs.As(errs.NotFound, err, "%s", name)
	}
	return content, errs.As(errs.Internal, err, "%s", name)
}

// bundle returns the encoded records of a bundle in a log of size records, as many as belong in it.
func (t tree) bundle(number, size uint64) (records [][]byte, named string, err error) {
	width := layout.PartialTileSize(0, number, size)
	path := func(width uint8) string { return layout.EntriesPath(number, width) }
	content, named, err := t.read(path, width, maxBundleBytes)
	if err != nil {
		return nil, named, err
	}
	var parsed api.EntryBundle
	if err := parsed.UnmarshalText(content); err != nil {
		return nil, named, errs.As(errs.Corrupt, err, "%s", named)
	}
	want, inFile := widths(width, named == path(width))
	if len(parsed.Entries) != inFile {
		return nil, named, errs.New(errs.Corrupt, "%s has %d records, %d belong", named,
			len(parsed.Entries), inFile)
	}
	return parsed.Entries[:want], named, nil
}

// hashes returns the hashes of a tile in a log of size records, as many as belong in it.
func (t tree) hashes(level, number, size uint64) (nodes []evidence.Hash, named string, err error) {
	width := layout.PartialTileSize(level, number, size)
	path := func(width uint8) string { return layout.TilePath(level, number, width) }
	content, named, err := t.read(path, width, layout.TileWidth*int64(len(evidence.Hash{})))
	if err != nil {
		return nil, named, err
	}
	want, inFile := widths(width, named == path(width))
	if len(content) != inFile*len(evidence.Hash{}) {
		return nil, named, errs.New(errs.Corrupt, "%s has %d bytes, %d hashes belong", named,
			len(content), inFile)
	}
	nodes = make([]evidence.Hash, want)
	for i := range nodes {
		copy(nodes[i][:], content[i*len(nodes[i]):])
	}
	return nodes, named, nil
}

// widths returns how many of a tile's records or hashes are wanted, and how many its file holds:
// all of them, where a full file was read in place of a partial one.
func widths(partial uint8, asNamed bool) (want, inFile int) {
	if partial == 0 {
		return layout.TileWidth, layout.TileWidth
	}
	if !asNamed {
		return int(partial), layout.TileWidth
	}
	return int(partial), int(partial)
}

// each calls visit with the encoded records from the index first up to end, of a log of size.
func (l *Log) each(ctx context.Context, first, end, size uint64,
	visit func(leaf uint64, encoded []byte) error) error {
	files := tree{l.treePath()}
	for leaf := first; leaf < end; {
		if err := ctx.Err(); err != nil {
			return errs.As(errs.Canceled, err, "tlog.read")
		}
		number := leaf / layout.EntryBundleWidth
		records, named, err := files.bundle(number, size)
		if err != nil {
			return errs.Wrap(err, "tlog.read")
		}
		for _, encoded := range records[leaf%layout.EntryBundleWidth:] {
			if leaf == end {
				break
			}
			if err := visit(leaf, encoded); err != nil {
				return errs.Wrap(err, "tlog.read: %s", named)
			}
			leaf++
		}
	}
	return nil
}
