package vm

import (
	"fmt"
	"io"

	"surety/base/errs"
)

// Modes of an archive's entries, as stat has them.
const (
	modeDir  = 0o040755
	modeFile = 0o100644
	modeExec = 0o100755
	modeChar = 0o020600
)

// archive writes the cpio form that the kernel unpacks as its first file system ("newc"). Equal
// calls write equal bytes: owner, times and inode numbers are the archive's own.
//
// Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
type archive struct {
	to    io.Writer
	at    int64
	inode uint32
	err   error
}

// entry is one file of an archive. Content is size bytes; a directory or a node has none.
type entry struct {
	name         string // relative, as "lib/modules"
	mode         uint32
	size         int64
	content      io.Reader
	major, minor uint32 // of a device node
}

// newcMagic begins every entry.
const newcMagic = "070701"

// add writes one entry. The first error stands, and is returned by close.
func (a *archive) add(e entry) {
	if e.size >= 1<<32 {
		a.fail(errs.New(errs.TooLarge, "vm: %s is %d bytes, the archive takes less than %d", e.name,
			e.size, int64(1)<<32))
		return
	}
	a.inode++
	a.header(e, a.inode)
	if e.size > 0 {
		n, err := io.Copy(counted{a}, io.LimitReader(e.content, e.size))
		if err == nil && n != e.size {
			err = errs.New(errs.Corrupt, "vm: %s is %d bytes, not %d", e.name, n, e.size)
		}
		a.fail(err)
	}
	a.pad()
}

// header writes an entry's thirteen numbers and its name.
func (a *archive) header(e entry, inode uint32) {
	links := 1
	if e.mode&0o170000 == 0o040000 {
		links = 2
	}
	fields := [...]uint32{
		inode, e.mode, 0, 0, uint32(links), 0, // inode, mode, uid, gid, links, mtime
		uint32(e.size), 0, 0, e.major, e.minor, uint32(len(e.name) + 1), 0,
	}
	text := newcMagic
	for _, f := range fields {
		text += fmt.Sprintf("%08X", f)
	}
	_, err := io.WriteString(counted{a}, text+e.name+"\x00")
	a.fail(err)
	a.pad()
}

// close writes the entry that ends an archive, and returns the first error of all.
func (a *archive) close() error {
	a.header(entry{name: "TRAILER!!!"}, 0)
	return a.err
}

// pad brings the archive to a multiple of four bytes.
func (a *archive) pad() {
	_, err := counted{a}.Write(make([]byte, -a.at&3))
	a.fail(err)
}

func (a *archive) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}

// counted writes to an archive that has not failed yet.
type counted struct{ a *archive }

func (c counted) Write(p []byte) (int, error) {
	if c.a.err != nil {
		return 0, c.a.err
	}
	n, err := c.a.to.Write(p)
	c.a.at += int64(n)
	return n, err
}
