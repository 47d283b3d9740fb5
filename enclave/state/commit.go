package state

import (
	"context"
	"maps"
	"slices"

	"surety/base/errs"
	"surety/sys/inode"
)

// Sync returns when every change that was made before it is on the disk and anchored. Callers at
// once share a commit. After an error of the disk the volume takes no more changes; an anchor that
// does not answer is asked again by the next Sync, unless it said that the lease is lost.
func (v *Volume) Sync(ctx context.Context) error {
	v.mu.RLock()
	target, broken := v.serial, v.broken
	done := v.covered >= target
	v.mu.RUnlock()
	if done || broken != nil {
		return broken
	}
	v.committing.Lock()
	defer v.committing.Unlock()
	v.mu.RLock()
	done = v.covered >= target
	v.mu.RUnlock()
	if done {
		return nil
	}
	return v.commit(ctx, target)
}

// commit writes, syncs and anchors; committing is held.
func (v *Volume) commit(ctx context.Context, target uint64) error {
	if err := v.anchor(ctx); err != nil { // one that is on disk and was not answered for
		return err
	}
	v.mu.Lock()
	if v.covered >= target {
		v.mu.Unlock()
		return nil
	}
	next, dead, err := v.write()
	serial, current, named := v.serial, v.current, v.synced
	v.mu.Unlock()
	if err != nil {
		return err
	}
	if err := v.flush(current, named); err != nil {
		return v.fail(err)
	}
	v.durable, v.held, v.dead = next, serial, dead
	v.mu.Lock()
	v.synced = v.synced || v.current == current
	v.mu.Unlock()
	return v.anchor(ctx)
}

// flush makes what was appended survive.
func (v *Volume) flush(s *segment, named bool) error {
	if err := s.file.Sync(); err != nil {
		return errs.Wrap(err, "state.sync: segment %d", s.number)
	}
	if named {
		return nil
	}
	return errs.Wrap(v.disk.fs.SyncDir(v.disk.dir), "state.sync")
}

// anchor tells the anchor of the commit that the disk has, if it does not know.
func (v *Volume) anchor(ctx context.Context) error {
	if v.anchored == v.durable {
		return nil
	}
	var err error
	if v.config.Anchor != nil {
		err = v.config.Anchor.Commit(ctx, v.durable.epoch, v.durable.root)
	}
	if err == nil {
		v.acknowledge()
		return nil
	}
	err = errs.Wrap(err, "state.sync: anchor epoch %d", v.durable.epoch)
	if errs.Is(err, errs.Locked) || errs.Is(err, errs.Refused) || errs.Is(err, errs.Forbidden) {
		return v.fail(err)
	}
	return err
}

// acknowledge notes that nothing older than what the disk has will be asked for again.
func (v *Volume) acknowledge() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.anchored, v.covered = v.durable, max(v.covered, v.held)
	for _, number := range v.dead {
		v.disk.remove(number)
	}
	v.dead = nil
}

// fail ends all writing, with err.
func (v *Volume) fail(err error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.breakDown(err)
}

func (v *Volume) breakDown(err error) error {
	if v.broken == nil {
		v.broken = errs.As(errs.KindOf(err), err, "state: nothing more is written")
	}
	return v.broken
}

// write appends all that is new with a commit behind it, and says which segments nothing refers to
// once it is anchored. mu is held.
func (v *Volume) write() (next mark, dead []uint64, err error) {
	if v.broken != nil {
		return next, nil, v.broken
	}
	if err = v.compact(); err == nil {
		err = v.spill()
	}
	if err == nil {
		err = v.room()
	}
	if err != nil {
		return next, nil, err
	}
	next.epoch = v.durable.epoch + 1
	content := v.describe(next.epoch)
	next.root = rootOf(content)
	if int64(len(content)) > maxBodyBytes {
		return next, nil, errs.New(errs.TooLarge, "state.sync: a commit of %d bytes, at most %d",
			len(content), int64(maxBodyBytes))
	}
	if err := v.appendBody(content); err != nil {
		return next, nil, err
	}
	if v.full {
		v.treeLen = int64(len(content))
	}
	v.settleNews()
	for number, s := range v.disk.segments {
		if s.live == 0 && s != v.current {
			dead = append(dead, number)
		}
	}
	return next, dead, nil
}

