package vm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"surety/base/errs"
)

// qemuName is the emulator of the one architecture there is.
const qemuName = "qemu-system-x86_64"

// Report is what this machine can do for a sandbox of class vm.
type Report struct {
	QEMU     string // path; "" when it is not installed
	Version  string // "7.2.22"
	Kernel   Kernel // zero when there is none
	KVM      bool   // a guest has run 64-bit code in hardware
	KVMWhy   string // why not, when not
	Missing  string // what a machine cannot be made without, and how to get it; "" when all is there
	Emulated bool   // nothing is missing: software emulation works
}

// Probe looks at what is there and lets a guest prove the hardware: it runs a few instructions that
// only mean something in 64-bit mode, under KVM, for at most two seconds. kernelRoot is as
// FindKernel takes it. Nothing is remembered: who asks often keeps the report.
func Probe(ctx context.Context, kernelRoot string) Report {
	r := look(kernelRoot)
	if r.QEMU == "" {
		return r
	}
	r.Version = qemuVersion(ctx, r.QEMU)
	if err := longMode(ctx, r.QEMU, hardware); err != nil {
		r.KVMWhy = err.Error()
	} else {
		r.KVM = true
	}
	return r
}

// look is the part of a probe that runs nothing.
func look(kernelRoot string) Report {
	var r Report
	path, err := exec.LookPath(qemuName)
	if err != nil {
		r.Missing = qemuName + " is not installed: " + Install
		r.KVMWhy = r.Missing
		return r
	}
	r.QEMU = path
	if r.Kernel, err = FindKernel(kernelRoot); err != nil {
		r.Missing = err.Error()
	}
	r.Emulated = r.Missing == ""
	return r
}

// String says the report in a line.
func (r Report) String() string {
	if r.QEMU == "" {
		return r.Missing
	}
	parts := []string{"QEMU " + r.Version}
	if r.Missing == "" {
		parts = append(parts, "guest kernel "+r.Kernel.Release)
	} else {
		parts = append(parts, r.Missing)
	}
	if r.KVM {
		parts = append(parts, "KVM runs 64-bit guests")
	} else {
		parts = append(parts, "no KVM: "+r.KVMWhy)
	}
	return strings.Join(parts, "; ")
}

// usable returns the accelerator a machine gets, or why it gets none.
func (r Report) usable(emulation bool) (accelerator, error) {
	switch {
	case r.Missing != "":
		return 0, errs.New(errs.Unavailable, "class vm: %s", r.Missing)
	case emulation:
		return software, nil
	case r.KVM:
		return hardware, nil
	}
	return 0, errs.New(errs.Unavailable, "class vm: this machine runs no guests in hardware (%s), and "+
		"software emulation, which is slow, was not asked for by name", r.KVMWhy)
}

// qemuVersion returns what QEMU says of itself, "" when it says nothing of the known form.
func qemuVersion(ctx context.Context, path string) string {
	ctx, cancel := context.WithTimeout(ctx, versionPatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(out), "version ")
	version, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	version, _, _ = strings.Cut(version, "\n")
	return version
}

// longMode runs the probe's guest and returns nil when it has reported from 64-bit mode.
func longMode(ctx context.Context, qemu string, with accelerator) error {
	if _, err := os.Stat("/dev/kvm"); err != nil && with == hardware {
		return errs.New(errs.Unavailable, "there is no /dev/kvm")
	}
	image, err := memoryFile("probe", probeImage())
	if err != nil {
		return err
	}
	defer image.Close()
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, qemu, append(with.args(), "-machine", "microvm,acpi=off",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", "16",
		"-kernel", "/proc/self/fd/3", "-device", "isa-debug-exit,iobase=0xf4,iosize=1")...)
	cmd.ExtraFiles = []*os.File{image}
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stderr = &said
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return errs.New(errs.Unavailable, "a guest did not run 64-bit code within %s", probePatience)
	case errors.As(err, &exit) && exit.ExitCode() == probeStatus:
		return nil
	case err == nil:
		return errs.New(errs.Unavailable, "a guest ended without running 64-bit code")
	}
	return errs.As(errs.Unavailable, err, "a guest did not run 64-bit code: %s", firstLine(said.String()))
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

const (
	probeWord   = 0x2a             // what the guest writes
	probeTurns  = 1 << 25          // what it counts down from: ten milliseconds of a processor
	probeStatus = probeWord<<1 | 1 // what QEMU's isa-debug-exit makes of it
	probeBase   = 0x100000         // where the guest is loaded
)

