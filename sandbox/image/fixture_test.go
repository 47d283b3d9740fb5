package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"surety/sandbox/image/erofs"
)

// file is an entry of a test's layer.
type file struct {
	tar.Header
	content string
}

func regular(name, content string) file {
	return file{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}, content}
}

func folderOf(name string) file {
	return file{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}, ""}
}

func symlink(name, target string) file {
	return file{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, ""}
}

func hardlink(name, target string) file {
	return file{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}, ""}
}

func device(name string, flag byte, major, minor int64) file {
	return file{tar.Header{Typeflag: flag, Name: name, Mode: 0o666, Devmajor: major, Devminor: minor}, ""}
}

func tarOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(&f.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstdOf(t testing.TB, plain []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(plain, nil)
}

// object is a JSON object of a test's image.
type object = map[string]any

// blobOf is a part of a test's image: its bytes, and what its descriptor says.
type blobOf struct {
	content []byte
	says    object
}

func describe(media string, content []byte) blobOf {
	return blobOf{content, object{"mediaType": media, "digest": digestBytes(content), "size": len(content)}}
}

// drawing is a test's image before it is written down: each part may be spoilt on the way.
type drawing struct {
	layers   []blobOf
	diffIDs  []string
	config   object
	manifest object
	index    object
	marker   string
	skip     map[string]bool // digests that are not written
	extra    []blobOf
	tag      string
}

// draw returns a good image of plain layers.
func draw(t testing.TB, layers ...[]byte) *drawing {
	d := &drawing{marker: `{"imageLayoutVersion":"1.0.0"}`, skip: map[string]bool{}, tag: "v1"}
	for _, plain := range layers {
		d.layers = append(d.layers, describe("application/vnd.oci.image.layer.v1.tar+gzip", gzipped(t, plain)))
		d.diffIDs = append(d.diffIDs, digestBytes(plain))
	}
	d.config = object{"os": "linux", "architecture": "amd64", "config": object{
		"Entrypoint": []string{"/bin/app"}, "Cmd": []string{"--serve"}, "Env": []string{"A=b"},
		"User": "app:staff", "WorkingDir": "/srv", "StopSignal": "SIGTERM",
		"ExposedPorts": object{"443/tcp": object{}, "80/tcp": object{}},
		"Volumes":      object{"/data": object{}}, "Labels": object{"k": "v"}}}
	d.manifest = object{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}
	d.index = object{"schemaVersion": 2}
	return d
}

// parts returns the config, the manifest and the index.
func (d *drawing) parts(t testing.TB) (config, manifest blobOf, index []byte) {
	t.Helper()
	if d.config["rootfs"] == nil {
		d.config["rootfs"] = object{"type": "layers", "diff_ids": d.diffIDs}
	}
	config = describe("application/vnd.oci.image.config.v1+json", encode(t, d.config))
	if d.manifest["layers"] == nil {
		var all []object
		for _, l := range d.layers {
			all = append(all, l.says)
		}
		d.manifest["layers"] = all
	}
	if d.manifest["config"] == nil {
		d.manifest["config"] = config.says
	}
	manifest = describe("application/vnd.oci.image.manifest.v1+json", encode(t, d.manifest))
	manifest.says["annotations"] = object{"org.opencontainers.image.ref.name": d.tag}
	if d.index["manifests"] == nil {
		d.index["manifests"] = []object{manifest.says}
	}
	return config, manifest, encode(t, d.index)
}

// layout writes the image as a directory in OCI image layout.
func (d *drawing) layout(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	for name, content := range d.files(t) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// files returns what is in the image's layout.
func (d *drawing) files(t testing.TB) map[string][]byte {
	config, manifest, index := d.parts(t)
	all := map[string][]byte{"oci-layout": []byte(d.marker), "index.json": index}
	for _, b := range append(append([]blobOf{config, manifest}, d.layers...), d.extra...) {
		if digest := b.says["digest"].(string); !d.skip[digest] {
			all["blobs/sha256/"+hexOf(digest)] = b.content
		}
	}
	return all
}

// archive writes the image as a tar file of its layout.
func (d *drawing) archive(t testing.TB, pack func(testing.TB, []byte) []byte) string {
	t.Helper()
	var entries []file
	all := d.files(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		entries = append(entries, regular(name, string(all[name])))
	}
	return writeFile(t, "image.tar", pack(t, tarOf(t, entries...)))
}

func plainTar(_ testing.TB, b []byte) []byte { return b }

func writeFile(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func encode(t testing.TB, value any) []byte {
	t.Helper()
	b, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newStore(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// remains counts what a store and this process hold: files by directory, and open files.
func remains(t testing.TB, s *Store) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for _, dir := range []string{s.path("tmp", ""), s.path("erofs", ""), s.path("names", ""),
		s.path("builds", ""), "/proc/self/fd"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		counts[filepath.Base(dir)] = len(entries)
	}
	return counts
}

func add(t testing.TB, s *Store, source Source, name string) Image {
	t.Helper()
	i, err := s.Add(context.Background(), source, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(context.Background(), i); err != nil {
		t.Fatal(err)
	}
	return i
}

// shows returns an image's files by path: "mode uid:gid links content".
func shows(t testing.TB, i Image) map[string]string {
	t.Helper()
	c, err := Read(i)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all := map[string]string{}
	err = c.Walk(func(path string, n erofs.Inode) error {
		text := ""
		switch {
		case n.Is(erofs.Regular):
			content, err := io.ReadAll(c.Content(n))
			if err != nil {
				return err
			}
			text = string(content)
		case n.Is(erofs.Symlink):
			target, err := c.Target(n)
			if err != nil {
				return err
			}
			text = "-> " + target
		case n.Is(erofs.Directory):
			text = "/"
		}
		all[path] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
