package state

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"surety/base/errs"
	"surety/sys/inode"
	"surety/sys/vfs"
)

// twin is a tree of files as slow and obvious as can be.
type twin struct {
	kind     uint32
	mode     uint32
	content  []byte
	target   string
	xattrs   map[string]string
	children map[string]*twin
}

func newTwin(kind, mode uint32) *twin {
	t := &twin{kind: kind, mode: mode, xattrs: map[string]string{}}
	if kind == inode.Directory {
		t.children = map[string]*twin{}
	}
	return t
}

// clone copies a tree; hard links stay hard links.
func (t *twin) clone(seen map[*twin]*twin) *twin {
	if c := seen[t]; c != nil {
		return c
	}
	c := &twin{kind: t.kind, mode: t.mode, content: slices.Clone(t.content), target: t.target,
		xattrs: maps.Clone(t.xattrs)}
	seen[t] = c
	if t.children != nil {
		c.children = map[string]*twin{}
		for name, child := range t.children {
			c.children[name] = child.clone(seen)
		}
	}
	return c
}

func (t *twin) snapshot() *twin { return t.clone(map[*twin]*twin{}) }

func (t *twin) contains(other *twin) bool {
	if t == other {
		return true
	}
	for _, c := range t.children {
		if c.contains(other) {
			return true
		}
	}
	return false
}

// differs says where a volume's tree is not the twin's; empty where it is.
func differs(v *Volume, n inode.Number, t *twin, at string, numbers map[*twin]inode.Number) string {
	a, err := v.Stat(n)
	if err != nil {
		return fmt.Sprintf("%s: %v", at, err)
	}
	if before, seen := numbers[t]; seen && before != n {
		return at + ": a hard link leads elsewhere"
	}
	numbers[t] = n
	if a.Type() != t.kind || a.Mode&0o7777 != t.mode {
		return fmt.Sprintf("%s: mode %o, want %o", at, a.Mode, t.kind|t.mode)
	}
	names, err := v.Xattrs(n)
	if err != nil || !slices.Equal(names, slices.Sorted(maps.Keys(t.xattrs))) {
		return fmt.Sprintf("%s: attributes %v, %v", at, names, err)
	}
	switch t.kind {
	case inode.Link:
		if target, err := v.Readlink(n); target != t.target {
			return fmt.Sprintf("%s: leads to %q, %v", at, target, err)
		}
	case inode.Regular:
		content := make([]byte, len(t.content)+1)
		got, err := v.Read(n, content, 0)
		if err != nil || !bytes.Equal(content[:got], t.content) || a.Size != uint64(len(t.content)) {
			return fmt.Sprintf("%s: %d bytes differ from %d, %v", at, got, len(t.content), err)
		}
	case inode.Directory:
		return differsDir(v, n, t, at, numbers)
	}
	return ""
}

func differsDir(v *Volume, n inode.Number, t *twin, at string, numbers map[*twin]inode.Number) string {
	entries, err := v.Entries(n)
	if err != nil || len(entries) != len(t.children) {
		return fmt.Sprintf("%s: %d entries, want %d, %v", at, len(entries), len(t.children), err)
	}
	for _, e := range entries {
		child := t.children[e.Name]
		if child == nil {
			return fmt.Sprintf("%s/%s: not expected", at, e.Name)
		}
		if text := differs(v, e.Number, child, at+"/"+e.Name, numbers); text != "" {
			return text
		}
	}
	return ""
}

// machine is a volume beside its twin.
type machine struct {
	*bench
	t     *rapid.T
	v     *Volume
	now   *twin
	kept  *twin // what the last acknowledged commit holds
	later *twin // what a commit that nobody acknowledged may hold; nil: none
	held  []inode.Number
}

var modelNames = []string{"a", "b", "c", "d"}

// pick walks from the root by random names to something of the kind, or the root.
func (m *machine) pick(kind uint32) (inode.Number, *twin) {
	type found struct {
		n inode.Number
		t *twin
	}
	var all []found
	var walk func(n inode.Number, t *twin)
	walk = func(n inode.Number, t *twin) {
		if kind == 0 || t.kind == kind {
			all = append(all, found{n, t})
		}
		for _, name := range slices.Sorted(maps.Keys(t.children)) {
			a, err := m.v.Lookup(n, name)
			if err != nil {
				m.t.Fatalf("lookup of %s: %v", name, err)
			}
			walk(a.Number, t.children[name])
		}
	}
	walk(inode.Root, m.now)
	if len(all) == 0 {
		return 0, nil
	}
	f := all[rapid.IntRange(0, len(all)-1).Draw(m.t, "which")]
	return f.n, f.t
}

func (m *machine) name() string { return rapid.SampledFrom(modelNames).Draw(m.t, "name") }

// agree compares success with what the twin says.
func (m *machine) agree(what string, err error, want bool) bool {
	if (err == nil) != want {
		m.t.Fatalf("%s: %v, the twin says %t", what, err, want)
	}
	return want
}

