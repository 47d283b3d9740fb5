package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"

	"surety/api/event"
	evidencev1 "surety/api/evidence/v1"
	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/evidence"
	"surety/evidence/tlog"
	"surety/evidence/vault"
	"surety/ledger"
	"surety/ledger/replica"
	"surety/lending/scorer"
	"surety/lending/store"
	"surety/sys/wallclock"
)

const (
	// traceMax bounds the ids that one trace follows: a loan, its trace, and its events.
	traceMax = evidence.MaxStatementIDs
	// sandboxNameMax bounds a sandbox's name in bytes.
	sandboxNameMax = 65
	// eraseReasonMax bounds the reason of an erasure in bytes.
	eraseReasonMax = 256
)

// evidenceService serves the evidence log, and joins what it knows of one thing: the records of the
// lending service about it, the ledger's batches in which its money moved, and the guard's checks.
type evidenceService struct {
	log     *tlog.Log
	ledger  *replica.Replica
	vault   *vault.Vault
	records *store.Store
	clock   wallclock.Clock
}

const (
	// catchUpSteps and catchUpStep bound how long a reader waits for the log to take in what was
	// done before he asked: it lags by the age of a batch.
	catchUpSteps = 40
	catchUpStep  = 50 * clock.Millisecond
)

// catchUp waits until the log holds every business event and ledger batch there is now, or for two
// seconds: what is then missing shows in the next trace.
func (s *evidenceService) catchUp(ctx context.Context) error {
	status, err := s.ledger.Status(ctx)
	if err != nil {
		return err
	}
	event := s.records.LastEvent()
	for range catchUpSteps {
		events, err := s.log.LastSeq(sourceLending)
		if err != nil {
			return err
		}
		batches, err := s.log.LastSeq(sourceLedger)
		if err != nil || events >= event && batches >= status.Batches {
			return err
		}
		timer := s.clock.NewTimer(catchUpStep)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return errs.As(errs.Canceled, ctx.Err(), "evidence")
		}
	}
	return nil
}

// Trace lists every logged step of a thing, in the order of the log, each proved.
func (s *evidenceService) Trace(ctx context.Context,
	request *connect.Request[evidencev1.TraceRequest],
) (*connect.Response[evidencev1.TraceResponse], error) {
	id, err := subjectOf(request.Msg.Id)
	if err != nil {
		return nil, err
	}
	if err := s.catchUp(ctx); err != nil {
		return nil, errs.Wrap(err, "trace %s", id)
	}
	leaves, _, err := s.follow(ctx, id)
	if err != nil {
		return nil, errs.Wrap(err, "trace %s", id)
	}
	checkpoint, err := s.log.CheckpointOf(ctx, leaves[len(leaves)-1].Index+1)
	if err != nil {
		return nil, errs.Wrap(err, "trace %s", id)
	}
	prover, err := s.log.Prover(ctx, checkpoint)
	if err != nil {
		return nil, errs.Wrap(err, "trace %s", id)
	}
	response := &evidencev1.TraceResponse{Id: id.String(), TreeSize: checkpoint.Size,
		Checkpoint: checkpoint.Signed}
	for i := range leaves {
		step, err := s.step(ctx, prover, &leaves[i])
		if err != nil {
			return nil, errs.Wrap(err, "trace %s", id)
		}
		response.Steps = append(response.Steps, step)
	}
	return connect.NewResponse(response), nil
}

// subjectOf returns what a text names: an id, or one of the node's sandboxes by its own name.
func subjectOf(text string) (ident.ID, error) {
	if strings.HasPrefix(text, scorer.Name+"-") && len(text) < sandboxNameMax {
		return sandboxSubject(text), nil
	}
	return ident.Parse(text)
}

// follow returns the records that belong to a thing, in the order of the log, and the ids that name
// them: the thing itself, the traces it is part of, and the business events on those.
func (s *evidenceService) follow(ctx context.Context, id ident.ID) ([]tlog.LeafAt, []ident.ID,
	error) {
	related, err := s.log.Related(ctx, id, traceMax)
	if err != nil {
		return nil, nil, err
	}
	found := make(map[uint64]tlog.LeafAt)
	for next := 0; next < len(related); next++ {
		leaves, err := s.log.Lookup(ctx, related[next], 0, tlog.MaxLookup)
		if err != nil {
			return nil, nil, err
		}
		for _, leaf := range leaves {
			found[leaf.Index] = leaf
			about, err := s.about(ctx, leaf)
			if err != nil {
				return nil, nil, err
			}
			for _, other := range about {
				if !other.IsZero() && !slices.Contains(related, other) && len(related) < traceMax {
					related = append(related, other)
				}
			}
		}
	}
	if len(found) == 0 {
		return nil, nil, errs.New(errs.NotFound, "the log knows nothing of it")
	}
	list := make([]tlog.LeafAt, 0, len(found))
	for _, leaf := range found {
		list = append(list, leaf)
	}
	slices.SortFunc(list, func(a,
		b tlog.LeafAt) int {
		return int(int64(a.Index) - int64(b.Index))
	})
	return list, related, nil
}

