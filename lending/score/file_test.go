package score

import (
	"bytes"
	"crypto/sha256"
	"math"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/lending/score/portable"
)

// signed returns a file of a body with the right digest.
func signed(body []byte) []byte { return encodeFile(body, sha256.Sum256(body)) }

func TestFileRoundTrip(t *testing.T) {
	stream := portable.NewStream(5)
	for _, spec := range []*Spec{cardSpec(), forestSpec(), randomForest(stream, 8, 30, 4)} {
		m := newModel(t, spec)
		again, err := Load(m.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Bytes(), m.Bytes()) || again.Digest() != m.Digest() {
			t.Fatalf("%s: the file changes when it is read", m.Kind())
		}
		if !bytes.Contains(m.Bytes(), []byte(m.DigestText())) {
			t.Errorf("the digest %s is not in the file", m.DigestText())
		}
		a, b := &Result{}, &Result{}
		for range 200 {
			values := randomRow(stream, len(spec.Features))
			if err := m.Score(values, a); err != nil {
				t.Fatal(err)
			}
			if err := again.Score(values, b); err != nil || a.Score != b.Score || a.PDMicro != b.PDMicro {
				t.Fatalf("%d scores %d, read again %d, %v", values, a.Score, b.Score, err)
			}
			for i := range a.Contributions {
				if a.Contributions[i] != b.Contributions[i] {
					t.Fatalf("%d: %v and %v", values, a.Contributions[i], b.Contributions[i])
				}
			}
		}
	}
}

// TestFileIsPinned holds the format to its text: files written today are read for ever.
func TestFileIsPinned(t *testing.T) {
	want := strings.ReplaceAll(pinnedForest, "ZEROS", zeros)
	m := newModel(t, forestSpec())
	if got := string(m.Bytes()); got != want {
		t.Errorf("the file is\n%s\nwant\n%s", got, want)
	}
}

const pinnedForest = `{"digest":"sha256:593f405732172321157b728da0236ec3fdcc3b6a6bdc253689070f980b2e0d65","model":{
"format":1,
"kind":"gbdt",
"name":"hand",
"synthetic":false,
"mapping":"hand",
"mapping_sha256":"ZEROS",
"training":{"rows":100,"bad":20,"seed":1,"data_sha256":"ZEROS",` +
	`"params":[{"name":"max_bins","value":8}]},
"reasons":[
{"code":"R1","sentence":"Income is low & debts > income."},
{"code":"R2","sentence":"The trade is risky."},
{"code":"R3","sentence":"Payments were late."}],
"features":[
{"name":"income","kind":"numeric","decimals":2,"reason":"R1"},
{"name":"trade","kind":"categorical","levels":["bar","farm","shop"],"reason":"R2"},
{"name":"late","kind":"numeric","reason":"R3"},
{"name":"days","kind":"numeric","reason":"R3"}],
"forest":{
"base_micro":1400000,
"ranks":[
[],
[2,0,1],
[],
[]],
"trees":[
[[2,0,1],[0,10000,0],[-100000,30],[250000,40],[1,0,0],[-300000,10],[-700000,20]],
[[3,30,0],[90000,80],[-410000,20]]]
}
}}
`

func TestNewCopiesTheSpec(t *testing.T) {
	spec := forestSpec()
	m := newModel(t, spec)
	before, _ := m.Sum([]int64{0, 0, 0, 0})
	spec.Forest.Trees[0][2][0] = 999
	spec.Features[0].Name = "changed"
	if after, _ := m.Sum([]int64{0, 0, 0, 0}); after != before || m.Features()[0].Name != "income" {
		t.Error("the model changed with the spec it was made from")
	}
}

// TestEveryFlippedByteIsRefused changes one byte at a time; none may pass.
func TestEveryFlippedByteIsRefused(t *testing.T) {
	file := newModel(t, cardSpec()).Bytes()
	for i := range file {
		for _, flip := range []byte{0x01, 0x20, 0x80} {
			bad := bytes.Clone(file)
			bad[i] ^= flip
			if _, err := Load(bad); !errs.Is(err, errs.Corrupt) {
				t.Fatalf("byte %d flipped by %#x: %v, want corrupt", i, flip, err)
			}
		}
	}
	for size := range file {
		if _, err := Load(file[:size]); !errs.Is(err, errs.Corrupt) {
			t.Fatalf("cut off after %d bytes: %v, want corrupt", size, err)
		}
	}
	if _, err := Load(append(bytes.Clone(file), '\n')); !errs.Is(err, errs.Corrupt) {
		t.Errorf("a byte too many: %v, want corrupt", err)
	}
	if _, err := Load(make([]byte, MaxFileBytes+1)); !errs.Is(err, errs.TooLarge) {
		t.Errorf("a file too large: %v", err)
	}
}

