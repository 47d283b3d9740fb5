package vfs

import (
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"surety/base/errs"
)

// SectorSize is what a disk writes in one piece: after a power cut each sector of an unsynced
// write holds the old bytes or the new ones, never a mixture.
const SectorSize = 512

// Memory is a file system in memory that forgets what was not synced, fills up, turns read-only,
// fails on demand and rots on demand. It is the twin of OS that tests run on. Make one with
// NewMemory.
type Memory struct {
	mu       sync.Mutex
	visible  map[string]*inode // names as a running program sees them
	settled  map[string]*inode // names as a power cut would leave them
	pending  []change          // name changes that no SyncDir covers yet, oldest first
	dirs     map[string]bool
	locks    map[string]*memoryLock
	capacity int64 // bytes, all files together; zero means no limit
	readOnly bool
	fault    Fault
	powered  int // counts power cuts: a handle from before one is dead
}

// inode is one file's content: what reads see, what survives, and the writes between them.
type inode struct {
	data    []byte
	settled []byte
	dirty   []extent // oldest first
}

// extent is an unsynced write; a nil data says that the file grew to offset.
type extent struct {
	offset int64
	data   []byte
}

// change is a step in the namespace: the paths that were set (or removed, where nil).
type change struct {
	dirs []string
	set  map[string]*inode
}

// NewMemory returns an empty file system with no limit and no faults.
func NewMemory() *Memory {
	return &Memory{
		visible: map[string]*inode{}, settled: map[string]*inode{},
		dirs: map[string]bool{".": true, "/": true}, locks: map[string]*memoryLock{},
	}
}

var _ FS = (*Memory)(nil)

// SetCapacity limits the bytes of all files together; zero lifts the limit.
func (m *Memory) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

// SetReadOnly makes every change fail as on a file system mounted read-only.
func (m *Memory) SetReadOnly(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.readOnly = on
}

// Open implements FS.
func (m *Memory) Open(name string, mode Mode) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	op := Op{Kind: OpOpen, Name: name}
	if m.visible[name] == nil && mode&Create != 0 {
		op.Kind = OpCreate
	}
	if err := m.begin(op); err != nil {
		return nil, err
	}
	node := m.visible[name]
	switch {
	case node != nil && mode&Create != 0 && mode&Exclusive != 0:
		return nil, memoryError(errs.Exists, "open", name, "file exists")
	case node == nil && mode&Create == 0, node == nil && !m.dirs[path.Dir(name)]:
		return nil, memoryError(errs.NotFound, "open", name, "no such file or directory")
	case node == nil:
		node = &inode{}
		m.apply(map[string]*inode{name: node}, path.Dir(name))
	case m.readOnly && mode&(Writable|Create) != 0:
		return nil, memoryError(errs.Forbidden, "open", name, "read-only file system")
	}
	writable := mode&(Writable|Create) != 0
	return &memoryFile{m: m, name: name, node: node, powered: m.powered, writable: writable}, nil
}

// Remove implements FS.
func (m *Memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	if err := m.begin(Op{Kind: OpRemove, Name: name}); err != nil {
		return err
	}
	if m.visible[name] == nil {
		return memoryError(errs.NotFound, "remove", name, "no such file or directory")
	}
	m.apply(map[string]*inode{name: nil}, path.Dir(name))
	return nil
}

// Rename implements FS.
func (m *Memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, to = path.Clean(from), path.Clean(to)
	if err := m.begin(Op{Kind: OpRename, Name: from}); err != nil {
		return err
	}
	node := m.visible[from]
	if node == nil || !m.dirs[path.Dir(to)] {
		return memoryError(errs.NotFound, "rename", from, "no such file or directory")
	}
	if from != to {
		m.apply(map[string]*inode{from: nil, to: node}, path.Dir(from), path.Dir(to))
	}
	return nil
}

// apply makes a namespace change visible and remembers it for the next SyncDir.
func (m *Memory) apply(set map[string]*inode, dirs ...string) {
	assign(m.visible, set)
	m.pending = append(m.pending, change{dirs: dirs, set: set})
}

func assign(names, set map[string]*inode) {
	for name, node := range set {
		if node == nil {
			delete(names, name)
		} else {
			names[name] = node
		}
	}
}

// List implements FS.
func (m *Memory) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = path.Clean(dir)
	if err := m.begin(Op{Kind: OpList, Name: dir}); err != nil {
		return nil, err
	}
	if !m.dirs[dir] {
		return nil, memoryError(errs.NotFound, "list", dir, "no such file or directory")
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(m.visible)) {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	return names, nil
}

// MakeDir implements FS. Directories survive every crash.
func (m *Memory) MakeDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = path.Clean(dir)
	if m.dirs[dir] {
		return nil
	}
	if err := m.begin(Op{Kind: OpMakeDir, Name: dir}); err != nil {
		return err
	}
	for ; !m.dirs[dir]; dir = path.Dir(dir) {
		m.dirs[dir] = true
	}
	return nil
}

// SyncDir implements FS. As on a journaling file system, it settles every earlier name change too.
func (m *Memory) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = path.Clean(dir)
	if err := m.begin(Op{Kind: OpSyncDir, Name: dir}); err != nil {
		return err
	}
	last := -1
	for i, c := range m.pending {
		if slices.Contains(c.dirs, dir) {
			last = i
		}
	}
	for _, c := range m.pending[:last+1] {
		assign(m.settled, c.set)
	}
	m.pending = slices.Clone(m.pending[last+1:])
	return nil
}

