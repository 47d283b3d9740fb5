package image

import (
	"bytes"
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"surety/base/errs"
	"surety/sandbox/image/erofs"
)

// TestModel lays random layers over each other, and does the same to a plain list of paths.
func TestModel(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		laid, model := newTree(), map[string]string{}
		for range rapid.IntRange(1, 4).Draw(rt, "layers") {
			files := drawLayer(rt)
			applyModel(model, files)
			random := rapid.Permutation(slices.Clone(files)).Draw(rt, "order")
			if err := applyReal(t, dir, laid, random); err != nil {
				rt.Fatalf("%v", err)
			}
		}
		got := map[string]string{}
		list(laid.root, "", got)
		if !maps.Equal(got, model) {
			rt.Fatalf("got  %q\nwant %q", got, model)
		}
	})
}

// drawLayer returns files that one layer may have together.
func drawLayer(rt *rapid.T) []file {
	path := rapid.StringMatching(`[abc](/[abc]){0,3}`)
	kinds := map[string]string{} // by path
	for range rapid.IntRange(0, 8).Draw(rt, "entries") {
		p := path.Draw(rt, "path")
		kinds[p] = rapid.SampledFrom([]string{"file", "dir", "gone", "opaque"}).Draw(rt, "kind")
	}
	var files []file
	parents := map[string]bool{} // that the layer mentions, as layers do
	for _, p := range slices.Sorted(maps.Keys(kinds)) {
		within := false // of something that this layer says is a file
		for above := filepath.Dir(p); above != "."; above = filepath.Dir(above) {
			within = within || kinds[above] == "file"
		}
		if within {
			continue
		}
		for above := filepath.Dir(p); above != "." && kinds[p] != "gone"; above = filepath.Dir(above) {
			if !parents[above] {
				files = append(files, folderOf(above))
			}
			parents[above] = true
		}
		switch kinds[p] {
		case "file":
			files = append(files, regular(p, p+rapid.StringN(0, 3, 3).Draw(rt, "content")))
		case "dir":
			files = append(files, folderOf(p))
		case "gone":
			files = append(files, regular(filepath.Join(filepath.Dir(p), ".wh."+filepath.Base(p)), ""))
		case "opaque":
			files = append(files, folderOf(p), regular(p+"/.wh..wh..opq", ""))
		}
	}
	return files
}

// applyModel does to a list of paths what a layer does to a tree. What is below a path begins with
// it and a slash; the content of a directory is "/".
func applyModel(model map[string]string, files []file) {
	drop := func(path string, itself bool) {
		for p := range model {
			if strings.HasPrefix(p, path+"/") || itself && p == path {
				delete(model, p)
			}
		}
	}
	for _, f := range files {
		switch base := filepath.Base(f.Name); {
		case base == ".wh..wh..opq":
			drop(filepath.Dir(f.Name), false)
		case strings.HasPrefix(base, ".wh."):
			drop(filepath.Join(filepath.Dir(f.Name), strings.TrimPrefix(base, ".wh.")), true)
		}
	}
	for _, f := range files {
		if strings.Contains(f.Name, ".wh.") {
			continue
		}
		for above := filepath.Dir(f.Name); above != "."; above = filepath.Dir(above) {
			model[above] = "/"
		}
		if f.content != "" {
			drop(f.Name, true)
			model[f.Name] = f.content
		} else {
			model[f.Name] = "/"
		}
	}
}

func applyReal(t testing.TB, dir string, laid *tree, files []file) error {
	s, err := newSpool(dir)
	if err != nil {
		return err
	}
	t.Cleanup(func() { _ = s.Close() })
	l := &layer{spool: s}
	shared := (&builder{}).newShared(nil)
	r := layerReader{layer: l, entries: &shared.entries, contents: &shared.contents}
	if err := r.read(context.Background(), bytes.NewReader(tarOf(t, files...))); err != nil {
		return err
	}
	return laid.apply(l)
}

func list(n *erofs.Node, path string, into map[string]string) {
	for _, name := range n.Names() {
		child := n.Child(name)
		at := filepath.Join(path, name)
		into[at] = "/"
		if child.Is(erofs.Regular) {
			content := make([]byte, child.Size)
			if s, ok := child.Content.(section); ok {
				_, _ = s.s.f.ReadAt(content, s.at)
			}
			into[at] = string(content)
		}
		list(child, at, into)
	}
}