// probeCode begins in 32-bit mode without paging, as the PVH protocol has it, maps the first two
// megabytes onto themselves and enters 64-bit mode. There it counts down from probeTurns, adds two
// vectors and writes probeWord, half of the sum, to the exit device.
//
// Reaching 64-bit mode is not enough: nested under some hypervisors KVM gets there by interpreting
// instruction after instruction, and an operating system that needs any it does not know hangs. Of
// an interpreter the count takes far longer than the probe waits, and most know no vectors.
var probeCode = [...]byte{
	0xfa, 0xfc, // cli; cld
	0xbf, 0x00, 0x00, 0x11, 0x00, // mov edi, 0x110000: three tables
	0x31, 0xc0, // xor eax, eax
	0xb9, 0x00, 0x0c, 0x00, 0x00, // mov ecx, 0xc00
	0xf3, 0xab, // rep stosd
	0xc7, 0x05, 0x00, 0x00, 0x11, 0x00, 0x03, 0x10, 0x11, 0x00, // mov dword [0x110000], 0x111003
	0xc7, 0x05, 0x00, 0x10, 0x11, 0x00, 0x03, 0x20, 0x11, 0x00, // mov dword [0x111000], 0x112003
	0xc7, 0x05, 0x00, 0x20, 0x11, 0x00, 0x83, 0x00, 0x00, 0x00, // mov dword [0x112000], 0x83: 2 MiB
	0x0f, 0x20, 0xe0, 0x0d, 0x20, 0x02, 0x00, 0x00, 0x0f, 0x22, 0xe0, // cr4 |= PAE, OSFXSR
	0xb8, 0x00, 0x00, 0x11, 0x00, 0x0f, 0x22, 0xd8, // cr3 = 0x110000
	0xb9, 0x80, 0x00, 0x00, 0xc0, 0x0f, 0x32, // rdmsr EFER
	0x0d, 0x00, 0x01, 0x00, 0x00, 0x0f, 0x30, // EFER |= LME
	0x0f, 0x20, 0xc0, 0x83, 0xe0, 0xfb, // cr0 &^= EM
	0x0d, 0x03, 0x00, 0x00, 0x80, 0x0f, 0x22, 0xc0, // cr0 |= PG, MP, PE
	0x0f, 0x01, 0x15, 0xc0, 0x01, 0x10, 0x00, // lgdt [0x1001c0]
	0xea, 0x78, 0x01, 0x10, 0x00, 0x08, 0x00, // jmp 8:0x100178
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0xb9, 0x00, 0x00, 0x00, probeTurns >> 24, // mov ecx, probeTurns
	0x48, 0xff, 0xc9, 0x75, 0xfb, // dec rcx; jnz to it
	0x48, 0xb8, 0x00, 0x00, 0x00, 0x00, 0x00, probeWord / 2, 0x00, 0x00, // mov rax, 0x150000000000
	0x66, 0x48, 0x0f, 0x6e, 0xc0, // movq xmm0, rax
	0x66, 0x0f, 0xd4, 0xc0, // paddq xmm0, xmm0
	0x66, 0x48, 0x0f, 0x7e, 0xc0, // movq rax, xmm0
	0x48, 0xc1, 0xe8, 0x28, // shr rax, 40
	0xe6, 0xf4, // out 0xf4, al
	0xf4, 0xeb, 0xfd, // hlt; jmp to it
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, // descriptor 0
	0xff, 0xff, 0x00, 0x00, 0x00, 0x9b, 0xaf, 0x00, // descriptor 8: 64-bit code
	0x0f, 0x00, 0xb0, 0x01, 0x10, 0x00, // the table's limit and address 0x1001b0
}

// probeImage is the guest as the ELF file that QEMU boots by the PVH protocol: one segment at 1 MiB
// and a note of Xen's type 18 with the entry.
//
// Source: the kernel's Documentation and QEMU's hw/i386/x86.c, load_elfboot.
func probeImage() []byte {
	const header, program, code = 64, 56, 0x100
	out := make([]byte, code, code+len(probeCode))
	copy(out, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(out[16:], 2)  // executable
	le.PutUint16(out[18:], 62) // x86-64
	le.PutUint32(out[20:], 1)
	le.PutUint64(out[24:], probeBase+code)
	le.PutUint64(out[32:], header)
	le.PutUint16(out[52:], header)
	le.PutUint16(out[54:], program)
	le.PutUint16(out[56:], 2)
	segment := func(at int, kind, flags uint32, offset, size uint64) {
		le.PutUint32(out[at:], kind)
		le.PutUint32(out[at+4:], flags)
		le.PutUint64(out[at+8:], offset)
		le.PutUint64(out[at+16:], probeBase+offset)
		le.PutUint64(out[at+24:], probeBase+offset)
		le.PutUint64(out[at+32:], size)
		le.PutUint64(out[at+40:], size)
		le.PutUint64(out[at+48:], 4)
	}
	const note, noteBytes = header + 2*program, 24
	segment(header, 1, 7, 0, uint64(code+len(probeCode)))
	segment(header+program, 4, 4, note, noteBytes)
	le.PutUint32(out[note:], 4)   // length of the name
	le.PutUint32(out[note+4:], 8) // length of the entry
	le.PutUint32(out[note+8:], 18)
	copy(out[note+12:], "Xen\x00")
	le.PutUint64(out[note+16:], probeBase+code)
	return append(out, probeCode[:]...)
}
