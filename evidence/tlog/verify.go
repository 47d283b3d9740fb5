package tlog

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"maps"
	"path/filepath"
	"slices"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"

	"surety/base/errs"
	"surety/evidence"
)

// Audit says what Verify has checked.
type Audit struct {
	Checkpoint evidence.Checkpoint // signed by the key, and the tree's own root
	Payloads   uint64              // payloads that match their records
	Sealed     uint64              // of them, those only the vault can open
	Sources    int                 // sources, each without gap or repetition
}

// Verify reads the whole log in the directory, up to its last checkpoint, and checks everything
// against everything: records against tiles, tiles against the tiles above, the root against the
// checkpoint, the checkpoint against the key, payloads against records, sources for gaps, the index
// against the records. It takes some six seconds for a million records, works beside a process that
// appends, and changes nothing. progress, where not nil, is called now and then with how many
// records have been read, of how many. The first fault is the error: kind Corrupt, with the file or
// the record where the log stops agreeing with itself.
func Verify(ctx context.Context, directory string, key evidence.Key,
	progress func(done, total uint64)) (Audit, error) {
	a := &auditor{key: key, files: tree{filepath.Join(directory, treeDirectory)}, progress: progress}
	if err := a.open(ctx, directory); err != nil {
		return Audit{}, errors.Join(errs.Wrap(err, "tlog.verify"), a.close())
	}
	err := a.run(ctx)
	if closeErr := a.close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return Audit{}, errs.Wrap(err, "tlog.verify")
	}
	return a.audit, nil
}

// auditor goes through a log from its first record to the last one its checkpoint covers.
type auditor struct {
	key       evidence.Key
	files     tree
	payloads  payloadStore
	index     *index
	indexed   uint64 // records the index knew when the audit began
	progress  func(done, total uint64)
	positions map[string]position
	levels    [][]evidence.Hash // the hashes of each level's last tile so far
	root      *compact.Range
	namings   fingerprint // of what the records name
	audit     Audit
}

func (a *auditor) open(ctx context.Context, directory string) error {
	signed, err := a.files.readFile(layout.CheckpointPath, evidence.MaxNote)
	if err != nil {
		return errs.As(errs.Corrupt, err, "checkpoint")
	}
	if a.audit.Checkpoint, err = evidence.OpenCheckpoint(string(signed), a.key); err != nil {
		return errs.Wrap(err, "checkpoint")
	}
	if a.payloads, err = openPayloads(ctx, directory, true); err != nil {
		return err
	}
	if a.index, err = openIndex(ctx, directory, true); err != nil {
		return err
	}
	a.indexed, err = a.index.size(ctx)
	a.positions = map[string]position{}
	factory := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	a.root = factory.NewEmptyRange(0)
	return err
}

func (a *auditor) close() error {
	var failures []error
	if a.payloads.db != nil {
		failures = append(failures, a.payloads.db.Close())
	}
	if a.index != nil {
		failures = append(failures, a.index.db.Close())
	}
	return errors.Join(failures...)
}

func (a *auditor) run(ctx context.Context) error {
	size := a.audit.Checkpoint.Size
	for number := uint64(0); number*layout.EntryBundleWidth < size; number++ {
		if err := ctx.Err(); err != nil {
			return errs.As(errs.Canceled, err, "after %d records", number*layout.EntryBundleWidth)
		}
		if err := a.bundle(ctx, number); err != nil {
			return err
		}
		if a.progress != nil {
			a.progress(min((number+1)*layout.EntryBundleWidth, size), size)
		}
	}
	if err := a.partialTiles(); err != nil {
		return err
	}
	if err := a.checkRoot(); err != nil {
		return err
	}
	if err := a.checkSources(); err != nil {
		return err
	}
	return a.checkIndex(ctx)
}

// bundle checks one bundle of records, its payloads, and the tile over it.
func (a *auditor) bundle(ctx context.Context, number uint64) error {
	size := a.audit.Checkpoint.Size
	records, named, err := a.files.bundle(number, size)
	if err != nil {
		return err
	}
	tile, tileNamed, err := a.files.hashes(0, number, size)
	if err != nil {
		return err
	}
	leaves := make([]evidence.Hash, len(records))
	for i, encoded := range records {
		leaves[i] = evidence.LeafHash(encoded)
	}
	first := number * layout.EntryBundleWidth
	for i := range leaves {
		if leaves[i] != tile[i] {
			return a.blame(number, leaves, tile, first+uint64(i), named, tileNamed)
		}
	}
	for i, encoded := range records {
		if err := a.record(first+uint64(i), encoded); err != nil {
			return errs.Wrap(err, "%s", named)
		}
	}
	if err := a.checkPayloads(ctx, first, records); err != nil {
		return err
	}
	return a.hashTile(0, number, leaves)
}

