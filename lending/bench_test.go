package lending

import (
	"testing"

	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
)

func benchContract(b *testing.B, months int) {
	p := Merchant310()
	o := Offer{money.Minor(50_000_00), MustRate("12.6"), months, clock.MustDate(2026, 1, 31)}
	parties := Parties{Loan: testLoan, Application: testLoan, Customer: testCustomer}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewContract(parties, p, o); err != nil {
			b.Fatal(err)
		}
	}
}

// A contract is a schedule with its fee spread, the EU's and the US's annual rate.
func BenchmarkContract12(b *testing.B) { benchContract(b, 12) }
func BenchmarkContract24(b *testing.B) { benchContract(b, 24) }

func BenchmarkContractDigest12(b *testing.B) {
	l := benchLoan(b)
	b.ReportAllocs()
	for b.Loop() {
		l.Contract.Digest()
	}
}

func benchLoan(b *testing.B) Loan {
	p := Merchant310()
	o := Offer{money.Minor(50_000_00), MustRate("12.6"), 12, clock.MustDate(2026, 1, 31)}
	c, err := NewContract(Parties{Loan: testLoan, Application: testLoan, Customer: testCustomer}, p, o)
	if err != nil {
		b.Fatal(err)
	}
	fresh := NewLoan(&c)
	loan, _, result := fresh.Disburse(Event{ident.ID{Lo: 9}, o.Start}, testReserve)
	if result != Applied {
		b.Fatal(result)
	}
	return loan
}

// A month of a loan: the instalment falls due and is paid.
func BenchmarkInstalment(b *testing.B) {
	l := benchLoan(b)
	on, _ := l.NextDue()
	b.ReportAllocs()
	for b.Loop() {
		due, _, result := l.Accrue(Event{ident.ID{Lo: 10}, on})
		if result != Applied {
			b.Fatal(result)
		}
		if _, _, result = due.Repay(Event{ident.ID{Lo: 11}, on}, due.DueNow()); result != Applied {
			b.Fatal(result)
		}
	}
}

func BenchmarkLoanDecode(b *testing.B) {
	l := benchLoan(b)
	data := l.Encode()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeLoan(data, l.Contract); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkContractDecode(b *testing.B) {
	l := benchLoan(b)
	data := l.Contract.Encode()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeContract(data); err != nil {
			b.Fatal(err)
		}
	}
}
