package vm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"surety/base/errs"
)

// Kernel is a guest kernel and the modules that belong to it.
type Kernel struct {
	Release string // "6.1.0-56-cloud-amd64"
	Image   string // path of its vmlinuz
	Modules string // path of its lib/modules/<release>
}

// cloudKernels is what Debian calls the kernels that are made for virtual machines.
const cloudKernels = "vmlinuz-*-cloud-amd64"

// Install is how a guest kernel comes onto a machine, in one line, for errors and documents.
const Install = "apt-get install qemu-system-x86 linux-image-cloud-amd64, " +
	"or tools/need vm, which puts the kernel beside the program without installing it"

// kernelFolder is where, beside the program, `tools/need vm` unpacks the kernel's package.
const kernelFolder = "vm-kernel"

// FindKernel returns the newest cloud kernel: of the configured root alone where there is one, else
// of the folder vm-kernel beside the program, else the host's own. A root is a directory with
// boot/ and lib/modules/ in it, as `dpkg-deb -x` makes from the package linux-image-*-cloud-amd64.
// Errors: NotFound, with how to install one.
func FindKernel(root string) (Kernel, error) {
	roots := []string{root}
	if root == "" {
		roots = []string{"/"}
		if exe, err := os.Executable(); err == nil {
			roots = []string{filepath.Join(filepath.Dir(exe), kernelFolder), "/"}
		}
	}
	for _, r := range roots {
		if k, found := newestKernel(r); found {
			return k, nil
		}
	}
	return Kernel{}, errs.New(errs.NotFound, "no boot/%s with its lib/modules below %s: %s",
		cloudKernels, strings.Join(roots, " or "), Install)
}

// newestKernel returns the kernel of a root whose release is the highest.
func newestKernel(root string) (Kernel, bool) {
	images, err := filepath.Glob(filepath.Join(root, "boot", cloudKernels))
	if err != nil {
		return Kernel{}, false
	}
	slices.SortFunc(images, func(a, b string) int { return compareReleases(b, a) })
	for _, image := range images {
		release := strings.TrimPrefix(filepath.Base(image), "vmlinuz-")
		for _, lib := range []string{"lib", "usr/lib"} {
			modules := filepath.Join(root, lib, "modules", release)
			if info, err := os.Stat(filepath.Join(modules, "kernel")); err == nil && info.IsDir() {
				return Kernel{Release: release, Image: image, Modules: modules}, true
			}
		}
	}
	return Kernel{}, false
}

// compareReleases orders kernel releases, numbers by their value.
func compareReleases(a, b string) int {
	for a != "" && b != "" {
		if digit(a[0]) && digit(b[0]) {
			x, y := leadingNumber(a), leadingNumber(b)
			a, b = a[len(x):], b[len(y):]
			x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if len(x) != len(y) {
				return len(x) - len(y)
			}
			if x != y {
				return strings.Compare(x, y)
			}
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func leadingNumber(text string) string {
	n := 0
	for n < len(text) && digit(text[n]) {
		n++
	}
	return text[:n]
}
