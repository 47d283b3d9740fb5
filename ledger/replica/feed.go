package replica

import (
	"context"
	"encoding/binary"

	"surety/base/errs"
	"surety/ledger"
	"surety/ledger/client"
	"surety/ledger/journal"
	"surety/ledger/wire"
)

// Events implements client.Feed. Events never change, so those below the watermark can be shown at
// once.
func (r *Replica) Events(_ context.Context, from uint64, limit int) ([]ledger.Event, error) {
	if limit <= 0 || limit > ledger.PageMax {
		limit = ledger.PageMax
	}
	_, durable, _, err := r.durable.get()
	if err != nil {
		return nil, errs.Wrap(err, "ledger.events")
	}
	if from >= durable {
		return nil, nil
	}
	until := min(durable, from+uint64(limit))
	events := make([]ledger.Event, 0, until-from)
	r.mu.RLock()
	defer r.mu.RUnlock()
	for seq := from; seq < until; seq++ {
		events = append(events, r.state.Event(seq))
	}
	return events, nil
}

// WaitEvents implements client.Feed.
func (r *Replica) WaitEvents(ctx context.Context, next uint64) error {
	return errs.Wrap(r.durable.waitEvent(ctx, next), "ledger.wait_events")
}

// Batches implements client.Feed. It reads the journal: the root of an old batch is computed when
// somebody asks, and costs the writer nothing.
func (r *Replica) Batches(ctx context.Context, from uint64, limit int) ([]client.BatchInfo, error) {
	if err := r.stopped(); err != nil {
		return nil, errs.Wrap(err, "ledger.batches")
	}
	if limit <= 0 || limit > BatchesMax {
		limit = BatchesMax
	}
	var batches []client.BatchInfo
	err := r.journal.Read(ctx, from, limit, func(record *journal.Record) error {
		info, err := describe(record)
		batches = append(batches, info)
		return err
	})
	if err != nil {
		return nil, errs.Wrap(err, "ledger.batches")
	}
	return batches, nil
}

// describe returns what evidence needs of a record.
func describe(record *journal.Record) (client.BatchInfo, error) {
	info := client.BatchInfo{
		Seq: record.Seq, Operation: ledger.Operation(record.Operation), Timestamp: record.Timestamp,
		Count: record.Count, ChainHash: record.Chain, FirstEvent: record.FirstEvent,
		EventCount: record.Events,
	}
	var tree tree
	err := leaves(record, tree.add)
	info.Root = tree.root()
	return info, err
}

// leaves calls add with the content of each leaf of the record's tree: the encoding of a record as
// it was sent and its result.
func leaves(record *journal.Record, add func(record []byte, result uint16)) error {
	records, results, err := split(record)
	if err != nil {
		return unreplayable(record, err)
	}
	if info := ledger.Operation(record.Operation); info == ledger.OperationNames {
		for len(records) > 0 {
			_, rest, err := wire.CutName(records)
			if err != nil {
				return unreplayable(record, err)
			}
			add(records[:len(records)-len(rest)], 0)
			records = rest
		}
		return nil
	}
	for i := 0; len(records) > 0; i++ {
		result := uint16(0)
		if len(results) > 0 && int(binary.LittleEndian.Uint16(results)) == i {
			result = binary.LittleEndian.Uint16(results[2:])
			results = results[journal.ResultSize:]
		}
		add(records[:ledger.RecordSize], result)
		records = records[ledger.RecordSize:]
	}
	return nil
}
