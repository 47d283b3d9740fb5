package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/sandbox/image"
	"surety/sys/vfs"
)

// measured is a program's digest and, for plain sandboxes, the image that was made of it, with what
// would change if the program did. The change time cannot be set by a program, so that one that was
// written anew is always measured anew. The image is measured again whenever a sandbox is made of it.
type measured struct {
	Device      uint64 `json:"device"`
	Inode       uint64 `json:"inode"`
	Size        int64  `json:"size"`
	Changed     int64  `json:"changed"` // ctime, ns
	Program     string `json:"program"` // sha256:hex
	Image       string `json:"image"`   // path; empty where an enclave's bundle is made of the program
	ImageDigest string `json:"image_digest"`
}

// measuredMax bounds the file that remembers a measurement, in bytes: two paths' worth.
const measuredMax = 2 * pathMax

// measure returns the digest of the program and, where a plain sandbox is to run, an image with
// nothing else in it, from what the last start remembered where the program is still the same.
func (c *cells) measure(ctx context.Context) (measured, error) {
	now, err := identify(c.program)
	if err != nil {
		return now, err
	}
	var last measured
	data, err := vfs.ReadWhole(vfs.OS{}, c.memory, measuredMax)
	if err == nil && json.Unmarshal(data, &last) == nil && last.same(now) &&
		(c.enclaves != nil || last.Image != "") {
		return last, nil
	}
	if now.Program, err = programDigest(c.program); err != nil {
		return now, err
	}
	if c.enclaves == nil {
		if err := c.draw(ctx, &now); err != nil {
			return now, err
		}
	}
	if data, err = json.Marshal(&now); err != nil {
		return now, errs.As(errs.Internal, err, "node.measure")
	}
	return now, vfs.WriteWhole(vfs.OS{}, c.memory, data)
}

// draw makes the image of the program.
func (c *cells) draw(ctx context.Context, of *measured) error {
	if err := c.node.room(of.Size); err != nil {
		return err
	}
	store, err := image.Open(c.host.Root())
	if err != nil {
		return err
	}
	made, err := store.Add(ctx, image.Source{Kind: image.Program, Where: c.link}, "scorer")
	of.Image, of.ImageDigest = made.Path, made.Digest
	return err
}

// same reports whether the program is the one of now, and its image, where one was made, still there.
func (m measured) same(now measured) bool {
	if m.Device != now.Device || m.Inode != now.Inode || m.Size != now.Size ||
		m.Changed != now.Changed || m.Program == "" {
		return false
	}
	if m.Image == "" {
		return true
	}
	_, err := os.Stat(m.Image)
	return err == nil
}

// identify returns what tells one program from another without reading it.
func identify(path string) (measured, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return measured{}, errs.As(errs.Unavailable, err, "node.measure: %s", path)
	}
	return measured{Device: stat.Dev, Inode: stat.Ino, Size: stat.Size,
		Changed: stat.Ctim.Nano()}, nil
}

// programDigest is the SHA-256 of a file, as policies write it.
func programDigest(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", errs.As(errs.Unavailable, err, "node.measure")
	}
	sum := sha256.New()
	_, err = io.Copy(sum, file)
	err = errors.Join(err, file.Close())
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), errs.As(errs.Unavailable, err, "node.measure")
}

// roomKept is how much has to stay free on the disk of the data directory beside a file that a start
// makes for a sandbox: a log or a journal that finds no room stops for good, and no image is worth it.
const roomKept = 64 << 20

// room refuses to make a file of a size, kind NoSpace, where the disk would be near full with it.
func (n *Node) room(bytes int64) error {
	var disk unix.Statfs_t
	if err := unix.Statfs(n.config.DataDir, &disk); err != nil {
		return errs.As(errs.Unavailable, err, "node.room")
	}
	free := int64(disk.Bavail) * disk.Bsize
	if free < bytes+roomKept {
		return errs.New(errs.NoSpace, "%s has %d MiB free, and the scorer's image takes %d MiB beside %d "+
			"MiB that are kept free", n.config.DataDir, free>>20, bytes>>20, roomKept>>20)
	}
	return nil
}
