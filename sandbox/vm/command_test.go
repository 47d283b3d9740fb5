package vm

import (
	"strings"
	"testing"

	"surety/base/errs"
	"surety/sys/wallclock"
)

// TestCommandLine pins the whole of it: what is not on it, the machine does not have.
func TestCommandLine(t *testing.T) {
	m := machine{id: "a", with: software, memory: 512 << 20, cpus: 2, pace: 2450000, kernel: 3, initial: 4,
		image: 5, console: 6, control: 7, stdio: 8, trail: 9, wire: 10}
	want := `-name surety-a -accel tcg,thread=multi -cpu max
-machine microvm,acpi=on,pcie=off,rtc=on,isa-serial=on,usb=off
-nodefaults -no-user-config -display none -monitor none -no-reboot
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-m 512 -smp 2 -kernel /proc/self/fd/3 -initrd /proc/self/fd/4
-append console=ttyS0 quiet loglevel=1 panic=-1 reboot=t random.trust_cpu=on cgroup_no_v1=all
mitigations=off nokaslr tsc=reliable tsc_early_khz=2450000 -- surety-guest wire
-chardev socket,id=console,fd=6 -serial chardev:console
-device virtio-serial-device,max_ports=4
-add-fd fd=5,set=1
-blockdev driver=raw,node-name=image,read-only=on,file.driver=file,file.filename=/dev/fdset/1,file.locking=off
-device virtio-blk-device,drive=image
-chardev socket,id=control,fd=7 -device virtserialport,chardev=control,name=surety.control
-chardev socket,id=stdio,fd=8 -device virtserialport,chardev=stdio,name=surety.stdio
-chardev socket,id=trail,fd=9 -device virtserialport,chardev=trail,name=surety.trail
-netdev dgram,id=wire,local.type=fd,local.str=10
-device virtio-net-device,netdev=wire,mac=02:53:75:72:65:02`
	if got := strings.Join(m.args(), " "); got != strings.ReplaceAll(want, "\n", " ") {
		t.Errorf("got\n%s", got)
	}
	m.with, m.image, m.wire = hardware, 0, 0
	got := strings.Join(m.args(), " ")
	for _, bad := range []string{"tcg", "blk", "blockdev", "net", "mitigations=off", "nokaslr", "tsc"} {
		if strings.Contains(got, bad) {
			t.Errorf("%s is on %s", bad, got)
		}
	}
	if !strings.Contains(got, "-accel kvm -cpu host") || !strings.HasSuffix(m.line(), "-- surety-guest") {
		t.Errorf("got\n%s", got)
	}
}

func TestIsInit(t *testing.T) {
	for line, is := range map[string]bool{
		"/init surety-guest":              true,
		"/init nokaslr surety-guest wire": true,
		"/init":                           false,
		"surety surety-guest":             false,
		"/init surety-guests":             false,
	} {
		if isInit(strings.Fields(line)) != is {
			t.Errorf("%q: not %t", line, is)
		}
	}
	if IsGuest([]string{"/init", guestMark}) {
		t.Error("a test is no pid 1")
	}
}

func TestSize(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name                   string
		image, program, millis int64
		memory                 int64
		cpus                   int
		kind                   errs.Kind
	}{
		{"nothing asked for", 0, 0, 0, (448 + 256) * mib, 4, 0},
		{"an image of odd size", 10*mib + 1, 0, 0, (448 + 256 + 11) * mib, 4, 0},
		{"limits", 0, 64 * mib, 1500, (448 + 64) * mib, 2, 0},
		{"a bit of a processor", 0, 0, 10, (448 + 256) * mib, 1, 0},
		{"more processors than there are", 0, 0, 9000, (448 + 256) * mib, 4, 0},
		{"too large an image", maxImage + 1, 0, 0, 0, 0, errs.TooLarge},
		{"too much memory", 0, maxMemory, 0, 0, 0, errs.TooLarge},
		{"more memory than numbers", 0, 1<<63 - 1, 0, 0, 0, errs.TooLarge},
	} {
		memory, cpus, err := size(c.image, c.program, c.millis, 4)
		if memory != c.memory || cpus != c.cpus || (err != nil) != (c.kind != 0) || err != nil && !errs.Is(err, c.kind) {
			t.Errorf("%s: %d MiB, %d, %v", c.name, memory/mib, cpus, err)
		}
	}
}

func TestTail(t *testing.T) {
	var words tail
	for range 100 {
		if _, err := words.Write([]byte(strings.Repeat("x", 1000))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := words.Write([]byte("\x1b[31mlast\x00 word\xff\n")); err != nil {
		t.Fatal(err)
	}
	if got := words.String(); len(got) > consoleTail || !strings.HasSuffix(got, "x[31mlast word\n") {
		t.Errorf("%d bytes, ending in %q", len(got), got[len(got)-20:])
	}
}

func TestPace(t *testing.T) {
	if ticks() == 0 {
		t.Skip("this processor has no counter that a program may read")
	}
	a, b := pace(wallclock.System()), pace(wallclock.System())
	if a == 0 || max(a, b)-min(a, b) > a/100 {
		t.Errorf("%d and then %d thousand a second", a, b)
	}
}
