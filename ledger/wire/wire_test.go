package wire

import (
	"bytes"
	"io"
	"reflect"
	"testing"

	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
)

func TestFrames(t *testing.T) {
	for _, size := range []int{0, 1, smallBody, smallBody + 1, BodyMax} {
		body := bytes.Repeat([]byte{7}, size)
		sent := Header{Op: OpEvents, Failed: size == 1, Request: 1 << 60}
		if sent.Failed {
			sent.Kind = errs.Busy
		}
		var stream bytes.Buffer
		if err := WriteFrame(&stream, sent, body); err != nil {
			t.Fatal(err)
		}
		got, err := ReadHeader(&stream)
		if err != nil {
			t.Fatal(err)
		}
		sent.Size, sent.Sum = uint32(size), Checksum(body)
		if got != sent {
			t.Errorf("%+v came back as %+v", sent, got)
		}
		if err := got.CheckBody(stream.Bytes()); err != nil {
			t.Error(err)
		}
		if size > 0 {
			stream.Bytes()[size/2] ^= 1
			if err := got.CheckBody(stream.Bytes()); !errs.Is(err, errs.Invalid) {
				t.Errorf("a broken body: %v", err)
			}
		}
	}
	if _, err := ReadHeader(bytes.NewReader(nil)); err != io.EOF {
		t.Errorf("the end between frames: %v", err)
	}
}

func TestBodiesRoundTrip(t *testing.T) {
	amount := func(n uint64) money.Amount { return money.Amount{Lo: n, Hi: n * 3} }
	id := ident.ID{Lo: 5, Hi: 6}
	check := func(name string, sent, got any, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(sent, got) {
			t.Errorf("%s: %+v came back as %+v, %v", name, sent, got, err)
		}
	}
	ids := []ident.ID{id, {Lo: 1}}
	gotIDs, err := DecodeIDs(AppendIDs(nil, ids))
	check("ids", ids, gotIDs, err)
	results := []ledger.TransferResult{0, 54, 200}
	gotResults, err := DecodeResults[ledger.TransferResult](AppendResults(nil, results), 3)
	check("results", results, gotResults, err)
	query := AccountQuery{id, ledger.AccountFilter{Debits: true, Reversed: true, UserData128: id,
		UserData64: 1, UserData32: 2, Code: 3, TimestampMin: 4, TimestampMax: 5, Limit: 6, Cursor: 7}}
	gotQuery, err := DecodeAccountQuery(query.Append(nil))
	check("account query", query, gotQuery, err)
	filter := ledger.TransferFilter{UserData128: id, UserData64: 1, UserData32: 2, Ledger: 9, Code: 3,
		TimestampMin: 4, TimestampMax: 5, Reversed: true, Limit: 6, Cursor: 7}
	gotFilter, err := DecodeTransferFilter(AppendTransferFilter(nil, &filter))
	check("transfer filter", filter, gotFilter, err)
	page := ledger.TransferPage{Cursor: 8, Transfers: []ledger.Transfer{{ID: id, Amount: amount(4)}}}
	gotPage, err := DecodeTransferPage(AppendTransferPage(nil, &page))
	check("transfer page", page, gotPage, err)
	balances := ledger.BalancePage{Cursor: 9, Balances: []ledger.Balance{{DebitsPending: amount(1),
		DebitsPosted: amount(2), CreditsPending: amount(3), CreditsPosted: amount(4), Timestamp: 5}}}
	gotBalances, err := DecodeBalancePage(AppendBalancePage(nil, &balances))
	check("balance page", balances, gotBalances, err)
	totals := []ledger.ClassTotal{{Ledger: 978, Code: 2, Accounts: 3, DebitsPending: amount(4),
		DebitsPosted: amount(5), CreditsPending: amount(6), CreditsPosted: amount(7)}}
	gotTotals, err := DecodeClassTotals(AppendClassTotals(nil, totals))
	check("class totals", totals, gotTotals, err)
	var events []ledger.Event
	for kind := ledger.EventAccountCreated; kind <= ledger.EventFreezeExpired; kind++ {
		e := ledger.Event{Seq: uint64(kind), Timestamp: 77, Kind: kind}
		switch kind {
		case ledger.EventAccountCreated:
			e.Account.ID = id
		case ledger.EventTransferCreated, ledger.EventPendingExpired:
			e.Transfer.ID = id
		default:
			e.Freeze.ID = id
		}
		events = append(events, e)
	}
	gotEvents, err := DecodeEvents(AppendEvents(nil, events))
	check("events", events, gotEvents, err)
	batches := []BatchInfo{{Seq: 1, Operation: 2, Timestamp: 3, Count: 4, ChainHash: [32]byte{5},
		Root: [32]byte{6}, FirstEvent: 7, EventCount: 8}}
	gotBatches, err := DecodeBatches(AppendBatches(nil, batches))
	check("batches", batches, gotBatches, err)
	status := Status{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, "stopped", "read-only"}
	gotStatus, err := DecodeStatus(status.Append(nil))
	check("status", status, gotStatus, err)
	welcome := Welcome{Ledger: id.Bytes(), InFlight: 64}
	gotWelcome, err := DecodeWelcome(welcome.Append(nil))
	check("welcome", welcome, gotWelcome, err)
	token, err := DecodeHello(AppendHello(nil, "secret"))
	check("hello", "secret", token, err)
	rng := Range{From: 1 << 50, Limit: 7}
	gotRange, err := DecodeRange(rng.Append(nil))
	check("range", rng, gotRange, err)
}