// Lock implements FS. A power cut releases every lock.
func (m *Memory) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	if err := m.begin(Op{Kind: OpLock, Name: name}); err != nil {
		return nil, err
	}
	if m.locks[name] != nil {
		return nil, errs.New(errs.Locked, "vfs.lock: %s is held by process %d", name, os.Getpid())
	}
	lock := &memoryLock{m: m, name: name}
	m.locks[name] = lock
	return lock, nil
}

type memoryLock struct {
	m    *Memory
	name string
}

// Close releases the lock; a second Close does nothing.
func (l *memoryLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.m.locks[l.name] == l {
		delete(l.m.locks, l.name)
	}
	return nil
}

// begin refuses an operation that the injected fault or the mount refuses.
func (m *Memory) begin(op Op) error {
	if m.fault != nil {
		if err := m.fault(op); err != nil {
			return err
		}
	}
	if m.readOnly && op.Kind.changes() {
		return memoryError(errs.Forbidden, op.Kind.String(), op.Name, "read-only file system")
	}
	return nil
}

// Crash cuts the power and restores it. What was synced stays; of each unsynced write each sector
// stays or goes as the seed says, and unsynced name changes stay up to some point. Handles and
// locks from before are dead, faults are lifted.
func (m *Memory) Crash(seed uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	random := rand.New(rand.NewPCG(seed, 0x5eed))
	kept := 0
	if len(m.pending) > 0 {
		kept = random.IntN(len(m.pending) + 1)
	}
	for _, c := range m.pending[:kept] {
		assign(m.settled, c.set)
	}
	names := make(map[string]*inode, len(m.settled))
	for _, name := range slices.Sorted(maps.Keys(m.settled)) {
		content := m.settled[name].afterCrash(random)
		names[name] = &inode{data: content, settled: slices.Clone(content)}
	}
	m.visible, m.settled, m.pending = names, maps.Clone(names), nil
	m.locks = map[string]*memoryLock{}
	m.fault = nil
	m.powered++
}

// afterCrash returns what a power cut leaves of the file. The four ways a disk tears are drawn
// first, so that the extreme ones are common.
func (n *inode) afterCrash(random *rand.Rand) []byte {
	content := slices.Clone(n.settled)
	way := random.IntN(4)
	for _, e := range n.dirty {
		if e.data == nil {
			if way != 0 {
				content = grow(content, e.offset)
			}
			continue
		}
		stop := random.IntN(len(e.data)/SectorSize + 2)
		for i := 0; i*SectorSize < len(e.data); i++ {
			keep := false
			switch way {
			case 1: // all of it arrived
				keep = true
			case 2: // the first sectors arrived
				keep = i < stop
			case 3: // some sectors arrived, in no order
				keep = random.IntN(2) == 0
			}
			if keep {
				piece := e.data[i*SectorSize : min((i+1)*SectorSize, len(e.data))]
				at := e.offset + int64(i*SectorSize)
				content = grow(content, at+int64(len(piece)))
				copy(content[at:], piece)
			}
		}
	}
	return content
}

// Clone returns an independent file system that holds what a power cut that loses every unsynced
// byte would leave, without faults or limits.
func (m *Memory) Clone() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMemory()
	maps.Copy(c.dirs, m.dirs)
	for name, node := range m.settled {
		content := slices.Clone(node.settled)
		c.visible[name] = &inode{data: content, settled: slices.Clone(content)}
	}
	c.settled = maps.Clone(c.visible)
	return c
}

// Flip inverts one bit of a file, on the disk and in what reads see, as rot does. Bit 0 is the
// lowest of the first byte; a bit past the end panics.
func (m *Memory) Flip(name string, bit int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	node := m.visible[path.Clean(name)]
	mask := byte(1) << (bit % 8)
	node.data[bit/8] ^= mask
	if bit/8 < int64(len(node.settled)) {
		node.settled[bit/8] ^= mask
	}
}

// Overwrite puts bytes into a file, on the disk and in what reads see, without any sync: a
// misdirected write, or the work of somebody else.
func (m *Memory) Overwrite(name string, offset int64, bytes []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	node := m.visible[path.Clean(name)]
	copy(node.data[offset:], bytes)
	if offset < int64(len(node.settled)) {
		copy(node.settled[offset:], bytes)
	}
}

// Cut shortens a file to size bytes, as a bad copy does.
func (m *Memory) Cut(name string, size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	node := m.visible[path.Clean(name)]
	node.data = node.data[:size]
	node.settled = node.settled[:min(size, int64(len(node.settled)))]
	node.dirty = nil
}

// used returns the bytes of all visible files.
func (m *Memory) used() int64 {
	total := int64(0)
	for _, node := range m.visible {
		total += int64(len(node.data))
	}
	return total
}

func memoryError(kind errs.Kind, op, name, text string) error {
	return errs.New(kind, "vfs.%s: %s: %s", op, name, text)
}

func shortRead(offset int64, want, got int) error {
	return errs.New(errs.Corrupt, "vfs.read: %d bytes at %d, the file ends after %d",
		want, offset, got)
}

// grow returns content with at least size bytes, new ones zero.
func grow(content []byte, size int64) []byte {
	if int64(len(content)) >= size {
		return content
	}
	return append(content, make([]byte, size-int64(len(content)))...)
}

// Names returns every visible path that starts with the prefix, sorted: what is there to break.
func (m *Memory) Names(prefix string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(m.visible)) {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names
}