// settleNews forgets what was new: a commit has it.
func (v *Volume) settleNews() {
	for number := range v.news.nodes {
		if n := v.tree.nodes[number]; n != nil {
			clear(n.moved)
			n.kept, n.known = keepAll, n.links > 0
		}
	}
	v.news, v.full, v.written = noNews(), false, 0
}

// describe is the commit's body.
func (v *Volume) describe(epoch uint64) []byte {
	head := body{kind: kindDelta, epoch: epoch, previous: v.durable.root, volume: v.volume,
		next: v.tree.next}
	if v.full {
		head.kind = kindFull
		return v.describeAll(head.encode())
	}
	b := head.encode()
	nodes := sortedKeys(v.news.nodes)
	for _, number := range nodes {
		if n := v.tree.nodes[number]; n != nil && n.links > 0 {
			b = appendNode(b, n, n.kept)
		}
	}
	for _, number := range nodes {
		n := v.tree.nodes[number]
		if n == nil || n.links == 0 {
			continue
		}
		for _, index := range sortedKeys(n.moved) {
			if r, there := n.chunks[index]; there {
				b = appendChunk(b, number, index, r)
			}
		}
	}
	b = v.describeNames(b)
	for _, number := range sortedKeys(v.news.gone) {
		b = appendGone(b, number)
	}
	return b
}

// describeNames says what became of the names that changed.
func (v *Volume) describeNames(b []byte) []byte {
	places := slices.Collect(maps.Keys(v.news.names))
	slices.SortFunc(places, func(x, y place) int {
		if x.parent != y.parent {
			return int(max(-1, min(1, int64(x.parent)-int64(y.parent))))
		}
		if x.name < y.name {
			return -1
		}
		return 1
	})
	for _, p := range places {
		dir := v.tree.nodes[p.parent]
		if dir == nil || dir.links == 0 {
			continue // it goes, with its names
		}
		if n, there := dir.entries[p.name]; there {
			b = appendEntry(b, p.parent, n, p.name)
		} else {
			b = appendUnentry(b, p.parent, p.name)
		}
	}
	return b
}

// describeAll says all that is in the tree. Inodes without a name are not: a crash ends them.
func (v *Volume) describeAll(b []byte) []byte {
	for _, number := range sortedKeys(v.disk.segments) {
		if s := v.disk.segments[number]; s.live > 0 || s == v.current {
			b = appendSegment(b, &s.header)
		}
	}
	numbers := sortedKeys(v.tree.nodes)
	for _, number := range numbers {
		if n := v.tree.nodes[number]; n.links > 0 {
			b = appendNode(b, n, keepAll)
		}
	}
	for _, number := range numbers {
		n := v.tree.nodes[number]
		if n.links == 0 {
			continue
		}
		for _, index := range sortedKeys(n.chunks) {
			b = appendChunk(b, number, index, n.chunks[index])
		}
		for _, name := range sortedKeys(n.entries) {
			b = appendEntry(b, number, n.entries[name], name)
		}
	}
	return b
}

// touch notes that n changed. mu is held.
func (v *Volume) touch(n *node) {
	v.serial++
	v.news.nodes[n.number] = struct{}{}
}

// touchName notes that what a name points to changed. mu is held.
func (v *Volume) touchName(parent inode.Number, name string) {
	v.serial++
	v.news.names[place{parent, name}] = struct{}{}
}

// commitTimed commits what nobody asks for, until the volume is closed. An error is the next Sync's
// to tell.
func (v *Volume) commitTimed() {
	defer close(v.stopped)
	for {
		timer := v.config.Clock.NewTimer(commitEvery)
		select {
		case <-v.stop:
			timer.Stop()
			return
		case <-timer.C():
			_ = v.Sync(context.Background())
		}
	}
}
