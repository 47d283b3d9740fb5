package client

import (
	"bufio"
	"context"
	"io"

	"surety/base/errs"
	"surety/base/ident"
	"surety/ledger"
	"surety/ledger/wire"
)

// Imported counts what an import did.
type Imported struct {
	Lines     uint64
	Accounts  uint64 // created
	Transfers uint64 // created
	Freezes   uint64 // in force again
	Names     uint64
	Existing  uint64 // records that were there already, the same
	// Open counts pending transfers that had a time to expire and are still open: they are
	// imported without one, since an imported transfer cannot expire, and wait to be posted or
	// voided.
	Open uint64
}

// Import reads JSON lines, as Export writes them or as another system's data was turned into them,
// and creates what they say. A record with a timestamp is imported with it, one without is created
// now. A pending transfer that expired is voided at that time by a transfer whose id is derived
// from its own. Freezes are applied at the end, those that are still in force.
//
// The same import may be run again, and goes on where it stopped: what is there already, the same,
// is counted as existing. A line that is malformed or refused ends the import with an error of kind
// Invalid or Refused that names the line; what came before it, up to some thousands of lines, is
// created by then. A file that does not end with its end line is refused at its end (kind Corrupt).
func Import(ctx context.Context, to Ledger, from io.Reader, progress Progress) (Imported, error) {
	in := &importer{to: to, stamps: newStamps(),
		frozen: map[ident.ID]int{}, timed: map[ident.ID]bool{}}
	scanner := bufio.NewScanner(from)
	scanner.Buffer(make([]byte, 0, 1<<16), lineMax)
	for scanner.Scan() {
		in.done.Lines++
		if err := in.line(ctx, scanner.Bytes()); err != nil {
			return in.done, errs.Wrap(err, "ledger.import: line %d", in.done.Lines)
		}
		if in.done.Lines%ledger.BatchMax == 0 {
			progress.tell(in.done.Lines, 0)
		}
	}
	err := scanner.Err()
	if err == bufio.ErrTooLong {
		err = errs.As(errs.TooLarge, err, "line %d is longer than %d bytes", in.done.Lines+1, lineMax)
	}
	if err == nil {
		err = in.finish(ctx)
	}
	return in.done, errs.Wrap(err, "ledger.import: after %d lines", in.done.Lines)
}

// lineMax bounds a line: the longest is a name with all its metadata.
const lineMax = 1 << 20

// importer gathers lines into batches.
type importer struct {
	to   Ledger
	done Imported

	accounts  []ledger.Account
	transfers []ledger.Transfer
	names     []Name
	lines     []uint64

	stamps  stamps
	freezes []ledger.Freeze
	frozen  map[ident.ID]int  // place in freezes of those still in force
	timed   map[ident.ID]bool // pending transfers whose timeout was dropped and whose end is not seen
	began   bool
	ended   bool
}

func (in *importer) line(ctx context.Context, text []byte) error {
	l, err := parseLine(text)
	if err != nil {
		return err
	}
	if in.ended {
		return errs.New(errs.Invalid, "a line after the end")
	}
	if !in.began && l.Kind != kindHeader {
		return errs.New(errs.Invalid, "the first line is not a header")
	}
	switch l.Kind {
	case kindHeader:
		return in.header(&l)
	case kindAccount:
		return in.account(ctx, &l)
	case kindTransfer, kindTransferExpired:
		return in.transfer(ctx, &l)
	case kindFreeze, kindRelease, kindFreezeExpired:
		return in.freeze(&l)
	case kindName:
		return in.name(ctx, &l)
	case kindEnd:
		if l.Lines != in.done.Lines {
			return errs.New(errs.Corrupt, "the end says %d lines", l.Lines)
		}
		in.ended = true
		return nil
	}
	return errs.New(errs.Invalid, "kind %.40q is not known", l.Kind)
}

func (in *importer) header(l *line) error {
	if in.began {
		return errs.New(errs.Invalid, "a second header")
	}
	if l.Version != exportVersion {
		return errs.New(errs.Invalid, "version %d, this program reads %d", l.Version, exportVersion)
	}
	in.began = true
	return nil
}

func (in *importer) account(ctx context.Context, l *line) error {
	a, err := l.account()
	if err != nil {
		return err
	}
	if a.Timestamp != 0 {
		a.Flags |= ledger.AccountImported
		a.Timestamp = in.stamps.account(a.Timestamp)
	}
	n := len(in.accounts)
	other := n > 0 && (in.accounts[n-1].Flags^a.Flags)&ledger.AccountImported != 0
	if len(in.transfers) > 0 || len(in.names) > 0 || n == ledger.BatchMax || other {
		if err := in.flush(ctx); err != nil {
			return err
		}
	}
	in.accounts = append(in.accounts, a)
	in.lines = append(in.lines, in.done.Lines)
	return nil
}

