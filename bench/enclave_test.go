package bench

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"surety/base/errs"
)

func TestEnclaveRefusals(t *testing.T) {
	good := EnclaveConfig{Rounds: 1, Megabytes: 1, Releases: 1}
	for _, spoil := range []func(*EnclaveConfig){
		func(c *EnclaveConfig) { c.Rounds = 0 },
		func(c *EnclaveConfig) { c.Megabytes = 0 },
		func(c *EnclaveConfig) { c.Releases = 0 },
		func(c *EnclaveConfig) { c.Only = []string{"build", "weigh"} },
	} {
		bad := good
		bad.Dir = t.TempDir()
		spoil(&bad)
		if _, err := Enclave(context.Background(), bad); !errs.Is(err, errs.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// TestEnclaveImages takes the two cases that need no root, once, and reads the report.
func TestEnclaveImages(t *testing.T) {
	r, err := Enclave(context.Background(), EnclaveConfig{Dir: t.TempDir(), Rounds: 2, Megabytes: 8,
		Releases: 1, Only: []string{"build", "read"}})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := r.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"public layer of 8 MiB", "secret layer of 8 MiB", "all of it into memory",
		"load average"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	for _, row := range r.Rows {
		if row.Median <= 0 || row.Least > row.Median || row.Median > row.Most || row.Rounds != 2 {
			t.Errorf("%+v", row)
		}
	}
}
