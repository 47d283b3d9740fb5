package probe

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"surety/base/clock"
	"surety/sys/wallclock"
)

func TestDiskProbes(t *testing.T) {
	dir := t.TempDir()
	later := filepath.Join(dir, "not", "there", "yet")
	for _, f := range []Finding{Space(later), Sync(wallclock.System(), later), Direct(later)} {
		if f.State == Missing || f.Seen == "" || (f.State == OK) != (f.Cost == "") {
			t.Errorf("%+v", f)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("the probes left %v, %v", entries, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range []Finding{Space(file), Sync(wallclock.System(), file), Direct(file)} {
		if f.State != Missing || !strings.Contains(f.Seen, "not a directory") || f.Cost == "" {
			t.Errorf("%+v", f)
		}
	}
}

func TestPort(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if f := Port("http", address, false); f.State != Missing ||
		!strings.Contains(f.Seen, "address already in use") {
		t.Errorf("%+v", f)
	}
	if f := Port("http", address, true); f.State != OK {
		t.Errorf("%+v", f)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if f := Port("http", address, false); f.State != OK {
		t.Errorf("%+v", f)
	}
}

func TestClock(t *testing.T) {
	for date, want := range map[string]bool{"1970-01-02": false, "2026-11-22": true, "2150-01-01": false} {
		day, err := clock.ParseDate(date)
		if err != nil {
			t.Fatal(err)
		}
		f := Clock(wallclock.NewManual(day.Instant()))
		if (f.State != Missing) != want {
			t.Errorf("%s: %+v", date, f)
		}
	}
}

func TestMachine(t *testing.T) {
	for _, f := range []Finding{OpenFiles(), Memory(), Kernel(), Tsm(), Swap(), SealedMemory()} {
		if f.Name == "" || f.Seen == "" || f.State == Missing {
			t.Errorf("%+v", f)
		}
	}
}

func TestMeminfo(t *testing.T) {
	text := "MemTotal:       24646100 kB\nMemAvailable:   23000000 kB\nHugePages_Total:       0\n"
	if n, found := meminfo(text, "MemAvailable:"); !found || n != 23000000<<10 {
		t.Errorf("%d, %t", n, found)
	}
	if _, found := meminfo(text, "HugePages_Total:"); found {
		t.Error("a line without a unit was read")
	}
}

func TestKernelVersion(t *testing.T) {
	for release, want := range map[string][2]int{"6.1.0-13-amd64": {6, 1}, "4.4": {4, 4}, "x": {}} {
		major, minor, found := kernelVersion(release)
		if [2]int{major, minor} != want || found != (want[0] > 0) {
			t.Errorf("%s is %d.%d", release, major, minor)
		}
	}
}
