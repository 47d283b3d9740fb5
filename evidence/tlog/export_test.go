package tlog

import (
	"context"
	"fmt"
	"testing"

	"surety/base/errs"
	"surety/base/ident"
	"surety/evidence"
)

func TestExportByIDs(t *testing.T) {
	l := open(t, t.TempDir())
	ctx := context.Background()
	add(t, l, entries("lending.outbox", 1, 50)...)
	kept, err := l.CheckpointOf(ctx, 50)
	if err != nil {
		t.Fatal(err)
	}
	sealed := entry("vault", 1)
	sealed.Sealed, sealed.Subjects = true, []ident.ID{loan(2)}
	add(t, l, sealed)
	add(t, l, entries("guard.verdicts", 1, 300)...)

	ids, err := l.Related(ctx, loan(2), 100)
	if err != nil || fmt.Sprint(ids) != fmt.Sprint([]ident.ID{loan(2), trace(0), trace(2)}) {
		t.Fatalf("got related ids %v, %v", ids, err)
	}
	b, err := l.Export(ctx, Query{IDs: []ident.ID{loan(2), trace(2)}, Earlier: kept.Signed,
		Withhold: func(r *evidence.Record) string {
			if r.Sealed {
				return "sealed"
			}
			return ""
		}})
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := evidence.DecodeBundle(encoded)
	if err != nil {
		t.Fatal(err)
	}
	key, err := evidence.ParseKey(l.Key().String())
	if err != nil {
		t.Fatal(err)
	}
	report, err := evidence.Verify(decoded, key)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Records) != 21 || report.Earlier != 50 || report.Withheld != 1 ||
		report.Payloads != 20 || report.Checkpoint.Size != 351 {
		t.Errorf("got %d records, %+v", len(report.Records), report)
	}
	decoded.Entries = decoded.Entries[1:]
	_, err = evidence.Verify(decoded, key)
	wantKind(t, err, errs.Corrupt, "missing or added")
}

func TestExportRanges(t *testing.T) {
	l := open(t, t.TempDir())
	ctx := context.Background()
	add(t, l, entries("s", 1, 700)...)
	for _, row := range []struct{ first, end, want uint64 }{
		{0, 0, 700}, {0, 1, 1}, {255, 258, 3}, {600, 0, 100}, {700, 0, 0}, {5, 5, 0},
	} {
		b, err := l.Export(ctx, Query{First: row.first, End: row.end})
		if err != nil || uint64(len(b.Entries)) != row.want {
			t.Fatalf("%d to %d: %v", row.first, row.end, err)
		}
	}
}

func TestExportInnerLeaves(t *testing.T) {
	l := open(t, t.TempDir())
	operations := [][]byte{make([]byte, 128), make([]byte, 127), make([]byte, 126)}
	var leaves []evidence.Hash
	for _, operation := range operations {
		leaves = append(leaves, evidence.LeafHash(operation))
	}
	payload, err := evidence.Batch{Number: 9, Count: 3, Root: evidence.Root(leaves)}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	e := entry("ledger.batches", 1)
	e.Kind, e.Payload = evidence.KindBatch, payload
	add(t, l, e)
	inner := func(index int) func(context.Context, evidence.Batch) ([]evidence.Inner, error) {
		return func(_ context.Context, b evidence.Batch) ([]evidence.Inner, error) {
			path, err := evidence.InclusionPath(leaves, 1)
			return []evidence.Inner{{Index: uint32(index), Leaf: operations[1], Path: path}}, err
		}
	}
	b, err := l.Export(context.Background(), Query{Inner: inner(1)})
	if err != nil || len(b.Entries[0].Inner) != 1 {
		t.Fatal(err)
	}
	_, err = l.Export(context.Background(), Query{Inner: inner(2)})
	wantKind(t, err, errs.Corrupt, "the bundle does not prove itself")
}

// The refusals of Export, in the order they are found.
func TestExportRefusals(t *testing.T) {
	l := open(t, t.TempDir())
	ctx := context.Background()
	add(t, l, entries("s", 1, 10)...)
	_, err := l.Export(ctx, Query{IDs: make([]ident.ID, evidence.MaxStatementIDs+1)})
	wantKind(t, err, errs.TooLarge, "1025 ids, the limit is 1024")
	_, err = l.Export(ctx, Query{IDs: []ident.ID{loan(0), {}}})
	wantKind(t, err, errs.Invalid, "zero id")
	_, err = l.Export(ctx, Query{IDs: []ident.ID{loan(99)}})
	wantKind(t, err, errs.NotFound, "no record names "+loan(99).String())
	_, err = l.Export(ctx, Query{First: 3, End: 2})
	wantKind(t, err, errs.Invalid, "range 3 to 2 of a log of 10")
	_, err = l.Export(ctx, Query{First: 3, End: 11})
	wantKind(t, err, errs.Invalid, "range 3 to 11 of a log of 10")
	_, err = l.Export(ctx, Query{Earlier: "nonsense"})
	wantKind(t, err, errs.Invalid, "earlier checkpoint: given one: not a signed note")
	other := open(t, t.TempDir())
	foreign, err := other.CheckpointOf(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Export(ctx, Query{Earlier: foreign.Signed})
	wantKind(t, err, errs.Invalid, "not signed by the trusted key")
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = l.CheckpointOf(canceled, 10)
	if err != nil && !errs.Is(err, errs.Canceled) {
		t.Errorf("got %v", err)
	}
	_, err = l.CheckpointOf(ctx, 11)
	wantKind(t, err, errs.Invalid, "of 11 records, the log has 10")
}
