package tlog

import (
	"context"
	"slices"

	"golang.org/x/mod/sumdb/note"

	"surety/base/errs"
	"surety/base/ident"
	"surety/evidence"
)

// Query says which records a bundle holds, and what goes with them.
type Query struct {
	// IDs asks for the records that name any of these. Where it is empty, First and End ask for
	// those from First up to but not including End; End zero means the end of the log.
	IDs        []ident.ID
	First, End uint64
	// Earlier is a checkpoint of this log that the reader kept, as a signed note; the bundle then
	// proves that nothing before it was changed. Empty where there is none.
	Earlier string
	// Withhold returns why the payload of a record stays out, empty where it goes along. Nil lets
	// all of them go along; sealed ones go as ciphertext.
	Withhold func(record *evidence.Record) string
	// Inner returns leaves to show of a ledger batch, nil for none. Nil shows none.
	Inner func(ctx context.Context, batch evidence.Batch) ([]evidence.Inner, error)
}

// Export returns a bundle that proves itself with the log's key alone. It waits for a checkpoint
// that covers the records, at most about the checkpoint interval, and checks the bundle before it
// returns it. Kinds: Invalid for ids, a range or an earlier checkpoint that cannot be; TooLarge for
// more than evidence.MaxBundleEntries records; NotFound where no record names the ids; Corrupt
// where the log is damaged.
func (l *Log) Export(ctx context.Context, query Query) (*evidence.Bundle, error) {
	size := l.Size()
	indexes, err := l.selectRecords(ctx, &query, size)
	if err != nil {
		return nil, errs.Wrap(err, "tlog.export")
	}
	checkpoint, err := l.CheckpointOf(ctx, size)
	if err != nil {
		return nil, errs.Wrap(err, "tlog.export")
	}
	prover, err := l.Prover(ctx, checkpoint)
	if err != nil {
		return nil, err
	}
	b := &evidence.Bundle{
		Format: evidence.BundleFormat, Version: evidence.BundleVersion, Origin: l.key.Origin(),
		Key: l.key.String(), Checkpoint: checkpoint.Signed,
	}
	if err := l.addEarlier(ctx, b, prover, query.Earlier); err != nil {
		return nil, errs.Wrap(err, "tlog.export: earlier checkpoint")
	}
	if b.Statement, err = l.state(&query, checkpoint.Size, indexes); err != nil {
		return nil, errs.Wrap(err, "tlog.export: statement")
	}
	if err := l.addEntries(ctx, b, prover, &query, indexes); err != nil {
		return nil, errs.Wrap(err, "tlog.export")
	}
	if _, err := evidence.Verify(b, l.key); err != nil {
		return nil, errs.Wrap(err, "tlog.export: the bundle does not prove itself")
	}
	return b, nil
}

// selectRecords returns the rising indexes of what the query asks for among the first size records.
// A range without an end is given one.
func (l *Log) selectRecords(ctx context.Context, query *Query, size uint64) ([]uint64, error) {
	if len(query.IDs) > 0 {
		return l.selectNaming(ctx, query.IDs, size)
	}
	if query.End == 0 {
		query.End = size
	}
	if query.First > query.End || query.End > size {
		return nil, errs.New(errs.Invalid, "range %d to %d of a log of %d", query.First, query.End, size)
	}
	count := query.End - query.First
	if count > evidence.MaxBundleEntries {
		return nil, tooMany(count)
	}
	indexes := make([]uint64, count)
	for i := range indexes {
		indexes[i] = query.First + uint64(i)
	}
	return indexes, nil
}

func (l *Log) selectNaming(ctx context.Context, ids []ident.ID, size uint64) ([]uint64, error) {
	if len(ids) > evidence.MaxStatementIDs {
		return nil, errs.New(errs.TooLarge, "%d ids, the limit is %d", len(ids), evidence.MaxStatementIDs)
	}
	var indexes []uint64
	for _, id := range ids {
		if id.IsZero() {
			return nil, errs.New(errs.Invalid, "the zero id names nothing")
		}
		found, err := l.index.naming(ctx, id, 0, evidence.MaxBundleEntries+1)
		if err != nil {
			return nil, err
		}
		indexes = append(indexes, found...)
	}
	slices.Sort(indexes)
	indexes = slices.Compact(indexes)
	// What was appended since size was read is left for the next bundle.
	end, _ := slices.BinarySearch(indexes, size)
	indexes = indexes[:end]
	if len(indexes) > evidence.MaxBundleEntries {
		return nil, tooMany(uint64(len(indexes)))
	}
	if len(indexes) == 0 {
		return nil, errs.New(errs.NotFound, "no record names %s", ids[0])
	}
	return indexes, nil
}

func tooMany(count uint64) error {
	return errs.New(errs.TooLarge, "%d records, the limit is %d", count, evidence.MaxBundleEntries)
}

func (l *Log) addEarlier(ctx context.Context, b *evidence.Bundle, prover *Prover,
	signed string) error {
	if signed == "" {
		return nil
	}
	earlier, err := evidence.OpenCheckpoint(signed, l.key)
	if err != nil {
		return errs.As(errs.Invalid, err, "given one")
	}
	b.Earlier = signed
	b.Consistency, err = prover.Consistency(ctx, earlier)
	return err
}

// state signs which records the bundle holds.
func (l *Log) state(query *Query, size uint64, indexes []uint64) (string, error) {
	statement := evidence.Statement{
		Origin: l.key.Origin(), Size: size, IDs: query.IDs, First: query.First, End: query.End,
		Count: uint64(len(indexes)), Digest: evidence.DigestIndexes(indexes),
	}
	text, err := statement.Text()
	if err != nil {
		return "", err
	}
	signed, err := note.Sign(&note.Note{Text: text}, l.signer)
	return string(signed), errs.As(errs.Internal, err, "sign")
}

func (l *Log) addEntries(ctx context.Context, b *evidence.Bundle, prover *Prover, query *Query,
	indexes []uint64) error {
	leaves, err := l.Records(ctx, indexes)
	if err != nil {
		return err
	}
	b.Entries = make([]evidence.BundleEntry, 0, len(leaves))
	for i := range leaves {
		entry, err := l.entry(ctx, prover, query, leaves[i])
		if err != nil {
			return errs.Wrap(err, "record %d", leaves[i].Index)
		}
		b.Entries = append(b.Entries, entry)
	}
	return nil
}

func (l *Log) entry(ctx context.Context, prover *Prover, query *Query, leaf LeafAt) (
	evidence.BundleEntry, error) {
	proof, err := prover.Inclusion(ctx, leaf)
	if err != nil {
		return evidence.BundleEntry{}, err
	}
	entry := evidence.BundleEntry{Index: leaf.Index, Record: leaf.Encoded, Proof: proof}
	if query.Withhold != nil {
		entry.Withheld = query.Withhold(&leaf.Record)
	}
	if entry.Withheld != "" {
		return entry, nil
	}
	payload, err := l.Payload(ctx, leaf)
	if err != nil {
		return evidence.BundleEntry{}, err
	}
	entry.Payload = &payload
	if query.Inner != nil && leaf.Record.Kind == evidence.KindBatch {
		batch, err := evidence.DecodeBatch(payload)
		if err != nil {
			return evidence.BundleEntry{}, err
		}
		if entry.Inner, err = query.Inner(ctx, batch); err != nil {
			return evidence.BundleEntry{}, err
		}
	}
	return entry, nil
}
