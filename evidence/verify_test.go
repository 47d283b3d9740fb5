package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"surety/base/errs"
	"surety/base/ident"
)

const testOrigin = "log.example/evidence"

// testKeys returns a signer and its key, always the same for a seed.
func testKeys(t testing.TB, seed byte) (note.Signer, Key) {
	t.Helper()
	secret, public, err := note.GenerateKey(rand.NewChaCha8([32]byte{seed}), testOrigin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKey(" " + public + "\n")
	if err != nil || key.String() != public || key.Origin() != testOrigin {
		t.Fatalf("got key %v, %v", key, err)
	}
	return signer, key
}

func sign(t testing.TB, signer note.Signer, text string) string {
	t.Helper()
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return string(signed)
}

func checkpointText(size int, root Hash) string {
	return fmt.Sprintf("%s\n%d\n%s\n", testOrigin, size, base64.StdEncoding.EncodeToString(root[:]))
}

// plant is a good bundle with all that is needed to make bad ones of it. Records 2, 5 and 6 of a
// log of 11 name the subject; 5 is sealed and withheld; 6 is a ledger batch and shows its leaf 3.
type plant struct {
	signer   note.Signer
	key      Key
	bundle   *Bundle
	leaves   []Hash
	encoded  [][]byte
	payloads [][]byte
}

var theLoan = ident.ID{Hi: 5, Lo: 500}

func newPlant(t testing.TB) *plant {
	t.Helper()
	p := &plant{}
	p.signer, p.key = testKeys(t, 1)
	operations, batch := plantBatch(t)
	for i := range 11 {
		e := sampleEntry()
		e.SourceSeq, e.Subjects = uint64(i+1), []ident.ID{{Lo: uint64(1000 + i)}}
		e.Payload = fmt.Appendf(nil, `{"n":%d}`, i)
		switch i {
		case 2:
			e.Subjects = append(e.Subjects, theLoan)
		case 5:
			e.Trace, e.Sealed = theLoan, true
		case 6:
			e.Subjects = append(e.Subjects, theLoan)
			e.Kind, e.Payload = KindBatch, batch
		}
		r := e.Record()
		encoded, err := r.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		p.encoded = append(p.encoded, encoded)
		p.leaves = append(p.leaves, LeafHash(encoded))
		p.payloads = append(p.payloads, e.Payload)
	}
	p.bundle = p.build(t, 2, 5, 6)
	p.bundle.Entries[1].Payload, p.bundle.Entries[1].Withheld = nil, "sealed"
	path, err := InclusionPath(operationLeaves(operations), 3)
	if err != nil {
		t.Fatal(err)
	}
	p.bundle.Entries[2].Inner = []Inner{{Index: 3, Leaf: operations[3], Path: path}}
	return p
}

func plantBatch(t testing.TB) (operations [][]byte, payload []byte) {
	for i := range 6 {
		operations = append(operations, bytes.Repeat([]byte{byte(i)}, 128))
	}
	payload, err := Batch{Number: 3, Count: 6, Root: Root(operationLeaves(operations))}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return operations, payload
}

func operationLeaves(operations [][]byte) (leaves []Hash) {
	for _, operation := range operations {
		leaves = append(leaves, LeafHash(operation))
	}
	return leaves
}

// build makes a bundle of the records, with a statement about theLoan.
func (p *plant) build(t testing.TB, indexes ...uint64) *Bundle {
	t.Helper()
	size := len(p.leaves)
	b := &Bundle{
		Format: BundleFormat, Version: BundleVersion, Origin: testOrigin, Key: p.key.String(),
		Checkpoint: sign(t, p.signer, checkpointText(size, Root(p.leaves))),
		Earlier:    sign(t, p.signer, checkpointText(4, Root(p.leaves[:4]))),
	}
	tree, _ := grow(0)
	for _, leaf := range p.encoded {
		tree.AppendData(leaf)
	}
	proof, err := tree.ConsistencyProof(4, uint64(size))
	if err != nil {
		t.Fatal(err)
	}
	b.Consistency = hashesOf(proof)
	for _, index := range indexes {
		path, err := InclusionPath(p.leaves, int(index))
		if err != nil {
			t.Fatal(err)
		}
		b.Entries = append(b.Entries, BundleEntry{
			Index: index, Record: p.encoded[index], Proof: path, Payload: &p.payloads[index],
		})
	}
	b.Statement = p.state(t, Statement{
		Origin: testOrigin, Size: uint64(size), IDs: []ident.ID{theLoan},
		Count: uint64(len(indexes)), Digest: DigestIndexes(indexes),
	})
	return b
}

func (p *plant) state(t testing.TB, s Statement) string {
	t.Helper()
	text, err := s.Text()
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, p.signer, text)
}

