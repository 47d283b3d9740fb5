package replica

import (
	"context"
	"errors"

	"surety/base/errs"
	"surety/base/ident"
	"surety/ledger"
	"surety/ledger/journal"
)

// Report is what Verify found out about a directory.
type Report struct {
	LedgerID  ident.ID
	FirstSeq  uint64 // first batch that was replayed; 1 where the whole history is there
	LastSeq   uint64
	Chain     journal.Hash // the hash over everything
	Digest    [32]byte     // of the core's state
	Accounts  uint64
	Transfers uint64
	Events    uint64
	Names     uint64
	Segments  int
	Bytes     int64 // of the journal
	Snapshots []SnapshotReport
}

// SnapshotReport is what Verify found out about one snapshot.
type SnapshotReport struct {
	Seq uint64
	// Replayed says that the journal gave the same state at that place; false where the journal
	// begins later, and the snapshot could only be read.
	Replayed bool
}

// Verify checks a ledger's directory from end to end without changing it, as long as no process has
// it open: the whole journal is read, every checksum and hash is computed again, every batch is
// applied again from the beginning (or from the older snapshot, where the beginning was let go of)
// and gives the results that were stored, the books balance, and each snapshot holds the state that
// the journal gives at its place. progress is told the batches done and the last one; it may be
// nil.
//
// An error is of kind Corrupt with what is wrong and where, or as for Open.
func Verify(ctx context.Context, config Config, deps Deps, progress func(done, last uint64)) (
	Report, error) {
	config.Journal.ReadOnly = true
	r := newReplica(config, deps)
	v := verifier{r: r, progress: progress, seen: map[uint64][32]byte{}}
	report, err := v.run(ctx)
	return report, errs.Wrap(err, "ledger.verify: %s", config.Dir)
}

type verifier struct {
	r        *Replica
	progress func(done, last uint64)
	wanted   []journal.Snapshot
	seen     map[uint64][32]byte // digest of the state at each snapshot's place
}

func (v *verifier) run(ctx context.Context) (report Report, err error) {
	r := v.r
	if r.journal, err = journal.Open(r.fs, r.config.Dir, r.config.Journal); err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, r.journal.Close()) }()
	v.wanted = r.journal.Snapshots()
	from, err := v.beginning()
	if err != nil {
		return report, err
	}
	report.FirstSeq = from.Seq + 1
	if err := v.replay(ctx, from); err != nil {
		return report, err
	}
	if err := r.state.CheckInvariants(); err != nil {
		return report, err
	}
	end, extent := r.journal.Durable(), r.journal.Extent()
	report.LedgerID, report.LastSeq, report.Chain = r.ID(), end.Seq, end.Chain
	report.Digest, report.Events = r.state.Digest(), r.state.EventsLen()
	report.Accounts, report.Transfers = uint64(r.state.AccountsLen()), uint64(r.state.TransfersLen())
	report.Names = uint64(r.names.count())
	report.Segments, report.Bytes = extent.Segments, extent.Bytes
	report.Snapshots, err = v.snapshots()
	return report, err
}

// beginning is the start of the journal, or the oldest snapshot where the start was let go of.
func (v *verifier) beginning() (journal.Position, error) {
	r := v.r
	if r.journal.Extent().FirstSeq <= 1 {
		r.state, r.names = ledger.NewState(r.config.Limits), newNames()
		return r.journal.Start(), nil
	}
	if len(v.wanted) == 0 {
		return journal.Position{}, errs.New(errs.Corrupt, "the journal has no beginning and no snapshot")
	}
	oldest := v.wanted[len(v.wanted)-1]
	err := r.loadSnapshot(oldest)
	return oldest.Position, errs.Wrap(err, "snapshot %s", snapshotName(oldest.Seq))
}

func (v *verifier) replay(ctx context.Context, from journal.Position) error {
	replay := replay{r: v.r}
	last := from.Seq
	if len(v.wanted) > 0 {
		last = v.wanted[0].Seq
	}
	return v.r.journal.Recover(ctx, from, func(record *journal.Record) error {
		if err := replay.apply(record); err != nil {
			return err
		}
		for _, s := range v.wanted {
			if s.Seq == record.Seq {
				v.seen[s.Seq] = v.r.digest()
			}
		}
		if v.progress != nil {
			v.progress(record.Seq, max(last, record.Seq))
		}
		return nil
	})
}

// digest covers the core's state and the names.
func (r *Replica) digest() [32]byte {
	sum := r.state.Digest()
	var leaves tree
	leaves.add(sum[:], 0)
	for _, chunk := range r.names.chunks {
		leaves.add(chunk, 0)
	}
	return leaves.root()
}

// snapshots reads each snapshot and compares it with what the journal gave at its place. It gives
// up the replayed state, so that there are never two in memory.
func (v *verifier) snapshots() (reports []SnapshotReport, err error) {
	for _, s := range v.wanted {
		v.r.state, v.r.names = nil, nil
		if err := v.r.loadSnapshot(s); err != nil {
			return reports, errs.Wrap(err, "snapshot %s", snapshotName(s.Seq))
		}
		want, replayed := v.seen[s.Seq]
		if replayed && v.r.digest() != want {
			return reports, errs.New(errs.Corrupt, "snapshot %s is intact and holds another state than "+
				"the journal gives", snapshotName(s.Seq))
		}
		reports = append(reports, SnapshotReport{Seq: s.Seq, Replayed: replayed})
	}
	return reports, nil
}
