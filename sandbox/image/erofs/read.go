package erofs

import (
	"bytes"
	"io"

	"surety/base/errs"
)

// Reader reads an image. It takes the plain subset of the format: blocks of 4096 bytes, contents
// in one piece, with or without the tail packed beside the inode.
type Reader struct {
	r      io.ReaderAt
	blocks uint64
	meta   uint64 // where inode number 0 would be, in bytes
	inodes uint64 // as the superblock counts them
	root   uint64
}

// Inode is what an image says of a file.
type Inode struct {
	Mode     uint16
	UID, GID uint32
	Seconds  int64
	Nanos    uint32
	Links    uint32
	Size     uint64 // of content, target or entries, in bytes
	Device   uint32
	Number   uint64 // two names of one file have the same

	at   uint64 // where what is stored begins
	tail uint64 // where its last, packed part begins; 0: none is
}

// Is reports whether the inode is of the type.
func (i *Inode) Is(kind uint16) bool { return i.Mode&TypeMask == kind }

// Open reads the superblock of an image of size bytes. Kind Corrupt where it is no image, was
// damaged, or is shorter than it says; Invalid where it uses what this package does not read.
func Open(r io.ReaderAt, size int64) (*Reader, error) {
	if size < BlockBytes {
		return nil, errs.New(errs.Corrupt, "erofs.open: %d bytes are less than a block", size)
	}
	block := make([]byte, BlockBytes)
	if _, err := r.ReadAt(block, 0); err != nil {
		return nil, errs.Wrap(err, "erofs.open: read the first block")
	}
	b := block[superOffset:]
	if order.Uint32(b) != magic {
		return nil, errs.New(errs.Corrupt, "erofs.open: magic %#x, want %#x", order.Uint32(b), magic)
	}
	if b[12] != blockBits {
		return nil, errs.New(errs.Invalid, "erofs.open: blocks of 2^%d bytes, want 2^%d", b[12], blockBits)
	}
	if order.Uint32(b[8:])&featureChecked != 0 {
		want := order.Uint32(b[4:])
		clear(b[4:8])
		if got := checksum(b); got != want {
			return nil, errs.New(errs.Corrupt, "erofs.open: checksum %#x, want %#x", got, want)
		}
	}
	if features := order.Uint32(b[80:]); features != 0 {
		return nil, errs.New(errs.Invalid, "erofs.open: features %#x, which are not read", features)
	}
	e := &Reader{r: r, root: uint64(order.Uint16(b[14:])), inodes: order.Uint64(b[16:]),
		blocks: uint64(order.Uint32(b[36:])), meta: uint64(order.Uint32(b[40:])) * BlockBytes}
	if e.blocks*BlockBytes > uint64(size) {
		return nil, errs.New(errs.Corrupt, "erofs.open: %d blocks in %d bytes", e.blocks, size)
	}
	return e, nil
}

// Root returns the root directory's inode.
func (e *Reader) Root() (Inode, error) { return e.inode(e.root) }

// read returns n bytes at an offset, kind Corrupt where they are not within the image.
func (e *Reader) read(at, n uint64) ([]byte, error) {
	end := e.blocks * BlockBytes
	if at > end || n > end-at {
		return nil, errs.New(errs.Corrupt, "erofs.read: %d bytes at %d of an image of %d", n, at, end)
	}
	b := make([]byte, n)
	if _, err := e.r.ReadAt(b, int64(at)); err != nil && err != io.EOF {
		return nil, errs.Wrap(err, "erofs.read: %d bytes at %d", n, at)
	}
	return b, nil
}

func (e *Reader) inode(number uint64) (Inode, error) {
	if number > e.blocks*(BlockBytes/slotBytes) {
		return Inode{}, errs.New(errs.Corrupt, "erofs.inode: number %d of an image of %d blocks", number,
			e.blocks)
	}
	at := e.meta + number*slotBytes
	b, err := e.read(at, compactBytes)
	if err != nil {
		return Inode{}, err
	}
	format := order.Uint16(b)
	size := uint64(compactBytes)
	if format&formatExtended != 0 {
		size = inodeBytes
		if b, err = e.read(at, size); err != nil {
			return Inode{}, err
		}
	}
	i := decodeInode(b)
	i.Number = number
	if order.Uint16(b[2:]) != 0 {
		return i, errs.New(errs.Invalid, "erofs.inode: %d has extended attributes", number)
	}
	return i, e.locate(&i, format>>1&7, at+size)
}

func decodeInode(b []byte) Inode {
	i := Inode{Mode: order.Uint16(b[4:])}
	block := order.Uint32(b[16:])
	if len(b) == inodeBytes {
		i.Size = order.Uint64(b[8:])
		i.UID, i.GID = order.Uint32(b[24:]), order.Uint32(b[28:])
		i.Seconds, i.Nanos = int64(order.Uint64(b[32:])), order.Uint32(b[40:])
		i.Links = order.Uint32(b[44:])
	} else {
		i.Links = uint32(order.Uint16(b[6:]))
		i.Size = uint64(order.Uint32(b[8:]))
		i.UID, i.GID = uint32(order.Uint16(b[24:])), uint32(order.Uint16(b[26:]))
	}
	if i.Is(Character) || i.Is(Block) {
		i.Device = block
	} else {
		i.at = uint64(block) * BlockBytes
	}
	return i
}