func (m *machine) make() {
	n, dir := m.pick(inode.Directory)
	kind := rapid.SampledFrom([]uint32{inode.Regular, inode.Regular, inode.Directory, inode.Link}).
		Draw(m.t, "kind")
	name, spec := m.name(), inode.New{Mode: kind | 0o640}
	if kind == inode.Link {
		spec.Target = "somewhere"
	}
	_, err := m.v.Make(n, name, spec)
	if m.agree("make", err, dir.children[name] == nil) {
		made := newTwin(kind, 0o640)
		made.target = spec.Target
		dir.children[name] = made
	}
}

func (m *machine) write() {
	n, file := m.pick(inode.Regular)
	if file == nil {
		return
	}
	offset := rapid.IntRange(0, 3*chunkBytes).Draw(m.t, "offset")
	content := bytes.Repeat([]byte{rapid.Byte().Draw(m.t, "fill")},
		rapid.IntRange(1, 2*chunkBytes).Draw(m.t, "length"))
	_, err := m.v.Write(n, content, uint64(offset))
	if m.agree("write", err, true) {
		if grow := offset + len(content) - len(file.content); grow > 0 {
			file.content = append(file.content, make([]byte, grow)...)
		}
		copy(file.content[offset:], content)
	}
}

func (m *machine) change() {
	n, file := m.pick(inode.Regular)
	if file == nil {
		return
	}
	size := uint64(rapid.IntRange(0, 4*chunkBytes).Draw(m.t, "size"))
	mode := uint32(rapid.IntRange(0, 0o777).Draw(m.t, "mode"))
	_, err := m.v.Change(n, inode.Change{Size: &size, Mode: &mode})
	if m.agree("change", err, true) {
		file.mode = mode
		if size < uint64(len(file.content)) {
			file.content = file.content[:size:size]
		}
		file.content = append(file.content, make([]byte, size-uint64(len(file.content)))...)
	}
}

func (m *machine) xattr() {
	n, node := m.pick(0)
	name := m.name()
	_, there := node.xattrs[name]
	if rapid.Bool().Draw(m.t, "remove") {
		if m.agree("remove attribute", m.v.RemoveXattr(n, name), there) {
			delete(node.xattrs, name)
		}
		return
	}
	if m.agree("set attribute", m.v.SetXattr(n, name, "value", 0), true) {
		node.xattrs[name] = "value"
	}
}

func (m *machine) link() {
	n, file := m.pick(inode.Regular)
	if file == nil {
		return
	}
	into, dir := m.pick(inode.Directory)
	name := m.name()
	_, err := m.v.Link(n, into, name)
	if m.agree("link", err, dir.children[name] == nil) {
		dir.children[name] = file
	}
}

func (m *machine) remove() {
	n, dir := m.pick(inode.Directory)
	name := m.name()
	child := dir.children[name]
	if child != nil && child.kind == inode.Directory {
		if m.agree("rmdir", m.v.Rmdir(n, name), len(child.children) == 0) {
			delete(dir.children, name)
		}
		return
	}
	if m.agree("unlink", m.v.Unlink(n, name), child != nil) {
		delete(dir.children, name)
	}
}

// hold keeps a file open, so that it may outlive its name; drop closes one.
func (m *machine) hold() {
	if n, file := m.pick(inode.Regular); file != nil && m.agree("hold", m.v.Hold(n), true) {
		m.held = append(m.held, n)
	}
}

func (m *machine) drop() {
	if len(m.held) == 0 {
		return
	}
	n := m.held[0]
	m.held = m.held[1:]
	if _, err := m.v.Write(n, []byte("held"), 5); err != nil {
		m.t.Fatalf("a held file: %v", err)
	}
	m.scribble(n)
	m.v.Drop(n)
}

// scribble does to the twin what drop wrote, where the file still has a name.
func (m *machine) scribble(n inode.Number) {
	file := m.named(inode.Root, m.now, n)
	if file == nil {
		return
	}
	if grow := 9 - len(file.content); grow > 0 {
		file.content = append(file.content, make([]byte, grow)...)
	}
	copy(file.content[5:], "held")
}

// named finds the twin of an inode.
func (m *machine) named(at inode.Number, t *twin, n inode.Number) *twin {
	for _, name := range slices.Sorted(maps.Keys(t.children)) {
		a, err := m.v.Lookup(at, name)
		if err != nil {
			m.t.Fatal(err)
		}
		if a.Number == n {
			return t.children[name]
		}
		if found := m.named(a.Number, t.children[name], n); found != nil {
			return found
		}
	}
	return nil
}

func (m *machine) rename() {
	from, source := m.pick(inode.Directory)
	to, target := m.pick(inode.Directory)
	old, name := m.name(), m.name()
	how := rapid.SampledFrom([]uint32{0, 0, inode.NoReplace, inode.Exchange}).Draw(m.t, "how")
	n, present := source.children[old], target.children[name]
	err := m.v.Rename(from, old, to, name, how)
	if !m.agree("rename", err, mayRename(n, present, source, target, how)) || n == present {
		return
	}
	delete(source.children, old)
	if how == inode.Exchange {
		source.children[old] = present
	}
	target.children[name] = n
}