// blame says which of a bundle and its tile is damaged, where the tile above can tell.
func (a *auditor) blame(number uint64, leaves, tile []evidence.Hash, leaf uint64,
	bundleNamed, tileNamed string) error {
	culprit := bundleNamed + " or " + tileNamed
	above, _, err := a.files.hashes(1, number/layout.TileWidth, a.audit.Checkpoint.Size)
	if at := int(number % layout.TileWidth); err == nil && at < len(above) {
		switch above[at] {
		case evidence.Root(tile):
			culprit = bundleNamed
		case evidence.Root(leaves):
			culprit = tileNamed
		}
	}
	return errs.New(errs.Corrupt, "record %d does not have the hash that stands for it in the tree: "+
		"%s is damaged", leaf, culprit)
}

// record checks what a record says by itself and of its source.
func (a *auditor) record(leaf uint64, encoded []byte) error {
	record, err := evidence.Decode(encoded)
	if err != nil {
		return errs.As(errs.Corrupt, err, "record %d", leaf)
	}
	p, fresh := a.positions[record.Source].note(record.SourceSeq)
	if !fresh {
		return errs.New(errs.Corrupt, "record %d repeats number %d of source %s", leaf, record.SourceSeq,
			record.Source)
	}
	a.positions[record.Source] = p
	if leaf < a.indexed {
		for _, row := range appendNamings(nil, leaf, &record) {
			a.namings.add(row)
		}
	}
	hash := evidence.LeafHash(encoded)
	return errs.As(errs.Internal, a.root.Append(hash[:], nil), "root")
}

// checkPayloads checks the payloads of a bundle against its records.
func (a *auditor) checkPayloads(ctx context.Context, first uint64, records [][]byte) error {
	rows, err := a.payloads.db.Reader().QueryContext(ctx,
		"SELECT leaf, body FROM payloads WHERE leaf >= ? AND leaf < ? ORDER BY leaf",
		int64(first), int64(first)+int64(len(records)))
	if err != nil {
		return errs.Wrap(err, "%s", payloadsFile)
	}
	defer rows.Close()
	next := 0
	for rows.Next() {
		var leaf int64
		var body sql.RawBytes
		if err := rows.Scan(&leaf, &body); err != nil {
			return errs.Wrap(err, "%s", payloadsFile)
		}
		at := int(uint64(leaf) - first)
		if err := a.payloadless(first, records[next:at], next); err != nil {
			return err
		}
		if err := a.payload(uint64(leaf), records[at], body); err != nil {
			return err
		}
		next = at + 1
	}
	if err := rows.Err(); err != nil {
		return errs.Wrap(err, "%s", payloadsFile)
	}
	return a.payloadless(first, records[next:], next)
}

// payloadless checks that records without a row commit to nothing.
func (a *auditor) payloadless(first uint64, records [][]byte, offset int) error {
	for i, encoded := range records {
		record, err := evidence.Decode(encoded)
		if err != nil {
			return err
		}
		if record.PayloadBytes > 0 {
			return errs.New(errs.Corrupt, "%s: payload of record %d is missing", payloadsFile,
				first+uint64(offset+i))
		}
	}
	return nil
}

func (a *auditor) payload(leaf uint64, encoded []byte, body []byte) error {
	record, err := evidence.Decode(encoded)
	if err != nil {
		return err
	}
	if evidence.Digest(body) != record.Digest {
		return errs.New(errs.Corrupt, "%s: payload of record %d is not what the record commits to",
			payloadsFile, leaf)
	}
	a.audit.Payloads++
	if record.Sealed {
		a.audit.Sealed++
	}
	return nil
}

// hashTile takes in a tile's hashes at a level: where it is full, its root is the next hash of the
// level above, and where that fills a tile, the tile is compared with its file, and so on up.
func (a *auditor) hashTile(level int, number uint64, nodes []evidence.Hash) error {
	for len(nodes) == layout.TileWidth {
		root := evidence.Root(nodes)
		if level+1 > len(a.levels) {
			a.levels = append(a.levels, nil)
		}
		a.levels[level] = append(a.levels[level], root) // levels[i] holds the hashes of level i+1
		if len(a.levels[level]) < layout.TileWidth {
			return nil
		}
		nodes, a.levels[level] = a.levels[level], nil
		level, number = level+1, number/layout.TileWidth
		if err := a.compareTile(uint64(level), number, nodes); err != nil {
			return err
		}
	}
	return nil
}

