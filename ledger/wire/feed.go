package wire

import (
	"encoding/binary"

	"surety/base/errs"
	"surety/ledger"
)

const (
	eventSize = 8 + 8 + 1 + ledger.RecordSize
	batchSize = 8 + 1 + 8 + 4 + 32 + 32 + 8 + 4

	// EventsMax and BatchesMax are how many of them one answer holds.
	EventsMax  = BodyMax / eventSize
	BatchesMax = BodyMax / batchSize

	// reasonMax bounds each of the two sentences in a Status.
	reasonMax = 1024
)

// AppendEvents appends events, each with its record.
func AppendEvents(dst []byte, events []ledger.Event) []byte {
	for i := range events {
		e := &events[i]
		dst = putUint64(putUint64(dst, e.Seq), uint64(e.Timestamp))
		dst = append(dst, byte(e.Kind))
		switch e.Kind {
		case ledger.EventAccountCreated:
			dst = ledger.EncodeAccounts(dst, []ledger.Account{e.Account})
		case ledger.EventTransferCreated, ledger.EventPendingExpired:
			dst = ledger.EncodeTransfers(dst, []ledger.Transfer{e.Transfer})
		default:
			dst = ledger.EncodeFreezes(dst, []ledger.Freeze{e.Freeze})
		}
	}
	return dst
}

// DecodeEvents is the inverse of AppendEvents.
func DecodeEvents(body []byte) ([]ledger.Event, error) {
	n, err := rows(body, eventSize, EventsMax, "events")
	if err != nil {
		return nil, err
	}
	c := cursor{rest: body}
	events := make([]ledger.Event, n)
	for i := range events {
		if events[i], err = c.event(); err != nil {
			return nil, err
		}
	}
	return events, nil
}

func (c *cursor) event() (ledger.Event, error) {
	e := ledger.Event{Seq: c.uint64(), Timestamp: c.instant(), Kind: ledger.EventKind(c.uint8())}
	record := c.bytes(ledger.RecordSize)
	switch e.Kind {
	case ledger.EventAccountCreated:
		got, err := ledger.DecodeAccounts(nil, record)
		e.Account = got[0]
		return e, err
	case ledger.EventTransferCreated, ledger.EventPendingExpired:
		got, err := ledger.DecodeTransfers(nil, record)
		e.Transfer = got[0]
		return e, err
	case ledger.EventFreezeApplied, ledger.EventFreezeReleased, ledger.EventFreezeExpired:
		got, err := ledger.DecodeFreezes(nil, record)
		e.Freeze = got[0]
		return e, err
	}
	return e, errs.New(errs.Invalid, "wire: events: kind %d", e.Kind)
}

// AppendBatches appends batches.
func AppendBatches(dst []byte, batches []BatchInfo) []byte {
	for i := range batches {
		b := &batches[i]
		dst = append(putUint64(dst, b.Seq), byte(b.Operation))
		dst = putUint32(putUint64(dst, uint64(b.Timestamp)), b.Count)
		dst = append(append(dst, b.ChainHash[:]...), b.Root[:]...)
		dst = putUint32(putUint64(dst, b.FirstEvent), b.EventCount)
	}
	return dst
}

// DecodeBatches is the inverse of AppendBatches.
func DecodeBatches(body []byte) ([]BatchInfo, error) {
	n, err := rows(body, batchSize, BatchesMax, "batches")
	if err != nil {
		return nil, err
	}
	c := cursor{rest: body}
	batches := make([]BatchInfo, n)
	for i := range batches {
		batches[i] = BatchInfo{Seq: c.uint64(), Operation: ledger.Operation(c.uint8()),
			Timestamp: c.instant(), Count: c.uint32(), ChainHash: c.hash(), Root: c.hash(),
			FirstEvent: c.uint64(), EventCount: c.uint32()}
	}
	return batches, nil
}

// Append appends the status's encoding.
func (s *Status) Append(dst []byte) []byte {
	for _, n := range []uint64{s.Accounts, s.Transfers, s.FailedIDs, s.Names, s.Events, s.Batches,
		s.Snapshot, uint64(s.Timestamp), s.JournalBytes} {
		dst = putUint64(dst, n)
	}
	dst = putUint32(putUint32(dst, s.Segments), s.Queue)
	return appendText(appendText(dst, clip(s.Stopped)), clip(s.ReadOnly))
}

func clip(text string) string { return text[:min(len(text), reasonMax)] }

// DecodeStatus is the inverse of Append.
func DecodeStatus(body []byte) (Status, error) {
	c := cursor{rest: body}
	s := Status{Accounts: c.uint64(), Transfers: c.uint64(), FailedIDs: c.uint64(), Names: c.uint64(),
		Events: c.uint64(), Batches: c.uint64(), Snapshot: c.uint64(), Timestamp: c.instant(),
		JournalBytes: c.uint64(), Segments: c.uint32(), Queue: c.uint32(),
		Stopped: c.text(reasonMax), ReadOnly: c.text(reasonMax)}
	return s, c.end("status")
}

// Welcome is the answer to a Hello.
type Welcome struct {
	Ledger   [16]byte // the ledger's own id, most significant byte first
	InFlight uint32   // requests that may be under way on one connection
}

// Append appends the welcome's encoding.
func (w *Welcome) Append(dst []byte) []byte {
	return putUint32(append(dst, w.Ledger[:]...), w.InFlight)
}

// DecodeWelcome is the inverse of Append.
func DecodeWelcome(body []byte) (Welcome, error) {
	c := cursor{rest: body}
	var w Welcome
	copy(w.Ledger[:], c.bytes(len(w.Ledger)))
	w.InFlight = c.uint32()
	return w, c.end("welcome")
}

// AppendHello appends the body of a Hello.
func AppendHello(dst []byte, token string) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(token)))
	return append(dst, token...)
}

// DecodeHello is the inverse of AppendHello.
func DecodeHello(body []byte) (token string, err error) {
	c := cursor{rest: body}
	token = c.text(TokenMax)
	return token, c.end("hello")
}