// TestRefusalsInOrder begins with every defect and mends one a row: what is said is always about
// the first that is left.
func TestRefusalsInOrder(t *testing.T) {
	type defects struct{ marker, index, manifest, config, count, media, digest, diff, entry, apply bool }
	left := defects{true, true, true, true, true, true, true, true, true, true}
	for _, row := range []struct {
		mend func()
		says string
	}{
		{func() {}, "imageLayoutVersion"},
		{func() { left.marker = false }, "index.json has no image for linux/amd64"},
		{func() { left.index = false }, "its descriptor says"},
		{func() { left.manifest = false }, "the image is for linux/arm64"},
		{func() { left.config = false }, "has 3 layers, its config has 2"},
		{func() { left.count = false }, "foreign"},
		{func() { left.media = false }, "layer 1 of 2, sha256:"},
		{func() { left.digest = false }, "layer 1 of 2, sha256:"},
		{func() { left.diff = false }, `layer 2 of 2, sha256:`},
		{func() { left.entry = false }, `hard link to "nothing"`},
		{func() { left.apply = false }, ""},
	} {
		row.mend()
		bad := regular("x", "x")
		if left.apply {
			bad = hardlink("a", "nothing")
		}
		files := []file{bad}
		if left.entry {
			files = append(files, regular("../b", ""))
		}
		d := draw(t, tarOf(t, regular("x", "x")), tarOf(t, files...))
		if left.diff {
			d.diffIDs[0] = digestBytes(nil)
		}
		if left.digest {
			d.layers[0].content[9] ^= 1
		}
		if left.media {
			d.layers[1].says["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
		}
		if left.count {
			d.layers = append(d.layers, d.layers[0])
		}
		if left.config {
			d.config["architecture"] = "arm64"
		}
		_, m, _ := d.parts(t)
		if left.manifest {
			m.says["size"] = 1
		}
		if left.index {
			m.says["platform"] = object{"os": "linux", "architecture": "riscv64"}
		}
		d.index["manifests"] = []object{m.says}
		if left.marker {
			d.marker = `{"imageLayoutVersion":"0"}`
		}
		if row.says == "" {
			add(t, newStore(t), Source{Where: d.layout(t)}, "i")
			continue
		}
		kind := errs.Invalid
		if left.index && !left.marker {
			kind = errs.NotFound
		}
		refuse(t, Source{Where: d.layout(t)}, kind, row.says)
	}
}

// TestFullDisk adds images to a store on a disk of a few pages, in a mount namespace of its own:
// at each size the refusal says why, and nothing is left.
func TestFullDisk(t *testing.T) {
	noise := strings.Repeat("0123456789abcdef", 1<<15)
	where := draw(t, tarOf(t, regular("noise", noise))).layout(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []string{"16k", "64k", "512k", "800k"} {
		c := exec.Command(exe, where, size)
		c.Env = append(os.Environ(), "IMAGE_TEST_FULL="+t.TempDir())
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
		if os.Geteuid() != 0 {
			c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
			c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
		}
		out, err := c.CombinedOutput()
		if err != nil && len(out) == 0 {
			t.Skipf("this machine gives no mount namespace: %v", err)
		}
		if got := strings.TrimSpace(string(out)); got != "no_space, left 0" {
			t.Errorf("%s: %s", size, got)
		}
	}
}

// beFull is the process of TestFullDisk; it says the error's kind and how many files are left.
func beFull(root string) (string, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", err
	}
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size="+os.Args[2]); err != nil {
		return "", err
	}
	s, err := Open(root)
	if err != nil {
		return "", err
	}
	_, failed := s.Add(context.Background(), Source{Where: os.Args[1]}, "i")
	left := 0
	for _, dir := range []string{"tmp", "erofs", "names", "builds"} {
		entries, err := os.ReadDir(s.path(dir, ""))
		if err != nil {
			return "", err
		}
		left += len(entries)
	}
	if failed == nil {
		return "added", nil
	}
	return errs.KindOf(failed).String() + ", left " + string(rune('0'+left)), nil
}
