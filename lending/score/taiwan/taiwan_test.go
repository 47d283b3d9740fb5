package taiwan

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"surety/lending/score"
	"surety/lending/score/evaluate"
	"surety/lending/score/frame"
)

var update = flag.Bool("update", false, "write the models that ship")

// TestShippedModels trains the models again from the public file, where it is at hand, and measures
// them on the rows they have not seen. Where it is absent, it checks that the shipped files load,
// name the features of the mapping, and leave the protected columns out.
func TestShippedModels(t *testing.T) {
	mapping, err := frame.Ship("taiwan")
	if err != nil {
		t.Fatal(err)
	}
	f := readFile(t, mapping)
	for _, c := range []struct {
		kind  score.Kind
		file  string
		floor evaluate.Micro
	}{{score.KindCard, "models/scorecard.json", 755_000}, {score.KindForest, "models/gbdt.json", 765_000}} {
		if f != nil && *update {
			m, err := Train(f, c.kind)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(c.file, m.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		m, err := Shipped(c.kind)
		if err != nil {
			t.Fatal(err)
		}
		for _, feature := range m.Features() {
			if feature.Name == "SEX" || feature.Name == "MARRIAGE" || feature.Name == "AGE" {
				t.Errorf("%s uses the protected column %s", c.file, feature.Name)
			}
		}
		if f == nil {
			continue
		}
		again, err := Train(f, c.kind)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Bytes(), m.Bytes()) {
			t.Errorf("%s: trained again it is %s, shipped it is %s", c.file, again.DigestText(), m.DigestText())
		}
		var unseen []int32
		for row := 1; row < f.Rows(); row += 2 {
			unseen = append(unseen, int32(row))
		}
		_, got, err := evaluate.Evaluate(m, f.Subset(unseen))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: AUC %s on rows it has not seen", c.file, got.AUC)
		if got.AUC < c.floor {
			t.Errorf("%s: AUC %s on unseen rows, want at least %s", c.file, got.AUC, c.floor)
		}
	}
}

// readFile returns the public file as a frame, or nil where it is not at hand.
func readFile(t *testing.T, mapping *frame.Mapping) *frame.Frame {
	t.Helper()
	name := filepath.Join("..", "..", "..", "..", "shared", "data", "taiwan_default.csv")
	if dir := os.Getenv("SURETY_DATA"); dir != "" {
		name = filepath.Join(dir, "taiwan_default.csv")
	}
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		t.Logf("taiwan_default.csv is not at hand (set SURETY_DATA): the models are not trained again")
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f, _, err := frame.Read(file, mapping)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
