package replica

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"surety/base/errs"
	"surety/ledger"
	"surety/ledger/client"
	"surety/ledger/wire"
)

// TestTree compares with another implementation of RFC 6962, for every size up to 130.
func TestTree(t *testing.T) {
	hasher := rfc6962.DefaultHasher
	for size := range 131 {
		var got tree
		want := (&compact.RangeFactory{Hash: hasher.HashChildren}).NewEmptyRange(0)
		for i := range size {
			record := []byte{byte(i), 7, 7}
			got.add(record, uint16(i*3))
			leaf := hasher.HashLeaf(binary.LittleEndian.AppendUint16(record, uint16(i*3)))
			if err := want.Append(leaf, nil); err != nil {
				t.Fatal(err)
			}
		}
		root, err := want.GetRootHash(nil)
		if err != nil {
			t.Fatal(err)
		}
		if size == 0 {
			root = hasher.EmptyRoot()
		}
		if got := got.root(); string(got[:]) != string(root) {
			t.Errorf("size %d: %x, want %x", size, got, root)
		}
	}
}

// TestBatches reads every batch back and computes its root from what the client sent and got.
func TestBatches(t *testing.T) {
	w := newWorld(t)
	w.mustOpen()
	ctx := context.Background()
	load := newLoad(4, 0)
	roots := [][32]byte{}
	for range 50 {
		var leaves tree
		switch batch := load.next(); {
		case batch.accounts != nil:
			results, err := w.r.CreateAccounts(ctx, batch.accounts)
			if err != nil {
				t.Fatal(err)
			}
			for i := range results {
				leaves.add(ledger.EncodeAccounts(nil, batch.accounts[i:i+1]), uint16(results[i]))
			}
			roots = append(roots, leaves.root())
		case batch.transfers != nil:
			results := w.send(batch.transfers...)
			for i := range results {
				leaves.add(ledger.EncodeTransfers(nil, batch.transfers[i:i+1]), uint16(results[i]))
			}
			roots = append(roots, leaves.root())
		}
	}
	named := client.Name{AccountID: id(1), Name: "one", Metadata: map[string]string{"a": "b"}}
	if err := w.r.SetNames(ctx, []client.Name{named}); err != nil {
		t.Fatal(err)
	}
	var leaves tree
	leaves.add(wire.AppendName(nil, &named), 0)
	roots = append(roots, leaves.root())
	for range 2 { // as written, and after a start
		events, chain := uint64(0), w.r.journal.Start().Chain
		for i := range uint64(len(roots)) {
			got, err := w.r.Batches(ctx, i+1, 1)
			if err != nil || len(got) != 1 {
				t.Fatalf("batch %d: %v, %v", i+1, got, err)
			}
			b := got[0]
			if b.Seq != i+1 || b.Root != roots[i] || b.FirstEvent != events || b.ChainHash == chain {
				t.Errorf("batch %d: %+v", i+1, b)
			}
			events, chain = events+uint64(b.EventCount), b.ChainHash
			contents, err := w.r.Leaves(ctx, i+1)
			var again tree
			for _, leaf := range contents {
				n := len(leaf) - 2
				again.add(leaf[:n], binary.LittleEndian.Uint16(leaf[n:]))
			}
			if err != nil || len(contents) != int(b.Count) || again.root() != b.Root {
				t.Errorf("batch %d: %d leaves of %d do not give its root: %v", i+1, len(contents), b.Count, err)
			}
		}
		if _, total, _, _ := w.r.durable.get(); events != total {
			t.Errorf("the batches made %d events, there are %d", events, total)
		}
		_, err := w.r.Leaves(ctx, uint64(len(roots))+1)
		wantKind(t, err, errs.NotFound)
		all, err := w.r.Batches(ctx, 1, 0)
		if err != nil || len(all) != len(roots) {
			t.Errorf("%d batches, want %d: %v", len(all), len(roots), err)
		}
		w.mustClose()
		w.mustOpen()
	}
	w.mustClose()
}

func TestBatchesLetGoOf(t *testing.T) {
	w := newWorld(t)
	w.config.Journal.Retain = 1
	w.mustOpen()
	h := &history{load: newLoad(4, 0)}
	for i := range 400 {
		if err := h.step(w.r); err != nil {
			t.Fatal(err)
		}
		if i%130 == 129 { // each close leaves a snapshot, and two of them let go of segments
			w.mustClose()
			w.mustOpen()
		}
	}
	digest := w.digest()
	w.mustClose()
	w.mustOpen()
	if w.digest() != digest {
		t.Error("another state came back")
	}
	ctx := context.Background()
	_, err := w.r.Batches(ctx, 1, 1)
	wantKind(t, err, errs.NotFound)
	if got, err := w.r.Batches(ctx, w.r.journal.Extent().FirstSeq, 1); err != nil || len(got) != 1 {
		t.Errorf("the oldest: %v, %v", got, err)
	}
	w.mustClose()
}
