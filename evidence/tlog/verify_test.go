package tlog

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/evidence"
	dbfile "surety/rdb/embed"
)

// grown makes a closed log of n records and returns its directory and key. 66,000 records have
// tiles on three levels.
func grown(t testing.TB, n uint64) (string, evidence.Key) {
	t.Helper()
	directory := t.TempDir()
	l := open(t, directory)
	add(t, l, entries("s", 1, n)...)
	closed(t, l)
	return directory, l.Key()
}

// change rewrites a file of the log.
func change(t testing.TB, directory, name string, edit func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(directory, name)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, edit(bytes.Clone(content)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func flipAt(at int) func([]byte) []byte {
	return func(content []byte) []byte {
		content[at] ^= 1
		return content
	}
}

// statement runs SQL on one of the log's databases, as a tamperer would.
func statement(t testing.TB, directory, file, text string, args ...any) {
	t.Helper()
	db, err := dbfile.Open(context.Background(), filepath.Join(directory, file), dbfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(context.Background(), func(tx *sql.Tx) error {
		_, err := tx.Exec(text, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// Every planted fault is found, and named.
func TestVerifyFindsPlantedFaults(t *testing.T) {
	good, key := grown(t, 600)
	for _, row := range []struct {
		name     string
		damage   func(t *testing.T, directory string)
		fragment string
	}{
		{"bundle flipped", func(t *testing.T, d string) {
			change(t, d, "log/tile/entries/001", flipAt(9000))
		}, "tile/entries/001 is damaged"},
		{"last bundle flipped", func(t *testing.T, d string) {
			change(t, d, "log/tile/entries/002.p/88", flipAt(900))
		}, "tile/entries/002.p/88 or tile/0/002.p/88 is damaged"},
		{"bundle cut", func(t *testing.T, d string) {
			change(t, d, "log/tile/entries/001", func(b []byte) []byte { return b[:500] })
		}, "tile/entries/001"},
		{"bundle missing", func(t *testing.T, d string) {
			if err := os.Remove(filepath.Join(d, "log/tile/entries/001")); err != nil {
				t.Fatal(err)
			}
		}, "tile/entries/001 is missing"},
		{"hash tile flipped", func(t *testing.T, d string) {
			change(t, d, "log/tile/0/001", flipAt(32*17))
		}, "record 273 does not have the hash that stands for it in the tree: tile/0/001 is damaged"},
		{"hash tile cut", func(t *testing.T, d string) {
			change(t, d, "log/tile/0/001", func(b []byte) []byte { return b[:320] })
		}, "tile/0/001 has 320 bytes, 256 hashes belong"},
		{"upper tile flipped", func(t *testing.T, d string) {
			change(t, d, "log/tile/1/000.p/2", flipAt(40))
		}, "tile/1/000.p/2: hash 1 is not that of the tile below it"},
		{"record and hashes changed together", func(t *testing.T, d string) {
			forge(t, d)
		}, "the checkpoint signs"},
		{"checkpoint flipped", func(t *testing.T, d string) {
			change(t, d, "log/checkpoint", flipAt(25))
		}, "checkpoint: signature by log.example/evidence"},
		{"checkpoint missing", func(t *testing.T, d string) {
			if err := os.Remove(filepath.Join(d, "log/checkpoint")); err != nil {
				t.Fatal(err)
			}
		}, "checkpoint"},
		{"payload changed", func(t *testing.T, d string) {
			statement(t, d, payloadsFile, "UPDATE payloads SET body = x'00' WHERE leaf = 77")
		}, "payloads.db: payload of record 77 is not what the record commits to"},
		{"payload removed", func(t *testing.T, d string) {
			statement(t, d, payloadsFile, "DELETE FROM payloads WHERE leaf = 599")
		}, "payloads.db: payload of record 599 is missing"},
		{"payloads exchanged", func(t *testing.T, d string) {
			statement(t, d, payloadsFile, "UPDATE payloads SET leaf = -1 WHERE leaf = 10")
			statement(t, d, payloadsFile, "UPDATE payloads SET leaf = 10 WHERE leaf = 11")
		}, "payload of record 10 is not"},
		{"index forgets a record", func(t *testing.T, d string) {
			statement(t, d, indexFile, "DELETE FROM subjects WHERE leaf = 5 AND substr(id, 8, 1) = x'0b'")
		}, "index.db has 1799 rows for the first 600 records, 1800 belong"},
		{"index names a wrong record", func(t *testing.T, d string) {
			statement(t, d, indexFile,
				"UPDATE subjects SET leaf = 7 WHERE leaf = 5 AND substr(id, 8, 1) = x'0d'")
		}, "index.db has 1800 rows"},
		{"index forgets a number", func(t *testing.T, d string) {
			statement(t, d, indexFile, "DELETE FROM sequences WHERE leaf = 3")
		}, "index.db knows 599 of the first 600 records by number"},
	} {
		t.Run(row.name, func(t *testing.T) {
			directory := t.TempDir()
			copyTree(t, good, directory)
			row.damage(t, directory)
			_, err := Verify(context.Background(), directory, key, nil)
			wantKind(t, err, errs.Corrupt, row.fragment)
			if !strings.HasPrefix(err.Error(), "tlog.verify: ") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// forge changes record 300 and every hash over it, as somebody could who holds the disk but not
// the key.
func forge(t *testing.T, directory string) {
	t.Helper()
	files := tree{filepath.Join(directory, treeDirectory)}
	records, _, err := files.bundle(1, 600)
	if err != nil {
		t.Fatal(err)
	}
	record, err := evidence.Decode(records[44])
	if err != nil {
		t.Fatal(err)
	}
	record.At++
	forged, err := record.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	change(t, directory, "log/tile/entries/001", func(content []byte) []byte {
		return bytes.Replace(content, records[44], forged, 1)
	})
	leaves := make([]evidence.Hash, len(records))
	for i := range records {
		leaves[i] = evidence.LeafHash(records[i])
	}
	leaves[44] = evidence.LeafHash(forged)
	change(t, directory, "log/tile/0/001", func(content []byte) []byte {
		copy(content[44*32:], leaves[44][:])
		return content
	})
	root := evidence.Root(leaves)
	change(t, directory, "log/tile/1/000.p/2", func(content []byte) []byte {
		copy(content[32:], root[:])
		return content
	})
}

func TestVerifyWithAnotherKey(t *testing.T) {
	directory, _ := grown(t, 5)
	_, key := grown(t, 1)
	_, err := Verify(context.Background(), directory, key, nil)
	wantKind(t, err, errs.Corrupt, "not signed by the trusted key")
}

func TestVerifyEmptyLog(t *testing.T) {
	directory := t.TempDir()
	l := open(t, directory)
	closed(t, l)
	if audit := verify(t, directory); audit.Checkpoint.Size != 0 || audit.Sources != 0 {
		t.Errorf("got %+v", audit)
	}
}

func TestVerifyIsCanceledAndReportsProgress(t *testing.T) {
	directory, key := grown(t, 600)
	ctx, cancel := context.WithCancel(context.Background())
	var seen []uint64
	_, err := Verify(ctx, directory, key, func(done, total uint64) {
		if seen = append(seen, done, total); done == 512 {
			cancel()
		}
	})
	wantKind(t, err, errs.Canceled, "")
	if len(seen) != 4 || seen[0] != 256 || seen[2] != 512 || seen[3] != 600 {
		t.Errorf("got progress %v", seen)
	}
}

// Three levels of tiles, and a flip on the second.
func TestVerifyThreeLevels(t *testing.T) {
	directory, key := grown(t, 66_000)
	if _, err := Verify(context.Background(), directory, key, nil); err != nil {
		t.Fatal(err)
	}
	change(t, directory, "log/tile/1/000", flipAt(32*200))
	_, err := Verify(context.Background(), directory, key, nil)
	wantKind(t, err, errs.Corrupt, "tile/1/000: hash 200 is not that of the tile below it")
}

// What Open makes of a directory that is not as Close left it.
func TestOpenDamaged(t *testing.T) {
	good, _ := grown(t, 600)
	remove := func(names ...string) func(t *testing.T, d string) {
		return func(t *testing.T, d string) {
			for _, name := range names {
				if err := os.RemoveAll(filepath.Join(d, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, row := range []struct {
		name     string
		damage   func(t *testing.T, directory string)
		kind     errs.Kind // zero where the log heals
		fragment string
	}{
		{"index removed", remove(indexFile), 0, ""},
		{"index overwritten", func(t *testing.T, d string) {
			change(t, d, indexFile, func([]byte) []byte { return bytes.Repeat([]byte("x"), 9000) })
		}, 0, ""},
		{"index of another log", func(t *testing.T, d string) {
			other, _ := grown(t, 700)
			copyFile(t, filepath.Join(other, indexFile), filepath.Join(d, indexFile))
		}, errs.Corrupt, "the log has 600 records and its index 700"},
		{"checkpoint removed", remove("log/checkpoint"), 0, ""},
		{"checkpoint of another log", func(t *testing.T, d string) {
			other, _ := grown(t, 3)
			copyFile(t, filepath.Join(other, "log/checkpoint"), filepath.Join(d, "log/checkpoint"))
		}, errs.Corrupt, "not signed by the trusted key"},
		{"state removed", remove("log/.state/treeState"), errs.Corrupt, "treeState is missing"},
		{"state damaged", func(t *testing.T, d string) {
			change(t, d, "log/.state/treeState", func(b []byte) []byte { return b[:20] })
		}, errs.Corrupt, "treeState is damaged"},
		{"log removed", remove("log"), errs.Corrupt, "the log has 0 records and its index 600"},
		{"payloads damaged", func(t *testing.T, d string) {
			change(t, d, payloadsFile, func([]byte) []byte { return bytes.Repeat([]byte("x"), 9000) })
		}, errs.Corrupt, "not a database"},
	} {
		t.Run(row.name, func(t *testing.T) {
			directory := t.TempDir()
			copyTree(t, good, directory)
			row.damage(t, directory)
			l, err := Open(context.Background(), options(directory))
			if row.fragment != "" {
				wantKind(t, err, row.kind, row.fragment)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			add(t, l, entries("s", 550, 650)...)
			found, err := l.Lookup(context.Background(), loan(3), 0, 0)
			if err != nil || len(found) != 10 {
				t.Errorf("got %d records, %v", len(found), err)
			}
			closed(t, l)
			if audit := verify(t, directory); audit.Checkpoint.Size != 650 {
				t.Errorf("got %+v", audit)
			}
		})
	}
}

// An older copy of the log, put back under newer databases, is noticed.
func TestOpenRolledBack(t *testing.T) {
	directory, _ := grown(t, 600)
	older := filepath.Join(t.TempDir(), "older")
	copyTree(t, filepath.Join(directory, "log"), older)
	l := open(t, directory)
	add(t, l, entries("s", 601, 700)...)
	closed(t, l)
	if err := os.RemoveAll(filepath.Join(directory, "log")); err != nil {
		t.Fatal(err)
	}
	copyTree(t, older, filepath.Join(directory, "log"))
	_, err := Open(context.Background(), options(directory))
	wantKind(t, err, errs.Corrupt,
		"the log has 600 records and its index 700: the log is an older copy")
}

// A damaged tile or payload shows where it is read.
func TestReadsOfDamagedFiles(t *testing.T) {
	directory, _ := grown(t, 600)
	change(t, directory, "log/tile/entries/001", flipAt(2000))
	statement(t, directory, payloadsFile, "UPDATE payloads SET body = x'00' WHERE leaf = 20")
	l := open(t, directory)
	ctx := context.Background()
	leaves, err := l.Records(ctx, []uint64{20})
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Payload(ctx, leaves[0])
	wantKind(t, err, errs.Corrupt, "record 20 commits to another payload")
	_, err = l.Export(ctx, Query{First: 256, End: 512})
	wantKind(t, err, errs.Corrupt, "tlog.export")
	_, err = l.Records(ctx, []uint64{600})
	wantKind(t, err, errs.NotFound, "record 600 of a log of 600")
	_, err = l.Find(ctx, "s", 601)
	wantKind(t, err, errs.NotFound, "source s has no record 601")
	_, err = l.Find(ctx, "nobody", 1)
	wantKind(t, err, errs.NotFound, "source nobody")
}

// A disk that fails under the tree stops the log; opened again, it goes on without loss.
func TestFailedTreeStopsTheLog(t *testing.T) {
	directory, _ := grown(t, 300)
	l := open(t, directory)
	blocked := filepath.Join(directory, "log/tile/entries/001.p")
	if err := os.RemoveAll(blocked); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(blocked, nil, 0o600); err != nil { // a file where a directory belongs
		t.Fatal(err)
	}
	err := l.Append(context.Background(), entries("s", 301, 310)...)
	wantKind(t, err, errs.Internal, "tlog.append: tree")
	for range 2 {
		err := l.Append(context.Background(), entries("s", 301, 310)...)
		wantKind(t, err, errs.Unavailable, "stopped until the log is opened again")
	}
	_ = l.Close() // the last checkpoint is there already
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
}

// A full payload store refuses the batch and nothing else; with room again the log goes on.
func TestFullPayloadStore(t *testing.T) {
	directory := t.TempDir()
	l := open(t, directory)
	add(t, l, entries("s", 1, 10)...)
	err := l.payloads.db.Write(context.Background(), func(tx *sql.Tx) error {
		_, err := tx.Exec("PRAGMA max_page_count = 10")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	big := entry("s", 11)
	big.Payload = make([]byte, evidence.MaxPayload)
	wantKind(t, l.Append(context.Background(), big), errs.NoSpace, "tlog.append: payloads")
	add(t, l, entry("s", 11))
	closed(t, l)
	if audit := verify(t, directory); audit.Checkpoint.Size != 11 {
		t.Errorf("got %+v", audit)
	}
}
