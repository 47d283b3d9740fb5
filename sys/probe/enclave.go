package probe

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// What follows looks at what enclaves need. Nothing of it is ever Missing: without any of it there
// are enclaves that are simulated.

// Tsm looks at whether the kernel offers reports of its processor by configfs.
func Tsm() Finding {
	const name, dir = "configfs-tsm", "/sys/kernel/config/tsm/report"
	const cost = "quotes of Intel TDX cannot be made; those of AMD SEV-SNP by /dev/sev-guest"
	if unix.Access(dir, unix.W_OK) == nil {
		return ok(name, "%s", dir)
	}
	if _, err := os.Stat("/sys/kernel/config"); err != nil {
		return warn(name, cost, "the kernel has no configfs")
	}
	return warn(name, cost, "no %s that this user may write", dir)
}

// Swap looks at whether memory may be written to a disk: secrets of enclaves are in memory.
func Swap() Finding {
	const name, cost = "swap", "secrets in memory could be written to a disk in plaintext: swapoff, or " +
		"encrypt it"
	content, err := os.ReadFile("/proc/swaps")
	if err != nil {
		return warn(name, cost, "cannot be seen: %v", plain(err))
	}
	var onDisk []string
	for _, line := range strings.Split(string(content), "\n")[1:] {
		if fields := strings.Fields(line); len(fields) > 0 && !strings.HasPrefix(fields[0], "/dev/zram") {
			onDisk = append(onDisk, fields[0])
		}
	}
	if len(onDisk) == 0 {
		return ok(name, "none: memory is not written to a disk")
	}
	return warn(name, cost, "%s", strings.Join(onDisk, ", "))
}

// SealedMemory tries what opened layers are put into: a file of memory that nobody can change.
func SealedMemory() Finding {
	const name, cost = "sealed memory", "secret layers cannot be opened"
	fd, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return warn(name, cost, "memfd_create: %v", err)
	}
	defer func() { _ = unix.Close(fd) }() // nothing is in it
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); err != nil {
		return warn(name, cost, "seals: %v", err)
	}
	return ok(name, "memfd with seals")
}
