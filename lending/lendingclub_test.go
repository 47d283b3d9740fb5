package lending

import (
	"encoding/csv"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"surety/base/money"
)

// dataFile opens a file of the data directory: $SURETY_DATA, or shared/data beside the checkout.
// It returns nil, and says so, where there is none.
func dataFile(t testing.TB, name string) *os.File {
	t.Helper()
	directory := os.Getenv("SURETY_DATA")
	if directory == "" {
		root, err := filepath.Abs("..")
		if err != nil {
			t.Fatal(err)
		}
		directory = filepath.Join(root, "..", "shared", "data")
	}
	file, err := os.Open(filepath.Join(directory, name))
	if errors.Is(err, fs.ErrNotExist) {
		t.Logf("%s is not in %s (set SURETY_DATA): using synthetic rows instead", name, directory)
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	return file
}

// lendingClubRow is a loan and the instalment its lender computed.
type lendingClubRow struct {
	row, amount, months, rate string
	instalment                money.Amount
}

// 10,000 loans of LendingClub (openintro, by vincentarelbundock/Rdatasets): the lender rounds the
// instalment up to the cent, and 9,997 of its 10,000 instalments are what the formula gives.
func TestLendingClubInstalments(t *testing.T) {
	rows, want := lendingClubRows(t)
	equal := 0
	for _, r := range rows {
		n, err := strconv.Atoi(r.months)
		if err != nil {
			t.Fatalf("row %s: term: %v", r.row, err)
		}
		principal, err := money.ParseMinor(r.amount + "00")
		if err != nil {
			t.Fatalf("row %s: amount: %v", r.row, err)
		}
		got, err := Annuity{Principal: principal, Rate: MustRate(r.rate), Years: months(n),
			Rounding: RoundUp}.Instalment()
		if err != nil {
			t.Fatalf("row %s: %v", r.row, err)
		}
		if got == r.instalment {
			equal++
		}
	}
	if equal != want {
		t.Errorf("%d of %d instalments are equal, want %d", equal, len(rows), want)
	}
}

// lendingClubRows returns the loans and how many of them must match.
func lendingClubRows(t *testing.T) ([]lendingClubRow, int) {
	file := dataFile(t, "lendingclub_installments.csv")
	if file == nil {
		return syntheticRows(t)
	}
	records, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []lendingClubRow
	for _, r := range records[1:] {
		rows = append(rows, lendingClubRow{r[0], r[1], r[2], r[3], minor(t, r[4])})
	}
	if len(rows) != 10_000 {
		t.Fatalf("%d rows, want 10,000", len(rows))
	}
	return rows, 9_997
}

// syntheticRows spans the same range of loans; the expected instalment is that of slowInstalment,
// which computes in rationals.
func syntheticRows(t *testing.T) ([]lendingClubRow, int) {
	var rows []lendingClubRow
	p := Merchant310()
	for amount := uint64(1_000); amount <= 40_000; amount += 1_300 {
		for _, rate := range []string{"5.31", "9.44", "14.07", "21.85", "30.94"} {
			for _, term := range []int{36, 60} {
				o := Offer{money.Minor(amount * 100), MustRate(rate), term, date(t, "2018-01-15")}
				plan := make([]Row, term)
				for i := range plan {
					plan[i].Due = o.Start.AddMonths(i+1, 15)
				}
				rows = append(rows, lendingClubRow{"synthetic", strconv.FormatUint(amount, 10),
					strconv.Itoa(term), rate, slowInstalment(&p, o, plan)})
			}
		}
	}
	return rows, len(rows)
}
