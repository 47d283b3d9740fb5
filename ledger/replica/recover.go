package replica

import (
	"context"
	"encoding/binary"
	"errors"

	"surety/base/errs"
	"surety/ledger"
	"surety/ledger/journal"
	"surety/ledger/wire"
)

// open brings the state to the journal's end.
func (r *Replica) open(ctx context.Context) error {
	j, err := journal.Open(r.fs, r.config.Dir, r.config.Journal)
	if err != nil {
		return err
	}
	r.journal = j
	if err := r.recover(ctx); err != nil {
		return errors.Join(err, j.Close())
	}
	at := j.Durable()
	r.durable.advance(at.Seq, r.state.EventsLen(), r.state.Now())
	r.rest()
	if r.config.Journal.ReadOnly {
		return nil
	}
	return r.sweepSnapshots()
}

func (r *Replica) recover(ctx context.Context) error {
	from, broken, err := r.beginning()
	if err != nil {
		return err
	}
	replay := replay{r: r}
	if err := r.journal.Recover(ctx, from, replay.apply); err != nil {
		return errors.Join(err, broken)
	}
	if broken != nil {
		r.log.Warn("ledger: a snapshot is broken, an older state and more of the journal were used",
			"error", broken, "from", from.Seq)
	}
	return nil
}

// beginning loads the newest good snapshot and returns its place; with none it is the start of the
// journal. broken is why a newer one was not used.
func (r *Replica) beginning() (from journal.Position, broken, err error) {
	for _, s := range r.journal.Snapshots() {
		err := r.loadSnapshot(s)
		if err == nil {
			return s.Position, broken, nil
		}
		err = errs.Wrap(err, "snapshot %s", snapshotName(s.Seq))
		switch errs.KindOf(err) {
		case errs.Corrupt, errs.NotFound, errs.Invalid: // Invalid: of another version, or so it seems
			broken = errors.Join(broken, err)
		default:
			return from, nil, err
		}
	}
	r.state, r.names, r.applied = ledger.NewState(r.config.Limits), newNames(), 0
	return r.journal.Start(), broken, nil
}

// replay applies the journal's records again.
type replay struct {
	r         *Replica
	accounts  []ledger.Account
	transfers []ledger.Transfer
	freezes   []ledger.Freeze
	results   []byte // as stored
}

// apply applies one record and compares what comes out with what came out when it was written. Kind
// Corrupt where that differs: then the data, the program or the memory is not what it was.
func (p *replay) apply(record *journal.Record) error {
	s := p.r.state
	operation := ledger.Operation(record.Operation)
	records, results, err := split(record)
	if err != nil {
		return unreplayable(record, err)
	}
	if err := s.Room(operation, int(record.Count)); err != nil {
		return errs.Wrap(err, "record %d", record.Seq)
	}
	at, least := record.Timestamp, s.NextTimestamp(0, int(record.Count))
	if at < least || at > ledger.TimestampMax {
		return unreplayable(record, errs.New(errs.Corrupt, "timestamp %d, want %d or later", at, least))
	}
	if s.EventsLen() != record.FirstEvent {
		return unreplayable(record, errs.New(errs.Corrupt, "%d events came before it, not %d",
			s.EventsLen(), record.FirstEvent))
	}
	if err := p.repeat(operation, record, records); err != nil {
		return unreplayable(record, err)
	}
	if string(p.results) != string(results) {
		return unreplayable(record, errs.New(errs.Corrupt, "its results are not those stored"))
	}
	if made := s.EventsLen() - record.FirstEvent; made != uint64(record.Events) {
		return unreplayable(record, errs.New(errs.Corrupt, "it made %d events, not %d",
			made, record.Events))
	}
	p.r.applied = record.Seq
	return nil
}

// unreplayable is the error for a record that is intact and makes no sense here.
func unreplayable(record *journal.Record, cause error) error {
	return errs.As(errs.Corrupt, cause, "record %d (segment %d at byte %d) does not replay",
		record.Seq, record.Segment, record.Offset)
}

// split parts a body into records and stored results.
func split(record *journal.Record) (records, results []byte, err error) {
	size := len(record.Body)
	results = record.Body[size-int(record.Results)*journal.ResultSize:]
	records = record.Body[:size-len(results)]
	switch ledger.Operation(record.Operation) {
	case ledger.OperationCreateAccounts, ledger.OperationCreateTransfers, ledger.OperationFreezes:
		if len(records) != int(record.Count)*ledger.RecordSize || record.Count == 0 {
			return nil, nil, errs.New(errs.Corrupt, "%d bytes for %d records", len(records), record.Count)
		}
	case ledger.OperationNames, ledger.OperationPulse:
		if len(results) > 0 {
			return nil, nil, errs.New(errs.Corrupt, "results where there are none")
		}
	default:
		return nil, nil, errs.New(errs.Invalid, "operation %d is not known to this program",
			record.Operation)
	}
	return records, results, nil
}

// repeat applies the records and leaves the results that are not OK in p.results.
func (p *replay) repeat(operation ledger.Operation, record *journal.Record, records []byte) error {
	s, at := p.r.state, record.Timestamp
	var err error
	p.results = p.results[:0]
	switch operation {
	case ledger.OperationCreateAccounts:
		if p.accounts, err = ledger.DecodeAccounts(p.accounts[:0], records); err == nil {
			p.results = appendFailures(p.results, s.CreateAccounts(p.accounts, at, nil))
		}
	case ledger.OperationCreateTransfers:
		if p.transfers, err = ledger.DecodeTransfers(p.transfers[:0], records); err == nil {
			p.results = appendFailures(p.results, s.CreateTransfers(p.transfers, at, nil))
		}
	case ledger.OperationFreezes:
		if p.freezes, err = ledger.DecodeFreezes(p.freezes[:0], records); err == nil {
			p.results = appendFailures(p.results, s.ApplyFreezes(p.freezes, at, nil))
		}
	case ledger.OperationNames:
		return p.repeatNames(record, records)
	case ledger.OperationPulse:
		s.Pulse(at)
	}
	return err
}

func (p *replay) repeatNames(record *journal.Record, encoded []byte) error {
	entries, err := wire.DecodeNames(encoded)
	if err == nil && len(entries) != int(record.Count) {
		err = errs.New(errs.Corrupt, "%d names, not %d", len(entries), record.Count)
	}
	if err == nil {
		err = p.r.names.check(entries)
	}
	if err == nil {
		p.r.state.Pulse(record.Timestamp)
		p.r.names.apply(entries)
	}
	return err
}

func appendFailures[R ~uint16](dst []byte, results []R) []byte {
	for i, result := range results {
		if result != 0 {
			dst = binary.LittleEndian.AppendUint16(dst, uint16(i))
			dst = binary.LittleEndian.AppendUint16(dst, uint16(result))
		}
	}
	return dst
}