func TestLimitsOfRows(t *testing.T) {
	if _, err := DecodeIDs(make([]byte, 16*(ledger.BatchMax+1))); !errs.Is(err, errs.TooLarge) {
		t.Errorf("too many ids: %v", err)
	}
	if _, err := DecodeResults[ledger.TransferResult](make([]byte, 4), 3); !errs.Is(err, errs.Invalid) {
		t.Errorf("too few results: %v", err)
	}
	if EventsMax*eventSize > BodyMax || BatchesMax*batchSize > BodyMax {
		t.Error("a full answer does not fit into a body")
	}
}

// FuzzBodies feeds any bytes to every decoder of bodies.
func FuzzBodies(f *testing.F) {
	f.Add([]byte{})
	f.Add(AppendEvents(nil, []ledger.Event{{Kind: ledger.EventAccountCreated}}))
	f.Add((&Status{Stopped: "x"}).Append(nil))
	f.Add(AppendHello(nil, "t"))
	decoders := []func([]byte) error{
		func(b []byte) error { _, err := DecodeIDs(b); return err },
		func(b []byte) error { _, err := DecodeResults[ledger.FreezeResult](b, len(b)/2); return err },
		func(b []byte) error { _, err := DecodeAccountQuery(b); return err },
		func(b []byte) error { _, err := DecodeTransferFilter(b); return err },
		func(b []byte) error { _, err := DecodeRange(b); return err },
		func(b []byte) error { _, err := DecodeTransferPage(b); return err },
		func(b []byte) error { _, err := DecodeBalancePage(b); return err },
		func(b []byte) error { _, err := DecodeClassTotals(b); return err },
		func(b []byte) error { _, err := DecodeEvents(b); return err },
		func(b []byte) error { _, err := DecodeBatches(b); return err },
		func(b []byte) error { _, err := DecodeStatus(b); return err },
		func(b []byte) error { _, err := DecodeWelcome(b); return err },
		func(b []byte) error { _, err := DecodeHello(b); return err },
		func(b []byte) error { _, _, err := CutName(b); return err },
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for i, decode := range decoders {
			if err := decode(body); err != nil {
				if kind := errs.KindOf(err); kind != errs.Invalid && kind != errs.TooLarge {
					t.Errorf("decoder %d: kind %v", i, kind)
				}
			}
		}
		var b [HeaderSize]byte
		copy(b[:], body)
		if h, err := DecodeHeader(&b); err == nil && h.Encode() != b {
			t.Errorf("header %x came back as %x", b, h.Encode())
		}
	})
}
