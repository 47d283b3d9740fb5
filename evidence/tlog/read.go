package tlog

import (
	"context"
	"slices"
	"time"

	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"

	"surety/base/errs"
	"surety/base/ident"
	"surety/evidence"
)

// LeafAt is a record where it stands in the log.
type LeafAt struct {
	Index   uint64
	Record  evidence.Record
	Encoded []byte // the leaf: what its hash and its proofs are about
}

// Lookup returns, in the order of the log, the first limit records from the index first on that
// name the id as a subject or as their trace. Fewer than limit are all there are. A limit that is
// not positive or above MaxLookup is MaxLookup. An id that nothing names gives none.
func (l *Log) Lookup(ctx context.Context, id ident.ID, first uint64, limit int) ([]LeafAt, error) {
	if limit <= 0 || limit > MaxLookup {
		limit = MaxLookup
	}
	size := l.Size() // before the index is asked, which is a batch ahead for a moment
	indexes, err := l.index.naming(ctx, id, first, limit)
	if err != nil {
		return nil, err
	}
	end, _ := slices.BinarySearch(indexes, size)
	leaves, err := l.Records(ctx, indexes[:end])
	if err != nil {
		return nil, err
	}
	for i := range leaves {
		if !leaves[i].Record.Names(id) {
			return nil, errs.New(errs.Corrupt, "tlog.lookup: the index says that record %d names %s",
				leaves[i].Index, id)
		}
	}
	return leaves, nil
}

// Find returns the record with the source and number; kind NotFound where there is none.
func (l *Log) Find(ctx context.Context, source string, seq uint64) (LeafAt, error) {
	size := l.Size() // as in Lookup
	at, err := l.index.find(ctx, source, seq)
	if err != nil {
		return LeafAt{}, err
	}
	if at >= size {
		return LeafAt{}, notFound(source, seq)
	}
	leaves, err := l.Records(ctx, []uint64{at})
	if err != nil {
		return LeafAt{}, err
	}
	if r := leaves[0].Record; r.Source != source || r.SourceSeq != seq {
		return LeafAt{}, errs.New(errs.Corrupt, "tlog.find: the index says that record %d is %d of %s",
			at, seq, source)
	}
	return leaves[0], nil
}

// Records returns the records at the indexes, which rise. Kind NotFound for an index past the end,
// Corrupt where a file of the log is damaged.
func (l *Log) Records(ctx context.Context, indexes []uint64) ([]LeafAt, error) {
	size := l.Size()
	files := tree{l.treePath()}
	leaves := make([]LeafAt, 0, len(indexes))
	var bundle [][]byte
	var number uint64
	for _, at := range indexes {
		if err := ctx.Err(); err != nil {
			return nil, errs.As(errs.Canceled, err, "tlog.records")
		}
		if at >= size {
			return nil, errs.New(errs.NotFound, "tlog.records: record %d of a log of %d", at, size)
		}
		if wanted := at / layout.EntryBundleWidth; bundle == nil || wanted != number {
			var err error
			if bundle, _, err = files.bundle(wanted, size); err != nil {
				return nil, errs.Wrap(err, "tlog.records")
			}
			number = wanted
		}
		encoded := bundle[at%layout.EntryBundleWidth]
		record, err := evidence.Decode(encoded)
		if err != nil {
			return nil, errs.As(errs.Corrupt, err, "tlog.records: record %d", at)
		}
		leaves = append(leaves, LeafAt{Index: at, Record: record, Encoded: encoded})
	}
	return leaves, nil
}

// Payload returns the payload of a record, as stored, once it has been checked against the record's
// digest; kind Corrupt where it does not match or is missing.
func (l *Log) Payload(ctx context.Context, leaf LeafAt) ([]byte, error) {
	return l.payloads.get(ctx, leaf.Index, &leaf.Record)
}

// Checkpoint returns the newest checkpoint. It may lag behind Size by the checkpoint interval; kind
// NotFound in the first moment of a log's life.
func (l *Log) Checkpoint(context.Context) (evidence.Checkpoint, error) {
	c, err := l.readCheckpoint()
	return c, errs.Wrap(err, "tlog.checkpoint")
}

func (l *Log) readCheckpoint() (evidence.Checkpoint, error) {
	signed, err := tree{l.treePath()}.readFile(layout.CheckpointPath, evidence.MaxNote)
	if err != nil {
		return evidence.Checkpoint{}, err
	}
	c, err := evidence.OpenCheckpoint(string(signed), l.key)
	return c, errs.Wrap(err, "file %s", layout.CheckpointPath)
}

