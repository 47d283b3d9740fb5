package evidence

import (
	"fmt"
	"testing"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/merkle/testonly"

	"surety/base/errs"
)

// rfcLeaves and rfcRoots are the test vectors of certificate-transparency-go and of every log
// since: merkletree/merkle_tree_test.go, "inputs" and "roots".
var rfcLeaves = [][]byte{
	{}, {0x00}, {0x10}, {0x20, 0x21}, {0x30, 0x31}, {0x40, 0x41, 0x42, 0x43},
	{0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57},
	{0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f},
}

var rfcRoots = []string{
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
	"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
	"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
	"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
	"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
	"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
	"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
	"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}

func TestRootsOfTheReferenceVectors(t *testing.T) {
	var leaves []Hash
	for n := range rfcRoots {
		if got := Root(leaves).String(); got != rfcRoots[n] {
			t.Errorf("%d leaves: got %s, want %s", n, got, rfcRoots[n])
		}
		if n < len(rfcLeaves) {
			leaves = append(leaves, LeafHash(rfcLeaves[n]))
		}
	}
}

func TestLeafHashOfEveryLength(t *testing.T) {
	for n := range 1500 {
		leaf := make([]byte, n)
		if got, want := LeafHash(leaf), Hash(rfc6962.DefaultHasher.HashLeaf(leaf)); got != want {
			t.Fatalf("%d bytes: got %s, want %s", n, got, want)
		}
	}
}

// grow returns a reference tree of n leaves and their hashes.
func grow(n int) (*testonly.Tree, []Hash) {
	tree := testonly.New(rfc6962.DefaultHasher)
	var leaves []Hash
	for i := range n {
		data := fmt.Append(nil, "leaf ", i)
		tree.AppendData(data)
		leaves = append(leaves, LeafHash(data))
	}
	return tree, leaves
}

func hashesOf(slices [][]byte) []Hash {
	hashes := make([]Hash, len(slices))
	for i := range slices {
		hashes[i] = Hash(slices[i])
	}
	return hashes
}

func TestPathsAgainstTheReferenceTree(t *testing.T) {
	const most = 70
	tree, leaves := grow(most)
	for size := 1; size <= most; size++ {
		root := Root(leaves[:size])
		if want := Hash(tree.HashAt(uint64(size))); root != want {
			t.Fatalf("root of %d: got %s, want %s", size, root, want)
		}
		for index := range size {
			path, err := InclusionPath(leaves[:size], index)
			if err != nil {
				t.Fatal(err)
			}
			want, err := tree.InclusionProof(uint64(index), uint64(size))
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(path) != fmt.Sprint(hashesOf(want)) {
				t.Fatalf("path of %d in %d: got %v, want %v", index, size, path, hashesOf(want))
			}
			err = VerifyInclusion(leaves[index], uint64(index), uint64(size), path, root)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestInclusionFaults(t *testing.T) {
	_, leaves := grow(13)
	root := Root(leaves)
	path, err := InclusionPath(leaves, 5)
	if err != nil {
		t.Fatal(err)
	}
	other := leaves[6]
	for i := range path {
		broken := append([]Hash{}, path...)
		broken[i][0] ^= 1
		err := VerifyInclusion(leaves[5], 5, 13, broken, root)
		wantKind(t, err, errs.Corrupt, "leaf 5 in a tree of 13")
	}
	wantKind(t, VerifyInclusion(other, 5, 13, path, root), errs.Corrupt, "leaf 5")
	wantKind(t, VerifyInclusion(leaves[5], 4, 13, path, root), errs.Corrupt, "leaf 4")
	wantKind(t, VerifyInclusion(leaves[5], 5, 17, path, root), errs.Corrupt, "tree of 17")
	wantKind(t, VerifyInclusion(leaves[5], 13, 13, path, root), errs.Corrupt, "leaf 13")
	wantKind(t, VerifyInclusion(leaves[5], 5, 13, path[1:], root), errs.Corrupt, "leaf 5")
	wantKind(t, VerifyInclusion(leaves[5], 5, 13, path, other), errs.Corrupt, "leaf 5")
	long := make([]Hash, MaxProof+1)
	wantKind(t, VerifyInclusion(leaves[5], 5, 13, long, root), errs.Corrupt, "the limit is 65")
	for _, index := range []int{-1, 13} {
		_, err := InclusionPath(leaves, index)
		wantKind(t, err, errs.Invalid, "of a tree of 13")
	}
}

func TestConsistency(t *testing.T) {
	tree, leaves := grow(40)
	root := Root(leaves)
	for earlier := 0; earlier <= 40; earlier++ {
		var path []Hash
		if earlier > 0 {
			proof, err := tree.ConsistencyProof(uint64(earlier), 40)
			if err != nil {
				t.Fatal(err)
			}
			path = hashesOf(proof)
		}
		before := Root(leaves[:earlier])
		if err := VerifyConsistency(uint64(earlier), before, 40, root, path); err != nil {
			t.Fatalf("from %d: %v", earlier, err)
		}
		wrong := before
		wrong[3] ^= 1
		err := VerifyConsistency(uint64(earlier), wrong, 40, root, path)
		wantKind(t, err, errs.Corrupt, "consistency proof")
		err = VerifyConsistency(uint64(earlier), before, 40, root, append(path, root))
		wantKind(t, err, errs.Corrupt, "consistency proof")
	}
	long := make([]Hash, MaxProof+1)
	wantKind(t, VerifyConsistency(1, root, 40, root, long), errs.Corrupt, "the limit is 65")
}

func TestBatch(t *testing.T) {
	_, leaves := grow(5)
	b := Batch{Number: 12, Count: 5, Root: Root(leaves)}
	payload, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"number":12,"count":5,"root":"` + b.Root.String() + `"}`
	if string(payload) != want {
		t.Errorf("got %s, want %s", payload, want)
	}
	if back, err := DecodeBatch(payload); err != nil || back != b {
		t.Errorf("got %+v, %v", back, err)
	}
	for _, text := range []string{"", "{}", want + " ", `{"count":5,"number":12,"root":"` +
		b.Root.String() + `"}`, `{"number":12,"count":5,"root":"00"}`,
		`{"number":12,"count":0,"root":"` + b.Root.String() + `"}`} {
		_, err := DecodeBatch([]byte(text))
		wantKind(t, err, errs.Corrupt, "evidence.batch")
	}
	_, err = Batch{}.Encode()
	wantKind(t, err, errs.Invalid, "no leaves")
}

func BenchmarkRoot8190(b *testing.B) {
	leaves := make([]Hash, 8190)
	b.ReportAllocs()
	for b.Loop() {
		Root(leaves)
	}
}