func TestGoodBundle(t *testing.T) {
	p := newPlant(t)
	encoded, err := p.bundle.Encode()
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := DecodeBundle(encoded)
	if err != nil {
		t.Fatal(err)
	}
	report, err := Verify(decoded, p.key)
	if err != nil {
		t.Fatal(err)
	}
	if report.Checkpoint.Size != 11 || report.Earlier != 4 || report.Payloads != 2 ||
		report.Withheld != 1 || report.Inner != 1 || len(report.Records) != 3 ||
		report.Records[1].SourceSeq != 6 || report.Statement.IDs[0] != theLoan {
		t.Errorf("got %+v", report)
	}
}

func TestGoodRange(t *testing.T) {
	p := newPlant(t)
	b := p.build(t, 3, 4, 5)
	b.Statement = p.state(t, Statement{Origin: testOrigin, Size: 11, First: 3, End: 6, Count: 3,
		Digest: DigestIndexes([]uint64{3, 4, 5})})
	if _, err := Verify(b, p.key); err != nil {
		t.Fatal(err)
	}
	empty := p.build(t)
	empty.Statement = p.state(t, Statement{Origin: testOrigin, Size: 11, First: 3, End: 3,
		Digest: DigestIndexes(nil)})
	if _, err := Verify(empty, p.key); err != nil {
		t.Fatal(err)
	}
}