// partialTiles compares the tiles at the right edge that are not full.
func (a *auditor) partialTiles() error {
	for i, nodes := range a.levels {
		level := uint64(i + 1)
		if len(nodes) == 0 {
			continue
		}
		number := a.audit.Checkpoint.Size >> (8 * level) / layout.TileWidth
		if err := a.compareTile(level, number, nodes); err != nil {
			return err
		}
	}
	return nil
}

func (a *auditor) compareTile(level, number uint64, nodes []evidence.Hash) error {
	stored, named, err := a.files.hashes(level, number, a.audit.Checkpoint.Size)
	if err != nil {
		return err
	}
	for i := range nodes {
		if i >= len(stored) || stored[i] != nodes[i] {
			return errs.New(errs.Corrupt, "%s: hash %d is not that of the tile below it", named, i)
		}
	}
	return nil
}

func (a *auditor) checkRoot() error {
	root := evidence.Digest(nil)
	if a.audit.Checkpoint.Size > 0 {
		computed, err := a.root.GetRootHash(nil)
		if err != nil {
			return errs.As(errs.Internal, err, "root")
		}
		root = evidence.Hash(computed)
	}
	if root != a.audit.Checkpoint.Root {
		return errs.New(errs.Corrupt, "the %d records have the root %s, the checkpoint signs %s: "+
			"records and tiles were changed together", a.audit.Checkpoint.Size, root,
			a.audit.Checkpoint.Root)
	}
	return nil
}

func (a *auditor) checkSources() error {
	for _, source := range slices.Sorted(maps.Keys(a.positions)) {
		if p := a.positions[source]; len(p.beyond) > 0 {
			return errs.New(errs.Corrupt, "source %s: number %d is missing", source, p.last+1)
		}
	}
	a.audit.Sources = len(a.positions)
	return nil
}

// fingerprint is a sum that is the same for the same rows in any order.
type fingerprint struct{ count, sum uint64 }

func (f *fingerprint) add(row naming) {
	var message [24]byte
	copy(message[:], row.id[:])
	binary.BigEndian.PutUint64(message[16:], row.leaf)
	hash := sha256.Sum256(message[:])
	f.count++
	f.sum += binary.BigEndian.Uint64(hash[:])
}

// checkIndex compares what the index says of the records with what they say themselves. It is
// about mistakes and decay: who can write the index can also make a sum come out.
func (a *auditor) checkIndex(ctx context.Context) error {
	bound := min(a.indexed, a.audit.Checkpoint.Size)
	rows, err := a.index.db.Reader().QueryContext(ctx,
		"SELECT id, leaf FROM subjects WHERE leaf < ?", int64(bound))
	if err != nil {
		return errs.Wrap(err, "%s", indexFile)
	}
	defer rows.Close()
	var stored fingerprint
	for rows.Next() {
		var id sql.RawBytes
		var leaf int64
		if err := rows.Scan(&id, &leaf); err != nil {
			return errs.Wrap(err, "%s", indexFile)
		}
		row := naming{leaf: uint64(leaf)}
		copy(row.id[:], id)
		stored.add(row)
	}
	if err := rows.Err(); err != nil {
		return errs.Wrap(err, "%s", indexFile)
	}
	if err := a.checkSequences(ctx, bound); err != nil {
		return err
	}
	if stored != a.namings {
		return errs.New(errs.Corrupt, "%s has %d rows for the first %d records, %d belong: "+
			"remove it, and it is made again", indexFile, stored.count, bound, a.namings.count)
	}
	return nil
}

func (a *auditor) checkSequences(ctx context.Context, bound uint64) error {
	var rows int64
	err := a.index.db.Reader().QueryRowContext(ctx,
		"SELECT count(*) FROM sequences WHERE leaf < ?", int64(bound)).Scan(&rows)
	if err != nil {
		return errs.Wrap(err, "%s", indexFile)
	}
	if uint64(rows) != bound {
		return errs.New(errs.Corrupt, "%s knows %d of the first %d records by number: remove it, and it "+
			"is made again", indexFile, rows, bound)
	}
	return nil
}
