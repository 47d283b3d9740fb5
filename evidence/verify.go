package evidence

import (
	"surety/base/errs"
)

// Report says what Verify has shown.
type Report struct {
	Checkpoint Checkpoint // every record is in the tree it fixes
	Earlier    uint64     // that tree begins with this many records of Bundle.Earlier; zero if none
	Statement  Statement  // the records are those it speaks of, all of them and no others
	Records    []Record   // as in the bundle, in its order
	Payloads   int        // payloads that match their records
	Withheld   int        // records whose payload is not in the bundle
	Inner      int        // leaves shown to be in their ledger batch
}

// Verify checks a bundle against the key the reader trusts, and nothing else. It returns what has
// been shown, or the first fault: kind Invalid where the bundle is of another form, Corrupt
// otherwise. The text names the part of the bundle at fault, with the entry's number (from 1) and
// the index of its record. In order: form, origin, checkpoint, earlier checkpoint and consistency,
// statement, order of the entries, number and identity of the records; then entry by entry record,
// scope, payload, inclusion, inner leaves.
func Verify(b *Bundle, trusted Key) (Report, error) {
	if err := checkForm(b.Format, b.Version); err != nil {
		return Report{}, err
	}
	if b.Origin != trusted.Origin() {
		return Report{}, errs.New(errs.Corrupt,
			"evidence.verify: bundle is of log %q, the trusted key of %q", clip(b.Origin), trusted.Origin())
	}
	var report Report
	var err error
	if report.Checkpoint, err = OpenCheckpoint(b.Checkpoint, trusted); err != nil {
		return Report{}, errs.Wrap(err, "evidence.verify: checkpoint")
	}
	if report.Earlier, err = verifyEarlier(b, report.Checkpoint, trusted); err != nil {
		return Report{}, errs.Wrap(err, "evidence.verify: earlier checkpoint")
	}
	if report.Statement, err = OpenStatement(b.Statement, trusted); err != nil {
		return Report{}, errs.Wrap(err, "evidence.verify: statement")
	}
	if err := verifySet(b.Entries, &report); err != nil {
		return Report{}, errs.Wrap(err, "evidence.verify")
	}
	for i := range b.Entries {
		if err := verifyEntry(&b.Entries[i], &report); err != nil {
			return Report{}, errs.Wrap(err, "evidence.verify: entry %d (record %d)", i+1, b.Entries[i].Index)
		}
	}
	return report, nil
}

func verifyEarlier(b *Bundle, latest Checkpoint, trusted Key) (uint64, error) {
	if b.Earlier == "" {
		if len(b.Consistency) > 0 {
			return 0, errs.New(errs.Corrupt, "a consistency proof without a checkpoint")
		}
		return 0, nil
	}
	earlier, err := OpenCheckpoint(b.Earlier, trusted)
	if err != nil {
		return 0, err
	}
	if earlier.Size > latest.Size {
		return 0, errs.New(errs.Corrupt, "size %d is above the checkpoint's %d", earlier.Size,
			latest.Size)
	}
	return earlier.Size, VerifyConsistency(earlier.Size, earlier.Root, latest.Size, latest.Root,
		b.Consistency)
}

// verifySet checks that the entries are the ones the statement speaks of, before any is read.
func verifySet(entries []BundleEntry, report *Report) error {
	statement, size := &report.Statement, report.Checkpoint.Size
	if statement.Size != size {
		return errs.New(errs.Corrupt, "statement is about a tree of %d, the checkpoint of one of %d",
			statement.Size, size)
	}
	indexes := make([]uint64, len(entries))
	for i := range entries {
		indexes[i] = entries[i].Index
		if i > 0 && indexes[i] <= indexes[i-1] {
			return errs.New(errs.Corrupt, "entry %d: record %d after record %d, reordered or repeated",
				i+1, indexes[i], indexes[i-1])
		}
	}
	if uint64(len(entries)) != statement.Count {
		return errs.New(errs.Corrupt, "statement names %d records, the bundle has %d: missing or added",
			statement.Count, len(entries))
	}
	if DigestIndexes(indexes) != statement.Digest {
		return errs.New(errs.Corrupt, "the records are not those the statement names")
	}
	if len(statement.IDs) == 0 && statement.Count != statement.End-statement.First {
		return errs.New(errs.Corrupt, "range of %d records, the statement names %d",
			statement.End-statement.First, statement.Count)
	}
	return nil
}

func verifyEntry(e *BundleEntry, report *Report) error {
	record, err := Decode(e.Record)
	if err != nil {
		return errs.As(errs.Corrupt, err, "record")
	}
	if !report.Statement.covers(e.Index, &record) {
		return errs.New(errs.Corrupt, "record is outside what the statement speaks of")
	}
	if err := verifyPayload(e, &record); err != nil {
		return err
	}
	size, root := report.Checkpoint.Size, report.Checkpoint.Root
	if err := VerifyInclusion(LeafHash(e.Record), e.Index, size, e.Proof, root); err != nil {
		return err
	}
	if err := verifyInner(e, &record); err != nil {
		return err
	}
	report.Records = append(report.Records, record)
	report.Inner += len(e.Inner)
	if e.Payload == nil {
		report.Withheld++
	} else {
		report.Payloads++
	}
	return nil
}

func verifyPayload(e *BundleEntry, record *Record) error {
	if e.Payload == nil {
		if e.Withheld == "" {
			return errs.New(errs.Corrupt, "payload is missing and nothing says why")
		}
		return nil
	}
	if e.Withheld != "" {
		return errs.New(errs.Corrupt, "payload is present and said to be withheld")
	}
	payload := *e.Payload
	if uint32(len(payload)) != record.PayloadBytes || Digest(payload) != record.Digest {
		return errs.New(errs.Corrupt, "payload of %d bytes does not match the record's %d with digest %s",
			len(payload), record.PayloadBytes, record.Digest)
	}
	return nil
}

func verifyInner(e *BundleEntry, record *Record) error {
	if len(e.Inner) == 0 {
		return nil
	}
	if len(e.Inner) > MaxInner {
		return errs.New(errs.Corrupt, "%d inner leaves, the limit is %d", len(e.Inner), MaxInner)
	}
	if record.Kind != KindBatch || e.Payload == nil {
		return errs.New(errs.Corrupt, "inner leaves without the payload of a %s", KindBatch)
	}
	batch, err := DecodeBatch(*e.Payload)
	if err != nil {
		return err
	}
	for i := range e.Inner {
		if err := e.Inner[i].verify(batch); err != nil {
			return errs.Wrap(err, "inner leaf %d of batch %d", i+1, batch.Number)
		}
	}
	return nil
}

// clip keeps hostile text out of messages.
func clip(text string) string {
	if len(text) > 80 {
		return text[:80] + "..."
	}
	return text
}