// Every planted fault is refused, and the text names what is wrong.
func TestPlantedFaults(t *testing.T) {
	otherSigner, otherKey := testKeys(t, 2)
	for _, row := range []struct {
		name     string
		damage   func(t *testing.T, p *plant, b *Bundle)
		kind     errs.Kind
		fragment string
	}{
		{"format", func(t *testing.T, p *plant, b *Bundle) { b.Format = "x" },
			errs.Invalid, "format is not"},
		{"later version", func(t *testing.T, p *plant, b *Bundle) { b.Version = 2 },
			errs.Invalid, "version 2, known is 1"},
		{"another log", func(t *testing.T, p *plant, b *Bundle) { b.Origin = "other.example" },
			errs.Corrupt, `bundle is of log "other.example", the trusted key of "log.example/evidence"`},
		{"another key", func(t *testing.T, p *plant, b *Bundle) { p.key = otherKey },
			errs.Corrupt, "checkpoint: not signed by the trusted key log.example/evidence+"},
		{"checkpoint signed by another key", func(t *testing.T, p *plant, b *Bundle) {
			b.Checkpoint = sign(t, otherSigner, checkpointText(11, Root(p.leaves)))
		}, errs.Corrupt, "checkpoint: not signed by the trusted key"},
		{"checkpoint size", func(t *testing.T, p *plant, b *Bundle) {
			b.Checkpoint = strings.Replace(b.Checkpoint, "\n11\n", "\n12\n", 1)
		}, errs.Corrupt, "checkpoint: signature by log.example/evidence"},
		{"checkpoint is a statement", func(t *testing.T, p *plant, b *Bundle) {
			b.Checkpoint = b.Statement
		}, errs.Corrupt, "checkpoint: not a checkpoint of log"},
		{"checkpoint is no note", func(t *testing.T, p *plant, b *Bundle) { b.Checkpoint = "x" },
			errs.Corrupt, "checkpoint: not a signed note"},
		{"checkpoint too long", func(t *testing.T, p *plant, b *Bundle) {
			b.Checkpoint = strings.Repeat("x", MaxNote+1)
		}, errs.Corrupt, "checkpoint: note has 65537 bytes"},
		{"checkpoint with padded size", func(t *testing.T, p *plant, b *Bundle) {
			text := strings.Replace(checkpointText(11, Root(p.leaves)), "\n11\n", "\n011\n", 1)
			b.Checkpoint = sign(t, p.signer, text)
		}, errs.Corrupt, "checkpoint: size is not a number"},
		{"checkpoint with short root", func(t *testing.T, p *plant, b *Bundle) {
			b.Checkpoint = sign(t, p.signer, testOrigin+"\n11\nAAAA\n")
		}, errs.Corrupt, "checkpoint: root is not a hash"},
		{"earlier by another key", func(t *testing.T, p *plant, b *Bundle) {
			b.Earlier = sign(t, otherSigner, checkpointText(4, Root(p.leaves[:4])))
		}, errs.Corrupt, "earlier checkpoint: not signed"},
		{"earlier above", func(t *testing.T, p *plant, b *Bundle) {
			b.Earlier = sign(t, p.signer, checkpointText(12, Root(p.leaves)))
		}, errs.Corrupt, "earlier checkpoint: size 12 is above the checkpoint's 11"},
		{"earlier of another history", func(t *testing.T, p *plant, b *Bundle) {
			b.Earlier = sign(t, p.signer, checkpointText(4, Root(p.leaves[1:5])))
		}, errs.Corrupt, "earlier checkpoint: consistency proof from a tree of 4 to one of 11"},
		{"consistency flipped", func(t *testing.T, p *plant, b *Bundle) { b.Consistency[0][0] ^= 1 },
			errs.Corrupt, "consistency proof from a tree of 4"},
		{"consistency alone", func(t *testing.T, p *plant, b *Bundle) { b.Earlier = "" },
			errs.Corrupt, "a consistency proof without a checkpoint"},
		{"no statement", func(t *testing.T, p *plant, b *Bundle) { b.Statement = "" },
			errs.Corrupt, "statement: not a signed note"},
		{"statement is a checkpoint", func(t *testing.T, p *plant, b *Bundle) {
			b.Statement = b.Checkpoint
		}, errs.Corrupt, "statement: not a statement of log"},
		{"statement by another key", func(t *testing.T, p *plant, b *Bundle) {
			text, _, _ := strings.Cut(b.Statement, "\n\n")
			b.Statement = sign(t, otherSigner, text+"\n")
		}, errs.Corrupt, "statement: not signed by the trusted key"},
		{"statement about another tree", func(t *testing.T, p *plant, b *Bundle) {
			b.Statement = p.state(t, Statement{Origin: testOrigin, Size: 10, IDs: []ident.ID{theLoan},
				Count: 3, Digest: DigestIndexes([]uint64{2, 5, 6})})
		}, errs.Corrupt, "statement is about a tree of 10, the checkpoint of one of 11"},
		{"statement about nobody", func(t *testing.T, p *plant, b *Bundle) {
			b.Statement = sign(t, p.signer, testOrigin+"/statement\n1\n11\nids\n3\nAAAA\n")
		}, errs.Corrupt, "neither a range nor ids"},
		{"statement about a malformed id", func(t *testing.T, p *plant, b *Bundle) {
			b.Statement = sign(t, p.signer, testOrigin+"/statement\n1\n11\nids 5\n3\nAAAA\n")
		}, errs.Corrupt, "id 1 is not in its one form"},
		{"statement about a range beyond", func(t *testing.T, p *plant, b *Bundle) {
			b.Statement = sign(t, p.signer, testOrigin+"/statement\n1\n11\nrange 3 12\n3\nAAAA\n")
		}, errs.Corrupt, "range 3 to 12 of a tree of 11"},
		{"range with a gap", func(t *testing.T, p *plant, b *Bundle) {
			b.Statement = p.state(t, Statement{Origin: testOrigin, Size: 11, First: 2, End: 7,
				Count: 3, Digest: DigestIndexes([]uint64{2, 5, 6})})
		}, errs.Corrupt, "range of 5 records, the statement names 3"},
		{"reordered", func(t *testing.T, p *plant, b *Bundle) {
			b.Entries[0], b.Entries[1] = b.Entries[1], b.Entries[0]
		}, errs.Corrupt, "entry 2: record 2 after record 5, reordered or repeated"},
		{"repeated", func(t *testing.T, p *plant, b *Bundle) {
			b.Entries = append(b.Entries, b.Entries[2])
		}, errs.Corrupt, "entry 4: record 6 after record 6"},
		{"missing", func(t *testing.T, p *plant, b *Bundle) { b.Entries = b.Entries[:2] },
			errs.Corrupt, "statement names 3 records, the bundle has 2: missing or added"},
		{"added", func(t *testing.T, p *plant, b *Bundle) {
			b.Entries = append(b.Entries, p.build(t, 7).Entries...)
		}, errs.Corrupt, "statement names 3 records, the bundle has 4"},
		{"exchanged", func(t *testing.T, p *plant, b *Bundle) {
			b.Entries[2] = p.build(t, 7).Entries[0]
		}, errs.Corrupt, "not those the statement names"},
		{"renumbered", func(t *testing.T, p *plant, b *Bundle) { b.Entries[2].Index = 7 },
			errs.Corrupt, "not those the statement names"},
		{"record of no version", func(t *testing.T, p *plant, b *Bundle) {
			b.Entries[0].Record = flip(b.Entries[0].Record, 0)
		}, errs.Corrupt, "entry 1 (record 2): record: evidence.record: version 0"},
		{"record cut", func(t *testing.T, p *plant, b *Bundle) {
			b.Entries[0].Record = b.Entries[0].Record[:50]
		}, errs.Corrupt, "entry 1 (record 2): record: evidence.record: 50 bytes end too early"},
		{"record about somebody else", func(t *testing.T, p *plant, b *Bundle) {
			b.Statement = p.state(t, Statement{Origin: testOrigin, Size: 11,
				IDs: []ident.ID{{Lo: 1002}}, Count: 3, Digest: DigestIndexes([]uint64{2, 5, 6})})
		}, errs.Corrupt, "entry 2 (record 5): record is outside what the statement speaks of"},
		{"instant flipped", func(t *testing.T, p *plant, b *Bundle) {
			b.Entries[0].Record = flip(b.Entries[0].Record, 17)
		}, errs.Corrupt, "entry 1 (record 2): inclusion proof of leaf 2 in a tree of 11"},
		{"digest flipped", func(t *testing.T, p *plant, b *Bundle) {
			b.Entries[0].Record = flip(b.Entries[0].Record, 40)
		}, errs.Corrupt, "entry 1 (record 2): payload of 7 bytes does not match"},
		{"digest of a withheld payload flipped", func(t *testing.T, p *plant, b *Bundle) {
			b.Entries[1].Record = flip(b.Entries[1].Record, 40)
		}, errs.Corrupt, "entry 2 (record 5): inclusion proof"},
		{"payload flipped", func(t *testing.T, p *plant, b *Bundle) {
			changed := flip(*b.Entries[0].Payload, 3)
			b.Entries[0].Payload = &changed
		}, errs.Corrupt, "entry 1 (record 2): payload of 7 bytes does not match"},
		{"payload longer", func(t *testing.T, p *plant, b *Bundle) {
			changed := append(bytes.Clone(*b.Entries[0].Payload), ' ')
			b.Entries[0].Payload = &changed
		}, errs.Corrupt, "payload of 8 bytes does not match the record's 7"},
		{"payload missing", func(t *testing.T, p *plant, b *Bundle) { b.Entries[0].Payload = nil },
			errs.Corrupt, "payload is missing and nothing says why"},
		{"payload said to be missing", func(t *testing.T, p *plant, b *Bundle) {
			b.Entries[0].Withheld = "sealed"
		}, errs.Corrupt, "payload is present and said to be withheld"},
		{"proof flipped", func(t *testing.T, p *plant, b *Bundle) { b.Entries[2].Proof[1][31] ^= 1 },
			errs.Corrupt, "entry 3 (record 6): inclusion proof of leaf 6"},
		{"proof of another record", func(t *testing.T, p *plant, b *Bundle) {
			b.Entries[2].Proof = b.Entries[0].Proof
		}, errs.Corrupt, "entry 3 (record 6): inclusion proof"},
		{"proof cut", func(t *testing.T, p *plant, b *Bundle) {
			b.Entries[2].Proof = b.Entries[2].Proof[1:]
		}, errs.Corrupt, "entry 3 (record 6): inclusion proof"},
		{"inner leaf of no batch", func(t *testing.T, p *plant, b *Bundle) {
			b.Entries[0].Inner = b.Entries[2].Inner
		}, errs.Corrupt, "entry 1 (record 2): inner leaves without the payload of a ledger.batch"},
		{"too many inner leaves", func(t *testing.T, p *plant, b *Bundle) {
			b.Entries[2].Inner = make([]Inner, MaxInner+1)
		}, errs.Corrupt, "8193 inner leaves, the limit is 8192"},
		{"inner leaf flipped", func(t *testing.T, p *plant, b *Bundle) {
			b.Entries[2].Inner[0].Leaf = flip(b.Entries[2].Inner[0].Leaf, 9)
		}, errs.Corrupt, "entry 3 (record 6): inner leaf 1 of batch 3: inclusion proof of leaf 3"},
		{"inner leaf moved", func(t *testing.T, p *plant, b *Bundle) {
			b.Entries[2].Inner[0].Index = 2
		}, errs.Corrupt, "inner leaf 1 of batch 3"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPlant(t)
			row.damage(t, p, p.bundle)
			_, err := Verify(p.bundle, p.key)
			wantKind(t, err, row.kind, row.fragment)
		})
	}
}

