package ledger

import (
	"encoding/binary"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
)

// Records are encoded as 128 bytes, little-endian, fields in the order in which they are declared
// and the low half of a 128-bit number first. Every 128 bytes decode to a record and encode back to
// the same bytes; whether a record makes sense is for the ledger to say.

// EncodeAccounts appends the records to dst, RecordSize bytes each, and returns it.
func EncodeAccounts(dst []byte, records []Account) []byte {
	dst, at := extend(dst, len(records))
	for i := range records {
		records[i].encode((*[RecordSize]byte)(dst[at+i*RecordSize:]))
	}
	return dst
}

// EncodeTransfers appends the records to dst, RecordSize bytes each, and returns it.
func EncodeTransfers(dst []byte, records []Transfer) []byte {
	dst, at := extend(dst, len(records))
	for i := range records {
		records[i].encode((*[RecordSize]byte)(dst[at+i*RecordSize:]))
	}
	return dst
}

// EncodeFreezes appends the records to dst, RecordSize bytes each, and returns it.
func EncodeFreezes(dst []byte, records []Freeze) []byte {
	dst, at := extend(dst, len(records))
	for i := range records {
		records[i].encode((*[RecordSize]byte)(dst[at+i*RecordSize:]))
	}
	return dst
}

// DecodeAccounts appends the records in src to dst and returns it. Kind Invalid where src is not a
// whole number of records, TooLarge where there are more than BatchMax; dst is then as it was.
func DecodeAccounts(dst []Account, src []byte) ([]Account, error) {
	if err := checkBatch(src); err != nil {
		return dst, err
	}
	for ; len(src) > 0; src = src[RecordSize:] {
		dst = append(dst, Account{})
		dst[len(dst)-1].decode((*[RecordSize]byte)(src))
	}
	return dst, nil
}

// DecodeTransfers appends the records in src to dst and returns it; errors as for DecodeAccounts.
func DecodeTransfers(dst []Transfer, src []byte) ([]Transfer, error) {
	if err := checkBatch(src); err != nil {
		return dst, err
	}
	for ; len(src) > 0; src = src[RecordSize:] {
		dst = append(dst, Transfer{})
		dst[len(dst)-1].decode((*[RecordSize]byte)(src))
	}
	return dst, nil
}

// DecodeFreezes appends the records in src to dst and returns it; errors as for DecodeAccounts.
func DecodeFreezes(dst []Freeze, src []byte) ([]Freeze, error) {
	if err := checkBatch(src); err != nil {
		return dst, err
	}
	for ; len(src) > 0; src = src[RecordSize:] {
		dst = append(dst, Freeze{})
		dst[len(dst)-1].decode((*[RecordSize]byte)(src))
	}
	return dst, nil
}

func checkBatch(src []byte) error {
	if len(src)%RecordSize != 0 {
		return errs.New(errs.Invalid, "ledger: %d bytes are not a whole number of records of %d",
			len(src), RecordSize)
	}
	if len(src) > BatchMax*RecordSize {
		return errs.New(errs.TooLarge, "ledger: a batch of %d records, the limit is %d",
			len(src)/RecordSize, BatchMax)
	}
	return nil
}

// extend makes room for n records behind dst and returns it with where the room begins.
func extend(dst []byte, n int) ([]byte, int) {
	at := len(dst)
	need := at + n*RecordSize
	if need <= cap(dst) {
		return dst[:need], at
	}
	grown := make([]byte, need)
	copy(grown, dst)
	return grown, at
}

func (a *Account) encode(b *[RecordSize]byte) {
	putID(b[0:16], a.ID)
	putAmount(b[16:32], a.DebitsPending)
	putAmount(b[32:48], a.DebitsPosted)
	putAmount(b[48:64], a.CreditsPending)
	putAmount(b[64:80], a.CreditsPosted)
	putID(b[80:96], a.UserData128)
	binary.LittleEndian.PutUint64(b[96:104], a.UserData64)
	binary.LittleEndian.PutUint32(b[104:108], a.UserData32)
	binary.LittleEndian.PutUint32(b[108:112], a.Reserved)
	binary.LittleEndian.PutUint32(b[112:116], a.Ledger)
	binary.LittleEndian.PutUint16(b[116:118], a.Code)
	binary.LittleEndian.PutUint16(b[118:120], uint16(a.Flags))
	binary.LittleEndian.PutUint64(b[120:128], uint64(a.Timestamp))
}

func (a *Account) decode(b *[RecordSize]byte) {
	a.ID = getID(b[0:16])
	a.DebitsPending = getAmount(b[16:32])
	a.DebitsPosted = getAmount(b[32:48])
	a.CreditsPending = getAmount(b[48:64])
	a.CreditsPosted = getAmount(b[64:80])
	a.UserData128 = getID(b[80:96])
	a.UserData64 = binary.LittleEndian.Uint64(b[96:104])
	a.UserData32 = binary.LittleEndian.Uint32(b[104:108])
	a.Reserved = binary.LittleEndian.Uint32(b[108:112])
	a.Ledger = binary.LittleEndian.Uint32(b[112:116])
	a.Code = binary.LittleEndian.Uint16(b[116:118])
	a.Flags = AccountFlags(binary.LittleEndian.Uint16(b[118:120]))
	a.Timestamp = clock.Instant(binary.LittleEndian.Uint64(b[120:128]))
}

