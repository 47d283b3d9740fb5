package client_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
	"surety/ledger/client"
	"surety/ledger/journal"
	"surety/ledger/replica"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

func id(n uint64) ident.ID { return ident.ID{Lo: n} }

func open(t testing.TB, clock wallclock.Clock) *replica.Replica {
	t.Helper()
	r, err := replica.Open(context.Background(), replica.Config{Dir: "l",
		Journal: journal.Options{FirstSegmentBytes: 2 << 20, SegmentBytes: 2 << 20}},
		replica.Deps{FS: vfs.NewMemory(), Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// busy returns a ledger in which everything there is has happened.
func busy(t testing.TB) (*replica.Replica, *wallclock.Manual) {
	t.Helper()
	hands := wallclock.NewManual(1_000_000_000)
	r := open(t, hands)
	ctx := context.Background()
	accounts := make([]ledger.Account, 20)
	for i := range accounts {
		accounts[i] = ledger.Account{ID: id(uint64(i + 1)), Ledger: 978, Code: uint16(i%3 + 1),
			UserData64: 1 << 60, Flags: ledger.AccountFlags(i%4) << 1 &^ ledger.AccountCreditsMustNotExceedDebits}
	}
	if _, err := r.CreateAccounts(ctx, accounts); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	number := uint64(100)
	var pending []ident.ID
	for batch := range 60 {
		var transfers []ledger.Transfer
		for n := 1 + random.IntN(20); n > 0; n-- {
			number++
			tr := ledger.Transfer{ID: id(number), DebitAccountID: id(1 + random.Uint64N(20)),
				CreditAccountID: id(1 + random.Uint64N(20)), Amount: money.Minor(random.Uint64N(50)),
				Ledger: 978, Code: 7, UserData128: id(number / 2)}
			switch random.IntN(6) {
			case 0:
				tr.Flags, tr.Timeout = ledger.TransferPending, uint32(random.IntN(3))
				pending = append(pending, tr.ID)
			case 1:
				if len(pending) > 0 {
					tr = ledger.Transfer{ID: tr.ID, PendingID: pending[random.IntN(len(pending))],
						Flags: ledger.TransferVoidPending}
				}
			case 2:
				if n > 1 {
					tr.Flags = ledger.TransferLinked
				}
			case 3:
				tr.Flags = ledger.TransferBalancingDebit
			}
			transfers = append(transfers, tr)
		}
		if _, err := r.CreateTransfers(ctx, transfers); err != nil {
			t.Fatal(err)
		}
		if batch%10 == 9 {
			hands.Advance(clock.Second) // what is due expires with the next batch
		}
	}
	for n, z := range []ledger.Freeze{
		{ID: id(1), Scope: ledger.FreezeAccount, AccountID: id(3), Sides: ledger.FreezeDebits, Reason: 5},
		{ID: id(2), Scope: ledger.FreezeCode, Ledger: 978, Code: 99, Reason: 6},
		{ID: id(3), FreezeID: id(2), Flags: ledger.FreezeRelease, SecondActor: id(8), Reason: 6},
		{ID: id(4), Scope: ledger.FreezeCode, Ledger: 978, Code: 98, Reason: 6,
			ExpiresAt: hands.Now().Add(clock.Second)},
	} {
		z.Actor = id(9)
		if got, err := r.ApplyFreezes(ctx, []ledger.Freeze{z}); err != nil || got[0] != ledger.FreezeOK {
			t.Fatal(n, got, err)
		}
	}
	hands.Advance(10 * clock.Second) // the last freeze ends with the next batch
	if err := r.SetNames(ctx, []client.Name{{AccountID: id(1), Name: "first <&>", Metadata: map[string]string{
		"k": "v\n"}}, {AccountID: id(2), Name: "zweites Konto"}}); err != nil {
		t.Fatal(err)
	}
	hands.Advance(clock.Second) // all timestamps are past
	return r, hands
}

func export(t testing.TB, from client.Ledger) string {
	t.Helper()
	var text strings.Builder
	if _, err := client.Export(context.Background(), from, &text, nil); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// TestExportImport moves a ledger through text: the books are the same, and a second import changes
// nothing.
func TestExportImport(t *testing.T) {
	from, hands := busy(t)
	text := export(t, from)
	for _, kind := range []string{"header", "account", "transfer", "transfer_expired", "freeze", "release",
		"freeze_expired", "name", "end"} {
		if !strings.Contains(text, `{"kind":"`+kind+`"`) {
			t.Errorf("the export has no %s", kind)
		}
	}
	to := open(t, hands)
	ctx := context.Background()
	told := uint64(0)
	done, err := client.Import(ctx, to, strings.NewReader(text), func(done, _ uint64) { told = done })
	if err != nil {
		t.Fatal(err)
	}
	if done.Accounts != 20 || done.Freezes != 1 || done.Names != 2 || done.Existing != 0 || done.Transfers < 100 ||
		done.Lines != uint64(strings.Count(text, "\n")) || told > done.Lines {
		t.Errorf("done %+v", done)
	}
	sameBooks(t, from, to)
	again, err := client.Import(ctx, to, strings.NewReader(text), nil)
	if err != nil || again.Existing != done.Accounts+done.Transfers+done.Freezes || again.Transfers != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
	sameBooks(t, from, to)
	// And the copy's copy is like the copy.
	third := open(t, hands)
	if _, err := client.Import(ctx, third, strings.NewReader(export(t, to)), nil); err != nil {
		t.Fatal(err)
	}
	sameBooks(t, to, third)
}

// sameBooks compares what matters of two ledgers: balances, totals, freezes, names, and each
// transfer but for the marks of the import.
func sameBooks(t *testing.T, a, b client.Ledger) {
	t.Helper()
	ctx := context.Background()
	ask := func(l client.Ledger) (answers []any) {
		accounts, err := l.ListAccounts(ctx, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range accounts {
			accounts[i].Flags &^= ledger.AccountImported
		}
		page, err := l.QueryTransfers(ctx, ledger.TransferFilter{})
		if err != nil {
			t.Fatal(err)
		}
		var transfers []ledger.Transfer
		for _, tr := range page.Transfers {
			tr.Flags &^= ledger.TransferImported
			tr.Timeout, tr.Timestamp = 0, 0
			if tr.Flags&ledger.TransferVoidPending == 0 { // an expiry became a void
				transfers = append(transfers, tr)
			}
		}
		totals, err := l.ClassTotals(ctx)
		if err != nil {
			t.Fatal(err)
		}
		freezes, err := l.Freezes(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range freezes {
			freezes[i].Timestamp = 0
		}
		names, _, err := l.ListNames(ctx, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return []any{accounts, transfers, totals, freezes, names}
	}
	one, other := ask(a), ask(b)
	for i := range one {
		if !reflect.DeepEqual(one[i], other[i]) {
			t.Errorf("answer %d: %.300v and %.300v", i, fmt.Sprint(one[i]), fmt.Sprint(other[i]))
		}
	}
}

const header = `{"kind":"header","version":1}` + "\n"

// TestImportFromElsewhere takes records without timestamps: they are created now.
func TestImportFromElsewhere(t *testing.T) {
	r := open(t, wallclock.NewManual(5_000_000_000))
	text := header +
		`{"kind":"account","id":"a","ledger":978,"code":1}` + "\n" +
		`{"kind":"account","id":"b","ledger":978,"code":1,"flags":["debits_must_not_exceed_credits"]}` + "\n" +
		`{"kind":"name","id":"a","name":"bank"}` + "\n" +
		`{"kind":"transfer","id":"1","debit_account":"a","credit_account":"b","amount":"340282366920938463463374607431768211455","ledger":978,"code":1}` + "\n" +
		`{"kind":"end","lines":"6"}` + "\n"
	done, err := client.Import(context.Background(), r, strings.NewReader(text), nil)
	if err != nil || done.Accounts != 2 || done.Transfers != 1 || done.Names != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	found, err := r.LookupTransfers(context.Background(), []ident.ID{id(1)})
	if err != nil || found[0].Flags != 0 || found[0].Timestamp < 5_000_000_000 || found[0].Amount != money.Max {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestImportRefusals(t *testing.T) {
	account := `{"kind":"account","id":"a","ledger":978,"code":1}` + "\n"
	for _, row := range []struct {
		name, text, want string
		kind             errs.Kind
	}{
		{"empty", "", "the end is missing", errs.Corrupt},
		{"no header", account, "line 1: the first line is not a header", errs.Invalid},
		{"another version", `{"kind":"header","version":9}`, "version 9", errs.Invalid},
		{"two headers", header + header, "line 2: a second header", errs.Invalid},
		{"no JSON", header + "x", "line 2: not a line of an export", errs.Invalid},
		{"unknown field", header + `{"kind":"account","idd":"a"}`, `unknown field "idd"`, errs.Invalid},
		{"unknown kind", header + `{"kind":"acount"}`, "is not known", errs.Invalid},
		{"two objects", header + `{"kind":"end"} {"kind":"end"}`, "more than one object", errs.Invalid},
		{"bad id", header + `{"kind":"account","id":"xyz"}`, "hex digit", errs.Invalid},
		{"bad amount", header + `{"kind":"transfer","amount":"-1"}`, "digits only", errs.Invalid},
		{"amount as a number", header + `{"kind":"transfer","amount":1}`, "not a line", errs.Invalid},
		{"unknown flag", header + `{"kind":"account","flags":["x"]}`, "flags: \"x\" is none of linked", errs.Invalid},
		{"unknown scope", header + `{"kind":"freeze","scope":"x"}`, "scope: \"x\" is none of", errs.Invalid},
		{"cut", header + account, "the end is missing", errs.Corrupt},
		{"wrong end", header + account + `{"kind":"end","lines":"7"}`, "the end says 7 lines", errs.Corrupt},
		{"after the end", header + `{"kind":"end","lines":"2"}` + "\n" + account, "a line after the end", errs.Invalid},
		{"too long", header + strings.Repeat("x", 2<<20), "line 2 is longer", errs.TooLarge},
		{"refused", header + account + `{"kind":"account","id":"b","ledger":0,"code":1}` + "\n" +
			`{"kind":"end","lines":"4"}`, "line 3 is refused: ledger_must_not_be_zero", errs.Refused},
		{"bad name", header + `{"kind":"name","id":"a","name":" x"}`, "begins or ends with a space", errs.Invalid},
	} {
		r := open(t, wallclock.NewManual(5_000_000_000))
		_, err := client.Import(context.Background(), r, strings.NewReader(row.text), nil)
		if !errs.Is(err, row.kind) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want kind %v with %q", row.name, err, row.kind, row.want)
		}
	}
}

// TestImportOverBatches goes over the limit of a batch, with chains at its edge.
func TestImportOverBatches(t *testing.T) {
	var text bytes.Buffer
	text.WriteString(header)
	const n = 10_000
	for i := range n {
		flags := ""
		if i%5 < 4 {
			flags = `,"flags":["linked"]`
		}
		if i < 2 {
			fmt.Fprintf(&text, `{"kind":"account","id":"%x","ledger":978,"code":1}`+"\n", i+1)
			continue
		}
		if i == 2 {
			flags = ""
		}
		fmt.Fprintf(&text, `{"kind":"transfer","id":"%x","debit_account":"1","credit_account":"2",`+
			`"amount":"1","ledger":978,"code":1%s}`+"\n", i, flags)
	}
	fmt.Fprintf(&text, `{"kind":"end","lines":"%d"}`, n+2)
	r := open(t, wallclock.NewManual(5_000_000_000))
	done, err := client.Import(context.Background(), r, &text, nil)
	if err != nil || done.Transfers != n-2 {
		t.Errorf("%+v, %v", done, err)
	}
}

func FuzzImport(f *testing.F) {
	from, _ := busy(f)
	f.Add(export(f, from)[:4000])
	f.Add(header + `{"kind":"end","lines":"2"}`)
	f.Fuzz(func(t *testing.T, text string) {
		r := open(t, wallclock.NewManual(5_000_000_000))
		_, err := client.Import(context.Background(), r, strings.NewReader(text), nil)
		if err != nil && errs.Is(err, errs.Internal) {
			t.Errorf("%v", err)
		}
	})
}