func flip(b []byte, at int) []byte {
	changed := bytes.Clone(b)
	changed[at] ^= 1
	return changed
}

// Any single bit of a record, payload, proof or note changed is found.
func TestEveryFlippedByte(t *testing.T) {
	p := newPlant(t)
	good, err := p.bundle.Encode()
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, at int, damage func(b *Bundle)) {
		b, err := DecodeBundle(good)
		if err != nil {
			t.Fatal(err)
		}
		damage(b)
		if _, err := Verify(b, p.key); err == nil {
			t.Errorf("%s: byte %d flipped and accepted", what, at)
		}
	}
	text := func(s string, at int) string { return string(flip([]byte(s), at)) }
	for i := range p.bundle.Checkpoint {
		refused("checkpoint", i, func(b *Bundle) { b.Checkpoint = text(b.Checkpoint, i) })
	}
	for i := range p.bundle.Earlier {
		refused("earlier", i, func(b *Bundle) { b.Earlier = text(b.Earlier, i) })
	}
	for i := range p.bundle.Statement {
		refused("statement", i, func(b *Bundle) { b.Statement = text(b.Statement, i) })
	}
	for n, e := range p.bundle.Entries {
		for i := range e.Record {
			refused("record", i, func(b *Bundle) { b.Entries[n].Record[i] ^= 1 })
		}
		for i := range len(e.Proof) * sha256.Size {
			refused("proof", i, func(b *Bundle) {
				b.Entries[n].Proof[i/sha256.Size][i%sha256.Size] ^= 1
			})
		}
		if e.Payload == nil {
			continue
		}
		for i := range *e.Payload {
			refused("payload", i, func(b *Bundle) { (*b.Entries[n].Payload)[i] ^= 1 })
		}
	}
}

