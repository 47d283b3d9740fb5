package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/layer"
	"surety/sandbox/image/erofs"
)

// FileDifference is one thing about one file that two layers have differently.
type FileDifference struct {
	Layer  string `json:"layer"`
	Path   string `json:"path"`
	What   string `json:"what"`   // added, removed, type, mode, owner, time, size, content, target or device
	Before string `json:"before"` // empty: absent, or a content
	After  string `json:"after"`
}

// Comparison says why two bundles have different measurements.
type Comparison struct {
	Before enclave.Digest `json:"before"`
	After  enclave.Digest `json:"after"`
	// Signers that differ do not change the measurement; they are nil where they are the same.
	Signers []enclave.KeyID      `json:"signers,omitempty"`
	Fields  []enclave.Difference `json:"fields"`
	Files   []FileDifference     `json:"files"`
	More    int                  `json:"more,omitempty"` // files that differ and are not listed
	// Sealed are secret layers that differ and whose keys are not given, or others: what is in them is
	// not shown.
	Sealed []string `json:"sealed,omitempty"`
	// Resealed are secret layers that hold the same files under another id or key.
	Resealed []string `json:"resealed,omitempty"`
}

// Same reports whether the measurements are equal.
func (c *Comparison) Same() bool { return c.Before == c.After }

// Compare says what differs between two bundles: fields of their manifests, and files of their
// layers. Layers are opened with the keys that are given for each side, by name. It reads the layers
// of both that differ, and believes their bytes: Verify says whether they are what is measured.
func Compare(ctx context.Context, before, after *Bundle, keysBefore, keysAfter map[string]layer.Key) (
	*Comparison, error) {
	old, now := before.signed, after.signed
	c := &Comparison{Before: old.Measure, After: now.Measure,
		Fields: enclave.Diff(old.Manifest, now.Manifest), Files: []FileDifference{}}
	if c.Fields == nil {
		c.Fields = []enclave.Difference{}
	}
	if old.Signer != now.Signer {
		c.Signers = []enclave.KeyID{old.Signer, now.Signer}
	}
	for i := range old.Manifest.Layers {
		l := &old.Manifest.Layers[i]
		j := layerOf(after, l.Name)
		if j < 0 || now.Manifest.Layers[j].Kind != l.Kind || !differ(l, &now.Manifest.Layers[j]) {
			continue
		}
		if err := c.layers(ctx, before, after, i, j, keysBefore, keysAfter); err != nil {
			return nil, errs.Wrap(err, "pack.compare: layer %s", l.Name)
		}
	}
	return c, nil
}

// differ reports whether two layers of a name hold different bytes.
func differ(a, b *enclave.Layer) bool {
	return a.Digest != b.Digest || a.ID != b.ID || a.Root != b.Root
}

// layers compares the files of two layers that are not the same bytes.
func (c *Comparison) layers(ctx context.Context, before, after *Bundle, i, j int,
	keysBefore, keysAfter map[string]layer.Key) error {
	l := &before.signed.Manifest.Layers[i]
	keyBefore, hasBefore := keysBefore[l.Name]
	keyAfter, hasAfter := keysAfter[l.Name]
	if l.Kind == enclave.Secret && (!hasBefore || !hasAfter) {
		c.Sealed = append(c.Sealed, l.Name)
		return nil
	}
	old, err := openLayer(before, i, keyBefore)
	if err != nil {
		return c.sealed(l.Name, err)
	}
	defer old.Close() // nothing was written
	now, err := openLayer(after, j, keyAfter)
	if err != nil {
		return c.sealed(l.Name, err)
	}
	defer now.Close() // nothing was written
	files := &treeDiff{ctx: ctx, layer: l.Name, old: old.Reader, now: now.Reader}
	if err := files.run(); err != nil {
		return err
	}
	if len(files.found) == 0 && l.Kind == enclave.Secret {
		c.Resealed = append(c.Resealed, l.Name)
	}
	room := min(len(files.found), maxListed-len(c.Files))
	c.Files = append(c.Files, files.found[:room]...)
	c.More += len(files.found) - room
	return nil
}

// sealed takes a key that is another layer's as one that is not there.
func (c *Comparison) sealed(name string, err error) error {
	if !errs.Is(err, errs.Unauthorized) {
		return err
	}
	c.Sealed = append(c.Sealed, name)
	return nil
}

// OpenLayer opens the file system of a layer, with its key where it is secret: for looking at it. The
// bytes of a public layer are not measured on the way.
func OpenLayer(b *Bundle, index int, key layer.Key) (*Files, error) { return openLayer(b, index, key) }

// Files is the file system of a layer.
type Files struct {
	*erofs.Reader
	close []io.Closer
}

// Close lets go of it.
func (f *Files) Close() error {
	var err error
	for _, c := range f.close {
		err = errors.Join(err, c.Close())
	}
	return err
}

