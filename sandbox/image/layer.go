package image

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"surety/base/errs"
	"surety/sandbox/image/erofs"
)

// Names with a meaning of their own in a layer.
const (
	whiteoutPrefix = ".wh."
	whiteoutMeta   = ".wh..wh." // of one storage driver; only opaque means something elsewhere
	opaqueMarker   = ".wh..wh..opq"
)

// entry is one file of a layer: what its header says, and where its content lies.
type entry struct {
	path  string   // clean, "" for the root
	names []string // of path
	node  *erofs.Node
	link  string // of a hard link: the clean path it leads to
}

// layer is a layer that has been read and not yet laid over others.
type layer struct {
	info    LayerInfo
	spool   *spool
	entries []entry // sorted by path, name by name
	gone    []entry // paths that the layers below lose
	opaque  []entry // directories whose contents the layers below lose
	dropped Dropped
}

func (l *layer) close() error { return l.spool.Close() }

// layerReader reads the entries of one layer's tar.
type layerReader struct {
	layer    *layer
	options  Options
	entries  *budget
	contents *budget
}

// budget is what all layers together may still use; several are read at the same time.
type budget struct {
	what string
	of   int64
	used atomic.Int64
}

// spend takes n, kind TooLarge where not so much is left.
func (b *budget) spend(n int64) error {
	if b.used.Add(n) > b.of {
		return errs.New(errs.TooLarge, "all layers together have more than %d %s, which is the limit",
			b.of, b.what)
	}
	return nil
}

// read takes every entry of the tar. The error names the entry that is refused.
func (r *layerReader) read(ctx context.Context, plain io.Reader) error {
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return tarError(err)
		}
		if err := ctx.Err(); err != nil {
			return errs.As(errs.Canceled, err, "stopped")
		}
		if err := r.entry(header, archive); err != nil {
			return errs.Wrap(err, "entry %.300q", header.Name)
		}
	}
	return r.layer.sort()
}

// tarError gives an error of the tar reader its kind: what the unpacker says of itself stays.
func tarError(err error) error {
	var typed *errs.Error
	if errors.As(err, &typed) {
		return err
	}
	return errs.As(errs.Invalid, err, "tar")
}

func (r *layerReader) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // of the archive, not of a file
	}
	if err := r.entries.spend(1); err != nil {
		return err
	}
	names, err := cleanPath(h.Name)
	if err != nil {
		return err
	}
	e := entry{path: strings.Join(names, "/"), names: names}
	if len(names) > 0 {
		if base := names[len(names)-1]; strings.HasPrefix(base, whiteoutPrefix) {
			return r.whiteout(e, base)
		}
	}
	if e.node, err = r.node(h); err != nil || e.node == nil {
		return err
	}
	if h.Typeflag == tar.TypeLink {
		return r.hardLink(e, h)
	}
	if len(names) == 0 && !e.node.Is(erofs.Directory) {
		return errs.New(errs.Invalid, "the root is not a directory")
	}
	if e.node.Is(erofs.Regular) {
		if err := r.content(e.node, h, content); err != nil {
			return err
		}
	}
	r.layer.entries = append(r.layer.entries, e)
	return nil
}

// cleanPath takes a name apart. It refuses names that would lead out of the layer: absolute ones,
// and those with "..", even where they would come back.
func cleanPath(name string) ([]string, error) {
	switch {
	case strings.HasPrefix(name, "/") && strings.Trim(name, "/") != "":
		return nil, errs.New(errs.Invalid, "an absolute path")
	case len(name) > erofs.MaxPath:
		return nil, errs.New(errs.TooLarge, "the path has %d bytes, the limit is %d", len(name),
			erofs.MaxPath)
	case strings.Contains(name, "\x00"):
		return nil, errs.New(errs.Invalid, "a zero byte in the path")
	}
	var names []string
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "" || part == ".":
		case part == "..":
			return nil, errs.New(errs.Invalid, "a path with \"..\"")
		case len(part) > erofs.MaxName:
			return nil, errs.New(errs.TooLarge, "a name of %d bytes, the limit is %d", len(part),
				erofs.MaxName)
		default:
			names = append(names, part)
		}
	}
	return names, nil
}

// whiteout notes what the layers below lose.
func (r *layerReader) whiteout(e entry, base string) error {
	parent := e.names[:len(e.names)-1]
	switch name := strings.TrimPrefix(base, whiteoutPrefix); {
	case base == opaqueMarker:
		r.layer.opaque = append(r.layer.opaque, entry{path: strings.Join(parent, "/"), names: parent})
	case strings.HasPrefix(base, whiteoutMeta):
		// Bookkeeping of a storage driver.
	case name == "" || name == "." || name == "..":
		return errs.New(errs.Invalid, "a whiteout of no file")
	default:
		names := append(slices.Clone(parent), name)
		r.layer.gone = append(r.layer.gone, entry{path: strings.Join(names, "/"), names: names})
	}
	return nil
}

