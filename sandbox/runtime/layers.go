package runtime

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/sandbox/image"
	"surety/sandbox/image/erofs"
)

// secrets are the descriptors of the layers in memory, in their order.
func (s *Spec) secrets() []*os.File {
	var files []*os.File
	for _, l := range s.Layers {
		if l.Memory != nil {
			files = append(files, l.Memory.File())
		}
	}
	return files
}

// receiveSecrets takes the layers that a supervisor process was started with. The spec that it read
// says of them all but the descriptor.
func (s *Spec) receiveSecrets() (err error) {
	next := layerFD
	for i := range s.Layers {
		if s.Layers[i].Path != "" {
			continue
		}
		unix.CloseOnExec(next)
		f := os.NewFile(uintptr(next), "secret layer")
		if s.Layers[i].Memory, err = image.AdoptMemory(f); err != nil {
			return errs.Wrap(err, "layers[%d]", i)
		}
		next++
	}
	return nil
}

// holdLayers returns the paths under which the spec's layers are opened. Those of files are measured.
// With secrets, a dying kernel or supervisor leaves no core: it would be a copy of them on a disk.
func (v *supervisor) holdLayers() ([]string, error) {
	if v.spec.Secret() {
		if err := noCore(); err != nil {
			return nil, errs.Wrap(err, "sandbox %s", v.s.id)
		}
	}
	var paths []string
	for i, l := range v.spec.Layers {
		if l.Memory != nil {
			paths = append(paths, fmt.Sprintf("/proc/self/fd/%d", l.Memory.File().Fd()))
			continue
		}
		sealed, err := v.share(l.Path, l.Digest)
		if err != nil {
			return nil, errs.Wrap(err, "layers[%d]", i)
		}
		paths = append(paths, sealed.Path())
	}
	return paths, nil
}

// noCore keeps the kernel from writing this process, or one that it starts, to a disk when it dies.
// A limit of one byte also holds where cores go to a program (core(5)), which zero does not.
func noCore() error {
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &now); err != nil {
		return errs.Wrap(err, "limit of core dumps")
	}
	now.Cur, now.Max = min(now.Max, 1), min(now.Max, 1)
	return errs.Wrap(unix.Setrlimit(unix.RLIMIT_CORE, &now), "limit of core dumps")
}

// checkPlaces refuses what a root that takes no writes has no place for: the kernel inside makes mount
// points, and cannot there.
func (c *cell) checkPlaces() error {
	has, err := c.rootHas()
	if err != nil {
		return err
	}
	for i, l := range c.spec.Layers {
		if !has(l.Target) {
			return errs.New(errs.Invalid, "layers[%d].target: the root has no %s to mount on", i, l.Target)
		}
	}
	if c.image == "" || c.spec.Overlay != "none" || c.spec.OCI != nil {
		return nil
	}
	for i, v := range c.spec.Volumes {
		if !has(v.Target) {
			return errs.New(errs.Invalid, "volumes[%d].target: the root has no %s to mount on", i, v.Target)
		}
	}
	for i, v := range c.spec.Sealed {
		if !has(v.Target) {
			return errs.New(errs.Invalid, "sealed[%d].target: the root has no %s to mount on", i, v.Target)
		}
	}
	for _, own := range [...]string{"/dev", "/proc", "/sys", "/tmp"} {
		if !has(own) {
			return errs.New(errs.Invalid, "root.image: it has no %s, and takes no writes to make it", own)
		}
	}
	return nil
}

// imageHas returns what says whether a path is in an image.
func imageHas(path string) (func(path string) bool, error) {
	has := func(name string) (bool, error) {
		f, err := os.Open(path)
		if err != nil {
			return false, errs.Wrap(err, "root.image")
		}
		defer f.Close()
		size, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			return false, errs.Wrap(err, "root.image")
		}
		r, err := erofs.Open(f, size)
		if err != nil {
			return false, errs.Wrap(err, "root.image")
		}
		_, err = r.Lookup(name)
		return err == nil, nil
	}
	if _, err := has("/"); err != nil {
		return nil, err
	}
	return func(name string) bool {
		there, err := has(name)
		return there && err == nil
	}, nil
}
