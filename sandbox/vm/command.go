package vm

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// accelerator is what runs the guest's instructions.
type accelerator uint8

const (
	hardware accelerator = 1 // KVM
	software accelerator = 2 // QEMU's translator
)

func (a accelerator) args() []string {
	if a == hardware {
		return []string{"-accel", "kvm", "-cpu", "host"}
	}
	return []string{"-accel", "tcg,thread=multi", "-cpu", "max"}
}

// The marks by which a process knows that it is in a guest: the kernel gives what stands behind
// "--" on its command line to pid 1.
const (
	guestInit  = "/init"
	guestMark  = "surety-guest"
	agentMark  = "surety-agent"
	wireMark   = "wire"
	portPrefix = "surety."
)

// Names of the ports, after portPrefix.
const (
	controlPort = "control"
	stdioPort   = "stdio"
	trailPort   = "trail"
)

// machine is what a QEMU command line is made of. The files are numbers in the new process.
type machine struct {
	id      string
	with    accelerator
	memory  int64 // bytes
	cpus    int
	pace    uint64 // of the host's counter, for a translated guest; 0: unknown
	kernel  int    // read-only
	initial int
	image   int // read-only; 0: none
	console int // sockets
	control int
	stdio   int
	trail   int
	wire    int // 0: no network
}

// args is the command line: a machine without a bus, a firmware menu, a monitor, a default device or
// a configuration file. ACPI is how Debian's kernel finds the devices of a microvm.
func (m machine) args() []string {
	args := []string{"-name", "surety-" + m.id}
	args = append(args, m.with.args()...)
	args = append(args,
		"-machine", "microvm,acpi=on,pcie=off,rtc=on,isa-serial=on,usb=off",
		"-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-no-reboot",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-m", strconv.FormatInt(m.memory>>20, 10), "-smp", strconv.Itoa(m.cpus),
		"-kernel", descriptor(m.kernel), "-initrd", descriptor(m.initial), "-append", m.line(),
		"-chardev", socket("console", m.console), "-serial", "chardev:console",
		"-device", "virtio-serial-device,max_ports=4",
	)
	if m.image > 0 {
		args = append(args,
			"-add-fd", fmt.Sprintf("fd=%d,set=1", m.image),
			"-blockdev", "driver=raw,node-name=image,read-only=on,"+
				"file.driver=file,file.filename=/dev/fdset/1,file.locking=off",
			"-device", "virtio-blk-device,drive=image")
	}
	for _, p := range [...]struct {
		name string
		fd   int
	}{{controlPort, m.control}, {stdioPort, m.stdio}, {trailPort, m.trail}} {
		args = append(args, "-chardev", socket(p.name, p.fd),
			"-device", "virtserialport,chardev="+p.name+",name="+portPrefix+p.name)
	}
	if m.wire > 0 {
		args = append(args,
			"-netdev", fmt.Sprintf("dgram,id=wire,local.type=fd,local.str=%d", m.wire),
			"-device", "virtio-net-device,netdev=wire,mac="+GuestMAC)
	}
	return args
}

// GuestMAC is the hardware address of every guest: each is alone on its wire.
const GuestMAC = "02:53:75:72:65:02"

// line is the guest kernel's command line. A serial console costs time for every character, so it
// stays silent until a panic, which then ends the machine.
func (m machine) line() string {
	line := "console=ttyS0 quiet loglevel=1 panic=-1 reboot=t random.trust_cpu=on cgroup_no_v1=all"
	if m.with == software {
		// A translated guest has no processor to be attacked through.
		line += " mitigations=off nokaslr tsc=reliable"
		if m.pace > 0 {
			line += " tsc_early_khz=" + strconv.FormatUint(m.pace, 10)
		}
	}
	line += " -- " + guestMark
	if m.wire > 0 {
		line += " " + wireMark
	}
	return line
}

func descriptor(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

func socket(id string, fd int) string { return fmt.Sprintf("socket,id=%s,fd=%d", id, fd) }

// size is how large a machine has to be for an image, and a program with these limits (zero: none).
func size(image, programBytes, cpuMillis int64, hostCPUs int) (memory int64, cpus int, err error) {
	if image > maxImage {
		return 0, 0, errs.New(errs.TooLarge, "class vm: an image of %d bytes, limit %d", image,
			int64(maxImage))
	}
	if programBytes == 0 {
		programBytes = programMemory
	}
	memory = (guestMemory + image + programBytes + 1<<20 - 1) &^ (1<<20 - 1)
	if programBytes > maxMemory || memory > maxMemory {
		return 0, 0, errs.New(errs.TooLarge, "class vm: a machine of %d bytes, limit %d", memory,
			int64(maxMemory))
	}
	cpus = hostCPUs
	if cpuMillis > 0 {
		cpus = min(int((cpuMillis+999)/1000), hostCPUs)
	}
	return memory, max(1, min(cpus, maxCPUs)), nil
}

// memoryFile returns a sealed file in memory with the content, open for reading alone: QEMU takes
// no other, and its user may open it again by its number.
func memoryFile(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, errs.Wrap(err, "vm: memory file %s", name)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		return nil, errs.Wrap(err, "vm: memory file %s", name)
	}
	if err := seal(f); err != nil {
		return nil, err
	}
	return readOnly(f)
}

// seal makes a memory file's content and size what they are for ever.
func seal(f *os.File) error {
	const all = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, all)
	return errs.Wrap(err, "vm: seal %s", f.Name())
}

// readOnly opens the file behind a descriptor again, for reading alone.
func readOnly(f *os.File) (*os.File, error) {
	again, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	return again, errs.Wrap(err, "vm: open %s for reading", f.Name())
}
