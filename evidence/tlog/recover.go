package tlog

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/transparency-dev/tessera/api/layout"

	"surety/base/errs"
	"surety/evidence"
)

// The errors of the file system that tell a full disk from a forbidden one.
const (
	errNoSpace  = syscall.ENOSPC
	errQuota    = syscall.EDQUOT
	errReadOnly = syscall.EROFS
	errDenied   = syscall.EACCES
)

// stateFile is where tessera keeps the tree's size and root; it is written last of all.
const stateFile = ".state/treeState"

// treeExists reports whether anything of a log is there.
func (l *Log) treeExists() bool {
	for _, name := range [...]string{stateFile, layout.CheckpointPath, "tile"} {
		if _, err := os.Stat(filepath.Join(l.treePath(), name)); err == nil {
			return true
		}
	}
	return false
}

// checkTree refuses a log whose state file is gone or not readable while the rest of it is there.
// tessera would begin a new log over it.
func (l *Log) checkTree() error {
	if !l.treeExists() {
		return nil
	}
	raw, err := os.ReadFile(filepath.Join(l.treePath(), stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return errs.New(errs.Corrupt, "tlog.open: %s is missing, and the log is not empty",
			filepath.Join(l.treePath(), stateFile))
	}
	if err != nil {
		return errs.As(errs.Forbidden, err, "tlog.open: tree")
	}
	var state struct {
		Size uint64 `json:"size"`
		Root []byte `json:"root"`
	}
	if json.Unmarshal(raw, &state) != nil || len(state.Root) != len(evidence.Hash{}) {
		return errs.New(errs.Corrupt, "tlog.open: %s is damaged", filepath.Join(l.treePath(), stateFile))
	}
	return nil
}

// recover brings tree, payloads and index in line, and learns where the sources are.
func (l *Log) recover(ctx context.Context) error {
	size, err := l.tree.IntegratedSize(ctx)
	if err != nil {
		return errs.As(errs.Corrupt, err, "tlog.open: tree")
	}
	if err := l.checkPublished(size); err != nil {
		return err
	}
	if err := l.sweepBeyond(size); err != nil {
		return err
	}
	indexed, err := l.index.size(ctx)
	if err != nil {
		return err
	}
	if indexed > size {
		return errs.New(errs.Corrupt, "tlog.open: the log has %d records and its index %d: "+
			"the log is an older copy, or %s is another log's", size, indexed, indexFile)
	}
	if l.positions, err = l.index.positions(ctx); err != nil {
		return err
	}
	if err := l.settlePayloads(ctx, indexed, size); err != nil {
		return err
	}
	l.size = size
	return l.catchUp(ctx, indexed, size)
}

// checkPublished checks that the log still holds all that its last checkpoint promised. A log that
// was made a moment ago may have none yet.
func (l *Log) checkPublished(size uint64) error {
	published, err := l.readCheckpoint()
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	if err != nil {
		return errs.Wrap(err, "tlog.open")
	}
	if published.Size > size {
		return errs.New(errs.Corrupt, "tlog.open: the checkpoint promises %d records, the tree has %d",
			published.Size, size)
	}
	return nil
}

// sweepBeyond removes full tiles and bundles that the tree of the given size does not have: a crash
// leaves them when it comes before the state file. tessera takes such a tile for its own when the
// tree ends exactly where the tile begins, and would carry hashes of records that never were.
func (l *Log) sweepBeyond(size uint64) error {
	for level, reach := uint64(0), uint64(MaxBatch); level < 8; level, reach = level+1, reach>>8 {
		first := size >> (8 * level) / layout.TileWidth
		for tile := first; tile <= first+reach/layout.TileWidth+1; tile++ {
			if err := l.sweepFile(layout.TilePath(level, tile, 0)); err != nil {
				return err
			}
			if level > 0 {
				continue
			}
			if err := l.sweepFile(layout.EntriesPath(tile, 0)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Log) sweepFile(name string) error {
	err := os.Remove(filepath.Join(l.treePath(), name))
	if err == nil {
		l.logger.Info("removed a tile that a crash left", "tile", name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errs.As(errs.Forbidden, err, "tlog.open: tile a crash left")
	}
	return nil
}

// settlePayloads puts the payloads of the last batch in order where a crash came between. All that
// may be out of order stands behind what is indexed and within a batch of the end.
func (l *Log) settlePayloads(ctx context.Context, indexed, size uint64) error {
	needed, err := l.payloads.needsSettling(ctx, size)
	if err != nil || (!needed && indexed == size) {
		return err
	}
	first := indexed
	if size > MaxBatch {
		first = max(first, size-MaxBatch)
	}
	records := make([]evidence.Record, 0, size-first)
	err = l.each(ctx, first, size, size, func(_ uint64, encoded []byte) error {
		record, err := evidence.Decode(encoded)
		records = append(records, record)
		return err
	})
	if err != nil {
		return errs.Wrap(err, "tlog.open")
	}
	return errs.Wrap(l.payloads.settle(ctx, first, records), "tlog.open: payloads")
}

// catchUp indexes the records from indexed to size.
func (l *Log) catchUp(ctx context.Context, indexed, size uint64) error {
	if indexed == size {
		return nil
	}
	l.logger.Info("indexing evidence records", "from", indexed, "to", size)
	first := indexed
	batch := make([]evidence.Record, 0, MaxBatch)
	flush := func() error {
		err := l.index.add(ctx, first, batch, l.positions)
		first, batch = first+uint64(len(batch)), batch[:0]
		return err
	}
	err := l.each(ctx, indexed, size, size, func(leaf uint64, encoded []byte) error {
		record, err := evidence.Decode(encoded)
		if err != nil {
			return errs.Wrap(err, "record %d", leaf)
		}
		p, fresh := l.positions[record.Source].note(record.SourceSeq)
		if !fresh {
			return errs.New(errs.Corrupt, "record %d repeats number %d of source %s", leaf,
				record.SourceSeq, record.Source)
		}
		l.positions[record.Source] = p
		if batch = append(batch, record); len(batch) == MaxBatch {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	return errs.Wrap(err, "tlog.open: index")
}
