package oci

import (
	"path/filepath"
	goruntime "runtime"
	"strings"

	apitypes "github.com/containerd/containerd/api/types"
	"golang.org/x/sys/unix"

	"surety/base/errs"
)

const (
	// maxRootMounts bounds the mounts of a root: containerd's snapshotters ask for one or two.
	maxRootMounts = 16
	// maxMountData is what mount(2) takes of options: a page with its final zero.
	maxMountData = 4095
)

// mountFlags are the options of a mount that are flags.
var mountFlags = map[string]uintptr{
	"ro": unix.MS_RDONLY, "rw": 0, "bind": unix.MS_BIND, "rbind": unix.MS_BIND | unix.MS_REC,
	"nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
	"noatime": unix.MS_NOATIME, "relatime": unix.MS_RELATIME, "nodiratime": unix.MS_NODIRATIME,
	"sync": unix.MS_SYNCHRONOUS, "defaults": 0,
}

// mountRoot mounts what a snapshotter asked for at a container's root. When it fails nothing stays.
func mountRoot(mounts []*apitypes.Mount, root string) error {
	if len(mounts) > maxRootMounts {
		return errs.New(errs.TooLarge, "rootfs: %d mounts, at most %d", len(mounts), maxRootMounts)
	}
	for i, m := range mounts {
		target := filepath.Join(root, m.Target)
		if m.Target != "" && !strings.HasPrefix(target, root+"/") {
			_ = unmountAll(root)
			return errs.New(errs.Invalid, "rootfs[%d].target: %q leaves the root", i, m.Target)
		}
		if err := mountOne(m, target); err != nil {
			_ = unmountAll(root)
			return errs.Wrap(err, "rootfs[%d]: mount %s at %s", i, m.Type, target)
		}
	}
	return nil
}

func mountOne(m *apitypes.Mount, target string) error {
	var flags uintptr
	var data []string
	for _, o := range m.Options {
		flag, known := mountFlags[o]
		switch {
		case known:
			flags |= flag
		case o == "loop":
			return errs.New(errs.Invalid, "option loop: not supported")
		default:
			data = append(data, o)
		}
	}
	dir, joined := shorten(m.Type, data)
	if len(joined) > maxMountData {
		return errs.New(errs.TooLarge, "options of %d bytes, at most %d", len(joined), maxMountData)
	}
	if err := mountFrom(dir, m.Source, target, m.Type, flags, joined); err != nil {
		return err
	}
	const readOnlyBind = unix.MS_BIND | unix.MS_RDONLY
	if flags&readOnlyBind != readOnlyBind {
		return nil
	}
	// A bind mount takes its flags only when it is mounted again.
	if err := unix.Mount("", target, "", flags|unix.MS_REMOUNT, ""); err != nil {
		_ = unix.Unmount(target, unix.MNT_DETACH)
		return err
	}
	return nil
}

// shorten says an overlay's options in fewer bytes, where its layers would not fit into a page: from
// within the directory that they all stand in.
func shorten(kind string, options []string) (dir, joined string) {
	joined = strings.Join(options, ",")
	if kind != "overlay" || len(joined) <= maxMountData {
		return "", joined
	}
	const lower = "lowerdir="
	for i, o := range options {
		list, found := strings.CutPrefix(o, lower)
		if !found {
			continue
		}
		layers := strings.Split(list, ":")
		dir = commonDir(layers)
		if dir == "/" {
			return "", joined
		}
		for j := range layers {
			layers[j] = strings.TrimPrefix(layers[j], dir+"/")
		}
		options[i] = lower + strings.Join(layers, ":")
	}
	return dir, strings.Join(options, ",")
}

// commonDir is the directory that all paths stand below.
func commonDir(paths []string) string {
	dir := filepath.Dir(paths[0])
	for _, p := range paths {
		for dir != "/" && dir != "." && !strings.HasPrefix(p, dir+"/") {
			dir = filepath.Dir(dir)
		}
	}
	return dir
}

// mountFrom mounts with dir as the working directory, which a thread of its own has.
func mountFrom(dir, source, target, kind string, flags uintptr, data string) error {
	if dir == "" {
		return unix.Mount(source, target, kind, flags, data)
	}
	done := make(chan error, 1)
	go func() {
		goruntime.LockOSThread() // never unlocked: the thread ends with its working directory
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Chdir(dir)
		}
		if err == nil {
			err = unix.Mount(source, target, kind, flags, data)
		}
		done <- err
	}()
	return <-done
}