// TestOtherTextsOfAModelAreRefused: the digest is right, the text is not the canonical one.
func TestOtherTextsOfAModelAreRefused(t *testing.T) {
	body, err := encodeBody(cardSpec())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(signed(body)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new string }{
		{"a space", `"format":1`, `"format": 1`},
		{"another order", "\"format\":1,\n\"kind\":\"scorecard\"", "\"kind\":\"scorecard\",\n\"format\":1"},
		{"a field twice", `"format":1`, `"format":1,"format":1`},
		{"a field unknown", `"format":1`, `"format":1,"colour":2`},
		{"a name in capitals", `"format":1`, `"Format":1`},
		{"an escaped letter", `"hand"`, `"h\u0061nd"`},
		{"a float", `"format":1`, `"format":1.0`},
		{"a null", `"synthetic":false`, `"synthetic":null`},
		{"trailing text", `}`, `}`},
	} {
		bad := bytes.Replace(body, []byte(c.old), []byte(c.new), 1)
		if c.name == "trailing text" {
			bad = append(bytes.Clone(body), " {}"...)
		}
		if _, err := Load(signed(bad)); !errs.Is(err, errs.Corrupt) {
			t.Errorf("%s: %v, want corrupt", c.name, err)
		}
	}
}

// TestRefusalsInOrder starts with every defect and mends one a row: each is found before the next.
func TestRefusalsInOrder(t *testing.T) {
	spec := forestSpec()
	spec.Format = 2
	spec.Name = ""
	spec.MappingSHA256 = "ABC"
	spec.Training.Bad = 101
	spec.Training.Params = make([]Param, MaxParams+1)
	spec.Training.DataSHA256 = strings.ToUpper(strings.Repeat("ab", 32))
	spec.Reasons[1].Code = "R1"
	spec.Features[1].Levels = []string{"bar", "bar", "shop"}
	spec.Features[2].Decimals = 10
	spec.Features[3].Name = "late"
	spec.Card = cardSpec().Card
	spec.Forest.BaseMicro = MaxBaseMicro + 1
	spec.Forest.Ranks[1] = []int64{0}
	spec.Forest.Trees[0][0][0] = 4
	spec.Forest.Trees[1][1][1] = 0
	for _, c := range []struct {
		want string
		mend func()
	}{
		{"format 2", func() { spec.Format = Format }},
		{"name is empty", func() { spec.Name = "hand" }},
		{"mapping_sha256", func() { spec.MappingSHA256 = zeros }},
		{"100 rows of which 101", func() { spec.Training.Bad = 20 }},
		{"65 parameters, limit 64", func() { spec.Training.Params = nil }},
		{"data_sha256", func() { spec.Training.DataSHA256 = zeros }},
		{"not ascending", func() { spec.Reasons[1].Code = "R2" }},
		{"levels", func() { spec.Features[1].Levels[0], spec.Features[1].Levels[1] = "a", "b" }},
		{"10 decimals", func() { spec.Features[2].Decimals = 0 }},
		{"occurs twice", func() { spec.Features[3].Name = "days" }},
		{"does not go with its content", func() { spec.Card = nil }},
		{"base 50000001", func() { spec.Forest.BaseMicro = 0 }},
		{"1 ranks for 3 levels", func() { spec.Forest.Ranks[1] = []int64{2, 0, 1} }},
		{"split 0", func() { spec.Forest.Trees[0][0][0] = 2 }},
		{"leaf 1", func() { spec.Forest.Trees[1][1][1] = 80 }},
	} {
		if _, err := New(spec); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Fatalf("got %v, want %q", err, c.want)
		}
		c.mend()
	}
	if _, err := New(spec); err != nil {
		t.Fatalf("all is mended: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	deep := Tree{}
	for range MaxDepth + 1 {
		deep = append(deep, []int64{0, 0, 0})
	}
	full := Tree{{0, 5, 0}, {1, 1}, {1, 1}}
	card, forest := cardSpec, forestSpec
	for _, c := range []struct {
		name string
		spec func() *Spec
		harm func(s *Spec)
		kind errs.Kind
	}{
		{"an unknown kind", card, func(s *Spec) { s.Kind = "oracle" }, errs.Corrupt},
		{"no features", card, func(s *Spec) { s.Features = nil }, errs.Corrupt},
		{"too many features", card, func(s *Spec) { s.Features = make([]Feature, MaxFeatures+1) }, errs.TooLarge},
		{"too many reasons", card, func(s *Spec) { s.Reasons = make([]ReasonText, MaxReasons+1) }, errs.TooLarge},
		{"a reason that is not listed", card, func(s *Spec) { s.Features[0].Reason = "R9" }, errs.Corrupt},
		{"a control character", card, func(s *Spec) { s.Name = "a\nb" }, errs.Corrupt},
		{"text that is not UTF-8", card, func(s *Spec) { s.Name = "a\xff" }, errs.Corrupt},
		{"a text too long", card, func(s *Spec) { s.Name = strings.Repeat("a", MaxTextBytes+1) }, errs.TooLarge},
		{"a feature kind", card, func(s *Spec) { s.Features[0].Kind = "odd" }, errs.Corrupt},
		{"numeric with levels", card, func(s *Spec) { s.Features[0].Levels = []string{"a"} }, errs.Corrupt},
		{"categorical without", card, func(s *Spec) { s.Features[1].Levels = nil }, errs.Corrupt},
		{"too many levels", card, func(s *Spec) { s.Features[1].Levels = make([]string, MaxLevels+1) }, errs.TooLarge},
		{"card of other features", card, func(s *Spec) { s.Card.Features[0].Name = "late" }, errs.Corrupt},
		{"card of fewer features", card, func(s *Spec) { s.Card.Features = s.Card.Features[:3] }, errs.Corrupt},
		{"base points", card, func(s *Spec) { s.Card.BasePoints = MaxPoints + 1 }, errs.Corrupt},
		{"points", card, func(s *Spec) { s.Card.Features[0].Bins[0].Points = -MaxPoints - 1 }, errs.Corrupt},
		{"too many bins", card, func(s *Spec) { s.Card.Features[0].Bins = make([]Bin, MaxBins+1) }, errs.TooLarge},
		{"no missing bin", card, func(s *Spec) { s.Card.Features[0].Bins = s.Card.Features[0].Bins[1:] }, errs.Corrupt},
		{"missing bin alone", card, func(s *Spec) { s.Card.Features[0].Bins = s.Card.Features[0].Bins[:1] }, errs.Corrupt},
		{"no range bin", card, func(s *Spec) { s.Card.Features[0].Bins = s.Card.Features[0].Bins[:3] }, errs.Corrupt},
		{"no open end", card, func(s *Spec) { s.Card.Features[0].Bins = s.Card.Features[0].Bins[:5] }, errs.Corrupt},
		{"bounds fall", card, func(s *Spec) { s.Card.Features[0].Bins[4].Bound = bound(1) }, errs.Corrupt},
		{"specials fall", card, func(s *Spec) { s.Card.Features[0].Bins[2].Bound = bound(-2) }, errs.Corrupt},
		{"special after range", card, func(s *Spec) { s.Card.Features[0].Bins[4].Kind = BinSpecial }, errs.Corrupt},
		{"levels in a range", card, func(s *Spec) { s.Card.Features[0].Bins[3].Levels = []int64{0} }, errs.Corrupt},
		{"a level twice", card, func(s *Spec) { s.Card.Features[1].Bins[1].Levels = []int64{1} }, errs.Corrupt},
		{"a level too few", card, func(s *Spec) { s.Card.Features[1].Bins[2].Levels = []int64{1} }, errs.Corrupt},
		{"a level that is none", card, func(s *Spec) { s.Card.Features[1].Bins[2].Levels = []int64{1, 3} }, errs.Corrupt},
		{"levels unsorted", card, func(s *Spec) { s.Card.Features[1].Bins[2].Levels = []int64{2, 1} }, errs.Corrupt},
		{"a bound for levels", card, func(s *Spec) { s.Card.Features[1].Bins[1].Bound = bound(1) }, errs.Corrupt},
		{"ranks of fewer features", forest, func(s *Spec) { s.Forest.Ranks = s.Forest.Ranks[1:] }, errs.Corrupt},
		{"a rank below zero", forest, func(s *Spec) { s.Forest.Ranks[1][0] = -1 }, errs.Corrupt},
		{"too many trees", forest, func(s *Spec) { s.Forest.Trees = make([]Tree, MaxTrees+1) }, errs.TooLarge},
		{"an empty tree", forest, func(s *Spec) { s.Forest.Trees[0] = Tree{} }, errs.Corrupt},
		{"a tree cut off", forest, func(s *Spec) { s.Forest.Trees[0] = s.Forest.Trees[0][:6] }, errs.Corrupt},
		{"nodes after the end", forest, func(s *Spec) { s.Forest.Trees[0] = append(full, full...) }, errs.Corrupt},
		{"a node of four", forest, func(s *Spec) { s.Forest.Trees[0] = Tree{{1, 2, 3, 4}} }, errs.Corrupt},
		{"a tree too deep", forest, func(s *Spec) { s.Forest.Trees[0] = deep }, errs.TooLarge},
		{"a missing direction", forest, func(s *Spec) { s.Forest.Trees[0][0][2] = 2 }, errs.Corrupt},
		{"a cut that is missing", forest, func(s *Spec) { s.Forest.Trees[0][0][1] = Missing }, errs.Corrupt},
		{"a cut that is all", forest, func(s *Spec) { s.Forest.Trees[0][0][1] = math.MaxInt64 }, errs.Corrupt},
		{"a leaf too high", forest, func(s *Spec) { s.Forest.Trees[0][2][0] = MaxLeafMicro + 1 }, errs.Corrupt},
		{"forest and card", forest, func(s *Spec) { s.Card = cardSpec().Card }, errs.Corrupt},
	} {
		s := c.spec()
		c.harm(s)
		if _, err := New(s); !errs.Is(err, c.kind) {
			t.Errorf("%s: %v, want %s", c.name, err, c.kind)
		}
	}
}

// TestAttributionTableIsBounded: many deep trees are within each limit and beyond this one.
func TestAttributionTableIsBounded(t *testing.T) {
	s := forestSpec()
	var bushy func(depth int, tree Tree) Tree
	bushy = func(depth int, tree Tree) Tree {
		if depth == 0 {
			return append(tree, []int64{1, 1})
		}
		tree = append(tree, []int64{0, int64(depth), 0})
		return bushy(depth-1, bushy(depth-1, tree))
	}
	tree := bushy(MaxDepth, nil)
	s.Forest.Trees = nil
	for range 1 + MaxAttributionEntries/(64*6*64) {
		s.Forest.Trees = append(s.Forest.Trees, tree)
	}
	if _, err := New(s); !errs.Is(err, errs.TooLarge) {
		t.Errorf("%d trees of depth %d: %v, want too large", len(s.Forest.Trees), MaxDepth, err)
	}
}

// FuzzLoad feeds bodies whose digest is right, since no fuzzer finds a digest: what is accepted
// must be canonical and must score any row without failing.
func FuzzLoad(f *testing.F) {
	random := randomForest(portable.NewStream(1), 3, 2, 3)
	for _, spec := range []*Spec{cardSpec(), forestSpec(), random} {
		body, err := encodeBody(spec)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, int64(0), int64(7))
	}
	f.Fuzz(func(t *testing.T, body []byte, first, second int64) {
		m, err := Load(signed(body))
		if err != nil {
			if m != nil || !errs.Is(err, errs.Corrupt) && !errs.Is(err, errs.TooLarge) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if !bytes.Equal(m.Bytes(), signed(body)) {
			t.Fatal("accepted and not canonical")
		}
		values := make([]int64, len(m.Features()))
		for i := range values {
			values[i] = []int64{first, second, Missing}[i%3]
		}
		out := &Result{}
		if err := m.Score(values, out); err != nil {
			t.Fatal(err)
		}
		if sum, err := m.Sum(values); err != nil || sum != out.Score {
			t.Fatalf("sum %d, score %d, %v", sum, out.Score, err)
		}
		if _, err := m.Explain(values); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzFile feeds whole files: nothing but a whole one passes.
func FuzzFile(f *testing.F) {
	m, err := New(cardSpec())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.Bytes())
	f.Add([]byte(filePrefix))
	f.Add([]byte(filePrefix + zeros + fileMiddle + fileSuffix))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Load(data)
		if err == nil && !bytes.Equal(m.Bytes(), data) {
			t.Fatal("accepted and not canonical")
		}
	})
}
