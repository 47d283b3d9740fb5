package pack

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/layer"
)

// TestCompareNamesEveryFile changes one of everything in a public layer.
func TestCompareNamesEveryFile(t *testing.T) {
	files := map[string]string{"same": "same", "a/content": "one", "a/size": "x", "mode": "m", "link": "->same",
		"gone": "12", "kind": "file", "gonedir/x": ""}
	one := tree(t, files)
	two := tree(t, files)
	plant(t, two, map[string]string{"a/content": "two", "a/size": "xyz", "new": "n"})
	must(t, os.Chmod(filepath.Join(two, "mode"), 0o755))
	for _, name := range []string{"link", "gone", "kind", "gonedir"} {
		must(t, os.RemoveAll(filepath.Join(two, name)))
	}
	plant(t, two, map[string]string{"link": "->a/size", "kind/": ""})
	part := func(dir string) []Part {
		return []Part{{Name: "root", Kind: enclave.Public, Target: "/", Dir: dir}}
	}
	before, after := build(t, builder(nil), manifest(), part(one)), build(t, builder(nil), manifest(), part(two))
	c, err := Compare(context.Background(), before, after, nil, nil)
	must(t, err)
	var got []string
	for _, d := range c.Files {
		got = append(got, strings.Join([]string{d.Layer, d.Path, d.What, d.Before, d.After}, "|"))
	}
	want := []string{"root|/a/content|content||", "root|/a/size|size|1|3",
		"root|/gone|removed|file of 2 bytes, mode 0644|", "root|/gonedir|removed|directory, mode 0755|",
		"root|/gonedir/x|removed|file of 0 bytes, mode 0644|", "root|/kind|type|file|directory",
		"root|/link|target|same|a/size", "root|/mode|mode|0644|0755", "root|/new|added||file of 1 bytes, mode 0644"}
	if !slices.Equal(got, want) {
		t.Errorf("there is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if c.Same() || len(c.Fields) == 0 || !strings.HasPrefix(c.Fields[0].Field, "layers.root.") {
		t.Errorf("the fields are %+v", c.Fields)
	}
	same, err := Compare(context.Background(), before, before, nil, nil)
	if err != nil || !same.Same() || len(same.Fields)+len(same.Files) != 0 {
		t.Errorf("with itself: %+v, %v", same, err)
	}
}

// TestCompareKeepsSecrets shows what changed in a secret layer to those who have its keys.
func TestCompareKeepsSecrets(t *testing.T) {
	ctx := context.Background()
	p := parts(t)
	before := build(t, builder(nil), manifest(), p)
	plant(t, p[1].Dir, map[string]string{"more/weights": "0.75"})
	p[1].Key = layer.Key{1}
	signed := builder(nil)
	signed.Signer = testKey("another")
	after := build(t, signed, manifest(), p)
	keyBefore := map[string]layer.Key{"models": testLayerKey}
	keyAfter := map[string]layer.Key{"models": {1}}
	c, err := Compare(ctx, before, after, nil, keyAfter)
	if err != nil || len(c.Files) != 0 || !slices.Equal(c.Sealed, []string{"models"}) || len(c.Signers) != 2 {
		t.Errorf("without a key: %+v, %v", c, err)
	}
	c, err = Compare(ctx, before, after, keyBefore, keyAfter)
	if err != nil || len(c.Files) != 1 || c.Files[0].Path != "/more/weights" || c.Files[0].What != "content" {
		t.Errorf("with both keys: %+v, %v", c, err)
	}
	for _, keys := range [][2]map[string]layer.Key{{keyAfter, keyAfter}, {keyBefore, keyBefore}} {
		c, err = Compare(ctx, before, after, keys[0], keys[1])
		if err != nil || len(c.Files) != 0 || !slices.Equal(c.Sealed, []string{"models"}) {
			t.Errorf("with a key of another layer: %+v, %v", c, err)
		}
	}
	again := build(t, signed, manifest(), p)
	p[1].Key = layer.Key{2}
	resealed := build(t, signed, manifest(), p)
	c, err = Compare(ctx, again, resealed, keyAfter, map[string]layer.Key{"models": {2}})
	if err != nil || len(c.Files) != 0 || !slices.Equal(c.Resealed, []string{"models"}) {
		t.Errorf("the same files under another key: %+v, %v", c, err)
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	if _, err := Compare(stopped, before, after, keyBefore, keyAfter); !errs.Is(err, errs.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}

// TestCompareListsNotWithoutEnd counts files beyond the limit.
func TestCompareListsNotWithoutEnd(t *testing.T) {
	files := map[string]string{}
	for i := range maxListed + 5 {
		files["f"+string(rune('a'+i%26))+strings.Repeat("x", i/26)] = "1"
	}
	part := func(dir string) []Part {
		return []Part{{Name: "root", Kind: enclave.Public, Target: "/", Dir: dir}}
	}
	before := build(t, builder(nil), manifest(), part(tree(t, nil)))
	after := build(t, builder(nil), manifest(), part(tree(t, files)))
	c, err := Compare(context.Background(), before, after, nil, nil)
	if err != nil || len(c.Files) != maxListed || c.More != 5 {
		t.Errorf("%d files and %d more, %v", len(c.Files), c.More, err)
	}
}