func TestDecodeBundleRefusals(t *testing.T) {
	good, err := newPlant(t).bundle.Encode()
	if err != nil {
		t.Fatal(err)
	}
	replace := func(from, to string) []byte {
		return bytes.Replace(good, []byte(from), []byte(to), 1)
	}
	for _, row := range []struct {
		name     string
		data     []byte
		kind     errs.Kind
		fragment string
	}{
		{"empty", nil, errs.Invalid, "not JSON"},
		{"another document", []byte(`{"a":1}`), errs.Invalid, "format is not"},
		{"later version", replace(`"version": 1`, `"version": 2`), errs.Invalid, "version 2, known is 1"},
		{"unknown key", replace(`"origin"`, `"orgin"`), errs.Invalid, "orgin"},
		{"something after", append(bytes.Clone(good), '{'), errs.Invalid, ""},
		{"short hash", replace(`"proof": [`, `"proof": ["AAAA",`), errs.Invalid, "32 bytes in base64"},
		{"too large", make([]byte, MaxBundle+1), errs.TooLarge, "the limit is 268435456"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := DecodeBundle(row.data)
			wantKind(t, err, row.kind, row.fragment)
		})
	}
}

func TestStatementLimits(t *testing.T) {
	s := Statement{Origin: testOrigin, IDs: make([]ident.ID, MaxStatementIDs+1)}
	_, err := s.Text()
	wantKind(t, err, errs.TooLarge, "1025 ids, the limit is 1024")
	s.IDs = s.IDs[:MaxStatementIDs]
	for i := range s.IDs {
		s.IDs[i] = ident.ID{Lo: uint64(i + 1)}
	}
	signer, key := testKeys(t, 1)
	text, err := s.Text()
	if err != nil {
		t.Fatal(err)
	}
	back, err := OpenStatement(sign(t, signer, text), key)
	if err != nil || !slices.Equal(back.IDs, s.IDs) {
		t.Fatalf("the largest statement: %v", err)
	}
}

func TestParseKeyRefusals(t *testing.T) {
	for _, text := range []string{"", "x", "a+b+c", testOrigin + "+00000000+AAAA"} {
		_, err := ParseKey(text)
		wantKind(t, err, errs.Invalid, "evidence.key")
	}
}

func FuzzDecodeBundle(f *testing.F) {
	p := newPlant(f)
	good, err := p.bundle.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := DecodeBundle(data)
		if err != nil {
			return
		}
		if report, err := Verify(b, p.key); err == nil && report.Checkpoint.Size != 11 {
			t.Fatal("a bundle of another tree was accepted")
		}
	})
}