// node returns what the header says of a file, without its content; nil for one that is left out.
func (r *layerReader) node(h *tar.Header) (*erofs.Node, error) {
	kind, err := typeOf(h.Typeflag)
	if err != nil {
		return nil, err
	}
	n := &erofs.Node{Mode: kind | uint16(h.Mode&erofs.PermMask)}
	if h.Mode < 0 || h.Uid < 0 || h.Gid < 0 || int64(h.Uid) > maxOwner || int64(h.Gid) > maxOwner {
		return nil, errs.New(errs.Invalid, "mode %o, owner %d:%d", h.Mode, h.Uid, h.Gid)
	}
	n.UID, n.GID = uint32(h.Uid), uint32(h.Gid)
	if s := h.ModTime.Unix(); s > 0 {
		n.Seconds, n.Nanos = s, uint32(h.ModTime.Nanosecond())
	}
	r.options.change(n)
	if sparse := r.extras(h); sparse {
		return nil, errs.New(errs.Invalid, "a sparse file")
	}
	switch kind {
	case erofs.Symlink:
		n.Mode = kind | 0o777
		n.Target = h.Linkname
		if n.Target == "" || len(n.Target) > erofs.MaxTarget {
			return nil, errs.New(errs.Invalid, "a symbolic link to %d bytes, want 1 to %d", len(n.Target),
				erofs.MaxTarget)
		}
	case erofs.Character, erofs.Block:
		n.Device = erofs.DeviceNumber(uint32(h.Devmajor), uint32(h.Devminor))
		return r.device(n, h)
	}
	return n, nil
}

// extras counts a file's extended attributes, and reports whether it is sparse: a few bytes of such
// a file claim to be many, so it would pass by the limits.
func (r *layerReader) extras(h *tar.Header) (sparse bool) {
	attributes := 0
	for key := range h.PAXRecords {
		switch {
		case strings.HasPrefix(key, "SCHILY.xattr."), strings.HasPrefix(key, "LIBARCHIVE.xattr."):
			attributes++
		case strings.HasPrefix(key, "GNU.sparse."):
			sparse = true
		}
	}
	if attributes > 0 {
		r.layer.dropped.add(&r.layer.dropped.Attributes, h.Name, "extended attributes")
	}
	return sparse
}

// maxOwner is the greatest user or group; the one after it means "nobody at all" to chown(2).
const maxOwner = 1<<32 - 2

// typeOf returns the type of file of a header's flag.
func typeOf(flag byte) (uint16, error) {
	switch flag {
	case tar.TypeReg, 0, tar.TypeCont, tar.TypeLink: // 0 is what old archives have for TypeReg
		return erofs.Regular, nil
	case tar.TypeSymlink:
		return erofs.Symlink, nil
	case tar.TypeDir:
		return erofs.Directory, nil
	case tar.TypeChar:
		return erofs.Character, nil
	case tar.TypeBlock:
		return erofs.Block, nil
	case tar.TypeFifo:
		return erofs.FIFO, nil
	}
	return 0, errs.New(errs.Invalid, "type %q, which is not a file's", flag)
}

// device does with a device node what the options say.
func (r *layerReader) device(n *erofs.Node, h *tar.Header) (*erofs.Node, error) {
	what := "a device node"
	switch r.options.Devices {
	case KeepDevices:
		return n, nil
	case DropDevices:
		r.layer.dropped.add(&r.layer.dropped.Devices, h.Name, what)
		return nil, nil
	}
	return nil, errs.New(errs.Refused, "%s, %d:%d; add it with devices dropped or kept", what,
		h.Devmajor, h.Devminor)
}

// hardLink notes a second name of a file.
func (r *layerReader) hardLink(e entry, h *tar.Header) error {
	target, err := cleanPath(h.Linkname)
	if err != nil {
		return errs.Wrap(err, "its target %.300q", h.Linkname)
	}
	if len(target) == 0 || len(e.names) == 0 {
		return errs.New(errs.Invalid, "a hard link of or to the root")
	}
	e.node, e.link = nil, strings.Join(target, "/")
	r.layer.entries = append(r.layer.entries, e)
	return nil
}

// content moves a file's bytes into the layer's spool.
func (r *layerReader) content(n *erofs.Node, h *tar.Header, content io.Reader) error {
	if h.Size == 0 {
		return nil
	}
	if err := r.contents.spend(h.Size); err != nil {
		return err
	}
	s := r.layer.spool
	at := s.size
	if _, err := io.CopyN(s, content, h.Size); err != nil {
		return tarError(err)
	}
	n.Size, n.Content = uint64(h.Size), section{s, at, h.Size}
	return nil
}

// sort puts the entries into the order in which they are applied: a directory before what it
// holds, whatever order the archive had them in. Two entries of one path are refused, unless both
// are directories: then the later one holds.
func (l *layer) sort() error {
	slices.SortStableFunc(l.entries, func(a, b entry) int { return slices.Compare(a.names, b.names) })
	kept := l.entries[:0]
	for _, e := range l.entries {
		if len(kept) > 0 && kept[len(kept)-1].path == e.path {
			before := kept[len(kept)-1]
			if before.link != "" || e.link != "" || !before.node.Is(erofs.Directory) ||
				!e.node.Is(erofs.Directory) {
				return errs.New(errs.Invalid, "entry %q: it is there twice", e.path)
			}
			kept = kept[:len(kept)-1]
		}
		kept = append(kept, e)
	}
	l.entries = kept
	return nil
}

// change does with a file's owner and time what the options say.
func (o Options) change(n *erofs.Node) {
	if o.ZeroTime {
		n.Seconds, n.Nanos = 0, 0
	}
	if o.RootOwns {
		n.UID, n.GID = 0, 0
	}
}
