package client

import (
	"bufio"
	"context"
	"encoding/json"
	"io"

	"surety/base/errs"
	"surety/ledger"
)

// Progress is told how much of the work is done; it may be nil.
type Progress func(done, total uint64)

func (p Progress) tell(done, total uint64) {
	if p != nil {
		p(done, total)
	}
}

// Export writes the ledger as JSON lines, in the order in which things happened: every account,
// transfer, freeze and expiry up to now, then the names. What is added meanwhile is left out. The
// ids that refusals have spent are not in it. It returns the number of lines.
func Export(ctx context.Context, from Ledger, to io.Writer, progress Progress) (uint64, error) {
	status, err := from.Status(ctx)
	if err != nil {
		return 0, errs.Wrap(err, "ledger.export")
	}
	out := &exporter{to: bufio.NewWriterSize(to, 1<<16)}
	out.json = json.NewEncoder(out.to)
	out.json.SetEscapeHTML(false)
	err = out.write(line{Kind: kindHeader, Version: exportVersion})
	if err == nil {
		err = out.events(ctx, from, status.Events, progress)
	}
	if err == nil {
		err = out.names(ctx, from)
	}
	if err == nil {
		err = out.write(line{Kind: kindEnd, Lines: out.lines + 1})
	}
	if err == nil {
		err = out.to.Flush()
	}
	return out.lines, errs.Wrap(err, "ledger.export: after %d lines", out.lines)
}

type exporter struct {
	to    *bufio.Writer
	json  *json.Encoder
	lines uint64
}

func (e *exporter) write(l line) error {
	if err := e.json.Encode(l); err != nil {
		return err
	}
	e.lines++
	return nil
}

func (e *exporter) events(ctx context.Context, from Ledger, end uint64, progress Progress) error {
	for seq := uint64(0); seq < end; {
		events, err := from.Events(ctx, seq, int(min(end-seq, ledger.PageMax)))
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return errs.New(errs.Internal, "event %d of %d is missing", seq, end)
		}
		for i := range events {
			if err := e.write(eventLine(&events[i])); err != nil {
				return err
			}
		}
		seq += uint64(len(events))
		progress.tell(seq, end)
	}
	return nil
}

func eventLine(e *ledger.Event) line {
	switch e.Kind {
	case ledger.EventAccountCreated:
		return accountLine(&e.Account)
	case ledger.EventTransferCreated:
		return transferLine(&e.Transfer)
	case ledger.EventPendingExpired:
		return line{Kind: kindTransferExpired, ID: e.Transfer.ID, Timestamp: uint64(e.Timestamp)}
	case ledger.EventFreezeApplied:
		return freezeLine(kindFreeze, &e.Freeze)
	case ledger.EventFreezeReleased:
		return freezeLine(kindRelease, &e.Freeze)
	}
	return line{Kind: kindFreezeExpired, ID: e.Freeze.ID, Timestamp: uint64(e.Timestamp)}
}

func (e *exporter) names(ctx context.Context, from Ledger) error {
	for cursor, more := uint64(0), true; more; more = cursor != 0 {
		names, next, err := from.ListNames(ctx, cursor, 0)
		if err != nil {
			return err
		}
		for _, n := range names {
			l := line{Kind: kindName, ID: n.AccountID, Name: n.Name, Metadata: n.Metadata}
			if err := e.write(l); err != nil {
				return err
			}
		}
		cursor = next
	}
	return nil
}
