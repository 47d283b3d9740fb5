package image

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"surety/base/errs"
	"surety/sandbox/image/erofs"
)

// TestAssembleGivesTheTreeOfAStore lays out sources without a store: what they make is what a store
// makes of them.
func TestAssembleGivesTheTreeOfAStore(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"a": "1", "b": "22"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	source := Source{Kind: Tree, Where: dir, Options: Options{ZeroTime: true}}
	want, err := s.Add(context.Background(), source, "x")
	if err != nil {
		t.Fatal(err)
	}
	source.Kind = Automatic
	a, err := Assemble(context.Background(), source, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	plan, err := erofs.NewPlan(a.Root)
	if err != nil {
		t.Fatal(err)
	}
	h := newHashed(io.Discard)
	if err := plan.Write(context.Background(), h, nil); err != nil {
		t.Fatal(err)
	}
	if got := digestOf(h.sum); got != want.Digest || a.Config.WorkDir != "/" {
		t.Errorf("it makes %s, a store %s", got, want.Digest)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAssembleTakesParts of a root, which nothing is mounted on, and refuses what a store refuses.
func TestAssembleTakesParts(t *testing.T) {
	for part, names := range map[bool]int{false: 3, true: 0} {
		source := Source{Kind: Tree, Where: t.TempDir(), Options: Options{Part: part}}
		a, err := Assemble(context.Background(), source, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Root.Names(); len(got) != names {
			t.Errorf("a part: %v, and it has %q", part, got)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for kind, where := range map[Kind]string{Automatic: "absent", Tree: "absent", Program: "assemble.go",
		Archive: "assemble.go", "other": "x"} {
		_, err := Assemble(context.Background(), Source{Kind: kind, Where: where}, t.TempDir())
		if !errs.Is(err, errs.NotFound) && !errs.Is(err, errs.Invalid) {
			t.Errorf("%q %s: %v", kind, where, err)
		}
	}
	stopped, stop := context.WithCancel(context.Background())
	stop()
	_, err := Assemble(stopped, Source{Kind: Tree, Where: t.TempDir()}, t.TempDir())
	if !errs.Is(err, errs.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}
