package settlement_test

import (
	"bytes"
	"reflect"
	"testing"

	"surety/base/errs"
	"surety/base/ident"
	"surety/lending"
	"surety/lending/settlement"
)

func TestOrderRoundTrip(t *testing.T) {
	reserve := settlement.NewOrder(ident.Derive("event", "reserve"), on, yuan(t),
		lending.ReserveLimit(product, customer, yuanOf(60_000), 3_600))
	for _, o := range []settlement.Order{deposit(t, "in", 1), withdraw(t, "out", 1<<60), reserve,
		{Event: ident.Max}} {
		got, err := settlement.DecodeOrder(o.Encode())
		if err != nil || !reflect.DeepEqual(got, o) {
			t.Errorf("%+v, %v: want %+v", got, err, o)
		}
	}
}

// TestDecodeRefuses begins with every defect and mends one a row.
func TestDecodeRefuses(t *testing.T) {
	good := withdraw(t, "out", 7)
	body := good.Encode()
	change := func(at int, to byte) []byte {
		b := bytes.Clone(body)
		b[at] = to
		return b
	}
	tests := map[string][]byte{
		"empty": nil, "a head cut off": body[:18], "another version": change(0, 9),
		"cut off": body[:len(body)-1], "too long": append(bytes.Clone(body), 0),
		"an account more": change(1, body[1]+1), "a transfer fewer": change(2, body[2]-1),
		"more than any chain": change(2, 65),
	}
	for what, data := range tests {
		if _, err := settlement.DecodeOrder(data); !errs.Is(err, errs.Corrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("an order of 65 transfers was encoded")
		}
	}()
	for len(good.Transfers) < 65 {
		good.Transfers = append(good.Transfers, good.Transfers[0])
	}
	good.Encode()
}

// FuzzDecodeOrder: whatever decodes encodes to the same bytes.
func FuzzDecodeOrder(f *testing.F) {
	for _, o := range []settlement.Order{deposit(f, "in", 1), withdraw(f, "out", 1<<60)} {
		f.Add(o.Encode())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := settlement.DecodeOrder(data)
		if err == nil && !bytes.Equal(o.Encode(), data) {
			t.Fatal("another encoding of the same order")
		}
	})
}
