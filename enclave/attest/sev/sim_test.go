package sev

import (
	"bytes"
	"crypto/sha512"
	"crypto/x509"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-sev-guest/abi"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

// simulatedAt is when the tests' simulations were made.
const simulatedAt = clock.Instant(1_750_000_000 * uint64(clock.Second))

// simulated is a simulation, what it says, and the anchor that takes it.
type simulated struct {
	dir             string
	clock           *wallclock.Manual
	device          *Simulation
	anchor          Anchor
	data            [64]byte
	report, support []byte
}

func simulate(t *testing.T) *simulated {
	t.Helper()
	s := &simulated{dir: filepath.Join(t.TempDir(), "simulated"), clock: wallclock.NewManual(simulatedAt)}
	s.open(t)
	pem, err := SimulatedRoot(s.dir, s.clock, entropy.System())
	if err != nil {
		t.Fatal(err)
	}
	if s.anchor, err = Sim(pem); err != nil {
		t.Fatal(err)
	}
	entropy.System().Fill(s.data[:])
	s.report, s.support, err = s.device.ReportFor(t.Context(), s.data, [32]byte{7})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *simulated) open(t *testing.T) {
	t.Helper()
	var err error
	if s.device, err = OpenSimulation(s.dir, "sim.go", s.clock, entropy.System()); err != nil {
		t.Fatal(err)
	}
}

func (s *simulated) verify(at time.Time, anchors ...Anchor) (*enclave.Claims, error) {
	return Verify(s.report, s.support, anchors, nil, at)
}

func TestSimulationGoesDownTheProductionPath(t *testing.T) {
	s := simulate(t)
	c, err := s.verify(timeOf(simulatedAt), s.anchor)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("sim.go")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha512.Sum384(program)
	if c.TEE != enclave.Sim || c.ReportData != s.data || c.TCB.Status != enclave.TCBUpToDate ||
		!strings.HasPrefix(c.RootName, "SIMULATED") || c.PlatformDebug ||
		!bytes.Equal(c.Platform, sum[:]) || c.HostData[0] != 7 || len(c.Chip) != 64 {
		t.Errorf("claims %+v", c)
	}
	if !strings.HasPrefix(s.device.Describe(), "SIMULATED") || s.device.TEE() != enclave.Sim {
		t.Errorf("%s: %s", s.device.TEE(), s.device.Describe())
	}
}

func TestSimulationsAreRefused(t *testing.T) {
	s, other := simulate(t), simulate(t)
	at := timeOf(simulatedAt)
	cases := []struct {
		name    string
		anchors []Anchor
		at      time.Time
		says    string
	}{
		{"by no root", nil, at, "no root is trusted"},
		{"by AMD's roots", vendor(t), at, "issuer common name SEV-SIMULATED not expected"},
		{"by another simulation's root", []Anchor{other.anchor}, at, "signed by unknown authority"},
		{"before its certificates", []Anchor{s.anchor}, at.Add(-2 * time.Hour), "not yet valid"},
		{"after the chip's", []Anchor{s.anchor}, at.AddDate(8, 0, 0), "expired"},
		{"after the root's", []Anchor{s.anchor}, at.AddDate(30, 0, 0), "expired"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.verify(c.at, c.anchors...)
			if !errs.Is(err, errs.Forbidden) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
	// A real machine's report is none of a simulation's, either.
	report, support := recorded()
	if _, err := Verify(report, support, []Anchor{s.anchor}, nil, recordedAt); err == nil {
		t.Error("a simulation's root took a Milan's report")
	}
}

func TestEveryBitOfASimulatedReportCounts(t *testing.T) {
	s := simulate(t)
	good := bytes.Clone(s.report)
	for bit := 0; bit < len(good)*8; bit += 11 {
		s.report = bytes.Clone(good)
		s.report[bit/8] ^= 1 << (bit % 8)
		if _, err := s.verify(timeOf(simulatedAt), s.anchor); !errs.Is(err, errs.Forbidden) {
			t.Errorf("bit %d of byte %#x changed: %v", bit%8, bit/8, err)
		}
	}
}

// What a vendor says about firmware ends; what is revoked is refused; what is not the vendor's too.
func TestCollateralOfASimulation(t *testing.T) {
	s, other := simulate(t), simulate(t)
	at := timeOf(simulatedAt)
	late, err := s.verify(at.Add(crlLife), s.anchor)
	if err != nil || late.TCB.Status != enclave.TCBUnknown || late.TCB.CollateralEnds == 0 {
		t.Errorf("after the list's end: %+v %v", late, err)
	}
	keys := s.device.keys
	chain := []named{{abi.VcekGUID, keys.chip.Raw}, {abi.AskGUID, keys.below.Raw}}
	s.support = formatTable(chain...)
	if c, err := s.verify(at, s.anchor); err != nil || c.TCB.Status != enclave.TCBUnknown {
		t.Errorf("without a list: %+v %v", c, err)
	}
	table, err := parseTable(other.support)
	if err != nil {
		t.Fatal(err)
	}
	s.support = formatTable(append(chain, named{crlGUID, table[crlGUID]})...)
	if _, err := s.verify(at, s.anchor); err == nil || !strings.Contains(err.Error(), "is not SIMULATED") {
		t.Errorf("another's list: %v", err)
	}
	for _, serial := range []int64{2, 3} {
		list, err := x509.CreateRevocationList(s.device.random, &x509.RevocationList{Number: big.NewInt(1),
			ThisUpdate: at, NextUpdate: at.Add(time.Hour), SignatureAlgorithm: x509.SHA384WithRSAPSS,
			RevokedCertificateEntries: []x509.RevocationListEntry{
				{SerialNumber: big.NewInt(serial), RevocationTime: at}}}, keys.root, keys.rootKey)
		if err != nil {
			t.Fatal(err)
		}
		s.support = formatTable(append(chain, named{crlGUID, list})...)
		if _, err := s.verify(at, s.anchor); err == nil || !strings.Contains(err.Error(), "was revoked") {
			t.Errorf("certificate %d is revoked: %v", serial, err)
		}
	}
}

// A simulation that runs for long hands out lists that are in force.
func TestListIsRenewed(t *testing.T) {
	s := simulate(t)
	s.clock.Advance(clock.Duration(crlRenew))
	var err error
	if s.report, s.support, err = s.device.Report(t.Context(), s.data); err != nil {
		t.Fatal(err)
	}
	c, err := s.verify(timeOf(s.clock.Now()).Add(crlLife-time.Minute), s.anchor)
	if err != nil || c.TCB.Status != enclave.TCBUpToDate {
		t.Errorf("a day later: %+v %v", c, err)
	}
}

// Many who come at once get one simulation; the second time it is the same one.
func TestOneSimulationForAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "simulated")
	roots := make([][]byte, 4)
	var all sync.WaitGroup
	for i := range roots {
		all.Go(func() {
			var err error
			if roots[i], err = SimulatedRoot(dir, wallclock.System(), entropy.System()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, root := range roots[1:] {
		if !bytes.Equal(root, roots[0]) {
			t.Error("there are two simulations")
		}
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v, want 0700", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(left) != 1 {
		t.Errorf("beside it are %v %v", left, err)
	}
}

func TestBrokenSimulation(t *testing.T) {
	for _, file := range []string{keysFile, chainFile} {
		s := simulate(t)
		if err := os.WriteFile(filepath.Join(s.dir, file), []byte("nothing"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenSimulation(s.dir, "sim.go", s.clock, entropy.System())
		if !errs.Is(err, errs.Corrupt) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s is broken: %v", file, err)
		}
	}
}

// The hash of a program is remembered, and forgotten with the program.
func TestProgramIsMeasuredOnce(t *testing.T) {
	s := simulate(t)
	program := filepath.Join(t.TempDir(), "program")
	measure := func(content string) [48]byte {
		t.Helper()
		if err := os.WriteFile(program, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
		sum, err := measureProgram(s.dir, program)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	if measure("one") != sha512.Sum384([]byte("one")) || measure("other") != sha512.Sum384([]byte("other")) {
		t.Error("the measurement is not that of the program")
	}
	var kept measured
	data, err := os.ReadFile(filepath.Join(s.dir, measureFile))
	if err != nil || json.Unmarshal(data, &kept) != nil || kept.Size != 5 {
		t.Errorf("kept %+v %v", kept, err)
	}
	if _, err := measureProgram(s.dir, program+"x"); !errs.Is(err, errs.NotFound) {
		t.Errorf("no program: %v", err)
	}
}

func BenchmarkSimulatedVerify(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "simulated")
	s, err := OpenSimulation(dir, "sim.go", wallclock.System(), entropy.System())
	if err != nil {
		b.Fatal(err)
	}
	pem, err := SimulatedRoot(dir, wallclock.System(), entropy.System())
	if err != nil {
		b.Fatal(err)
	}
	anchor, err := Sim(pem)
	if err != nil {
		b.Fatal(err)
	}
	report, support, err := s.Report(b.Context(), [64]byte{})
	if err != nil {
		b.Fatal(err)
	}
	now := timeOf(wallclock.System().Now())
	for b.Loop() {
		if _, err := Verify(report, support, []Anchor{anchor}, nil, now); err != nil {
			b.Fatal(err)
		}
	}
}
