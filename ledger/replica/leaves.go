package replica

import (
	"context"
	"encoding/binary"

	"surety/base/errs"
	"surety/ledger/journal"
)

// Leaves returns the contents of the leaves that a batch's root is over, in order: each a record's
// encoding followed by its result as two bytes, little-endian. Kind NotFound where the journal has
// let go of the batch, or has not got there.
func (r *Replica) Leaves(ctx context.Context, seq uint64) (list [][]byte, _ error) {
	found := false
	err := r.journal.Read(ctx, seq, 1, func(record *journal.Record) error {
		found = record.Seq == seq
		return leaves(record, func(encoded []byte, result uint16) {
			leaf := append(make([]byte, 0, len(encoded)+2), encoded...)
			list = append(list, binary.LittleEndian.AppendUint16(leaf, result))
		})
	})
	if err == nil && !found {
		err = errs.New(errs.NotFound, "there is no batch %d", seq)
	}
	return list, errs.Wrap(err, "ledger.leaves")
}