func mayRename(n, present, source, target *twin, how uint32) bool {
	isDir := func(t *twin) bool { return t.kind == inode.Directory }
	switch {
	case n == nil, isDir(n) && n.contains(target):
		return false
	case how == inode.NoReplace:
		return present == nil
	case how == inode.Exchange:
		return present != nil && !(isDir(present) && present.contains(source))
	case present == nil || present == n:
		return true
	}
	return isDir(n) == isDir(present) && len(present.children) == 0
}

func (m *machine) sync() {
	if err := m.v.Sync(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
	m.kept, m.later = m.now.snapshot(), nil
}

// crash cuts the power at a random point of a sync, or between two.
func (m *machine) crash() {
	if rapid.Bool().Draw(m.t, "during a sync") {
		m.disk.SetFault(vfs.PowerOffAt(int64(rapid.IntRange(0, 12).Draw(m.t, "after")), nil))
		if rapid.Bool().Draw(m.t, "anchor answers") {
			m.anchor.deaf = true
		}
		if rapid.Bool().Draw(m.t, "anchor fails") {
			m.anchor.fail = errs.New(errs.Unavailable, "away")
		}
		m.later = m.now.snapshot()
		if err := m.v.Sync(m.t.Context()); err == nil {
			m.kept = m.later
		}
	}
	abandon(m.v)
	m.anchor.fail, m.anchor.deaf = nil, false
	m.disk.Crash(rapid.Uint64().Draw(m.t, "seed"))
	m.reopen()
}

// crashOpening cuts the power between two syncs, and again while the state is opened, perhaps by a newer
// version.
func (m *machine) crashOpening() {
	abandon(m.v)
	m.disk.Crash(rapid.Uint64().Draw(m.t, "seed"))
	if newest := m.config.Keys[0].SVN; newest < 12 && rapid.Bool().Draw(m.t, "newer version") {
		m.config.Keys = keysUpTo(newest + 1)
	}
	m.disk.SetFault(vfs.PowerOffAt(int64(rapid.IntRange(0, 12).Draw(m.t, "after")), nil))
	if v, err := Open(m.t.Context(), m.config); err == nil {
		abandon(v)
	}
	m.disk.Crash(rapid.Uint64().Draw(m.t, "seed again"))
	m.reopen()
}

// abandon ends a volume's goroutine as the end of its process does, and nothing else.
func abandon(v *Volume) {
	close(v.stop)
	<-v.stopped
}

func (m *machine) reopen() {
	m.held = nil
	v, err := Open(m.t.Context(), m.config)
	if err != nil {
		m.t.Fatalf("open: %v", err)
	}
	m.v = v
	text := differs(v, inode.Root, m.kept, "", map[*twin]inode.Number{})
	if text == "" {
		m.now, m.later = m.kept.snapshot(), nil
		return
	}
	if m.later == nil {
		m.t.Fatal(text)
	}
	if other := differs(v, inode.Root, m.later, "", map[*twin]inode.Number{}); other != "" {
		m.t.Fatalf("neither what was acknowledged (%s) nor what was tried (%s)", text, other)
	}
	m.now = m.later.snapshot()
	m.kept, m.later = m.later, nil
}

func (m *machine) close() {
	if err := m.v.Close(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
	m.kept, m.later = m.now.snapshot(), nil
	m.reopen()
}

// check holds after every step: the trees are equal, and the disk is bounded.
func (m *machine) check(*rapid.T) {
	if text := differs(m.v, inode.Root, m.now, "", map[*twin]inode.Number{}); text != "" {
		m.t.Fatal(text)
	}
	used := uint64(0)
	for _, n := range m.v.tree.nodes {
		used += n.stored
	}
	if used != m.v.tree.used {
		m.t.Fatalf("%d bytes are counted, %d are there", m.v.tree.used, used)
	}
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{bench: newBench(), t: t}
		m.kept = newTwin(inode.Directory, 0o755)
		m.config.segmentBytes = 96 << 10
		m.reopen()
		defer func() { abandon(m.v) }()
		step := func(f func()) func(*rapid.T) { return func(r *rapid.T) { m.t = r; f() } }
		t.Repeat(map[string]func(*rapid.T){
			"make": step(m.make), "write": step(m.write), "write again": step(m.write),
			"change": step(m.change), "xattr": step(m.xattr), "link": step(m.link),
			"remove": step(m.remove), "rename": step(m.rename), "sync": step(m.sync),
			"crash": step(m.crash), "close": step(m.close), "hold": step(m.hold), "drop": step(m.drop),
			"crash while opening": step(m.crashOpening),
			"":                    step(func() { m.check(nil) }),
		})
	})
}
