package score

import (
	"testing"

	"surety/lending/score/portable"
)

// The benchmarks score random rows with a forest of 200 bushy trees of depth 4 over 20 features,
// the size of the default parameters, and with the hand-written card.

func BenchmarkForestSum(b *testing.B) {
	m, rows := benchModel(b)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Sum(rows[i&1023]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkForestScore(b *testing.B) {
	m, rows := benchModel(b)
	out := &Result{}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Score(rows[i&1023], out); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkCardScore(b *testing.B) {
	m := newModel(b, cardSpec())
	out := &Result{}
	values := []int64{250_00, 1, 1, 31}
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Score(values, out); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	m, _ := benchModel(b)
	file := m.Bytes()
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		if _, err := Load(file); err != nil {
			b.Fatal(err)
		}
	}
}

func benchModel(b *testing.B) (*Model, [][]int64) {
	stream := portable.NewStream(9)
	const features = 20
	spec := randomForest(stream, features, 0, 0)
	var bushy func(depth int, tree Tree) Tree
	bushy = func(depth int, tree Tree) Tree {
		if depth == 0 {
			return append(tree, []int64{stream.Below(200_000) - 100_000, 20 + stream.Below(500)})
		}
		tree = append(tree, []int64{stream.Below(features), stream.Below(4), stream.Below(2)})
		return bushy(depth-1, bushy(depth-1, tree))
	}
	for range 200 {
		spec.Forest.Trees = append(spec.Forest.Trees, bushy(4, nil))
	}
	rows := make([][]int64, 1024)
	for i := range rows {
		rows[i] = randomRow(stream, features)
	}
	return newModel(b, spec), rows
}