// about returns the ids by which other parts speak of a record of the outbox: its business event,
// its application and its loan. Of other records it returns none.
func (s *evidenceService) about(ctx context.Context, leaf tlog.LeafAt) ([]ident.ID, error) {
	if leaf.Record.Source != sourceLending {
		return nil, nil
	}
	payload, err := s.log.Payload(ctx, leaf)
	if err != nil {
		return nil, err
	}
	e, err := event.Decode(payload)
	return []ident.ID{e.ID, e.Application, e.Loan}, err
}

func (s *evidenceService) step(ctx context.Context, prover *tlog.Prover, leaf *tlog.LeafAt) (
	*evidencev1.Step, error) {
	_, proof := prover.Inclusion(ctx, *leaf)
	if proof != nil && !errs.Is(proof, errs.Corrupt) {
		return nil, proof
	}
	payload, err := s.log.Payload(ctx, *leaf)
	if err != nil {
		return nil, err
	}
	step := &evidencev1.Step{Index: leaf.Index, Part: leaf.Record.Part, Kind: leaf.Record.Kind,
		At: rfc3339(leaf.Record.At), Digest: leaf.Record.Digest.String(), Note: summary(leaf,
			payload),
		Proved: proof == nil}
	if !leaf.Record.Trace.IsZero() {
		step.Trace = leaf.Record.Trace.String()
	}
	if leaf.Record.Sealed {
		step.Note = "sealed"
	} else {
		step.Payload = string(payload)
	}
	if step.Audit, err = s.audit(ctx, leaf, payload); err == nil && step.Audit != nil {
		step.Enclave, err = s.enclave(ctx, step.Audit.Sandbox)
	}
	return step, err
}

// summary says in a few words what a record's payload holds.
func summary(leaf *tlog.LeafAt, payload []byte) string {
	switch leaf.Record.Source {
	case sourceLending:
		e, err := event.Decode(payload)
		if err != nil {
			return "unreadable: " + err.Error()
		}
		return eventSummary(&e)
	case sourceLedger:
		batch, err := evidence.DecodeBatch(payload)
		if err != nil {
			return ""
		}
		return "batch " + strconv.FormatUint(batch.Number, 10) + ", " +
			strconv.FormatUint(uint64(batch.Count),
				10) + " records, root " + batch.Root.String()[:16]
	case sourceGuard:
		return guardSummary(payload)
	case sourceSandbox:
		return auditSummary(payload)
	case sourceEnclave:
		return enclaveSummary(payload)
	}
	return ""
}

// eventSummary is the facts of an event that a reader looks for first.
func eventSummary(e *event.Event) string {
	var words []string
	for _, name := range []string{"outcome", "points", "pd_ppm", "features_digest", "gbdt_digest",
		"reasons", "annual_rate_percent", "apr_eu_micro_percent", "digest", "reference", "reason"} {
		if fact := e.Facts[name]; fact != "" {
			if len(fact) == 64 {
				fact = fact[:16] // a digest: enough to recognise it
			}
			words = append(words, name+" "+fact)
		}
	}
	for _, name := range []string{"requested", "offered", "principal", "fee", "interest", "penalty",
		"total", "limit", "amount"} {
		if amount, given := e.Amounts[name]; given && !amount.IsZero() {
			words = append(words, name+" "+amount.String())
		}
	}
	return strings.Join(words, ", ")
}

// guardSummary says how a batch of checks came out.
func guardSummary(payload []byte) string {
	var batch struct {
		Events   int `json:"events"`
		Breaches int `json:"breaches"`
	}
	if json.Unmarshal(payload, &batch) != nil {
		return ""
	}
	return strconv.Itoa(batch.Events) + " events checked against their postings, " +
		strconv.Itoa(batch.Breaches) + " breaches"
}

