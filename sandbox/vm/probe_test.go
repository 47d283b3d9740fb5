package vm

import (
	"bytes"
	"debug/elf"
	"os/exec"
	"strings"
	"testing"

	"surety/base/errs"
)

// TestProbeImage boots the probe's guest where it is sure to work: it must report from 64-bit mode.
func TestProbeImage(t *testing.T) {
	file, err := elf.NewFile(bytes.NewReader(probeImage()))
	if err != nil {
		t.Fatal(err)
	}
	if len(file.Progs) != 2 || file.Progs[1].Type != elf.PT_NOTE || file.Entry != probeBase+0x100 {
		t.Errorf("not the file QEMU takes: %+v", file.FileHeader)
	}
	qemu, err := exec.LookPath(qemuName)
	if err != nil {
		t.Skipf("%s is not installed: %s", qemuName, Install)
	}
	if err := longMode(t.Context(), qemu, software); err != nil {
		t.Error(err)
	}
}

// TestProbe holds the report to itself: whatever this machine can do, hardware is reported or a
// reason is.
func TestProbe(t *testing.T) {
	r := Probe(t.Context(), "")
	t.Log(r)
	if r.KVM == (r.KVMWhy != "") {
		t.Errorf("KVM %t, because %q", r.KVM, r.KVMWhy)
	}
	if r.Emulated != (r.Missing == "") {
		t.Errorf("emulation %t, missing %q", r.Emulated, r.Missing)
	}
}

func TestUsable(t *testing.T) {
	there := Report{QEMU: "/q", KVMWhy: "it hung", Emulated: true}
	fast := Report{QEMU: "/q", KVM: true, Emulated: true}
	for _, c := range []struct {
		name      string
		report    Report
		emulation bool
		with      accelerator
		text      string
	}{
		{"nothing there", Report{Missing: "no kernel"}, true, 0, "no kernel"},
		{"no hardware, not asked for", there, false, 0, "it hung"},
		{"no hardware, asked for", there, true, software, ""},
		{"hardware", fast, false, hardware, ""},
		{"hardware, and emulation asked for", fast, true, software, ""},
	} {
		with, err := c.report.usable(c.emulation)
		if with != c.with || (err == nil) != (c.text == "") {
			t.Errorf("%s: %d, %v", c.name, with, err)
		}
		if err != nil && (!strings.Contains(err.Error(), c.text) || !errs.Is(err, errs.Unavailable)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
