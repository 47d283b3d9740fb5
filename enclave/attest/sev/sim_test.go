package sev

import (
	"os"
	"path/filepath"
	"testing"

	"surety/base/clock"
	"surety/enclave"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

func TestSimulationGoesDownTheProductionPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "simulated")
	c := wallclock.System()
	s, err := OpenSimulation(dir, os.Args[0], c, entropy.System())
	if err != nil {
		t.Fatal(err)
	}
	var data [64]byte
	entropy.System().Fill(data[:])
	report, support, err := s.ReportFor(t.Context(), data, [32]byte{7})
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(filepath.Join(dir, RootFile))
	if err != nil {
		t.Fatal(err)
	}
	anchor, err := Sim(pem)
	if err != nil {
		t.Fatal(err)
	}
	now := timeOf(c.Now())
	got, err := Verify(report, support, []Anchor{anchor}, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", got)
	if got.TEE != enclave.Sim || got.ReportData != data || got.TCB.Status != enclave.TCBUpToDate {
		t.Errorf("claims %+v", got)
	}
	vendor, err := Vendor()
	if err != nil {
		t.Fatal(err)
	}
	_, err = Verify(report, support, vendor, nil, now)
	t.Log(err)
	if err == nil {
		t.Error("AMD's roots took a simulation")
	}
	_ = clock.Instant(0)
}
