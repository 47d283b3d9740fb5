package image

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"surety/base/errs"
	"surety/sandbox/image/erofs"
)

// system is what every test image begins with: mount points that are not of the test.
func system(files map[string]string) map[string]string {
	all := map[string]string{"": "/", "dev": "/", "proc": "/", "sys": "/"}
	maps.Copy(all, files)
	return all
}

func TestLayersAreLaidOverEachOther(t *testing.T) {
	for _, c := range []struct {
		name   string
		layers [][]file
		want   map[string]string
	}{
		{"replace and add", [][]file{
			{folderOf("a"), regular("a/one", "1"), regular("a/two", "2")}, {regular("a/two", "22"), regular("b", "b")}},
			map[string]string{"a": "/", "a/one": "1", "a/two": "22", "b": "b"}},
		{"a parent nobody mentions", [][]file{{regular("deep/er/file", "x")}},
			map[string]string{"deep": "/", "deep/er": "/", "deep/er/file": "x"}},
		{"dots and slashes", [][]file{{folderOf("./"), regular("./a//b/./c", "x")}},
			map[string]string{"a": "/", "a/b": "/", "a/b/c": "x"}},
		{"whiteout", [][]file{{regular("a/x", "x"), regular("a/y", "y"), regular("b/z", "z")},
			{regular("a/.wh.x", ""), regular(".wh.b", "")}}, map[string]string{"a": "/", "a/y": "y"}},
		{"whiteout and again", [][]file{{regular("a/x", "x")}, {regular("a/new", "n"), regular(".wh.a", "")}},
			map[string]string{"a": "/", "a/new": "n"}},
		{"whiteout of nothing", [][]file{{regular("a", "a")}, {regular("no/.wh.x", ""), regular("a/.wh.x", "")}},
			map[string]string{"a": "a"}},
		{"opaque", [][]file{{regular("a/x", "x"), regular("a/b/y", "y")},
			{regular("a/z", "z"), regular("a/.wh..wh..opq", "")}}, map[string]string{"a": "/", "a/z": "z"}},
		{"opaque root", [][]file{{regular("a", "a")}, {regular(".wh..wh..opq", ""), regular("b", "b")}},
			map[string]string{"b": "b"}},
		{"a driver's bookkeeping", [][]file{{regular(".wh..wh.plnk/1.2", ""), regular(".wh..wh.aufs", ""),
			regular("a", "a")}}, map[string]string{"a": "a", ".wh..wh.plnk": "/", ".wh..wh.plnk/1.2": ""}},
		{"file to directory", [][]file{{regular("a", "a")}, {folderOf("a"), regular("a/b", "b")}},
			map[string]string{"a": "/", "a/b": "b"}},
		{"directory to file", [][]file{{regular("a/b", "b")}, {regular("a", "a")}}, map[string]string{"a": "a"}},
		{"directory to link", [][]file{{regular("a/b", "b")}, {symlink("a", "c")}},
			map[string]string{"a": "-> c"}},
		{"through a link", [][]file{{regular("usr/lib/x", "x"), symlink("lib", "usr/lib"), symlink("run", "/var/run")},
			{regular("lib/y", "y"), regular("run/pid", "1"), regular("lib/.wh.x", "")}},
			map[string]string{"lib": "-> usr/lib", "usr": "/", "usr/lib": "/", "usr/lib/y": "y",
				"run": "-> /var/run", "var": "/", "var/run": "/", "var/run/pid": "1"}},
		{"link to directory becomes one", [][]file{{regular("usr/x", "x"), symlink("lib", "usr")},
			{folderOf("lib"), regular("lib/y", "y")}},
			map[string]string{"usr": "/", "usr/x": "x", "lib": "/", "lib/y": "y"}},
		{"a link that leads out is only a link", [][]file{{symlink("out", "../../../etc/passwd")}},
			map[string]string{"out": "-> ../../../etc/passwd"}},
		{"hard link across layers", [][]file{{regular("a", "a")}, {hardlink("b", "a"), hardlink("c/d", "b")}},
			map[string]string{"a": "a", "b": "a", "c": "/", "c/d": "a"}},
		{"hard link before its target", [][]file{{hardlink("b", "a"), regular("a", "a")}},
			map[string]string{"a": "a", "b": "a"}},
		{"hard link to a replaced file", [][]file{{regular("a", "1"), hardlink("b", "a")}, {regular("a", "2")}},
			map[string]string{"a": "2", "b": "1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var layers [][]byte
			for _, files := range c.layers {
				layers = append(layers, tarOf(t, files...))
			}
			s := newStore(t)
			got := shows(t, add(t, s, Source{Where: draw(t, layers...).layout(t)}, "i"))
			if want := system(c.want); !maps.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

func TestWhatAHeaderSaysIsKept(t *testing.T) {
	at := time.Unix(1_700_000_000, 123_000_000)
	d := draw(t, tarOf(t,
		file{tar.Header{Typeflag: tar.TypeReg, Name: "su", Mode: 0o106755, Uid: 1000, Gid: 3_000_000_000, Size: 1,
			ModTime: at, Format: tar.FormatPAX}, "x"},
		file{tar.Header{Typeflag: tar.TypeDir, Name: "tmp", Mode: 0o1777, ModTime: time.Unix(-5, 0)}, ""},
		file{tar.Header{Typeflag: tar.TypeFifo, Name: "pipe", Mode: 0o600}, ""}, hardlink("su2", "su")))
	for _, c := range []struct {
		options Options
		want    string
	}{
		{Options{}, "106755 1000:3000000000 1700000000.123000000 x2"},
		{Options{ZeroTime: true}, "106755 1000:3000000000 0.000000000 x2"},
		{Options{RootOwns: true}, "106755 0:0 1700000000.123000000 x2"},
	} {
		i := add(t, newStore(t), Source{Where: d.layout(t), Options: c.options}, "i")
		contents, err := Read(i)
		if err != nil {
			t.Fatal(err)
		}
		defer contents.Close()
		n, err := contents.Lookup("su2")
		got := fmt.Sprintf("%o %d:%d %d.%09d x%d", n.Mode, n.UID, n.GID, n.Seconds, n.Nanos, n.Links)
		if err != nil || got != c.want {
			t.Errorf("%+v: %s, %v; want %s", c.options, got, err, c.want)
		}
		tmp, _ := contents.Lookup("tmp")
		pipe, _ := contents.Lookup("pipe")
		if tmp.Mode != erofs.Directory|0o1777 || tmp.Seconds != 0 || !pipe.Is(erofs.FIFO) {
			t.Errorf("tmp %+v, pipe %+v", tmp, pipe)
		}
	}
}

// TestRefusedLayers gives each defect that a layer may have: the error names the layer and the
// entry, and nothing is left.
func TestRefusedLayers(t *testing.T) {
	good := tarOf(t, regular("good", "x"))
	for _, c := range []struct {
		name  string
		files []file
		kind  errs.Kind
		says  string
	}{
		{"absolute", []file{regular("/etc/passwd", "x")}, errs.Invalid, `"/etc/passwd": an absolute path`},
		{"dot dot", []file{regular("../x", "x")}, errs.Invalid, `"../x": a path with ".."`},
		{"dot dot inside", []file{regular("a/../b", "x")}, errs.Invalid, `"a/../b"`},
		{"dot dot directory", []file{folderOf("a/..")}, errs.Invalid, `"a/..`},
		{"through a link out", []file{symlink("evil", "../../etc"), regular("evil/passwd", "x")}, errs.Invalid,
			`"evil/passwd": a symbolic link on its way leads out`},
		{"whiteout through a link out", []file{symlink("zz", ".."), regular("good2", ""), regular("zz/.wh.x", "")},
			errs.Invalid, ""},
		{"hard link out", []file{hardlink("a", "../../etc/shadow")}, errs.Invalid, `"a": its target "../../etc/shadow"`},
		{"hard link absolute", []file{hardlink("a", "/etc/shadow")}, errs.Invalid, `"/etc/shadow"`},
		{"hard link to nothing", []file{hardlink("a", "b"), hardlink("b", "a")}, errs.Invalid, `"a": a hard link to "b"`},
		{"hard link to a directory", []file{folderOf("d"), hardlink("a", "d")}, errs.Invalid, `"a", a hard link to "d"`},
		{"links in a circle", []file{symlink("a", "a"), regular("a/x", "x")}, errs.Invalid,
			`"a/x": more than 40`},
		{"a directory needed by a link", []file{symlink("a", "b"), symlink("b", "a"), regular("a/x", "x")},
			errs.Invalid, `"b": another entry needs the name`},
		{"through a file", []file{regular("a", "x"), regular("a/b", "y")}, errs.Invalid, `"a/b": "a" on its way`},
		{"twice", []file{regular("a", "1"), regular("./a", "2")}, errs.Invalid, `"a": it is there twice`},
		{"twice by a link", []file{folderOf("d"), symlink("l", "d"), regular("d/x", "1"), regular("l/x", "2")},
			errs.Invalid, `"l/x": another entry`},
		{"file and directory", []file{regular("a", "1"), folderOf("a")}, errs.Invalid, "twice"},
		{"root is a file", []file{regular(".", "x")}, errs.Invalid, "the root is not"},
		{"root is a link", []file{symlink(".", "x")}, errs.Invalid, "the root is not a directory"},
		{"whiteout of nothing", []file{regular("a/.wh.", "")}, errs.Invalid, `"a/.wh.": a whiteout of no file`},
		{"whiteout of dot dot", []file{regular("a/.wh...", "")}, errs.Invalid, `"a/.wh..."`},
		{"long name", []file{regular(strings.Repeat("n", 256), "")}, errs.TooLarge, "256 bytes, the limit is 255"},
		{"long path", []file{regular(strings.Repeat("dir/", 1100)+"x", "")}, errs.TooLarge, "4095"},
		{"device", []file{device("dev/null", tar.TypeChar, 1, 3)}, errs.Refused, `"dev/null": a device node, 1:3`},
		{"disk", []file{device("sda", tar.TypeBlock, 8, 0)}, errs.Refused, `"sda"`},
		{"unknown type", []file{{tar.Header{Typeflag: 'V', Name: "label"}, ""}}, errs.Invalid, `"label": type 'V'`},
		{"empty link", []file{symlink("l", "")}, errs.Invalid, `"l"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := draw(t, good, tarOf(t, c.files...))
			if c.name == "whiteout through a link out" {
				d = draw(t, tarOf(t, symlink("zz", "..")), tarOf(t, regular("zz/.wh.x", "")))
			}
			refuse(t, Source{Where: d.layout(t)}, c.kind, c.says, "layer 2 of 2, sha256:")
		})
	}
}

// refuse adds a source that must be refused and counts what is left.
func refuse(t *testing.T, source Source, kind errs.Kind, says ...string) {
	t.Helper()
	s := newStore(t)
	refuseIn(t, s, source, kind, says...)
}

func refuseIn(t *testing.T, s *Store, source Source, kind errs.Kind, says ...string) {
	t.Helper()
	before := remains(t, s)
	_, err := s.Add(context.Background(), source, "i")
	if !errs.Is(err, kind) {
		t.Fatalf("%v, kind %s; want kind %s", err, errs.KindOf(err), kind)
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
	if after := remains(t, s); !maps.Equal(before, after) {
		t.Errorf("left behind: %v, before it %v (%v)", after, before, err)
	}
}

// TestDamagedLayers spoils the bytes of a layer, or what is said of them.
func TestDamagedLayers(t *testing.T) {
	noise := make([]byte, 1<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(noise)
	plain := tarOf(t, regular("a", string(noise)))
	packed := gzipped(t, plain)
	flipped := bytes.Clone(packed)
	flipped[len(flipped)/2] ^= 1
	other := digestBytes([]byte("other"))
	media := "application/vnd.oci.image.layer.v1.tar+gzip"
	for _, c := range []struct {
		name  string
		spoil func(d *drawing)
		kind  errs.Kind
		says  string
	}{
		{"wrong digest", func(d *drawing) {
			d.layers[0].content = flipped
		}, errs.Invalid, "its bytes have digest " + digestBytes(flipped)},
		{"cut file", func(d *drawing) { d.layers[0].content = packed[:1000] }, errs.Invalid,
			fmt.Sprintf("it has 1000 bytes, its manifest says %d", len(packed))},
		{"longer file", func(d *drawing) { d.layers[0].content = append(bytes.Clone(packed), 0) }, errs.Invalid,
			"it has more than"},
		{"cut gzip", func(d *drawing) { d.layers[0] = describe(media, packed[:len(packed)/2]) }, errs.Invalid,
			"unexpected EOF"},
		{"damaged gzip", func(d *drawing) { d.layers[0] = describe(media, flipped) }, errs.Invalid, "decompress"},
		{"no gzip header", func(d *drawing) { d.layers[0] = describe(media, packed[:3]) }, errs.Invalid, ""},
		{"behind gzip", func(d *drawing) {
			d.layers[0] = describe(media, append(bytes.Clone(packed), "rest"...))
		}, errs.Invalid, "decompress"},
		{"damaged zstd", func(d *drawing) {
			z := zstdOf(t, plain)
			d.layers[0] = describe(media, z[:len(z)/2])
		}, errs.Invalid, "decompress"},
		{"cut tar", func(d *drawing) { d.layers[0] = describe(media, gzipped(t, plain[:700])) }, errs.Invalid, "tar"},
		{"no tar", func(d *drawing) { d.layers[0] = describe(media, noise) }, errs.Invalid, "tar"},
		{"wrong DiffID", func(d *drawing) { d.diffIDs[0] = other }, errs.Invalid, "its config says " + other},
		{"missing", func(d *drawing) { d.skip[digestBytes(packed)] = true }, errs.NotFound, "open"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := draw(t, plain)
			c.spoil(d)
			digest := d.layers[0].says["digest"].(string)
			refuse(t, Source{Where: d.layout(t)}, c.kind, c.says, "layer 1 of 1, "+digest)
		})
	}
}

// TestBombs makes small layers that become large ones.
func TestBombs(t *testing.T) {
	zeros := strings.Repeat("\x00", 4<<20)
	plain := tarOf(t, regular("zeros", zeros))
	source := Source{Where: draw(t, plain).layout(t)}
	for _, c := range []struct {
		name   string
		bounds bounds
		says   string
	}{
		{"ratio", bounds{layer: maxLayer, free: 1 << 20, ratio: 100}, "bytes come out of"},
		{"size", bounds{layer: 3 << 20, free: maxLayer, ratio: 100}, "more than 3145728 bytes come out"},
	} {
		s := newStore(t)
		s.bounds = c.bounds
		refuseIn(t, s, source, errs.TooLarge, c.says, "layer 1 of 1")
	}
	zip := draw(t, plain)
	zip.layers[0] = describe("application/vnd.oci.image.layer.v1.tar+zstd", zstdOf(t, plain))
	s := newStore(t)
	s.bounds = bounds{layer: maxLayer, free: 1 << 20, ratio: 100}
	refuseIn(t, s, Source{Where: zip.layout(t)}, errs.TooLarge, "bytes come out of")
	if i := add(t, newStore(t), source, "i"); i.Size < 4<<20 {
		t.Errorf("within the limits: %d bytes", i.Size)
	}
}

// TestSparse refuses a file that claims a gigabyte and stores nothing.
func TestSparse(t *testing.T) {
	f := file{tar.Header{Typeflag: tar.TypeReg, Name: "hole", Mode: 0o644, Size: 512, Format: tar.FormatPAX,
		PAXRecords: map[string]string{"GNU_sparse.major": "1", "GNU_sparse.minor": "0", "GNU_sparse.name": "hole",
			"GNU_sparse.realsize": "1073741824"}}, "0\n" + strings.Repeat("\x00", 510)}
	plain := bytes.ReplaceAll(tarOf(t, f), []byte("GNU_sparse"), []byte("GNU.sparse"))
	refuse(t, Source{Where: draw(t, plain).layout(t)}, errs.Invalid, `"hole": a sparse file`)
}

func TestDevicesByOption(t *testing.T) {
	where := draw(t, tarOf(t, device("dev/null", tar.TypeChar, 1, 3), regular("a", "a"))).layout(t)
	dropped := add(t, newStore(t), Source{Where: where, Options: Options{Devices: DropDevices}}, "i")
	if _, there := shows(t, dropped)["dev/null"]; there || dropped.Dropped.Devices != 1 ||
		!slices.Equal(dropped.Dropped.Examples, []string{"dev/null: a device node"}) {
		t.Errorf("dropped: %+v", dropped.Dropped)
	}
	kept := add(t, newStore(t), Source{Where: where, Options: Options{Devices: KeepDevices}}, "i")
	c, err := Read(kept)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.Lookup("dev/null"); err != nil || n.Mode != erofs.Character|0o666 || n.Device != 0x103 {
		t.Errorf("kept: %+v, %v", n, err)
	}
}

func TestAttributesAreCounted(t *testing.T) {
	ping := regular("ping", "x")
	ping.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01"}
	i := add(t, newStore(t), Source{Where: draw(t, tarOf(t, ping)).layout(t)}, "i")
	if i.Dropped.Attributes != 1 || len(i.Dropped.Examples) != 1 {
		t.Errorf("%+v", i.Dropped)
	}
}

// TestOrderDoesNotShow packs the same files in many orders, and with each compression: one digest.
func TestOrderDoesNotShow(t *testing.T) {
	files := []file{folderOf("a"), regular("a/1", "one"), regular("a/2", "two"), folderOf("b/"), symlink("l", "a"),
		hardlink("h", "a/1"), regular("b/.wh.gone", ""), regular("z", strings.Repeat("z", 10000)), folderOf("./")}
	base := tarOf(t, regular("b/gone", "x"), regular("b/stays", "y"))
	random := rand.New(rand.NewPCG(7, 7))
	want := ""
	for range 8 {
		random.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		for i, media := range []string{"application/vnd.oci.image.layer.v1.tar+zstd",
			"application/vnd.oci.image.layer.v1.tar"} {
			d, plain := draw(t, base, tarOf(t, files...)), tarOf(t, files...)
			if i == 0 {
				plain = zstdOf(t, plain)
			}
			d.layers[1] = describe(media, plain)
			got := add(t, newStore(t), Source{Where: d.layout(t)}, "i").Digest
			if want == "" {
				want = got
			}
			if got != want {
				t.Fatalf("another order, another digest: %s, %s", got, want)
			}
		}
	}
	const golden = "sha256:bf822989a9eb427273db04ec89890135d0a35ec9b29d3b80d8c2607e0a3564bd"
	if want != golden {
		t.Errorf("digest %s, want %s", want, golden)
	}
}

// FuzzLayer reads hostile layers: an error or a tree that can be written, and nothing else.
func FuzzLayer(f *testing.F) {
	f.Add(tarOf(f, folderOf("a"), regular("a/1", "one"), symlink("l", "a"), hardlink("h", "a/1")))
	f.Add(gzipped(f, tarOf(f, regular("l/../x", "x"), regular(".wh.a", ""))))
	f.Add(zstdOf(f, tarOf(f, regular("b/.wh..wh..opq", ""), device("n", tar.TypeChar, 1, 3))))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, packed []byte) {
		b := &builder{tmp: dir, bounds: bounds{layer: 1 << 20, free: 1 << 16, ratio: 100}}
		sp, err := newSpool(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer sp.Close()
		l := &layer{spool: sp}
		s := b.newShared([]blob{{}})
		u, err := newUnpacker(bytes.NewReader(packed), b.bounds)
		if err != nil {
			return
		}
		defer u.Close()
		r := layerReader{layer: l, entries: &s.entries, contents: &s.contents}
		if r.read(context.Background(), u) != nil {
			return
		}
		tr := newTree()
		if tr.apply(l) != nil || tr.complete() != nil {
			return
		}
		plan, err := erofs.NewPlan(tr.root)
		if err != nil {
			t.Skip(err)
		}
		var image bytes.Buffer
		if err := plan.Write(context.Background(), &image, nil); err != nil {
			t.Fatal(err)
		}
		e, err := erofs.Open(bytes.NewReader(image.Bytes()), int64(image.Len()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Check(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzArchive reads hostile archives of images: an error or an image, and nothing left open.
func FuzzArchive(f *testing.F) {
	d := draw(f, tarOf(f, regular("a", "a")))
	files := d.files(f)
	var entries []file
	for _, name := range slices.Sorted(maps.Keys(files)) {
		entries = append(entries, regular(name, string(files[name])))
	}
	f.Add(tarOf(f, entries...))
	f.Add(tarOf(f, regular("manifest.json", `[{"Config":"c","Layers":["l"]}]`), regular("c", `{"rootfs":{}}`)))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "archive")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := openArchive(context.Background(), Source{Where: path}, t.TempDir())
		if err != nil {
			return
		}
		if err := m.close(); err != nil {
			t.Fatal(err)
		}
	})
}
