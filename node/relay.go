package node

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"log/slog"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/evidence"
	evidenceclient "surety/evidence/client"
	guardclient "surety/guard/client"
	"surety/ledger"
	ledgerclient "surety/ledger/client"
	"surety/lending/store"
	"surety/sys/wallclock"
)

const (
	// relayPage is how many records a relay takes from its source at once: what the log writes in
	// one batch.
	relayPage = 512
	// relayRetry is how long a relay waits after the log could not take its records.
	relayRetry = clock.Second
)

// relay copies the records of one source into the evidence log, each once: the log itself says how
// far it has got, so a crash on either side loses and repeats nothing.
type relay struct {
	source string
	log    evidenceclient.Appender
	// read returns entries after the sequence number, in order; wait returns when there are some.
	read  func(ctx context.Context, after uint64, limit int) ([]evidence.Entry, error)
	wait  func(ctx context.Context, after uint64) error
	clock wallclock.Clock
	slog  *slog.Logger
}

// run copies until ctx ends.
func (r *relay) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.pass(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		r.slog.Error("the evidence log is behind", "source", r.source, "error", err)
		timer := r.clock.NewTimer(relayRetry)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// pass copies what there is now and waits for more.
func (r *relay) pass(ctx context.Context) error {
	after, err := r.log.LastSeq(r.source)
	if err != nil {
		return err
	}
	for {
		entries, err := r.read(ctx, after, relayPage)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			if err := r.wait(ctx, after); err != nil {
				return err
			}
			continue
		}
		if err := r.log.Append(ctx, entries...); err != nil {
			return err
		}
		after = entries[len(entries)-1].SourceSeq
	}
}

// Sources of the evidence log.
const (
	sourceLending = "lending.outbox"
	sourceLedger  = "ledger.journal"
	sourceGuard   = "guard.verdicts"
	sourceSandbox = "sandbox.audit"
	sourceEnclave = "node.enclave"
)

// eventEntries reads the lending service's outbox: the entry's payload is the event as stored.
func eventEntries(from *store.Store) func(context.Context, uint64, int) ([]evidence.Entry, error) {
	return func(ctx context.Context, after uint64, limit int) ([]evidence.Entry, error) {
		events, err := from.StoredEvents(ctx, after, limit)
		if err != nil {
			return nil, err
		}
		entries := make([]evidence.Entry, len(events))
		for i := range events {
			e := &events[i]
			subject := e.Loan
			if subject.IsZero() {
				subject = e.Application
			}
			entries[i] = evidence.Entry{Source: sourceLending, SourceSeq: e.Seq, Part: "lending",
				Kind: e.Kind, Subjects: []ident.ID{subject}, Trace: e.Trace, At: e.At, Payload: e.Body}
		}
		return entries, nil
	}
}

// batchEntries reads the ledger's batches: the entry commits to the batch's records by their root
// and names the business events whose transfers are in it.
func batchEntries(from ledgerclient.Feed) func(context.Context, uint64, int) ([]evidence.Entry,
	error) {
	return func(ctx context.Context, after uint64, limit int) ([]evidence.Entry, error) {
		batches, err := from.Batches(ctx, after+1, limit)
		if err != nil {
			return nil, err
		}
		entries := make([]evidence.Entry, len(batches))
		for i := range batches {
			if entries[i], err = batchEntry(ctx, from, &batches[i]); err != nil {
				return nil, err
			}
		}
		return entries, nil
	}
}