func openLayer(b *Bundle, index int, key layer.Key) (*Files, error) {
	path, err := b.LayerPath(index)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(err, "open")
	}
	files, plain := &Files{close: []io.Closer{f}}, io.ReaderAt(f)
	l := &b.signed.Manifest.Layers[index]
	if l.Kind == enclave.Secret {
		r, err := layer.Open(f, LayerBytes(l), SealedOf(l), key)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		files.close, plain = []io.Closer{r, f}, r
	}
	if files.Reader, err = erofs.Open(plain, int64(l.Bytes)); err != nil {
		return nil, errors.Join(err, files.Close())
	}
	return files, nil
}

// treeDiff compares two file systems.
type treeDiff struct {
	ctx      context.Context
	layer    string
	old, now *erofs.Reader
	found    []FileDifference
}

func (d *treeDiff) add(path, what, before, after string) {
	if before != after || what == "content" {
		d.found = append(d.found, FileDifference{d.layer, "/" + path, what, before, after})
	}
}

func (d *treeDiff) run() error {
	was := map[string]erofs.Inode{}
	if err := d.old.Walk(func(path string, i erofs.Inode) error { was[path] = i; return nil }); err != nil {
		return err
	}
	err := d.now.Walk(func(path string, i erofs.Inode) error {
		if err := d.ctx.Err(); err != nil {
			return errs.As(errs.Canceled, err, "stopped at %s", path)
		}
		old, known := was[path]
		if !known {
			d.add(path, "added", "", shown(&i))
			return nil
		}
		delete(was, path)
		return d.file(path, &old, &i)
	})
	if err != nil {
		return err
	}
	for path, i := range was { // the list is sorted below
		d.add(path, "removed", shown(&i), "")
	}
	slices.SortStableFunc(d.found, func(a, b FileDifference) int { return strings.Compare(a.Path, b.Path) })
	return nil
}

// file compares two files of one path.
func (d *treeDiff) file(path string, old, now *erofs.Inode) error {
	if old.Mode&erofs.TypeMask != now.Mode&erofs.TypeMask {
		d.add(path, "type", sortOfFile(old), sortOfFile(now))
		return nil
	}
	d.add(path, "mode", octal(old), octal(now))
	d.add(path, "owner", fmt.Sprintf("%d:%d", old.UID, old.GID), fmt.Sprintf("%d:%d", now.UID, now.GID))
	d.add(path, "time", strconv.FormatInt(old.Seconds, 10), strconv.FormatInt(now.Seconds, 10))
	switch {
	case now.Is(erofs.Regular) && old.Size != now.Size:
		d.add(path, "size", strconv.FormatUint(old.Size, 10), strconv.FormatUint(now.Size, 10))
	case now.Is(erofs.Regular):
		same, err := sameContent(d.old.Content(*old), d.now.Content(*now))
		if err != nil {
			return errs.Wrap(err, "%s", path)
		}
		if !same {
			d.add(path, "content", "", "")
		}
	case now.Is(erofs.Symlink):
		before, err1 := d.old.Target(*old)
		after, err2 := d.now.Target(*now)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		d.add(path, "target", before, after)
	case now.Is(erofs.Character) || now.Is(erofs.Block):
		d.add(path, "device", strconv.Itoa(int(old.Device)), strconv.Itoa(int(now.Device)))
	}
	return nil
}

// shown says what a file is that only one side has.
func shown(i *erofs.Inode) string {
	if i.Is(erofs.Regular) {
		return fmt.Sprintf("%s of %d bytes, mode %s", sortOfFile(i), i.Size, octal(i))
	}
	return sortOfFile(i) + ", mode " + octal(i)
}

func octal(i *erofs.Inode) string { return fmt.Sprintf("%04o", i.Mode&erofs.PermMask) }

// sortOfFile names the type of a file.
func sortOfFile(i *erofs.Inode) string {
	switch i.Mode & erofs.TypeMask {
	case erofs.Regular:
		return "file"
	case erofs.Directory:
		return "directory"
	case erofs.Symlink:
		return "link"
	case erofs.FIFO:
		return "pipe"
	case erofs.Socket:
		return "socket"
	}
	return "device"
}

// sameContent compares two contents of one size.
func sameContent(a, b io.Reader) (bool, error) {
	one, two := make([]byte, 64<<10), make([]byte, 64<<10)
	defer clear(one)
	defer clear(two)
	for {
		n, err := io.ReadFull(a, one)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return false, err
		}
		if _, err := io.ReadFull(b, two[:n]); err != nil {
			return false, err
		}
		if !bytes.Equal(one[:n], two[:n]) {
			return false, nil
		}
		if n < len(one) {
			return true, nil
		}
	}
}
