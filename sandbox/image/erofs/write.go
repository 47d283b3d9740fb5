package erofs

import (
	"context"
	"errors"
	"io"

	"surety/base/errs"
)

// Write streams the image to w from its first byte to its last, Size bytes in all. advanced, where
// it is not nil, is told the bytes written so far, about once a mebibyte. After an error w has an
// unknown part of the image. Kind Corrupt where a file's content is not as long as its node says.
func (p *Plan) Write(ctx context.Context, w io.Writer, advanced func(done int64)) error {
	s := &stream{stopped: ctx.Err, w: w, advanced: advanced, buffer: make([]byte, 0, streamBytes)}
	p.inodes(s)
	for _, n := range p.nodes {
		switch n.Mode & TypeMask {
		case Directory:
			s.directory(n)
		case Symlink:
			s.bytes([]byte(n.Target))
			s.pad()
		}
	}
	for _, n := range p.nodes {
		if n.Is(Regular) && n.Size > 0 {
			s.content(n)
		}
	}
	s.flush()
	if s.err == nil && uint64(s.done) != p.bytes {
		return errs.New(errs.Internal, "erofs.write: wrote %d bytes, planned %d", s.done, p.bytes)
	}
	return s.err
}

// inodes writes all before the first directory: the superblock and the inodes.
func (p *Plan) inodes(s *stream) {
	s.bytes(make([]byte, superOffset))
	s.bytes(p.super())
	for i, n := range p.nodes {
		s.bytes(encodeInode(n))
		if len(s.buffer) >= BlockBytes && !s.checked || i == len(p.nodes)-1 {
			s.seal()
		}
	}
	s.pad()
}

// super returns the superblock, its checksum zero.
func (p *Plan) super() []byte {
	b := make([]byte, superBytes)
	order.PutUint32(b[0:], magic)
	order.PutUint32(b[8:], featureChecked)
	b[12] = blockBits
	order.PutUint16(b[14:], firstInode/slotBytes) // the root is the first inode
	order.PutUint64(b[16:], uint64(len(p.nodes)))
	order.PutUint32(b[36:], uint32(p.bytes/BlockBytes))
	return b
}

func encodeInode(n *Node) []byte {
	b := make([]byte, inodeBytes)
	order.PutUint16(b[0:], formatExtended)
	order.PutUint16(b[4:], n.Mode)
	order.PutUint64(b[8:], n.place.size)
	block := uint32(n.place.block)
	if n.Is(Character) || n.Is(Block) {
		block = n.Device
	}
	order.PutUint32(b[16:], block)
	order.PutUint32(b[20:], n.place.index+1)
	order.PutUint32(b[24:], n.UID)
	order.PutUint32(b[28:], n.GID)
	order.PutUint64(b[32:], uint64(n.Seconds))
	order.PutUint32(b[40:], n.Nanos)
	order.PutUint32(b[44:], n.place.links)
	return b
}

// stream gathers bytes and writes them in large pieces. After an error it takes bytes and does
// nothing.
type stream struct {
	stopped  func() error // the error of the writer's context
	w        io.Writer
	advanced func(int64)
	buffer   []byte // not yet written
	done     int64  // written
	checked  bool   // the superblock has its checksum
	err      error
}

// seal completes the first block and gives the superblock its checksum. The first block is still
// in the buffer: it is the smaller.
func (s *stream) seal() {
	if s.checked || s.err != nil {
		return
	}
	s.checked = true
	block := make([]byte, BlockBytes)
	copy(block, s.buffer)
	order.PutUint32(s.buffer[superOffset+4:], checksum(block[superOffset:]))
}

func (s *stream) bytes(b []byte) {
	for len(b) > 0 && s.err == nil {
		n := copy(s.buffer[len(s.buffer):cap(s.buffer)], b)
		s.buffer = s.buffer[:len(s.buffer)+n]
		b = b[n:]
		s.spill()
	}
}

// spill writes the buffer if it is full.
func (s *stream) spill() {
	if len(s.buffer) == cap(s.buffer) {
		s.flush()
	}
}

func (s *stream) flush() {
	if s.err != nil || len(s.buffer) == 0 {
		return
	}
	if err := s.stopped(); err != nil {
		s.err = errs.As(errs.Canceled, err, "erofs.write: at byte %d", s.done)
		return
	}
	if _, err := s.w.Write(s.buffer); err != nil {
		s.err = errs.Wrap(err, "erofs.write: at byte %d", s.done)
		return
	}
	s.done += int64(len(s.buffer))
	s.buffer = s.buffer[:0]
	if s.advanced != nil {
		s.advanced(s.done)
	}
}

// pad fills the last block with zeros. The buffer is a whole number of blocks, so that what is in
// it ends where the image's block ends.
func (s *stream) pad() {
	if rest := len(s.buffer) % BlockBytes; rest != 0 {
		end := len(s.buffer) + BlockBytes - rest
		clear(s.buffer[len(s.buffer):end])
		s.buffer = s.buffer[:end]
		s.spill()
	}
}

// directory writes a directory's entries: each block has its entries' heads, then their names.
func (s *stream) directory(n *Node) {
	names := withDots(n.Names())
	for len(names) > 0 {
		fit, used := 0, 0
		for fit < len(names) && used+direntBytes+len(names[fit]) <= BlockBytes {
			used += direntBytes + len(names[fit])
			fit++
		}
		at := fit * direntBytes
		for _, name := range names[:fit] {
			s.dirent(n, name, at)
			at += len(name)
		}
		for _, name := range names[:fit] {
			s.bytes([]byte(name))
		}
		s.pad()
		names = names[fit:]
	}
}

func (s *stream) dirent(dir *Node, name string, nameOffset int) {
	child := dir.children[name]
	switch name {
	case ".":
		child = dir
	case "..":
		child = dir.place.parent
	}
	var b [direntBytes]byte
	order.PutUint64(b[0:], child.place.nid())
	order.PutUint16(b[8:], uint16(nameOffset))
	b[10] = direntType(child.Mode)
	s.bytes(b[:])
}

// content copies a file into the image.
func (s *stream) content(n *Node) {
	if s.err != nil {
		return
	}
	r, err := n.Content.Open()
	if err != nil {
		s.err = err
		return
	}
	s.copy(r, n.Size)
	if err := r.Close(); err != nil && s.err == nil {
		s.err = errs.Wrap(err, "erofs.write: close a file of %d bytes", n.Size)
	}
	s.pad()
}

func (s *stream) copy(r io.Reader, size uint64) {
	for left := size; left > 0 && s.err == nil; {
		room := s.buffer[len(s.buffer):cap(s.buffer)]
		n, err := r.Read(room[:min(uint64(len(room)), left)])
		s.buffer = s.buffer[:len(s.buffer)+n]
		left -= uint64(n)
		s.spill()
		if err != nil && left > 0 && s.err == nil {
			s.err = short(err, size, left)
		}
	}
	var beyond [1]byte
	if s.err != nil {
		return
	}
	if n, _ := io.ReadFull(r, beyond[:]); n > 0 {
		s.err = errs.New(errs.Corrupt, "erofs.write: a file of %d bytes has grown since", size)
	}
}

func short(err error, size, left uint64) error {
	if errors.Is(err, io.EOF) {
		return errs.New(errs.Corrupt, "erofs.write: a file of %d bytes ends after %d", size, size-left)
	}
	return errs.Wrap(err, "erofs.write: a file of %d bytes at byte %d", size, size-left)
}