func batchEntry(ctx context.Context, from ledgerclient.Feed,
	b *ledgerclient.BatchInfo) (evidence.Entry, error) {
	entry := evidence.Entry{Source: sourceLedger, SourceSeq: b.Seq, Part: "ledger",
		Kind: "ledger." + b.Operation.String(), At: b.Timestamp}
	var err error
	if entry.Subjects, err = batchSubjects(ctx, from, b); err != nil {
		return entry, err
	}
	if b.Operation == ledger.OperationCreateTransfers && b.Count > 0 {
		entry.Kind = evidence.KindBatch
		entry.Payload, err = evidence.Batch{Number: b.Seq, Count: b.Count, Root: b.Root}.Encode()
		return entry, err
	}
	entry.Payload, err = json.Marshal(struct {
		Number uint64 `json:"number"`
		Count  uint32 `json:"count"`
		Root   string `json:"root"`
		Chain  string `json:"chain"`
	}{b.Seq, b.Count, hex.EncodeToString(b.Root[:]), hex.EncodeToString(b.ChainHash[:])})
	return entry, errs.As(errs.Internal, err, "node.relay: batch %d", b.Seq)
}

// batchSubjects returns the business events that a batch of transfers belongs to, each once, in
// order, up to what one record can name.
func batchSubjects(ctx context.Context, from ledgerclient.Feed,
	b *ledgerclient.BatchInfo) ([]ident.ID, error) {
	if b.Operation != ledger.OperationCreateTransfers || b.EventCount == 0 {
		return nil, nil
	}
	var subjects []ident.ID
	seen := make(map[ident.ID]bool)
	for seq, end := b.FirstEvent, b.FirstEvent+uint64(b.EventCount); seq < end; {
		events, err := from.Events(ctx, seq, int(end-seq))
		if err != nil {
			return nil, err
		}
		if len(events) == 0 {
			return subjects, nil
		}
		for i := range events {
			id := events[i].Transfer.UserData128
			if id.IsZero() || seen[id] || len(subjects) == evidence.MaxSubjects {
				continue
			}
			seen[id] = true
			subjects = append(subjects, id)
		}
		seq = events[len(events)-1].Seq + 1
	}
	return subjects, nil
}

// verdictEntries reads the guard's verdicts: the entry's payload is the batch as stored, and its
// subjects are the applications and loans it speaks of.
func verdictEntries(from guardclient.Guard) func(context.Context, uint64, int) ([]evidence.Entry,
	error) {
	return func(ctx context.Context, after uint64, limit int) ([]evidence.Entry, error) {
		batches, err := from.Verdicts(ctx, after, limit)
		if err != nil {
			return nil, err
		}
		entries := make([]evidence.Entry, len(batches))
		for i := range batches {
			b := &batches[i]
			payload, err := verdictPayload(b.Body)
			if err != nil {
				return nil, err
			}
			entries[i] = evidence.Entry{Source: sourceGuard, SourceSeq: b.Seq, Part: "guard",
				Kind: "guard.verdicts", At: b.At, Payload: payload,
				Subjects: b.Subjects[:min(len(b.Subjects), evidence.MaxSubjects)]}
		}
		return entries, nil
	}
}

// verdictPayload returns what the log keeps of a batch of verdicts: the batch itself, or its digest
// where breaches with long records make it larger than a payload may be.
func verdictPayload(body []byte) ([]byte, error) {
	if len(body) <= evidence.MaxPayload {
		return body, nil
	}
	payload, err := json.Marshal(struct {
		Digest string `json:"sha256"`
		Bytes  int    `json:"bytes"`
	}{evidence.Digest(body).String(), len(body)})
	return payload, errs.As(errs.Internal, err, "node.relay: verdicts")
}

// verdictPoll is how often the relay looks for verdicts, which are stored a few times a second.
const verdictPoll = 200 * clock.Millisecond

func verdictWait(of wallclock.Clock) func(context.Context, uint64) error {
	return func(ctx context.Context, _ uint64) error {
		timer := of.NewTimer(verdictPoll)
		select {
		case <-timer.C():
			return nil
		case <-ctx.Done():
			timer.Stop()
			return errs.As(errs.Canceled, ctx.Err(), "node.relay")
		}
	}
}

// batchWait returns a wait for batches: every batch of money makes events.
func batchWait(from ledgerclient.Ledger) func(context.Context, uint64) error {
	return func(ctx context.Context, after uint64) error {
		status, err := from.Status(ctx)
		if err != nil || status.Batches > after {
			return err
		}
		return from.WaitEvents(ctx, status.Events)
	}
}