// CheckpointOf returns the first checkpoint it sees that covers at least size records, waiting for
// it; kind Invalid where the log is smaller, Canceled where ctx ends first.
func (l *Log) CheckpointOf(ctx context.Context, size uint64) (evidence.Checkpoint, error) {
	if have := l.Size(); size > have {
		return evidence.Checkpoint{}, errs.New(errs.Invalid,
			"tlog.checkpoint: of %d records, the log has %d", size, have)
	}
	ticker := time.NewTicker(checkpointPoll)
	defer ticker.Stop()
	for {
		c, err := l.readCheckpoint()
		if err == nil && c.Size >= size {
			return c, nil
		}
		if err != nil && !errs.Is(err, errs.NotFound) {
			return evidence.Checkpoint{}, errs.Wrap(err, "tlog.checkpoint")
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return evidence.Checkpoint{}, errs.As(errs.Canceled, ctx.Err(), "tlog.checkpoint")
		}
	}
}

// Prover builds proofs against one checkpoint. It keeps the tiles it has read, some 50 kB for each
// 256 records it proves, and is for one goroutine.
type Prover struct {
	checkpoint evidence.Checkpoint
	builder    *client.ProofBuilder
}

// Prover returns a prover for the checkpoint, which must be one of this log's.
func (l *Log) Prover(ctx context.Context, checkpoint evidence.Checkpoint) (*Prover, error) {
	builder, err := client.NewProofBuilder(ctx, checkpoint.Size, l.tree.ReadTile)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "tlog.prove")
	}
	return &Prover{checkpoint, builder}, nil
}

// Inclusion returns the proof that the leaf is in the checkpoint's tree, once it has been checked.
// Kind Corrupt where leaf, tiles and checkpoint do not agree, Invalid where the tree ends before
// it.
func (p *Prover) Inclusion(ctx context.Context, leaf LeafAt) ([]evidence.Hash, error) {
	size := p.checkpoint.Size
	if leaf.Index >= size {
		return nil, errs.New(errs.Invalid, "tlog.prove: record %d in a tree of %d", leaf.Index, size)
	}
	nodes, err := p.builder.InclusionProof(ctx, leaf.Index)
	path, err := hashesOf(nodes, err)
	if err == nil {
		err = evidence.VerifyInclusion(evidence.LeafHash(leaf.Encoded), leaf.Index, size, path,
			p.checkpoint.Root)
	}
	return path, errs.Wrap(err, "tlog.prove: record %d", leaf.Index)
}

// Consistency returns the proof that the checkpoint's tree begins with the earlier one, once it has
// been checked. Kind Corrupt where it does not, Invalid where the earlier tree is larger.
func (p *Prover) Consistency(ctx context.Context, earlier evidence.Checkpoint) (
	[]evidence.Hash, error) {
	size := p.checkpoint.Size
	if earlier.Size > size {
		return nil, errs.New(errs.Invalid, "tlog.prove: a tree of %d begins with one of %d", size,
			earlier.Size)
	}
	var path []evidence.Hash
	var err error
	if earlier.Size > 0 && earlier.Size < size {
		nodes, fetchErr := p.builder.ConsistencyProof(ctx, earlier.Size, size)
		path, err = hashesOf(nodes, fetchErr)
	}
	if err == nil {
		err = evidence.VerifyConsistency(earlier.Size, earlier.Root, size, p.checkpoint.Root, path)
	}
	return path, errs.Wrap(err, "tlog.prove")
}

func hashesOf(nodes [][]byte, err error) ([]evidence.Hash, error) {
	if err != nil {
		return nil, errs.As(errs.Corrupt, err, "tiles")
	}
	path := make([]evidence.Hash, len(nodes))
	for i := range nodes {
		if len(nodes[i]) != len(path[i]) {
			return nil, errs.New(errs.Corrupt, "tiles: hash %d has %d bytes", i+1, len(nodes[i]))
		}
		path[i] = evidence.Hash(nodes[i])
	}
	return path, nil
}

// Related returns the id and the traces of the records that name it, sorted, at most limit ids: the
// ids to look up for the whole path of a thing.
func (l *Log) Related(ctx context.Context, id ident.ID, limit int) ([]ident.ID, error) {
	leaves, err := l.Lookup(ctx, id, 0, MaxLookup)
	if err != nil {
		return nil, err
	}
	ids := []ident.ID{id}
	for i := range leaves {
		trace := leaves[i].Record.Trace
		if !trace.IsZero() && !slices.Contains(ids, trace) && len(ids) < limit {
			ids = append(ids, trace)
		}
	}
	slices.SortFunc(ids, func(a, b ident.ID) int {
		switch {
		case a.Less(b):
			return -1
		case b.Less(a):
			return 1
		}
		return 0
	})
	return ids, nil
}
