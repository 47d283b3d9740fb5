package image_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/sandbox/image"
)

func TestMemory(t *testing.T) {
	m, err := image.NewMemory(8192)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := m.WriteAt([]byte("word"), 4094); err != nil {
		t.Fatal(err)
	}
	if _, err := m.WriteAt([]byte("word"), 8190); !errs.Is(err, errs.Invalid) {
		t.Errorf("written past the end: %v", err)
	}
	writable := m.File()
	if err := m.Seal(); err != nil {
		t.Fatal(err)
	}
	if err := m.Seal(); err != nil || !m.Sealed() {
		t.Errorf("sealed again: %v", err)
	}
	if _, err := m.WriteAt([]byte("x"), 0); err == nil {
		t.Error("written after it was sealed")
	}
	if _, err := writable.WriteAt([]byte("x"), 0); err == nil {
		t.Error("the opening that could write was kept")
	}
	if f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", m.File().Fd()), os.O_RDWR, 0); err == nil {
		if _, err := f.WriteAt([]byte("x"), 0); err == nil {
			t.Error("written through another opening")
		}
		f.Close()
	}
	got := make([]byte, 4)
	if _, err := m.ReadAt(got, 4094); err != nil || string(got) != "word" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

func TestMemoryRefused(t *testing.T) {
	for _, size := range []int64{0, -4096, 4095, 1 << 62} {
		if _, err := image.NewMemory(size); !errs.Is(err, errs.Invalid) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	fd, err := unix.MemfdCreate("open", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := image.AdoptMemory(os.NewFile(uintptr(fd), "open")); !errs.Is(err, errs.Refused) {
		t.Errorf("memory that may be changed: %v", err)
	}
	file, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := image.AdoptMemory(file); !errs.Is(err, errs.Refused) {
		t.Errorf("a file: %v", err)
	}
}

// TestMemoryAdopted has two holders: either may go first.
func TestMemoryAdopted(t *testing.T) {
	m, err := image.NewMemory(4096)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.WriteAt(bytes.Repeat([]byte{7}, 4096), 0); err != nil {
		t.Fatal(err)
	}
	if err := m.Seal(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(m.File().Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	other, err := image.AdoptMemory(os.NewFile(uintptr(fd), "sent"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4096)
	if _, err := other.ReadAt(got, 0); err != nil || got[4095] != 7 || other.Size() != 4096 {
		t.Errorf("read %d, %v", got[4095], err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil || other.Locked() && strings.Contains(string(status), "VmLck:\t       0 kB") {
		t.Errorf("said to be locked, and is not: %v", err)
	}
}