func (in *importer) transfer(ctx context.Context, l *line) error {
	t, err := l.transfer()
	if err != nil {
		return err
	}
	if l.Kind == kindTransferExpired {
		t = ledger.Transfer{ID: ident.Derive("ledger import", "expired", l.ID.String()), PendingID: l.ID,
			Flags: ledger.TransferVoidPending, Timestamp: t.Timestamp}
	}
	if t.Timestamp != 0 {
		t.Flags |= ledger.TransferImported
		if l.Kind == kindTransferExpired {
			t.Timestamp = in.stamps.expiry(t.Timestamp)
		} else {
			t.Timestamp = in.stamps.transfer(t.Timestamp)
		}
		if t.Timeout != 0 {
			t.Timeout = 0
			in.timed[t.ID] = true
		}
		delete(in.timed, t.PendingID)
	}
	if len(in.accounts) > 0 || len(in.names) > 0 || in.endsBatch(&t) {
		if err := in.flush(ctx); err != nil {
			return err
		}
	}
	in.transfers = append(in.transfers, t)
	in.lines = append(in.lines, in.done.Lines)
	return nil
}

// endsBatch reports whether the transfer belongs into another batch than those gathered: a batch is
// full, or of the other sort. A linked chain is not cut.
func (in *importer) endsBatch(t *ledger.Transfer) bool {
	n := len(in.transfers)
	if n == 0 {
		return false
	}
	last := &in.transfers[n-1]
	if last.Flags&ledger.TransferLinked != 0 {
		return n == ledger.BatchMax
	}
	full := n >= ledger.BatchMax/2 && t.Flags&ledger.TransferLinked != 0 || n == ledger.BatchMax
	return full || (last.Flags^t.Flags)&ledger.TransferImported != 0
}

func (in *importer) freeze(l *line) error {
	switch l.Kind {
	case kindRelease:
		delete(in.frozen, l.FreezeID)
	case kindFreezeExpired:
		delete(in.frozen, l.ID)
	default:
		z, err := l.freeze()
		if err != nil {
			return err
		}
		in.frozen[z.ID] = len(in.freezes)
		in.freezes = append(in.freezes, z)
	}
	return nil
}

func (in *importer) name(ctx context.Context, l *line) error {
	n := Name{AccountID: l.ID, Name: l.Name, Metadata: l.Metadata}
	if err := n.Check(); err != nil {
		return err
	}
	if len(in.accounts) > 0 || len(in.transfers) > 0 || len(in.names) == namesBatch {
		if err := in.flush(ctx); err != nil {
			return err
		}
	}
	in.names = append(in.names, n)
	in.lines = append(in.lines, in.done.Lines)
	return nil
}

// namesBatch names with all their metadata stay below what one call takes.
const namesBatch = wire.NamesBytesMax / (64 << 10)

// flush sends what is gathered.
func (in *importer) flush(ctx context.Context) error {
	defer func() { in.lines = in.lines[:0] }()
	switch {
	case len(in.accounts) > 0:
		results, err := in.to.CreateAccounts(ctx, in.accounts)
		in.accounts = in.accounts[:0]
		if err != nil {
			return err
		}
		return tally(in, results, ledger.AccountExists, &in.done.Accounts)
	case len(in.transfers) > 0:
		results, err := in.to.CreateTransfers(ctx, in.transfers)
		if err != nil {
			return err
		}
		results = in.existingChains(results)
		in.transfers = in.transfers[:0]
		return tally(in, results, ledger.TransferExists, &in.done.Transfers)
	case len(in.names) > 0:
		err := in.to.SetNames(ctx, in.names)
		in.done.Names += uint64(len(in.names))
		in.names = in.names[:0]
		return err
	}
	return nil
}

// existingChains takes the refusals of a chain whose first record exists already as what they are:
// the whole chain exists, since it happened as a whole.
func (in *importer) existingChains(results []ledger.TransferResult) []ledger.TransferResult {
	for i := 0; i < len(results); {
		end := i
		for in.transfers[end].Flags&ledger.TransferLinked != 0 && end+1 < len(results) {
			end++
		}
		if results[i] == ledger.TransferExists {
			for k := i; k <= end; k++ {
				results[k] = ledger.TransferExists
			}
		}
		i = end + 1
	}
	return results
}

// tally counts results; a refusal is an error that names its line.
func tally[R interface {
	~uint16
	String() string
}](in *importer, results []R, exists R, created *uint64) error {
	for i, result := range results {
		switch result {
		case 0:
			*created++
		case exists:
			in.done.Existing++
		default:
			return errs.New(errs.Refused, "the record of line %d is refused: %s", in.lines[i], result)
		}
	}
	return nil
}

// finish sends the rest, and the freezes that are in force.
func (in *importer) finish(ctx context.Context) error {
	if !in.ended {
		return errs.New(errs.Corrupt, "the end is missing")
	}
	if err := in.flush(ctx); err != nil {
		return err
	}
	in.done.Open = uint64(len(in.timed))
	var open []ledger.Freeze
	for i, z := range in.freezes {
		if place, held := in.frozen[z.ID]; held && place == i {
			open = append(open, z)
		}
	}
	for len(open) > 0 {
		n := min(len(open), ledger.BatchMax)
		results, err := in.to.ApplyFreezes(ctx, open[:n])
		if err != nil {
			return err
		}
		for i, result := range results {
			switch result {
			case ledger.FreezeOK:
				in.done.Freezes++
			case ledger.FreezeExists:
				in.done.Existing++
			default:
				return errs.New(errs.Refused, "freeze %s is refused: %s", open[i].ID, result)
			}
		}
		open = open[n:]
	}
	return nil
}