// Export returns a bundle with every step of the things, and for each of the ledger's batches the
// transfers that belong to them.
func (s *evidenceService) Export(ctx context.Context,
	request *connect.Request[evidencev1.ExportRequest],
) (*connect.Response[evidencev1.ExportResponse], error) {
	if n := len(request.Msg.Ids); n == 0 || n > traceMax {
		return nil, errs.New(errs.Invalid, "evidence.export: %d ids, must be 1 to %d", n, traceMax)
	}
	if err := s.catchUp(ctx); err != nil {
		return nil, errs.Wrap(err, "evidence.export")
	}
	var all []ident.ID
	for _, text := range request.Msg.Ids {
		id, err := subjectOf(text)
		if err != nil {
			return nil, err
		}
		_, related, err := s.follow(ctx, id)
		if err != nil {
			return nil, errs.Wrap(err, "evidence.export: %s", id)
		}
		all = append(all, related...)
	}
	slices.SortFunc(all, compareIDs)
	all = slices.Compact(all)
	if len(all) > traceMax {
		return nil, errs.New(errs.TooLarge,
			"evidence.export: %d ids, the limit is %d: export fewer things at once",
			len(all), traceMax)
	}
	bundle, err := s.log.Export(ctx, tlog.Query{IDs: all, Inner: s.inner(all)})
	if err != nil {
		return nil, err
	}
	encoded, err := bundle.Encode()
	return connect.NewResponse(&evidencev1.ExportResponse{Bundle: encoded}), err
}

func compareIDs(a, b ident.ID) int {
	x, y := a.Bytes(), b.Bytes()
	return bytes.Compare(x[:], y[:])
}

// inner shows, of a batch, the transfers whose business event is among the ids.
func (s *evidenceService) inner(ids []ident.ID) func(context.Context,
	evidence.Batch) ([]evidence.Inner, error) {
	return func(ctx context.Context, batch evidence.Batch) (list []evidence.Inner, _ error) {
		leaves, err := s.ledger.Leaves(ctx, batch.Number)
		if err != nil {
			return nil, err
		}
		hashes := make([]evidence.Hash, len(leaves))
		for i := range leaves {
			hashes[i] = evidence.LeafHash(leaves[i])
		}
		for i, leaf := range leaves {
			if !belongs(leaf, ids) {
				continue
			}
			path, err := evidence.InclusionPath(hashes, i)
			if err != nil {
				return nil, err
			}
			list = append(list, evidence.Inner{Index: uint32(i), Leaf: leaf, Path: path})
		}
		return list, nil
	}
}

// belongs reports whether a leaf is a transfer that succeeded, of an event among the sorted ids.
func belongs(leaf []byte, ids []ident.ID) bool {
	if len(leaf) != ledger.RecordSize+2 ||
		binary.LittleEndian.Uint16(leaf[ledger.RecordSize:]) != 0 {
		return false
	}
	transfers, err := ledger.DecodeTransfers(nil, leaf[:ledger.RecordSize])
	if err != nil {
		return false
	}
	_, found := slices.BinarySearchFunc(ids, transfers[0].UserData128, compareIDs)
	return found
}

// Checkpoint returns the newest signed checkpoint and the log's public key.
func (s *evidenceService) Checkpoint(ctx context.Context,
	_ *connect.Request[evidencev1.CheckpointRequest],
) (*connect.Response[evidencev1.CheckpointResponse], error) {
	checkpoint, err := s.log.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&evidencev1.CheckpointResponse{Checkpoint: checkpoint.Signed,
		Size: checkpoint.Size, Key: s.log.Key().String()}), nil
}

// Erase destroys the key that seals a subject's personal data.
func (s *evidenceService) Erase(ctx context.Context,
	request *connect.Request[evidencev1.EraseRequest],
) (*connect.Response[evidencev1.EraseResponse], error) {
	subject, err := ident.Parse(request.Msg.Subject)
	if err != nil {
		return nil, err
	}
	if n := len(request.Msg.Reason); n == 0 || n > eraseReasonMax {
		return nil, errs.New(errs.Invalid,
			"evidence.erase: the reason has %d bytes, must have 1 to %d",
			n, eraseReasonMax)
	}
	at, err := s.vault.Erase(ctx, subject, request.Msg.Reason)
	return connect.NewResponse(&evidencev1.EraseResponse{ErasedAt: rfc3339(at)}), err
}

func rfc3339(t clock.Instant) string {
	if t == 0 {
		return ""
	}
	return time.Unix(0, int64(t)).UTC().Format(time.RFC3339Nano)
}