// locate checks that what the inode stores lies within the image. after is where the inode ends.
func (e *Reader) locate(i *Inode, layout uint16, after uint64) error {
	if direntType(i.Mode) == 0 {
		return errs.New(errs.Corrupt, "erofs.inode: %d has mode %o, which is of no type", i.Number, i.Mode)
	}
	if !i.Is(Regular) && !i.Is(Directory) && !i.Is(Symlink) || i.Size == 0 {
		return nil
	}
	whole := i.Size
	switch layout {
	case 0:
	case 2:
		whole = i.Size / BlockBytes * BlockBytes
		i.tail = after
		if rest := i.Size - whole; rest == 0 || after%BlockBytes+rest > BlockBytes {
			return errs.New(errs.Corrupt, "erofs.inode: the packed tail of %d crosses a block", i.Number)
		}
	default:
		return errs.New(errs.Invalid, "erofs.inode: %d has layout %d, which is not read", i.Number, layout)
	}
	end := e.blocks * BlockBytes
	if whole > 0 && (i.at > end || whole > end-i.at) {
		return errs.New(errs.Corrupt, "erofs.inode: %d has %d bytes at %d of an image of %d", i.Number,
			whole, i.at, end)
	}
	return nil
}

// Content returns what an inode stores: a file's bytes. It may be read from many goroutines.
func (e *Reader) Content(i Inode) *io.SectionReader {
	if i.tail != 0 {
		return io.NewSectionReader(&split{e.r, i}, 0, int64(i.Size))
	}
	return io.NewSectionReader(e.r, int64(i.at), int64(i.Size))
}

// split reads a content whose tail is packed.
type split struct {
	r io.ReaderAt
	i Inode
}

func (s *split) ReadAt(p []byte, at int64) (int, error) {
	whole := int64(s.i.Size / BlockBytes * BlockBytes)
	if at >= whole {
		return s.r.ReadAt(p, int64(s.i.tail)+at-whole)
	}
	if at+int64(len(p)) <= whole {
		return s.r.ReadAt(p, int64(s.i.at)+at)
	}
	n, err := s.r.ReadAt(p[:whole-at], int64(s.i.at)+at)
	if err != nil {
		return n, err
	}
	m, err := s.r.ReadAt(p[n:], int64(s.i.tail))
	return n + m, err
}

// Entry is a name in a directory.
type Entry struct {
	Name string
	kind uint8
	nid  uint64
}

// Entries returns a directory's entries in the order of their names, without "." and "..". Kind
// Corrupt where they are out of order or no names.
func (e *Reader) Entries(dir Inode) ([]Entry, error) {
	all, err := e.entries(dir)
	if err != nil {
		return nil, err
	}
	kept := all[:0]
	for _, entry := range all {
		if entry.Name != "." && entry.Name != ".." {
			kept = append(kept, entry)
		}
	}
	return kept, nil
}

// entries returns all of a directory's entries.
func (e *Reader) entries(dir Inode) ([]Entry, error) {
	if !dir.Is(Directory) {
		return nil, errs.New(errs.Invalid, "erofs.entries: inode %d is not a directory", dir.Number)
	}
	if dir.Size > maxDirectory {
		return nil, errs.New(errs.TooLarge, "erofs.entries: directory %d has %d bytes, the limit is %d",
			dir.Number, dir.Size, uint64(maxDirectory))
	}
	var all []Entry
	content := e.Content(dir)
	block := make([]byte, BlockBytes)
	for at := int64(0); at < int64(dir.Size); at += BlockBytes {
		used := block[:min(BlockBytes, int64(dir.Size)-at)]
		if _, err := content.ReadAt(used, at); err != nil && err != io.EOF {
			return nil, errs.Wrap(err, "erofs.entries: directory %d at %d", dir.Number, at)
		}
		var ok bool
		if all, ok = appendEntries(all, used); !ok {
			return nil, errs.New(errs.Corrupt, "erofs.entries: directory %d is damaged at byte %d",
				dir.Number, at)
		}
	}
	return all, nil
}

// appendEntries decodes one block; not ok where it is damaged.
func appendEntries(all []Entry, block []byte) (_ []Entry, ok bool) {
	if len(block) < direntBytes {
		return nil, false
	}
	first := int(order.Uint16(block[8:]))
	if first < direntBytes || first%direntBytes != 0 || first >= len(block) {
		return nil, false
	}
	for at := 0; at < first; at += direntBytes {
		begin, end := int(order.Uint16(block[at+8:])), len(block)
		if at+direntBytes < first {
			end = int(order.Uint16(block[at+direntBytes+8:]))
		}
		if begin < first || begin >= end || end > len(block) {
			return nil, false
		}
		name := block[begin:end]
		if at+direntBytes == first {
			name, _, _ = bytes.Cut(name, []byte{0})
		}
		entry := Entry{Name: string(name), kind: block[at+10], nid: order.Uint64(block[at:])}
		dots := entry.Name == "." || entry.Name == ".."
		if checkName(entry.Name) != nil && !dots {
			return nil, false
		}
		if len(all) > 0 && all[len(all)-1].Name >= entry.Name {
			return nil, false
		}
		all = append(all, entry)
	}
	return all, true
}

// Inode returns what an entry names.
func (e *Reader) Inode(entry Entry) (Inode, error) {
	i, err := e.inode(entry.nid)
	if err == nil && direntType(i.Mode) != entry.kind {
		err = errs.New(errs.Corrupt, "erofs.inode: the entry %q is of type %d and its inode has mode %o",
			entry.Name, entry.kind, i.Mode)
	}
	return i, err
}
