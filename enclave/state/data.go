package state

import (
	"cmp"
	"context"
	"syscall"

	"surety/base/errs"
	"surety/sys/inode"
)

// Read implements inode.FS.
func (v *Volume) Read(number inode.Number, p []byte, offset uint64) (int, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	n, err := v.fileAt(number)
	if err != nil || offset >= n.size {
		return 0, err
	}
	p = p[:min(uint64(len(p)), n.size-offset)]
	for done := 0; done < len(p); {
		at := offset + uint64(done)
		index, within := at/chunkBytes, at%chunkBytes
		piece := p[done:min(uint64(len(p)), uint64(done)+chunkBytes-within)]
		content, err := v.content(n, index)
		if err != nil {
			return done, err
		}
		copied := 0
		if within < uint64(len(content)) {
			copied = copy(piece, content[within:])
		}
		clear(piece[copied:])
		done += len(piece)
	}
	return len(p), nil
}

func (v *Volume) fileAt(number inode.Number) (*node, error) {
	n, err := v.at(number)
	switch {
	case err != nil:
		return nil, err
	case n.isDir():
		return nil, syscall.EISDIR
	case !n.isFile():
		return nil, syscall.EINVAL
	}
	return n, nil
}

// content returns a chunk as far as it was ever written: what follows is zero. The caller does not
// change it. mu is held, for reading at least.
func (v *Volume) content(n *node, index uint64) ([]byte, error) {
	if newer, there := n.dirty[index]; there {
		return newer, nil
	}
	r, there := n.chunks[index]
	if !there {
		return nil, nil
	}
	if content := v.cache.get(r); content != nil {
		return content, nil
	}
	content, err := v.disk.fetch(r)
	if err == nil {
		v.cache.put(r, content)
	}
	return content, err
}

// length is what a chunk counts as stored.
func (n *node) length(index uint64) uint64 {
	if newer, there := n.dirty[index]; there {
		return uint64(len(newer))
	}
	return uint64(n.chunks[index].length)
}

// Write implements inode.FS. It waits for a commit where too much was written since the last.
func (v *Volume) Write(number inode.Number, p []byte, offset uint64) (int, error) {
	v.mu.RLock()
	behind := v.written > cmp.Or(v.config.backlogBytes, int64(backlogBytes))
	v.mu.RUnlock()
	if behind {
		if err := v.Sync(context.Background()); err != nil {
			return 0, full(err)
		}
	}
	defer v.mu.Unlock()
	if err := v.begin(); err != nil {
		return 0, err
	}
	n, err := v.fileAt(number)
	if err != nil || len(p) == 0 {
		return 0, err
	}
	if offset > maxFileBytes || uint64(len(p)) > maxFileBytes-offset {
		return 0, syscall.EFBIG
	}
	done := 0
	for done < len(p) && err == nil {
		at := offset + uint64(done)
		within := at % chunkBytes
		piece := p[done:min(uint64(len(p)), uint64(done)+chunkBytes-within)]
		if err = v.fill(n, at/chunkBytes, within, piece); err == nil {
			done += len(piece)
			n.size = max(n.size, at+uint64(len(piece)))
		}
	}
	if done > 0 {
		n.mtime = v.now()
		n.ctime = n.mtime
		v.touch(n)
	}
	return done, err
}

// fill writes a piece into a chunk. Where there is no room nothing is written.
func (v *Volume) fill(n *node, index, within uint64, piece []byte) error {
	if v.dirty > dirtyBytes {
		if err := v.spill(); err != nil {
			return full(err)
		}
	}
	end := within + uint64(len(piece))
	old := n.length(index)
	if end > old && v.tree.used+end-old > v.config.Bytes {
		return syscall.ENOSPC
	}
	content, err := v.writable(n, index, within == 0 && end >= old)
	if err != nil {
		return err
	}
	if end > uint64(len(content)) {
		content = content[:end] // what was behind the end is zero
	}
	copy(content[within:], piece)
	n.dirty[index] = content
	v.account(n, old, uint64(len(content)))
	return nil
}

func (v *Volume) account(n *node, old, now uint64) {
	n.stored += now - old
	v.tree.used += now - old
}

// full is an error of the disk as a program sees it.
func full(err error) error {
	if errs.Is(err, errs.NoSpace) {
		return syscall.ENOSPC
	}
	return err
}

// writable returns a chunk that may be written to, with room for all of a chunk and zeros behind its
// end. Where fresh is set the old content does not matter. mu is held.
func (v *Volume) writable(n *node, index uint64, fresh bool) ([]byte, error) {
	if content, there := n.dirty[index]; there {
		return content, nil
	}
	var old []byte
	if !fresh {
		var err error
		if old, err = v.content(n, index); err != nil {
			return nil, err
		}
	}
	content := make([]byte, len(old), chunkBytes)
	copy(content, old)
	v.dirty += chunkBytes
	v.news.nodes[n.number] = struct{}{}
	return content, nil
}

// resize makes n be size bytes long: new ones are zero and take no room.
func (v *Volume) resize(n *node, size uint64) error {
	switch {
	case n.isDir():
		return syscall.EISDIR
	case !n.isFile():
		return syscall.EINVAL
	case size > maxFileBytes:
		return syscall.EFBIG
	case size >= n.size:
		n.size = size
		return nil
	}
	if err := v.trim(n, size/chunkBytes, size%chunkBytes); err != nil {
		return err
	}
	count := (size + chunkBytes - 1) / chunkBytes
	for index := range n.chunks {
		if index >= count {
			v.drop(n, index)
		}
	}
	for index := range n.dirty {
		if index >= count {
			v.drop(n, index)
		}
	}
	n.kept = min(n.kept, count)
	n.size = size
	return nil
}

// trim cuts the last chunk, so that what was behind the end is zero if the file grows again.
func (v *Volume) trim(n *node, index, within uint64) error {
	old := n.length(index)
	if within == 0 || old <= within {
		return nil
	}
	content, err := v.writable(n, index, false)
	if err != nil {
		return err
	}
	clear(content[within:])
	n.dirty[index] = content[:within]
	v.account(n, old, within)
	return nil
}

// drop takes a chunk away.
func (v *Volume) drop(n *node, index uint64) {
	v.account(n, n.length(index), 0)
	v.unrefer(n, index)
	if content, there := n.dirty[index]; there {
		v.dirty -= int64(cap(content))
		delete(n.dirty, index)
	}
	delete(n.moved, index)
}
