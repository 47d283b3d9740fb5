package escape

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// node is a device of the host.
type node struct {
	name         string
	kind         uint32
	major, minor uint32
}

func nodes() []node {
	const char, block = unix.S_IFCHR, unix.S_IFBLK
	return []node{
		{"mem", char, 1, 1}, {"port", char, 1, 4}, {"kmsg", char, 1, 11},
		{"tun", char, 10, 200}, {"kvm", char, 10, 232}, {"fuse", char, 10, 229},
		{"loop-control", char, 10, 237}, {"vhost-net", char, 10, 238}, {"vhost-vsock", char, 10, 241},
		{"mapper", char, 10, 236}, {"userfault", char, 10, 126}, {"rtc", char, 10, 135},
		{"console", char, 5, 1}, {"tty0", char, 4, 0}, {"serial", char, 4, 64},
		{"msr", char, 202, 0}, {"cpuid", char, 203, 0},
		{"disk-virtio", block, 254, 0}, {"disk-virtio-older", block, 253, 0}, {"disk-scsi", block, 8, 0},
		{"disk-nvme", block, 259, 0}, {"loop0", block, 7, 0}, {"memory-disk", block, 1, 0},
	}
}

func deviceAttempts() []Attempt {
	var list []Attempt
	for _, n := range nodes() {
		list = append(list, Attempt{Name: "make-" + n.name,
			What: fmt.Sprintf("mknod %s (%d:%d), open it and read", n.name, n.major, n.minor),
			Refused: noFile(unix.ENXIO, unix.ENODEV, unix.EINVAL, unix.EIO, unix.EBADF,
				unix.EBADFD, unix.EAGAIN),
			Marks: call(-1), try: func(s *Scene) error { return makeNode(s, n) }})
	}
	for _, file := range []string{"mem", "kmem", "kvm", "vda", "sda", "nvme0n1", "loop-control",
		"vhost-net", "mapper/control", "cpu/0/msr", "kmsg", "snapshot", "sgx_enclave", "sev",
		"dri/card0", "nvidiactl", "uinput", "userfaultfd", "vsock", "vfio/vfio", "iommu", "hwrng"} {
		list = append(list, Attempt{Name: "open-" + flat(file), What: "open /dev/" + file,
			Refused: noFile(unix.ENXIO, unix.ENODEV), Marks: path("/dev"),
			try: func(*Scene) error {
				fd, err := unix.Open("/dev/"+file, unix.O_RDWR|unix.O_NONBLOCK, 0)
				if err != nil {
					return err
				}
				return unix.Close(fd)
			}})
	}
	return append(list, Attempt{Name: "open-tun", What: "make a network device of the host by tun",
		Refused: noFile(unix.ENXIO, unix.EINVAL), Marks: path("/dev"),
		Contained: "the device is one of the sandbox's own network stack",
		try: func(*Scene) error {
			fd, err := unix.Open("/dev/net/tun", unix.O_RDWR, 0)
			if err != nil {
				return err
			}
			request, err := unix.NewIfreq("escape0")
			if err != nil {
				return err
			}
			request.SetUint16(unix.IFF_TAP)
			return unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}})
}

// flat is a path as part of a name.
func flat(file string) string {
	out := []byte(file)
	for i, c := range out {
		if c == '/' || c == '_' {
			out[i] = '-'
		}
	}
	return string(out)
}

// makeNode makes the node on the root and on a file system of memory, which might allow what the
// root does not.
func makeNode(s *Scene, n node) error {
	var last error
	for _, folder := range []string{"/tmp", "/dev", "/dev/shm"} {
		name := filepath.Join(folder, "escape-"+n.name)
		number := int(unix.Mkdev(n.major, n.minor))
		if last = unix.Mknod(name, n.kind|0o666, number); last != nil {
			last = fmt.Errorf("mknod %s: %w", name, last)
			continue
		}
		fd, err := unix.Open(name, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		unix.Unlink(name)
		if err == nil {
			unix.Close(fd)
			if n.name == "tun" || n.name == "fuse" || n.name == "console" {
				return unix.ENXIO // devices that the sandbox's kernel has of its own
			}
			return nil
		}
		last = fmt.Errorf("open %s: %w", name, err)
	}
	return last
}
