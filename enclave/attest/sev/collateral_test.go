package sev

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"surety/base/errs"
	"surety/enclave"
)

// The minimum is AMD's word as an operator wrote it down: between its dates, part by part.
func TestMinimum(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	anchor := Anchor{line: "Milan"}
	statement := func(microcode, starts, ends int) map[string][]byte {
		return map[string][]byte{MinimumURL("Milan"): fmt.Appendf(nil, `{"bootloader":2,"tee":0,"snp":5,`+
			`"microcode":%d,"at":%d,"ends":%d}`, microcode, starts, ends)}
	}
	const now = 1_700_000_000
	cases := []struct {
		name       string
		line       string
		collateral map[string][]byte
		want       enclave.TCBStatus
		ends       int64
	}{
		{"none", "Milan", nil, enclave.TCBUnknown, now + 100},
		{"reached", "Milan", statement(68, now-10, now+50), enclave.TCBUpToDate, now + 50},
		{"not reached", "Milan", statement(69, now-10, now+500), enclave.TCBOutOfDate, now + 100},
		{"over", "Milan", statement(68, now-10, now), enclave.TCBUnknown, now},
		{"not begun", "Milan", statement(68, now+1, now+50), enclave.TCBUnknown, now + 50},
		{"of another line", "Genoa", statement(68, now-10, now+50), enclave.TCBUnknown, now + 100},
		{"of parts in another order", "Turin", statement(68, now-10, now+50), enclave.TCBUnknown, now + 100},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			anchor.line = c.line
			got, err := anchor.compare(enclave.TCB{Version: 68<<56 | 5<<48 | 2, Status: enclave.TCBUnknown,
				CollateralAt: now - 100, CollateralEnds: now + 100}, c.collateral, at)
			if err != nil || got.Status != c.want || got.CollateralEnds != c.ends {
				t.Errorf("got %+v %v, want %s until %d", got, err, c.want, c.ends)
			}
		})
	}
}

func TestMinimumIsRefused(t *testing.T) {
	for text, says := range map[string]string{
		`{`:                             "unexpected EOF",
		`{"at":1,"ends":2,"fast":true}`: "unknown field",
		`{"at":2,"ends":2}`:             "in force from 2 to 2",
		`{"at":0,"ends":2}`:             "in force from 0 to 2",
		`{"tee":256,"at":1,"ends":2}`:   "cannot unmarshal",
		strings.Repeat(" ", 5000):       "5000 bytes",
	} {
		if _, err := ParseMinimum([]byte(text)); !errs.Is(err, errs.Invalid) ||
			!strings.Contains(err.Error(), says) {
			t.Errorf("%.40s: %v, want %q", text, err, says)
		}
	}
}

// A list of revoked certificates is AMD's or refused.
func TestListOfAnotherIsRefused(t *testing.T) {
	s := simulate(t)
	table, err := parseTable(s.support)
	if err != nil {
		t.Fatal(err)
	}
	report, support := recorded()
	for name, list := range map[string][]byte{"a simulation's": table[crlGUID], "none": []byte("list")} {
		collateral := map[string][]byte{"https://kdsintf.amd.com/vcek/v1/Milan/crl": list}
		if _, err := Verify(report, support, vendor(t), collateral, recordedAt); !errs.Is(err, errs.Forbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