func (t *Transfer) encode(b *[RecordSize]byte) {
	putID(b[0:16], t.ID)
	putID(b[16:32], t.DebitAccountID)
	putID(b[32:48], t.CreditAccountID)
	putAmount(b[48:64], t.Amount)
	putID(b[64:80], t.PendingID)
	putID(b[80:96], t.UserData128)
	binary.LittleEndian.PutUint64(b[96:104], t.UserData64)
	binary.LittleEndian.PutUint32(b[104:108], t.UserData32)
	binary.LittleEndian.PutUint32(b[108:112], t.Timeout)
	binary.LittleEndian.PutUint32(b[112:116], t.Ledger)
	binary.LittleEndian.PutUint16(b[116:118], t.Code)
	binary.LittleEndian.PutUint16(b[118:120], uint16(t.Flags))
	binary.LittleEndian.PutUint64(b[120:128], uint64(t.Timestamp))
}

func (t *Transfer) decode(b *[RecordSize]byte) {
	t.ID = getID(b[0:16])
	t.DebitAccountID = getID(b[16:32])
	t.CreditAccountID = getID(b[32:48])
	t.Amount = getAmount(b[48:64])
	t.PendingID = getID(b[64:80])
	t.UserData128 = getID(b[80:96])
	t.UserData64 = binary.LittleEndian.Uint64(b[96:104])
	t.UserData32 = binary.LittleEndian.Uint32(b[104:108])
	t.Timeout = binary.LittleEndian.Uint32(b[108:112])
	t.Ledger = binary.LittleEndian.Uint32(b[112:116])
	t.Code = binary.LittleEndian.Uint16(b[116:118])
	t.Flags = TransferFlags(binary.LittleEndian.Uint16(b[118:120]))
	t.Timestamp = clock.Instant(binary.LittleEndian.Uint64(b[120:128]))
}

func (z *Freeze) encode(b *[RecordSize]byte) {
	putID(b[0:16], z.ID)
	putID(b[16:32], z.FreezeID)
	putID(b[32:48], z.AccountID)
	putID(b[48:64], z.Actor)
	putID(b[64:80], z.SecondActor)
	putID(b[80:96], z.UserData128)
	binary.LittleEndian.PutUint64(b[96:104], uint64(z.ExpiresAt))
	binary.LittleEndian.PutUint32(b[104:108], z.Ledger)
	binary.LittleEndian.PutUint32(b[108:112], z.Reason)
	binary.LittleEndian.PutUint16(b[112:114], z.Code)
	b[114], b[115] = byte(z.Scope), byte(z.Sides)
	binary.LittleEndian.PutUint16(b[116:118], uint16(z.Flags))
	binary.LittleEndian.PutUint16(b[118:120], z.Reserved)
	binary.LittleEndian.PutUint64(b[120:128], uint64(z.Timestamp))
}

func (z *Freeze) decode(b *[RecordSize]byte) {
	z.ID = getID(b[0:16])
	z.FreezeID = getID(b[16:32])
	z.AccountID = getID(b[32:48])
	z.Actor = getID(b[48:64])
	z.SecondActor = getID(b[64:80])
	z.UserData128 = getID(b[80:96])
	z.ExpiresAt = clock.Instant(binary.LittleEndian.Uint64(b[96:104]))
	z.Ledger = binary.LittleEndian.Uint32(b[104:108])
	z.Reason = binary.LittleEndian.Uint32(b[108:112])
	z.Code = binary.LittleEndian.Uint16(b[112:114])
	z.Scope, z.Sides = FreezeScope(b[114]), FreezeSides(b[115])
	z.Flags = FreezeFlags(binary.LittleEndian.Uint16(b[116:118]))
	z.Reserved = binary.LittleEndian.Uint16(b[118:120])
	z.Timestamp = clock.Instant(binary.LittleEndian.Uint64(b[120:128]))
}

func putID(b []byte, id ident.ID) {
	binary.LittleEndian.PutUint64(b[:8], id.Lo)
	binary.LittleEndian.PutUint64(b[8:16], id.Hi)
}

func getID(b []byte) ident.ID {
	return ident.ID{Lo: binary.LittleEndian.Uint64(b[:8]), Hi: binary.LittleEndian.Uint64(b[8:16])}
}

func putAmount(b []byte, a money.Amount) {
	binary.LittleEndian.PutUint64(b[:8], a.Lo)
	binary.LittleEndian.PutUint64(b[8:16], a.Hi)
}

func getAmount(b []byte) money.Amount {
	return money.Amount{Lo: binary.LittleEndian.Uint64(b[:8]), Hi: binary.LittleEndian.Uint64(b[8:16])}
}
