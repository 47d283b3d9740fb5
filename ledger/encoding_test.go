package ledger

import (
	"bytes"
	"testing"

	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
)

// TestRecordLayout pins the bytes of each record: they are stored and sent.
func TestRecordLayout(t *testing.T) {
	count := func(from byte) []byte { // 128 bytes: from, from+1, ...
		b := make([]byte, RecordSize)
		for i := range b {
			b[i] = from + byte(i)
		}
		return b
	}
	u128 := func(at byte) (lo, hi uint64) {
		for i := 7; i >= 0; i-- {
			lo, hi = lo<<8|uint64(at+byte(i)), hi<<8|uint64(at+8+byte(i))
		}
		return lo, hi
	}
	ids := func(at byte) ident.ID { lo, hi := u128(at); return ident.ID{Lo: lo, Hi: hi} }
	amounts := func(at byte) money.Amount { lo, hi := u128(at); return money.Amount{Lo: lo, Hi: hi} }

	accounts, err := DecodeAccounts(nil, count(0))
	want := Account{ids(0), amounts(16), amounts(32), amounts(48), amounts(64), ids(80),
		0x6766656463626160, 0x6b6a6968, 0x6f6e6d6c, 0x73727170, 0x7574, 0x7776, 0x7f7e7d7c7b7a7978}
	if err != nil || accounts[0] != want {
		t.Errorf("account %+v, %v, want %+v", accounts, err, want)
	}
	transfers, err := DecodeTransfers(nil, count(0))
	wantTransfer := Transfer{ids(0), ids(16), ids(32), amounts(48), ids(64), ids(80),
		0x6766656463626160, 0x6b6a6968, 0x6f6e6d6c, 0x73727170, 0x7574, 0x7776, 0x7f7e7d7c7b7a7978}
	if err != nil || transfers[0] != wantTransfer {
		t.Errorf("transfer %+v, %v, want %+v", transfers, err, wantTransfer)
	}
	freezes, err := DecodeFreezes(nil, count(0))
	wantFreeze := Freeze{ids(0), ids(16), ids(32), ids(48), ids(64), ids(80),
		0x6766656463626160, 0x6b6a6968, 0x6f6e6d6c, 0x7170, 0x72, 0x73, 0x7574, 0x7776, 0x7f7e7d7c7b7a7978}
	if err != nil || freezes[0] != wantFreeze {
		t.Errorf("freeze %+v, %v, want %+v", freezes, err, wantFreeze)
	}
}

func TestDecodeRefusesWhatIsNoBatch(t *testing.T) {
	for _, c := range []struct {
		size int
		kind errs.Kind
	}{{1, errs.Invalid}, {RecordSize + 1, errs.Invalid}, {(BatchMax + 1) * RecordSize, errs.TooLarge}} {
		if _, err := DecodeAccounts(nil, make([]byte, c.size)); !errs.Is(err, c.kind) {
			t.Errorf("accounts in %d bytes: %v", c.size, err)
		}
		if _, err := DecodeTransfers(nil, make([]byte, c.size)); !errs.Is(err, c.kind) {
			t.Errorf("transfers in %d bytes: %v", c.size, err)
		}
		if _, err := DecodeFreezes(nil, make([]byte, c.size)); !errs.Is(err, c.kind) {
			t.Errorf("freezes in %d bytes: %v", c.size, err)
		}
	}
	all, err := DecodeTransfers(nil, make([]byte, BatchMax*RecordSize))
	if err != nil || len(all) != BatchMax {
		t.Errorf("a full batch: %d records, %v", len(all), err)
	}
}

// FuzzRecords decodes any bytes three ways; each must encode back to the same bytes, behind what
// was there.
func FuzzRecords(f *testing.F) {
	f.Add(make([]byte, RecordSize))
	f.Add(bytes.Repeat([]byte{0xff, 1}, RecordSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		prefix := []byte("before")
		accounts, err := DecodeAccounts(nil, b)
		if err != nil {
			if !errs.Is(err, errs.Invalid) && !errs.Is(err, errs.TooLarge) {
				t.Fatal(err)
			}
			return
		}
		transfers, err1 := DecodeTransfers(nil, b)
		freezes, err2 := DecodeFreezes(nil, b)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		want := append(prefix, b...)
		for _, have := range [][]byte{EncodeAccounts(prefix, accounts), EncodeTransfers(prefix, transfers),
			EncodeFreezes(prefix, freezes)} {
			if !bytes.Equal(have, want) {
				t.Fatalf("%x, want %x", have, want)
			}
		}
	})
}
