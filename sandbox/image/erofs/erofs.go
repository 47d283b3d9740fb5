// Package erofs writes and reads file-system images in the EROFS format, in the plain subset that
// our kernel maps into programs without a copy.
//
// Think of an image as a function of a tree: Plan walks the tree of Nodes once, in the order of
// names, and gives every inode and every byte of content its place; Write then streams the image
// from its first byte to its last. Nothing else goes in: no time of building, no random identifier,
// no order of a map. Two trees that say the same give the same bytes, so a digest of the image is
// a digest of the tree.
//
// An image is: 1024 zero bytes, the superblock, one 64-byte inode for each node, then, each from a
// block's beginning, the entries of directories and targets of symbolic links, then the contents
// of files. Files are stored whole, neither compressed nor with their tails packed beside inodes:
// a page of a file is a page of the image.
//
// # Invariants
//
// Names in a directory, "." and ".." among them, stand in strict order of their bytes; readers
// search by halves. A node that has several names has one inode. Bytes that belong to nothing are
// zero.
//
// # Boundaries
//
// No compression, extended attributes, chunks, or several devices: the kernel inside refuses them.
// A Reader refuses images that have them, and takes every other image, whoever wrote it: it
// believes no number it has not checked.
//
// # Concurrency
//
// A tree belongs to one goroutine while it is built, planned and written. A Reader may be used by
// many.
//
// # Sources
//
// Linux, Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h; gVisor, pkg/erofs, for what
// the kernel inside takes.
package erofs

import (
	"encoding/binary"
	"hash/crc32"
)

// The format's numbers.
const (
	magic        = 0xe0f5e1e2
	superOffset  = 1024
	superBytes   = 128
	inodeBytes   = 64 // the extended form, which has room for times and for 32 bits of owner
	compactBytes = 32
	slotBytes    = 32 // inode numbers count these
	direntBytes  = 12

	// BlockBytes is the size of a block, and that of a page: contents can be mapped only so.
	BlockBytes = 4096
	blockBits  = 12

	formatExtended = 1      // bit 0 of an inode's format
	featureChecked = 1 << 0 // the superblock has a checksum
	firstInode     = superOffset + superBytes
)

// Bits of a mode, as in stat(2).
const (
	TypeMask  = 0o170000
	Socket    = 0o140000
	Symlink   = 0o120000
	Regular   = 0o100000
	Block     = 0o060000
	Directory = 0o040000
	Character = 0o020000
	FIFO      = 0o010000
	PermMask  = 0o007777 // permissions, setuid, setgid and sticky
)

// direntType returns what a directory entry says of a mode's type; 0 where there is no such type.
func direntType(mode uint16) uint8 {
	switch mode & TypeMask {
	case Regular:
		return 1
	case Directory:
		return 2
	case Character:
		return 3
	case Block:
		return 4
	case FIFO:
		return 5
	case Socket:
		return 6
	case Symlink:
		return 7
	}
	return 0
}

// checksum returns that of the superblock's block from the superblock on, whose own field must be
// zero: CRC-32C as the kernel has it, without the last inversion.
func checksum(block []byte) uint32 {
	return ^crc32.Checksum(block, crc32.MakeTable(crc32.Castagnoli))
}

// blocks returns how many blocks n bytes take.
func blocks(n uint64) uint64 { return (n + BlockBytes - 1) / BlockBytes }

// DeviceNumber returns a device's number as images and stat(2) have it: the low eight bits of
// minor, twelve of major, then the rest of minor.
func DeviceNumber(major, minor uint32) uint32 {
	return minor&0xff | major&0xfff<<8 | minor&^0xff<<12
}

var order = binary.LittleEndian
